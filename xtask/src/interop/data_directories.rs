//! Data directories that Apache Kafka wrote, opened by our broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::Check;
use super::brokers::{Both, Ours, free_port_for_kafka, script};
use crate::shell::{output, output_with_input};

pub(super) const CHECKS: &[Check] = &[
    ("apache data directory: is opened, read back and written on", opened_and_written_on),
    ("apache data directory: a metadata log that begins with a snapshot", begins_with_a_snapshot),
];

/// A node of Apache Kafka with two log directories, stopped and wiped when dropped.
struct Node {
    folder: PathBuf,
    port: String,
}

impl Node {
    fn new(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("vltava-interop-{name}-{}", std::process::id()));
        Ok(Self { folder, port: free_port_for_kafka()?.to_string() })
    }

    fn log_dirs(&self) -> String {
        let dirs = ["a", "b"].map(|dir| self.folder.join(dir).display().to_string());
        dirs.join(",")
    }

    /// Starts it; gives the bootstrap string.
    fn start(&self, settings: &[&str]) -> Result<String> {
        let mut start = self.command("start");
        start.args(["--set", &format!("log.dirs={}", self.log_dirs())]);
        start.args(settings.iter().flat_map(|setting| ["--set", setting]));
        Ok(output(&mut start)?.trim().to_owned())
    }

    /// Stops it as SIGTERM does: a controlled shutdown.
    fn stop(&self) -> Result<()> {
        output(&mut self.command("stop")).map(|_| ())
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(script("kafka/broker"));
        command.args([verb, "--port", &self.port, "--dir"]).arg(&self.folder);
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may never have been started.
        let _ = self.command("stop").arg("--kill").output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn tool(name: &str, bootstrap: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(script("kafka/tool"));
    command.args([name, "--bootstrap-server", bootstrap]).args(arguments);
    output_with_input(&mut command, input)
}

const KEYED: [&str; 4] = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("k{n}:v{n}\n")).collect()
}

fn produce(bootstrap: &str, range: std::ops::Range<u32>) -> Result<()> {
    tool("kafka-console-producer", bootstrap, &[&["--topic", "moved"], &KEYED[..]].concat(), &lines(range)).map(|_| ())
}

/// All records of the topic, sorted.
fn read(bootstrap: &str, count: u32, more: &[&str]) -> Result<Vec<String>> {
    let count = count.to_string();
    let arguments = ["--topic", "moved", "--from-beginning", "--max-messages", &count, "--timeout-ms", "20000"];
    let print = ["--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"];
    let got = tool("kafka-console-consumer", bootstrap, &[&arguments[..], &print[..], more].concat(), "")?;
    let mut got: Vec<String> = got.lines().map(str::to_owned).collect();
    got.sort();
    Ok(got)
}

fn sorted(range: std::ops::Range<u32>) -> Vec<String> {
    let mut lines: Vec<String> = lines(range).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Fills a node: a topic of six partitions with 600 records that a group has read, and one that was deleted.
fn fill(bootstrap: &str) -> Result<()> {
    for (topic, partitions) in [("moved", "6"), ("deleted", "2")] {
        tool("kafka-topics", bootstrap, &["--create", "--topic", topic, "--partitions", partitions], "")?;
    }
    produce(bootstrap, 0..600)?;
    ensure!(read(bootstrap, 600, &["--group", "moved-group"])? == sorted(0..600), "the node lost records");
    tool("kafka-topics", bootstrap, &["--delete", "--topic", "deleted"], "").map(|_| ())
}

fn opened_and_written_on(_: &Both) -> Result<()> {
    let node = Node::new("data")?;
    fill(&node.start(&[])?)?;
    node.stop()?;
    let log_dirs = format!("log.dirs={}", node.log_dirs());
    for run in 0..2_u32 {
        let ours = Ours::start_with(&["node.id=1", &log_dirs])?;
        let before = 600 + 100 * run;
        ensure!(read(&ours.bootstrap, before, &[])? == sorted(0..before), "run {run}: not what Apache Kafka wrote");
        let listed = tool("kafka-topics", &ours.bootstrap, &["--list"], "")?;
        ensure!(!listed.lines().any(|topic| topic == "deleted"), "the deleted topic is back: {listed}");
        let group = tool("kafka-consumer-groups", &ours.bootstrap, &["--describe", "--group", "moved-group"], "")?;
        let committed: u32 = group.lines().filter_map(|line| line.split_whitespace().nth(3)?.parse::<u32>().ok()).sum();
        ensure!(committed == 600, "run {run}: the group's offsets add up to {committed}: {group}");
        produce(&ours.bootstrap, before..before + 100)?;
        let name = format!("new-{run}");
        tool("kafka-topics", &ours.bootstrap, &["--create", "--topic", &name, "--partitions", "4"], "")?;
        ours.stop()?;
    }
    Ok(())
}

fn begins_with_a_snapshot(_: &Both) -> Result<()> {
    let node = Node::new("snapshot")?;
    // A snapshot for every few records, and nothing kept that a snapshot covers.
    let settings = [
        "metadata.log.max.record.bytes.between.snapshots=1",
        "internal.metadata.log.segment.bytes=1024",
        "internal.metadata.max.batch.size.in.bytes=1024",
        "metadata.max.retention.bytes=1024",
        "metadata.log.segment.ms=1000",
    ];
    let bootstrap = node.start(&settings)?;
    fill(&bootstrap)?;
    let metadata = node.folder.join("a/__cluster_metadata-0");
    let is_trimmed = |dir: &Path| !dir.join("00000000000000000000.log").exists();
    // The log is trimmed once a minute at the most, by whatever comes after that.
    for n in 0..60 {
        if is_trimmed(&metadata) {
            break;
        }
        let name = format!("more-{n}");
        tool("kafka-topics", &bootstrap, &["--create", "--topic", &name, "--partitions", "1"], "")?;
    }
    node.stop()?;
    ensure!(is_trimmed(&metadata), "Apache Kafka kept the whole metadata log");
    let log_dirs = format!("log.dirs={}", node.log_dirs());
    let ours = Ours::start_with(&["node.id=1", &log_dirs])?;
    ensure!(read(&ours.bootstrap, 600, &[])? == sorted(0..600), "not what Apache Kafka wrote");
    produce(&ours.bootstrap, 600..700)?;
    ours.stop()
}
