//! `kafka-topics --describe`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use vltava_client::admin::{ConfigEntry, ConfigResource, ConfigSource, TopicDescription, TopicPartitionInfo};
use vltava_client::net::SendOptions;
use vltava_client::{Admin, ClientError, TopicPartition};
use vltava_protocol::messages::ListPartitionReassignmentsRequest;
use vltava_protocol::{ErrorCode, Uuid};

use super::{existing, is, logged};
use crate::failure::Failure;
use crate::java::hash_map_order;
use crate::options::Options;

/// The replicas that a partition is moving to and from.
#[derive(Debug, Default)]
pub(super) struct Reassignment {
    pub(super) replicas: Vec<i32>,
    pub(super) adding: Vec<i32>,
    pub(super) removing: Vec<i32>,
}

type Reassignments = BTreeMap<TopicPartition, Reassignment>;

/// Which lines are wanted.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) under_replicated: bool,
    pub(super) unavailable: bool,
    pub(super) under_min_isr: bool,
    pub(super) at_min_isr: bool,
    pub(super) with_overrides: bool,
}

impl Wanted {
    fn new(options: &Options) -> Self {
        Self {
            under_replicated: options.has("under-replicated-partitions"),
            unavailable: options.has("unavailable-partitions"),
            under_min_isr: options.has("under-min-isr-partitions"),
            at_min_isr: options.has("at-min-isr-partitions"),
            with_overrides: options.has("topics-with-overrides"),
        }
    }

    /// Whether everything is described, not only partitions in some trouble.
    fn all(self) -> bool {
        !(self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr)
    }
}

pub(super) async fn describe(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let names = match options.value("topic-id").map(parse_id).transpose()?.filter(|id| !id.is_zero()) {
        Some(id) => name_of(admin, options, id).await?,
        None => existing(admin, options).await?,
    };
    let count = names.len();
    let described: Result<Vec<TopicDescription>, ClientError> =
        admin.describe_topics(names.clone()).await.into_values().collect();
    let mut described = described.map_err(logged)?;
    hash_map_order(&mut described, count, |topic| &topic.name);
    let configs = admin.describe_configs(names.iter().map(ConfigResource::topic)).await;
    let live: BTreeSet<i32> =
        admin.describe_cluster().await.map_err(logged)?.nodes.iter().map(|node| node.id).collect();
    let reassignments = if described.is_empty() { Reassignments::new() } else { reassignments(admin).await? };
    for topic in &described {
        let entries = configs.get(&ConfigResource::topic(&topic.name)).cloned().unwrap_or(Ok(Vec::new()));
        let mut entries = entries.map_err(logged)?;
        hash_map_order(&mut entries, 16, |entry| &entry.name);
        print_topic(topic, &entries, &reassignments, &live, Wanted::new(options), out)?;
    }
    Ok(())
}

fn parse_id(text: &str) -> Result<Uuid, Failure> {
    text.parse().map_err(|_| Failure::Message(format!("Input string `{text}` decoded as no topic id")))
}

/// The topic of an id.
async fn name_of(admin: &Admin, options: &Options, id: Uuid) -> Result<Vec<String>, Failure> {
    let listed = admin.list_topics().await.map_err(logged)?.into_values();
    let hidden = options.has("exclude-internal");
    let names: Vec<String> =
        listed.filter(|topic| topic.topic_id == id && !(hidden && topic.is_internal)).map(|topic| topic.name).collect();
    if names.is_empty() && !options.has("if-exists") {
        return Err(Failure::Message(format!("TopicId '{id}' does not exist as expected")));
    }
    Ok(names)
}

