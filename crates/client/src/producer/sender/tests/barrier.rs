//! What is held back goes behind what it stands for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Decompressor, RecordBatch};

use super::model::{Fate, STATE, TOPIC, World, result, sender_settings, try_result};
use crate::error::ClientError;
use crate::producer::accumulator::Appended;
use crate::producer::observe::ByTag;
use crate::producer::sender::Leader;
use crate::producer::{Delivery, ProducerRecord, RecordTag};

const LINGER: Duration = Duration::from_millis(5);

/// Everything at one broker, and known there.
fn world() -> World {
    let mut world = World::with_state(2, 2, sender_settings());
    world.brokers.leaders.fill(Leader::Node(0));
    world
}

fn topics(world: &World) -> Vec<Vec<&str>> {
    world.wire.iter().map(|wire| wire.parts.iter().map(|part| &*part.topic).collect()).collect()
}

fn append_tagged(world: &World, topic: &str, partition: usize, value: &[u8]) {
    let record = ProducerRecord::new(topic).value(value);
    let tag = ByTag(RecordTag { owner: 1, position: 7 });
    let appended = world.accumulator.append(&world.queue(topic, partition), &record, 0, tag, || world.now).unwrap();
    assert!(matches!(appended, Appended::Done { .. }));
}

#[test]
fn what_is_held_back_goes_when_the_rest_is_acknowledged() {
    let mut world = world();
    let mut state = world.append_to(STATE, 0, b"tombstone");
    world.append(0, b"result");
    world.accumulator.barrier();
    world.advance(LINGER);
    assert_eq!(topics(&world), [[TOPIC]]);
    world.advance(100 * LINGER);
    assert_eq!(topics(&world), [[TOPIC]]);
    world.answer(0, Fate::Fine);
    assert_eq!(topics(&world), [[STATE]]);
    world.answer(0, Fate::Fine);
    assert!(result(&mut state).is_ok());
    assert!(world.sender.is_idle());
}

#[test]
fn without_a_barrier_it_stays() {
    let mut world = world();
    world.append_to(STATE, 0, b"tombstone");
    world.advance(100 * LINGER);
    assert!(world.wire.is_empty());
    assert!(world.accumulator.barrier(), "the sender waits for it");
    world.poll();
    assert_eq!(topics(&world), [[STATE]]);
}

#[test]
fn it_does_not_wait_for_what_comes_after_the_barrier() {
    let mut world = world();
    world.append_to(STATE, 0, b"state");
    world.accumulator.barrier();
    world.append(0, b"later");
    world.advance(LINGER);
    assert_eq!(topics(&world), [[TOPIC], [STATE]]);
}

#[test]
fn a_result_at_another_broker_that_is_refused_again_and_again_holds_it_back() {
    let mut world = World::with_state(2, 2, sender_settings());
    world.brokers.leaders = [0, 0, 1, 1].map(Leader::Node).into();
    world.append_to(STATE, 0, b"state");
    world.append(0, b"result");
    world.accumulator.barrier();
    for _ in 0..5 {
        world.advance(Duration::from_secs(2));
        assert_eq!(topics(&world), [[TOPIC]]);
        world.answer(0, Fate::Refused(ErrorCode::NotEnoughReplicas));
    }
    world.settle();
    let arrived: Vec<&str> = world.brokers.arrivals.iter().map(|one| one.value.as_str()).collect();
    assert_eq!(arrived, ["result", "state"]);
}

#[test]
fn a_failure_holds_it_back_until_it_was_taken_and_accepted() {
    let mut world = world();
    let mut state = world.append_to(STATE, 0, b"state");
    append_tagged(&world, TOPIC, 0, b"result");
    world.accumulator.barrier();
    world.advance(LINGER);
    world.answer(0, Fate::Refused(ErrorCode::InvalidRecord));
    assert!(matches!(world.flush(), Some(Err(ClientError::HeldBack { .. }))));
    world.accumulator.barrier();
    world.advance(LINGER);
    assert!(world.wire.is_empty(), "nobody has looked at the failure");
    assert_eq!(world.accumulator.take_failed().len(), 1);
    world.advance(LINGER);
    assert!(world.wire.is_empty(), "nobody has accepted the failure");
    assert!(world.accumulator.barrier());
    world.settle();
    assert!(result(&mut state).is_ok());
    assert!(matches!(world.flush(), Some(Ok(()))));
}

