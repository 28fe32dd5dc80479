package org.apache.kafka.streams.processor.internals;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.streams.processor.TaskId;
import org.apache.kafka.streams.processor.assignment.AssignmentConfigs;
import org.apache.kafka.streams.processor.assignment.ProcessId;
import org.apache.kafka.streams.processor.internals.assignment.AssignmentInfo;
import org.apache.kafka.streams.processor.internals.assignment.ClientState;
import org.apache.kafka.streams.processor.internals.assignment.FallbackPriorTaskAssignor;
import org.apache.kafka.streams.processor.internals.assignment.HighAvailabilityTaskAssignor;
import org.apache.kafka.streams.processor.internals.assignment.LegacyTaskAssignor;
import org.apache.kafka.streams.processor.internals.assignment.RackAwareTaskAssignor;
import org.apache.kafka.streams.processor.internals.assignment.SubscriptionInfo;
import org.apache.kafka.streams.state.HostInfo;

/**
 * What Kafka's own assignors make of random clusters: JSON lines that crates/streams/src/runtime/assignor/golden.rs reads.
 * In this package because what divides a client's tasks among its threads is not public.
 */
public final class Assignments {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private final Random random;

    private Assignments(final long seed) {
        random = new Random(seed);
    }

    /** One line a case: case I of a seed is the same whatever COUNT is. */
    public static List<String> lines(final long seed, final int count) throws Exception {
        final List<String> lines = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            lines.add(MAPPER.writeValueAsString(new Assignments(seed * 1_000_003 + i).cluster(i % 8 == 7)));
        }
        for (int version = 1; version <= 11; version++) {
            lines.add(MAPPER.writeValueAsString(new Assignments(seed + version).messages(version)));
        }
        return lines;
    }

    private ObjectNode cluster(final boolean endsUnknown) {
        final ObjectNode out = MAPPER.createObjectNode();
        final Set<TaskId> all = new TreeSet<>();
        final Map<TaskId, Long> ends = new TreeMap<>();
        final int subtopologies = 1 + random.nextInt(3);
        for (int s = 0; s < subtopologies; s++) {
            final boolean stateful = s == 0 || random.nextInt(3) > 0;
            final int partitions = 1 + random.nextInt(random.nextInt(4) == 0 ? 20 : 7);
            for (int p = 0; p < partitions; p++) {
                all.add(new TaskId(s, p));
                if (stateful) {
                    ends.put(new TaskId(s, p), endsUnknown ? SubscriptionInfo.UNKNOWN_OFFSET_SUM : random.nextInt(50_000));
                }
            }
        }
        final long lag = random.nextInt(5) == 0 ? 0 : random.nextInt(8) == 0 ? Long.MAX_VALUE : 10_000;
        final AssignmentConfigs configs =
            new AssignmentConfigs(lag, 1 + random.nextInt(3), random.nextInt(3), 600_000L, List.of());
        out.put("acceptable_lag", lag).put("warmups", configs.maxWarmupReplicas()).put("standbys", configs.numStandbyReplicas());
        put(out.putArray("stateless"), all.stream().filter(t -> !ends.containsKey(t)).toList());
        final ObjectNode endsOut = out.putObject("ends");
        ends.forEach((task, end) -> endsOut.put(task.toString(), end));

        // The topic of a sub-topology is t0, t1, ..., so that a partition tells its task.
        final Map<TopicPartition, TaskId> taskFor = new HashMap<>();
        all.forEach(task -> taskFor.put(new TopicPartition("t" + task.subtopology(), task.partition()), task));
        final Map<ProcessId, ClientState> clients = new HashMap<>();
        final Map<ProcessId, List<String>> consumers = new HashMap<>();
        final Map<ProcessId, Map<String, Optional<String>>> racks = new HashMap<>();
        final Set<TaskId> owned = new HashSet<>();
        final ArrayNode clientsOut = out.putArray("clients");
        final int clientCount = 1 + random.nextInt(random.nextInt(3) == 0 ? 8 : 4);
        for (int c = 0; c < clientCount; c++) {
            final ProcessId id = new ProcessId(new UUID(random.nextLong(), random.nextLong()));
            final ClientState state = new ClientState(id, Map.of());
            final ObjectNode clientOut = clientsOut.addObject().put("id", id.toString());
            final ObjectNode consumersOut = clientOut.putObject("consumers");
            final Set<TaskId> here = new HashSet<>();
            final int threads = 1 + random.nextInt(random.nextInt(3) == 0 ? 5 : 2);
            for (int t = 0; t < threads; t++) {
                final String consumer = "c" + random.nextInt(100) + "-" + c + "-" + t;
                final ObjectNode consumerOut = consumersOut.putObject(consumer);
                final Map<TaskId, Long> sums = new HashMap<>();
                final List<TopicPartition> partitions = new ArrayList<>();
                for (final TaskId task : all) {
                    final boolean mine = random.nextInt(3) == 0 && owned.add(task);
                    if (mine) {
                        partitions.add(new TopicPartition("t" + task.subtopology(), task.partition()));
                    }
                    if (ends.containsKey(task) && !here.contains(task) && (mine || random.nextInt(4) == 0)) {
                        here.add(task);
                        // One that it runs may still be restored.
                        sums.put(task, mine && random.nextInt(5) > 0 ? Task.LATEST_OFFSET : (long) random.nextInt(55_000));
                    }
                }
                state.incrementCapacity();
                state.addOwnedPartitions(partitions, consumer);
                state.addPreviousTasksAndOffsetSums(consumer, sums);
                consumers.computeIfAbsent(id, x -> new ArrayList<>()).add(consumer);
                racks.computeIfAbsent(id, x -> new HashMap<>()).put(consumer, Optional.empty());
                put(consumerOut.putArray("owned"), partitions.stream().map(taskFor::get).toList());
                final ObjectNode sumsOut = consumerOut.putObject("sums");
                new TreeMap<>(sums).forEach((task, sum) -> sumsOut.put(task.toString(), sum));
            }
            state.initializePrevTasks(taskFor, false);
            state.computeTaskLags(id, ends);
            clients.put(id, state);
        }

        final RackAwareTaskAssignor noRacks = new RackAwareTaskAssignor(
            Cluster.empty(), Map.of(), Map.of(), Map.of(), racks, null, configs, Time.SYSTEM);
        final LegacyTaskAssignor assignor = endsUnknown ? new FallbackPriorTaskAssignor() : new HighAvailabilityTaskAssignor();
        out.put("probing", assignor.assign(clients, all, new TreeSet<>(ends.keySet()), noRacks, configs));
        final ObjectNode assigned = out.putObject("assigned");
        for (final Map.Entry<ProcessId, ClientState> client : new TreeMap<>(clients).entrySet()) {
            final ClientState state = client.getValue();
            final TreeSet<String> threads = new TreeSet<>(consumers.get(client.getKey()));
            final Map<String, Integer> load = new HashMap<>();
            final var stateful = StreamsPartitionAssignor.assignTasksToThreads(state.statefulActiveTasks(), true, threads, state, load);
            final var standby = StreamsPartitionAssignor.assignTasksToThreads(state.standbyTasks(), true, threads, state, load);
            final var stateless = StreamsPartitionAssignor.assignTasksToThreads(state.statelessActiveTasks(), false, threads, state, load);
            for (final String thread : threads) {
                final ArrayNode of = assigned.putArray(thread);
                final Set<TaskId> active = new TreeSet<>(stateful.get(thread));
                active.addAll(stateless.get(thread));
                put(of.addArray(), active);
                put(of.addArray(), new TreeSet<>(standby.get(thread)));
            }
        }
        return out;
    }

    private static void put(final ArrayNode out, final Collection<TaskId> tasks) {
        tasks.forEach(task -> out.add(task.toString()));
    }

    /** A subscription and an assignment of a version, as bytes. */
    private ObjectNode messages(final int version) {
        final UUID id = new UUID(random.nextLong(), random.nextLong());
        final String endpoint = version % 2 == 0 ? "host-" + version + ":80" + version : null;
        final Map<TaskId, Long> sums = Map.of(new TaskId(version, 2), version % 3 == 0 ? Task.LATEST_OFFSET : 77L * version);
        final SubscriptionInfo subscription = new SubscriptionInfo(
            version, 11, new ProcessId(id), endpoint, sums, (byte) version, version % 5, Map.of("zone", "z" + version));
        final HostInfo host = new HostInfo("host-" + version, 8000 + version);
        final Set<TopicPartition> active = Set.of(new TopicPartition("topic", version));
        final Set<TopicPartition> standby = Set.of(new TopicPartition("topic", version + 1));
        final AssignmentInfo assignment = new AssignmentInfo(
            version, 11, List.of(new TaskId(0, version), new TaskId(0, version), new TaskId(1, 0)),
            Map.of(new TaskId(0, version + 1), standby), Map.of(host, active), Map.of(host, standby), version % 5);
        assignment.setNextRebalanceTime(1_000_000_007L * version);
        return MAPPER.createObjectNode().put("version", version)
            .put("process", id.toString())
            .put("subscription", hex(subscription.encode())).put("assignment", hex(assignment.encode()));
    }

    private static String hex(final ByteBuffer bytes) {
        final byte[] array = new byte[bytes.remaining()];
        bytes.duplicate().get(array);
        return HexFormat.of().formatHex(array);
    }
}
