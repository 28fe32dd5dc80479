//! Configurations of topics, brokers and groups.

use std::collections::BTreeMap;

use vltava_protocol::messages::describe_configs_request::DescribeConfigsResource;
use vltava_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use vltava_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use vltava_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest};

use super::{Admin, Results};
use crate::error::ClientError;

/// What kind of thing has a configuration; the numbers are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(i8)]
pub enum ResourceType {
    /// A topic, by name.
    Topic = 2,
    /// A broker, by id; the empty name stands for the default of all.
    Broker = 4,
    /// The log levels of a broker.
    BrokerLogger = 8,
    /// What clients are asked to measure (KIP-714).
    ClientMetrics = 16,
    /// A group, by `group.id`.
    Group = 32,
}

/// Something with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// Its kind.
    pub resource_type: ResourceType,
    /// Its name: a topic's, a group's, or a broker's id.
    pub name: String,
}

impl ConfigResource {
    /// The resource of this kind and name.
    #[must_use]
    pub fn new(resource_type: ResourceType, name: impl Into<String>) -> Self {
        Self { resource_type, name: name.into() }
    }

    /// A topic.
    #[must_use]
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(ResourceType::Topic, name)
    }

    fn matches(&self, kind: i8, name: &str) -> bool {
        self.resource_type as i8 == kind && self.name == name
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// The broker did not say, or in a way that this client does not know.
    Unknown,
    /// Set for the topic.
    DynamicTopicConfig,
    /// Set for the broker while it runs.
    DynamicBrokerConfig,
    /// Set for all brokers while they run.
    DynamicDefaultBrokerConfig,
    /// From the broker's properties file.
    StaticBrokerConfig,
    /// Kafka's default.
    DefaultConfig,
    /// Set for the broker's loggers.
    DynamicBrokerLoggerConfig,
    /// Set for client metrics.
    ClientMetricsConfig,
    /// Set for the group.
    GroupConfig,
}

impl ConfigSource {
    fn from_code(code: i8) -> Self {
        match code {
            1 => Self::DynamicTopicConfig,
            2 => Self::DynamicBrokerConfig,
            3 => Self::DynamicDefaultBrokerConfig,
            4 => Self::StaticBrokerConfig,
            5 => Self::DefaultConfig,
            6 => Self::DynamicBrokerLoggerConfig,
            7 => Self::ClientMetricsConfig,
            8 => Self::GroupConfig,
            _ => Self::Unknown,
        }
    }

    /// Kafka's name, such as `DYNAMIC_TOPIC_CONFIG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::DynamicTopicConfig => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBrokerConfig => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBrokerConfig => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBrokerConfig => "STATIC_BROKER_CONFIG",
            Self::DefaultConfig => "DEFAULT_CONFIG",
            Self::DynamicBrokerLoggerConfig => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::ClientMetricsConfig => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::GroupConfig => "DYNAMIC_GROUP_CONFIG",
        }
    }
}

/// The type of a value, in Kafka's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigType {
    /// The broker did not say.
    Unknown,
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// Floating-point number.
    Double,
    /// Texts with commas between.
    List,
    /// The name of a class.
    Class,
    /// Text that is not shown.
    Password,
}

impl ConfigType {
    fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Boolean,
            2 => Self::String,
            3 => Self::Int,
            4 => Self::Short,
            5 => Self::Long,
            6 => Self::Double,
            7 => Self::List,
            8 => Self::Class,
            9 => Self::Password,
            _ => Self::Unknown,
        }
    }
}

/// A key under which a value could be set, in the order in which they win.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigSynonym {
    /// The key.
    pub name: String,
    /// Its value there; `None` for a sensitive one.
    pub value: Option<String>,
    /// Where that is.
    pub source: ConfigSource,
}

/// One setting of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Kafka's key.
    pub name: String,
    /// Its value; `None` for a sensitive one, or where there is none.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether its value is kept secret.
    pub is_sensitive: bool,
    /// Whether it can only be changed by a restart.
    pub is_read_only: bool,
    /// All places that give it a value.
    pub synonyms: Vec<ConfigSynonym>,
    /// Its type.
    pub config_type: ConfigType,
    /// What it does, if it was asked for.
    pub documentation: Option<String>,
}

/// A change of one setting (KIP-339).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlterConfigOp {
    /// Sets the value.
    Set(String),
    /// Back to the default.
    Delete,
    /// Adds to a list.
    Append(String),
    /// Takes from a list.
    Subtract(String),
}

impl AlterConfigOp {
    fn to_wire(&self) -> (i8, Option<String>) {
        match self {
            Self::Set(value) => (0, Some(value.clone())),
            Self::Delete => (1, None),
            Self::Append(value) => (2, Some(value.clone())),
            Self::Subtract(value) => (3, Some(value.clone())),
        }
    }
}

