//! Assignors against Kafka's results, and properties that hold for all of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Made by running Apache Kafka 4.3.1's assignors over random groups: one line per rebalance, `new`
/// where a new assignor begins, with racks, static members, growing topics, members that come, go,
/// lag behind or claim partitions of others.
const GOLDEN: &str = include_str!("golden.jsonl");

fn assignor(name: &str) -> Box<dyn PartitionAssignor> {
    match name {
        "range" => Box::new(RangeAssignor),
        "roundrobin" => Box::new(RoundRobinAssignor),
        "sticky" => Box::new(StickyAssignor::default()),
        "cooperative-sticky" => Box::new(CooperativeStickyAssignor::default()),
        other => panic!("no assignor {other}"),
    }
}

/// Built-in assignors are ready at once.
fn run(
    assignor: &mut dyn PartitionAssignor,
    metadata: &AssignorMetadata,
    group: &GroupSubscription,
) -> GroupAssignment {
    let mut future = assignor.assign(metadata, group);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => result.unwrap(),
        std::task::Poll::Pending => panic!("not ready"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn partition(value: &Value) -> TopicPartition {
    let name = value.as_str().unwrap();
    let (topic, number) = name.rsplit_once('-').unwrap();
    TopicPartition::new(topic, number.parse().unwrap())
}

fn bytes_of_hex(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn subscription(member: &Value) -> Subscription {
    let generation = member["generation"].as_i64().unwrap() as i32;
    Subscription {
        topics: member["topics"].as_array().unwrap().iter().map(text).collect(),
        user_data: member["user_data"].as_str().map(bytes_of_hex),
        owned_partitions: member["owned"].as_array().unwrap().iter().map(partition).collect(),
        generation_id: (generation >= 0).then_some(generation),
        rack_id: member["rack"].as_str().map(str::to_owned),
        group_instance_id: member["instance"].as_str().map(str::to_owned),
    }
}

#[test]
fn results_are_kafkas() {
    let mut current: Option<Box<dyn PartitionAssignor>> = None;
    for (at, line) in GOLDEN.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = text(&case["assignor"]);
        if case["new"].as_bool().unwrap() {
            current = Some(assignor(&name));
        }
        let mut metadata = AssignorMetadata::new();
        for (topic, partitions) in case["topics"].as_object().unwrap() {
            let racks = |p: &Value| AssignorPartition::new(p.as_array().unwrap().iter().map(text));
            metadata.insert(topic, partitions.as_array().unwrap().iter().map(racks).collect());
        }
        let members = case["members"].as_array().unwrap();
        let group = GroupSubscription::new(members.iter().map(|m| (text(&m["id"]), subscription(m))).collect());
        let result = run(current.as_mut().unwrap().as_mut(), &metadata, &group);
        let order = |mut list: Vec<TopicPartition>| {
            if name == "range" {
                // Kafka's order of topics is that of a hash table here.
                list.sort();
            }
            list
        };
        let expected: BTreeMap<String, Vec<TopicPartition>> = case["expected"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(id, list)| (id.clone(), order(list.as_array().unwrap().iter().map(partition).collect())))
            .collect();
        let got: BTreeMap<String, Vec<TopicPartition>> =
            result.members.into_iter().map(|(id, a)| (id, order(a.partitions))).collect();
        assert_eq!(got, expected, "case {} of {name}: {line}", at + 1);
    }
}

#[derive(Debug, Clone)]
struct Group {
    topics: Vec<usize>,
    members: Vec<Vec<bool>>,
}

fn group() -> impl Strategy<Value = Group> {
    (prop::collection::vec(1usize..7, 1..5), 1usize..7)
        .prop_flat_map(|(topics, members)| {
            let subscriptions = prop::collection::vec(prop::collection::vec(any::<bool>(), topics.len()), members);
            (Just(topics), subscriptions)
        })
        .prop_map(|(topics, members)| Group { topics, members })
}

fn topic_name(at: usize) -> String {
    format!("t{at}")
}

impl Group {
    fn metadata(&self) -> AssignorMetadata {
        let mut metadata = AssignorMetadata::new();
        for (at, &count) in self.topics.iter().enumerate() {
            metadata.insert(topic_name(at), vec![AssignorPartition::default(); count]);
        }
        metadata
    }

    fn subscriptions(&self, owned: &GroupAssignment, generation: Option<i32>) -> GroupSubscription {
        let members = self.members.iter().enumerate().map(|(at, wants)| {
            let id = format!("m{at}");
            let topics = (0..wants.len()).filter(|&t| wants[t]).map(topic_name).collect();
            let mut subscription = Subscription::new(topics);
            if let Some(assignment) = owned.members.get(&id) {
                subscription.owned_partitions = assignment.partitions.clone();
                subscription.generation_id = generation;
            }
            (id, subscription)
        });
        GroupSubscription::new(members.collect())
    }

    /// Every partition that somebody wants, once, at somebody who wants it.
    fn check_complete(&self, result: &GroupAssignment) -> Result<(), TestCaseError> {
        let mut seen: BTreeSet<&TopicPartition> = BTreeSet::new();
        for (at, wants) in self.members.iter().enumerate() {
            for tp in &result.members[&format!("m{at}")].partitions {
                let topic: usize = tp.topic()[1..].parse().unwrap();
                prop_assert!(wants[topic], "m{at} got {tp} without a subscription");
                prop_assert!(seen.insert(tp), "{tp} assigned twice");
            }
        }
        let wanted: usize =
            (0..self.topics.len()).filter(|&t| self.members.iter().any(|m| m[t])).map(|t| self.topics[t]).sum();
        prop_assert_eq!(seen.len(), wanted);
        Ok(())
    }
}

fn sorted(assignment: &GroupAssignment) -> BTreeMap<&String, BTreeSet<&TopicPartition>> {
    assignment.members.iter().map(|(id, a)| (id, a.partitions.iter().collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_assigned_once(group in group()) {
        let nothing = GroupAssignment::default();
        for name in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
            let result = run(assignor(name).as_mut(), &group.metadata(), &group.subscriptions(&nothing, None));
            group.check_complete(&result)?;
        }
    }

    #[test]
    fn cooperative_rebalances_settle_and_stay(group in group(), gone in any::<prop::sample::Index>()) {
        let mut assignor = CooperativeStickyAssignor::default();
        let metadata = group.metadata();
        let first = run(&mut assignor, &metadata, &group.subscriptions(&GroupAssignment::default(), None));
        group.check_complete(&first)?;
        let again = run(&mut assignor, &metadata, &group.subscriptions(&first, Some(1)));
        prop_assert_eq!(sorted(&again), sorted(&first), "nothing changed, nothing moves");

        // A member comes back with nothing: one rebalance revokes, the next one assigns.
        let mut reduced = first.clone();
        let id = format!("m{}", gone.index(group.members.len()));
        reduced.members.insert(id, Assignment::default());
        let second = run(&mut assignor, &metadata, &group.subscriptions(&reduced, Some(2)));
        for (id, assignment) in &second.members {
            for tp in &assignment.partitions {
                let owner = reduced.members.iter().find(|(_, a)| a.partitions.contains(tp));
                prop_assert!(owner.is_none_or(|(owner, _)| owner == id), "{tp} was not revoked first");
            }
        }
        let third = run(&mut assignor, &metadata, &group.subscriptions(&second, Some(3)));
        group.check_complete(&third)?;
    }
}
