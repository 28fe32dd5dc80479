//! Who exchanges records, and how: programs of one protocol (`interop/clients/README.md`), and tools.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use super::{Listeners, WAYS, Way, program, stores::SECRET};
use crate::{
    foreign,
    interop::brokers::script,
    programs,
    shell::{self, output, output_with_input, root},
};

/// A set of tools, by how one of them is called.
pub(super) type Tools = fn(&str) -> Command;

pub(super) fn apaches(tool: &str) -> Command {
    let mut command = Command::new(script("kafka/tool"));
    command.arg(tool);
    command
}

pub(super) fn vltavas(tool: &str) -> Command {
    let mut command = Command::new(program());
    command.arg(tool);
    command
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) exchange: Exchange,
}

#[derive(Clone)]
pub(super) enum Exchange {
    /// A program and its first arguments; whether its files are those for Java.
    Program {
        command: Vec<String>,
        is_java: bool,
    },
    /// Console producer and consumer.
    Tools(Tools),
    Kcat,
}

pub(super) fn of_other_makes() -> Result<Vec<Client>> {
    let clients = root().join("interop/clients");
    let text = |path: &Path| path.display().to_string();
    let program = |name, command, is_java| Client { name, exchange: Exchange::Program { command, is_java } };
    let source = text(&clients.join("java/JavaClient.java"));
    let mut all = vec![
        program("java", vec![text(&script("kafka/tool")), source], true),
        Client { name: "java-tools", exchange: Exchange::Tools(apaches) },
    ];
    if shell::exists("kcat") {
        all.push(Client { name: "kcat", exchange: Exchange::Kcat });
    } else {
        shell::skip_or_fail("kcat", "it is not installed")?;
    }
    if let Some(python) = foreign::python()? {
        for (name, script) in [("librdkafka", "librdkafka.py"), ("kafka-python", "kafka_python.py")] {
            all.push(program(name, vec![text(&python), "-B".to_owned(), text(&clients.join(script))], false));
        }
    }
    if let Some(go) = foreign::go("clients/franz-go")? {
        all.push(program("franz-go", vec![text(&go)], false));
    }
    Ok(all)
}

pub(super) fn ours() -> Vec<Client> {
    let exchange = programs::built("examples/exchange").display().to_string();
    let program = |name, kind: &str| Client {
        name,
        exchange: Exchange::Program { command: vec![exchange.clone(), kind.to_owned()], is_java: true },
    };
    let tools = Client { name: "vltava-tools", exchange: Exchange::Tools(vltavas) };
    vec![program("vltava", "client"), program("vltava-streams", "streams"), tools]
}

impl Client {
    /// What came of each way.
    pub(super) fn over_all(&self, listeners: &Listeners) -> Vec<Result<&'static str>> {
        let topic = |way: &Way| format!("{}-{}", self.name, way.name);
        match &self.exchange {
            Exchange::Tools(tools) => WAYS.iter().map(|way| by_tools(*tools, listeners, way, &topic(way))).collect(),
            Exchange::Kcat => WAYS.iter().map(|way| kcat(listeners, way, &topic(way))).collect(),
            Exchange::Program { .. } => {
                let told = self.program(listeners, self.name, &WAYS).map(|mut program| output(&mut program));
                let told = told.context("no program").and_then(|told| told).map_err(|error| format!("{error:#}"));
                WAYS.iter().map(|way| outcome(way, told.as_deref().map_err(|error| error.as_str()))).collect()
            }
        }
    }

    /// The program over these listeners, if it is one.
    pub(super) fn program(&self, listeners: &Listeners, name: &str, ways: &[Way]) -> Option<Command> {
        let Exchange::Program { command, is_java } = &self.exchange else { return None };
        let (program, arguments) = command.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).arg(name);
        let folder = if *is_java { "" } else { "pem/" };
        command.args(ways.iter().map(|way| listeners.stores.path(&format!("{folder}{}.properties", way.name))));
        Some(command)
    }
}

