//! What the JVM's own assignors made of random groups, and its messages in all versions.
//!
//! `golden.jsonl.gz` was written by `interop/oracle/run assignments 1 400 FILE`; `ASSIGNMENT_CASES` names a file with others.

#![allow(clippy::print_stdout, reason = "a chore reads what was compared")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::Path,
};

use flate2::read::GzDecoder;
use serde::Deserialize;
use uuid::Uuid;
use vltava_client::TopicPartition;

use super::{
    client_state::{ClientState, Clients, Role},
    high_availability::{self, AssignmentConfig},
    messages::{AssignmentInfo, Malformed, SubscriptionInfo},
    prior,
    process_id::ProcessId,
    threads,
};
use crate::task::TaskId;

const COMMITTED: &[u8] = include_bytes!("golden.jsonl.gz");

#[derive(Deserialize)]
#[serde(untagged)]
enum Case {
    Cluster(Cluster),
    Messages { version: i32, process: String, subscription: String, assignment: String },
}

#[derive(Deserialize)]
struct Cluster {
    acceptable_lag: i64,
    warmups: i32,
    standbys: usize,
    stateless: Vec<String>,
    ends: BTreeMap<String, i64>,
    clients: Vec<Client>,
    probing: bool,
    assigned: BTreeMap<String, [Vec<String>; 2]>,
}

#[derive(Deserialize)]
struct Client {
    id: String,
    consumers: BTreeMap<String, Consumer>,
}

#[derive(Deserialize)]
struct Consumer {
    owned: Vec<String>,
    sums: BTreeMap<String, i64>,
}

fn cases() -> Vec<Case> {
    let mut text = String::new();
    match std::env::var_os("ASSIGNMENT_CASES") {
        Some(file) => text = std::fs::read_to_string(Path::new(&file)).unwrap(),
        None => drop(GzDecoder::new(COMMITTED).read_to_string(&mut text).unwrap()),
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn task(text: &str) -> TaskId {
    let (subtopology, partition) = text.split_once('_').unwrap();
    TaskId { subtopology: subtopology.parse().unwrap(), partition: partition.parse().unwrap() }
}

/// As in the oracle: a sub-topology reads one topic.
fn partition(task: TaskId) -> TopicPartition {
    TopicPartition::new(format!("t{}", task.subtopology), task.partition)
}

fn by_task(sums: &BTreeMap<String, i64>) -> BTreeMap<TaskId, i64> {
    sums.iter().map(|(name, sum)| (task(name), *sum)).collect()
}

impl Cluster {
    fn check(&self, at: usize) {
        let ends = by_task(&self.ends);
        let stateful: BTreeSet<TaskId> = ends.keys().copied().collect();
        let all: BTreeSet<TaskId> =
            self.stateless.iter().map(|name| task(name)).chain(stateful.iter().copied()).collect();
        let task_of = all.iter().map(|task| (partition(*task), *task)).collect();
        let (mut clients, mut arrival) = (Clients::new(), Vec::new());
        for client in &self.clients {
            let mut state = ClientState::default();
            for (consumer, Consumer { owned, sums }) in &client.consumers {
                state.add_consumer(consumer, owned.iter().map(|name| partition(task(name))), &by_task(sums));
            }
            state.prepare(&task_of, &ends);
            let id = ProcessId(client.id.parse().unwrap());
            arrival.push(id);
            clients.insert(id, state);
        }
        let config = AssignmentConfig {
            acceptable_recovery_lag: self.acceptable_lag,
            max_warmup_replicas: self.warmups,
            num_standby_replicas: self.standbys,
            probing_rebalance_interval_ms: 600_000,
        };
        let probing = if ends.values().any(|end| *end < 0) {
            prior::assign(&mut clients, &arrival, &all, &stateful, self.standbys);
            true
        } else {
            high_availability::assign(&mut clients, &all, &stateful, config)
        };
        assert_eq!(probing, self.probing, "case {at}");
        let active: usize = clients.values().map(|state| state.tasks(Role::Active).len()).sum();
        assert_eq!(active, all.len(), "case {at}");
        let mut threads: BTreeMap<String, [BTreeSet<TaskId>; 2]> = BTreeMap::new();
        for (thread, tasks) in clients.values().flat_map(threads::divide) {
            threads.insert(thread, [tasks.active, tasks.standby].map(|tasks| tasks.into_iter().collect()));
        }
        let wanted = self.assigned.iter().map(|(thread, tasks)| {
            (thread.clone(), tasks.each_ref().map(|tasks| tasks.iter().map(|name| task(name)).collect()))
        });
        assert_eq!(threads, wanted.collect(), "case {at}");
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn assignments_are_the_jvms() {
    let mut clusters = 0;
    for (at, case) in cases().iter().enumerate() {
        if let Case::Cluster(cluster) = case {
            cluster.check(at);
            clusters += 1;
        }
    }
    assert!(clusters >= 400, "{clusters} cases");
    println!("assignments: {clusters} as the JVM's");
}

#[test]
fn messages_are_the_jvms_in_every_version() {
    let mut versions = 0;
    for case in cases() {
        let Case::Messages { version, process, subscription, assignment } = case else { continue };
        let [subscription, assignment] = [subscription, assignment].map(|text| unhex(&text));
        let read = SubscriptionInfo::decode(&subscription).unwrap();
        assert_eq!((read.version, read.process), (version, process.parse().unwrap()));
        assert_eq!(read.latest_supported, if version < 3 { -1 } else { 11 });
        assert_eq!(
            read.offset_sums.keys().next(),
            Some(&TaskId { subtopology: version.cast_unsigned(), partition: 2 })
        );
        assert_eq!(read.endpoint.is_some(), version % 2 == 0);
        assert_eq!(read.error, if version < 9 { 0 } else { version % 5 });
        assert_eq!(read.encode(), subscription, "version {version}");
        let read = AssignmentInfo::decode(&assignment).unwrap();
        assert_eq!((read.version, read.active.len(), read.standby.len()), (version, 3, 1));
        assert_eq!((read.hosts.len(), read.standby_hosts.len()), (usize::from(version > 1), usize::from(version > 5)));
        let next = if version < 7 { i64::MAX } else { 1_000_000_007 * i64::from(version) };
        assert_eq!(read.next_rebalance_ms, next);
        assert_eq!(read.encode(), assignment, "version {version}");
        // No part of one is taken for a whole.
        assert!((0..subscription.len()).all(|end| SubscriptionInfo::decode(&subscription[..end]).is_err()));
        assert!((0..assignment.len()).all(|end| AssignmentInfo::decode(&assignment[..end]).is_err()));
        versions += 1;
    }
    assert_eq!(versions, 11);
}

#[test]
fn of_a_newer_subscription_only_the_versions_are_read() {
    let read = SubscriptionInfo::decode(&[0, 0, 0, 13, 0, 0, 0, 14, 1, 2, 3]).unwrap();
    assert_eq!((read.version, read.latest_supported, read.process), (13, 14, Uuid::max()));
    assert_eq!(AssignmentInfo::decode(&[0, 0, 0, 12, 0, 0, 0, 12]), Err(Malformed::Version(12)));
    assert_eq!(SubscriptionInfo::decode(&[0, 0, 0, 0]), Err(Malformed::Version(0)));
}
