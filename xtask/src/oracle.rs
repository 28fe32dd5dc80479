//! The JVM's own engine beside ours: more cases than those in the tree, and the speed of both.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a chore tells what it does")]

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;

use crate::shell::{self, cargo, root};

/// How many random groups.
const ASSIGNMENTS: &str = "2000";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The seed of the random cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many random cases of every feature.
    #[arg(long, default_value_t = 20)]
    count: u32,
}

impl Args {
    /// What `cargo xtask interop` runs.
    pub(crate) fn some() -> Self {
        Args { seed: 2026, count: 10 }
    }
}

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// How often the events of each case are played.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
}

fn jvm() -> Command {
    Command::new(root().join("interop/oracle/run"))
}

/// A folder of our own that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("vltava-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Has the JVM compute cases by a seed, and runs the golden test on them.
pub(crate) fn check(args: &Args) -> Result<()> {
    if let Some(missing) = ["java", "mvn"].into_iter().find(|program| !shell::exists(program)) {
        return shell::skip_or_fail("cases computed by the JVM", &format!("{missing} is missing"));
    }
    let folder = Scratch::new("oracle")?;
    let (seed, count) = (args.seed.to_string(), args.count.to_string());
    let mut suite = jvm();
    suite.arg("suite").arg(root().join("interop/oracle/sources")).arg(&folder.0).args([&seed, &count]);
    shell::output(&mut suite)?;
    let mut test = cargo();
    // With the features of the whole workspace: nothing is built anew.
    test.args(["test", "--quiet", "--workspace", "--all-features", "--test", "oracle"]).env("ORACLE_CASES", &folder.0);
    let said = shell::output(&mut test)?;
    let Some(verdict) = said.lines().find(|line| line.starts_with("oracle: ")) else { bail!("no verdict:\n{said}") };
    eprintln!("   {verdict} (seed {seed}, {count} of every feature)");
    check_assignments(&seed, &folder.0)
}

/// Has the JVM's assignors, that of members and that of the group coordinator, deal out the tasks of random groups, and
/// compares with ours.
fn check_assignments(seed: &str, folder: &Path) -> Result<()> {
    let (by_members, by_group) = (folder.join("assignments"), folder.join("group-assignments"));
    shell::output(jvm().args(["assignments", seed, ASSIGNMENTS]).arg(&by_members))?;
    shell::output(jvm().args(["group-assignments", seed, ASSIGNMENTS]).arg(&by_group))?;
    let mut test = cargo();
    test.args([
        "test",
        "--quiet",
        "--workspace",
        "--all-features",
        "--lib",
        "--",
        "assignments_are_the_jvms",
        "--nocapture",
    ])
    .env("ASSIGNMENT_CASES", by_members)
    .env("GROUP_ASSIGNMENT_CASES", by_group);
    let said = shell::output(&mut test)?;
    for of in ["assignments: ", "group assignments: "] {
        let Some(verdict) = said.lines().find(|line| line.starts_with(of)) else { bail!("no verdict of {of}\n{said}") };
        eprintln!("   {verdict} (seed {seed})");
    }
    Ok(())
}

/// Times the events of the committed cases in both engines, one after the other, and prints the ratio.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    let folder = Scratch::new("engine-bench")?;
    let files = unpack(&root().join("crates/streams/tests/oracle/cases"), &folder.0)?;
    let rounds = args.rounds.to_string();
    let mut ours = cargo();
    ours.args(["test", "--release", "--quiet", "--package", "vltava-streams", "--test", "oracle", "--", "--bench"])
        .env("ORACLE_ROUNDS", &rounds);
    let ours = shell::output(&mut ours)?;
    let theirs = shell::output(jvm().args(["bench", &rounds]).args(&files))?;
    print!("{ours}{theirs}");
    let (ours, theirs) = (nanos(&ours)?, nanos(&theirs)?);
    println!("an event costs the JVM's engine {:.1} times what it costs ours", theirs / ours);
    Ok(())
}

fn nanos(said: &str) -> Result<f64> {
    let report = said.lines().find(|line| line.starts_with('{')).with_context(|| format!("no report in {said}"))?;
    let report: serde_json::Value = serde_json::from_str(report)?;
    report.get("ns_per_event").and_then(serde_json::Value::as_f64).context("a report without ns_per_event")
}

fn unpack(from: &Path, to: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(stem) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".gz")) else { continue };
        let mut text = String::new();
        GzDecoder::new(fs::File::open(&path)?).read_to_string(&mut text)?;
        let unpacked = to.join(stem);
        fs::write(&unpacked, text)?;
        files.push(unpacked);
    }
    files.sort();
    Ok(files)
}
