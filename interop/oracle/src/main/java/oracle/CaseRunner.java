package oracle;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.test.TestRecord;

/** Runs one case in the real TopologyTestDriver and returns its `expected` object. */
final class CaseRunner {
    /** Adds the JVM's full messages, for reading; files for keeping are made without. */
    private static final boolean SHOW_MESSAGES = System.getenv("ORACLE_MESSAGES") != null;
    private static final Set<String> COMMON_WORDS = Set.of("a", "in", "to", "is", "of", "the", "be", "by", "on", "not", "time",
        "store", "table", "stream", "string", "key", "value", "source", "window", "session", "sliding", "topic", "process",
        "continue", "fail", "count", "name", "state", "all", "join", "same", "other", "true", "false", "left", "right", "error",
        "0", "1", "s", "t", "default", "sometimes", "no", "none", "one", "two", "first", "second", "filter", "processor");

    private final JsonNode testCase;
    private final ObjectNode expected = Payload.JSON.objectNode();
    private final Map<String, ArrayNode> topics = new TreeMap<>();
    private final ArrayNode observed = Payload.JSON.arrayNode();
    private final ArrayNode reads = Payload.JSON.arrayNode();
    private final TreeSet<Bytes> keys = new TreeSet<>();
    private int event = -1;

    private CaseRunner(final JsonNode testCase) {
        this.testCase = testCase;
    }

