//! The broker of a round: a `vltava broker` process, Apache Kafka's, or one that somebody else runs.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::process::{Process, Spec, signal, tail};

/// Which broker is asked for.
#[derive(Clone, Debug)]
pub enum Make {
    /// Ours: the `vltava` program.
    Vltava(PathBuf),
    /// Apache Kafka's: the script `interop/peers/kafka/broker`.
    Apache(PathBuf),
    /// Somebody else's, at this address.
    External(String),
}

/// The settings of both makes, in Kafka's keys. Sessions shorter than Kafka's default, so that a round is short too.
const SETTINGS: [&str; 16] = [
    "auto.create.topics.enable=false",
    "group.initial.rebalance.delay.ms=0",
    "group.min.session.timeout.ms=1000",
    "group.streams.min.session.timeout.ms=1000",
    "group.streams.session.timeout.ms=4000",
    "group.streams.min.heartbeat.interval.ms=500",
    "group.streams.heartbeat.interval.ms=500",
    "group.streams.initial.rebalance.delay.ms=0",
    "offsets.topic.num.partitions=8",
    "offsets.topic.replication.factor=1",
    "default.replication.factor=1",
    "transaction.state.log.num.partitions=8",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    // What a killed producer leaves open is looked for as often.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
    // A broker whose clock has gone back is given records of its future, an hour of which is the default's limit.
    "log.message.timestamp.after.max.ms=9223372036854775807",
];

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that serves.
#[derive(Debug)]
pub enum Broker {
    /// Ours.
    Vltava {
        /// The process.
        process: Process,
        /// `host:port`.
        address: String,
    },
    /// Apache Kafka's.
    Apache(Apache),
    /// Somebody else's, by its address.
    External(String),
}

impl Broker {
    /// Starts one on an empty directory. `environment` is for the process of ours: the JVM does not come up on a clock
    /// that libfaketime gives, so that Apache Kafka's stays right.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(make: &Make, folder: &Path, data: &Path, environment: Environment) -> Result<Self> {
        match make {
            Make::External(address) => Ok(Broker::External(address.clone())),
            Make::Apache(script) => Apache::start(script, data).map(Broker::Apache),
            Make::Vltava(program) => {
                let address = format!("127.0.0.1:{}", free_port()?);
                let listener = format!("PLAINTEXT://{address}");
                let mut settings: Vec<String> = SETTINGS.map(str::to_owned).to_vec();
                settings.push(format!("listeners={listener}"));
                settings.push(format!("advertised.listeners={listener}"));
                settings.push(format!("log.dirs={}", data.display()));
                let mut arguments = vec!["broker".into()];
                arguments.extend(settings.into_iter().flat_map(|setting| ["--override".into(), setting.into()]));
                let spec = Spec { name: "broker".to_owned(), program: program.clone(), arguments, environment };
                let mut process = Process::start(spec, folder)?;
                await_listener(&address, || Ok(process.ended()?.is_none()))?;
                Ok(Broker::Vltava { process, address })
            }
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        match self {
            Broker::Vltava { address, .. } | Broker::External(address) => address,
            Broker::Apache(apache) => &apache.address,
        }
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Broker::Vltava { process, .. } => process.kill(),
            Broker::Apache(apache) => apache.kill(),
            Broker::External(_) => not_ours(),
        }
    }

    /// SIGTERM; it has ended when this returns.
    ///
    /// # Errors
    /// Those of the operating system; it does not end.
    pub fn terminate(&mut self) -> Result<()> {
        match self {
            Broker::Vltava { process, .. } => process.terminate(PATIENCE),
            Broker::Apache(apache) => apache.stop(),
            Broker::External(_) => not_ours(),
        }
    }

    /// Another start on the same directory and port, until it listens.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        match self {
            Broker::Vltava { process, address } => {
                process.start_again()?;
                await_listener(address, || Ok(process.ended()?.is_none()))
            }
            Broker::Apache(apache) => apache.launch(),
            Broker::External(_) => not_ours(),
        }
    }

    /// SIGSTOP, or SIGCONT.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn stand(&self, stand: bool) -> Result<()> {
        match self {
            Broker::Vltava { process, .. } if stand => process.stop(),
            Broker::Vltava { process, .. } => process.go_on(),
            Broker::Apache(apache) => signal(apache.pid()?, if stand { Signal::STOP } else { Signal::CONT }),
            Broker::External(_) => not_ours(),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn ended(&mut self) -> Result<Option<String>> {
        Ok(match self {
            Broker::Vltava { process, .. } => process.ended()?.map(|status| status.to_string()),
            Broker::Apache(apache) => (!apache.is_running()).then(|| "its process is gone".to_owned()),
            Broker::External(_) => None,
        })
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        match self {
            Broker::Vltava { process, .. } => process.tail(lines),
            Broker::Apache(apache) => tail(&apache.folder.join("node-1/server.log"), lines),
            Broker::External(address) => format!("    the log of {address} is not here\n"),
        }
    }
}

/// Variables of a process.
type Environment = Vec<(std::ffi::OsString, std::ffi::OsString)>;

fn not_ours<T>() -> Result<T> {
    bail!("the broker is somebody else's, it is not disturbed")
}

/// A node that the script has started; killed when dropped.
#[derive(Debug)]
pub struct Apache {
    script: PathBuf,
    folder: PathBuf,
    port: u16,
    address: String,
}

impl Apache {
    fn start(script: &Path, folder: &Path) -> Result<Self> {
        let (port, script) = (free_port_for_kafka()?, script.to_owned());
        let address = format!("127.0.0.1:{port}");
        let apache = Self { script, folder: folder.to_owned(), port, address };
        apache.launch()?;
        Ok(apache)
    }

    fn launch(&self) -> Result<()> {
        let mut start = self.command("start");
        start.args(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
        let out = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
        if !out.status.success() {
            bail!("starting Apache Kafka: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(())
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.args([verb, "--port", &self.port.to_string(), "--dir"]).arg(&self.folder);
        command
    }

    fn kill(&self) -> Result<()> {
        ended(self.command("stop").arg("--kill"))
    }

    fn stop(&self) -> Result<()> {
        ended(&mut self.command("stop"))
    }

    fn pid(&self) -> Result<u32> {
        let pid = fs::read_to_string(self.folder.join("node-1/pid")).context("Apache Kafka has no pid file")?;
        Ok(pid.trim().parse()?)
    }

    fn is_running(&self) -> bool {
        // Of a process that has ended and is not reaped the command line is empty.
        let command = self.pid().ok().and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
        command.is_some_and(|command| !command.is_empty())
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        // Its files go with the round's folder, or stay with it when the round has failed.
        let _ = self.command("stop").arg("--kill").stdin(Stdio::null()).status();
    }
}

fn ended(stop: &mut Command) -> Result<()> {
    let status = stop.stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("stopping Apache Kafka: {status}");
    }
    Ok(())
}

/// Until somebody accepts connections, or whoever should has ended.
fn await_listener(address: &str, mut lives: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if !lives()? {
            bail!("the broker ended before it listened on {address}");
        }
        if Instant::now() > end {
            bail!("the broker does not listen on {address} after {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Apache Kafka's controller listens ten ports above its clients.
fn free_port_for_kafka() -> Result<u16> {
    for _ in 0..20 {
        let port = free_port()?;
        if port < u16::MAX - 10 && TcpListener::bind(("127.0.0.1", port + 10)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free pair of ports for Apache Kafka")
}
