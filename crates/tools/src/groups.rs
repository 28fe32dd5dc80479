//! `kafka-groups`: lists groups of all types.

use std::io::Write;

use vltava_client::admin::{GroupListing, ListGroupsOptions};
use vltava_client::{Admin, AdminConfig};

use crate::failure::Failure;
use crate::java::hash_map_order;
use crate::options::{OptionSpec, Options, flag, value};
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-groups",
    about: "This tool helps to list groups of all types.",
    options: OPTIONS,
    has_commands: false,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "server to connect to", "REQUIRED: Kafka brokers to connect to, host:port,host:port."),
    value("command-config", "command config property file", "Settings for the admin client, a properties file."),
    flag("list", "List the groups."),
    value("group-type", "type", "Only groups of this type: classic, consumer, share or streams."),
    value("protocol", "protocol", "Only groups of this protocol type."),
    flag("consumer", "Only groups of consumers: of type consumer, and classic or simple ones of consumers."),
    flag("share", "Only share groups."),
    flag("streams", "Only streams groups."),
];

/// Types of groups, as they are printed.
const TYPES: [&str; 4] = ["Classic", "Consumer", "Share", "Streams"];

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    if !options.has("bootstrap-server") {
        return Err(Failure::Usage("Missing required option(s) [bootstrap-server]".into()));
    }
    if !options.has("list") {
        return Err(Failure::Usage("Command must include exactly one action: --list.".into()));
    }
    let kind = options.value("group-type").map(group_type).transpose()?;
    for (kind, others) in [
        ("consumer", ["group-type", "protocol", "share", "streams"]),
        ("share", ["consumer", "group-type", "protocol", "streams"]),
        ("streams", ["consumer", "group-type", "protocol", "share"]),
    ] {
        options.exclude(kind, &others)?;
    }
    let config = AdminConfig::from_properties(properties::of_admin(options)?)?;
    let listed = block_on(async { Ok(Admin::new(config)?.list_groups(&ListGroupsOptions::default()).await?) });
    match listed {
        Ok(mut groups) => {
            hash_map_order(&mut groups, 16, |group| &group.group_id);
            groups.retain(|group| is_wanted(group, kind, options));
            table(&groups, out)
        }
        Err(failure) => {
            writeln!(out, "Error while executing groups command : {failure}")?;
            Err(Failure::Reported)
        }
    }
}

fn group_type(text: &str) -> Result<&'static str, Failure> {
    let found = TYPES.into_iter().find(|kind| kind.eq_ignore_ascii_case(text));
    found.ok_or_else(|| Failure::Message("--group-type must be a valid group type.".into()))
}

fn is_wanted(group: &GroupListing, kind: Option<&str>, options: &Options) -> bool {
    let is_of = |kind: &str| group.group_type.as_deref() == Some(kind);
    let protocol = options.value("protocol");
    if let Some(kind) = kind {
        is_of(kind) && protocol.is_none_or(|protocol| protocol == group.protocol_type)
    } else if let Some(protocol) = protocol {
        protocol == group.protocol_type
    } else if options.has("consumer") {
        group.is_consumer_group() || is_of("Consumer")
    } else if options.has("share") {
        is_of("Share")
    } else {
        !options.has("streams") || is_of("Streams")
    }
}

/// Prints rows whose columns are all as wide as the longest text.
fn table(groups: &[GroupListing], out: &mut dyn Write) -> Result<(), Failure> {
    let row = |group: &GroupListing| {
        [group.group_id.clone(), group.group_type.clone().unwrap_or_default(), group.protocol_type.clone()]
    };
    let rows: Vec<[String; 3]> = groups.iter().map(row).collect();
    let width = rows.iter().flatten().map(|text| text.chars().count()).fold(20, usize::max);
    writeln!(out, "{:<width$} {:<width$} {:<width$}", "GROUP", "TYPE", "PROTOCOL")?;
    for [group, kind, protocol] in rows {
        writeln!(out, "{group:<width$} {kind:<width$} {protocol:<width$} ")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{OPTIONS, group_type, run};
    use crate::options::Options;

    #[test]
    fn types_are_known_in_any_case() {
        assert_eq!(group_type("SHARE").unwrap(), "Share");
        assert_eq!(group_type("unknown").unwrap_err().message(), "--group-type must be a valid group type.");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let refusal = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let options = Options::parse(OPTIONS, &words).unwrap();
            run(&options, &mut Vec::new()).unwrap_err().message().to_owned()
        };
        assert_eq!(refusal("--bootstrap-server b"), "Command must include exactly one action: --list.");
        assert_eq!(
            refusal("--bootstrap-server b --list --share --protocol x"),
            "Option \"[share]\" can't be used with option \"[protocol]\""
        );
    }
}
