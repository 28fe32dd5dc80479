//! The producer's configuration.

use std::sync::Arc;
use std::time::Duration;

use vltava_config::{ConfigError, ConfigWarning, Reader, Tables};
use vltava_protocol::record::{Codec, Compression};

use super::common::CommonConfig;
use super::definitions::{COMMON, PRODUCER, ROUND_ROBIN_CLASS};
use super::security::SECURITY;
use super::{client_config, setters};
use crate::metrics::ClientKind;

pub(super) const TABLES: Tables = &[COMMON, SECURITY, vltava_security::ssl::CLIENT, PRODUCER];

/// How many replicas must have a batch before it counts as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acks {
    /// None; the broker does not even answer, and the offsets of records are not known.
    None,
    /// The leader.
    Leader,
    /// Every replica in sync.
    All,
}

impl Acks {
    /// The number in the request: 0, 1 or -1.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// The producer's settings, checked.
///
/// ```
/// use std::time::Duration;
/// use vltava_client::ProducerConfig;
///
/// let by_builder = ProducerConfig::builder()
///     .bootstrap_servers("localhost:9092")
///     .linger(Duration::from_millis(20))
///     .build()?;
/// let by_keys = ProducerConfig::from_properties([("bootstrap.servers", "localhost:9092"), ("linger.ms", "20")])?;
/// assert_eq!(by_builder.linger(), by_keys.linger());
/// # Ok::<(), vltava_client::ClientError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    pub(crate) common: CommonConfig,
    pub(crate) acks: Acks,
    pub(crate) batch_size: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) codec: Codec,
    pub(crate) delivery_timeout: Duration,
    pub(crate) enable_idempotence: bool,
    pub(crate) linger: Duration,
    pub(crate) max_block: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) max_request_size: usize,
    pub(crate) metadata_max_idle: Duration,
    pub(crate) adaptive_partitioning: bool,
    pub(crate) partitioner_availability_timeout: Option<Duration>,
    pub(crate) partitioner_ignore_keys: bool,
    pub(crate) round_robin: bool,
    pub(crate) retries: u32,
    pub(crate) transaction_timeout: Duration,
    pub(crate) transactional_id: Option<Arc<str>>,
    warnings: Vec<ConfigWarning>,
}

impl ProducerConfig {
    pub(super) fn read(settings: &Reader<'_>) -> Result<Self, ConfigError> {
        let mut common = CommonConfig::read(settings, ClientKind::Producer)?;
        common.api_timeout = settings.duration("max.block.ms")?;
        let availability = settings.duration("partitioner.availability.timeout.ms")?;
        let mut config = Self {
            acks: match settings.required("acks")? {
                "0" => Acks::None,
                "1" => Acks::Leader,
                _ => Acks::All,
            },
            batch_size: settings.size("batch.size")?,
            buffer_memory: settings.size("buffer.memory")?,
            codec: codec(settings)?,
            delivery_timeout: settings.duration("delivery.timeout.ms")?,
            enable_idempotence: settings.boolean("enable.idempotence")?,
            linger: settings.duration("linger.ms")?,
            max_block: common.api_timeout,
            max_in_flight: settings.size("max.in.flight.requests.per.connection")?,
            max_request_size: settings.size("max.request.size")?,
            metadata_max_idle: settings.duration("metadata.max.idle.ms")?,
            adaptive_partitioning: settings.boolean("partitioner.adaptive.partitioning.enable")?,
            partitioner_availability_timeout: (!availability.is_zero()).then_some(availability),
            partitioner_ignore_keys: settings.boolean("partitioner.ignore.keys")?,
            round_robin: settings.text("partitioner.class").is_some_and(|class| class == ROUND_ROBIN_CLASS),
            retries: u32::try_from(settings.size("retries")?).unwrap_or(u32::MAX),
            transaction_timeout: settings.duration("transaction.timeout.ms")?,
            transactional_id: settings.text("transactional.id").map(Arc::from),
            common,
            warnings: settings.warnings(),
        };
        config.check_idempotence(settings)?;
        config.check_delivery_timeout(settings)?;
        Ok(config)
    }

