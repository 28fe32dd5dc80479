//! The consumer's configuration.

use std::time::Duration;

use vltava_config::{ConfigError, ConfigWarning, Reader, Tables};

use super::common::CommonConfig;
use super::definitions::{COMMON, CONSUMER};
use super::security::SECURITY;
use super::{client_config, setters};
use crate::metrics::ClientKind;

pub(super) const TABLES: Tables = &[COMMON, SECURITY, vltava_security::ssl::CLIENT, CONSUMER];

/// Where to read from without a committed offset, or if that offset does not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutoOffsetReset {
    /// From the first record there is.
    Earliest,
    /// Only records that come from now on.
    Latest,
    /// An error to the caller.
    None,
    /// From the first record that is at most this old (KIP-1106).
    ByDuration(Duration),
}

impl AutoOffsetReset {
    /// Kafka's spelling: `earliest`, `latest`, `none`, `by_duration:PnDTnHnMn.nS`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            "none" => Some(Self::None),
            other => other.strip_prefix("by_duration:").and_then(iso_duration).map(Self::ByDuration),
        }
    }
}

/// An ISO 8601 duration of days, hours, minutes and seconds, as Java's `Duration.parse` reads them; none that is negative.
fn iso_duration(text: &str) -> Option<Duration> {
    let upper = text.to_ascii_uppercase();
    let (days, time) = match upper.strip_prefix('P')?.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days.to_owned(), time.to_owned()),
        Some(_) => return None,
        None => (upper.strip_prefix('P')?.to_owned(), String::new()),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut seconds = 0f64;
    let mut rest = days.as_str();
    if !rest.is_empty() {
        seconds += rest.strip_suffix('D')?.parse::<u32>().ok().map(f64::from)? * 86_400.0;
    }
    rest = time.as_str();
    for (unit, factor) in [('H', 3600.0), ('M', 60.0)] {
        if let Some((number, after)) = rest.split_once(unit) {
            seconds += number.parse::<u32>().ok().map(f64::from)? * factor;
            rest = after;
        }
    }
    if !rest.is_empty() {
        let number: f64 = rest.strip_suffix('S')?.parse().ok()?;
        seconds += number;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Whether records of open and aborted transactions are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationLevel {
    /// All records.
    ReadUncommitted,
    /// Only records outside of transactions or of committed ones.
    ReadCommitted,
}

impl IsolationLevel {
    /// The number in requests: 0 or 1.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// How the members of a group come to their partitions: the values of Kafka's `group.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// One of the members assigns partitions to all.
    Classic,
    /// The coordinator assigns, and members take over one step after the other while the others go on (KIP-848).
    Consumer,
}

impl GroupProtocol {
    /// Kafka's name, as its error messages write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "CLASSIC",
            Self::Consumer => "CONSUMER",
        }
    }

    /// The settings that mean nothing under this protocol, in Kafka's order. Giving one is an error.
    const fn excluded(self) -> &'static [&'static str] {
        match self {
            Self::Classic => &["group.remote.assignor", "share.acknowledgement.mode", "share.acquire.mode"],
            Self::Consumer => &[
                "partition.assignment.strategy",
                "heartbeat.interval.ms",
                "session.timeout.ms",
                "share.acknowledgement.mode",
                "share.acquire.mode",
            ],
        }
    }
}

/// The consumer's settings, checked.
///
/// ```
/// use vltava_client::ConsumerConfig;
///
/// let config = ConsumerConfig::from_properties([
///     ("bootstrap.servers", "localhost:9092"),
///     ("group.id", "billing"),
///     ("auto.offset.reset", "earliest"),
/// ])?;
/// assert!(config.warnings().is_empty());
/// # Ok::<(), vltava_client::ClientError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    pub(crate) common: CommonConfig,
    pub(crate) allow_auto_create_topics: bool,
    pub(crate) auto_commit_interval: Duration,
    pub(crate) auto_offset_reset: AutoOffsetReset,
    pub(crate) check_crcs: bool,
    pub(crate) client_rack: String,
    pub(crate) enable_auto_commit: bool,
    pub(crate) exclude_internal_topics: bool,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) fetch_max_wait: Duration,
    pub(crate) fetch_min_bytes: i32,
    pub(crate) group_id: Option<String>,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) group_protocol: GroupProtocol,
    pub(crate) group_remote_assignor: Option<String>,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) isolation_level: IsolationLevel,
    pub(crate) max_decompressed_batch_bytes: usize,
    pub(crate) max_partition_fetch_bytes: i32,
    pub(crate) max_poll_interval: Duration,
    pub(crate) max_poll_records: usize,
    /// As given: Kafka's class names or short names.
    pub(crate) partition_assignment_strategy: Vec<String>,
    pub(crate) session_timeout: Duration,
    warnings: Vec<ConfigWarning>,
}

