package oracle;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.test.TestRecord;

/**
 * The speed of the bare engine: the events of every case that ends without an error, played again and again into one
 * driver, each round later than the one before. What is timed is piping; neither parsing nor looking at the output is.
 */
final class Bench {
    private Bench() {
    }

    private record Event(String topic, byte[] key, byte[] value, Headers headers, long timestamp, long advance) {
    }

    /** Plays all cases twice, {@code rounds} rounds each, and prints the second pass: the first warms the JIT up. */
    static void run(final int rounds, final List<Path> files) throws IOException {
        final List<JsonNode> cases = new ArrayList<>();
        for (final Path file : files) {
            for (final JsonNode c : Oracle.read(file)) {
                if (!c.get("expected").has("error")) {
                    cases.add(c);
                }
            }
        }
        for (int pass = 0; pass < 2; pass++) {
            long events = 0;
            long nanos = 0;
            for (final JsonNode c : cases) {
                final long[] played = play(c, rounds);
                events += played[0];
                nanos += played[1];
            }
            if (pass == 1) {
                System.out.println("{\"engine\": \"jvm\", \"cases\": " + cases.size() + ", \"events\": " + events
                    + ", \"ns_per_event\": " + nanos / Math.max(1, events) + "}");
            }
        }
    }

    private static long[] play(final JsonNode c, final int rounds) throws IOException {
        final Path stateDir = Files.createTempDirectory("oracle-state");
        try {
            final Properties properties = new Properties();
            CaseRunner.configure(c, properties);
            properties.put(StreamsConfig.STATE_DIR_CONFIG, stateDir.toString());
            properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "unused:1");
            final Topology topology = new TopologyInterpreter(properties, (step, key, value) -> { }).build(c.get("topology"));
            final Instant start = Instant.ofEpochMilli(c.path("wallClock").asLong(0));
            final List<Event> events = events(c);
            long span = 1;
            for (final Event e : events) {
                span = Math.max(span, e.timestamp + 1);
            }
            final TopologyTestDriver driver = new TopologyTestDriver(topology, properties, start);
            final long[] played = play(driver, events, span, rounds);
            try {
                driver.close();
            } catch (final RuntimeException e) {
                // After an error in a round.
            }
            return played;
        } finally {
            CaseRunner.delete(stateDir);
        }
    }

    private static List<Event> events(final JsonNode c) {
        final List<Event> events = new ArrayList<>();
        for (final JsonNode e : c.get("events")) {
            if (e.has("advance")) {
                events.add(new Event(null, null, null, null, 0, e.get("advance").asLong()));
            } else if (!e.has("read")) {
                events.add(new Event(e.get("topic").asText(), Payload.bytes(e.get("key")), Payload.bytes(e.get("value")),
                    Payload.headers(e.get("headers")), e.get("ts").asLong(), 0));
            }
        }
        return events;
    }

    private static long[] play(final TopologyTestDriver driver, final List<Event> events, final long span, final int rounds) {
        final Map<String, TestInputTopic<byte[], byte[]>> inputs = new HashMap<>();
        long count = 0;
        long nanos = 0;
        for (int round = 0; round < rounds; round++) {
            final long begin = System.nanoTime();
            try {
                for (final Event e : events) {
                    if (e.topic == null) {
                        driver.advanceWallClockTime(Duration.ofMillis(e.advance));
                    } else {
                        inputs.computeIfAbsent(e.topic,
                                topic -> driver.createInputTopic(topic, new ByteArraySerializer(), new ByteArraySerializer()))
                            .pipeInput(new TestRecord<>(e.key, e.value, e.headers, Math.max(0, e.timestamp) + round * span));
                    }
                }
            } catch (final RuntimeException e) {
                // A case may not bear being played again: its finished rounds count.
                break;
            }
            nanos += System.nanoTime() - begin;
            count += events.size();
            for (final String topic : driver.producedTopicNames()) {
                driver.createOutputTopic(topic, new ByteArrayDeserializer(), new ByteArrayDeserializer()).readRecordsToList();
            }
        }
        return new long[] {count, nanos};
    }
}
