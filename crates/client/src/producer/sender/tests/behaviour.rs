//! One behaviour each.

use std::time::Duration;

use vltava_protocol::ErrorCode;
use vltava_protocol::record::Compression;

use super::model::{Fate, World, result, sender_settings, sequences, try_result};
use crate::config::Acks;
use crate::error::ClientError;
use crate::producer::sender::{Leader, SenderSettings};

/// A value of which one is a batch of its own.
fn large(name: &str) -> Vec<u8> {
    let mut value = name.as_bytes().to_vec();
    value.resize(120, b'.');
    value
}

fn names(values: &[String]) -> Vec<&str> {
    values.iter().map(|value| value.trim_end_matches('.')).collect()
}

#[test]
fn a_batch_waits_for_linger_and_then_goes() {
    let mut world = World::new(1, sender_settings());
    let mut delivery = world.append(0, b"a");
    world.poll();
    assert!(world.wire.is_empty());
    assert_eq!(world.sender.deadline(), Some(world.now + Duration::from_millis(5)));
    world.advance(Duration::from_millis(5));
    assert_eq!(world.wire.len(), 1);
    world.answer(0, Fate::Fine);
    let metadata = result(&mut delivery).unwrap();
    assert_eq!((metadata.partition, metadata.offset, metadata.timestamp), (0, Some(0), 1000));
    assert!(world.sender.is_idle());
    assert_eq!(world.accumulator.memory.used(), 0);
}

#[test]
fn a_full_batch_does_not_wait() {
    let mut world = World::new(1, sender_settings());
    world.introduce();
    world.append(0, &large("a"));
    world.append(0, &large("b"));
    world.poll();
    assert_eq!(world.wire.len(), 1, "the second batch still lingers");
}

#[test]
fn a_flush_does_not_wait() {
    let mut world = World::new(1, sender_settings());
    world.append(0, b"a");
    let accumulator = std::sync::Arc::clone(&world.accumulator);
    let _guard = accumulator.begin_flush();
    world.poll();
    assert_eq!(world.wire.len(), 1);
}