    static ObjectNode run(final JsonNode testCase) {
        final Path stateDir;
        try {
            stateDir = Files.createTempDirectory("oracle-state");
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
        try {
            final CaseRunner runner = new CaseRunner(testCase);
            runner.runIn(stateDir);
            return runner.expected;
        } finally {
            delete(stateDir);
        }
    }

    static void delete(final Path dir) {
        try (Stream<Path> files = Files.walk(dir)) {
            files.sorted(Comparator.reverseOrder()).forEach(f -> f.toFile().delete());
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void runIn(final Path stateDir) {
        final Properties properties = new Properties();
        final Topology topology;
        try {
            configure(testCase, properties);
            properties.put(StreamsConfig.STATE_DIR_CONFIG, stateDir.toString());
            properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "unused:1");
            topology = new TopologyInterpreter(properties, this::observe).build(testCase.get("topology"));
        } catch (final TopologyInterpreter.StepFailed e) {
            failed("build", e.getCause()).put("step", e.step);
            return;
        } catch (final RuntimeException e) {
            failed("config", e);
            return;
        }
        expected.put("describe", topology.describe().toString());
        final Instant start = Instant.ofEpochMilli(testCase.path("wallClock").asLong(0));
        final TopologyTestDriver driver;
        try {
            driver = new TopologyTestDriver(topology, properties, start);
        } catch (final RuntimeException e) {
            failed("start", e);
            return;
        }
        try {
            expected.set("internalTopics", InternalTopics.describe(topology, properties));
        } catch (final RuntimeException e) {
            failed("topics", e);
            driver.close();
            return;
        }
        boolean ok = false;
        try {
            capture(driver);
            for (final JsonNode e : testCase.get("events")) {
                event++;
                play(driver, e);
                capture(driver);
            }
            ok = true;
        } catch (final RuntimeException e) {
            failed("event", e).put("event", event);
        }
        writeResults(driver, ok);
        try {
            driver.close();
        } catch (final RuntimeException e) {
            if (ok) {
                failed("close", e);
            }
        }
    }

    private void observe(final String step, final Object key, final Object value) {
        final ObjectNode seen = observed.addObject().put("at", event).put("step", step);
        seen.set("key", Payload.typed(key));
        seen.set("value", Payload.typed(value));
    }

    private void play(final TopologyTestDriver driver, final JsonNode e) {
        if (e.has("advance")) {
            driver.advanceWallClockTime(Duration.ofMillis(e.get("advance").asLong()));
        } else if (e.has("read")) {
            final StateStore store = driver.getAllStateStores().get(e.get("read").asText());
            reads.addObject().put("at", event).put("result",
                StoreCommands.run(store, e.get("command").asText(), 0L, new RecordHeaders()));
        } else {
            final byte[] key = Payload.bytes(e.get("key"));
            if (key != null) {
                keys.add(Bytes.wrap(key));
            }
            final TestInputTopic<byte[], byte[]> topic =
                driver.createInputTopic(e.get("topic").asText(), new ByteArraySerializer(), new ByteArraySerializer());
            pipe(topic, e, key);
        }
    }

    private static void pipe(final TestInputTopic<byte[], byte[]> topic, final JsonNode e, final byte[] key) {
        topic.pipeInput(new TestRecord<>(key, Payload.bytes(e.get("value")), Payload.headers(e.get("headers")), e.get("ts").asLong()));
    }

    private void capture(final TopologyTestDriver driver) {
        for (final String topic : driver.producedTopicNames()) {
            final List<TestRecord<byte[], byte[]>> records =
                driver.createOutputTopic(topic, new ByteArrayDeserializer(), new ByteArrayDeserializer()).readRecordsToList();
            final ArrayNode out = topics.computeIfAbsent(topic, t -> Payload.JSON.arrayNode());
            for (final TestRecord<byte[], byte[]> r : records) {
                if (r.key() != null) {
                    keys.add(Bytes.wrap(r.key()));
                }
                final ObjectNode record = out.addObject().put("at", event);
                record.set("key", Payload.json(r.key()));
                record.set("value", Payload.json(r.value()));
                record.put("ts", r.timestamp());
                if (r.headers().iterator().hasNext()) {
                    record.set("headers", Payload.headers(r.headers()));
                }
            }
        }
    }

    private void writeResults(final TopologyTestDriver driver, final boolean ok) {
        final ObjectNode out = expected.putObject("topics");
        topics.forEach(out::set);
        if (!observed.isEmpty()) {
            expected.set("observed", observed);
        }
        if (!reads.isEmpty()) {
            expected.set("reads", reads);
        }
        if (!ok) {
            return;
        }
        final ObjectNode stores = expected.putObject("stores");
        final boolean headersFormat = testCase.at("/config/dsl.store.format").asText().equalsIgnoreCase("headers")
            || testCase.get("topology").toString().contains("_with_headers");
        new TreeMap<>(driver.getAllStateStores()).forEach((name, store) -> stores.set(name, StoreDump.dump(store, keys, headersFormat)));
        expected.put("droppedRecords", driver.metrics().entrySet().stream()
            .filter(m -> m.getKey().name().equals("dropped-records-total"))
            .mapToLong(m -> ((Number) m.getValue().metricValue()).longValue()).sum());
    }

    // ---- configuration -----------------------------------------------------------------------

    /** Kafka configuration names; values that would be classes are canned names (FORMAT.md, "Configuration"). */
    static void configure(final JsonNode testCase, final Properties properties) {
        testCase.get("config").fields().forEachRemaining(e -> {
            final String value = e.getValue().asText();
            properties.put(e.getKey(), switch (e.getKey()) {
                case StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG ->
                    SerdeNames.serdeClass(value);
                case StreamsConfig.DESERIALIZATION_EXCEPTION_HANDLER_CLASS_CONFIG -> Canned.deserializationHandler(value);
                case StreamsConfig.PROCESSING_EXCEPTION_HANDLER_CLASS_CONFIG -> Canned.processingHandler(value);
                case StreamsConfig.PRODUCTION_EXCEPTION_HANDLER_CLASS_CONFIG -> Canned.productionHandler(value);
                case StreamsConfig.DEFAULT_TIMESTAMP_EXTRACTOR_CLASS_CONFIG -> Canned.extractorClass(value);
                case StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG -> StoreSpecs.dslSuppliers(value).getClass();
                default -> value;
            });
        });
    }

    // ---- errors ------------------------------------------------------------------------------

    private ObjectNode failed(final String stage, final Throwable error) {
        final ObjectNode node = expected.putObject("error");
        node.put("stage", stage);
        final ArrayNode chain = node.putArray("chain");
        final List<Throwable> seen = new ArrayList<>();
        for (Throwable t = error; t != null && !seen.contains(t); t = t.getCause()) {
            seen.add(t);
            final ObjectNode link = chain.addObject().put("class", t.getClass().getName().replace("oracle.Fn$", ""));
            if (t instanceof Fn.Boom) {
                link.put("message", t.getMessage());
            } else {
                mentions(t.getMessage()).forEach(link.putArray("mentions")::add);
                if (SHOW_MESSAGES) {
                    link.put("message", clean(t.getMessage()));
                }
            }
        }
        return node;
    }

    /**
     * What a message says about this case: generated node names, and the numbers and names of the case that the
     * message contains.  The wording around them is the JVM's own and no part of the expectation.
     */
    private TreeSet<String> mentions(final String message) {
        final TreeSet<String> found = new TreeSet<>();
        if (message != null) {
            final Set<String> known = new HashSet<>();
            names(testCase.get("config"), known);
            names(testCase.get("topology"), known);
            for (final String token : message.split("[^A-Za-z0-9_-]+")) {
                if (token.matches(".*-[0-9]{10}.*") || known.contains(token) && !COMMON_WORDS.contains(token)) {
                    found.add(token);
                }
            }
        }
        return found;
    }

    private static void names(final JsonNode node, final Set<String> into) {
        if (node.isValueNode()) {
            into.add(node.asText());
        } else {
            node.forEach(child -> names(child, into));
        }
    }

    /** Removes what differs between two runs of the JVM: stack traces, identity hashes, lambda names. */
    private static String clean(final String message) {
        if (message == null) {
            return null;
        }
        final int trace = message.indexOf("stacktrace=");
        return (trace < 0 ? message : message.substring(0, trace) + "stacktrace=...")
            .replaceAll("\\$\\$Lambda[/\\w.]*", "\\$\\$Lambda")
            .replaceAll("@[0-9a-f]{5,8}\\b", "@...")
            .replaceAll("/\\S*oracle-state[0-9]+", "STATE_DIR");
    }
}
