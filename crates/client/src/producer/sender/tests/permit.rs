//! What may not be sent now waits, and what was discarded is never sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vltava_protocol::ErrorCode;

use super::model::{Fate, STATE, World, result, sender_settings, sequences, try_result};
use crate::error::ClientError;

const LINGER: Duration = Duration::from_millis(5);

/// A world whose producer may send as long as this says so.
fn world() -> (World, Arc<AtomicBool>) {
    let world = World::with_state(2, 2, sender_settings());
    let may_send = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&may_send);
    assert!(world.accumulator.permit.set(move || asked.load(Ordering::Relaxed)));
    (world, may_send)
}

/// Has a batch acknowledged in each partition, after which several may be on their way.
fn introduce(world: &mut World) {
    for partition in 0..2 {
        world.append(partition, b"first");
    }
    world.settle();
}

#[test]
fn what_may_not_be_sent_waits_until_it_may() {
    let (mut world, may_send) = world();
    may_send.store(false, Ordering::Relaxed);
    let mut delivery = world.append(0, b"a");
    world.advance(100 * LINGER);
    assert!(world.wire.is_empty());
    may_send.store(true, Ordering::Relaxed);
    // It looks again by itself.
    world.now = world.sender.deadline().expect("it looks again");
    world.poll();
    world.answer(0, Fate::Fine);
    assert!(result(&mut delivery).is_ok());
}

#[test]
fn what_may_not_be_sent_for_too_long_fails_in_time() {
    let (mut world, may_send) = world();
    may_send.store(false, Ordering::Relaxed);
    let mut delivery = world.append(0, b"a");
    world.advance(Duration::from_secs(119));
    assert!(try_result(&mut delivery).is_none());
    world.advance(Duration::from_secs(2));
    assert!(matches!(result(&mut delivery), Err(ClientError::Timeout { .. })));
}

#[test]
fn what_is_to_be_sent_again_waits_too() {
    let (mut world, may_send) = world();
    world.append(0, b"a");
    world.advance(LINGER);
    may_send.store(false, Ordering::Relaxed);
    world.answer(0, Fate::Lost);
    world.advance(Duration::from_secs(10));
    assert!(world.wire.is_empty());
    may_send.store(true, Ordering::Relaxed);
    world.settle();
    assert_eq!(world.values(0), ["a"]);
}

/// In the queue, held back, let go and waiting for its turn, on its way, and to be sent again.
#[test]
fn nothing_that_was_discarded_is_sent_wherever_it_was() {
    let (mut world, _) = world();
    introduce(&mut world);
    let mut again = world.append(0, b"to be sent again");
    world.advance(LINGER);
    world.answer(0, Fate::Refused(ErrorCode::NotEnoughReplicas));
    let mut on_its_way = world.append(1, b"on its way");
    world.advance(LINGER);
    assert_eq!(world.wire.len(), 1);
    let mut let_go = world.append_to(STATE, 0, b"let go");
    world.accumulator.barrier();
    let mut held = world.append_to(STATE, 1, b"held back");
    let mut queued = world.append(1, b"queued");
    world.accumulator.discard_all();
    let mut later = world.append(1, b"later");
    world.poll();
    for discarded in [&mut again, &mut on_its_way, &mut let_go, &mut held, &mut queued] {
        assert!(matches!(result(discarded), Err(ClientError::Discarded { .. })));
    }
    assert!(world.accumulator.take_failed().is_empty());
    world.advance(Duration::from_secs(10));
    world.settle();
    assert!(result(&mut later).is_ok());
    assert_eq!(world.values(0), ["first"]);
    // It had arrived.
    assert_eq!(world.values(1), ["first", "on its way", "later"]);
    assert_eq!([world.values(2), world.values(3)], [[""; 0]; 2]);
    assert!(matches!(world.flush(), Some(Ok(()))), "nothing is told, and nothing held back");
    assert_eq!(world.accumulator.memory.used(), 0);
}

/// The broker may have numbers that we have given up: what comes later begins anew.
#[test]
fn what_comes_after_what_was_discarded_is_written_whether_that_arrived_or_not() {
    for fate in [Fate::Fine, Fate::Lost, Fate::AnswerLost] {
        let (mut world, _) = world();
        introduce(&mut world);
        world.append(0, b"gone");
        world.advance(LINGER);
        world.accumulator.discard_all();
        let mut later = world.append(0, b"later");
        world.advance(LINGER);
        assert_eq!(sequences(&world.wire[1]), [(0, 1, 0)], "a new epoch");
        world.answer(0, fate);
        world.settle();
        assert!(result(&mut later).is_ok(), "{fate:?}");
        assert_eq!(world.values(0).last().map(String::as_str), Some("later"), "{fate:?}");
    }
}

#[test]
fn what_follows_on_what_was_discarded_is_held_back_only_for_itself() {
    let (mut world, _) = world();
    world.append(0, b"gone");
    world.append_to(STATE, 0, b"gone too");
    world.accumulator.discard_all();
    let mut state = world.append_to(STATE, 0, b"state");
    let mut output = world.append(0, b"result");
    world.accumulator.barrier();
    world.settle();
    assert!(result(&mut output).is_ok() && result(&mut state).is_ok());
    assert_eq!((world.values(0), world.values(2)), (vec!["result".to_owned()], vec!["state".to_owned()]));
}
