import java.util.*;
import java.util.regex.Pattern;
import javax.management.*;
import javax.management.remote.*;

/**
 * Prints the names and attributes of the MBeans of a broker: {@code java BrokerMetrics.java HOST:JMX-PORT}, where the
 * broker's JVM has {@code com.sun.management.jmxremote.port} and ClientMetrics.java was its client before. What is a topic,
 * a client or a number in a name is {@code *}, and so are the requests, but for those of one metric. What it printed is
 * crates/broker/tests/monitoring/kafka.txt. With {@code values} behind the port it prints numbers, too, and names as they
 * are.
 */
public final class BrokerMetrics {
    private static final Set<String> VARIABLE = Set.of("topic", "partition", "listener", "networkProcessor", "version",
        "client-id", "clientId", "clientSoftwareName", "clientSoftwareVersion", "error", "logDirectory", "id", "user",
        "processor", "BrokerId", "broker", "request", "feature-name", "featureName");

    public static void main(String[] args) throws Exception {
        boolean values = args.length > 1 && args[1].equals("values");
        JMXServiceURL url = new JMXServiceURL("service:jmx:rmi:///jndi/rmi://" + args[0] + "/jmxrmi");
        TreeMap<String, TreeSet<String>> beans = new TreeMap<>();
        try (JMXConnector connector = JMXConnectorFactory.connect(url)) {
            MBeanServerConnection server = connector.getMBeanServerConnection();
            for (ObjectName name : server.queryNames(new ObjectName("kafka*:*"), null)) {
                Set<String> attributes = beans.computeIfAbsent(values ? name.toString() : general(name), n -> new TreeSet<>());
                for (MBeanAttributeInfo attribute : server.getMBeanInfo(name).getAttributes()) {
                    Object value = values ? server.getAttribute(name, attribute.getName()) : null;
                    attributes.add(attribute.getName() + (values ? "=" + value : ""));
                }
            }
        }
        beans.forEach((name, attributes) -> System.out.println(name + "\t" + String.join(",", attributes)));
    }

    private static String general(ObjectName name) {
        List<String> properties = new ArrayList<>();
        for (String property : name.getKeyPropertyListString().split(Pattern.quote(","))) {
            String key = property.split("=", 2)[0];
            boolean isNamed = key.equals("request") && name.getKeyProperty("name").equals("TotalTimeMs");
            properties.add(VARIABLE.contains(key) && !isNamed ? key + "=*" : property);
        }
        return name.getDomain() + ":" + String.join(",", properties);
    }
}