    /// Idempotence is on unless other settings exclude it; it is an error only if both were asked for, by name or by what
    /// needs it: transactions.
    fn check_idempotence(&mut self, settings: &Reader<'_>) -> Result<(), ConfigError> {
        let needed_by =
            if self.transactional_id.is_some() { "`transactional.id`" } else { "`enable.idempotence` true" };
        if !self.enable_idempotence {
            return match self.transactional_id {
                Some(_) => {
                    Err(ConfigError::new("enable.idempotence", "false", format!("must be true with {needed_by}")))
                }
                None => Ok(()),
            };
        }
        let conflict = if self.retries == 0 {
            Some(("retries", "0".to_owned(), "must be > 0"))
        } else if self.acks != Acks::All {
            Some(("acks", self.acks.code().to_string(), "must be all"))
        } else if self.max_in_flight > 5 {
            Some(("max.in.flight.requests.per.connection", self.max_in_flight.to_string(), "must be at most 5"))
        } else {
            None
        };
        let is_needed = settings.is_given("enable.idempotence") || self.transactional_id.is_some();
        match conflict {
            Some((key, value, expected)) if is_needed || key.starts_with("max") => {
                Err(ConfigError::new(key, value, format!("{expected} with {needed_by}")))
            }
            Some((key, value, _)) => {
                tracing::info!("idempotence is off because `{key}` is {value}");
                self.enable_idempotence = false;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn check_delivery_timeout(&mut self, settings: &Reader<'_>) -> Result<(), ConfigError> {
        let least = self.linger.saturating_add(self.common.request_timeout);
        if self.delivery_timeout >= least {
            return Ok(());
        }
        if settings.is_given("delivery.timeout.ms") {
            let value = self.delivery_timeout.as_millis();
            let expected = format!("must be >= `linger.ms` + `request.timeout.ms` = {}", least.as_millis());
            return Err(ConfigError::new("delivery.timeout.ms", value, expected));
        }
        self.delivery_timeout = least;
        Ok(())
    }

    /// `linger.ms`.
    #[must_use]
    pub fn linger(&self) -> Duration {
        self.linger
    }

    /// `batch.size` in bytes.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// `buffer.memory` in bytes.
    #[must_use]
    pub fn buffer_memory(&self) -> usize {
        self.buffer_memory
    }

    /// Whether the producer is idempotent: `enable.idempotence`, unless `acks` or `retries` exclude it.
    #[must_use]
    pub fn enable_idempotence(&self) -> bool {
        self.enable_idempotence
    }

    /// `transactional.id`, if the producer sends in transactions.
    #[must_use]
    pub fn transactional_id(&self) -> Option<&str> {
        self.transactional_id.as_deref()
    }

    /// The same settings under another `transactional.id`, of a producer that [has](Self::transactional_id) one.
    #[must_use]
    pub fn with_transactional_id(mut self, id: &str) -> Self {
        self.transactional_id = self.transactional_id.map(|_| Arc::from(id));
        self
    }

    /// `transaction.timeout.ms`.
    #[must_use]
    pub fn transaction_timeout(&self) -> Duration {
        self.transaction_timeout
    }
}

fn codec(settings: &Reader<'_>) -> Result<Codec, ConfigError> {
    for key in ["compression.gzip.level", "compression.zstd.level"] {
        settings.used(key);
    }
    let (compression, level_key) = match settings.required("compression.type")? {
        "gzip" => (Compression::Gzip, Some("compression.gzip.level")),
        "snappy" => (Compression::Snappy, None),
        "lz4" => (Compression::Lz4, None),
        "zstd" => (Compression::Zstd, Some("compression.zstd.level")),
        _ => (Compression::None, None),
    };
    let Some(key) = level_key else { return Ok(Codec::from(compression)) };
    let level = settings.int(key)?;
    if compression == Compression::Gzip && level == -1 {
        return Ok(Codec::from(compression));
    }
    Codec::with_level(compression, level).map_err(|error| ConfigError::new(key, level, error.to_string()))
}

client_config!(ProducerConfig, ProducerConfigBuilder);

impl ProducerConfigBuilder {
    setters! {
        /// `linger.ms`, default 5 ms: how long a batch waits for more records. More time makes larger batches and adds
        /// as much latency.
        linger: duration = "linger.ms";
        /// `batch.size` in bytes, default 16384: upper size of a batch. Larger ones save requests, and cost this much
        /// memory per partition.
        batch_size: usize = "batch.size";
        /// `buffer.memory` in bytes, default 32 MiB: records that are not acknowledged; beyond it `send` waits.
        buffer_memory: usize = "buffer.memory";
        /// `max.request.size` in bytes, default 1 MiB: largest request, and so the largest record. With compression, a
        /// request is as large as its batches are expected to be by those before them.
        max_request_size: usize = "max.request.size";
        /// `max.block.ms`, default 60 s: how long `send` may wait for metadata or memory.
        max_block: duration = "max.block.ms";
        /// `delivery.timeout.ms`, default 2 min: a record not acknowledged this long after `send` fails.
        delivery_timeout: duration = "delivery.timeout.ms";
        /// `retries`, default 2147483647: how often a batch is sent again.
        retries: i32 = "retries";
        /// `enable.idempotence`, default true: no duplicates by retries.
        enable_idempotence: bool = "enable.idempotence";
        /// `max.in.flight.requests.per.connection`, default 5 (the most that idempotence allows).
        max_in_flight_requests_per_connection: usize = "max.in.flight.requests.per.connection";
        /// `partitioner.ignore.keys`, default false: spread records with a key like those without one.
        partitioner_ignore_keys: bool = "partitioner.ignore.keys";
        /// `transactional.id`, default none: the name under which the producer sends in
        /// [transactions](crate::Producer::begin_transaction). Unique among the producers that run at the same time, and the
        /// same again for the successor of one.
        transactional_id: string = "transactional.id";
        /// `transaction.timeout.ms`, default 60 s: a transaction that is open for longer is aborted by its coordinator, and
        /// its producer fenced. Readers of committed records wait as long behind a producer that died.
        transaction_timeout: duration = "transaction.timeout.ms";
    }

    /// `acks`, default [`Acks::All`].
    pub fn acks(self, acks: Acks) -> Self {
        self.set("acks", acks.code().to_string())
    }

    /// `compression.type`, default none: whole batches are compressed, at the producer's cost in CPU time.
    pub fn compression(self, compression: Compression) -> Self {
        self.set("compression.type", compression.name())
    }
}
