use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use vltava_protocol::Uuid;
use vltava_protocol::record::{Compression, RecordBatchBuilder};

use super::*;
use crate::checkpoint::write_offset_checkpoint;
use crate::file::faults;
use crate::testing::{NOW, batch, keyed, values};
use crate::{AppendContext, Appender, CleanerSettings, FetchIsolation, LogStartOffsetIncrementReason};

fn manager(dir: &TempDir) -> LogManager {
    LogManager::open(LogManagerConfig::new(dir.path(), 1), None, at(NOW)).unwrap()
}

/// Both clocks at one time.
fn at(ms: i64) -> Now {
    Now { uptime_ms: ms, wall_ms: ms }
}

fn tp(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

fn append(log: &SharedLog, value: &str) {
    let mut log = log.lock();
    log.append_as_leader(&mut Appender::new(), keyed(NOW, &[(value, Some(value))]), AppendContext::client(0, NOW))
        .unwrap();
    log.advance_high_watermark_to_log_end().unwrap();
}

fn load_all(manager: &LogManager) {
    let config = Arc::new(LogConfig::default());
    manager.load_logs(|_| Some(LoadedLogConfig { config: Arc::clone(&config), topic_id: None }), at(NOW)).unwrap();
}

fn contents(manager: &LogManager, topic: &str) -> Vec<String> {
    let log = manager.log(&tp(topic)).unwrap();
    values(&mut log.lock(), 0, FetchIsolation::LogEnd).into_iter().map(|(_, value)| value).collect()
}

#[test]
fn a_second_manager_of_a_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    let second = LogManager::open(LogManagerConfig::new(dir.path(), 1), None, at(NOW));
    assert!(matches!(second, Err(LogError::DirectoryInUse { .. })));
    first.shutdown(-1).unwrap();
    manager(&dir);
}

#[test]
fn logs_come_back_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    assert!(!first.had_clean_shutdown());
    let id = Uuid::from_u128(77);
    for topic in ["a", "b"] {
        let log = first.get_or_create_log(&tp(topic), Some(id), LogConfig::default(), NOW).unwrap();
        append(&log, topic);
        append(&log, topic);
    }
    let b = first.log(&tp("b")).unwrap();
    b.lock().maybe_increment_log_start_offset(1, LogStartOffsetIncrementReason::ClientRecordDeletion).unwrap();
    first.shutdown(5).unwrap();
    assert_eq!(CleanShutdownFile::new(dir.path()).read(), Some(5));

    let second = manager(&dir);
    assert!(second.had_clean_shutdown());
    assert!(CleanShutdownFile::new(dir.path()).exists(), "nothing is changed before a log is opened");
    let on_disk = second.partitions_on_disk().unwrap();
    let found: Vec<_> = on_disk.iter().map(|p| (p.topic_partition.clone(), p.topic_id, p.kind)).collect();
    assert_eq!(found, [(tp("a"), Some(id), DirKind::Current), (tp("b"), Some(id), DirKind::Current)]);
    load_all(&second);
    assert!(!CleanShutdownFile::new(dir.path()).exists());
    assert_eq!(contents(&second, "a"), ["a", "a"]);
    assert_eq!(contents(&second, "b"), ["b"]);
    let a = second.log(&tp("a")).unwrap();
    let a = a.lock();
    assert_eq!((a.topic_id(), a.recovery_point(), a.high_watermark()), (Some(id), 2, 2));
    assert!(a.recovery_report().recovered_segments.is_empty());
}

#[test]
fn logs_are_recovered_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    for n in 0..8 {
        let log = first.get_or_create_log(&tp(&format!("t{n}")), None, LogConfig::default(), NOW).unwrap();
        append(&log, "x");
        append(&log, "y");
    }
    drop(first);
    let second = manager(&dir);
    load_all(&second);
    for n in 0..8 {
        assert_eq!(contents(&second, &format!("t{n}")), ["x", "y"]);
        let log = second.log(&tp(&format!("t{n}"))).unwrap();
        assert_eq!(log.lock().recovery_report().recovered_segments, [0]);
    }
}