#[test]
fn records_of_a_batch_have_consecutive_offsets() {
    let mut world = World::new(1, sender_settings());
    let mut deliveries: Vec<_> = (0..5).map(|_| world.append(0, b"x")).collect();
    world.settle();
    let offsets: Vec<_> = deliveries.iter_mut().map(|one| result(one).unwrap().offset).collect();
    assert_eq!(offsets, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn at_most_five_requests_wait_for_answers() {
    let mut world = World::new(1, sender_settings());
    world.introduce();
    for number in 0..8 {
        world.append(0, &large(&number.to_string()));
    }
    world.advance(Duration::from_millis(5));
    assert_eq!(world.wire.len(), 5);
    world.answer(0, Fate::Fine);
    assert_eq!(world.wire.len(), 5);
}

#[test]
fn order_is_kept_when_the_first_of_several_requests_fails() {
    let mut world = World::new(1, sender_settings());
    world.introduce();
    for name in ["a", "b", "c"] {
        world.append(0, &large(name));
    }
    world.advance(Duration::from_millis(5));
    assert_eq!(world.wire.len(), 3);
    world.answer(0, Fate::Refused(ErrorCode::NotEnoughReplicas));
    world.answer(0, Fate::Fine);
    world.answer(0, Fate::Fine);
    assert_eq!(world.values(0), ["first"], "b and c are out of order before a");
    world.settle();
    assert_eq!(names(&world.values(0)), ["first", "a", "b", "c"]);
}

#[test]
fn until_the_broker_knows_the_producer_one_batch_goes_at_a_time() {
    let mut world = World::new(1, sender_settings());
    for name in ["a", "b"] {
        world.append(0, &large(name));
    }
    world.advance(Duration::from_millis(5));
    assert_eq!(world.wire.len(), 1);
    world.answer(0, Fate::Refused(ErrorCode::NotEnoughReplicas));
    world.settle();
    assert_eq!(names(&world.values(0)), ["a", "b"]);
}

#[test]
fn a_batch_to_be_sent_again_goes_alone_and_with_its_numbers() {
    let mut world = World::new(1, sender_settings());
    world.introduce();
    for name in ["a", "b"] {
        world.append(0, &large(name));
    }
    world.advance(Duration::from_millis(5));
    let before = sequences(&world.wire[0]);
    world.answer(0, Fate::Refused(ErrorCode::NotEnoughReplicas));
    world.answer(0, Fate::Fine);
    world.advance(Duration::from_millis(500));
    assert_eq!(world.wire.len(), 1);
    assert_eq!(sequences(&world.wire[0]), before);
}

#[test]
fn a_batch_whose_answer_was_lost_is_not_written_twice() {
    let mut world = World::new(1, sender_settings());
    let mut delivery = world.append(0, b"a");
    world.advance(Duration::from_millis(5));
    world.answer(0, Fate::AnswerLost);
    assert!(try_result(&mut delivery).is_none());
    world.settle();
    assert_eq!(world.values(0), ["a"]);
    assert_eq!(result(&mut delivery).unwrap().offset, Some(0));
}

#[test]
fn a_duplicate_that_the_broker_has_forgotten_is_written_without_an_offset() {
    let mut world = World::new(1, sender_settings());
    let mut delivery = world.append(0, b"a");
    world.advance(Duration::from_millis(5));
    world.answer(0, Fate::Refused(ErrorCode::DuplicateSequenceNumber));
    assert_eq!(result(&mut delivery).unwrap().offset, None);
}

#[test]
fn an_error_that_does_not_pass_fails_the_batch_and_begins_an_epoch() {
    let mut world = World::new(1, sender_settings());
    world.introduce();
    let mut first = world.append(0, &large("a"));
    let mut second = world.append(0, &large("b"));
    world.advance(Duration::from_millis(5));
    world.answer(0, Fate::Refused(ErrorCode::InvalidRecord));
    assert_eq!(result(&mut first).unwrap_err().code(), Some(ErrorCode::InvalidRecord));
    world.settle();
    assert!(result(&mut second).is_ok());
    assert_eq!(names(&world.values(0)), ["first", "b"]);
    world.append(0, b"c");
    world.advance(Duration::from_millis(5));
    assert_eq!(sequences(&world.wire[0]), [(0, 1, 1)], "epoch 1, after b as number 0");
}

#[test]
fn a_code_that_passes_is_tried_until_the_delivery_time_is_over_and_another_is_told_at_once() {
    let passing = [
        ErrorCode::CorruptMessage,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::RequestTimedOut,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::NotEnoughReplicasAfterAppend,
        ErrorCode::KafkaStorageError,
    ];
    let others = [
        ErrorCode::InvalidRecord,
        ErrorCode::InvalidTimestamp,
        ErrorCode::InvalidTopicException,
        ErrorCode::RecordListTooLarge,
        ErrorCode::InvalidRequiredAcks,
        ErrorCode::TopicAuthorizationFailed,
        ErrorCode::UnsupportedForMessageFormat,
        ErrorCode::UnknownServerError,
    ];
    for (code, passes) in passing.map(|code| (code, true)).into_iter().chain(others.map(|code| (code, false))) {
        for idempotent in [true, false] {
            let mut world = World::new(1, SenderSettings { idempotent, ..sender_settings() });
            let began = world.now;
            let mut delivery = world.append(0, b"a");
            world.advance(Duration::from_millis(5));
            let mut attempts = 0;
            let error = loop {
                if !world.wire.is_empty() {
                    attempts += 1;
                    world.answer(0, Fate::Refused(code));
                }
                match try_result(&mut delivery) {
                    Some(result) => break result.unwrap_err(),
                    None => world.advance(Duration::from_secs(1)),
                }
            };
            if passes {
                assert!(attempts > 50, "{code}: {attempts}");
                assert!(matches!(error, ClientError::Timeout { .. }), "{code}: {error}");
                assert!(world.now - began >= Duration::from_secs(120), "{code}");
            } else {
                assert_eq!((attempts, error.code()), (1, Some(code)));
            }
        }
    }
}

#[test]
fn a_producer_that_the_broker_has_forgotten_begins_an_epoch() {
    let mut world = World::new(1, sender_settings());
    world.brokers.refuses_unknown = true;
    world.append(0, b"a");
    world.settle();
    world.brokers.forget_producers();
    let mut delivery = world.append(0, b"b");
    world.settle();
    assert_eq!(result(&mut delivery).unwrap().offset, Some(1));
    assert_eq!(world.values(0), ["a", "b"]);
}

#[test]
fn a_record_that_is_not_acknowledged_in_time_fails() {
    let mut world = World::new(1, sender_settings());
    world.brokers.leaders[0] = Leader::Unknown;
    let mut delivery = world.append(0, b"a");
    world.advance(Duration::from_secs(119));
    assert!(try_result(&mut delivery).is_none());
    assert!(world.refreshes > 0);
    world.advance(Duration::from_secs(1));
    let error = result(&mut delivery).unwrap_err();
    assert_eq!(error.to_string(), "delivery of 1 records to t-0 timed out after 120000 ms");
    assert!(error.is_retriable());
    assert_eq!(world.accumulator.memory.used(), 0);
}

#[test]
fn after_a_batch_of_unknown_fate_nothing_new_goes_until_the_others_are_over() {
    let mut world = World::new(1, sender_settings());
    world.introduce();
    let mut lost = world.append(0, &large("a"));
    world.append(0, &large("b"));
    world.advance(Duration::from_millis(5));
    // Neither is answered in time; what comes later must not be taken for their successor.
    world.advance(Duration::from_secs(120));
    assert!(matches!(result(&mut lost), Err(ClientError::Timeout { .. })));
    let mut later = world.append(0, b"c");
    world.answer(0, Fate::Lost);
    world.answer(0, Fate::Lost);
    world.settle();
    assert_eq!(result(&mut later).unwrap().offset, Some(1));
    assert_eq!(world.values(0), ["first", "c"]);
}

#[test]
fn an_answer_that_comes_after_the_time_limit_changes_nothing() {
    let mut world = World::new(1, sender_settings());
    let mut delivery = world.append(0, b"a");
    world.advance(Duration::from_millis(5));
    world.advance(Duration::from_secs(121));
    assert!(result(&mut delivery).is_err());
    world.answer(0, Fate::Fine);
    let mut next = world.append(0, b"b");
    world.settle();
    assert!(result(&mut next).is_ok());
    assert_eq!(world.values(0), ["a", "b"]);
}

#[test]
fn without_retries_the_first_failure_counts() {
    let settings = SenderSettings { retries: 0, idempotent: false, ..sender_settings() };
    let mut world = World::new(1, settings);
    let mut delivery = world.append(0, b"a");
    world.advance(Duration::from_millis(5));
    world.answer(0, Fate::Refused(ErrorCode::NotEnoughReplicas));
    assert_eq!(result(&mut delivery).unwrap_err().code(), Some(ErrorCode::NotEnoughReplicas));
}

#[test]
fn one_request_in_flight_keeps_the_order_without_idempotence() {
    let settings = SenderSettings { idempotent: false, max_in_flight: 1, ..sender_settings() };
    let mut world = World::new(1, settings);
    for name in ["a", "b", "c"] {
        world.append(0, &large(name));
    }
    world.advance(Duration::from_millis(5));
    assert_eq!(world.wire.len(), 1);
    world.answer(0, Fate::Refused(ErrorCode::NotEnoughReplicas));
    assert!(world.wire.is_empty(), "b does not overtake a");
    world.settle();
    assert_eq!(names(&world.values(0)), ["a", "b", "c"]);
}

#[test]
fn a_batch_too_large_for_the_broker_is_cut_until_it_fits() {
    for compression in [Compression::None, Compression::Lz4] {
        let mut world = World::with_batches(1, sender_settings(), 16 << 10, compression);
        world.brokers.max_batch = 400;
        let mut deliveries: Vec<_> = (0..100).map(|number| world.append(0, format!("{number}").as_bytes())).collect();
        world.settle();
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(world.values(0), expected, "{compression:?}");
        for (number, delivery) in deliveries.iter_mut().enumerate() {
            assert_eq!(result(delivery).unwrap().offset, Some(number as i64));
        }
        assert_eq!(world.accumulator.memory.used(), 0);
        assert!(world.accumulator.pending.is_empty());
    }
}

#[test]
fn a_single_record_too_large_for_the_broker_fails() {
    let mut world = World::new(1, sender_settings());
    world.brokers.max_batch = 100;
    let mut delivery = world.append(0, &large("a"));
    world.settle();
    assert_eq!(result(&mut delivery).unwrap_err().code(), Some(ErrorCode::MessageTooLarge));
}

#[test]
fn a_partition_that_moves_is_written_at_its_new_leader_in_order() {
    let mut world = World::new(1, sender_settings());
    world.introduce();
    world.append(0, &large("a"));
    world.append(0, &large("b"));
    world.advance(Duration::from_millis(5));
    world.brokers.leaders[0] = Leader::Node(7);
    world.answer(0, Fate::Refused(ErrorCode::NotLeaderOrFollower));
    world.answer(0, Fate::Refused(ErrorCode::NotLeaderOrFollower));
    assert!(world.refreshes > 0);
    world.advance(Duration::from_millis(500));
    assert!(world.wire.iter().all(|wire| wire.node == 7));
    world.settle();
    assert_eq!(names(&world.values(0)), ["first", "a", "b"]);
}

#[test]
fn a_topic_that_may_not_be_written_to_fails_its_records_at_once() {
    let mut world = World::new(1, sender_settings());
    world.brokers.leaders[0] = Leader::Refused(ErrorCode::TopicAuthorizationFailed);
    let mut delivery = world.append(0, b"a");
    world.poll();
    assert_eq!(result(&mut delivery).unwrap_err().code(), Some(ErrorCode::TopicAuthorizationFailed));
}

#[test]
fn without_acknowledgement_there_is_no_offset_and_no_retry() {
    let settings = SenderSettings { acks: Acks::None, idempotent: false, ..sender_settings() };
    let mut world = World::new(1, settings);
    let mut delivery = world.append(0, b"a");
    world.advance(Duration::from_millis(5));
    world.answer(0, Fate::Lost);
    assert!(matches!(result(&mut delivery), Err(ClientError::Connection { .. })));
}

#[test]
fn a_failure_that_nobody_waits_for_is_kept_for_the_flush() {
    let mut world = World::new(1, sender_settings());
    world.append_unobserved(0, b"a");
    world.advance(Duration::from_millis(5));
    world.answer(0, Fate::Refused(ErrorCode::InvalidRecord));
    let failure = world.flush().unwrap().unwrap_err();
    assert_eq!(failure.code(), Some(ErrorCode::InvalidRecord));
    assert!(world.flush().unwrap().is_ok());
}

#[test]
fn what_is_abandoned_fails_and_frees_its_memory() {
    let mut world = World::new(2, sender_settings());
    let mut on_wire = world.append(0, &large("a"));
    world.advance(Duration::from_millis(5));
    let mut queued = world.append(1, b"b");
    world.sender.abandon(&ClientError::Closed);
    for delivery in [&mut on_wire, &mut queued] {
        assert!(matches!(result(delivery), Err(ClientError::Closed)));
    }
    assert_eq!(world.accumulator.memory.used(), 0);
}

#[test]
fn callbacks_run_in_the_order_of_the_records() {
    use crate::producer::ProducerRecord;
    use crate::producer::observe::ByCallback;
    let mut world = World::new(1, sender_settings());
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let queue =
        world.accumulator.with_topic(super::model::TOPIC, |topic| std::sync::Arc::clone(&topic.partitions[0])).unwrap();
    for _ in 0..3 {
        let seen = std::sync::Arc::clone(&seen);
        let callback = ByCallback(Box::new(move |result| seen.lock().push(result.unwrap().offset)));
        let record = ProducerRecord::new(super::model::TOPIC).value("x");
        world.accumulator.append(&queue, &record, 0, callback, || world.now).unwrap();
    }
    world.settle();
    assert_eq!(*seen.lock(), [Some(0), Some(1), Some(2)]);
}
