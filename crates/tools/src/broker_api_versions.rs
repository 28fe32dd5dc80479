//! `kafka-broker-api-versions`: the requests that brokers take, and in which versions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use vltava_client::net::{ApiVersions, ConnectionKey, Node};
use vltava_client::{Admin, AdminConfig};
use vltava_protocol::ApiKey;

use crate::failure::{Failure, message};
use crate::options::{OptionSpec, Options, value};
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-broker-api-versions",
    about: "This tool helps to retrieve broker version information.",
    options: OPTIONS,
    has_commands: false,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "server(s) to use for bootstrapping", "REQUIRED: Kafka brokers to connect to."),
    value("command-config", "command config property file", "Settings for the admin client, a properties file."),
];

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    options.require(&["bootstrap-server"])?;
    let config = AdminConfig::from_properties(properties::of_admin(options)?)?;
    block_on(async {
        let admin = Admin::new(config)?;
        let snapshot = admin.cluster().refresh().await?;
        for node in snapshot.brokers.values() {
            let name = node_text(node);
            match admin.cluster().connection(ConnectionKey::data(node.id)).await {
                Ok(connection) => writeln!(out, "{name} -> {}", versions_text(connection.versions()))?,
                Err(error) => writeln!(out, "{name} -> ERROR: {}", message(&error))?,
            }
        }
        Ok(())
    })
}

/// A broker as Kafka's clients write it.
fn node_text(node: &Node) -> String {
    let rack = node.rack.as_deref().unwrap_or("null");
    format!("{}:{} (id: {} rack: {rack} isFenced: false)", node.host, node.port, node.id)
}

/// All requests in order of their keys, also those that this client knows and the broker does not.
fn versions_text(versions: &ApiVersions) -> String {
    let mut lines = BTreeMap::new();
    for &api in ApiKey::ALL.iter().filter(|api| api.is_on_broker()) {
        lines.insert(api.code(), format!("{}({}): UNSUPPORTED", api.name(), api.code()));
    }
    for (code, lowest, highest) in versions.ranges() {
        lines.insert(code, line(code, lowest, highest));
    }
    let lines: Vec<String> = lines.into_values().collect();
    format!("(\n\t{}\n)", lines.join(",\n\t"))
}

fn line(code: i16, lowest: i16, highest: i16) -> String {
    let api = ApiKey::from_code(code);
    let mut text = format!("{}({code}): {lowest}", api.map_or("UNKNOWN", ApiKey::name));
    // Writing into a string cannot fail.
    if lowest != highest {
        write!(text, " to {highest}").ok();
    }
    match api {
        Some(api) if api.max_version() < lowest => text.push_str(" [unusable: node too new]"),
        Some(api) if highest < api.min_version() => text.push_str(" [unusable: node too old]"),
        Some(api) => drop(write!(text, " [usable: {}]", api.max_version().min(highest))),
        None => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_tells_what_can_be_used() {
        assert_eq!(line(0, 0, 13), "Produce(0): 0 to 13 [usable: 13]");
        assert_eq!(line(0, 99, 99), "Produce(0): 99 [unusable: node too new]");
        assert_eq!(line(1, 0, 1), "Fetch(1): 0 to 1 [unusable: node too old]");
        assert_eq!(line(9999, 0, 1), "UNKNOWN(9999): 0 to 1");
    }
}