#[test]
fn the_same_log_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir);
    let first = manager.get_or_create_log(&tp("a"), None, LogConfig::default(), NOW).unwrap();
    let second = manager.get_or_create_log(&tp("a"), Some(Uuid::from_u128(1)), LogConfig::default(), NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let other = manager.get_or_create_log(&tp("a"), Some(Uuid::from_u128(2)), LogConfig::default(), NOW);
    assert!(matches!(other, Err(LogError::InconsistentTopicId(_))));
}

#[test]
fn a_deleted_log_goes_at_once_and_its_files_later() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir);
    let log = manager.get_or_create_log(&tp("a"), None, LogConfig::default(), NOW).unwrap();
    append(&log, "old");
    manager.checkpoint_recovery_points().unwrap();
    let plan = log.lock().read(0, 100, FetchIsolation::LogEnd, true).unwrap();
    assert!(manager.delete_log(&tp("a"), at(NOW)).unwrap());
    assert!(!manager.delete_log(&tp("a"), at(NOW)).unwrap());
    assert!(matches!(log.lock().read(0, 1, FetchIsolation::LogEnd, true), Err(LogError::Closed(_))));
    assert!(!plan.read().unwrap().is_empty());
    let deleted = || fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(deleted(), 1);
    let again = manager.get_or_create_log(&tp("a"), None, LogConfig::default(), NOW).unwrap();
    assert_eq!(again.lock().log_end_offset(), 0);
    manager.run(at(NOW + 59_999)).unwrap();
    assert_eq!(deleted(), 2);
    manager.run(at(NOW + 60_000)).unwrap();
    assert_eq!(deleted(), 1);
}

#[test]
fn directories_that_were_being_deleted_are_removed_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    let log = first.get_or_create_log(&tp("a"), None, LogConfig::default(), NOW).unwrap();
    append(&log, "old");
    first.delete_log(&tp("a"), at(NOW)).unwrap();
    first.shutdown(-1).unwrap();
    let second = manager(&dir);
    assert_eq!(second.partitions_on_disk().unwrap(), []);
    load_all(&second);
    assert!(second.logs().is_empty());
    second.run(at(NOW + 60_000)).unwrap();
    assert!(fs::read_dir(dir.path()).unwrap().all(|entry| !entry.unwrap().path().is_dir()));
}

#[test]
fn a_directory_of_nothing_known_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("holiday_pictures")).unwrap();
    let error = manager(&dir).load_logs(|_| None, at(NOW)).unwrap_err();
    assert!(error.to_string().contains("holiday_pictures"), "{error}");
}

#[test]
fn tasks_run_when_they_are_due() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir);
    let config = LogConfig::from_properties([("retention.ms", "1000"), ("internal.segment.bytes", "150")]).unwrap();
    let log = manager.get_or_create_log(&tp("a"), Some(Uuid::from_u128(3)), config, NOW).unwrap();
    for _ in 0..6 {
        append(&log, "x");
    }
    let next = manager.run(at(NOW)).unwrap();
    assert_eq!(next, NOW + 1_000);
    manager.run(at(NOW + 1_000)).unwrap();
    // The rolled segments were flushed.
    let flushed = log.lock().recovery_point();
    assert!(flushed > 0 && flushed < 6);
    let checkpoint = |name: &str| read_offset_checkpoint(&dir.path().join(name)).unwrap();
    manager.run(at(NOW + 5_000)).unwrap();
    assert_eq!(checkpoint(REPLICATION_OFFSET_CHECKPOINT), BTreeMap::from([(tp("a"), 6)]));
    assert_eq!(checkpoint(RECOVERY_POINT_CHECKPOINT), BTreeMap::new());
    manager.run(at(NOW + 30_000)).unwrap();
    assert_eq!(checkpoint(RECOVERY_POINT_CHECKPOINT)[&tp("a")], 6);
    // Retention ran too: all is older than a second.
    let log = log.lock();
    assert_eq!((log.log_start_offset(), log.segment_count()), (6, 1));
}

