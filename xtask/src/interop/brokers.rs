//! The two brokers that every check compares: ours and Apache Kafka's, both fresh and on ports of their own.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    programs,
    shell::{self, output, root},
};

/// Both brokers, stopped and wiped when dropped.
pub(crate) struct Both {
    pub(crate) ours: Ours,
    pub(crate) apache: Apache,
}

impl Both {
    pub(crate) fn start() -> Result<Self> {
        Ok(Both { apache: Apache::start()?, ours: Ours::start()? })
    }

    /// Both, with a word for messages.
    pub(crate) fn each(&self) -> [(&'static str, &str); 2] {
        [("vltava", &self.ours.bootstrap), ("apache kafka", &self.apache.bootstrap)]
    }
}

/// Lets all who have said who they are do everything: the checks' settings have an authorizer, for whom nobody is known.
pub(super) const EVERYBODY: &str = "allow.everyone.if.no.acl.found=true";

/// A `vltava broker` process on a temporary directory.
pub(crate) struct Ours {
    pub(crate) bootstrap: String,
    pub(crate) data: PathBuf,
    process: Child,
    folder: PathBuf,
    command: Command,
}

impl Ours {
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(&["auto.create.topics.enable=false", "num.partitions=1"])
    }

    /// With settings over those of `interop/suites/lib/broker.properties`.
    pub(crate) fn start_with(settings: &[&str]) -> Result<Self> {
        Self::start_at(&program(), &format!("127.0.0.1:{}", free_port()?), settings)
    }

    /// The same with a given program, at a given address.
    pub(crate) fn start_at(program: &Path, address: &str, settings: &[&str]) -> Result<Self> {
        let port = address.rsplit(':').next().unwrap_or_default();
        let folder = std::env::temp_dir().join(format!("vltava-interop-{}-{port}", std::process::id()));
        let data = folder.join("data");
        fs::create_dir_all(&folder)?;
        let bootstrap = address.to_owned();
        let mut command = Command::new(program);
        command
            .arg("broker")
            .arg(root().join("interop/suites/lib/broker.properties"))
            .args(["--override", &format!("listeners=PLAINTEXT://{bootstrap}")])
            .args(["--override", &format!("advertised.listeners=PLAINTEXT://{bootstrap}")])
            .args(["--override", &format!("log.dirs={}", data.display())])
            .args(settings.iter().flat_map(|setting| ["--override", setting]))
            .stdout(File::create(folder.join("stdout"))?)
            .stderr(File::create(folder.join("stderr"))?)
            .stdin(Stdio::null());
        let process = command.spawn().context("starting vltava broker")?;
        let mut ours = Ours { bootstrap, data, process, folder, command };
        ours.wait_until_ready()?;
        Ok(ours)
    }

    /// Kills it as SIGKILL does, and starts it on what it has left behind.
    pub(crate) fn kill_and_start_again(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = self.command.spawn().context("starting vltava broker again")?;
        self.wait_until_ready()
    }

    /// Stops it as SIGTERM does, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        shell::run("stop of vltava", Command::new("kill").arg(self.process.id().to_string()))?;
        let status = self.process.wait()?;
        if !status.success() {
            bail!("vltava broker ended: {status}: {}", fs::read_to_string(self.folder.join("stderr"))?);
        }
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(&self.bootstrap).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("vltava broker ended: {status}: {}", fs::read_to_string(self.folder.join("stderr"))?);
            }
            if Instant::now() > end {
                bail!("vltava broker does not listen on {}", self.bootstrap);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // The process may have ended by itself, and then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One node of Apache Kafka, by the script that also serves the measurements.
pub(crate) struct Apache {
    pub(crate) bootstrap: String,
    port: String,
    folder: PathBuf,
}

impl Apache {
    fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// With settings over those of the script.
    pub(crate) fn start_with(settings: &[&str]) -> Result<Self> {
        Self::start_at(free_port_for_kafka()?, settings)
    }

    /// With properties of the JVM as well.
    pub(crate) fn start_with_java(settings: &[&str], properties: &str) -> Result<Self> {
        Self::launch(free_port_for_kafka()?, settings, &["--java-opts", properties])
    }

    /// The same at a given port, where nothing listens, nor ten above it.
    pub(crate) fn start_at(port: u16, settings: &[&str]) -> Result<Self> {
        Self::launch(port, settings, &[])
    }

    fn launch(port: u16, settings: &[&str], more: &[&str]) -> Result<Self> {
        let port = port.to_string();
        let folder = std::env::temp_dir().join(format!("vltava-interop-kafka-{}-{port}", std::process::id()));
        let mut start = Command::new(script("kafka/broker"));
        start.args(["start", "--fresh", "--port", &port, "--dir"]).arg(&folder);
        start.args(more).args(settings.iter().flat_map(|setting| ["--set", setting]));
        let bootstrap = output(&mut start)?.trim().to_owned();
        Ok(Apache { bootstrap, port, folder })
    }

    /// Its log directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("node-1/data")
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let mut stop = Command::new(script("kafka/broker"));
        let _ = stop.args(["stop", "--wipe", "--kill", "--port", &self.port, "--dir"]).arg(&self.folder).status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A script of `interop/peers`.
pub(crate) fn script(name: &str) -> PathBuf {
    root().join("interop/peers").join(name)
}

/// The `vltava` program.
pub(crate) fn program() -> PathBuf {
    programs::built("vltava")
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Apache Kafka's controller listens ten ports above its clients.
pub(crate) fn free_port_for_kafka() -> Result<u16> {
    for _ in 0..20 {
        let port = free_port()?;
        if port < u16::MAX - 10 && TcpListener::bind(("127.0.0.1", port + 10)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free pair of ports for Apache Kafka")
}