impl ConsumerConfig {
    pub(super) fn read(settings: &Reader<'_>) -> Result<Self, ConfigError> {
        let mut common = CommonConfig::read(settings, ClientKind::Consumer)?;
        common.api_timeout = settings.duration("default.api.timeout.ms")?;
        let reset = settings.required("auto.offset.reset")?;
        let group_id = settings.text("group.id").filter(|id| !id.is_empty()).map(str::to_owned);
        let config = Self {
            common,
            allow_auto_create_topics: settings.boolean("allow.auto.create.topics")?,
            auto_commit_interval: settings.duration("auto.commit.interval.ms")?,
            auto_offset_reset: AutoOffsetReset::parse(reset)
                .ok_or_else(|| ConfigError::new("auto.offset.reset", reset, "must be earliest, latest or none"))?,
            check_crcs: settings.boolean("check.crcs")?,
            client_rack: settings.text("client.rack").unwrap_or_default().to_owned(),
            // Without a group there is nowhere to commit to.
            enable_auto_commit: settings.boolean("enable.auto.commit")? && group_id.is_some(),
            exclude_internal_topics: settings.boolean("exclude.internal.topics")?,
            fetch_max_bytes: settings.int("fetch.max.bytes")?,
            fetch_max_wait: settings.duration("fetch.max.wait.ms")?,
            fetch_min_bytes: settings.int("fetch.min.bytes")?,
            group_instance_id: settings.text("group.instance.id").map(str::to_owned),
            group_protocol: match settings.required("group.protocol")? {
                name if name.eq_ignore_ascii_case("consumer") => GroupProtocol::Consumer,
                _ => GroupProtocol::Classic,
            },
            group_remote_assignor: settings.non_empty("group.remote.assignor").map(str::to_owned),
            heartbeat_interval: settings.duration("heartbeat.interval.ms")?,
            isolation_level: match settings.required("isolation.level")? {
                "read_committed" => IsolationLevel::ReadCommitted,
                _ => IsolationLevel::ReadUncommitted,
            },
            max_decompressed_batch_bytes: settings.size("max.decompressed.batch.bytes")?,
            max_partition_fetch_bytes: settings.int("max.partition.fetch.bytes")?,
            max_poll_interval: settings.duration("max.poll.interval.ms")?,
            max_poll_records: settings.size("max.poll.records")?,
            partition_assignment_strategy: settings.list("partition.assignment.strategy"),
            session_timeout: settings.duration("session.timeout.ms")?,
            group_id,
            warnings: settings.warnings(),
        };
        config.check_conflicts(settings)?;
        Ok(config)
    }

    fn check_conflicts(&self, settings: &Reader<'_>) -> Result<(), ConfigError> {
        if self.group_id.is_none()
            && settings.is_given("enable.auto.commit")
            && settings.boolean("enable.auto.commit")?
        {
            return Err(ConfigError::new("enable.auto.commit", "true", "must be false without a `group.id`"));
        }
        self.check_protocol(settings)?;
        if self.heartbeat_interval >= self.session_timeout {
            let value = self.heartbeat_interval.as_millis();
            let expected = format!("must be less than `session.timeout.ms` {}", self.session_timeout.as_millis());
            return Err(ConfigError::new("heartbeat.interval.ms", value, expected));
        }
        if self.common.request_timeout <= self.fetch_max_wait {
            let value = self.fetch_max_wait.as_millis();
            let expected =
                format!("must be less than `request.timeout.ms` {}", self.common.request_timeout.as_millis());
            return Err(ConfigError::new("fetch.max.wait.ms", value, expected));
        }
        Ok(())
    }

    /// Refuses what the group protocol makes meaningless, in Kafka's words.
    fn check_protocol(&self, settings: &Reader<'_>) -> Result<(), ConfigError> {
        let protocol = self.group_protocol;
        let is_set = |key: &&&'static str| {
            settings.is_given(key) && settings.text(key).is_some_and(|value| !value.trim().is_empty())
        };
        let set: Vec<&'static str> = protocol.excluded().iter().filter(is_set).copied().collect();
        if let Some(first) = set.first() {
            let expected = format!("{} cannot be set when group.protocol={}", set.join(", "), protocol.name());
            return Err(ConfigError::new(*first, settings.text(first).unwrap_or_default(), expected));
        }
        let is_blank = settings.text("group.id").is_some_and(|id| id.trim().is_empty());
        if protocol == GroupProtocol::Consumer && is_blank {
            let expected = "the configured group.id should not be an empty string or whitespace";
            return Err(ConfigError::new("group.id", "", expected));
        }
        Ok(())
    }

    /// `group.protocol`.
    #[must_use]
    pub fn group_protocol(&self) -> GroupProtocol {
        self.group_protocol
    }

    /// `group.id`, if there is one.
    #[must_use]
    pub fn group_id(&self) -> Option<&str> {
        self.group_id.as_deref()
    }

    /// `group.instance.id`.
    #[must_use]
    pub fn group_instance_id(&self) -> Option<&str> {
        self.group_instance_id.as_deref()
    }

    /// The same settings under another `group.instance.id`.
    #[must_use]
    pub fn with_group_instance_id(mut self, id: impl Into<String>) -> Self {
        self.group_instance_id = Some(id.into());
        self
    }

    /// `session.timeout.ms`.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    /// `max.poll.interval.ms`.
    #[must_use]
    pub fn max_poll_interval(&self) -> Duration {
        self.max_poll_interval
    }
}

