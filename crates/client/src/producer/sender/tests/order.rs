//! What was given first does not arrive at one broker later, whatever partition it is for.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use vltava_protocol::ErrorCode;

use super::model::{Fate, World, sender_settings};
use crate::producer::sender::{Leader, SenderSettings};

const MS: Duration = Duration::from_millis(1);

/// All partitions at one broker.
fn one_broker(partitions: usize, settings: SenderSettings) -> World {
    let mut world = World::new(partitions, settings);
    world.brokers.leaders.fill(Leader::Node(0));
    world.introduce();
    world
}

/// The partitions of each request that waits for its answer.
fn requests(world: &World) -> Vec<Vec<i32>> {
    let parts = |wire: &super::model::Wire| {
        let mut parts: Vec<i32> = wire.parts.iter().map(|part| part.partition).collect();
        parts.sort_unstable();
        parts
    };
    world.wire.iter().map(parts).collect()
}

#[test]
fn what_was_given_before_goes_with_what_is_due() {
    let mut world = one_broker(3, sender_settings());
    world.append(0, b"earlier");
    world.advance(3 * MS);
    world.append(1, b"result");
    world.append(0, b"tombstone");
    world.advance(2 * MS);
    assert_eq!(requests(&world), [[0, 1]], "the tombstone's batch is due, the result was given before it");
}

#[test]
fn a_second_batch_of_a_partition_waits_until_all_of_the_first_have_gone() {
    let mut world = one_broker(3, SenderSettings { max_in_flight: 1, ..sender_settings() });
    world.append(0, &[b'a'; 120]);
    world.append(1, b"b");
    world.append(0, &[b'c'; 120]);
    world.append(1, b"d");
    world.advance(5 * MS);
    assert_eq!(requests(&world), [[0, 1]]);
    world.answer(0, Fate::Fine);
    assert_eq!(world.values(1), ["first", "b"], "d was given after c");
    assert_eq!(requests(&world), [[0, 1]]);
    world.settle();
}

#[test]
fn a_request_that_would_be_too_large_is_cut_where_it_was_full() {
    let mut world = one_broker(6, SenderSettings { max_request_size: 600, ..sender_settings() });
    for number in 0..6 {
        world.append(number, &[b'x'; 60]);
    }
    world.append(0, b"last");
    world.advance(5 * MS);
    assert_eq!(requests(&world), [vec![0, 1, 2, 3], vec![0, 4, 5]]);
    for wire in &world.wire {
        assert!(wire.parts.iter().map(|part| part.bytes.len()).sum::<usize>() <= 600);
    }
    world.settle();
}

#[test]
fn many_partitions_share_requests() {
    let mut world = World::with_batches(100, sender_settings(), 16 << 10, vltava_protocol::record::Compression::None);
    world.brokers.leaders.fill(Leader::Node(0));
    world.introduce();
    let (mut requests, mut batches) = (0, 0);
    for round in 0..50 {
        for number in 0..1000 {
            world.append(number * 7 % 100, format!("{round}/{number}").as_bytes());
        }
        world.advance(5 * MS);
        while !world.wire.is_empty() {
            requests += 1;
            batches += world.wire[0].parts.len();
            world.answer(0, Fate::Fine);
        }
    }
    world.settle();
    assert_eq!((requests, batches), (50, 5000), "one request a linger, one batch of ten records a partition");
}

#[test]
fn a_partition_that_was_refused_holds_up_no_other() {
    let mut world = one_broker(3, sender_settings());
    world.append(0, b"a");
    world.append(1, b"b");
    world.advance(5 * MS);
    world.answer(0, Fate::RefusedOne(0, ErrorCode::NotEnoughReplicas));
    world.append(1, b"c");
    world.append(0, b"d");
    world.advance(5 * MS);
    world.answer(0, Fate::Fine);
    assert_eq!(world.values(1), ["first", "b", "c"]);
    assert_eq!(world.values(0), ["first"]);
    world.settle();
    assert_eq!(world.values(0), ["first", "a", "d"]);
}

#[test]
fn what_was_on_a_lost_connection_goes_again_in_its_order() {
    let mut world = one_broker(3, sender_settings());
    for value in [b"a", b"b", b"c"] {
        world.append(0, value);
        world.append(1, value);
        world.advance(5 * MS);
    }
    world.append(2, b"d");
    world.advance(5 * MS);
    assert_eq!(world.wire.len(), 4);
    world.break_connection(0, 1);
    world.settle();
    let arrived: Vec<&str> = world.brokers.arrivals.iter().map(|one| one.value.as_str()).skip(3).collect();
    assert_eq!(arrived, ["a", "a", "b", "b", "c", "c", "d"]);
}

