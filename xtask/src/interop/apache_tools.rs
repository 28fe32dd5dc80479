//! Apache's command-line tools, many in one process: a new Java for each takes more than all else of a transcript.

use std::{
    collections::HashMap,
    io::{Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result};

use super::brokers::script;
use crate::shell::output;

/// The process, which `interop/peers/kafka/Tools.java` describes.
pub(super) struct ApacheTools {
    process: Child,
    requests: ChildStdin,
    answers: ChildStdout,
    classes: HashMap<String, String>,
}

/// What a tool that has ended leaves.
pub(super) struct Ended {
    pub(super) status: i32,
    pub(super) stdout: String,
}

impl ApacheTools {
    pub(super) fn start() -> Result<Self> {
        let mut command = Command::new(script("kafka/tool"));
        command.arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("starting Apache's tools")?;
        let requests = process.stdin.take().context("no standard input")?;
        let answers = process.stdout.take().context("no standard output")?;
        Ok(Self { process, requests, answers, classes: HashMap::new() })
    }

    /// Runs a tool to its end.
    pub(super) fn run(&mut self, tool: &str, arguments: &[&str], input: &[u8]) -> Result<Ended> {
        self.ask(tool, arguments, input).with_context(|| format!("{tool} {}", arguments.join(" ")))
    }

    fn ask(&mut self, tool: &str, arguments: &[&str], input: &[u8]) -> Result<Ended> {
        let class = match self.classes.get(tool) {
            Some(class) => class.clone(),
            None => {
                let class = output(Command::new(script("kafka/tool")).args(["--class", tool]))?.trim().to_owned();
                self.classes.insert(tool.to_owned(), class.clone());
                class
            }
        };
        let mut request = Vec::new();
        append(&mut request, class.as_bytes())?;
        request.extend(u32::try_from(arguments.len())?.to_be_bytes());
        arguments.iter().try_for_each(|argument| append(&mut request, argument.as_bytes()))?;
        append(&mut request, input)?;
        self.requests.write_all(&request)?;
        self.requests.flush()?;
        let status = i32::from_be_bytes(self.four()?);
        let stdout = String::from_utf8_lossy(&self.bytes()?).into_owned();
        self.bytes()?;
        Ok(Ended { status, stdout })
    }

    fn four(&mut self) -> Result<[u8; 4]> {
        let mut bytes = [0; 4];
        self.answers.read_exact(&mut bytes).context("it ended")?;
        Ok(bytes)
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; u32::from_be_bytes(self.four()?).try_into()?];
        self.answers.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for ApacheTools {
    fn drop(&mut self) {
        // It has no state of its own to save, and may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn append(to: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    to.extend(u32::try_from(bytes.len())?.to_be_bytes());
    to.extend_from_slice(bytes);
    Ok(())
}
