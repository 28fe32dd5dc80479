use std::fs::{self, OpenOptions};
use std::io::Write;

use crate::testing::{NOW, TestLog, batch};
use crate::{FetchIsolation, LogError, TimestampQuery};

fn filled(records: i64) -> TestLog {
    let mut t = TestLog::new(&[("internal.segment.bytes", "400"), ("index.interval.bytes", "80")]);
    for n in 0..records {
        t.append(batch(NOW + n, &[&format!("v{n}")])).unwrap();
    }
    assert!(t.log.segment_count() > 3);
    t
}

fn log_files(t: &TestLog) -> Vec<String> {
    t.files().into_iter().filter(|name| name.ends_with(".log")).collect()
}

#[test]
fn a_clean_stop_needs_no_recovery() {
    let mut t = filled(30);
    let before = t.values(0);
    let segments = t.log.segment_count();
    t.reopen_cleanly();
    assert_eq!(t.log.recovery_report(), &crate::RecoveryReport::default());
    assert_eq!((t.log.log_end_offset(), t.log.segment_count()), (30, segments));
    assert_eq!(t.log.recovery_point(), 30);
    assert_eq!(t.values(0), before);
    t.append(batch(NOW, &["more"])).unwrap();
    assert_eq!(t.values(30), [(30, "more".to_owned())]);
}

#[test]
fn a_kill_loses_nothing() {
    let mut t = filled(30);
    let before = t.values(0);
    t.reopen_after_crash().unwrap();
    assert_eq!(t.values(0), before);
    assert_eq!(t.log.recovery_report().truncated_bytes, 0);
    assert_eq!(t.log.recovery_report().recovered_segments.len(), t.log.segment_count());
    for n in 0..30 {
        let found = t.log.fetch_offset_by_timestamp(TimestampQuery::At(NOW + n)).unwrap().unwrap();
        assert_eq!(found.offset, n);
    }
}

#[test]
fn recovery_begins_at_the_recovery_point() {
    let mut t = filled(30);
    let bases: Vec<i64> = t.log.segment_base_offsets().collect();
    let point = bases[bases.len() - 2] + 1;
    t.open_again(point, false).unwrap();
    assert_eq!(t.log.recovery_report().recovered_segments, &bases[bases.len() - 2..]);
    assert_eq!(t.log.recovery_point(), point);
}

#[test]
fn a_torn_last_batch_is_cut_off() {
    let whole = batch(NOW, &["torn"]);
    for cut in [1, 12, 17, 40, 60, 61, 65, whole.len() - 1] {
        let mut t = filled(30);
        let before = t.values(0);
        let last = log_files(&t).pop().unwrap();
        let mut torn = whole.to_vec();
        torn[7] = 30;
        OpenOptions::new().append(true).open(t.dir().join(&last)).unwrap().write_all(&torn[..cut]).unwrap();
        t.reopen_after_crash().unwrap();
        assert_eq!(t.values(0), before, "cut after {cut}");
        assert_eq!(t.log.recovery_report().truncated_bytes, cut as u64);
        t.append(batch(NOW, &["next"])).unwrap();
        assert_eq!(t.values(30), [(30, "next".to_owned())]);
    }
}

#[test]
fn zeros_at_the_end_are_cut_off() {
    let mut t = filled(30);
    let last = log_files(&t).pop().unwrap();
    OpenOptions::new().append(true).open(t.dir().join(&last)).unwrap().write_all(&[0; 500]).unwrap();
    t.reopen_after_crash().unwrap();
    assert_eq!(t.log.log_end_offset(), 30);
    assert_eq!(t.log.recovery_report().truncated_bytes, 500);
}

#[test]
fn damage_in_the_middle_cuts_the_log_there() {
    let mut t = filled(30);
    let before = t.values(0);
    let files = log_files(&t);
    let second = t.dir().join(&files[1]);
    let base: i64 = files[1].split_once('.').unwrap().0.parse().unwrap();
    let mut bytes = fs::read(&second).unwrap();
    let size = batch(NOW, &["v5"]).len();
    bytes[size + 65] ^= 0xff;
    fs::write(&second, &bytes).unwrap();
    t.reopen_after_crash().unwrap();
    assert_eq!(t.log.log_end_offset(), base + 1);
    assert_eq!(t.values(0), &before[..base as usize + 1]);
    let report = t.log.recovery_report();
    assert_eq!(report.truncated_bytes, (bytes.len() - size) as u64);
    assert_eq!(report.deleted_segments.len(), files.len() - 2);
    assert_eq!(t.log.segment_count(), 2);
    assert_eq!(t.files().iter().filter(|name| name.ends_with(".log.deleted")).count(), files.len() - 2);
    t.append(batch(NOW, &["next"])).unwrap();
    assert_eq!(t.values(base + 1), [(base + 1, "next".to_owned())]);
}