#[test]
fn damaged_checkpoints_cost_a_recovery_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    append(&first.get_or_create_log(&tp("a"), None, LogConfig::default(), NOW).unwrap(), "x");
    first.shutdown(-1).unwrap();
    for name in [RECOVERY_POINT_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT] {
        fs::write(dir.path().join(name), "nonsense\n").unwrap();
    }
    let second = manager(&dir);
    load_all(&second);
    assert_eq!(contents(&second, "a"), ["x"]);
}

#[test]
fn checkpoints_keep_partitions_that_are_not_open_yet() {
    let dir = tempfile::tempdir().unwrap();
    let offsets = BTreeMap::from([(tp("a"), 5), (tp("gone"), 9)]);
    write_offset_checkpoint(&dir.path().join(RECOVERY_POINT_CHECKPOINT), &offsets).unwrap();
    fs::create_dir(dir.path().join("a-0")).unwrap();
    let manager = manager(&dir);
    manager.checkpoint_recovery_points().unwrap();
    let kept = read_offset_checkpoint(&dir.path().join(RECOVERY_POINT_CHECKPOINT)).unwrap();
    assert_eq!(kept, BTreeMap::from([(tp("a"), 5)]));
}

#[test]
fn an_offline_directory_stops_without_the_marker_of_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    let log = first.get_or_create_log(&tp("a"), None, LogConfig::default(), NOW).unwrap();
    append(&log, "x");
    faults::disk_full_after(10);
    let context = AppendContext::client(0, NOW);
    log.lock().append_as_leader(&mut Appender::new(), batch(NOW, &["y"]), context).unwrap_err();
    faults::clear();
    assert!(first.run(at(NOW + 100_000)).is_err());
    assert!(first.shutdown(-1).is_err());
    assert!(!CleanShutdownFile::new(dir.path()).exists());
    let second = manager(&dir);
    load_all(&second);
    assert_eq!(contents(&second, "a"), ["x"]);
}

#[test]
fn compacts_the_log_that_needs_it_most_and_remembers_how_far() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir);
    let config = LogConfig::from_properties([("cleanup.policy", "compact")]).unwrap();
    for (topic, repeats) in [("plain", 0), ("few", 3), ("many", 9)] {
        let config = if repeats == 0 { LogConfig::default() } else { config.clone() };
        let log = manager.get_or_create_log(&tp(topic), None, config, NOW).unwrap();
        for _ in 0..=repeats {
            append(&log, "same");
        }
        log.lock().roll(NOW).unwrap();
    }
    let mut cleaned = Vec::new();
    while let Some((tp, stats)) = manager.clean_filthiest_log(&CleanerSettings::default(), NOW, &|_| ()).unwrap() {
        assert_eq!(stats.messages_written, 1);
        cleaned.push(tp);
    }
    cleaned.sort();
    assert_eq!(cleaned, [tp("few"), tp("many")]);
    assert_eq!(contents(&manager, "many"), ["same"]);
    let checkpoint = read_offset_checkpoint(&dir.path().join(CLEANER_OFFSET_CHECKPOINT)).unwrap();
    assert_eq!(checkpoint, BTreeMap::from([(tp("few"), 4), (tp("many"), 10)]));
    manager.delete_log(&tp("few"), at(NOW)).unwrap();
    assert!(manager.clean_filthiest_log(&CleanerSettings::default(), NOW, &|_| ()).unwrap().is_none());
}

