//! From checked settings to typed fields.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use vltava_config::{ConfigError, Reader, Settings, split_list};
use vltava_metrics::{MetricConfig, UnknownLevel};
use vltava_security::SecurityProtocol;

use super::listener::Protocols;
use super::sasl::{ListenerSasl, SaslSettings};
use super::{BrokerConfig, Listener, TransactionTopicConfig, UpkeepConfig, VerificationConfig, listener, topic_keys};
use crate::coordinator::transaction::{TransactionCoordinatorConfig, TransactionVersion};
use crate::log_levels::LogLevels;
use crate::quota::Windows;

const BACKLOG: &str = "socket.listen.backlog.size";

impl BrokerConfig {
    pub(super) fn read(reader: &Reader<'_>, settings: Settings) -> Result<Self, ConfigError> {
        let node_id = node_id(reader)?;
        check_cluster_of_one(reader, node_id)?;
        let Listeners { all: listeners, advertised: advertised_listeners, protocols, inter_broker } =
            listeners(reader)?;
        super::connections::check(reader)?;
        let sasl = sasl(reader, &protocols)?;
        // Read for each listener by itself.
        for row in vltava_security::ssl::BROKER.iter().filter(|row| row.support.acts()) {
            let value = reader.text(row.key);
            // In a program whose clients have TLS they act by their definitions, whatever the broker is built with.
            if cfg!(not(feature = "tls")) && !vltava_security::ssl::is_default(row, value) {
                return Err(ConfigError::new(row.key, row.shown(value.unwrap_or("")), vltava_security::ssl::NO_TLS));
            }
        }
        // Read through `resolve`, where a topic's settings are put together.
        for topic in topic_keys() {
            for (synonym, _) in super::broker_synonyms(topic.key) {
                reader.used(synonym);
            }
        }
        super::keys::AT_RUN_TIME.into_iter().for_each(|key| reader.used(key));
        let backlog = reader.int(BACKLOG)?;
        let protocols_of_groups = reader.list("group.coordinator.rebalance.protocols");
        let serves = |protocol: &str| protocols_of_groups.iter().any(|name| name.eq_ignore_ascii_case(protocol));
        Ok(Self {
            cluster_id: None,
            node_id,
            rack: reader.text("broker.rack").map(str::to_owned),
            log_dirs: log_dirs(reader)?,
            metrics_http_address: reader.non_empty("metrics.http.address").map(str::to_owned),
            metrics: metrics(reader)?,
            metadata_log_dir: reader.text("metadata.log.dir").map(PathBuf::from),
            #[cfg(feature = "tls")]
            ssl: super::ssl::of_listeners(&settings, &protocols)?,
            listeners,
            advertised_listeners,
            sasl,
            added_users: Vec::new(),
            log_levels: LogLevels::default(),
            protocols,
            inter_broker_listener: inter_broker,
            backlog: reader.is_given(BACKLOG).then_some(backlog),
            receive_buffer: usize::try_from(reader.int("socket.receive.buffer.bytes")?).ok(),
            send_buffer: usize::try_from(reader.int("socket.send.buffer.bytes")?).ok(),
            queued_max_requests: reader.size("queued.max.requests")?,
            queued_max_request_bytes: reader.integer("queued.max.request.bytes")?,
            quota_windows: Windows {
                samples: reader.int("quota.window.num")?.unsigned_abs(),
                size_ms: i64::from(reader.int("quota.window.size.seconds")?) * 1000,
            },
            controller_quota_windows: Windows {
                samples: reader.int("controller.quota.window.num")?.unsigned_abs(),
                size_ms: i64::from(reader.int("controller.quota.window.size.seconds")?) * 1000,
            },
            serves_consumer_protocol: serves("consumer"),
            serves_streams_protocol: serves("streams"),
            request_max_bytes: reader.size("socket.request.max.bytes")?,
            max_decompressed_batch_bytes: reader.size("max.decompressed.batch.bytes")?,
            connections_max_idle: reader.duration_or_none("connections.max.idle.ms")?,
            threads: reader.size("num.network.threads")?.saturating_add(reader.size("num.io.threads")?),
            auto_create_topics: reader.boolean("auto.create.topics.enable")?,
            delete_topic_enable: reader.boolean("delete.topic.enable")?,
            num_partitions: reader.int("num.partitions")?,
            default_replication_factor: reader.int("default.replication.factor")?,
            fetch_max_bytes: reader.int("fetch.max.bytes")?,
            fetch_session_slots: reader.size("max.incremental.fetch.session.cache.slots")?,
            max_request_partition_size_limit: reader.int("max.request.partition.size.limit")?,
            offsets_topic_num_partitions: reader.int("offsets.topic.num.partitions")?,
            offsets_topic_segment_bytes: reader.int("offsets.topic.segment.bytes")?,
            groups: super::groups::read(reader)?,
            transaction_topic: TransactionTopicConfig {
                num_partitions: reader.int("transaction.state.log.num.partitions")?,
                segment_bytes: reader.int("transaction.state.log.segment.bytes")?,
            },
            transactions: transactions(reader)?,
            upkeep: UpkeepConfig {
                retention_check_interval_ms: reader.integer("log.retention.check.interval.ms")?,
                flush_scheduler_interval_ms: reader.integer("log.flush.scheduler.interval.ms")?,
                recovery_point_checkpoint_interval_ms: reader.integer("log.flush.offset.checkpoint.interval.ms")?,
                log_start_offset_checkpoint_interval_ms: reader
                    .integer("log.flush.start.offset.checkpoint.interval.ms")?,
                high_watermark_checkpoint_interval_ms: reader
                    .integer("replica.high.watermark.checkpoint.interval.ms")?,
                initial_task_delay_ms: reader.integer("log.initial.task.delay.ms")?,
                producer_id_expiration_check_interval_ms: reader.integer("producer.id.expiration.check.interval.ms")?,
                dynamic: Arc::default(),
            },
            log_cleaner_enable: reader.boolean("log.cleaner.enable")?,
            verification: VerificationConfig {
                add_retry_backoff: reader.duration("add.partitions.to.txn.retry.backoff.ms")?,
                add_retry_backoff_max: reader.duration("add.partitions.to.txn.retry.backoff.max.ms")?,
            },
            authorizer: super::authorizer::read(reader, &settings)?,
            settings,
        })
    }
}

