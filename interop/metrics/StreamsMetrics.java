import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.metrics.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.*;

/**
 * The metrics of a Streams application: {@code java -cp JARS StreamsMetrics.java names HOST:PORT} prints group, name, tags,
 * level, statistic and description of those of two instances with standbys and of one in a streams group, but for their
 * clients';
 * {@code java -cp JARS StreamsMetrics.java values} prints what they say in the test driver after a small workload. The jars
 * are those that interop/peers/kafka/fetch gets. What it printed is crates/streams/tests/metrics/kafka.txt and values.txt.
 */
public final class StreamsMetrics {
    static final String[][] WORDS = {
        {"a", "x", "1000"}, {"b", "y", "2000"}, {"a", "z", "1500"}, {null, "no key", "2500"}, {"c", "x", "12000"},
        {"a", "late", "500"}, {"b", "y", "25000"}, {"a", "x", "40000"},
    };

    static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        KGroupedStream<String, String> words = builder.stream("words", Consumed.with(Serdes.String(), Serdes.String()))
            .groupByKey();
        words.count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts"))
            .toStream().to("counted", Produced.with(Serdes.String(), Serdes.Long()));
        TimeWindows windows = TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10));
        words.windowedBy(windows)
            .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("windowed").withCachingDisabled())
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()).withName("final"))
            .toStream((key, count) -> key.key()).to("windows", Produced.with(Serdes.String(), Serdes.Long()));
        words.windowedBy(windows).emitStrategy(EmitStrategy.onWindowClose())
            .count(Materialized.<String, Long>as(Stores.inMemoryWindowStore("emitted", Duration.ofSeconds(20), Duration.ofSeconds(10), false))
                .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream((key, count) -> key.key()).to("windows-2", Produced.with(Serdes.String(), Serdes.Long()));
        words.windowedBy(SessionWindows.ofInactivityGapWithNoGrace(Duration.ofSeconds(5)))
            .count(Materialized.<String, Long, SessionStore<Bytes, byte[]>>as("sessions").withCachingDisabled())
            .toStream((key, count) -> key.key()).to("sessions-out", Produced.with(Serdes.String(), Serdes.Long()));
        builder.table("table", Consumed.with(Serdes.String(), Serdes.String()),
                Materialized.<String, String>as(Stores.inMemoryKeyValueStore("rows")).withCachingDisabled())
            .toStream().process(Ticking::new, Named.as("ticking"));
        return builder.build();
    }

    /** Reads and writes a store of its own, and has a timer. */
    static final class Ticking implements Processor<String, String, Void, Void> {
        public void init(ProcessorContext<Void, Void> context) {
            context.schedule(Duration.ofSeconds(1), PunctuationType.WALL_CLOCK_TIME, now -> { });
        }
        public void process(Record<String, String> record) { }
    }

    public static void main(String[] args) throws Exception {
        TreeSet<String> lines = new TreeSet<>();
        if (args[0].equals("names")) names(args[1], lines); else values(lines);
        lines.forEach(System.out::println);
    }

    static Properties config(String address) throws Exception {
        Properties config = new Properties();
        config.put("application.id", "recorded");
        config.put("bootstrap.servers", address);
        config.put("metrics.recording.level", "TRACE");
        config.put("enable.metrics.push", "false");
        config.put("num.standby.replicas", "1");
        config.put("commit.interval.ms", "100");
        config.put("default.key.serde", Serdes.StringSerde.class);
        config.put("default.value.serde", Serdes.StringSerde.class);
        config.put("state.dir", Files.createTempDirectory("streams-metrics").toString());
        return config;
    }

    static void values(Set<String> lines) throws Exception {
        try (TopologyTestDriver driver = new TopologyTestDriver(topology(), config("none:1"), Instant.ofEpochMilli(100_000))) {
            TestInputTopic<String, String> words =
                driver.createInputTopic("words", new StringSerializer(), new StringSerializer());
            for (String[] word : WORDS) {
                words.pipeInput(word[0], word[1], Long.parseLong(word[2]));
                driver.advanceWallClockTime(Duration.ofMillis(500));
            }
            TestInputTopic<String, String> table =
                driver.createInputTopic("table", new StringSerializer(), new StringSerializer());
            table.pipeInput("k", "v", 41_000);
            table.pipeInput("k", "v", 42_000);
            table.pipeInput("k", "v", 39_000);
            table.pipeInput("l", null, 43_000);
            for (Map.Entry<MetricName, ? extends Metric> entry : driver.metrics().entrySet()) {
                MetricName name = entry.getKey();
                List<String> tags = new ArrayList<>();
                new TreeMap<>(name.tags()).forEach((tag, value) -> { if (!tag.equals("thread-id")) tags.add(tag + "=" + value); });
                lines.add(String.join("\t", name.group(), name.name(), String.join(",", tags), "" + entry.getValue().metricValue()));
            }
        }
    }

    static void names(String address, Set<String> lines) throws Exception {
        Map<String, Object> common = Map.of("bootstrap.servers", address);
        try (Admin admin = Admin.create(common)) {
            List<NewTopic> topics = new ArrayList<>();
            for (String topic : List.of("words", "table", "counted", "windows", "windows-2", "sessions-out"))
                topics.add(new NewTopic(topic, 2, (short) 1));
            admin.createTopics(topics).all().get();
        }
        List<KafkaStreams> instances = new ArrayList<>();
        for (String protocol : List.of("classic", "classic", "streams")) {
            Properties config = config(address);
            config.put("application.id", "recorded-" + protocol);
            config.put("group.protocol", protocol);
            if (protocol.equals("streams")) config.remove("num.standby.replicas");
            instances.add(new KafkaStreams(topology(), config));
        }
        instances.forEach(KafkaStreams::start);
        try (Producer<String, String> producer = new KafkaProducer<>(common, new StringSerializer(), new StringSerializer())) {
            for (int round = 0; round < 30; round++) {
                for (String[] word : WORDS)
                    producer.send(new ProducerRecord<>("words", round % 2, Long.parseLong(word[2]), word[0], word[1])).get();
                producer.send(new ProducerRecord<>("table", round % 2, 1L, "k", "v")).get();
                Thread.sleep(500);
            }
        }
        for (KafkaStreams instance : instances) print(instance, lines);
        instances.forEach(KafkaStreams::close);
    }

    static void print(KafkaStreams streams, Set<String> lines) throws Exception {
        Metrics metrics = (Metrics) field(KafkaStreams.class, "metrics", streams);
        Map<MetricName, String> levels = new HashMap<>();
        for (Object sensor : ((Map<?, ?>) field(Metrics.class, "sensors", metrics)).values())
            for (Object name : ((Map<?, ?>) field(Sensor.class, "metrics", sensor)).keySet())
                levels.put((MetricName) name, "" + field(Sensor.class, "recordingLevel", sensor));
        for (Map.Entry<MetricName, KafkaMetric> entry : metrics.metrics().entrySet()) {
            MetricName name = entry.getKey();
            String kind;
            try {
                Measurable measurable = entry.getValue().measurable();
                kind = measurable.getClass().isSynthetic() || measurable.getClass().isHidden() ? "gauge" : measurable.getClass().getSimpleName();
                if (measurable instanceof org.apache.kafka.common.metrics.stats.Rate)
                    kind += ":" + field(measurable.getClass(), "unit", measurable) + ":" + field(measurable.getClass(), "stat", measurable).getClass().getSimpleName();
            } catch (IllegalStateException e) {
                kind = entry.getValue().metricValue() instanceof String ? "text" : "gauge";
            }
            lines.add(String.join("\t", name.group(), name.name(), String.join(",", new TreeSet<>(name.tags().keySet())),
                levels.getOrDefault(name, "INFO"), kind, name.description().strip()));
        }
    }

    static Object field(Class<?> of, String name, Object in) throws Exception {
        Field field = of.getDeclaredField(name);
        field.setAccessible(true);
        return field.get(in);
    }
}