/// What a program told of one way.
pub(super) fn outcome(way: &Way, told: Result<&str, &str>) -> Result<&'static str> {
    let told = told.map_err(|error| anyhow::anyhow!("{error}"))?;
    for line in told.lines() {
        if line.strip_prefix("ok ") == Some(way.name) {
            return Ok(OK);
        }
        if let Some(why) = line.strip_prefix(&format!("failed {}: ", way.name)) {
            bail!("{why}");
        }
    }
    bail!("it told nothing of it, but {told:?}")
}

/// What a table says of who could do everything.
const OK: &str = "ok";
const LINES: &str = "one\ntwo\nthree\n";

/// Writes to a topic that is created by it, and reads from it in a group.
fn by_tools(tools: Tools, listeners: &Listeners, way: &Way, topic: &str) -> Result<&'static str> {
    let run = |tool: &str, arguments: &[&str], input: &str| {
        let mut command = tools(tool);
        command.args(["--bootstrap-server", &listeners.address(way.listener), "--topic", topic, "--command-config"]);
        command.arg(listeners.stores.path(&format!("{}.properties", way.name))).args(arguments);
        output_with_input(&mut command, input)
    };
    run("kafka-console-producer", &[], LINES)?;
    let read = ["--from-beginning", "--max-messages", "3", "--timeout-ms", "30000", "--group", topic];
    let read = run("kafka-console-consumer", &read, "")?;
    let mut lines: Vec<&str> = read.lines().collect();
    lines.sort_by_key(|line| LINES.find(line));
    ensure!(lines.iter().copied().eq(LINES.lines()), "the consumer read {read:?}");
    Ok(OK)
}

/// The same by kcat, with keys and a compressed batch; its key is in the store of PKCS#12.
fn kcat(listeners: &Listeners, way: &Way, topic: &str) -> Result<&'static str> {
    let kcat = |arguments: &[&str], input: &str| {
        let mut command = Command::new("kcat");
        command.args(["-b", &listeners.address(way.listener)]);
        let mut set = |key: &str, value: &str| {
            command.args(["-X", &format!("{key}={value}")]);
        };
        let protocol = if way.listener == "MUTUAL" { "SSL" } else { way.listener };
        set("security.protocol", protocol);
        set("ssl.ca.location", &listeners.stores.path("ca.pem"));
        if way.listener == "MUTUAL" {
            set("ssl.keystore.location", &listeners.stores.path("client.store"));
            set("ssl.keystore.password", SECRET);
        }
        if let Some(mechanism) = way.mechanism {
            set("sasl.mechanism", mechanism);
            set("sasl.username", super::USER);
            set("sasl.password", super::PASSWORD);
        }
        output_with_input(command.args(arguments), input)
    };
    let input: String = (0..1000).map(|i| format!("k{i}:v{i}\n")).collect();
    let produced = kcat(&["-P", "-t", topic, "-K:", "-z", "snappy", "-X", "enable.idempotence=true"], &input);
    if way.mechanism.is_some_and(|name| name.starts_with("SCRAM")) && sends_its_nonce_twice()? {
        let refusal = produced.err().context("a nonce that nobody gave was taken")?.to_string();
        ensure!(refusal.contains("invalid credentials"), "refused with {refusal}");
        return Ok("refused");
    }
    produced?;
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let alone = kcat(&["-C", "-t", topic, "-e", "-q", "-K:"], "")?;
    ensure!(sorted(&alone) == sorted(&input), "kcat read {} of 1000 records back", alone.lines().count());
    let member = kcat(&["-G", topic, "-e", "-q", "-K:", "-X", "auto.offset.reset=earliest", topic], "")?;
    ensure!(sorted(&member) == sorted(&input), "kcat in a group read {} of 1000 records", member.lines().count());
    Ok(OK)
}

/// Whether kcat stands on a librdkafka before 2.6.1, which Apache Kafka 4 does not let in with SCRAM either.
fn sends_its_nonce_twice() -> Result<bool> {
    let version = output(Command::new("kcat").arg("-V"))?;
    let (_, version) = version.split_once("librdkafka ").context("kcat tells no librdkafka")?;
    let numbers: Vec<u32> = version.split(|c: char| !c.is_ascii_digit()).take(3).flat_map(str::parse).collect();
    Ok(numbers < vec![2, 6, 1])
}