fn node_id(reader: &Reader<'_>) -> Result<i32, ConfigError> {
    let older = reader.int("broker.id")?;
    match reader.is_given("broker.id") && !reader.is_given("node.id") && older != -1 {
        true => Ok(older),
        false => reader.int("node.id"),
    }
}

/// This broker is its own and only controller: who asks for something else is told so.
fn check_cluster_of_one(reader: &Reader<'_>, node_id: i32) -> Result<(), ConfigError> {
    let roles = reader.list("process.roles");
    if !["broker", "controller"].iter().all(|role| roles.iter().any(|given| given == role)) {
        let reason = "must be broker,controller: this node is both at once";
        return Err(ConfigError::new("process.roles", roles.join(","), reason));
    }
    for key in ["controller.quorum.voters", "controller.quorum.bootstrap.servers"] {
        let nodes = reader.list(key);
        let others = match nodes.as_slice() {
            [] => false,
            [only] => key.ends_with("voters") && only.split('@').next() != Some(node_id.to_string().as_str()),
            _ => true,
        };
        if others {
            let reason = format!("must name node {node_id} alone: it is the only one of its cluster");
            return Err(ConfigError::new(key, nodes.join(","), reason));
        }
    }
    Ok(())
}

fn log_dirs(reader: &Reader<'_>) -> Result<Vec<std::path::PathBuf>, ConfigError> {
    let (dirs, dir) = (reader.text("log.dirs"), reader.text("log.dir"));
    let value = dirs.or(dir).unwrap_or_default();
    let entries = split_list(value);
    if entries.is_empty() || entries.contains(&"") {
        return Err(ConfigError::new("log.dirs", value, "At least one log directory must be defined"));
    }
    Ok(entries.into_iter().map(std::path::PathBuf::from).collect())
}

/// What the settings of listeners come to.
struct Listeners {
    all: Vec<Listener>,
    /// Those that clients are told of.
    advertised: Vec<Listener>,
    protocols: BTreeMap<String, SecurityProtocol>,
    inter_broker: String,
}

