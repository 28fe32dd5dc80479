package oracle;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.apache.kafka.streams.processor.internals.Assignments;

/**
 * The command line.
 *
 * <pre>
 * run fill IN OUT            read cases (JSON lines), write them with `expected` filled in
 * run verify FILE...         run every case again and compare with its `expected`
 * run handmade YAML OUT      expand a hand-made YAML source and fill it in
 * run random FEATURE SEED COUNT OUT   generate random cases and fill them in
 * run assignments SEED COUNT OUT      what the assignors make of random groups, and their messages in all versions
 * run bench ROUNDS FILE...            the engine's speed over the cases of these files
 * run suite SOURCES OUT SEED COUNT    all YAML files of a directory and COUNT random cases of every feature
 * </pre>
 */
public final class Oracle {
    static final ObjectMapper MAPPER = new ObjectMapper().configure(JsonGenerator.Feature.AUTO_CLOSE_TARGET, false);

    private Oracle() {
    }

    public static void main(final String[] args) throws Exception {
        switch (args.length == 0 ? "" : args[0]) {
            case "fill" -> write(fill(read(Path.of(args[1]))), Path.of(args[2]));
            case "handmade" -> write(fill(Handmade.expand(Path.of(args[1]))), Path.of(args[2]));
            case "random" -> write(random(args[1], Long.parseLong(args[2]), Integer.parseInt(args[3])), Path.of(args[4]));
            case "suite" -> suite(Path.of(args[1]), Path.of(args[2]), Long.parseLong(args[3]), Integer.parseInt(args[4]));
            case "assignments" -> Files.write(Path.of(args[3]), Assignments.lines(Long.parseLong(args[1]), Integer.parseInt(args[2])));
            case "group-assignments" -> Files.write(Path.of(args[3]), GroupAssignments.lines(Long.parseLong(args[1]), Integer.parseInt(args[2])));
            case "bench" -> Bench.run(Integer.parseInt(args[1]), Stream.of(args).skip(2).map(Path::of).toList());
            case "verify" -> {
                int bad = 0;
                for (int i = 1; i < args.length; i++) {
                    bad += verify(Path.of(args[i]));
                }
                System.exit(bad == 0 ? 0 : 1);
            }
            default -> {
                System.err.println("usage: run fill IN OUT | verify FILE... | handmade YAML OUT | random FEATURE SEED COUNT OUT | assignments SEED COUNT OUT | group-assignments SEED COUNT OUT | suite SOURCES OUT SEED COUNT");
                System.exit(2);
            }
        }
    }

    /** JSON lines, or one JSON array of cases. */
    static List<JsonNode> read(final Path file) throws IOException {
        final List<JsonNode> cases = new ArrayList<>();
        try (var values = MAPPER.readerFor(JsonNode.class).<JsonNode>readValues(file.toFile())) {
            while (values.hasNext()) {
                final JsonNode node = values.next();
                if (node.isArray()) {
                    node.forEach(cases::add);
                } else {
                    cases.add(node);
                }
            }
        }
        return cases;
    }

    private static List<JsonNode> fill(final List<JsonNode> cases) {
        final List<JsonNode> filled = new ArrayList<>();
        for (final JsonNode c : cases) {
            final ObjectNode copy = c.deepCopy();
            copy.remove("expected");
            try {
                copy.set("expected", CaseRunner.run(copy));
            } catch (final RuntimeException e) {
                throw new IllegalStateException("case " + c.path("name").asText(), e);
            }
            filled.add(copy);
        }
        return filled;
    }

    private static void suite(final Path sources, final Path out, final long seed, final int count) throws IOException {
        Files.createDirectories(out);
        final List<Path> yaml;
        try (Stream<Path> files = Files.list(sources)) {
            yaml = files.filter(f -> f.toString().endsWith(".yaml")).sorted().toList();
        }
        for (final Path file : yaml) {
            write(fill(Handmade.expand(file)), out.resolve(file.getFileName().toString().replace(".yaml", ".jsonl")));
        }
        for (final String feature : RandomCases.FEATURES) {
            write(random(feature, seed, count), out.resolve("random_" + feature + ".jsonl"));
        }
    }

    /** The first `count` random cases of the seed that the JVM accepts and runs to their end. */
    private static List<JsonNode> random(final String feature, final long seed, final int count) {
        final List<JsonNode> cases = new ArrayList<>();
        for (int i = 0; cases.size() < count; i++) {
            final JsonNode filled = fill(List.of(RandomCases.generate(feature, seed, i))).get(0);
            if (!filled.get("expected").has("error")) {
                cases.add(filled);
            } else if (System.getenv("ORACLE_MESSAGES") != null) {
                System.err.println("skipped " + filled.get("name") + " " + filled.at("/expected/error"));
            }
            if (i > 3 * count + 20) {
                throw new IllegalStateException("too many random cases fail, such as " + filled);
            }
        }
        return cases;
    }

    private static void write(final List<JsonNode> cases, final Path file) throws IOException {
        try (BufferedWriter out = Files.newBufferedWriter(file)) {
            for (final JsonNode c : cases) {
                out.write(MAPPER.writeValueAsString(c));
                out.write('\n');
            }
        }
        final long errors = cases.stream().filter(c -> c.get("expected").has("error")).count();
        System.out.println(file.getFileName() + ": " + cases.size() + " cases, " + errors + " of them expect an error");
    }

    private static int verify(final Path file) throws IOException {
        int bad = 0;
        final List<JsonNode> cases = read(file);
        for (final JsonNode c : cases) {
            // Compared as text: numbers written as int and long are equal there.
            final String actual = MAPPER.writeValueAsString(CaseRunner.run(c));
            final String wanted = MAPPER.writeValueAsString(c.get("expected"));
            if (!actual.equals(wanted)) {
                bad++;
                System.out.println("DIFFERS " + file.getFileName() + " " + c.get("name").asText()
                    + "\n  expected " + wanted + "\n  actual   " + actual);
            }
        }
        System.out.println(file.getFileName() + ": " + cases.size() + " cases verified, " + bad + " differ");
        return bad;
    }
}