#[derive(Debug, Clone)]
enum Step {
    Append { partition: usize, size: usize },
    Pass { millis: u64 },
    Answer { node: i32 },
    Refuse { node: i32, partition: usize, code: ErrorCode },
    Break { node: i32, arrived: usize },
    Flush,
}

const PARTITIONS: usize = 8;

fn step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![
        Just(ErrorCode::NotEnoughReplicas),
        Just(ErrorCode::NotLeaderOrFollower),
        Just(ErrorCode::RequestTimedOut),
        Just(ErrorCode::InvalidRecord),
    ];
    prop_oneof![
        20 => (0..PARTITIONS, 1..150_usize).prop_map(|(partition, size)| Step::Append { partition, size }),
        4 => (0..8_u64).prop_map(|millis| Step::Pass { millis }),
        8 => (0..2_i32).prop_map(|node| Step::Answer { node }),
        1 => (0..2_i32, 0..2_usize, code).prop_map(|(node, partition, code)| Step::Refuse { node, partition, code }),
        1 => (0..2_i32, 0..6_usize).prop_map(|(node, arrived)| Step::Break { node, arrived }),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    /// Partitions 0 and 1 are refused now and then, and have no place in the order from then on.
    #[test]
    fn nothing_arrives_before_what_was_given_before_it(
        steps in prop::collection::vec(step(), 1..300),
        linger in 0..10_u64,
        max_in_flight in 1..=5_usize,
        max_request_size in 300..2000_usize,
        idempotent in any::<bool>(),
    ) {
        let linger = Duration::from_millis(linger);
        let max_in_flight = if idempotent { max_in_flight } else { 1 };
        let settings = SenderSettings { linger, max_in_flight, max_request_size, idempotent, ..sender_settings() };
        let mut world = World::new(PARTITIONS, settings);
        let mut given: Vec<(usize, String)> = Vec::new();
        let accumulator = std::sync::Arc::clone(&world.accumulator);
        for step in &steps {
            match step {
                Step::Append { partition, size } => {
                    let mut value = format!("{}.", given.len());
                    value.extend(std::iter::repeat_n('x', *size));
                    world.append(*partition, value.as_bytes());
                    given.push((*partition, value));
                    world.poll();
                }
                Step::Pass { millis } => world.advance(Duration::from_millis(*millis)),
                Step::Answer { node } => {
                    if let Some(place) = world.wire.iter().position(|wire| wire.node == *node) {
                        world.answer(place, Fate::Fine);
                    }
                }
                Step::Refuse { node, partition, code } => {
                    if let Some(place) = world.wire.iter().position(|wire| wire.node == *node) {
                        world.answer(place, Fate::RefusedOne(*partition, *code));
                    }
                }
                Step::Break { node, arrived } => world.break_connection(*node, *arrived),
                Step::Flush => {
                    let _guard = accumulator.begin_flush();
                    world.poll();
                }
            }
        }
        world.settle();
        let mut last: BTreeMap<i32, (u64, usize)> = BTreeMap::new();
        let numbers: BTreeMap<&str, usize> = given.iter().enumerate().map(|(at, one)| (one.1.as_str(), at)).collect();
        let orderly = world.brokers.arrivals.iter().filter(|one| one.partition > 1);
        // Of one request all arrive at once; of the next one, none may have been given before one of those.
        let mut open: BTreeMap<i32, (u64, usize)> = BTreeMap::new();
        let mut arrived = HashSet::new();
        for one in orderly {
            let number = numbers[one.value.as_str()];
            if arrived.contains(&number) {
                // Without idempotence, what was written before its answer was lost is written again.
                prop_assert!(!idempotent, "{} came twice", number);
                continue;
            }
            let (request, highest) = open.entry(one.node).or_insert((one.request, number));
            if *request != one.request {
                last.insert(one.node, (*request, *highest));
                *request = one.request;
            }
            if let Some((before, highest)) = last.get(&one.node) {
                prop_assert!(number > *highest, "{} came in request {} after {highest} in {before}", number, one.request);
            }
            *highest = (*highest).max(number);
            arrived.insert(number);
        }
        let expected = given.iter().filter(|one| one.0 > 1).count();
        prop_assert_eq!(arrived.len(), expected);
        prop_assert_eq!(world.accumulator.memory.used(), 0);
    }
}
