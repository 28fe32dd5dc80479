use vltava_protocol::ErrorCode;

use crate::file::faults;
use crate::testing::{NOW, TestLog, batch};
use crate::{FetchIsolation, LogError};

#[test]
fn a_full_disk_refuses_the_append_and_takes_the_log_offline() {
    let size = batch(NOW, &["b"]).len();
    for room in [0, 1, 40, 61, size - 1] {
        let mut t = TestLog::new(&[]);
        t.append(batch(NOW, &["a"])).unwrap();
        let end = t.log.log_end_offset();
        faults::disk_full_after(room);
        let error = t.append(batch(NOW, &["b"])).unwrap_err();
        faults::clear();
        assert_eq!(error.code(), ErrorCode::KafkaStorageError);
        assert!(matches!(error, LogError::Storage { .. }), "{error}");
        assert_eq!(t.log.log_end_offset(), end);
        // Nothing is served any more: neither reads nor appends, although there is room again.
        assert!(t.log.log_dir().is_offline());
        assert!(matches!(t.append(batch(NOW, &["c"])), Err(LogError::Offline { .. })));
        let read = t.log.read(0, 100, FetchIsolation::LogEnd, true);
        assert_eq!(read.unwrap_err().code(), ErrorCode::KafkaStorageError);
        assert!(t.log.close().is_err());
        // After a restart what was acknowledged is there, and the torn write is not.
        t.reopen_after_crash().unwrap();
        assert_eq!(t.values(0), [(0, "a".to_owned())]);
        assert_eq!(t.log.recovery_report().truncated_bytes, room as u64);
        t.append(batch(NOW, &["d"])).unwrap();
        assert_eq!(t.values(1), [(1, "d".to_owned())]);
    }
}

#[test]
fn a_full_disk_is_felt_wherever_it_hits() {
    // The room is used up in the middle of rolls, index writes and snapshots: whatever fails, what was acknowledged
    // is there after a restart, and no more than one record that was not.
    for room in (0..3_000).step_by(37) {
        let mut t = TestLog::new(&[("internal.segment.bytes", "300"), ("index.interval.bytes", "0")]);
        faults::disk_full_after(room);
        let mut acknowledged = Vec::new();
        for n in 0..60 {
            let value = format!("v{n}");
            match t.append(crate::testing::idempotent(1, 0, n, &[&value])) {
                Ok(info) => acknowledged.push((info.first_offset, value)),
                Err(error) => {
                    assert_eq!(error.code(), ErrorCode::KafkaStorageError, "room {room}: {error}");
                    break;
                }
            }
        }
        faults::clear();
        assert!(acknowledged.len() < 60, "room {room}");
        t.reopen_after_crash().unwrap();
        let found = t.values(0);
        assert_eq!(&found[..acknowledged.len()], acknowledged, "room {room}");
        assert!(found.len() <= acknowledged.len() + 1);
        let next = found.len() as i32;
        t.append(crate::testing::idempotent(1, 0, next, &["next"])).unwrap();
    }
}

#[test]
fn a_read_error_takes_the_log_offline() {
    let mut t = TestLog::new(&[]);
    t.append(batch(NOW, &["a"])).unwrap();
    let plan = t.log.read(0, 100, FetchIsolation::LogEnd, true).unwrap();
    faults::fail_reads();
    let error = plan.read().unwrap_err();
    faults::clear();
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    assert!(t.log.log_dir().offline_reason().unwrap().contains("injected read error"));
    assert!(matches!(plan.read(), Err(LogError::Offline { .. })));
    assert!(matches!(t.append(batch(NOW, &["b"])), Err(LogError::Offline { .. })));
}

#[test]
fn a_failed_fsync_refuses_the_append() {
    let mut t = TestLog::new(&[("flush.messages", "1")]);
    t.append(batch(NOW, &["a"])).unwrap();
    faults::fail_sync();
    let error = t.append(batch(NOW, &["b"])).unwrap_err();
    faults::clear();
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    assert!(error.is_fatal() && error.is_retriable());
    assert!(matches!(t.log.flush(), Err(LogError::Offline { .. })));
}

#[test]
fn one_log_takes_its_whole_directory_offline() {
    let mut t = TestLog::new(&[]);
    let dir = std::sync::Arc::clone(t.log.log_dir());
    let other = crate::TopicPartition::new("other", 0);
    let mut other = crate::Log::open(&dir, other, crate::LogOptions::default(), NOW).unwrap();
    faults::disk_full_after(0);
    t.append(batch(NOW, &["a"])).unwrap_err();
    faults::clear();
    let context = crate::AppendContext::client(0, NOW);
    let error = other.append_as_leader(&mut t.appender, batch(NOW, &["a"]), context).unwrap_err();
    assert!(matches!(error, LogError::Offline { .. }));
}

#[test]
fn a_closed_log_refuses_everything() {
    let mut t = TestLog::new(&[]);
    t.append(batch(NOW, &["a"])).unwrap();
    t.log.close().unwrap();
    t.log.close().unwrap();
    assert!(matches!(t.append(batch(NOW, &["b"])), Err(LogError::Closed(_))));
    assert!(matches!(t.log.read(0, 1, FetchIsolation::LogEnd, true), Err(LogError::Closed(_))));
}