#[test]
fn damage_below_the_recovery_point_is_left_for_the_reader_to_find() {
    let mut t = filled(30);
    let first = t.dir().join(&log_files(&t)[0]);
    let mut bytes = fs::read(&first).unwrap();
    bytes[65] ^= 0xff;
    fs::write(&first, &bytes).unwrap();
    t.open_again(30, false).unwrap();
    assert_eq!(t.log.log_end_offset(), 30);
    // The checksum goes out with the batch, so the reader sees it.
    let read = t.log.read(0, 10, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
    let batch = vltava_protocol::record::RecordBatches::new(read).next().unwrap().unwrap();
    assert!(batch.verify_crc().is_err());
}

#[test]
fn missing_and_damaged_indexes_are_rebuilt() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 6] = [
        (".index", |p| fs::remove_file(p).unwrap()),
        (".timeindex", |p| fs::remove_file(p).unwrap()),
        (".index", |p| fs::write(p, [1; 13]).unwrap()),
        (".timeindex", |p| fs::write(p, [1; 13]).unwrap()),
        (".index", |p| fs::write(p, [0x7f; 16]).unwrap()),
        (".txnindex", |p| fs::write(p, [0x7f; 34]).unwrap()),
    ];
    for clean in [true, false] {
        for (kind, damage) in damages {
            let mut t = filled(30);
            let before = t.values(0);
            t.log.close().unwrap();
            let second = log_files(&t)[1].replace(".log", kind);
            let original = fs::read(t.dir().join(&second)).ok();
            damage(&t.dir().join(&second));
            t.open_again(if clean { 30 } else { 0 }, clean).unwrap();
            assert_eq!(t.values(0), before, "{kind} clean={clean}");
            for n in 0..30 {
                let found = t.log.fetch_offset_by_timestamp(TimestampQuery::At(NOW + n)).unwrap().unwrap();
                assert_eq!(found.offset, n, "{kind} clean={clean}");
            }
            t.log.close().unwrap();
            if kind != ".txnindex" {
                assert_eq!(fs::read(t.dir().join(&second)).ok(), original, "{kind} clean={clean}");
            }
        }
    }
}

#[test]
fn a_torn_batch_after_a_clean_stop_is_cut_off_too() {
    let mut t = filled(30);
    t.log.close().unwrap();
    let last = log_files(&t).pop().unwrap();
    OpenOptions::new().append(true).open(t.dir().join(&last)).unwrap().write_all(b"garbage").unwrap();
    t.open_again(30, true).unwrap();
    assert_eq!((t.log.log_end_offset(), t.log.recovery_report().truncated_bytes), (30, 7));
}

#[test]
fn leader_epochs_are_rebuilt_from_the_batches() {
    let mut t = TestLog::new(&[]);
    for epoch in [0, 0, 3, 3, 4] {
        let context = crate::AppendContext::client(epoch, NOW);
        t.log.append_as_leader(&mut t.appender, batch(NOW, &["a"]), context).unwrap();
    }
    let before = t.log.leader_epochs().entries().to_vec();
    fs::remove_file(t.dir().join("leader-epoch-checkpoint")).unwrap();
    t.reopen_after_crash().unwrap();
    assert_eq!(t.log.leader_epochs().entries(), before);
}

#[test]
fn old_message_formats_are_refused_by_name_and_not_cut_off() {
    let mut t = TestLog::new(&[]);
    t.append(batch(NOW, &["a"])).unwrap();
    t.log.close().unwrap();
    // A message of format 1: checksum, magic, attributes, timestamp, null key, value "v".
    let mut message = vec![1, 0];
    message.extend(NOW.to_be_bytes());
    message.extend((-1_i32).to_be_bytes());
    message.extend(1_i32.to_be_bytes());
    message.push(b'v');
    let mut entry = 0_i64.to_be_bytes().to_vec();
    entry.extend((message.len() as i32 + 4).to_be_bytes());
    entry.extend(crc_fast::crc32_iso_hdlc(&message).to_be_bytes());
    entry.extend(&message);
    let path = t.dir().join("00000000000000000000.log");
    fs::write(&path, &entry).unwrap();
    let error = t.open_again(0, false).unwrap_err();
    assert!(matches!(error, LogError::OldMessageFormat { magic: 1, position: 0, .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), entry);
}

#[test]
fn what_a_deletion_or_compaction_left_is_tidied_up() {
    let mut t = filled(30);
    t.log.close().unwrap();
    let before = fs::read(t.dir().join("00000000000000000000.log")).unwrap();
    for name in ["00000000000000000099.log.deleted", "00000000000000000000.log.cleaned", "00000000000000000500.index"] {
        fs::write(t.dir().join(name), b"x").unwrap();
    }
    t.open_again(30, true).unwrap();
    assert!(t.files().iter().all(|name| !name.contains(".deleted") && !name.contains(".cleaned")));
    assert!(!t.files().contains(&"00000000000000000500.index".to_owned()));
    assert_eq!(fs::read(t.dir().join("00000000000000000000.log")).unwrap(), before);
    assert_eq!(t.values(0).len(), 30);
}

#[test]
fn a_log_that_ends_below_its_start_offset_begins_anew() {
    let mut t = filled(30);
    let options = crate::LogOptions {
        config: std::sync::Arc::clone(t.log.config()),
        log_start_offset: 100,
        ..crate::LogOptions::default()
    };
    let dir = std::sync::Arc::new(crate::LogDir::new(t.root.path()));
    t.log = crate::Log::open(&dir, crate::testing::tp(), options, NOW).unwrap();
    assert_eq!((t.log.log_start_offset(), t.log.log_end_offset()), (100, 100));
    t.append(batch(NOW, &["a"])).unwrap();
    assert_eq!(t.values(100), [(100, "a".to_owned())]);
}
