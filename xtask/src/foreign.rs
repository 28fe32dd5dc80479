//! Clients of other makes, got or built where their languages are: none where those are missing, which CI takes for a failure.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    programs,
    shell::{self, output, root},
};

/// The folder of Apache Kafka's jars.
pub(crate) fn java_libs() -> Result<Option<PathBuf>> {
    if let Some(missing) = ["java", "mvn"].into_iter().find(|program| !shell::exists(program)) {
        shell::skip_or_fail("Apache Kafka's clients", &format!("{missing} is missing"))?;
        return Ok(None);
    }
    let libs = output(&mut Command::new(root().join("interop/peers/kafka/fetch")))?;
    Ok(Some(libs.trim().into()))
}

/// A Python that has confluent-kafka (librdkafka) and kafka-python, in a virtual environment of our own.
pub(crate) fn python() -> Result<Option<PathBuf>> {
    if !shell::exists("python3") {
        shell::skip_or_fail("clients in Python", "python3 is not installed")?;
        return Ok(None);
    }
    let environment = root().join("target/interop-python");
    let python = environment.join("bin/python");
    if !environment.join("ready").exists() {
        output(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let packages = ["-m", "pip", "install", "-q", "confluent-kafka==2.16.1", "kafka-python==3.0.12"];
        output(Command::new(&python).args(packages))?;
        std::fs::write(environment.join("ready"), "")?;
    }
    Ok(Some(python))
}

/// A program in Go, of this folder of `interop`.
pub(crate) fn go(folder: &str) -> Result<Option<PathBuf>> {
    if !shell::exists("go") {
        shell::skip_or_fail(folder, "go is not installed")?;
        return Ok(None);
    }
    let program = programs::built(&folder.replace('/', "-"));
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(format!("./{folder}")).current_dir(root().join("interop"));
    output(&mut build)?;
    Ok(Some(program))
}
