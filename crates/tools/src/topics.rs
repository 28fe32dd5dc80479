//! `kafka-topics`: create, list, describe, alter and delete topics.

mod command_line;
mod describe;
mod filter;

use std::collections::BTreeMap;
use std::io::Write;

use vltava_client::admin::{NewPartitions, NewTopic};
use vltava_client::{Admin, AdminConfig, ClientError};
use vltava_protocol::ErrorCode;

use crate::failure::{Failure, exception};
use crate::options::Options;
use crate::properties;
use crate::tool::{Tool, block_on};
use command_line::{OPTIONS, check};
pub(crate) use filter::TopicFilter;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-topics",
    about: "This tool helps to create, delete, describe, or change a topic.",
    options: OPTIONS,
    has_commands: false,
    run,
};

const COLLISIONS: &str = "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') \
    could collide. To avoid issues it is best to use either, but not both.";

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    check(options, out)?;
    let config = AdminConfig::from_properties(properties::of_admin(options)?)?;
    let done = block_on(async {
        let admin = Admin::new(config)?;
        act(&admin, options, out).await
    });
    match done {
        Ok(()) => Ok(()),
        Err(failure) => {
            writeln!(out, "Error while executing topic command : {failure}")?;
            Err(Failure::Reported)
        }
    }
}

async fn act(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    if options.has("create") {
        create(admin, options, out).await
    } else if options.has("alter") {
        alter(admin, options).await
    } else if options.has("list") {
        let names = topics(admin, options).await?;
        Ok(writeln!(out, "{}", names.join("\n"))?)
    } else if options.has("describe") {
        describe::describe(admin, options, out).await
    } else {
        delete(admin, options).await
    }
}

async fn create(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let name = options.text("topic");
    let assignment = replica_assignment(options)?;
    let configs = configs(options.values("config"))?;
    if name.contains(['.', '_']) {
        writeln!(out, "{COLLISIONS}")?;
    }
    let mut topic = NewTopic::new(name);
    if let Some(factor) = options.int("replication-factor") {
        let factor = i16::try_from(factor).ok().filter(|factor| *factor >= 1);
        let text = format!("The replication factor must be between 1 and {} inclusive", i16::MAX);
        topic = topic.replication_factor(factor.ok_or(Failure::Message(text))?);
    }
    if let Some(partitions) = options.int("partitions") {
        if partitions < 1 {
            return Err(Failure::Message("The partitions must be greater than 0".into()));
        }
        topic = topic.partitions(partitions);
    }
    for (partition, brokers) in assignment.into_iter().enumerate() {
        topic = topic.assign(i32::try_from(partition).unwrap_or(i32::MAX), brokers);
    }
    for (key, value) in configs {
        topic = topic.config(key, value);
    }
    for (_, created) in admin.create_topics([topic]).await {
        match created {
            Ok(_) => writeln!(out, "Created topic {name}.")?,
            Err(error) if is(&error, ErrorCode::TopicAlreadyExists) && options.has("if-not-exists") => {}
            Err(error) => return Err(logged(error)),
        }
    }
    Ok(())
}

async fn alter(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let assignment = replica_assignment(options)?;
    let total = options.int("partitions").unwrap_or_default();
    let names = existing(admin, options).await?;
    let mut wishes = Vec::new();
    let described = admin.describe_topics(names).await;
    for (name, description) in described {
        let mut wish = NewPartitions::increase_to(total);
        if !assignment.is_empty() {
            let present = description.map_err(logged)?.partitions.len();
            wish = wish.assign(assignment.iter().skip(present).cloned().collect());
        }
        wishes.push((name, wish));
    }
    first_failure(admin.create_partitions(wishes).await)
}

async fn delete(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let names = existing(admin, options).await?;
    first_failure(admin.delete_topics(names).await)
}

/// The names of topics that the options choose, sorted.
async fn topics(admin: &Admin, options: &Options) -> Result<Vec<String>, Failure> {
    let filter = options.value("topic").map(TopicFilter::new).transpose()?;
    let listed = admin.list_topics().await.map_err(logged)?;
    let chosen = listed.into_values().filter(|topic| {
        let wanted = filter.as_ref().is_none_or(|filter| filter.matches(&topic.name));
        wanted && !(topic.is_internal && options.has("exclude-internal"))
    });
    Ok(chosen.map(|topic| topic.name).collect())
}

/// As [`topics`], where there has to be one unless `--if-exists` is given.
async fn existing(admin: &Admin, options: &Options) -> Result<Vec<String>, Failure> {
    let names = topics(admin, options).await?;
    match options.value("topic").filter(|topic| !topic.is_empty()) {
        Some(topic) if names.is_empty() && !options.has("if-exists") => {
            Err(Failure::Message(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(names),
    }
}

/// The brokers of each partition: partitions between commas, brokers between colons.
fn replica_assignment(options: &Options) -> Result<Vec<Vec<i32>>, Failure> {
    let text = options.text("replica-assignment");
    let mut assignment: Vec<Vec<i32>> = Vec::new();
    for (partition, list) in text.split(',').filter(|_| !text.is_empty()).enumerate() {
        let number = |id: &str| {
            let id = id.trim();
            id.parse::<i32>().map_err(|_| Failure::Message(format!("For input string: \"{id}\"")))
        };
        let brokers = list.split(':').map(number).collect::<Result<Vec<i32>, _>>()?;
        let mut seen = brokers.clone();
        seen.sort_unstable();
        if let Some(twice) = seen.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
            let text = format!("Partition replica lists may not contain duplicate entries: {twice}");
            return Err(Failure::Message(text));
        }
        if assignment.first().is_some_and(|first| first.len() != brokers.len()) {
            let text = format!("Partition {partition} has different replication factor: {brokers:?}");
            return Err(Failure::Message(text));
        }
        assignment.push(brokers);
    }
    Ok(assignment)
}

/// Settings as `key=value`, exactly one `=` in each.
fn configs(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split('=').map(str::trim).collect::<Vec<_>>().as_slice() {
        [key, value] if !value.is_empty() => Some(((*key).to_owned(), (*value).to_owned())),
        _ => None,
    };
    let pairs: Option<BTreeMap<String, String>> = given.iter().map(pair).collect();
    pairs.ok_or_else(|| {
        let text =
            "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".";
        Failure::Message(text.into())
    })
}

fn first_failure(results: vltava_client::admin::Results<String, ()>) -> Result<(), Failure> {
    results.into_values().collect::<Result<(), _>>().map_err(logged)
}

fn is(error: &ClientError, code: ErrorCode) -> bool {
    error.code() == Some(code)
}

/// Logs the exception that Kafka's tool would, and keeps its message.
fn logged(error: ClientError) -> Failure {
    tracing::error!("{}", exception(&error));
    error.into()
}

#[cfg(test)]
mod tests;
