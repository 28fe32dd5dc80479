//! Apache Kafka's own command-line tools against our broker.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{
    Check,
    brokers::{Both, script},
};
use crate::shell::output_with_input;

pub(super) const CHECKS: &[Check] = &[
    ("apache tools: topics", topics),
    ("apache tools: console producer and consumer", console),
    ("apache tools: consumer groups", consumer_groups),
    ("apache tools: verifiable producer", verifiable_producer),
    ("apache tools: producer and consumer perf test", perf_tests),
    ("apache tools: configs and offsets", configs_and_offsets),
    ("apache tools: dump-log reads our segments", dump_log),
];

/// Runs one of Apache's tools; its stdout.
fn tool(name: &str, bootstrap: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(script("kafka/tool"));
    command.args([name, "--bootstrap-server", bootstrap]).args(arguments);
    output_with_input(&mut command, input)
}

fn create(bootstrap: &str, topic: &str, partitions: &str) -> Result<()> {
    let out = tool("kafka-topics", bootstrap, &["--create", "--topic", topic, "--partitions", partitions], "")?;
    ensure!(out.contains(&format!("Created topic {topic}.")), "kafka-topics --create printed {out:?}");
    Ok(())
}

fn topics(both: &Both) -> Result<()> {
    let bootstrap = &both.ours.bootstrap;
    create(bootstrap, "tools-topics", "3")?;
    let described = tool("kafka-topics", bootstrap, &["--describe", "--topic", "tools-topics"], "")?;
    ensure!(described.contains("PartitionCount: 3\tReplicationFactor: 1"), "described as {described}");
    tool("kafka-topics", bootstrap, &["--alter", "--topic", "tools-topics", "--partitions", "5"], "")?;
    let described = tool("kafka-topics", bootstrap, &["--describe", "--topic", "tools-topics"], "")?;
    ensure!(described.contains("PartitionCount: 5"), "described as {described}");
    tool("kafka-topics", bootstrap, &["--delete", "--topic", "tools-topics"], "")?;
    let listed = tool("kafka-topics", bootstrap, &["--list"], "")?;
    ensure!(!listed.lines().any(|line| line == "tools-topics"), "still listed: {listed}");
    Ok(())
}

fn console(both: &Both) -> Result<()> {
    let bootstrap = &both.ours.bootstrap;
    create(bootstrap, "tools-console", "1")?;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let line = format!("k-{codec}:v-{codec}\n");
        let property = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
        let arguments = [&["--topic", "tools-console", "--compression-codec", codec], &property[..]].concat();
        tool("kafka-console-producer", bootstrap, &arguments, &line)?;
    }
    let print = ["--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"];
    let read = ["--topic", "tools-console", "--from-beginning", "--max-messages", "5", "--timeout-ms", "20000"];
    let got = tool("kafka-console-consumer", bootstrap, &[&read[..], &print[..]].concat(), "")?;
    ensure!(
        got.lines().collect::<Vec<_>>()
            == ["k-none:v-none", "k-gzip:v-gzip", "k-snappy:v-snappy", "k-lz4:v-lz4", "k-zstd:v-zstd"],
        "read back {got:?}"
    );
    Ok(())
}

fn consumer_groups(both: &Both) -> Result<()> {
    let bootstrap = &both.ours.bootstrap;
    create(bootstrap, "tools-groups", "1")?;
    tool("kafka-console-producer", bootstrap, &["--topic", "tools-groups"], "a\nb\nc\n")?;
    let read = ["--topic", "tools-groups", "--group", "tools-group", "--from-beginning", "--max-messages", "3"];
    tool("kafka-console-consumer", bootstrap, &[&read[..], &["--timeout-ms", "20000"]].concat(), "")?;
    let listed = tool("kafka-consumer-groups", bootstrap, &["--list"], "")?;
    ensure!(listed.lines().any(|line| line == "tools-group"), "listed {listed}");
    let describe = ["--describe", "--group", "tools-group"];
    let described = tool("kafka-consumer-groups", bootstrap, &describe, "")?;
    let row: Vec<_> =
        described.lines().filter(|l| l.contains("tools-groups")).flat_map(str::split_whitespace).collect();
    ensure!(row.get(2..6) == Some(&["0", "3", "3", "0"][..]), "described {described}");
    let reset = ["--group", "tools-group", "--topic", "tools-groups", "--reset-offsets", "--to-earliest", "--execute"];
    let reset = tool("kafka-consumer-groups", bootstrap, &reset, "")?;
    ensure!(reset.contains("tools-groups"), "reset printed {reset}");
    let described = tool("kafka-consumer-groups", bootstrap, &describe, "")?;
    let row: Vec<_> =
        described.lines().filter(|l| l.contains("tools-groups")).flat_map(str::split_whitespace).collect();
    ensure!(row.get(3..6) == Some(&["0", "3", "3"][..]), "after the reset {described}");
    let deleted = tool("kafka-consumer-groups", bootstrap, &["--delete", "--group", "tools-group"], "")?;
    ensure!(deleted.contains("was successful"), "delete printed {deleted}");
    Ok(())
}

