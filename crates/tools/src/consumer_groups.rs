//! `kafka-consumer-groups`: list, describe and delete groups of consumers.

mod describe;

use std::io::Write;

use vltava_client::admin::ListGroupsOptions;
use vltava_client::{Admin, AdminConfig, ClientError};

use crate::failure::{Failure, exception};
use crate::java::hash_map_order;
use crate::options::{BOOTSTRAP_SERVER, OptionSpec, Options, flag, optional_value, value};
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-consumer-groups",
    about: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or \
        reset consumer group offsets.",
    options: OPTIONS,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    BOOTSTRAP_SERVER,
    value("group", "consumer group", "The group.").repeatable(),
    flag("all-groups", "All groups."),
    flag("list", "List all groups."),
    flag("describe", "Describe groups: offsets, members or state."),
    flag("delete", "Delete groups with their offsets."),
    value("timeout", "timeout (ms)", "How long an answer may take.").long().default("30000"),
    value("command-config", "command config property file", "Settings for the admin client, a properties file."),
    flag("members", "Describe members.").available_if(&["describe"]),
    flag("verbose", "Describe in more columns.").available_if(&["describe"]),
    flag("offsets", "Describe offsets, which is the default.").available_if(&["describe"]),
    optional_value("state", "state", "Describe states, or list with states, of these if given.")
        .available_if(&["describe", "list"]),
    optional_value("type", "type", "List with types, of these if given.").available_if(&["list"]),
    flag("reset-offsets", "Reset offsets.").not_yet(),
    flag("delete-offsets", "Delete offsets.").not_yet(),
    value("validate-regex", "regex", "Check a regular expression.").not_yet(),
    value("topic", "topic", "The topic.").not_yet(),
    flag("all-topics", "All topics.").not_yet(),
];

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    options.require(&["bootstrap-server"])?;
    if ["list", "describe", "delete"].iter().filter(|action| options.has(action)).count() != 1 {
        let text = "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, \
            --delete-offsets, --validate-regex";
        return Err(Failure::Usage(text.into()));
    }
    for action in ["describe", "delete"] {
        if options.has(action) && !options.has("group") && !options.has("all-groups") {
            let text = format!("Option [{action}] takes one of these options: [group], [all-groups]");
            return Err(Failure::Usage(text));
        }
    }
    if ["members", "offsets", "state"].iter().filter(|part| options.has(part)).count() > 1 {
        let text = "Option [describe] takes at most one of these options: [members], [offsets], [state]";
        return Err(Failure::Usage(text.into()));
    }
    options.exclude("group", &["all-groups", "list"])?;
    let mut settings = properties::load(options.value("command-config"))?;
    properties::put(&mut settings, "bootstrap.servers", options.value("bootstrap-server").unwrap_or_default());
    properties::put(&mut settings, "default.api.timeout.ms", options.value("timeout").unwrap_or_default());
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
        return list(admin, options, out).await;
    }
    let groups = match options.has("all-groups") {
        true => listed(admin, ListGroupsOptions::default()).await?.into_iter().map(|group| group.group_id).collect(),
        false => options.values("group").to_vec(),
    };
    if options.has("delete") {
        delete(admin, groups, out).await
    } else {
        describe::describe(admin, groups, options, out).await
    }
}

/// Groups of consumers in the order in which Kafka's tool prints them.
async fn listed(admin: &Admin, wanted: ListGroupsOptions) -> Result<Vec<vltava_client::admin::GroupListing>, Failure> {
    let types = if wanted.types.is_empty() { vec!["classic".into(), "consumer".into()] } else { wanted.types };
    let protocol_types = vec![String::new(), "consumer".into()];
    let wanted = ListGroupsOptions { types, protocol_types, states: wanted.states };
    let mut groups = admin.list_groups(&wanted).await.map_err(failed)?;
    hash_map_order(&mut groups, 16, |group| &group.group_id);
    Ok(groups)
}

async fn list(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let words = |name: &str| -> Vec<String> {
        let text = options.value(name).unwrap_or_default();
        text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    let wanted = ListGroupsOptions { states: words("state"), types: words("type"), ..ListGroupsOptions::default() };
    let groups = listed(admin, wanted).await?;
    let (types, states) = (options.has("type"), options.has("state"));
    if !types && !states {
        for group in groups {
            writeln!(out, "{}", group.group_id)?;
        }
        return Ok(());
    }
    let width = groups.iter().map(|group| group.group_id.chars().count()).fold(15, usize::max) + 10;
    let mut row = |group: &str, kind: &str, state: &str| -> Result<(), Failure> {
        write!(out, "{group:<width$}")?;
        if types {
            write!(out, " {kind:<20}")?;
        }
        if states {
            write!(out, " {state:<20}")?;
        }
        Ok(writeln!(out)?)
    };
    row("GROUP", "TYPE", "STATE")?;
    for group in &groups {
        row(
            &group.group_id,
            group.group_type.as_deref().unwrap_or("Unknown"),
            group.state.as_deref().unwrap_or("Unknown"),
        )?;
    }
    Ok(())
}

async fn delete(admin: &Admin, groups: Vec<String>, out: &mut dyn Write) -> Result<(), Failure> {
    let (mut deleted, mut kept) = (Vec::new(), Vec::new());
    for (group, result) in admin.delete_groups(groups).await {
        match result {
            Ok(()) => deleted.push(group),
            Err(error) => kept.push((group, error)),
        }
    }
    hash_map_order(&mut deleted, 16, |group| group);
    hash_map_order(&mut kept, 16, |(group, _)| group);
    let names = deleted.iter().map(|group| format!("'{group}'")).collect::<Vec<_>>().join(", ");
    if kept.is_empty() {
        return Ok(writeln!(out, "Deletion of requested consumer groups ({names}) was successful.")?);
    }
    writeln!(out, "\nError: Deletion of some consumer groups failed:")?;
    for (group, error) in kept {
        writeln!(out, "* Group '{group}' could not be deleted due to: {}", exception(&error))?;
    }
    if !deleted.is_empty() {
        writeln!(out, "\nThese consumer groups were deleted successfully: {names}")?;
    }
    Ok(())
}

fn failed(error: ClientError) -> Failure {
    Failure::Message(exception(&error))
}