/// The reassignments under way; none from a broker that cannot or may not tell.
async fn reassignments(admin: &Admin) -> Result<Reassignments, Failure> {
    let request = ListPartitionReassignmentsRequest {
        timeout_ms: 60_000,
        topics: None,
        ..ListPartitionReassignmentsRequest::default()
    };
    let response = match admin.cluster().send_controller(&request, SendOptions::default()).await {
        Ok(response) => response,
        Err(ClientError::UnsupportedVersion { .. }) => return Ok(Reassignments::new()),
        Err(error) => return Err(logged(error)),
    };
    match ClientError::check(response.error_code, response.error_message.as_deref()) {
        Err(error) if is(&error, ErrorCode::ClusterAuthorizationFailed) => return Ok(Reassignments::new()),
        Err(error) => return Err(logged(error)),
        Ok(()) => {}
    }
    let mut found = Reassignments::new();
    for topic in response.topics {
        for partition in topic.partitions {
            let reassignment = Reassignment {
                replicas: partition.replicas,
                adding: partition.adding_replicas,
                removing: partition.removing_replicas,
            };
            found.insert(TopicPartition::new(topic.name.as_str(), partition.partition_index), reassignment);
        }
    }
    Ok(found)
}

pub(super) fn print_topic(
    topic: &TopicDescription,
    configs: &[ConfigEntry],
    reassignments: &Reassignments,
    live: &BTreeSet<i32>,
    wanted: Wanted,
    out: &mut dyn Write,
) -> io::Result<()> {
    let own = configs.iter().filter(|entry| entry.source != ConfigSource::DefaultConfig);
    let own: Vec<String> =
        own.map(|entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null"))).collect();
    let reassignment =
        |info: &TopicPartitionInfo| reassignments.get(&TopicPartition::new(topic.name.as_str(), info.partition));
    if wanted.all() && (!wanted.with_overrides || !own.is_empty()) {
        let factor = topic.partitions.first().map_or(0, |info| replication_factor(info, reassignment(info)));
        write!(out, "Topic: {}", topic.name)?;
        if !topic.topic_id.is_zero() {
            write!(out, "\tTopicId: {}", topic.topic_id)?;
        }
        write!(out, "\tPartitionCount: {}\tReplicationFactor: {factor}", topic.partitions.len())?;
        writeln!(out, "\tConfigs: {}", own.join(","))?;
    }
    if wanted.with_overrides {
        return Ok(());
    }
    let min_isr = configs.iter().find(|entry| entry.name == "min.insync.replicas");
    let min_isr = min_isr.and_then(|entry| entry.value.as_ref()?.parse().ok()).unwrap_or(1);
    for info in &topic.partitions {
        let reassignment = reassignment(info);
        let isr = info.isr.len();
        let wanted = wanted.all()
            || (wanted.under_replicated && replication_factor(info, reassignment) > isr)
            || (wanted.unavailable && info.leader.is_none_or(|leader| !live.contains(&leader)))
            || (wanted.under_min_isr && (info.leader.is_none() || isr < min_isr))
            || (wanted.at_min_isr && isr == min_isr);
        if wanted {
            print_partition(&topic.name, info, reassignment, out)?;
        }
    }
    Ok(())
}

fn print_partition(
    topic: &str,
    info: &TopicPartitionInfo,
    reassignment: Option<&Reassignment>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let leader = info.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    write!(out, "\tTopic: {topic}\tPartition: {}\tLeader: {leader}", info.partition)?;
    write!(out, "\tReplicas: {}\tIsr: {}", ids(&info.replicas), ids(&info.isr))?;
    if let Some(Reassignment { adding, removing, .. }) = reassignment {
        write!(out, "\tAdding Replicas: {}\tRemoving Replicas: {}", ids(adding), ids(removing))?;
    }
    let or_unknown = |list: &Option<Vec<i32>>| list.as_ref().map_or_else(|| "N/A".to_owned(), |list| ids(list));
    writeln!(out, "\tElr: {}\tLastKnownElr: {}", or_unknown(&info.elr), or_unknown(&info.last_known_elr))
}

/// The replication factor; while replicas move, the one that it was and will be.
fn replication_factor(info: &TopicPartitionInfo, reassignment: Option<&Reassignment>) -> usize {
    match reassignment {
        Some(moving) if info.replicas.iter().any(|id| moving.adding.contains(id) || moving.removing.contains(id)) => {
            moving.replicas.len().saturating_sub(moving.adding.len())
        }
        _ => info.replicas.len(),
    }
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