#[test]
fn a_log_is_compacted_by_one_thread_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir);
    let config = LogConfig::from_properties([("cleanup.policy", "compact")]).unwrap();
    for topic in ["a", "b"] {
        let log = manager.get_or_create_log(&tp(topic), None, config.clone(), NOW).unwrap();
        append(&log, "x");
        append(&log, "x");
        log.lock().roll(NOW).unwrap();
    }
    let settings = CleanerSettings::default();
    let claim = || manager.claim_filthiest(&settings, NOW).unwrap();
    let (first, second) = (claim().unwrap(), claim().unwrap());
    assert_ne!(first.name, second.name);
    assert!(claim().is_none());
    let free = first.name.clone();
    drop(first);
    assert_eq!(claim().map(|claimed| claimed.name.clone()), Some(free));
}

#[test]
fn a_log_whose_batch_has_too_many_keys_is_tried_again_with_more_memory() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir);
    let config = LogConfig::from_properties([("cleanup.policy", "compact")]).unwrap();
    let log = manager.get_or_create_log(&tp("a"), None, config, NOW).unwrap();
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for key in ["x", "y", "x"] {
        builder.append(NOW, Some(key.as_bytes()), Some(b"value"), []).unwrap();
    }
    let context = AppendContext::client(0, NOW);
    log.lock().append_as_leader(&mut Appender::new(), builder.build().unwrap(), context).unwrap();
    log.lock().advance_high_watermark_to_log_end().unwrap();
    log.lock().roll(NOW).unwrap();
    let with_keys = |keys: u64| CleanerSettings {
        dedupe_buffer_size: keys * 24,
        dedupe_buffer_load_factor: 1.0,
        ..CleanerSettings::default()
    };
    assert_eq!(manager.clean_filthiest_log(&with_keys(1), NOW, &|_| ()).unwrap(), None);
    assert!(manager.claim_filthiest(&with_keys(1), NOW).unwrap().is_none());
    let (_, stats) = manager.clean_filthiest_log(&with_keys(3), NOW, &|_| ()).unwrap().unwrap();
    assert_eq!((stats.messages_read, stats.messages_written), (3, 2));
}

#[test]
fn a_damaged_compacted_log_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir);
    let config = LogConfig::from_properties([("cleanup.policy", "compact")]).unwrap();
    let log = manager.get_or_create_log(&tp("a"), None, config, NOW).unwrap();
    append(&log, "x");
    append(&log, "x");
    log.lock().roll(NOW).unwrap();
    let path = dir.path().join("a-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[16] = 9;
    fs::write(&path, bytes).unwrap();
    assert!(manager.clean_filthiest_log(&CleanerSettings::default(), NOW, &|_| ()).unwrap().is_none());
    assert!(!manager.log_dir().is_offline());
    append(&log, "y");
}

#[test]
fn managers_are_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<LogManager>();
    check::<SharedLog>();
    check::<crate::ReadPlan>();
    check::<crate::PreparedAppend>();
}

#[test]
fn no_partition_is_waited_for_when_it_is_made_or_closed_without_records() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    first.get_or_create_log(&tp("warm"), None, LogConfig::default(), NOW).unwrap();
    let before = faults::syncs();
    for n in 0..50 {
        let id = Some(Uuid::from_u128(n + 1));
        let log = first.get_or_create_log(&tp(&format!("t{n}")), id, LogConfig::default(), NOW).unwrap();
        log.lock().assign_leader_epoch(0).unwrap();
        append(&log, "x");
    }
    assert_eq!(faults::syncs() - before, 0, "neither the making nor the first record waits for the disk");
    first.shutdown(-1).unwrap();

    let second = manager(&dir);
    load_all(&second);
    assert_eq!(second.log(&tp("t7")).unwrap().lock().topic_id(), Some(Uuid::from_u128(8)));
    assert_eq!(contents(&second, "t49"), ["x"]);
    let before = faults::syncs();
    second.for_each(second.logs(), |(_, log)| log.lock().close()).unwrap();
    // This thread's part of the work; the checkpoints are not among it.
    assert_eq!(faults::syncs() - before, 0, "a log that nothing was written to is closed without a wait");
}

