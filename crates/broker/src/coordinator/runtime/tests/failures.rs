//! What becomes of answers and of the shard when a log is slow, fails, or has another leader.

use vltava_protocol::ErrorCode;

use super::bed::{Bed, PARTITION, poll};
use super::counter::UNWRITABLE;
use crate::coordinator::memory_log::Fault;

#[test]
fn an_answer_goes_at_once_where_the_high_watermark_follows_at_once() {
    let mut bed = Bed::loaded();
    let (total, pending) = bed.increment("a", 2).unwrap();
    assert_eq!(total, 2);
    assert!(pending.is_none());
    assert_eq!(bed.context.next_deadline(), Some(bed.now.elapsed_ms + i64::from(i32::MAX)), "nothing is parked");
}

#[test]
fn answers_wait_for_the_high_watermark_in_the_order_of_their_offsets() {
    let mut bed = Bed::loaded();
    bed.log.set_slow(true);
    let mut first = bed.increment("a", 1).unwrap().1.unwrap();
    let mut second = bed.increment("a", 1).unwrap().1.unwrap();
    let (total, read) = bed.get("a").unwrap();
    assert_eq!(total, 2, "an operation sees what is written");
    let mut read = read.expect("and its answer waits for what it has seen");
    assert_eq!(poll(&mut first), None);
    bed.commit(1);
    assert_eq!(poll(&mut first), Some(Ok(())));
    assert_eq!((poll(&mut second), poll(&mut read)), (None, None));
    bed.commit(2);
    assert_eq!((poll(&mut second), poll(&mut read)), (Some(Ok(())), Some(Ok(()))));
}

#[test]
fn who_waits_for_another_request_is_answered_when_that_is_committed() {
    let mut bed = Bed::loaded();
    let mut waiting = bed.wait_for("a", 3).unwrap();
    bed.increment("a", 2).unwrap();
    assert_eq!(poll(&mut waiting), None);
    bed.log.set_slow(true);
    bed.increment("a", 1).unwrap();
    assert_eq!(poll(&mut waiting), None, "the counter is there, but may still be lost");
    bed.commit(2);
    assert_eq!(poll(&mut waiting), Some(Ok(3)));
}

#[test]
fn effects_wait_for_the_high_watermark_and_go_with_the_shard() {
    let mut bed = Bed::loaded();
    bed.increment("a", 3).unwrap();
    assert_eq!(bed.performed.lock().drain(..).collect::<Vec<_>>(), [(0, "a".to_owned(), 3)], "at once if committed");
    bed.log.set_slow(true);
    bed.increment("a", 3).unwrap();
    bed.increment("a", 3).unwrap();
    assert!(bed.performed.lock().is_empty());
    bed.commit(2);
    assert_eq!(bed.performed.lock().drain(..).collect::<Vec<_>>(), [(0, "a".to_owned(), 6)]);
    bed.log.depose(PARTITION);
    bed.commit(3);
    assert!(bed.performed.lock().is_empty(), "what was not committed is forgotten with the leader epoch");
}

#[test]
fn a_shard_whose_append_fails_is_loaded_again_and_is_what_its_log_is() {
    let cases = [
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::UnknownTopicOrPartition, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
    ];
    for (failure, told) in cases {
        let mut bed = Bed::loaded();
        bed.increment("a", 1).unwrap();
        let mut waiting = bed.wait_for("a", 9).unwrap();
        bed.log.fail(Some(Fault::Refused(failure)));
        assert_eq!(bed.increment("a", 1).unwrap_err(), told);
        assert_eq!(poll(&mut waiting), Some(Err(told)), "only the lost shard knew of it");
        bed.log.fail(None);
        assert_eq!(bed.get("a").unwrap_err(), ErrorCode::CoordinatorLoadInProgress);
        bed.load();
        assert_eq!(bed.get("a").unwrap().0, 1, "what was refused is not there");
        bed.check_replay();
    }
}

#[test]
fn what_was_written_by_a_failed_append_is_there_after_loading() {
    let mut bed = Bed::loaded();
    bed.log.fail(Some(Fault::Written(ErrorCode::KafkaStorageError)));
    assert_eq!(bed.increment("a", 1).unwrap_err(), ErrorCode::NotCoordinator);
    bed.log.fail(None);
    bed.load();
    assert_eq!(bed.get("a").unwrap().0, 1);
    bed.check_replay();
}

