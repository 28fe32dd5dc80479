//! What a coordinator's state machine is: one partition of the coordinator's topic, folded from its records.
//!
//! A shard has no I/O, no clock and no lock. Operations change its state at once, as the replay of the records that
//! they leave in the [`Output`] will, and the runtime keeps the promise that follows from it: whatever an operation
//! answered is told to nobody before those records are committed. What the records do not hold (who waits, deadlines)
//! is gone when the partition is loaded again.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::wire::DecodeError;

use super::record::{RecordBytes, RecordError};

/// The time, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Of a clock that never goes back, ms: deadlines are counted by it.
    pub(crate) elapsed_ms: i64,
    /// Of the wall clock, ms since the epoch: what is written into records.
    pub(crate) timestamp_ms: i64,
}

/// Names a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ReplyToken(pub(crate) u64);

/// What an operation asks of the runtime.
#[derive(Debug)]
pub(crate) struct Output<R, E = Infallible> {
    /// To be appended in this order, as one batch unless `divisible`.
    pub(crate) records: Vec<RecordBytes>,
    /// Whether the records may be split over several batches.
    pub(crate) divisible: bool,
    /// Answers to requests that wait, also to those of earlier operations.
    pub(crate) replies: Vec<(ReplyToken, R)>,
    /// What is to be done outside of the shard when the records, and all before them, are committed. It is forgotten with
    /// the shard: one that is loaded has to ask for it again.
    pub(crate) effects: Vec<E>,
    /// Why a record of the operation cannot be written: nothing of it is, and the shard is loaded again.
    pub(crate) failure: Option<RecordError>,
}

impl<R, E> Default for Output<R, E> {
    fn default() -> Self {
        Self { records: Vec::new(), divisible: false, replies: Vec::new(), effects: Vec::new(), failure: None }
    }
}

/// The state machine of one partition of a coordinator's topic.
pub(crate) trait Shard: Sized + Send + 'static {
    /// The topic that the records are in.
    const TOPIC: &'static str;

    /// What all shards of a coordinator are set by.
    type Config: Send + Sync + 'static;
    /// A record of the topic that means something to the coordinator.
    type Record;
    /// The answer to a request that waits for more than its own records.
    type Reply: Send + 'static;
    /// What a shard may want done outside of it.
    type Effect: Send + 'static;

    /// Makes an empty shard; what it draws by lot comes from `seed`.
    fn new(config: &Arc<Self::Config>, seed: u64) -> Self;

    /// Reads a record; none if it is of a type that the coordinator does not serve.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for bytes that are not a record of a known type: the partition is not served then.
    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self::Record>, DecodeError>;

    /// Folds a record of the log into the state. `offset` grows from record to record; `producer_id` is that of the
    /// record's batch if the record belongs to a transaction, else -1.
    fn replay(&mut self, offset: i64, producer_id: i64, record: Self::Record);

    /// Folds the end of a producer's transaction into the state.
    fn replay_end_transaction(&mut self, producer_id: i64, committed: bool);

    /// Begins to serve after the log has been replayed: deadlines count from here.
    fn loaded(&mut self, now: Now);

    /// Returns the time by which [`Shard::expire`] has to be called, in ms of [`Now::elapsed_ms`].
    fn next_deadline(&self) -> Option<i64>;

    /// Does what is due.
    fn expire(&mut self, now: Now);

    /// Takes what the operations since the last call ask for.
    fn take_output(&mut self) -> Output<Self::Reply, Self::Effect>;
}
