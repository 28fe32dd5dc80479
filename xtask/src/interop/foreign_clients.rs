//! Clients of other makes against our broker: kcat, confluent-kafka (librdkafka) and kafka-python.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use super::{Check, brokers::Both};
use crate::shell::{self, output_with_input, root};

pub(super) const CHECKS: &[Check] =
    &[("kcat", kcat), ("python confluent-kafka", confluent_kafka), ("python kafka-python", kafka_python)];

fn kcat(both: &Both) -> Result<()> {
    if !shell::exists("kcat") {
        return shell::skip_or_fail("kcat", "it is not installed");
    }
    let broker = &both.ours.bootstrap;
    let mut create = Command::new(super::brokers::script("kafka/tool"));
    create.args(["kafka-topics", "--bootstrap-server", broker, "--create", "--topic", "kcat", "--partitions", "2"]);
    output_with_input(&mut create, "")?;
    let input: String = (0..1000).map(|i| format!("k{i}:v{i}\n")).collect();
    output_with_input(Command::new("kcat").args(["-b", broker, "-P", "-t", "kcat", "-K:", "-z", "snappy"]), &input)?;
    let read = ["-b", broker, "-C", "-t", "kcat", "-e", "-q", "-K:"];
    let mut got: Vec<_> = output_with_input(Command::new("kcat").args(read), "")?.lines().map(str::to_owned).collect();
    let mut want: Vec<_> = input.lines().map(str::to_owned).collect();
    got.sort();
    want.sort();
    ensure!(got == want, "kcat read {} of {} records back", got.len(), want.len());
    let group = ["-b", broker, "-G", "kcat-group", "-e", "-q", "-X", "auto.offset.reset=earliest", "kcat"];
    let read = output_with_input(Command::new("kcat").args(group), "")?.lines().count();
    ensure!(read == 1000, "kcat in a group read {read} records");
    Ok(())
}

fn confluent_kafka(both: &Both) -> Result<()> {
    python(both, "confluent_kafka")
}

fn kafka_python(both: &Both) -> Result<()> {
    python(both, "kafka_python")
}

/// Runs `interop/clients/NAME.py` with a Python that has the package.
fn python(both: &Both, name: &str) -> Result<()> {
    if !shell::exists("python3") {
        return shell::skip_or_fail(name, "python3 is not installed");
    }
    let script = root().join("interop/clients").join(format!("{name}.py"));
    let out = output_with_input(Command::new(python_with_clients()?).arg(script).arg(&both.ours.bootstrap), "")?;
    ensure!(out.lines().last() == Some("ok"), "{name} printed {out}");
    Ok(())
}

/// A Python that has Kafka's clients, in a virtual environment of our own.
pub(crate) fn python_with_clients() -> Result<PathBuf> {
    let environment = root().join("target/interop-python");
    let python = environment.join("bin/python");
    if !environment.join("ready").exists() {
        output_with_input(Command::new("python3").args(["-m", "venv"]).arg(&environment), "")?;
        let packages = ["-m", "pip", "install", "-q", "confluent-kafka==2.16.1", "kafka-python==3.0.12"];
        output_with_input(Command::new(&python).args(packages), "")?;
        std::fs::write(environment.join("ready"), "")?;
    }
    Ok(python)
}
