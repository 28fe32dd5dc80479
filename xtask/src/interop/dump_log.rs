//! Our `kafka-dump-log` beside Apache's, on the files of both brokers: the same words.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    Check,
    apache_tools::ApacheTools,
    brokers::{Both, program},
};

pub(super) const CHECKS: &[Check] =
    &[("dump-log: ours and apache's say the same of the files of both brokers", compare)];

const TOPIC: &str = "dumped";

fn compare(both: &Both) -> Result<()> {
    let mut apache = ApacheTools::start()?;
    for (name, bootstrap) in both.each() {
        fill(&mut apache, bootstrap).with_context(|| format!("filling {name}"))?;
    }
    let folder = std::env::temp_dir().join(format!("vltava-dump-log-{}", std::process::id()));
    for (name, data) in [("vltava", both.ours.data.clone()), ("apache kafka", both.apache.data())] {
        let mut dumped = 0;
        for file in files(&data)? {
            // The broker writes on.
            let copy = folder.join(name).join(file.strip_prefix(&data)?);
            fs::create_dir_all(copy.parent().context("no folder")?)?;
            fs::copy(&file, &copy)?;
            for beside in ["log", "index"] {
                let other = file.with_extension(beside);
                if other.exists() {
                    fs::copy(&other, copy.with_extension(beside))?;
                }
            }
            for options in options(&copy) {
                same(&mut apache, &copy, &options).with_context(|| format!("{} of {name}", copy.display()))?;
                dumped += 1;
            }
        }
        ensure!(dumped >= 8, "only {dumped} files of {name} were dumped: {}", data.display());
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Records with keys, in all compressions, and a group with committed offsets.
fn fill(apache: &mut ApacheTools, bootstrap: &str) -> Result<()> {
    let mut tool = |name: &str, arguments: &[&str], input: &str| {
        let arguments = [&["--bootstrap-server", bootstrap], arguments].concat();
        let ended = apache.run(name, &arguments, input.as_bytes())?;
        ensure!(ended.status == 0, "{name} {}: exit {}", arguments.join(" "), ended.status);
        Ok(())
    };
    tool("kafka-topics", &["--create", "--topic", TOPIC, "--config", "index.interval.bytes=0"], "")?;
    let keyed = ["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"];
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let arguments = [&["--topic", TOPIC, "--compression-codec", codec], &keyed[..]].concat();
        tool("kafka-console-producer", &arguments, "a:1,b:2\tk\tv\na:3\tk\twörter\n")?;
    }
    let read =
        ["--topic", TOPIC, "--group", "dumping", "--from-beginning", "--max-messages", "10", "--timeout-ms", "20000"];
    tool("kafka-console-consumer", &read, "")
}

/// The segments of the topic and of Kafka's own topics that hold something, with their indexes.
fn files(data: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(data)? {
        let folder = folder?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !folder.is_dir() || !(name.starts_with("__") || name == format!("{TOPIC}-0")) {
            continue;
        }
        for file in fs::read_dir(&folder)? {
            let file = file?.path();
            let suffix = file.extension().unwrap_or_default().to_string_lossy().into_owned();
            let is_dumped =
                ["log", "index", "timeindex", "snapshot", "txnindex", "checkpoint"].contains(&suffix.as_str());
            let segment = file.with_extension("log");
            let holds = |file: &Path| fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0);
            // Index of an empty segment: there is nothing to hold it against.
            if is_dumped && holds(&file) && (holds(&segment) || suffix == "snapshot" || suffix == "checkpoint") {
                files.push(file);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The options that a file is dumped with.
fn options(file: &Path) -> Vec<Vec<&'static str>> {
    let topic = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let decoder = match topic.rsplit_once('-').map(|(topic, _)| topic) {
        Some("__consumer_offsets") => "--offsets-decoder",
        Some("__transaction_state") => "--transaction-log-decoder",
        Some("__cluster_metadata") => "--cluster-metadata-decoder",
        _ => "--print-data-log",
    };
    match file.extension().and_then(|suffix| suffix.to_str()) {
        Some("log" | "checkpoint") => vec![vec![decoder], vec![], vec![decoder, "--skip-record-metadata"]],
        Some("index" | "timeindex") => vec![vec![], vec!["--index-sanity-check"], vec!["--verify-index-only"]],
        _ => vec![vec![]],
    }
}

/// Standard output of both tools, with the same file and options, and whether they take the file: an index that is written
/// to may end in zeros, which is sane to neither.
fn same(apache: &mut ApacheTools, file: &Path, options: &[&str]) -> Result<()> {
    let path = file.display().to_string();
    let arguments = [options, &["--files", &path]].concat();
    let out = Command::new(program()).arg("kafka-dump-log").args(&arguments).stdin(Stdio::null()).output()?;
    let (taken, ours) = (out.status.success(), String::from_utf8_lossy(&out.stdout));
    let ended = apache.run("kafka-dump-log", &arguments, b"")?;
    let (taken_there, theirs) = (ended.status == 0, ended.stdout);
    ensure!(taken == taken_there, "with {options:?}: ours takes it: {taken}, apache's: {taken_there}");
    let differing = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
    if let Some((ours, theirs)) = differing {
        anyhow::bail!("with {options:?}\n--- apache's\n{theirs}\n--- ours\n{ours}");
    }
    let lines = |text: &str| text.lines().count();
    ensure!(ours == theirs, "with {options:?}: ours has {} lines, apache's {}", lines(&ours), lines(&theirs));
    Ok(())
}
