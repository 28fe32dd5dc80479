//! Order per partition, nothing lost, nothing twice, whatever fails.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use vltava_protocol::ErrorCode;

use super::model::{Fate, World, result, sender_settings};
use crate::producer::Delivery;
use crate::producer::sender::Leader;

const PARTITIONS: usize = 3;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Append {
        partition: usize,
        count: usize,
    },
    Pass {
        millis: u64,
    },
    /// Answers the oldest request of a node: a connection keeps its order.
    Answer {
        node: i32,
        fate: Fate,
    },
    Break {
        node: i32,
        arrived: usize,
    },
    Move {
        partition: usize,
        node: i32,
    },
}

/// Errors that pass, after which nothing may be lost.
fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Fine),
        1 => Just(Fate::Refused(ErrorCode::NotEnoughReplicas)),
        1 => Just(Fate::Refused(ErrorCode::NotLeaderOrFollower)),
        1 => Just(Fate::Refused(ErrorCode::RequestTimedOut)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PARTITIONS, 1..12_usize).prop_map(|(partition, count)| Step::Append { partition, count }),
        3 => (0..300_u64).prop_map(|millis| Step::Pass { millis }),
        5 => (0..3_i32, fate()).prop_map(|(node, fate)| Step::Answer { node, fate }),
        1 => (0..3_i32, 0..6_usize).prop_map(|(node, arrived)| Step::Break { node, arrived }),
        1 => (0..PARTITIONS, 0..3_i32).prop_map(|(partition, node)| Step::Move { partition, node }),
    ]
}

fn run(world: &mut World, steps: &[Step]) -> (Vec<Vec<String>>, Vec<Delivery>) {
    let mut given = vec![Vec::new(); PARTITIONS];
    let mut deliveries = Vec::new();
    for step in steps {
        match step {
            Step::Append { partition, count } => {
                for _ in 0..*count {
                    let value = format!("{partition}/{}", given[*partition].len());
                    deliveries.push(world.append(*partition, value.as_bytes()));
                    given[*partition].push(value);
                }
                world.poll();
            }
            Step::Pass { millis } => world.advance(Duration::from_millis(*millis)),
            Step::Answer { node, fate } => {
                if let Some(place) = world.wire.iter().position(|wire| wire.node == *node) {
                    world.answer(place, *fate);
                }
            }
            Step::Break { node, arrived } => world.break_connection(*node, *arrived),
            Step::Move { partition, node } => world.brokers.leaders[*partition] = Leader::Node(*node),
        }
    }
    (given, deliveries)
}

proptest! {
    #[test]
    fn every_record_is_written_once_and_in_order(
        steps in prop::collection::vec(step(), 1..120),
        refuses_unknown in any::<bool>(),
    ) {
        let mut world = World::new(PARTITIONS, sender_settings());
        world.brokers.refuses_unknown = refuses_unknown;
        let (given, mut deliveries) = run(&mut world, &steps);
        world.settle();
        for (partition, given) in given.iter().enumerate() {
            prop_assert_eq!(&world.values(partition), given, "partition {}", partition);
        }
        let mut places = HashSet::new();
        for delivery in &mut deliveries {
            let metadata = result(delivery).unwrap();
            prop_assert!(places.insert((metadata.partition, metadata.offset)));
        }
        prop_assert_eq!(world.accumulator.memory.used(), 0);
        prop_assert!(world.accumulator.pending.is_empty());
    }

    /// Also with batches that are refused for good: those records are not there, all others are, once and in order, and
    /// everybody is told the truth.
    #[test]
    fn what_is_acknowledged_is_there_and_what_is_refused_is_not(
        steps in prop::collection::vec(
            prop_oneof![8 => step(), 1 => (0..3_i32).prop_map(|node| Step::Answer {
                node, fate: Fate::Refused(ErrorCode::InvalidRecord),
            })],
            1..120,
        ),
    ) {
        let mut world = World::new(PARTITIONS, sender_settings());
        let (given, mut deliveries) = run(&mut world, &steps);
        world.settle();
        let written: usize = deliveries.iter_mut().map(|one| usize::from(result(one).is_ok())).sum();
        let mut total = 0;
        for (partition, given) in given.iter().enumerate() {
            let values = world.values(partition);
            total += values.len();
            let mut left = given.iter();
            for value in &values {
                prop_assert!(left.any(|one| one == value), "{} out of order or twice in {:?}", value, values);
            }
        }
        prop_assert_eq!(written, total);
        prop_assert_eq!(world.accumulator.memory.used(), 0);
    }
}
