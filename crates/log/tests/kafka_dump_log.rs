//! Apache Kafka's own `kafka-dump-log` reads our files without complaint.
//!
//! Needs Java and Kafka's jars: in the directory `KAFKA_LIBS`, or where the interoperability checks keep them. Says
//! that it is skipped where they are missing; in continuous integration (`CI=true`) that is a failure.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test's helpers may fail as a test does")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use vltava_log::{AppendContext, Appender, Log, LogConfig, LogDir, LogOptions, TopicPartition, TransactionStart};
use vltava_protocol::TimestampMs;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::{Compression, HeaderView, ProducerState, RecordBatchBuilder};

const NOW: i64 = 1_700_000_000_000;

fn kafka_libs() -> Option<PathBuf> {
    let from_env = std::env::var_os("KAFKA_LIBS").map(PathBuf::from);
    let from_cache = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/kafka-peers/kafka-4.3.1"));
    let libs = from_env.or_else(from_cache)?;
    let has_java = Command::new("java").arg("-version").output().is_ok_and(|output| output.status.success());
    (has_java && libs.join("kafka-tools-4.3.1.jar").exists()).then_some(libs)
}

fn batch(codec: Compression, producer: ProducerState, from: i64, count: i64) -> Bytes {
    let mut builder = RecordBatchBuilder::new(codec);
    for n in from..from + count {
        let (key, value) = (format!("key-{n}"), format!("value number {n} {}", "x".repeat(200)));
        let header = HeaderView::new("header", Some(b"of the record"));
        builder.append(NOW + n, Some(key.as_bytes()), Some(value.as_bytes()), [header]).unwrap();
    }
    builder.set_producer_state(producer);
    builder.build().unwrap()
}

struct Writer {
    log: Log,
    appender: Appender,
    records: i64,
}

impl Writer {
    fn open(dir: &TempDir) -> Self {
        let settings = [("internal.segment.bytes", "10000"), ("index.interval.bytes", "1000")];
        let config = Arc::new(LogConfig::from_properties(settings).unwrap());
        let options = LogOptions { config, ..LogOptions::default() };
        let log_dir = Arc::new(LogDir::new(dir.path()));
        let log = Log::open(&log_dir, TopicPartition::new("dumped", 0), options, NOW).unwrap();
        Self { log, appender: Appender::new(), records: 0 }
    }

    fn append(&mut self, codec: Compression, producer: ProducerState, count: i64) {
        let records = batch(codec, producer, self.records, count);
        self.records += count;
        let mut context = AppendContext::client(3, NOW);
        if producer.is_transactional {
            let start = TransactionStart {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch,
                base_sequence: producer.base_sequence,
                supports_epoch_bump: false,
            };
            context.verification_guard = self.log.start_verification(&start, NOW).unwrap();
        }
        self.log.append_as_leader(&mut self.appender, records, context).unwrap();
        self.log.advance_high_watermark_to_log_end().unwrap();
    }

    fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        let marker = EndTransactionMarker { committed, coordinator_epoch: 1 };
        let records = marker.to_batch(TimestampMs(NOW + self.records), producer_id, 0).unwrap();
        self.log.append_as_leader(&mut self.appender, records, AppendContext::coordinator(3, NOW)).unwrap();
        self.log.advance_high_watermark_to_log_end().unwrap();
    }

    fn fill(&mut self) {
        let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        for round in 0..20 {
            for codec in codecs {
                self.append(codec, ProducerState::NONE, 1 + round % 5);
            }
            let round = i32::try_from(round).unwrap();
            self.append(Compression::None, ProducerState::idempotent(7, 0, round * 2), 2);
            self.append(Compression::None, ProducerState::transactional(8, 0, round), 1);
            self.end_transaction(8, round % 2 == 0);
        }
    }
}

/// Runs the tool over all files of these kinds; gives what it prints.
fn dump(libs: &Path, dir: &Path, kinds: &[&str], more: &[&str]) -> String {
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| kinds.iter().any(|kind| path.ends_with(kind)))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {kinds:?} in {}", dir.display());
    let output = Command::new("java")
        .args(["-Xmx128m", "-cp", &format!("{}/*", libs.display()), "org.apache.kafka.tools.DumpLogSegments"])
        .args(["--files", &files.join(",")])
        .args(more)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for complaint in ["Mismatches", "Exception", "not found", "Found", "invalid", "corrupt"] {
        assert!(!text.contains(complaint), "kafka-dump-log says {complaint}:\n{text}");
    }
    // The tool believes that every segment follows offset -1, also those that Kafka writes.
    let gaps: Vec<&str> = text.lines().filter(|line| line.contains(" is followed by ")).collect();
    assert!(gaps.iter().all(|line| line.trim().starts_with("-1 is followed by")), "{gaps:?}");
    text
}

#[test]
fn kafka_dump_log_reads_our_files() {
    let Some(libs) = kafka_libs() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "Java and Kafka's jars are missing");
        eprintln!("skipped: Java or Kafka's jars (KAFKA_LIBS) are missing");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let partition = dir.path().join("dumped-0");
    let mut writer = Writer::open(&dir);
    writer.fill();
    let records = writer.records;
    assert!(writer.log.segment_count() > 3);

    // While the log is open, as after a kill: index entries may be missing, none is wrong.
    let text = dump(&libs, &partition, &[".log", ".index", ".timeindex"], &["--print-data-log"]);
    assert_eq!(text.matches("payload: value number").count() as i64, records);
    assert_eq!(text.matches("endTxnMarker").count(), 20);
    assert!(text.contains("headerKeys: [header]"), "{text}");

    writer.log.close().unwrap();
    let text = dump(&libs, &partition, &[".log", ".index", ".timeindex"], &["--print-data-log"]);
    assert_eq!(text.matches("payload: value number").count() as i64, records);
    assert_eq!(text.matches("isvalid: true").count(), text.matches("isvalid:").count());
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        assert!(text.contains(&format!("compresscodec: {codec}")), "{codec}");
    }
    let text = dump(&libs, &partition, &[".snapshot"], &[]);
    assert!(text.contains("producerId: 7") && text.contains("producerId: 8"), "{text}");
    let text = dump(&libs, &partition, &[".txnindex"], &[]);
    assert_eq!(text.matches("producerId: 8").count(), 10, "{text}");
    dump(&libs, &partition, &[".index", ".timeindex"], &["--index-sanity-check"]);
}
