use super::Compression;

/// Whose clock a batch's timestamps are from: Kafka's `message.timestamp.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// Each record has the timestamp that its producer gave it.
    #[default]
    CreateTime,
    /// All records have the time at which the broker appended the batch.
    LogAppendTime,
}

/// The attribute bits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(i16);

const COMPRESSION: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

impl Attributes {
    /// The attributes with these bits.
    pub fn from_bits(bits: i16) -> Self {
        Self(bits)
    }

    /// The bits.
    pub fn bits(self) -> i16 {
        self.0
    }

    /// Id of the codec that compressed the records, 0 to 7. Ids from 5 on name no codec.
    pub fn compression_id(self) -> u8 {
        (self.0 & COMPRESSION) as u8
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// Whether the records are Kafka's own (transaction markers, leader changes).
    pub fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// Whether the base timestamp is the time at which compaction may remove the tombstones and
    /// markers of the batch.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON != 0
    }

    /// The attributes with this codec.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !COMPRESSION | i16::from(compression.id()))
    }

    /// The attributes with timestamps of this type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    /// The attributes of a batch inside (or outside) a transaction.
    #[must_use]
    pub fn with_transactional(self, transactional: bool) -> Self {
        self.with(TRANSACTIONAL, transactional)
    }

    /// The attributes of a batch of control (or ordinary) records.
    #[must_use]
    pub fn with_control(self, control: bool) -> Self {
        self.with(CONTROL, control)
    }

    /// The attributes of a batch whose base timestamp is (or is not) its delete horizon.
    #[must_use]
    pub fn with_delete_horizon(self, delete_horizon: bool) -> Self {
        self.with(DELETE_HORIZON, delete_horizon)
    }

    fn with(self, flag: i16, set: bool) -> Self {
        if set { Self(self.0 | flag) } else { Self(self.0 & !flag) }
    }
}
