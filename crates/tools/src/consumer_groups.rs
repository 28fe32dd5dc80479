//! `kafka-consumer-groups`: list, describe and delete groups of consumers, reset and delete their offsets.

mod command_line;
mod delete;
pub(crate) mod delete_offsets;
mod describe;
mod list;
pub(crate) mod reset;

#[cfg(test)]
mod tests;

use std::io::Write;

pub(crate) use command_line::SCENARIOS;
use vltava_client::{Admin, AdminConfig, ClientError};

use crate::failure::{Failure, exception};
use crate::options::Options;
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-consumer-groups",
    about: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or \
        reset consumer group offsets.",
    options: command_line::OPTIONS,
    has_commands: false,
    run,
};

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    command_line::check(options)?;
    let mut settings = properties::of_admin(options)?;
    properties::put(&mut settings, "default.api.timeout.ms", options.text("timeout"));
    let config = AdminConfig::from_properties(settings)?;
    let done = block_on(async {
        let admin = Admin::new(config)?;
        act(&admin, options, out).await
    });
    match done {
        // As with Kafka's tool, such a failure is told on standard output, and the status is 0.
        Err(Failure::Message(message)) => {
            Ok(writeln!(out, "\nError: Executing consumer group command failed due to {message}")?)
        }
        other => other,
    }
}

async fn act(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    if options.has("list") {
        return list::list(admin, options, out).await;
    }
    if options.has("delete-offsets") {
        return delete_offsets::delete_offsets(admin, options, out).await;
    }
    let groups = match options.has("all-groups") {
        true => list::all(admin).await?,
        false => options.values("group").to_vec(),
    };
    if options.has("delete") {
        delete::delete(admin, groups, out).await
    } else if options.has("reset-offsets") {
        reset::reset_offsets(admin, groups, options, out).await
    } else {
        describe::describe(admin, groups, options, out).await
    }
}

/// The failure of a call, as Java's `ExecutionException` words it.
fn failed(error: ClientError) -> Failure {
    Failure::Message(exception(&error))
}

/// The failure of a call, as a `RuntimeException` around Java's `ExecutionException` words it.
fn failed_within(error: ClientError) -> Failure {
    Failure::Message(format!("java.util.concurrent.ExecutionException: {}", exception(&error)))
}
