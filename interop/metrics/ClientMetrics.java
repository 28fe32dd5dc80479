import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.serialization.*;

/**
 * Prints kind, group, name, tags and description of the metrics of a producer, consumers of both group protocols and an
 * admin client: {@code java -cp JARS ClientMetrics.java HOST:PORT}, with the jars that interop/peers/kafka/fetch gets.
 * What it printed is crates/client/tests/metrics/kafka.txt.
 */
public final class ClientMetrics {
    public static void main(String[] args) throws Exception {
        Map<String, Object> common = new HashMap<>();
        common.put("bootstrap.servers", args[0]);
        common.put("client.id", "recorded");
        common.put("metrics.recording.level", "TRACE");
        common.put("enable.metrics.push", "false");
        TreeSet<String> lines = new TreeSet<>();
        try (Admin admin = Admin.create(common)) {
            admin.createTopics(List.of(new NewTopic("recorded", 1, (short) 1))).all().get();
            admin.describeCluster().nodes().get();
            print("admin", admin.metrics(), lines);
        }
        try (Producer<byte[], byte[]> producer =
                new KafkaProducer<>(common, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < 10; i++) producer.send(new ProducerRecord<>("recorded", new byte[10])).get();
            producer.flush();
            print("producer", producer.metrics(), lines);
        }
        for (String protocol : List.of("classic", "consumer")) {
            Map<String, Object> config = new HashMap<>(common);
            config.put("group.id", "recorded-" + protocol);
            config.put("group.protocol", protocol);
            config.put("auto.offset.reset", "earliest");
            try (Consumer<byte[], byte[]> consumer =
                    new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                consumer.subscribe(List.of("recorded"));
                int seen = 0;
                while (seen < 10) seen += consumer.poll(Duration.ofMillis(100)).count();
                consumer.commitSync();
                for (int i = 0; i < 10; i++) consumer.poll(Duration.ofMillis(100));
                print("consumer-" + protocol, consumer.metrics(), lines);
            }
        }
        lines.forEach(System.out::println);
    }

    private static void print(String kind, Map<MetricName, ? extends Metric> metrics, Set<String> lines) {
        for (Map.Entry<MetricName, ? extends Metric> entry : metrics.entrySet()) {
            MetricName name = entry.getKey();
            String tags = String.join(",", new TreeSet<>(name.tags().keySet()));
            // That a metric is there a second time under another name is not said of what it is.
            String description = name.description().split(" Note: For topic names with periods")[0].strip();
            lines.add(String.join("\t", kind, name.group(), name.name(), tags, description));
        }
    }
}
