use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;
use vltava_client::TopicPartition;

use super::{
    super::{
        client_state::LATEST_OFFSET,
        high_availability::AssignmentConfig,
        messages::{LATEST, SubscriptionInfo},
        process_id::ProcessId,
    },
    Member, MemberAssignment, Tasks, assign,
};
use crate::task::TaskId;

const CONFIG: AssignmentConfig = AssignmentConfig {
    acceptable_recovery_lag: 10_000,
    max_warmup_replicas: 2,
    num_standby_replicas: 0,
    probing_rebalance_interval_ms: 600_000,
};

fn task(subtopology: u32, partition: i32) -> TaskId {
    TaskId { subtopology, partition }
}

fn partition(partition: i32) -> TopicPartition {
    TopicPartition::new("in", partition)
}

/// Tasks of one sub-topology with changelogs that end at `end`.
fn tasks(count: i32, end: i64) -> Tasks {
    let all: Vec<TaskId> = (0..count).map(|number| task(0, number)).collect();
    Tasks {
        partitions: all.iter().map(|task| (*task, [partition(task.partition)].into())).collect(),
        stateful: all.iter().copied().collect(),
        ends: Some(all.iter().map(|task| (*task, end)).collect()),
    }
}

/// A member of a process that owns these partitions and runs their tasks.
fn member(id: &str, process: u128, owned: &[i32]) -> Member {
    Member {
        id: id.to_owned(),
        owned: owned.iter().map(|number| partition(*number)).collect(),
        info: SubscriptionInfo {
            version: LATEST,
            latest_supported: LATEST,
            process: Uuid::from_u128(process),
            endpoint: Some(format!("{id}:80")),
            offset_sums: owned.iter().map(|number| (task(0, *number), LATEST_OFFSET)).collect(),
            unique: 0,
            error: 0,
            tags: Vec::new(),
        },
    }
}

fn assigned(members: &[Member], tasks: &Tasks, config: AssignmentConfig) -> BTreeMap<String, MemberAssignment> {
    assign(members, tasks, config, ProcessId(Uuid::from_u128(1)), 1_000)
}

#[test]
fn what_somebody_still_has_is_assigned_when_it_is_given_up() {
    let tasks = tasks(2, 0);
    let mut members = [member("a", 1, &[0, 1]), member("b", 2, &[])];
    let first = assigned(&members, &tasks, CONFIG);
    assert_eq!(first["a"].partitions, [partition(0)]);
    assert_eq!((first["b"].partitions.len(), first["b"].info.next_rebalance_ms), (0, 0));
    assert_eq!(first["a"].info.next_rebalance_ms, i64::MAX);
    // Where it is to be shows at once.
    assert_eq!(first["a"].info.hosts[&"b:80".parse().unwrap()], [partition(1)].into());
    members[0] = member("a", 1, &[0]);
    let second = assigned(&members, &tasks, CONFIG);
    assert_eq!((&*second["b"].partitions, second["b"].info.next_rebalance_ms), (&[partition(1)][..], i64::MAX));
    assert_eq!(second["b"].info.active, [task(0, 1)]);
    // Who has given everything up before he joins is waited for by nobody.
    members[0].owned.clear();
    assert_eq!(assigned(&members, &tasks, CONFIG)["b"].partitions, [partition(1)]);
}

#[test]
fn a_standby_stays_open_until_its_task_is_given_up() {
    let tasks = tasks(2, 100);
    let mut members = [member("a", 1, &[0, 1]), member("b", 2, &[])];
    members[1].info.offset_sums.insert(task(0, 1), 90);
    let told = assigned(&members, &tasks, CONFIG);
    assert_eq!(told["b"].info.next_rebalance_ms, 0);
    assert_eq!(told["b"].info.standby, [(task(0, 1), [partition(1)].into())].into());
}

#[test]
fn who_is_far_behind_warms_up_and_one_member_of_the_leader_asks_again() {
    let tasks = tasks(2, 1_000_000);
    let members = [member("a", 1, &[0]), member("a2", 1, &[1]), member("b", 2, &[])];
    let told = assigned(&members, &tasks, CONFIG);
    assert!(told["b"].partitions.is_empty());
    assert_eq!(told["b"].info.standby.len(), 1);
    let mut next: Vec<i64> = told.values().map(|told| told.info.next_rebalance_ms).collect();
    next.sort_unstable();
    assert_eq!(next, [601_000, i64::MAX, i64::MAX]);
    assert_eq!(told["b"].info.next_rebalance_ms, i64::MAX);
}

#[test]
fn the_oldest_version_in_use_is_spoken_and_the_newest_that_all_know_is_told() {
    let mut members = [member("a", 1, &[]), member("b", 2, &[]), member("c", 3, &[])];
    (members[1].info.version, members[1].info.latest_supported) = (8, 9);
    (members[2].info.version, members[2].info.latest_supported) = (13, 13);
    let told = assigned(&members, &tasks(3, 0), CONFIG);
    assert!(told.values().all(|told| (told.info.version, told.info.commonly_supported) == (8, 9)));
}

#[test]
fn where_ends_are_not_known_tasks_stay_and_it_is_asked_again() {
    let mut tasks = tasks(4, 0);
    tasks.ends = None;
    let members = [member("a", 1, &[0, 1, 2, 3]), member("b", 2, &[])];
    let told = assigned(&members, &tasks, CONFIG);
    assert_eq!((told["a"].partitions.len(), told["b"].partitions.len()), (4, 0));
    assert_eq!(told["a"].info.next_rebalance_ms, 601_000);
}

proptest! {
    #[test]
    fn every_task_is_assigned_once_and_is_nowhere_twice(
        count in 0i32..20,
        end in 0i64..30_000,
        replicas in 0usize..3,
        had in prop::collection::vec((1u128..5, prop::collection::btree_map(0i32..20, 0i64..30_000, 0..10)), 1..7),
    ) {
        let tasks = tasks(count, end);
        let members: Vec<Member> = had
            .iter()
            .enumerate()
            .map(|(at, (process, sums))| {
                let mut member = member(&format!("m{at}"), *process, &[]);
                member.info.offset_sums = sums.iter().map(|(number, sum)| (task(0, *number), *sum)).collect();
                member
            })
            .collect();
        let config = AssignmentConfig { num_standby_replicas: replicas, ..CONFIG };
        let told = assigned(&members, &tasks, config);
        let mut active: Vec<TaskId> = told.values().flat_map(|told| told.info.active.clone()).collect();
        active.sort_unstable();
        prop_assert_eq!(active, tasks.partitions.keys().copied().collect::<Vec<_>>());
        let mut in_process = BTreeSet::new();
        for (at, (process, _)) in had.iter().enumerate() {
            let told = &told[&format!("m{at}")];
            for task in told.info.active.iter().chain(told.info.standby.keys()) {
                prop_assert!(in_process.insert((process, *task)), "{task} twice in a process");
            }
        }
    }
}
