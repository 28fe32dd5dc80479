//! An application with its consumer.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::SimulatedWorld;
use crate::consumer::assignor::{PartitionAssignor, encode_assignment, encode_subscription};
use crate::consumer::callbacks::{assignor_metadata, decode_group};
use crate::consumer::core::{Call, CommitJob, Core, Event, Task, Waiter, read_offsets};
use crate::consumer::subscription::FetchState;
use crate::{OffsetAndMetadata, TopicPartition};

/// What the application does.
pub(super) enum Doing {
    /// It works, and goes on then.
    Works(Instant),
    /// It runs a task of `poll`, which is done then.
    Runs(Instant, Task),
    /// It waits in `poll`.
    Waits,
}

pub(super) struct Simulated {
    pub(super) core: Core,
    pub(super) world: SimulatedWorld,
    pub(super) assignor: Box<dyn PartitionAssignor>,
    pub(super) starts: u32,
    pub(super) doing: Doing,
    pub(super) is_woken: bool,
    pub(super) is_reading_metadata: bool,
    pub(super) next_commit: Instant,
    /// The next record of each partition that the application has to get, once it is known.
    pub(super) expected: BTreeMap<TopicPartition, i64>,
    /// Where it may begin instead.
    pub(super) may_begin: BTreeMap<TopicPartition, i64>,
    /// What it was assigned, by generation.
    pub(super) assignments: BTreeMap<i32, BTreeSet<TopicPartition>>,
}

impl Simulated {
    /// Where the answer lets the application begin.
    pub(super) fn expect(&mut self, event: &Event) {
        let is = |tp: &TopicPartition, state| self.core.subscription.get(tp).is_some_and(|one| one.state() == state);
        let begins: Vec<(TopicPartition, i64)> = match event {
            Event::Committed(_, Ok(committed)) => {
                let offsets = committed.iter().filter_map(|(tp, offset)| Some((tp.clone(), offset.as_ref()?.offset)));
                offsets.filter(|(tp, _)| is(tp, FetchState::Initializing)).collect()
            }
            Event::Offsets(_, Ok(response)) => {
                let found = read_offsets(response).unwrap().into_iter().map(|(tp, found)| (tp, found.offset));
                found.filter(|(tp, _)| is(tp, FetchState::AwaitReset)).collect()
            }
            _ => return,
        };
        self.may_begin.extend(begins);
    }

    pub(super) fn deliver(&mut self, tp: &TopicPartition, offset: i64) {
        assert!(self.core.subscription.is_assigned(tp), "{tp} is not assigned");
        let begins = self.may_begin.remove(tp);
        let expected = self.expected.insert(tp.clone(), offset + 1);
        let is_right = expected == Some(offset) || begins == Some(offset);
        assert!(is_right, "{tp} gave {offset}, not {expected:?}, and may begin at {begins:?}");
    }

    pub(super) fn commit(&mut self, retry: bool, now: Instant) {
        let (offsets, limit) = (self.core.consumed(), Duration::from_secs(10));
        let waiter = Waiter::Callback(Box::new(|_, _| ()));
        self.core.commit(CommitJob::new(offsets, waiter, retry, limit, now)).unwrap();
    }

    pub(super) fn meddle(&mut self, choice: u32) {
        let assigned: Vec<TopicPartition> = self.core.assignment().into_iter().collect();
        let Some(tp) = assigned.get(choice as usize % assigned.len().max(1)) else { return };
        match choice {
            10 => self.core.set_paused(std::slice::from_ref(tp), true).unwrap(),
            11 | 12 => self.core.set_paused(&assigned, false).unwrap(),
            13 => {
                if let Some(next) = self.expected.get_mut(tp) {
                    *next = (*next - 3).max(0);
                    self.may_begin.remove(tp);
                    self.core.seek(tp, &OffsetAndMetadata::new(*next)).unwrap();
                }
            }
            _ => {}
        }
    }

    /// The end of a task.
    pub(super) fn run(&mut self, task: Task) {
        match task {
            Task::Listener(Call::Assigned, added) => {
                for tp in added {
                    self.expected.remove(&tp);
                }
            }
            Task::Listener(..) => {}
            Task::Notify { assignment, group, .. } => {
                self.assignments.entry(group.generation_id()).or_default().extend(assignment.partitions);
            }
            Task::Describe(describe) => {
                let subscription = describe.subscription(None, "");
                let name = self.assignor.name().to_owned();
                self.core.described(vec![(name, encode_subscription(&subscription).unwrap())]);
            }
            Task::Assign { members, .. } => {
                let group = decode_group(&members).unwrap();
                self.core.set_group_topics(group.topics());
                let metadata = assignor_metadata(&self.world.metadata);
                let mut assigning = self.assignor.assign(&metadata, &group);
                let Poll::Ready(result) = assigning.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                    panic!("the assignor waits")
                };
                drop(assigning);
                let members = result.unwrap().members;
                let encoded = members.iter().map(|(id, one)| (id.clone(), encode_assignment(one).unwrap()));
                self.core.assigned(encoded.collect());
            }
        }
    }
}
