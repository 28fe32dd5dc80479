//! An application of the JVM in a streams group of our broker (KIP-1071): instances share the tasks, one is killed, the
//! broker too, and what is counted is right.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    AloneCheck,
    brokers::{Ours, program, script},
};
use crate::shell::{output, output_with_input, root};

pub(super) const CHECKS: &[AloneCheck] =
    &[("streams groups: an application of the JVM, with an instance and the broker killed", killed)];

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const APPLICATION: &str = "streams-group";
const WORDS: [&str; 5] = ["a", "bb", "ccc", "dddd", "eeeee"];

/// An instance of the application, killed when dropped.
struct Instance(Child);

impl Instance {
    fn start(class_path: &str, bootstrap: &str, folder: &Path, name: &str) -> Result<Self> {
        let state = folder.join(name);
        let child = Command::new("java")
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", class_path, "peers.App"])
            .args(["--workload", "word-count", "--bootstrap", bootstrap, "--application-id", APPLICATION])
            .args(["--input", "lines", "--output", "counts", "--threads", "2", "--commit-interval-ms", "100"])
            .args(["--guarantee", "exactly_once_v2", "--set", "group.protocol=streams", "--state-dir"])
            .arg(&state)
            .stdin(Stdio::null())
            .stdout(File::create(state.with_extension("stdout"))?)
            .stderr(File::create(state.with_extension("stderr"))?)
            .spawn()
            .context("starting the application")?;
        Ok(Self(child))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn ours(name: &str, bootstrap: &str, arguments: &[&str], input: &str) -> Result<String> {
    output_with_input(Command::new(program()).args([name, "--bootstrap-server", bootstrap]).args(arguments), input)
}

/// What a tool, ours or Apache's, tells of the group.
fn described(mut tool: Command, bootstrap: &str, part: &[&str]) -> Result<String> {
    let arguments = ["--bootstrap-server", bootstrap, "--describe", "--group", APPLICATION];
    output(tool.arg("kafka-streams-groups").args(arguments).args(part))
}

/// Whether the group is at rest with this many members of this many processes, all tasks given out.
fn is_shared(bootstrap: &str, processes: usize) -> Result<bool> {
    // There is none before its first member, and none to be asked while the broker starts.
    let Ok(state) = described(Command::new(program()), bootstrap, &["--state"]) else { return Ok(false) };
    let row: Vec<&str> = state.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    let members = (2 * processes).to_string();
    // GROUP, host:port, (id), STATE, #MEMBERS
    if row.get(3) != Some(&"Stable") || row.last() != Some(&members.as_str()) {
        return Ok(false);
    }
    let members = described(Command::new(program()), bootstrap, &["--members"])?;
    let mut tasks: BTreeMap<&str, usize> = BTreeMap::new();
    for line in members.lines().skip(1) {
        let process = line.split_whitespace().nth(2).context("no process")?;
        let assigned = line.split_once("ACTIVE: ").map_or(0, |(_, tasks)| tasks.matches([',', '[']).count());
        *tasks.entry(process).or_default() += assigned;
    }
    // Four partitions of each of two subtopologies.
    Ok(tasks.len() == processes && tasks.values().all(|tasks| *tasks == 8 / processes))
}

/// Writes each word so many times, over all partitions.
fn produce(bootstrap: &str, times: usize) -> Result<()> {
    let lines: String = (0..times).flat_map(|n| WORDS.map(|word| format!("{n}{word}:{word} {word}\n"))).collect();
    let by_key = ["--topic", "lines", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
    ours("kafka-console-producer", bootstrap, &by_key, &lines).map(drop)
}

/// Whether each word is counted so often, and never more.
fn is_counted(bootstrap: &str, times: usize) -> Result<bool> {
    let arguments = [
        "--topic",
        "counts",
        "--from-beginning",
        "--timeout-ms",
        "1000",
        "--isolation-level",
        "read_committed",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer",
    ];
    let printed = ours("kafka-console-consumer", bootstrap, &arguments, "")?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (word, count) in printed.lines().filter_map(|line| line.split_once('\t')) {
        counts.insert(word, count.parse()?);
    }
    ensure!(counts.values().all(|count| *count <= 2 * times), "counted too often: {counts:?}");
    Ok(WORDS.iter().all(|word| counts.get(word) == Some(&(2 * times))))
}

fn killed() -> Result<()> {
    let class_path = output(&mut Command::new(root().join("interop/peers/streams-jvm/build")))?;
    let folder: PathBuf = std::env::temp_dir().join(format!("vltava-streams-group-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let settings = [
        "group.streams.initial.rebalance.delay.ms=0",
        "group.streams.min.heartbeat.interval.ms=100",
        "group.streams.heartbeat.interval.ms=300",
        "group.streams.min.session.timeout.ms=1000",
        "group.streams.session.timeout.ms=3000",
    ];
    let mut broker = Ours::start_with(&settings)?;
    let bootstrap = broker.bootstrap.clone();
    for (topic, partitions) in [("lines", "4"), ("counts", "1")] {
        ours("kafka-topics", &bootstrap, &["--create", "--topic", topic, "--partitions", partitions], "")?;
    }
    let first = Instance::start(class_path.trim(), &bootstrap, &folder, "first")?;
    let second = Instance::start(class_path.trim(), &bootstrap, &folder, "second")?;
    produce(&bootstrap, 20)?;
    wait_for("both have a half", || is_shared(&bootstrap, 2))?;
    wait_for("all is counted", || is_counted(&bootstrap, 20))?;
    for part in [&["--members", "--verbose"][..], &["--state", "--verbose"]] {
        let apache = described(Command::new(script("kafka/tool")), &bootstrap, part)?;
        let own = described(Command::new(program()), &bootstrap, part)?;
        ensure!(apache == own, "of {part:?} apache's tool tells\n{apache}\nand ours\n{own}");
    }

    drop(first);
    broker.kill_and_start_again()?;
    produce(&bootstrap, 20)?;
    wait_for("the other has everything", || is_shared(&bootstrap, 1))?;
    wait_for("all is counted again", || is_counted(&bootstrap, 40))?;
    drop(second);
    fs::remove_dir_all(&folder)?;
    Ok(())
}