#[test]
fn who_cannot_accept_a_failure_discards_what_is_held_back() {
    let mut world = world();
    let mut written = world.append_to(STATE, 0, b"before");
    world.accumulator.barrier();
    world.advance(LINGER);
    world.answer(0, Fate::Fine);
    let mut lost = world.append_to(STATE, 0, b"state");
    let mut kept = world.append_to(STATE, 1, b"of another task");
    append_tagged(&world, TOPIC, 0, b"result");
    world.accumulator.barrier();
    world.advance(LINGER);
    world.answer(0, Fate::Refused(ErrorCode::InvalidRecord));
    assert_eq!(world.accumulator.take_failed().len(), 1);
    assert_eq!(world.accumulator.discard_held(STATE, 0), 1);
    world.accumulator.barrier();
    world.settle();
    assert!(result(&mut written).is_ok() && result(&mut kept).is_ok());
    let error = result(&mut lost).unwrap_err();
    assert!(matches!(&error, ClientError::HeldBack { topic, partition: 0 } if &**topic == STATE), "{error}");
    assert_eq!(world.values(2), ["before"]);
    assert_eq!(world.accumulator.memory.used(), 0);
}

/// A process that was stopped in between would send it behind what others have written meanwhile.
#[test]
fn what_was_given_too_long_ago_is_not_sent_when_it_may_go() {
    let mut world = world();
    let mut state = world.append_to(STATE, 0, b"state");
    world.advance(Duration::from_secs(1000));
    assert!(try_result(&mut state).is_none(), "nobody has let it go");
    world.accumulator.barrier();
    world.poll();
    assert!(matches!(result(&mut state), Err(ClientError::Timeout { .. })));
    assert_eq!(world.values(2), [""; 0]);
    let mut later = world.append_to(STATE, 0, b"later");
    world.accumulator.barrier();
    world.advance(Duration::from_secs(1));
    world.answer(0, Fate::Fine);
    assert!(result(&mut later).is_ok());
}

/// As when its topic was deleted: a flush would wait for it for ever.
#[test]
fn what_may_go_and_has_nobody_to_go_to_is_given_up_in_time() {
    let mut world = world();
    world.brokers.leaders[2] = Leader::Unknown;
    let mut state = world.append_to(STATE, 0, b"state");
    world.accumulator.barrier();
    world.poll();
    world.advance(Duration::from_secs(119));
    assert!(try_result(&mut state).is_none());
    world.advance(Duration::from_secs(2));
    assert!(matches!(result(&mut state), Err(ClientError::Timeout { .. })));
    assert!(world.sender.is_idle());
}

#[test]
fn closing_gives_up_what_no_barrier_lets_go() {
    let mut world = world();
    let mut goes = world.append_to(STATE, 0, b"done");
    world.accumulator.barrier();
    let mut stays = world.append_to(STATE, 1, b"half done");
    world.accumulator.close();
    world.settle();
    assert!(result(&mut goes).is_ok());
    assert!(matches!(result(&mut stays), Err(ClientError::HeldBack { .. })));
}

#[test]
fn what_is_held_back_keeps_its_order() {
    let mut world = world();
    world.append_to(STATE, 0, b"x");
    world.accumulator.barrier();
    world.settle();
    for number in 0..40_u32 {
        world.append(0, b"result");
        world.append_to(STATE, number as usize % 2, format!("{number:03}").as_bytes());
        world.accumulator.barrier();
        if number % 5 == 0 {
            world.advance(LINGER / 2);
        }
        if number % 7 == 0 && !world.wire.is_empty() {
            world.answer(0, Fate::Fine);
        }
    }
    world.settle();
    let state: Vec<(u64, &str)> = world
        .brokers
        .arrivals
        .iter()
        .filter(|one| one.partition >= 2 && one.value != "x")
        .map(|one| (one.request, one.value.as_str()))
        .collect();
    let mut sorted = state.clone();
    sorted.sort_unstable();
    let order: Vec<&str> = sorted.iter().map(|one| one.1).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order.len(), 40);
}

#[tokio::test]
async fn memory_that_is_held_back_does_not_stop_who_would_set_the_barrier() {
    let mut world = world();
    let mut state = world.append_to(STATE, 0, b"state");
    let memory = Arc::clone(&world.accumulator);
    let mut waiting = Box::pin(memory.memory.wait(64 << 20, || {}));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    world.poll();
    assert_eq!(topics(&world), [[STATE]]);
    world.answer(0, Fate::Fine);
    assert!(result(&mut state).is_ok());
    waiting.await;
}