#[test]
fn answers_for_earlier_records_outlive_a_failed_append() {
    let mut bed = Bed::loaded();
    bed.log.set_slow(true);
    let mut earlier = bed.increment("a", 1).unwrap().1.unwrap();
    bed.log.fail(Some(Fault::Refused(ErrorCode::MessageTooLarge)));
    bed.increment("a", 1).unwrap_err();
    bed.log.fail(None);
    assert_eq!(poll(&mut earlier), None);
    bed.load();
    let (total, later) = bed.get("a").unwrap();
    assert_eq!(total, 1);
    let mut later = later.expect("what was loaded is not committed either");
    bed.commit(1);
    assert_eq!((poll(&mut earlier), poll(&mut later)), (Some(Ok(())), Some(Ok(()))));
}

#[test]
fn an_operation_whose_records_cannot_be_written_leaves_nothing_behind() {
    let mut bed = Bed::loaded();
    bed.increment("a", 1).unwrap();
    assert_eq!(bed.increment(UNWRITABLE, 1).unwrap_err(), ErrorCode::UnknownServerError);
    assert_eq!(bed.log.end(PARTITION), 1);
    bed.load();
    assert_eq!((bed.get("a").unwrap().0, bed.get(UNWRITABLE).unwrap().0), (1, 0));
}

#[test]
fn what_is_not_committed_when_leadership_ends_is_refused() {
    let mut bed = Bed::loaded();
    bed.increment("a", 1).unwrap();
    bed.log.set_slow(true);
    let mut parked = bed.increment("a", 1).unwrap().1.unwrap();
    let mut waiting = bed.wait_for("a", 9).unwrap();
    bed.log.depose(PARTITION);
    bed.context.advance(bed.now);
    assert_eq!(poll(&mut parked), Some(Err(ErrorCode::NotCoordinator)));
    assert_eq!(poll(&mut waiting), Some(Err(ErrorCode::NotCoordinator)));
    bed.load();
    assert_eq!(bed.get("a").unwrap().0, 1, "another leader did not have it");
}

#[test]
fn the_high_watermark_of_another_leader_epoch_answers_nothing() {
    let mut bed = Bed::loaded();
    bed.log.set_slow(true);
    let mut parked = bed.increment("a", 1).unwrap().1.unwrap();
    bed.log.depose(PARTITION);
    // The partition is loaded and has other records at the same offsets before anybody has looked.
    bed.load();
    bed.increment("b", 1).unwrap();
    bed.commit(1);
    assert_eq!(poll(&mut parked), Some(Err(ErrorCode::NotCoordinator)));
    assert_eq!((bed.get("a").unwrap().0, bed.get("b").unwrap().0), (0, 1));
}

#[test]
fn a_load_that_ends_after_leadership_is_of_no_use() {
    let mut bed = Bed::new(1_000);
    let load = bed.context.begin_load().unwrap().unwrap();
    let loaded = load.replay(0);
    bed.log.depose(PARTITION);
    bed.context.finish_load(&load, loaded, bed.now);
    assert!(bed.context.shard().is_none());
    assert_eq!(bed.get("a").unwrap_err(), ErrorCode::CoordinatorLoadInProgress);
    bed.load();
    assert_eq!(bed.get("a").unwrap().0, 0);
}

#[test]
fn an_answer_that_waits_for_too_long_is_refused_and_its_record_stays() {
    let mut bed = Bed::loaded();
    bed.log.set_slow(true);
    let mut parked = bed.increment("a", 1).unwrap().1.unwrap();
    bed.advance(4_999);
    assert_eq!(poll(&mut parked), None);
    bed.advance(1);
    assert_eq!(poll(&mut parked), Some(Err(ErrorCode::CoordinatorNotAvailable)));
    bed.commit(1);
    let (total, pending) = bed.get("a").unwrap();
    assert_eq!(total, 1);
    assert!(pending.is_none());
}

#[test]
fn timers_write_records_of_their_own_and_count_from_the_load() {
    let mut bed = Bed::new(1_000);
    bed.load();
    bed.increment("a", 1).unwrap();
    bed.advance(600);
    bed.restart();
    bed.load();
    bed.advance(999);
    assert_eq!(bed.get("a").unwrap().0, 1);
    bed.advance(1);
    assert_eq!(bed.get("a").unwrap().0, 0);
    assert_eq!(bed.log.end(PARTITION), 2, "the counter and its tombstone");
    bed.check_replay();
}

#[test]
fn a_closed_partition_answers_nothing_any_more() {
    let mut bed = Bed::loaded();
    bed.log.set_slow(true);
    let mut parked = bed.increment("a", 1).unwrap().1.unwrap();
    let mut waiting = bed.wait_for("a", 9).unwrap();
    bed.context.close();
    assert_eq!(poll(&mut parked), Some(Err(ErrorCode::NotCoordinator)));
    assert_eq!(poll(&mut waiting), Some(Err(ErrorCode::NotCoordinator)));
    assert_eq!(bed.increment("a", 1).unwrap_err(), ErrorCode::NotCoordinator);
    assert!(bed.context.begin_load().unwrap().is_none());
}
