//! `kafka-cluster`: the cluster's id, and where its brokers listen.

use std::io::Write;

use vltava_client::admin::ClusterDescription;
use vltava_client::{Admin, AdminConfig};

use crate::failure::Failure;
use crate::options::{OptionSpec, Options, flag, value};
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-cluster",
    about: "The Kafka cluster tool: cluster-id or list-endpoints, then options.",
    options: OPTIONS,
    has_commands: true,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "BOOTSTRAP_SERVER", "Kafka brokers to connect to, host:port,host:port."),
    value("bootstrap-controller", "BOOTSTRAP_CONTROLLER", "Controllers to connect to.").not_yet(),
    value("command-config", "COMMAND_CONFIG", "Settings for the admin client, a properties file."),
    value("config", "CONFIG", "The old name of --command-config."),
    value("id", "ID", "The broker to unregister.").not_yet(),
    flag("include-fenced-brokers", "List the endpoints of brokers that are fenced too.").not_yet(),
];

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let command = match options.rest.as_slice() {
        [] => return Err(Failure::Usage("kafka-cluster: error: too few arguments".into())),
        [command] if ["cluster-id", "list-endpoints"].contains(&command.as_str()) => command.as_str(),
        [command] if command == "unregister" => {
            return Err(Failure::Message("kafka-cluster unregister is not supported yet".into()));
        }
        [command, ..] => {
            let choices = "(choose from 'cluster-id', 'unregister', 'list-endpoints')";
            return Err(Failure::Usage(format!("kafka-cluster: error: invalid choice: '{command}' {choices}")));
        }
    };
    if !options.has("bootstrap-server") {
        let text = "one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required";
        return Err(Failure::Usage(format!("kafka-cluster {command}: error: {text}")));
    }
    if options.has("config") && options.has("command-config") {
        return Err(Failure::Message("--config and --command-config cannot be specified together.".into()));
    }
    if options.has("config") {
        let text = "Option --config has been deprecated and will be removed in a future version. Use --command-config \
            instead.";
        writeln!(out, "{text}")?;
    }
    let mut settings = properties::load(options.value("config").or(options.value("command-config")))?;
    properties::put(&mut settings, "bootstrap.servers", options.text("bootstrap-server"));
    let config = AdminConfig::from_properties(settings)?;
    let cluster = block_on(async { Ok(Admin::new(config)?.describe_cluster().await?) })?;
    match command {
        "cluster-id" => Ok(writeln!(out, "Cluster ID: {}", cluster.cluster_id)?),
        _ => endpoints(&cluster, out),
    }
}

fn endpoints(cluster: &ClusterDescription, out: &mut dyn Write) -> Result<(), Failure> {
    let hosts = cluster.nodes.iter().map(|node| node.host.chars().count()).max().unwrap_or(100);
    let racks = cluster.nodes.iter().filter_map(|node| node.rack.as_ref()).map(|rack| rack.chars().count());
    let racks = racks.max().unwrap_or(10);
    let mut row = |[id, host, port, rack, state, kind]: [&str; 6]| {
        writeln!(out, "{id:<10} {host:<hosts$} {port:<10} {rack:<racks$} {state:<10} {kind:<15}")
    };
    row(["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"])?;
    for node in &cluster.nodes {
        let (id, port) = (node.id.to_string(), node.port.to_string());
        row([&id, &node.host, &port, node.rack.as_deref().unwrap_or("null"), "unfenced", "broker"])?;
    }
    Ok(())
}
