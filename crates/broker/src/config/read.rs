//! From checked settings to typed fields.

use std::path::PathBuf;

use vltava_config::{ConfigError, Reader, Settings, split_list};
use vltava_protocol::record::Compression;

use super::{BrokerConfig, Listener, TransactionTopicConfig, UpkeepConfig, VerificationConfig, listener, topic_keys};
use crate::coordinator::group::{ConsumerGroupConfig, GroupCoordinatorConfig, OwnSettings};
use crate::coordinator::transaction::{TransactionCoordinatorConfig, TransactionVersion};

const BACKLOG: &str = "socket.listen.backlog.size";

impl BrokerConfig {
    pub(super) fn read(reader: &Reader<'_>, settings: Settings) -> Result<Self, ConfigError> {
        let node_id = node_id(reader)?;
        check_cluster_of_one(reader, node_id)?;
        let (listeners, advertised_listeners) = listeners(reader)?;
        // Read through `resolve`, where a topic's settings are put together.
        for topic in topic_keys() {
            for (synonym, _) in super::broker_synonyms(topic.key) {
                reader.used(synonym);
            }
        }
        // Read where a group's own settings are checked.
        for setting in ["assignment.interval.ms", "heartbeat.interval.ms", "session.timeout.ms"] {
            for bound in ["min", "max"] {
                let key = super::broker_key(&format!("group.consumer.{bound}.{setting}"));
                key.into_iter().for_each(|key| reader.used(key.key));
            }
        }
        super::keys::AT_RUN_TIME.into_iter().for_each(|key| reader.used(key));
        let backlog = reader.int(BACKLOG)?;
        Ok(Self {
            cluster_id: None,
            node_id,
            rack: reader.text("broker.rack").map(str::to_owned),
            log_dirs: log_dirs(reader)?,
            metadata_log_dir: reader.text("metadata.log.dir").map(PathBuf::from),
            listeners,
            advertised_listeners,
            backlog: reader.is_given(BACKLOG).then_some(backlog),
            receive_buffer: usize::try_from(reader.int("socket.receive.buffer.bytes")?).ok(),
            send_buffer: usize::try_from(reader.int("socket.send.buffer.bytes")?).ok(),
            queued_max_requests: reader.size("queued.max.requests")?,
            queued_max_request_bytes: reader.integer("queued.max.request.bytes")?,
            serves_consumer_protocol: reader
                .list("group.coordinator.rebalance.protocols")
                .iter()
                .any(|name| name.eq_ignore_ascii_case("consumer")),
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
            groups: groups(reader)?,
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
                producer_id_expiration_ms: reader.integer("producer.id.expiration.ms")?,
                producer_id_expiration_check_interval_ms: reader.integer("producer.id.expiration.check.interval.ms")?,
                recovery_threads: reader.size("num.recovery.threads.per.data.dir")?,
            },
            log_cleaner_enable: reader.boolean("log.cleaner.enable")?,
            verification: VerificationConfig {
                is_enabled: reader.boolean("transaction.partition.verification.enable")?,
                add_retry_backoff: reader.duration("add.partitions.to.txn.retry.backoff.ms")?,
                add_retry_backoff_max: reader.duration("add.partitions.to.txn.retry.backoff.max.ms")?,
            },
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

/// The listeners, and those that clients are told of.
fn listeners(reader: &Reader<'_>) -> Result<(Vec<Listener>, Vec<Listener>), ConfigError> {
    let value = reader.text("listeners").unwrap_or_default();
    let map = reader.text("listener.security.protocol.map").unwrap_or_default();
    let controllers = reader.list("controller.listener.names");
    let is_controller = |name: &str| controllers.iter().any(|known| known.eq_ignore_ascii_case(name));
    let all = listener::parse_listeners("listeners", value)?;
    for listener in &all {
        listener::check_protocol(&listener.name, map, is_controller(&listener.name))?;
    }
    let listeners: Vec<Listener> = all.into_iter().filter(|l| !is_controller(&l.name)).collect();
    if listeners.is_empty() {
        return Err(ConfigError::new("listeners", value, "There must be at least one broker listener"));
    }
    if let Some(name) = reader.non_empty("inter.broker.listener.name")
        && !listeners.iter().any(|listener| listener.name.eq_ignore_ascii_case(name))
    {
        return Err(ConfigError::new("inter.broker.listener.name", name, format!("must be a listener of {value}")));
    }
    let Some(value) = reader.text("advertised.listeners") else { return Ok((listeners.clone(), listeners)) };
    let all = listener::parse_listeners("advertised.listeners", value)?;
    let advertised: Vec<Listener> = all.into_iter().filter(|l| !is_controller(&l.name)).collect();
    for listener in &advertised {
        if !listeners.iter().any(|l| l.name == listener.name) {
            let reason = format!("advertised listener {} is not in listeners", listener.name);
            return Err(ConfigError::new("advertised.listeners", value, reason));
        }
        if listener.host == "0.0.0.0" {
            let reason = "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0";
            return Err(ConfigError::new("advertised.listeners", value, reason));
        }
    }
    Ok((listeners, advertised))
}

fn groups(reader: &Reader<'_>) -> Result<GroupCoordinatorConfig, ConfigError> {
    Ok(GroupCoordinatorConfig {
        min_session_timeout_ms: reader.int("group.min.session.timeout.ms")?,
        max_session_timeout_ms: reader.int("group.max.session.timeout.ms")?,
        initial_rebalance_delay_ms: reader.int("group.initial.rebalance.delay.ms")?,
        max_size: reader.size("group.max.size")?,
        offset_metadata_max_bytes: reader.size("offset.metadata.max.bytes")?,
        offsets_retention_ms: reader.integer("offsets.retention.minutes")?.saturating_mul(60_000),
        offsets_retention_check_interval_ms: reader.integer("offsets.retention.check.interval.ms")?,
        offsets_topic_compression: compression(reader.int("offsets.topic.compression.codec")?)?,
        offsets_commit_timeout_ms: reader.integer("offsets.commit.timeout.ms")?,
        offsets_load_buffer_bytes: reader.size("offsets.load.buffer.size")?,
        consumer: ConsumerGroupConfig {
            session_timeout_ms: reader.int("group.consumer.session.timeout.ms")?,
            heartbeat_interval_ms: reader.int("group.consumer.heartbeat.interval.ms")?,
            max_size: reader.size("group.consumer.max.size")?,
            assignment_interval_ms: reader.int("group.consumer.assignment.interval.ms")?,
        },
        max_batch_bytes: reader.size("message.max.bytes")?,
        own: OwnSettings::default(),
    })
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

/// A codec by Kafka's number.
fn compression(codec: i32) -> Result<Compression, ConfigError> {
    Ok(match codec {
        0 => Compression::None,
        1 => Compression::Gzip,
        2 => Compression::Snappy,
        3 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => return Err(ConfigError::new("offsets.topic.compression.codec", codec, "must be 0 to 4")),
    })
}
