package oracle;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import org.apache.kafka.coordinator.group.streams.assignor.AssignmentMemberSpec;
import org.apache.kafka.coordinator.group.streams.assignor.GroupSpecImpl;
import org.apache.kafka.coordinator.group.streams.assignor.MemberAssignment;
import org.apache.kafka.coordinator.group.streams.assignor.StickyTaskAssignor;
import org.apache.kafka.coordinator.group.streams.assignor.TopologyDescriber;

/**
 * What the assignor of Kafka's group coordinator makes of random streams groups: JSON lines that
 * crates/broker/src/coordinator/group/streams/tests/golden.rs reads. Half of the groups have gone through an assignment
 * before, and members have come, gone and moved since; in the others members have had tasks by chance.
 */
final class GroupAssignments {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private final Random random;
    private final TreeMap<String, Integer> tasks = new TreeMap<>();
    private final Set<String> stateful = new HashSet<>();
    private final TreeMap<String, AssignmentMemberSpec> members = new TreeMap<>();
    private int standbys;

    private GroupAssignments(final long seed) {
        random = new Random(seed);
    }

    /** One line a case: case I of a seed is the same whatever COUNT is. */
    static List<String> lines(final long seed, final int count) throws Exception {
        final List<String> lines = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            lines.add(MAPPER.writeValueAsString(new GroupAssignments(seed * 1_000_003 + i).group(i % 2 == 0)));
        }
        return lines;
    }

    private ObjectNode group(final boolean hasHistory) {
        standbys = random.nextInt(4) == 0 ? 2 : random.nextInt(2);
        final int subtopologies = 1 + random.nextInt(random.nextInt(5) == 0 ? 14 : 3);
        for (int s = 0; s < subtopologies; s++) {
            final String id = Integer.toString(s);
            tasks.put(id, 1 + random.nextInt(random.nextInt(4) == 0 ? 24 : 7));
            if (random.nextInt(3) > 0) {
                stateful.add(id);
            }
        }
        final int processes = 1 + random.nextInt(random.nextInt(3) == 0 ? 20 : 4);
        for (int p = 0; p < processes; p++) {
            addProcess();
        }
        if (hasHistory) {
            for (int round = random.nextInt(3); round >= 0; round--) {
                final Map<String, MemberAssignment> before = assign();
                members.replaceAll((id, member) ->
                    spec(member.processId(), before.get(id).activeTasks(), before.get(id).standbyTasks()));
                change();
            }
        } else {
            final Set<String> active = new HashSet<>();
            members.replaceAll((id, member) -> spec(member.processId(), some(active), some(null)));
        }
        final ObjectNode out = MAPPER.createObjectNode().put("standbys", standbys);
        final ObjectNode subtopologiesOut = out.putObject("subtopologies");
        tasks.forEach((id, count) -> subtopologiesOut.putArray(id).add(count).add(stateful.contains(id)));
        final ObjectNode membersOut = out.putObject("members");
        members.forEach((id, member) -> {
            final ObjectNode memberOut = membersOut.putObject(id).put("process", member.processId());
            put(memberOut.putArray("active"), member.activeTasks());
            put(memberOut.putArray("standby"), member.standbyTasks());
        });
        final ObjectNode assigned = out.putObject("assigned");
        new TreeMap<>(assign()).forEach((id, assignment) -> {
            final ArrayNode of = assigned.putArray(id);
            put(of.addArray(), assignment.activeTasks());
            put(of.addArray(), assignment.standbyTasks());
        });
        return out;
    }

    private void addProcess() {
        // Mostly short, as the file of cases is in the tree.
        final String process = random.nextInt(8) == 0
            ? new UUID(random.nextLong(), random.nextLong()).toString()
            : "p" + random.nextInt(100_000);
        final int threads = 1 + random.nextInt(random.nextInt(3) == 0 ? 16 : 3);
        for (int t = 0; t < threads; t++) {
            addMember(process);
        }
    }

    private void addMember(final String process) {
        final byte[] id = new byte[random.nextInt(8) == 0 ? 16 : 3];
        random.nextBytes(id);
        members.put(Base64.getUrlEncoder().withoutPadding().encodeToString(id), spec(process, Map.of(), Map.of()));
    }

    /** Members go and come, a topic gets partitions, standbys are wanted or no longer. */
    private void change() {
        final List<String> ids = new ArrayList<>(members.keySet());
        for (int gone = random.nextInt(3); gone > 0 && members.size() > 1; gone--) {
            members.remove(ids.get(random.nextInt(ids.size())));
        }
        if (random.nextInt(2) == 0) {
            addProcess();
        }
        if (random.nextInt(3) == 0) {
            addMember(members.firstEntry().getValue().processId());
        }
        if (random.nextInt(6) == 0) {
            tasks.replaceAll((id, count) -> count + random.nextInt(3));
        }
        if (random.nextInt(6) == 0) {
            standbys = random.nextInt(3);
        }
    }

    /** Tasks by chance; none that is in `taken`, if there is such a set. */
    private Map<String, Set<Integer>> some(final Set<String> taken) {
        final Map<String, Set<Integer>> some = new HashMap<>();
        tasks.forEach((id, count) -> {
            for (int partition = 0; partition < count; partition++) {
                final boolean chosen = random.nextInt(4) == 0 && (taken != null || stateful.contains(id));
                if (chosen && (taken == null || taken.add(id + '_' + partition))) {
                    some.computeIfAbsent(id, x -> new HashSet<>()).add(partition);
                }
            }
        });
        return some;
    }

    private static AssignmentMemberSpec spec(
        final String process,
        final Map<String, Set<Integer>> active,
        final Map<String, Set<Integer>> standby
    ) {
        return new AssignmentMemberSpec(
            Optional.empty(), Optional.empty(), active, standby, Map.of(), process, Map.of(), Map.of(), Map.of());
    }

    private Map<String, MemberAssignment> assign() {
        final Map<String, AssignmentMemberSpec> specs = new HashMap<>();
        members.forEach(specs::put);
        final TopologyDescriber topology = new TopologyDescriber() {
            @Override
            public List<String> subtopologies() {
                return List.copyOf(tasks.keySet());
            }

            @Override
            public int maxNumInputPartitions(final String subtopology) {
                return tasks.get(subtopology);
            }

            @Override
            public boolean isStateful(final String subtopology) {
                return stateful.contains(subtopology);
            }
        };
        final Map<String, String> configs = Map.of("num.standby.replicas", Integer.toString(standbys));
        return new StickyTaskAssignor().assign(new GroupSpecImpl(specs, configs), topology).members();
    }

    private static void put(final ArrayNode out, final Map<String, Set<Integer>> tasks) {
        new TreeMap<>(tasks).forEach((id, partitions) ->
            new TreeSet<>(partitions).forEach(partition -> out.add(id + '_' + partition)));
    }
}