fn listeners(reader: &Reader<'_>) -> Result<Listeners, ConfigError> {
    let value = reader.text("listeners").unwrap_or_default();
    let map = Protocols::parse(reader.text("listener.security.protocol.map").unwrap_or_default())?;
    let controllers = reader.list("controller.listener.names");
    let is_controller = |name: &str| controllers.iter().any(|known| known.eq_ignore_ascii_case(name));
    let mut protocols = BTreeMap::new();
    let mut all = listener::parse_listeners("listeners", value)?;
    for listener in &all {
        let protocol = map.of(&listener.name, is_controller(&listener.name))?;
        protocols.insert(listener.name.clone(), protocol);
    }
    all.retain(|listener| !is_controller(&listener.name));
    if all.is_empty() {
        return Err(ConfigError::new("listeners", value, "There must be at least one broker listener"));
    }
    let advertised = match reader.text("advertised.listeners") {
        None => all.clone(),
        Some(value) => {
            let mut advertised = listener::parse_listeners("advertised.listeners", value)?;
            advertised.retain(|listener| !is_controller(&listener.name));
            for listener in &advertised {
                if !all.iter().any(|known| known.name == listener.name) {
                    let reason = format!("advertised listener {} is not in listeners", listener.name);
                    return Err(ConfigError::new("advertised.listeners", value, reason));
                }
                if listener.host == "0.0.0.0" {
                    let reason = "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0";
                    return Err(ConfigError::new("advertised.listeners", value, reason));
                }
            }
            advertised
        }
    };
    let inter_broker = inter_broker(reader, &map, &advertised)?;
    Ok(Listeners { all, advertised, protocols, inter_broker })
}

/// The listener that brokers would use among themselves, by its name or by its protocol, has to be advertised: nobody
/// connects to it here, and a file that Kafka refuses is refused.
fn inter_broker(reader: &Reader<'_>, map: &Protocols<'_>, advertised: &[Listener]) -> Result<String, ConfigError> {
    const NAME: &str = "inter.broker.listener.name";
    const PROTOCOL: &str = "security.inter.broker.protocol";
    let protocol = reader.required(PROTOCOL)?;
    let (key, value) = match reader.non_empty(NAME) {
        Some(name) if reader.is_given(PROTOCOL) => {
            return Err(ConfigError::new(NAME, name, format!("only one of it and `{PROTOCOL}` may be given")));
        }
        Some(name) if !map.has(name) => {
            return Err(ConfigError::new(NAME, name, "is not in `listener.security.protocol.map`"));
        }
        Some(name) => (NAME, name),
        None => (PROTOCOL, protocol),
    };
    if let Some(listener) = advertised.iter().find(|listener| listener.name.eq_ignore_ascii_case(value)) {
        return Ok(listener.name.clone());
    }
    let names: Vec<&str> = advertised.iter().map(|listener| listener.name.as_str()).collect();
    Err(ConfigError::new(
        key,
        value,
        format!("must be an advertised listener, of which there are {}", names.join(", ")),
    ))
}

/// How the clients of those listeners authenticate that ask for it.
fn sasl(
    reader: &Reader<'_>,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<BTreeMap<String, Arc<ListenerSasl>>, ConfigError> {
    let settings = SaslSettings::new(reader)?;
    let mut sasl = BTreeMap::new();
    for (listener, _) in protocols.iter().filter(|(_, protocol)| protocol.is_sasl()) {
        sasl.insert(listener.clone(), settings.of(listener)?);
    }
    settings.check_use(&sasl)?;
    Ok(sasl.into_iter().map(|(name, sasl)| (name, Arc::new(sasl))).collect())
}

fn metrics(reader: &Reader<'_>) -> Result<MetricConfig, ConfigError> {
    const LEVEL: &str = "metrics.recording.level";
    let level = reader.required(LEVEL)?;
    let level = level.parse().map_err(|UnknownLevel| ConfigError::new(LEVEL, level, "must be INFO, DEBUG or TRACE"))?;
    Ok(MetricConfig::new(reader.size("metrics.num.samples")?, reader.integer("metrics.sample.window.ms")?, level))
}

fn transactions(reader: &Reader<'_>) -> Result<TransactionCoordinatorConfig, ConfigError> {
    Ok(TransactionCoordinatorConfig {
        max_timeout_ms: reader.int("transaction.max.timeout.ms")?,
        id_expiration_ms: reader.integer("transactional.id.expiration.ms")?,
        abort_interval_ms: reader.integer("transaction.abort.timed.out.transaction.cleanup.interval.ms")?,
        expiration_interval_ms: reader.integer("transaction.remove.expired.transaction.cleanup.interval.ms")?,
        two_phase_commit: reader.boolean("transaction.two.phase.commit.enable")?,
        load_buffer_bytes: reader.size("transaction.state.log.load.buffer.size")?,
        max_batch_bytes: reader.size("message.max.bytes")?,
        version: TransactionVersion::default(),
    })
}