#[test]
fn a_partition_that_lost_its_unflushed_metadata_file_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    let id = Some(Uuid::from_u128(3));
    append(&first.get_or_create_log(&tp("a"), id, LogConfig::default(), NOW).unwrap(), "x");
    drop(first);
    // What a loss of power may leave of files that were not flushed.
    for name in ["partition.metadata", "leader-epoch-checkpoint"] {
        fs::write(dir.path().join("a-0").join(name), "").unwrap();
    }
    let second = manager(&dir);
    let log = second.get_or_create_log(&tp("a"), id, LogConfig::default(), NOW).unwrap();
    assert_eq!(contents(&second, "a"), ["x"]);
    let log = log.lock();
    assert_eq!((log.topic_id(), log.leader_epochs().latest().map(|e| e.epoch)), (id, Some(0)));
}

#[test]
fn the_upkeep_goes_on_when_the_wall_clock_is_set_back() {
    let day = 24 * 60 * 60 * 1000;
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir);
    let settings =
        [("retention.ms", "1000"), ("internal.segment.bytes", "150"), ("flush.ms", "1"), ("file.delete.delay.ms", "0")];
    let log = manager.get_or_create_log(&tp("a"), None, LogConfig::from_properties(settings).unwrap(), NOW).unwrap();
    let gone = manager.get_or_create_log(&tp("gone"), None, LogConfig::default(), NOW).unwrap();
    append(&gone, "x");
    for _ in 0..6 {
        append(&log, "x");
    }
    // The clock goes back by a day; the machine runs on.
    let back = |ms: i64| Now { uptime_ms: NOW + ms, wall_ms: NOW - day + ms };
    manager.delete_log(&tp("gone"), back(0)).unwrap();
    manager.run(back(30_000)).unwrap();
    let checkpoint = |name: &str| read_offset_checkpoint(&dir.path().join(name)).unwrap();
    assert_eq!(checkpoint(REPLICATION_OFFSET_CHECKPOINT), BTreeMap::from([(tp("a"), 6)]));
    assert!(checkpoint(RECOVERY_POINT_CHECKPOINT).contains_key(&tp("a")));
    manager.run(back(60_000)).unwrap();
    assert!(fs::read_dir(dir.path()).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().contains("-delete")));
    // The records' own time is the wall clock's: they are from the future and stay.
    assert_eq!(log.lock().log_start_offset(), 0);
    // Looked at again, every five minutes, once the wall clock is past them.
    let right = |ms: i64| Now { uptime_ms: NOW + ms, wall_ms: NOW + ms };
    manager.run(right(330_000)).unwrap();
    assert_eq!(log.lock().log_start_offset(), 6);
    manager.run(right(331_000)).unwrap();
    manager.run(right(332_000)).unwrap();
    let deleted = fs::read_dir(dir.path().join("a-0"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".deleted"));
    assert_eq!(deleted.count(), 0);
}

#[test]
fn what_nobody_knows_is_set_aside_and_a_deletion_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let first = manager(&dir);
    for topic in ["stray", "deleted"] {
        append(&first.get_or_create_log(&tp(topic), Some(Uuid::from_u128(5)), LogConfig::default(), NOW).unwrap(), "x");
    }
    first.shutdown(-1).unwrap();
    let second = manager(&dir);
    for partition in second.partitions_on_disk().unwrap() {
        assert!(!partition.is_empty().unwrap());
        match &*partition.topic_partition.topic {
            "stray" => drop(second.set_aside(&partition).unwrap()),
            _ => second.finish_deletion(&partition, at(NOW)).unwrap(),
        }
    }
    let left = second.partitions_on_disk().unwrap();
    let kinds: Vec<_> = left.iter().map(|p| (p.topic_partition.clone(), p.kind, p.topic_id)).collect();
    assert_eq!(kinds, [(tp("stray"), DirKind::Stray, Some(Uuid::from_u128(5)))]);
    second.run(at(NOW + 60_000)).unwrap();
    let dirs = fs::read_dir(dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(dirs.count(), 1);
}
