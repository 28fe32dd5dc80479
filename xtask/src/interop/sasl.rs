//! Listeners that ask who is there: Apache's tools and ours against Apache Kafka's and ours, by each mechanism.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{
    AloneCheck,
    brokers::{Apache, EVERYBODY, Ours, free_port, program, script},
};
use crate::programs;
use crate::shell::output_with_input;

pub(super) const CHECKS: &[AloneCheck] =
    &[("sasl: apache's tools and ours, on both brokers, by each mechanism", each_with_each)];

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required";

/// Sessions end within a run of a tool that takes longer.
const SESSION: &str = "connections.max.reauth.ms=4000";
const MECHANISMS: &str = "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512";

/// A set of tools, by how one of them is called.
type Tools = (&'static str, fn(&str) -> Command);

const TOOLS: [Tools; 2] = [("apache's", apaches), ("ours", ours)];

fn apaches(tool: &str) -> Command {
    let mut command = Command::new(script("kafka/tool"));
    command.arg(tool);
    command
}

fn ours(tool: &str) -> Command {
    let mut command = Command::new(program());
    command.arg(tool);
    command
}

fn each_with_each() -> Result<()> {
    programs::build()?;
    let folder = std::env::temp_dir().join(format!("vltava-interop-sasl-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = matrix(&folder);
    let _ = fs::remove_dir_all(&folder);
    outcome
}

fn matrix(folder: &Path) -> Result<()> {
    let users = format!(
        "{PLAIN} username=\"admin\" password=\"admin-secret\" user_admin=\"admin-secret\" user_alice=\"alice-secret\";"
    );
    let address = format!("127.0.0.1:{}", free_port()?);
    let listener = format!("SASL_PLAINTEXT://{address}");
    let vltava = Ours::start_at(
        &program(),
        &address,
        &[
            &format!("listeners={listener}"),
            &format!("advertised.listeners={listener}"),
            "security.inter.broker.protocol=SASL_PLAINTEXT",
            &format!("listener.name.sasl_plaintext.plain.sasl.jaas.config={users}"),
            MECHANISMS,
            SESSION,
            EVERYBODY,
        ],
    )?;
    let own = format!("{SCRAM} username=\"admin\" password=\"admin-secret\";");
    let apache = Apache::start_with(&[
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT",
        "sasl.mechanism.inter.broker.protocol=PLAIN",
        &format!("listener.name.plaintext.plain.sasl.jaas.config={users}"),
        &format!("listener.name.plaintext.scram-sha-256.sasl.jaas.config={own}"),
        &format!("listener.name.plaintext.scram-sha-512.sasl.jaas.config={own}"),
        MECHANISMS,
        SESSION,
    ])?;
    for (broker, bootstrap) in [("vltava", &vltava.bootstrap), ("apache kafka", &apache.bootstrap)] {
        for (whose, tools) in TOOLS {
            talk(folder, bootstrap, whose, tools).with_context(|| format!("{whose} tools on {broker}"))?;
        }
    }
    Ok(())
}

/// Settings of a client, in a file.
fn client(folder: &Path, mechanism: &str, module: &str, user: &str, password: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{mechanism}-{user}-{password}.properties"));
    let jaas = format!("{module} username=\"{user}\" password=\"{password}\";");
    fs::write(
        &path,
        format!("security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\nsasl.jaas.config={jaas}\n"),
    )?;
    Ok(path)
}

fn talk(folder: &Path, bootstrap: &str, whose: &str, tools: fn(&str) -> Command) -> Result<()> {
    let run = |tool: &str, config: &Path, arguments: &[&str], input: &str| {
        let mut command = tools(tool);
        command.args(["--bootstrap-server", bootstrap, "--command-config"]).arg(config).args(arguments);
        output_with_input(&mut command, input)
    };
    let prefix = whose.replace('\'', "");
    let (topic, user) = (format!("sasl-{prefix}"), format!("user-{prefix}"));
    let alice = client(folder, "PLAIN", PLAIN, "alice", "alice-secret")?;
    run("kafka-topics", &alice, &["--create", "--topic", &topic, "--partitions", "1"], "")?;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let added = format!("{mechanism}=[iterations=8192,password={user}-secret]");
        let who = ["--entity-type", "users", "--entity-name", &user];
        let told = run("kafka-configs", &alice, &[&["--alter", "--add-config", &added], &who[..]].concat(), "")?;
        ensure!(
            told.contains(&format!("Completed updating config for user {user}.")),
            "kafka-configs printed {told:?}"
        );
    }
    let secret = format!("{user}-secret");
    let configs = [
        alice,
        client(folder, "SCRAM-SHA-256", SCRAM, &user, &secret)?,
        client(folder, "SCRAM-SHA-512", SCRAM, &user, &secret)?,
    ];
    let mut expected = String::new();
    for config in &configs {
        let line = format!("by {}\n", config.display());
        run("kafka-console-producer", config, &["--topic", &topic], &line)?;
        expected.push_str(&line);
        let count = expected.lines().count().to_string();
        let read = ["--topic", &topic, "--from-beginning", "--max-messages", &count, "--timeout-ms", "20000"];
        let got = run("kafka-console-consumer", config, &read, "")?;
        ensure!(got == expected, "read back {got:?} in place of {expected:?}");
    }
    // Longer than two sessions.
    let perf = ["--topic", &topic, "--num-records", "1000", "--record-size", "10", "--throughput", "100"];
    let [_, by_scram, _] = &configs;
    let told = run("kafka-producer-perf-test", by_scram, &perf, "")?;
    ensure!(told.contains("1000 records sent"), "kafka-producer-perf-test printed {told:?}");
    let wrong = client(folder, "PLAIN", PLAIN, "alice", "wrong")?;
    let refused = run("kafka-topics", &wrong, &["--list"], "");
    let told = format!("{:#}", refused.err().context("a wrong password came in")?);
    ensure!(told.contains("Authentication failed: Invalid username or password"), "told {told:?}");
    Ok(())
}
