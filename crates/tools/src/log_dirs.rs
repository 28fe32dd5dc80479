//! `kafka-log-dirs`: the directories of brokers and the replicas in them, as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use vltava_client::admin::{LogDirDescription, ReplicaInfo};
use vltava_client::{Admin, AdminConfig, TopicPartition};

use crate::failure::{Failure, exception};
use crate::java::hash_map_order;
use crate::options::{OptionSpec, Options, flag, value};
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-log-dirs",
    about: "This tool helps to query log directory usage on the specified brokers.",
    options: OPTIONS,
    has_commands: false,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "The server(s) to use for bootstrapping", "REQUIRED: Kafka brokers to connect to."),
    value("command-config", "Admin client property file", "Settings for the admin client, a properties file."),
    flag("describe", "Describe the directories of brokers."),
    value("topic-list", "Topic list", "Only the replicas of these topics, between commas.").default(""),
    value("broker-list", "Broker list", "Only these brokers, between commas.").default(""),
];

/// Directories by path.
type Directories = BTreeMap<String, LogDirDescription>;

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    options.require(&["bootstrap-server", "describe"])?;
    let list = |name: &str| options.value(name).unwrap_or_default().split(',').filter(|word| !word.is_empty());
    let topics: BTreeSet<&str> = list("topic-list").collect();
    let number = |word: &str| word.parse().map_err(|_| Failure::Message(format!("For input string: \"{word}\"")));
    let wanted: BTreeSet<i32> = list("broker-list").map(number).collect::<Result<_, _>>()?;
    let mut settings = properties::of_admin(options)?;
    properties::put_if_absent(&mut settings, "client.id", "log-dirs-tool");
    let config = AdminConfig::from_properties(settings)?;
    block_on(async {
        let admin = Admin::new(config)?;
        let present: BTreeSet<i32> = admin.describe_cluster().await?.nodes.iter().map(|node| node.id).collect();
        let missing: BTreeSet<i32> = wanted.difference(&present).copied().collect();
        if !missing.is_empty() {
            let (missing, present) = (joined(&missing), joined(&present));
            return Err(Failure::Message(format!(
                "ERROR: The given brokers do not exist from --broker-list: {missing}. Current existent brokers: {present}"
            )));
        }
        let asked = if wanted.is_empty() { present } else { wanted };
        writeln!(out, "Querying brokers for log directories information")?;
        let described = admin.describe_log_dirs(asked.iter().copied()).await;
        let described = described.into_iter().map(|(broker, dirs)| Ok((broker, dirs.map_err(failed)?)));
        let described = described.collect::<Result<Vec<(i32, Directories)>, Failure>>()?;
        writeln!(out, "Received log directory information from brokers {}", joined(&asked))?;
        Ok(writeln!(out, "{}", json(&described, &topics))?)
    })
}

fn failed(error: vltava_client::ClientError) -> Failure {
    Failure::Message(exception(&error))
}

fn joined(brokers: &BTreeSet<i32>) -> String {
    brokers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// A JSON object whose fields are in the order of a `HashMap`.
fn object<const N: usize>(mut fields: [(&'static str, String); N]) -> String {
    hash_map_order(&mut fields, 16, |(name, _)| *name);
    let fields = fields.map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", fields.join(","))
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn json(brokers: &[(i32, Directories)], topics: &BTreeSet<&str>) -> String {
    let brokers = brokers.iter().map(|(broker, dirs)| {
        let mut dirs: Vec<(&String, &LogDirDescription)> = dirs.iter().collect();
        hash_map_order(&mut dirs, 16, |(path, _)| *path);
        let dirs = dirs.into_iter().map(|(path, dir)| directory(path, dir, topics));
        object([("broker", broker.to_string()), ("logDirs", array(dirs))])
    });
    object([("version", "1".to_owned()), ("brokers", array(brokers))])
}

fn directory(path: &str, dir: &LogDirDescription, topics: &BTreeSet<&str>) -> String {
    let wanted = |partition: &TopicPartition| topics.is_empty() || topics.contains(partition.topic());
    let replicas = dir.replicas.iter().filter(|(partition, _)| wanted(partition));
    let mut replicas: Vec<(&TopicPartition, &ReplicaInfo)> = replicas.collect();
    hash_map_order(&mut replicas, 16, |(partition, _)| *partition);
    let replicas = replicas.into_iter().map(|(partition, replica)| {
        object([
            ("partition", text(&partition.to_string())),
            ("size", replica.size_bytes.to_string()),
            ("offsetLag", replica.offset_lag.to_string()),
            ("isFuture", replica.is_future.to_string()),
        ])
    });
    let error = dir.error.as_ref().map(|error| {
        let exception = exception(error);
        text(exception.split(':').next().unwrap_or_default())
    });
    object([
        ("logDir", text(path)),
        ("error", error.unwrap_or_else(|| "null".to_owned())),
        ("partitions", array(replicas)),
    ])
}