impl Admin {
    /// All settings of the given resources, with defaults and synonyms.
    ///
    /// # Errors
    /// For each resource `UnknownTopicOrPartition`, `InvalidRequest`, ….
    pub async fn describe_configs(
        &self,
        resources: impl IntoIterator<Item = ConfigResource>,
    ) -> Results<ConfigResource, Vec<ConfigEntry>> {
        self.retry_each(resources.into_iter().collect(), async |resources: Vec<ConfigResource>| {
            let mut answers = Vec::new();
            for (node, resources) in by_broker(resources) {
                let resource = |resource: &ConfigResource| DescribeConfigsResource {
                    resource_type: resource.resource_type as i8,
                    resource_name: resource.name.clone(),
                    configuration_keys: None,
                    ..DescribeConfigsResource::default()
                };
                let request = DescribeConfigsRequest {
                    resources: resources.iter().map(resource).collect(),
                    include_synonyms: true,
                    include_documentation: false,
                    ..DescribeConfigsRequest::default()
                };
                let response = self.send_to_node(node, &request).await?;
                for result in response.results {
                    let asked = resources.iter().find(|r| r.matches(result.resource_type, &result.resource_name));
                    let Some(asked) = asked else { continue };
                    let checked = ClientError::check(result.error_code, result.error_message.as_deref());
                    answers.push((asked.clone(), checked.map(|()| result.configs.into_iter().map(entry).collect())));
                }
            }
            Ok(answers)
        })
        .await
    }

    /// Changes single settings of resources and leaves the others as they are.
    ///
    /// # Errors
    /// For each resource `InvalidConfig`, `UnknownTopicOrPartition`, …; a resource is changed as a whole or not at all.
    pub async fn incremental_alter_configs(
        &self,
        changes: impl IntoIterator<Item = (ConfigResource, BTreeMap<String, AlterConfigOp>)>,
    ) -> Results<ConfigResource, ()> {
        let changes: BTreeMap<_, _> = changes.into_iter().collect();
        let changes = &changes;
        self.retry_each(changes.keys().cloned().collect(), async |resources: Vec<ConfigResource>| {
            let mut answers = Vec::new();
            for (node, resources) in by_broker(resources) {
                let alter = |resource: &ConfigResource| AlterConfigsResource {
                    resource_type: resource.resource_type as i8,
                    resource_name: resource.name.clone(),
                    configs: changes.get(resource).into_iter().flatten().map(alterable).collect(),
                    ..AlterConfigsResource::default()
                };
                let request = IncrementalAlterConfigsRequest {
                    resources: resources.iter().map(alter).collect(),
                    ..IncrementalAlterConfigsRequest::default()
                };
                let response = self.send_to_node(node, &request).await?;
                for result in response.responses {
                    let asked = resources.iter().find(|r| r.matches(result.resource_type, &result.resource_name));
                    let Some(asked) = asked else { continue };
                    let checked = ClientError::check(result.error_code, result.error_message.as_deref());
                    answers.push((asked.clone(), checked));
                }
            }
            Ok(answers)
        })
        .await
    }

    /// The resources of a kind that have settings, in the order in which the broker tells them. Topics and brokers are told
    /// whether they have any or not (KIP-1142).
    ///
    /// # Errors
    /// `ClusterAuthorizationFailed`, `UnsupportedVersion` where the broker is older than Kafka 4.1 and the kind is another one
    /// than [`ResourceType::ClientMetrics`], or if no broker answers.
    pub async fn list_config_resources(&self, kind: ResourceType) -> Result<Vec<ConfigResource>, ClientError> {
        let request =
            ListConfigResourcesRequest { resource_types: vec![kind as i8], ..ListConfigResourcesRequest::default() };
        let response = self
            .retry(async || {
                let response = self.cluster.send_any(&request).await?;
                ClientError::check(response.error_code, None).map(|()| response)
            })
            .await?;
        let told = response.config_resources.into_iter().filter(|resource| resource.resource_type == kind as i8);
        Ok(told.map(|resource| ConfigResource::new(kind, resource.resource_name)).collect())
    }

    async fn send_to_node<R: vltava_protocol::wire::Request>(
        &self,
        node: Option<i32>,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        match node {
            Some(node) => {
                if !self.cluster.metadata().brokers.contains_key(&node) {
                    self.cluster.refresh().await?;
                }
                self.cluster.send(node, request).await
            }
            None => self.cluster.send_any(request).await,
        }
    }
}

/// A broker's own settings are known to that broker alone; all others to any.
fn by_broker(resources: Vec<ConfigResource>) -> BTreeMap<Option<i32>, Vec<ConfigResource>> {
    let mut by_broker: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for resource in resources {
        let own = matches!(resource.resource_type, ResourceType::Broker | ResourceType::BrokerLogger);
        let node = own.then(|| resource.name.parse().ok()).flatten();
        by_broker.entry(node).or_default().push(resource);
    }
    by_broker
}

fn alterable((name, op): (&String, &AlterConfigOp)) -> AlterableConfig {
    let (config_operation, value) = op.to_wire();
    AlterableConfig { name: name.clone(), config_operation, value, ..AlterableConfig::default() }
}

fn entry(config: DescribeConfigsResourceResult) -> ConfigEntry {
    let synonym = |synonym: vltava_protocol::messages::describe_configs_response::DescribeConfigsSynonym| {
        let source = ConfigSource::from_code(synonym.source);
        ConfigSynonym { name: synonym.name, value: synonym.value, source }
    };
    ConfigEntry {
        name: config.name,
        value: config.value,
        source: ConfigSource::from_code(config.config_source),
        is_sensitive: config.is_sensitive,
        is_read_only: config.read_only,
        synonyms: config.synonyms.into_iter().map(synonym).collect(),
        config_type: ConfigType::from_code(config.config_type),
        documentation: config.documentation,
    }
}
