//! What the assignor of Kafka's group coordinator made of random groups.
//!
//! `golden.jsonl.gz` was written by `interop/oracle/run group-assignments 1 300 FILE`; `GROUP_ASSIGNMENT_CASES` names a file
//! with others.

#![allow(clippy::print_stdout, reason = "a chore reads what was compared")]

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::coordinator::group::streams::assign::{GroupSpec, MemberSpec, SubtopologySpec, sticky};
use crate::coordinator::group::streams::tasks::{TaskSet, Tasks};

const COMMITTED: &[u8] = include_bytes!("golden.jsonl.gz");

#[derive(Deserialize)]
struct Case {
    standbys: usize,
    /// The number of tasks, and whether there is a store.
    subtopologies: BTreeMap<String, (i32, bool)>,
    members: BTreeMap<String, Member>,
    assigned: BTreeMap<String, [Vec<String>; 2]>,
}

#[derive(Deserialize)]
struct Member {
    process: String,
    active: Vec<String>,
    standby: Vec<String>,
}

fn cases() -> Vec<Case> {
    let mut text = String::new();
    match std::env::var_os("GROUP_ASSIGNMENT_CASES") {
        Some(file) => text = std::fs::read_to_string(file).unwrap(),
        None => drop(GzDecoder::new(COMMITTED).read_to_string(&mut text).unwrap()),
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn tasks(names: &[String]) -> TaskSet {
    let mut tasks = TaskSet::new();
    for name in names {
        let (subtopology, partition) = name.split_once('_').unwrap();
        tasks.entry(subtopology.to_owned()).or_default().insert(partition.parse().unwrap());
    }
    tasks
}

fn both([active, standby]: [&[String]; 2]) -> Tasks {
    Tasks { active: tasks(active), standby: tasks(standby), warmup: TaskSet::new() }
}

impl Case {
    fn check(&self, at: usize) {
        let before: BTreeMap<&str, Tasks> =
            self.members.iter().map(|(id, it)| (id.as_str(), both([&it.active, &it.standby]))).collect();
        let spec = GroupSpec {
            members: self
                .members
                .iter()
                .map(|(id, it)| {
                    (id.as_str().into(), MemberSpec { process_id: &it.process, target: before.get(id.as_str()) })
                })
                .collect(),
            subtopologies: self
                .subtopologies
                .iter()
                .map(|(id, (tasks, is_stateful))| {
                    (id.as_str(), SubtopologySpec { tasks: *tasks, is_stateful: *is_stateful })
                })
                .collect(),
            standby_replicas: self.standbys,
        };
        let assigned = sticky(&spec);
        let wanted = self.assigned.iter().map(|(id, [active, standby])| (id.as_str().into(), both([active, standby])));
        assert_eq!(assigned, wanted.collect(), "case {at}");
    }
}

#[test]
fn group_assignments_are_the_jvms() {
    let cases = cases();
    cases.iter().enumerate().for_each(|(at, case)| case.check(at));
    assert!(cases.len() >= 300, "{} cases", cases.len());
    println!("group assignments: {} as the JVM's", cases.len());
}