#[derive(Debug, Clone)]
enum Step {
    /// A unit of work: what goes where, `true` for the topic that is held back.
    Unit(Vec<(bool, usize)>),
    /// Something given before the barrier of a unit.
    Half(bool, usize),
    Pass(u64),
    Answer(i32, Option<(usize, ErrorCode)>),
    Break(i32, usize),
    Move(usize, i32),
}

fn step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![Just(ErrorCode::NotEnoughReplicas), Just(ErrorCode::NotLeaderOrFollower)];
    prop_oneof![
        8 => prop::collection::vec((any::<bool>(), 0..3_usize), 1..5).prop_map(Step::Unit),
        3 => (any::<bool>(), 0..3_usize).prop_map(|(is_held, partition)| Step::Half(is_held, partition)),
        4 => (0..200_u64).prop_map(Step::Pass),
        6 => (0..3_i32).prop_map(|node| Step::Answer(node, None)),
        1 => (0..3_i32, 0..6_usize, code).prop_map(|(node, one, code)| Step::Answer(node, Some((one, code)))),
        1 => (0..3_i32, 0..6_usize).prop_map(|(node, arrived)| Step::Break(node, arrived)),
        1 => (0..6_usize, 0..3_i32).prop_map(|(partition, node)| Step::Move(partition, node)),
    ]
}

/// The numbers of the units whose records are on their way in requests that are new.
fn units_on_wire(world: &World, seen: &mut BTreeSet<u64>) -> Vec<usize> {
    let mut units = Vec::new();
    for wire in &world.wire {
        if !seen.insert(wire.request) {
            continue;
        }
        for part in wire.parts.iter().filter(|part| &*part.topic == STATE) {
            let batch = RecordBatch::parse(part.bytes.clone()).unwrap();
            for record in batch.records(&mut Decompressor::new()).unwrap() {
                let value = String::from_utf8(record.unwrap().value().unwrap().to_vec()).unwrap();
                units.push(value.split('/').next().unwrap().parse().unwrap());
            }
        }
    }
    units
}

proptest! {
    #[test]
    fn state_is_never_on_its_way_before_all_results_up_to_its_unit_are_acknowledged(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut world = World::with_state(3, 3, sender_settings());
        let mut results: Vec<(usize, Delivery)> = Vec::new();
        let mut state: Vec<Delivery> = Vec::new();
        let (mut unit, mut seen) = (0, BTreeSet::new());
        let mut give = |world: &World, unit: usize, is_held: bool, partition: usize, results: &mut Vec<(usize, Delivery)>| {
            let value = format!("{unit}/{}", results.len());
            match is_held {
                true => state.push(world.append_to(STATE, partition, value.as_bytes())),
                false => results.push((unit, world.append(partition, value.as_bytes()))),
            }
        };
        for step in &steps {
            match step {
                Step::Unit(records) => {
                    for (is_held, partition) in records {
                        give(&world, unit, *is_held, *partition, &mut results);
                    }
                    world.accumulator.barrier();
                    unit += 1;
                    world.poll();
                }
                Step::Half(is_held, partition) => {
                    give(&world, unit, *is_held, *partition, &mut results);
                    world.poll();
                }
                Step::Pass(millis) => world.advance(Duration::from_millis(*millis)),
                Step::Answer(node, refused) => {
                    if let Some(place) = world.wire.iter().position(|wire| wire.node == *node) {
                        let fate = refused.map_or(Fate::Fine, |(one, code)| Fate::RefusedOne(one, code));
                        world.answer(place, fate);
                    }
                }
                Step::Break(node, arrived) => world.break_connection(*node, *arrived),
                Step::Move(partition, node) => world.brokers.leaders[*partition] = Leader::Node(*node),
            }
            for on_wire in units_on_wire(&world, &mut seen) {
                prop_assert!(on_wire < unit, "unit {} goes before its barrier", on_wire);
                for (given, delivery) in &mut results {
                    let is_over = *given > on_wire || matches!(try_result(delivery), Some(Ok(_)));
                    prop_assert!(is_over, "state of unit {} before a result of unit {}", on_wire, given);
                }
            }
        }
        world.accumulator.barrier();
        world.settle();
        for (_, delivery) in &mut results {
            prop_assert!(result(delivery).is_ok());
        }
        for delivery in &mut state {
            prop_assert!(result(delivery).is_ok());
        }
        prop_assert_eq!(world.accumulator.memory.used(), 0);
    }
}
