//! The same sessions with Apache's tools and ours, on Apache's broker and ours: four transcripts, all equal.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use regex_lite::Regex;

use super::{
    Check,
    apache_tools::ApacheTools,
    brokers::{Both, program, script},
};
use crate::shell::{root, write_input};

pub(super) const CHECKS: &[Check] = &[("transcript of the command-line tools", compare)];

/// What names end in, another one in each run. All have the same `hashCode()` in Java, so that Kafka's tools list names in
/// the same order.
const SUFFIXES: [&str; 4] = ["AaAa", "AaBB", "BBAa", "BBBB"];

/// Tools of Apache that end their whole process.
const ALONE: [&str; 3] = ["kafka-cluster", "kafka-verifiable-consumer", "kafka-verifiable-producer"];

/// One command of a session. `@` in an argument or the input stands for a suffix of the run.
struct Step {
    /// Apache's tool has a process of its own: the order of what it says depends on what ran before.
    alone: bool,
    tool: &'static str,
    arguments: Vec<String>,
    input: String,
    /// What is in the file that the argument `FILE` stands for.
    file: String,
}

/// Reads `interop/transcript.txt`: `$ tool arguments` (`$alone tool arguments` for a process of its own), then the
/// lines of its standard input, if any, after `< `, and those of the file that the argument `FILE` stands for after `> `.
fn session() -> Result<Vec<Step>> {
    let path = root().join("interop/transcript.txt");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        let alone = line.starts_with("$alone ");
        if let Some(command) = line.strip_prefix("$ ").or_else(|| line.strip_prefix("$alone ")) {
            let mut words = command.split_whitespace();
            let tool = words.next().unwrap_or_default().to_owned();
            let arguments = words.map(|word| word.replace("\\s", " ").replace("\\t", "\t")).collect();
            steps.push(Step {
                alone,
                tool: Box::leak(tool.into_boxed_str()),
                arguments,
                input: String::new(),
                file: String::new(),
            });
        } else if let (Some(input), Some(step)) = (line.strip_prefix("< "), steps.last_mut()) {
            step.input.push_str(&format!("{input}\n"));
        } else if let (Some(content), Some(step)) = (line.strip_prefix("> "), steps.last_mut()) {
            step.file.push_str(&format!("{content}\n"));
        } else if !line.is_empty() && !line.starts_with('#') {
            bail!("transcript.txt: cannot read {line:?}");
        }
    }
    Ok(steps)
}

fn compare(both: &Both) -> Result<()> {
    let steps = session()?;
    // Brokers know nothing of each other; on each of them one session follows the other.
    let (first, second) = SUFFIXES.split_at(2);
    let sessions = both.each().into_iter().zip([first, second]);
    let runs = std::thread::scope(|scope| {
        let started: Vec<_> = sessions
            .map(|((broker, bootstrap), suffixes)| {
                let steps = &steps;
                scope.spawn(move || {
                    let tools = [("apache's tools", false), ("our tools", true)].into_iter().zip(suffixes);
                    let mut apache = ApacheTools::start()?;
                    tools
                        .map(|((tools, ours), suffix)| {
                            let out = steps.iter().map(|step| match ours {
                                true => transcribe(step, None, bootstrap, suffix),
                                false => transcribe(step, Some(&mut apache), bootstrap, suffix),
                            });
                            Ok((format!("{tools} on {broker}"), out.collect::<Result<Vec<_>>>()?))
                        })
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let ended = started.into_iter().map(|run| run.join().unwrap_or_else(|_| bail!("a session panicked")));
        ended.collect::<Result<Vec<_>>>()
    })?;
    let runs = runs.concat();
    // The third run is Apache's tools on Apache's broker: what the others must equal.
    let Some((expected_name, expected)) = runs.get(2) else { bail!("four runs") };
    let mut differences = Vec::new();
    for (name, got) in &runs {
        for ((step, want), got) in steps.iter().zip(expected).zip(got) {
            if want != got {
                let command = format!("{} {}", step.tool, step.arguments.join(" "));
                differences.push(format!("$ {command}\n--- {expected_name}\n{want}\n--- {name}\n{got}"));
            }
        }
    }
    match differences.len() {
        0 => Ok(()),
        count => bail!("{count} answers differ\n{}", differences.join("\n")),
    }
}

/// Stdout and the exit status of one step, with what must differ made equal; by our tools where there are no others.
fn transcribe(step: &Step, apache: Option<&mut ApacheTools>, bootstrap: &str, suffix: &str) -> Result<String> {
    let file = std::env::temp_dir().join(format!("vltava-transcript-{suffix}-{}", std::process::id()));
    std::fs::write(&file, step.file.replace('@', suffix))?;
    let path = file.display().to_string();
    let mut arguments: Vec<String> = step
        .arguments
        .iter()
        .map(|argument| match argument.as_str() {
            "FILE" => path.clone(),
            argument => argument.replace('@', suffix),
        })
        .collect();
    // What it is to do comes first there.
    let at = if step.tool == "kafka-cluster" { arguments.len() } else { 0 };
    arguments.splice(at..at, ["--bootstrap-server".to_owned(), bootstrap.to_owned()]);
    let input = step.input.replace('@', suffix);
    let (status, stdout) = match apache {
        Some(apache) if !step.alone && !ALONE.contains(&step.tool) => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let ended = apache.run(step.tool, &arguments, input.as_bytes())?;
            (ended.status, ended.stdout)
        }
        apache => {
            let mut command = Command::new(if apache.is_some() { script("kafka/tool") } else { program() });
            command.arg(step.tool).args(&arguments);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().with_context(|| format!("starting {}", step.tool))?;
            write_input(&mut child, &input)?;
            let out = child.wait_with_output()?;
            (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned())
        }
    };
    std::fs::remove_file(&file)?;
    Ok(format!("{}[exit {status}]", normalise(&stdout, suffix)?))
}

fn normalise(text: &str, suffix: &str) -> Result<String> {
    let text = text.replace(suffix, "@");
    let rules = [
        (r"TopicId: \S{22}", "TopicId: ID"),
        (r"Cluster ID: \S{22}", "Cluster ID: ID"),
        (r"127\.0\.0\.1 +\d+ +", "HOST PORT "),
        (r#""logDir":"[^"]+""#, r#""logDir":"DIR""#),
        (r#""size":\d+"#, r#""size":N"#),
        (r"(CreateTime|LogAppendTime):\d+", "$1:MS"),
        (r"127\.0\.0\.1:\d+ +\(\d+\) +", "HOST:PORT (ID) "),
        (r"records sent, .*", "records sent"),
        (r"(?m)^(at, at, [\d.]+), [\d.]+, (\d+), .*", "$1, N, $2, N"),
        (r"(?m)^0\t[\d.E-]+$", "0\tMS"),
        (r"Avg latency: .*|Percentiles: .*", "LATENCY"),
        (r"(?m)^(tx-@ +\t\d+ +\t|\d+ +\ttx-@ +\t)\d+ +\t", "${1}PID\t"),
        (r"\t\d{13} +\t\d+ +\t", "\tMS\tMS\t"),
        (r#""timestamp":\d+"#, r#""timestamp":MS"#),
        (r#""avg_throughput":[\d.E]+"#, r#""avg_throughput":N"#),
        (r"(?m)^\[\d{4}-\d\d-\d\d [\d:,]+\] .*\n", ""),
        (r"(?m)^\s+at [\w.$/]+\(.*\)\n", ""),
    ];
    rules.iter().try_fold(text, |text, (pattern, with)| Ok(Regex::new(pattern)?.replace_all(&text, *with).into_owned()))
}
