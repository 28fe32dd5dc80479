//! Members of one group, of Apache's client and of ours, whose partitions the coordinator assigns (KIP-848).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Check,
    brokers::{Both, program, script},
};
use crate::shell::output_with_input;

pub(super) const CHECKS: &[Check] =
    &[("group protocols: apache's console consumer and ours in one consumer group", mixed_group)];

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A console consumer, killed when dropped.
struct Member {
    who: &'static str,
    process: Child,
    printed: PathBuf,
}

impl Member {
    fn start(who: &'static str, mut tool: Command, bootstrap: &str, group: &str, folder: &Path) -> Result<Self> {
        let printed = folder.join(format!("{who}-{group}"));
        let arguments = ["--bootstrap-server", bootstrap, "--topic", group, "--group", group, "--from-beginning"];
        let process = tool
            .args(arguments)
            .args(["--command-property", "group.protocol=consumer"])
            .args(["--command-property", "auto.commit.interval.ms=500"])
            .stdin(Stdio::null())
            .stdout(File::create(&printed)?)
            .stderr(File::create(printed.with_extension("stderr"))?)
            .spawn()
            .with_context(|| format!("starting {who}"))?;
        Ok(Self { who, process, printed })
    }

    /// The lines that are there as a whole.
    fn read(&self) -> Result<Vec<String>> {
        let printed = fs::read_to_string(&self.printed)?;
        let whole = printed.rfind('\n').and_then(|end| printed.get(..end)).unwrap_or_default();
        Ok(whole.lines().map(str::to_owned).collect())
    }

    /// Ends it as a user does, so that it leaves its group.
    fn stop(&mut self) -> Result<()> {
        crate::shell::run(self.who, Command::new("kill").arg(self.process.id().to_string()))?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
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

fn apache(name: &str) -> Command {
    let mut command = Command::new(script("kafka/tool"));
    command.arg(name);
    command
}

fn ours(name: &str) -> Command {
    let mut command = Command::new(program());
    command.arg(name);
    command
}

fn run(mut command: Command, bootstrap: &str, arguments: &[&str], input: &str) -> Result<String> {
    output_with_input(command.args(["--bootstrap-server", bootstrap]).args(arguments), input)
}

/// How many partitions each member has, as a tool describes the group; none while that is not at rest.
fn shares(tool: Command, bootstrap: &str, group: &str) -> Result<Vec<usize>> {
    let described = run(tool, bootstrap, &["--describe", "--group", group, "--members", "--verbose"], "")?;
    let mut lines = described.lines().filter(|line| !line.trim().is_empty());
    let Some(header) = lines.find(|line| line.contains("#PARTITIONS")) else { return Ok(Vec::new()) };
    let column = |name: &str| header.split_whitespace().position(|word| word == name);
    let (Some(count), Some(epoch), Some(target)) =
        (column("#PARTITIONS"), column("CURRENT-EPOCH"), column("TARGET-EPOCH"))
    else {
        bail!("no such columns in {header:?}");
    };
    let mut shares = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.get(epoch) != words.get(target) {
            return Ok(Vec::new());
        }
        shares.push(words.get(count).and_then(|word| word.parse().ok()).context("no number of partitions")?);
    }
    shares.sort_unstable();
    Ok(shares)
}

fn produce(bootstrap: &str, topic: &str, numbers: std::ops::Range<u32>) -> Result<()> {
    let lines: String = numbers.map(|number| format!("{number}:{number}\n")).collect();
    let by_key = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
    let arguments = [&["--topic", topic], &by_key[..]].concat();
    run(ours("kafka-console-producer"), bootstrap, &arguments, &lines).map(drop)
}

/// Each number up to `count` was printed once, by whichever of them.
fn each_once(members: &[&Member], count: usize) -> Result<bool> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for member in members {
        member.read()?.into_iter().for_each(|line| *times.entry(line).or_default() += 1);
    }
    let twice: Vec<&String> = times.iter().filter(|(_, times)| **times > 1).map(|(line, _)| line).collect();
    ensure!(twice.is_empty(), "read twice: {twice:?}");
    Ok(times.len() == count)
}

fn mixed_group(both: &Both) -> Result<()> {
    let folder = both.ours.data.with_file_name("group-protocols");
    fs::create_dir_all(&folder)?;
    for (broker, bootstrap) in both.each() {
        mixed_group_on(bootstrap, &folder).with_context(|| format!("on {broker}"))?;
    }
    Ok(())
}

fn mixed_group_on(bootstrap: &str, folder: &Path) -> Result<()> {
    let group = "mixed-group";
    let create = ["--create", "--topic", group, "--partitions", "6"];
    run(ours("kafka-topics"), bootstrap, &create, "")?;
    produce(bootstrap, group, 0..300)?;
    let jvm = Member::start("apache", apache("kafka-console-consumer"), bootstrap, group, folder)?;
    wait_for("apache's reads everything", || each_once(&[&jvm], 300))?;

    // Ours takes over a half, and nothing is read again.
    let mut rust = Member::start("vltava", ours("kafka-console-consumer"), bootstrap, group, folder)?;
    wait_for("both have a half", || Ok(shares(ours("kafka-consumer-groups"), bootstrap, group)? == [3, 3]))?;
    let told = shares(apache("kafka-consumer-groups"), bootstrap, group)?;
    ensure!(told == [3, 3], "apache's tool tells {told:?}");
    produce(bootstrap, group, 300..600)?;
    wait_for("everything is read once", || each_once(&[&jvm, &rust], 600))?;
    let read = rust.read()?.len();
    ensure!((1..300).contains(&read), "ours has read {read} of 300 records");

    // And gives it back.
    rust.stop()?;
    wait_for("apache's has everything", || Ok(shares(ours("kafka-consumer-groups"), bootstrap, group)? == [6]))?;
    produce(bootstrap, group, 600..900)?;
    wait_for("apache's reads everything again", || each_once(&[&jvm, &rust], 900))?;
    Ok(())
}
