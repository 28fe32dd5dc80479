//! `kafka-configs`: describe and alter the settings of topics, brokers, their loggers, groups and what clients are asked to
//! measure, the quotas of users, clients and addresses, and what users have of SCRAM.

mod changes;
mod command_line;
mod entity;
mod plan;
mod quotas;
mod users;

#[cfg(test)]
mod tests;

use std::io::Write;

use vltava_client::admin::{ConfigEntry, ConfigResource, ConfigSource, ListGroupsOptions, ResourceType};
use vltava_client::{Admin, AdminConfig, ClientError};
use vltava_protocol::ErrorCode;

use crate::failure::Failure;
use crate::java::hash_map_order;
use crate::options::Options;
use crate::properties;
use crate::tool::{Tool, block_on};
use entity::{Entity, Kind};
use plan::Plan;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-configs",
    about: "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, \
        client-metrics or group",
    options: command_line::OPTIONS,
    has_commands: false,
    run,
};

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let asked = command_line::check(options)?;
    let entity = asked.head();
    let config = AdminConfig::from_properties(properties::of_admin(options)?)?;
    block_on(async {
        let admin = Admin::new(config)?;
        if entity.kind.has_quotas() {
            if !options.has("alter") {
                quotas::describe(&admin, &asked, out).await?;
                return users::describe(&admin, &asked, out).await;
            }
            match plan::plan(&asked, changes::changes(options)?)? {
                Plan::Quotas(alterations) => quotas::alter(&admin, &asked, &alterations).await?,
                Plan::Credentials(alterations) => users::alter(&admin, alterations).await?,
            }
            return completed(&entity, out);
        }
        match options.has("alter") {
            true => alter(&admin, &entity, options, out).await,
            false => describe(&admin, &entity, options.has("all"), out).await,
        }
    })
}

async fn alter(admin: &Admin, entity: &Entity, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let changes = changes::changes(options)?;
    let name = entity.name.as_deref().unwrap_or_default();
    if entity.kind == Kind::BrokerLogger {
        let known = settings(admin, entity.kind, name, true).await?;
        let unknown = changes.keys().filter(|key| !known.iter().any(|entry| entry.name == **key));
        let unknown: Vec<&str> = unknown.map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(Failure::Message(format!("Invalid broker logger(s): {}", unknown.join(","))));
        }
    }
    let resource = entity.kind.resource_type().map(|kind| (ConfigResource::new(kind, name), changes));
    for result in admin.incremental_alter_configs(resource).await.into_values() {
        result?;
    }
    completed(entity, out)
}

fn completed(entity: &Entity, out: &mut dyn Write) -> Result<(), Failure> {
    match entity.name.as_deref() {
        None | Some("") => {
            Ok(writeln!(out, "Completed updating default config for {} in the cluster.", entity.kind.plural())?)
        }
        Some(name) => Ok(writeln!(out, "Completed updating config for {} {name}.", entity.kind.singular())?),
    }
}

async fn describe(admin: &Admin, entity: &Entity, all: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let kind = entity.kind;
    if let Some(name) = entity.name.as_deref().filter(|_| !all)
        && !exists(admin, kind, name).await?
    {
        let text = "doesn't exist and doesn't have dynamic config.";
        return Ok(writeln!(out, "The {} '{name}' {text}", kind.singular())?);
    }
    let names = match &entity.name {
        Some(name) => vec![name.clone()],
        None => names(admin, kind).await?,
    };
    for name in names {
        match name.as_str() {
            "" => writeln!(out, "Default configs for {} in the cluster are:", kind.plural())?,
            name => {
                let which = if all { "All" } else { "Dynamic" };
                writeln!(out, "{which} configs for {} {name} are:", kind.singular())?;
            }
        }
        for entry in settings(admin, kind, &name, all).await? {
            writeln!(out, "{}", line(&entry))?;
        }
    }
    Ok(())
}

/// Whether there is an entity of this name; the empty name of brokers means the default of all.
async fn exists(admin: &Admin, kind: Kind, name: &str) -> Result<bool, Failure> {
    Ok(name.is_empty() || names(admin, kind).await?.iter().any(|known| known == name))
}

/// All entities of a kind in the order in which Kafka's tool tells of them.
async fn names(admin: &Admin, kind: Kind) -> Result<Vec<String>, Failure> {
    Ok(match kind {
        Kind::Topic => {
            let mut names: Vec<String> = admin.list_topics().await?.into_keys().collect();
            hash_map_order(&mut names, 16, |name| name);
            names
        }
        Kind::Broker | Kind::BrokerLogger => {
            let nodes = admin.describe_cluster().await?.nodes;
            nodes.iter().map(|node| node.id.to_string()).chain([String::new()]).collect()
        }
        Kind::Group => {
            let groups = admin.list_groups(&ListGroupsOptions::default()).await?;
            let mut names: Vec<String> = groups.into_iter().map(|group| group.group_id).collect();
            // Groups that are not there yet may have settings.
            let configured = configured(admin, ResourceType::Group).await?;
            let others: Vec<String> = configured.into_iter().filter(|name| !names.contains(name)).collect();
            names.extend(others);
            names
        }
        Kind::ClientMetrics => configured(admin, ResourceType::ClientMetrics).await?,
        // Whose quotas are described where they are.
        Kind::User | Kind::Client | Kind::Ip => Vec::new(),
    })
}

/// The resources of a kind that have settings, by name.
async fn configured(admin: &Admin, kind: ResourceType) -> Result<Vec<String>, Failure> {
    let resources = match admin.list_config_resources(kind).await {
        // As Kafka's tool: a broker that is older or says nothing has none.
        Err(ClientError::UnsupportedVersion { .. }) if kind == ResourceType::Group => Vec::new(),
        Err(error) if kind == ResourceType::Group && error.code() == Some(ErrorCode::ClusterAuthorizationFailed) => {
            Vec::new()
        }
        resources => resources?,
    };
    Ok(resources.into_iter().map(|resource| resource.name).collect())
}

/// The settings of one entity by name: those set for it, or all.
async fn settings(admin: &Admin, kind: Kind, name: &str, all: bool) -> Result<Vec<ConfigEntry>, Failure> {
    let own = match (kind, name) {
        (Kind::Topic, _) => Some(ConfigSource::DynamicTopicConfig),
        (Kind::Broker, "") => Some(ConfigSource::DynamicDefaultBrokerConfig),
        (Kind::Broker, _) => Some(ConfigSource::DynamicBrokerConfig),
        (Kind::BrokerLogger | Kind::User | Kind::Client | Kind::Ip, _) => None,
        (Kind::Group, _) => Some(ConfigSource::GroupConfig),
        (Kind::ClientMetrics, _) => Some(ConfigSource::ClientMetricsConfig),
    };
    let mut entries = Vec::new();
    let resource = kind.resource_type().map(|kind| ConfigResource::new(kind, name));
    for described in admin.describe_configs(resource).await.into_values() {
        entries.extend(described?);
    }
    entries.retain(|entry| all || own.is_none_or(|own| entry.source == own));
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn line(entry: &ConfigEntry) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms = entry.synonyms.iter().map(|synonym| {
        let (source, name) = (synonym.source.name(), &synonym.name);
        format!("{source}:{name}={}", value(&synonym.value))
    });
    let synonyms = synonyms.collect::<Vec<_>>().join(", ");
    let (name, own, sensitive) = (&entry.name, value(&entry.value), entry.is_sensitive);
    format!("  {name}={own} sensitive={sensitive} synonyms={{{synonyms}}}")
}