fn verifiable_producer(both: &Both) -> Result<()> {
    create(&both.ours.bootstrap, "tools-verifiable", "2")?;
    let arguments = ["--topic", "tools-verifiable", "--max-messages", "1000"];
    let out = tool("kafka-verifiable-producer", &both.ours.bootstrap, &arguments, "")?;
    ensure!(out.contains("\"sent\":1000,\"acked\":1000"), "ended with {:?}", out.lines().last());
    Ok(())
}

fn perf_tests(both: &Both) -> Result<()> {
    let bootstrap = &both.ours.bootstrap;
    create(bootstrap, "tools-perf", "4")?;
    let produce = ["--topic", "tools-perf", "--num-records", "200000", "--record-size", "100", "--throughput", "-1"];
    let out = tool("kafka-producer-perf-test", bootstrap, &produce, "")?;
    ensure!(out.contains("200000 records sent"), "producer printed {out}");
    let consume = ["--topic", "tools-perf", "--num-records", "200000", "--hide-header", "--timeout", "20000"];
    let out = tool("kafka-consumer-perf-test", bootstrap, &consume, "")?;
    let count = out.lines().last().and_then(|line| line.split(',').nth(4)).and_then(|n| n.trim().parse::<u64>().ok());
    ensure!(count >= Some(200_000), "consumer printed {out}");
    Ok(())
}

fn configs_and_offsets(both: &Both) -> Result<()> {
    let bootstrap = &both.ours.bootstrap;
    create(bootstrap, "tools-configs", "1")?;
    let entity = ["--entity-type", "topics", "--entity-name", "tools-configs"];
    tool("kafka-configs", bootstrap, &[&["--alter", "--add-config", "retention.ms=12345"], &entity[..]].concat(), "")?;
    let described = tool("kafka-configs", bootstrap, &[&["--describe"], &entity[..]].concat(), "")?;
    ensure!(described.contains("retention.ms=12345"), "described {described}");
    let quotas = "producer_byte_rate=1000000,request_percentage=12.5";
    for who in [&["--user", "tools"][..], &["--user", "tools", "--client-defaults"], &["--client", "tools"]] {
        tool("kafka-configs", bootstrap, &[&["--alter", "--add-config", quotas], who].concat(), "")?;
        let described = tool("kafka-configs", bootstrap, &[&["--describe"], who].concat(), "")?;
        let expected = ["'tools'", "request_percentage=12.5", "producer_byte_rate=1000000.0"];
        ensure!(expected.iter().all(|part| described.contains(part)), "described {described}");
        let keys = "producer_byte_rate,request_percentage";
        tool("kafka-configs", bootstrap, &[&["--alter", "--delete-config", keys], who].concat(), "")?;
    }
    let described = tool("kafka-configs", bootstrap, &["--describe", "--entity-type", "users"], "")?;
    ensure!(!described.contains("Quota configs for"), "described {described}");
    tool("kafka-console-producer", bootstrap, &["--topic", "tools-configs"], "a\nb\n")?;
    let offsets = tool("kafka-get-offsets", bootstrap, &["--topic", "tools-configs"], "")?;
    ensure!(offsets.trim() == "tools-configs:0:2", "offsets {offsets:?}");
    let versions = tool("kafka-broker-api-versions", bootstrap, &[], "")?;
    ensure!(versions.contains("Produce(0):"), "versions {versions}");
    Ok(())
}

/// Every segment, index and time index of our data directory, the coordinator's and the metadata log included.
fn dump_log(both: &Both) -> Result<()> {
    create(&both.ours.bootstrap, "tools-dump", "1")?;
    tool("kafka-console-producer", &both.ours.bootstrap, &["--topic", "tools-dump"], "one\ntwo\n")?;
    let segment = both.ours.data.join("tools-dump-0/00000000000000000000.log");
    let mut command = Command::new(script("kafka/tool"));
    command.args(["kafka-dump-log", "--deep-iteration", "--print-data-log", "--files"]).arg(&segment);
    let out = output_with_input(&mut command, "")?;
    ensure!(out.contains("payload: one") && out.contains("payload: two"), "dumped {out}");
    ensure!(!out.to_lowercase().contains("invalid") && !out.contains("Exception"), "dumped {out}");
    Ok(())
}
