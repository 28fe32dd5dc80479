use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use vltava_protocol::TimestampMs;
use vltava_protocol::record::{BatchPatch, Compression, RecordBatchBuilder, control};

use super::*;

/// The segment that begins at offset 3: two batches of two records and of one, and a marker.
fn segment(folder: &Path) -> PathBuf {
    let file = folder.join("00000000000000000003.log");
    let marker = control::EndTransactionMarker { committed: true, coordinator_epoch: 9 };
    let mut marker = marker.to_batch(TimestampMs(1_006), 5, 1).unwrap().to_vec();
    BatchPatch::new(&mut marker).unwrap().set_base_offset(6);
    fs::write(&file, [&batch(3, &["a", "b"])[..], &batch(5, &["c"]), &marker].concat()).unwrap();
    file
}

/// A batch of records without keys, a second apart from the one with the same offset.
fn batch(base_offset: i64, values: &[&str]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None).base_offset(base_offset).partition_leader_epoch(0);
    for (value, delta) in values.iter().zip(0..) {
        builder.append(1_000 + base_offset + delta, None, Some(value.as_bytes()), []).unwrap();
    }
    builder.build().unwrap()
}

/// What the tool prints, or why it fails; and what it has found.
fn dump(options: &[&str], file: &Path) -> (Result<String, Failure>, String) {
    let mut words: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
    words.extend(["--files".to_owned(), file.display().to_string()]);
    let options = Options::parse(OPTIONS, &words).unwrap();
    let (mut out, mut findings) = (Vec::new(), Findings::default());
    let settings = Settings::new(&options).unwrap();
    let dumped = dump_file(file, &settings, &mut findings, &mut out);
    let mut told = Vec::new();
    findings.print(&mut told).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&file.display().to_string(), "FILE");
    (dumped.map(|()| text(out)), text(told))
}

#[test]
fn batches_records_and_markers_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = segment(folder.path());
    let (shown, findings) = dump(&["--print-data-log"], &file);
    let shown = shown.unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "Log starting offset: 3");
    let batch = "baseOffset: 3 lastOffset: 4 count: 2 baseSequence: -1 lastSequence: -1 producerId: -1 producerEpoch: -1 \
        partitionLeaderEpoch: 0 isTransactional: false isControl: false deleteHorizonMs: OptionalLong.empty position: 0 \
        CreateTime: 1004 size: 77 magic: 2 compresscodec: none crc: ";
    assert!(lines[1].starts_with(batch) && lines[1].ends_with(" isvalid: true"), "{}", lines[1]);
    assert_eq!(
        lines[2],
        "| offset: 3 CreateTime: 1003 keySize: -1 valueSize: 1 sequence: -1 headerKeys: [] payload: a"
    );
    assert!(lines[6].contains("isTransactional: true isControl: true"), "{}", lines[6]);
    assert!(lines[7].ends_with("headerKeys: [] endTxnMarker: COMMIT coordinatorEpoch: 9"), "{}", lines[7]);
    assert_eq!(lines.len(), 8);
    assert_eq!(findings, "Non-consecutive offsets in FILE\n  -1 is followed by 3\n");
    let (shallow, findings) = dump(&[], &file);
    assert_eq!((shallow.unwrap().lines().count(), findings.as_str()), (4, ""));
    let (bare, _) = dump(&["--print-data-log", "--skip-record-metadata"], &file);
    assert_eq!(
        bare.unwrap().lines().filter(|line| !line.starts_with("baseOffset")).skip(1).collect::<Vec<_>>(),
        ["| payload: a", "| payload: b", "| payload: c", ""]
    );
}

#[test]
fn a_segment_that_ends_early_or_is_damaged_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = segment(folder.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(77 + 30);
    // In the first record.
    bytes[70] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (shown, _) = dump(&[], &file);
    let shown = shown.unwrap();
    assert!(shown.contains("isvalid: false"), "{shown}");
    assert!(shown.ends_with("Found 30 invalid bytes at the end of 00000000000000000003.log\n"), "{shown}");
    let (some, _) = dump(&["--max-bytes", "80"], &file);
    assert!(!some.unwrap().contains("invalid bytes"));
}

#[test]
fn indexes_are_held_against_the_segment() {
    let folder = tempfile::tempdir().unwrap();
    segment(folder.path());
    let entry = |relative: i32, position: i32| [relative.to_be_bytes(), position.to_be_bytes()].concat();
    let index = folder.path().join("00000000000000000003.index");
    // Offset 4 at 0 is right, offset 6 at 77 is not (the batch there ends at 5); zeros follow.
    fs::write(&index, [entry(1, 0), entry(3, 77), entry(0, 0)].concat()).unwrap();
    let (shown, findings) = dump(&[], &index);
    assert_eq!(shown.unwrap(), "offset: 4 position: 0\noffset: 6 position: 77\n");
    assert_eq!(findings, "Mismatches in :FILE\n  Index offset: 6, log offset: 5\n");
    let (sane, _) = dump(&["--index-sanity-check"], &index);
    assert_eq!(sane.unwrap(), "FILE passed sanity check.\n");
    fs::write(&index, [entry(1, 0), vec![0; 3]].concat()).unwrap();
    let (sane, _) = dump(&["--index-sanity-check"], &index);
    assert!(sane.unwrap_err().message().contains("found 11 bytes which is neither positive nor a multiple of 8"));

    let entry = |timestamp: i64, relative: i32| [&timestamp.to_be_bytes()[..], &relative.to_be_bytes()].concat();
    let times = folder.path().join("00000000000000000003.timeindex");
    fs::write(&times, [entry(1_004, 1), entry(1_000, 2), entry(1_009, 8)].concat()).unwrap();
    fs::write(&index, []).unwrap();
    let (shown, findings) = dump(&["--verify-index-only"], &times);
    assert_eq!(shown.unwrap(), "");
    let expected = "Found timestamp mismatch in :FILE\n  Index timestamp: 1000, log timestamp: 1005\n\
        Found out of order timestamp in :FILE\n  Index timestamp: 1000, Previously indexed timestamp: 1004\n\
        The following indexed offsets are not found in :FILE\nIndexed offset: 11, found log offset: -1\n";
    assert_eq!(findings, expected);
    let (shown, _) = dump(&[], &index);
    assert_eq!(shown.unwrap(), "FILE is empty.\n");
}