client_config!(ConsumerConfig, ConsumerConfigBuilder);

impl ConsumerConfigBuilder {
    setters! {
        /// `group.id`: the group that this consumer belongs to. Needed to subscribe and to commit.
        group_id: string = "group.id";
        /// `group.instance.id`: a name of this member that outlives restarts (static membership, KIP-345).
        group_instance_id: string = "group.instance.id";
        /// `group.remote.assignor`, default none: with [`GroupProtocol::Consumer`], the assignor that the coordinator uses
        /// for the group.
        group_remote_assignor: string = "group.remote.assignor";
        /// `client.rack`, default none: brokers may name a replica nearby to read from (KIP-392).
        client_rack: string = "client.rack";
        /// `partition.assignment.strategy`, default range and cooperative-sticky: assignors that the member offers its
        /// group, by class or short name, separated by commas.
        partition_assignment_strategy: string = "partition.assignment.strategy";
        /// `enable.auto.commit`, default true with a group: commit offsets in the background.
        enable_auto_commit: bool = "enable.auto.commit";
        /// `auto.commit.interval.ms`, default 5 s.
        auto_commit_interval: duration = "auto.commit.interval.ms";
        /// `session.timeout.ms`, default 45 s: a member without a heartbeat for this long is removed from its group.
        session_timeout: duration = "session.timeout.ms";
        /// `heartbeat.interval.ms`, default 3 s.
        heartbeat_interval: duration = "heartbeat.interval.ms";
        /// `max.poll.interval.ms`, default 5 min: a member that does not poll for this long leaves its group.
        max_poll_interval: duration = "max.poll.interval.ms";
        /// `max.poll.records`, default 500: most records that one poll returns.
        max_poll_records: usize = "max.poll.records";
        /// `fetch.min.bytes`, default 1: how many bytes the broker waits for before it answers. More saves requests and
        /// costs latency, up to `fetch.max.wait.ms`.
        fetch_min_bytes: i32 = "fetch.min.bytes";
        /// `fetch.max.bytes`, default 50 MiB: upper size of one answer, and of the memory per broker.
        fetch_max_bytes: i32 = "fetch.max.bytes";
        /// `fetch.max.wait.ms`, default 500 ms: how long the broker may wait for `fetch.min.bytes`.
        fetch_max_wait: duration = "fetch.max.wait.ms";
        /// `max.partition.fetch.bytes`, default 1 MiB: upper size of one partition's part in an answer. A consumer asks
        /// for 256 KiB at first, and for more where it keeps waiting for a broker that is far away.
        max_partition_fetch_bytes: i32 = "max.partition.fetch.bytes";
        /// `max.decompressed.batch.bytes`, default 128 MiB, not a key of Kafka: most bytes that one batch may decompress
        /// to, which takes as much memory. A larger one is
        /// [`ClientError::DecompressedBatchTooLarge`](crate::ClientError::DecompressedBatchTooLarge).
        max_decompressed_batch_bytes: i32 = "max.decompressed.batch.bytes";
        /// `check.crcs`, default true: verify the checksums of batches.
        check_crcs: bool = "check.crcs";
        /// `allow.auto.create.topics`, default true.
        allow_auto_create_topics: bool = "allow.auto.create.topics";
        /// `default.api.timeout.ms`, default 60 s: how long a call without a time limit of its own may take.
        default_api_timeout: duration = "default.api.timeout.ms";
    }

    /// `group.protocol`, default [`GroupProtocol::Classic`].
    pub fn group_protocol(self, protocol: GroupProtocol) -> Self {
        self.set("group.protocol", protocol.name().to_lowercase())
    }

    /// `auto.offset.reset`, default [`AutoOffsetReset::Latest`].
    pub fn auto_offset_reset(self, reset: AutoOffsetReset) -> Self {
        let value = match reset {
            AutoOffsetReset::Earliest => "earliest".to_owned(),
            AutoOffsetReset::Latest => "latest".to_owned(),
            AutoOffsetReset::None => "none".to_owned(),
            AutoOffsetReset::ByDuration(age) => format!("by_duration:PT{}S", age.as_secs_f64()),
        };
        self.set("auto.offset.reset", value)
    }

    /// `isolation.level`, default [`IsolationLevel::ReadUncommitted`].
    pub fn isolation_level(self, level: IsolationLevel) -> Self {
        self.set(
            "isolation.level",
            match level {
                IsolationLevel::ReadUncommitted => "read_uncommitted",
                IsolationLevel::ReadCommitted => "read_committed",
            },
        )
    }
}
