//! `cargo xtask codegen`: Rust types of everything that Kafka puts on the wire and in its logs, from the
//! specifications inside Apache Kafka's own jars. Names, types, versions and tags are facts of the
//! protocol; the specifications' prose is not copied.
//!
//! `jars` finds and reads the jars, `spec` is their JSON, `model` is what it means, `emit` writes a
//! message, `index` writes what holds the messages together.
#![allow(clippy::print_stderr, reason = "a chore tells on stderr what it did")]

mod emit;
mod index;
mod jars;
mod model;
mod names;
mod output;
mod schemas;
mod spec;
mod zip;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use output::Output;

/// The release whose specifications the generated code follows.
const KAFKA_VERSION: &str = "4.3.1";

/// The options of `cargo xtask codegen`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A directory with Apache Kafka's jars; without it they are fetched with Maven.
    #[arg(long, value_name = "DIR")]
    jars: Option<PathBuf>,
    /// Compare with what is committed instead of writing.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// The options that `cargo xtask ci` runs with.
    pub(crate) fn check() -> Self {
        Self { jars: None, check: true }
    }
}

/// A family of specifications: where they come from and where their types go.
struct Family {
    /// The Maven artifact that holds the specifications.
    artifact: &'static str,
    /// The module below `crates/protocol/src`.
    module: &'static str,
    /// What the records are about, `None` for the messages of the wire.
    records: Option<Records>,
}

/// What is special about a family of records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Records {
    /// Keys with a type and values with a version, in the topic of a coordinator.
    Coordinator { prefix: &'static str, topic: &'static str },
    /// Values with a frame version, a type and a version, in `__cluster_metadata`.
    Metadata,
}

const FAMILIES: [Family; 5] = [
    Family { artifact: "kafka-clients", module: "messages", records: None },
    Family {
        artifact: "kafka-group-coordinator",
        module: "records/group",
        records: Some(Records::Coordinator { prefix: "Group", topic: "__consumer_offsets" }),
    },
    Family {
        artifact: "kafka-transaction-coordinator",
        module: "records/transaction",
        records: Some(Records::Coordinator { prefix: "Transaction", topic: "__transaction_state" }),
    },
    Family {
        artifact: "kafka-share-coordinator",
        module: "records/share",
        records: Some(Records::Coordinator { prefix: "Share", topic: "__share_group_state" }),
    },
    Family { artifact: "kafka-metadata", module: "records/metadata", records: Some(Records::Metadata) },
];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace_root()?;
    let Some(jars) = jars::find(args.jars.as_deref(), &root, jars::Network::Allowed)? else {
        if is_ci() {
            bail!("neither --jars nor Maven: the generated code cannot be checked");
        }
        eprintln!("skipped: neither --jars nor Maven at hand");
        return Ok(());
    };
    let output = generate(&jars, &root)?;
    let differing = output.differing(&root)?;
    if args.check {
        if !differing.is_empty() {
            bail!("not what `cargo xtask codegen` writes:\n  {}", differing.join("\n  "));
        }
        eprintln!("{} generated files are up to date", output.len());
        return Ok(());
    }
    output.write(&root)?;
    eprintln!("{} files written, {} changed", output.len(), differing.len());
    Ok(())
}

/// Generates everything into memory.
fn generate(jars: &Path, root: &Path) -> Result<Output> {
    let mut output = Output::default();
    let mut families = Vec::new();
    for family in &FAMILIES {
        let jar = jars.join(format!("{}-{KAFKA_VERSION}.jar", family.artifact));
        let mut messages = Vec::new();
        for (file, text) in jars::specifications(&jar)? {
            let spec = spec::parse(&text).with_context(|| format!("{file} in {}", jar.display()))?;
            messages.push(model::Message::new(&spec).with_context(|| file.clone())?);
        }
        messages.sort_by(|a, b| a.name.cmp(&b.name));
        families.push((family, messages));
    }
    for (family, messages) in &families {
        for message in messages.iter().filter(|message| message.is_alive()) {
            let path = format!("{}/{}.rs", family.module, names::snake(&message.name));
            output.add(&path, &emit::file(message)?);
        }
        output.add(&format!("{}.rs", family.module), &index::module(family, messages)?);
    }
    let clients = families.first().map(|(_, messages)| messages.as_slice()).unwrap_or_default();
    output.add("api_key/generated.rs", &index::api_keys(clients)?);
    output.add("all_messages.rs", &index::all_messages(&families));
    output.format(root)?;
    output.add_data("src/schema/schemas.txt", &schemas::text(&families));
    Ok(output)
}

/// Returns whether this runs where nothing may be skipped.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

fn workspace_root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(Path::to_path_buf).context("xtask is not in a workspace")
}

#[cfg(test)]
mod tests;
