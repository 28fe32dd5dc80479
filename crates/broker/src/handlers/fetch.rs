//! Fetch (1), versions 4–18.
//!
//! Reads record batches as they lie in the log, partition by partition in the order of the
//! session, until `max_bytes`, a partition's own limit and `fetch.max.bytes` are used up. The first
//! batch is given whole even if it is larger, so that a consumer always comes forward. Where less
//! than `min_bytes` is there, the request waits up to `max_wait_ms` for the append that brings it.
//! Who reads committed records only gets what lies before the last stable offset, waits for that, and
//! is told which of the transactions in it were aborted; markers are given as they lie in the log.
//! Only this broker's consumers are served: there are no followers.
//!
//! Versions: 5 log start offset · 7 sessions (KIP-227) · 9 current leader epoch (KIP-320) · 11
//! racks (KIP-392) · 12 flexible, diverging epochs · 13 topic ids (KIP-516) · 15 replica state
//! (KIP-903) · 16 leaders' end points (KIP-951) · 17 directory ids (KIP-853) · 18 a follower's high
//! watermark (KIP-1166).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use vltava_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use vltava_protocol::messages::{FetchRequest, FetchResponse};
use vltava_protocol::wire::{Message, Records, Writer};
use vltava_protocol::{ErrorCode, Uuid};
use vltava_security::acl::AclOperation;

use crate::clock;
use crate::config::BrokerConfig;
use crate::fetch_session::FetchSessions;
use crate::fetch_session::{Answered, FetchKey, FetchTarget, Opened, SessionRef};
use crate::partition::{Isolation, Partition, ReadFailure};
use crate::partitions::Partitions;
use crate::request::RequestContext;
use crate::security::Resource;
use crate::waiting::FetchWaiter;
use parking_lot::Mutex;

/// The first version with topics by id.
const TOPIC_IDS_VERSION: i16 = 13;

pub(crate) async fn handle(
    config: &BrokerConfig,
    partitions: &Partitions,
    fetch_sessions: &Mutex<FetchSessions>,
    context: &RequestContext,
    request: &FetchRequest,
) -> FetchResponse {
    let uses_topic_ids = context.version >= TOPIC_IDS_VERSION;
    let session = SessionRef { id: request.session_id, epoch: request.session_epoch, uses_topic_ids };
    let changed = targets(request);
    let forgotten = forgotten(request);
    let opened = fetch_sessions.lock().open(session, changed, &forgotten, clock::wall_clock_ms());
    let (opened, targets) = match opened {
        Ok(opened) => opened,
        Err(error) => return FetchResponse { error_code: error.code(), ..FetchResponse::default() },
    };
    let fetch = Fetch::new(config, partitions, context, request, targets);
    let is_follower = fetch.is_follower;
    let reads = fetch.run(partitions, request).await;
    // Where there is nothing to fetch Kafka looks at the quotas, too.
    let size = || size(fetch_sessions, opened, context.version, &reads);
    if !is_follower && context.charge_fetch(size) {
        return empty(opened);
    }
    for read in &reads {
        if let (Some(partition), Some(records)) = (&read.partition, &read.data.records) {
            partition.metrics().sent(records.len());
        }
    }
    answer(fetch_sessions, opened, uses_topic_ids, reads)
}

/// What the request says of partitions, those it names: of one that it names twice, what it says last.
fn targets(request: &FetchRequest) -> Vec<(FetchKey, FetchTarget)> {
    let mut places: HashMap<(&str, Uuid, i32), usize> = HashMap::new();
    let mut targets: Vec<(FetchKey, FetchTarget)> = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = FetchKey { topic: topic.topic.clone(), topic_id: topic.topic_id, partition: partition.partition };
            let target = FetchTarget {
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
            };
            let place =
                *places.entry((topic.topic.as_str(), topic.topic_id, partition.partition)).or_insert(targets.len());
            match targets.get_mut(place) {
                Some(known) => known.1 = target,
                None => targets.push((key, target)),
            }
        }
    }
    targets
}

fn forgotten(request: &FetchRequest) -> Vec<FetchKey> {
    let partitions = request.forgotten_topics_data.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| FetchKey {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partition: *partition,
        })
    });
    partitions.collect()
}

/// A partition to read, found or not.
struct Wanted {
    key: FetchKey,
    target: FetchTarget,
    partition: Result<Arc<Partition>, ErrorCode>,
}

/// Refuses what the sender may not read. A follower may read all, or nothing.
fn refuse_unreadable(partitions: &Partitions, context: &RequestContext, is_follower: bool, wanted: &mut [Wanted]) {
    let may_follow = is_follower && context.may(AclOperation::ClusterAction, Resource::CLUSTER);
    let same_topic = |a: &Wanted, b: &Wanted| a.key.topic == b.key.topic && a.key.topic_id == b.key.topic_id;
    for of_topic in wanted.chunk_by_mut(same_topic) {
        let Some(Wanted { key, .. }) = of_topic.first() else { continue };
        let may_read = |name: &str| match is_follower {
            true => may_follow,
            false => context.may_each(AclOperation::Read, Resource::topic(name), of_topic.len()),
        };
        let is_refused = match context.version >= TOPIC_IDS_VERSION {
            false => !may_read(&key.topic),
            // That an id is not known is told to whoever asks.
            true => partitions.topic_by_id(key.topic_id).is_some_and(|topic| !may_read(topic.name())),
        };
        if is_refused {
            of_topic.iter_mut().for_each(|wanted| wanted.partition = Err(ErrorCode::TopicAuthorizationFailed));
        }
    }
}

/// A partition and what was read of it.
#[derive(Clone)]
struct Read {
    key: FetchKey,
    target: FetchTarget,
    data: PartitionData,
    is_diverging: bool,
    /// What was read, where it was found.
    partition: Option<Arc<Partition>>,
}

/// One round over the partitions.
struct Round {
    data: Vec<(PartitionData, bool)>,
    bytes: usize,
    is_final: bool,
}

struct Fetch {
    wanted: Vec<Wanted>,
    isolation: Isolation,
    max_bytes: usize,
    min_bytes: usize,
    version: i16,
    is_follower: bool,
}

impl Fetch {
    fn new(
        config: &BrokerConfig,
        partitions: &Partitions,
        context: &RequestContext,
        request: &FetchRequest,
        targets: Vec<(FetchKey, FetchTarget)>,
    ) -> Self {
        let is_follower = request.replica_id >= 0 || request.replica_state.replica_id >= 0;
        let uses_topic_ids = context.version >= TOPIC_IDS_VERSION;
        let find = |key: &FetchKey| {
            if uses_topic_ids {
                partitions.by_id(key.topic_id, key.partition)
            } else {
                partitions.by_name(&key.topic, key.partition)
            }
        };
        let of_quota = if is_follower { i32::MAX } else { context.most_bytes_fetched() };
        let max_bytes = request.max_bytes.min(config.fetch_max_bytes).min(of_quota).max(0);
        let mut wanted: Vec<Wanted> =
            targets.into_iter().map(|(key, target)| Wanted { partition: find(&key), key, target }).collect();
        if context.is_judged() {
            refuse_unreadable(partitions, context, is_follower, &mut wanted);
        }
        Self {
            wanted,
            isolation: Isolation::from_wire(request.isolation_level),
            max_bytes: usize::try_from(max_bytes).unwrap_or(0),
            min_bytes: usize::try_from(request.min_bytes.min(max_bytes)).unwrap_or(0),
            version: context.version,
            is_follower,
        }
    }

    /// Reads, and waits and reads again where too little is there.
    async fn run(self, partitions: &Partitions, request: &FetchRequest) -> Vec<Read> {
        let mut round = self.read();
        let wait = u64::try_from(request.max_wait_ms).unwrap_or(0);
        if !self.is_enough(&round) && wait > 0 {
            let deadline = Instant::now() + Duration::from_millis(wait);
            let waits = partitions.waits();
            while !self.is_enough(&round) {
                let missing = self.min_bytes.saturating_sub(round.bytes);
                let reads_committed = self.isolation == Isolation::ReadCommitted;
                let waiter = FetchWaiter::new(reads_committed, i64::try_from(missing).unwrap_or(i64::MAX));
                let parked = Parked::new(&self.wanted, &waiter);
                // What came between the reading and the parking wakes nobody.
                if !self.has_grown_since(&round) && timeout_at(deadline, waiter.woken()).await.is_err() {
                    waits.expired();
                    drop(parked);
                    round = self.read();
                    break;
                }
                drop(parked);
                round = self.read();
            }
        }
        let wanted = self.wanted.into_iter().zip(round.data);
        wanted
            .map(|(wanted, (data, is_diverging))| {
                let partition = wanted.partition.ok();
                Read { key: wanted.key, target: wanted.target, data, is_diverging, partition }
            })
            .collect()
    }

    fn is_enough(&self, round: &Round) -> bool {
        round.is_final || self.wanted.is_empty() || round.bytes >= self.min_bytes
    }

    fn has_grown_since(&self, round: &Round) -> bool {
        self.wanted.iter().zip(&round.data).any(|(wanted, (data, _))| match &wanted.partition {
            Ok(partition) => {
                let seen = match self.isolation {
                    Isolation::ReadCommitted => data.last_stable_offset,
                    Isolation::ReadUncommitted | Isolation::LogEnd => data.high_watermark,
                };
                partition.latest_offset(self.isolation).offset != seen || partition.is_gone()
            }
            Err(_) => false,
        })
    }

    fn read(&self) -> Round {
        let mut round = Round { data: Vec::with_capacity(self.wanted.len()), bytes: 0, is_final: false };
        let mut left = self.max_bytes;
        for wanted in &self.wanted {
            let limit = usize::try_from(wanted.target.max_bytes).unwrap_or(0).min(left);
            let is_first = round.bytes == 0;
            let mut data = PartitionData { partition_index: wanted.key.partition, ..PartitionData::default() };
            let mut is_diverging = false;
            let read = self.read_one(wanted, limit, is_first).and_then(|read| Ok((read.records()?, read)));
            match read {
                Ok((records, read)) => {
                    data.high_watermark = read.high_watermark;
                    data.last_stable_offset = read.last_stable_offset;
                    data.log_start_offset = read.log_start_offset;
                    data.aborted_transactions = read.aborted.map(|aborted| {
                        let told = aborted.into_iter().map(|(producer_id, first_offset)| AbortedTransaction {
                            producer_id,
                            first_offset,
                            ..AbortedTransaction::default()
                        });
                        told.collect()
                    });
                    if let Some((epoch, end_offset)) = read.diverging {
                        is_diverging = true;
                        data.diverging_epoch = EpochEndOffset { epoch, end_offset, ..EpochEndOffset::default() };
                    }
                    let size = records.len();
                    round.bytes += size;
                    left = left.saturating_sub(size);
                    data.records = Some(records);
                }
                Err(failure) => {
                    data.error_code = self.told(failure).code();
                    data.high_watermark = -1;
                    if wanted.partition.is_ok() {
                        data.aborted_transactions = None;
                    }
                    data.records = Some(Records::default());
                }
            }
            round.is_final |= is_diverging || data.error_code != 0;
            round.data.push((data, is_diverging));
        }
        round
    }

    fn read_one(
        &self,
        wanted: &Wanted,
        limit: usize,
        is_first: bool,
    ) -> Result<crate::partition::ReadData, ReadFailure> {
        if self.is_follower && wanted.partition.is_ok() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let partition = wanted.partition.as_ref().map_err(|code| *code)?;
        partition.check_leader_epoch(wanted.target.current_leader_epoch)?;
        let target = &wanted.target;
        let read = partition.read(target.fetch_offset, target.last_fetched_epoch, limit, is_first, self.isolation);
        partition.metrics().looked_at(read.as_ref().err().copied());
        read
    }

    /// Clients before version 6 do not know the code of a storage error.
    fn told(&self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::KafkaStorageError if self.version <= 5 => ErrorCode::NotLeaderOrFollower,
            code => code,
        }
    }
}

/// The places of a waiting fetch in its partitions, given up when dropped.
struct Parked<'a> {
    places: Vec<(&'a Arc<Partition>, u64)>,
}

impl<'a> Parked<'a> {
    fn new(wanted: &'a [Wanted], waiter: &Arc<FetchWaiter>) -> Self {
        let found = wanted.iter().filter_map(|wanted| wanted.partition.as_ref().ok());
        Self { places: found.map(|partition| (partition, partition.waiters().park(waiter))).collect() }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        for (partition, ticket) in &self.places {
            partition.waiters().leave(*ticket);
        }
    }
}

/// What a client is told that has to wait: nothing was read, and its session is as it was before.
fn empty(opened: Opened) -> FetchResponse {
    let session_id = match opened {
        Opened::Sessionless | Opened::Full => 0,
        Opened::Incremental(id) => id,
    };
    FetchResponse { session_id, ..FetchResponse::default() }
}

/// How long the answer will be, as Kafka counts it.
fn size(fetch_sessions: &Mutex<FetchSessions>, opened: Opened, version: i16, reads: &[Read]) -> usize {
    let told: Vec<Read> = match opened {
        Opened::Sessionless | Opened::Full => reads.to_vec(),
        Opened::Incremental(id) => {
            let sessions = fetch_sessions.lock();
            reads.iter().filter(|read| sessions.would_answer(id, &read.key, told(read))).cloned().collect()
        }
    };
    let response = FetchResponse { responses: by_topic(told), ..FetchResponse::default() };
    let mut writer = Writer::with_files();
    // What cannot be written is not sent either.
    if response.encode(&mut writer, version).is_err() {
        return 0;
    }
    LENGTH_BYTES + writer.into_parts().iter().map(Records::len).sum::<usize>()
}

/// Before an answer stands its length.
const LENGTH_BYTES: usize = 4;

fn told(read: &Read) -> Answered {
    Answered {
        records_bytes: read.data.records.as_ref().map_or(0, Records::len),
        high_watermark: read.data.high_watermark,
        log_start_offset: read.data.log_start_offset,
        failed: read.data.error_code != 0,
        diverging: read.is_diverging,
    }
}

fn answer(
    fetch_sessions: &Mutex<FetchSessions>,
    opened: Opened,
    uses_topic_ids: bool,
    reads: Vec<Read>,
) -> FetchResponse {
    let mut sessions = fetch_sessions.lock();
    let (session_id, reads) = match opened {
        Opened::Sessionless => (0, reads),
        Opened::Full => {
            let partitions: Vec<_> = reads.iter().map(|read| (read.key.clone(), read.target, told(read))).collect();
            (sessions.create(uses_topic_ids, &partitions, clock::wall_clock_ms()), reads)
        }
        Opened::Incremental(id) => {
            let news = reads.into_iter().filter(|read| sessions.answer(id, &read.key, told(read)));
            (id, news.collect())
        }
    };
    drop(sessions);
    FetchResponse { session_id, responses: by_topic(reads), ..FetchResponse::default() }
}

fn by_topic(reads: Vec<Read>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for read in reads {
        match topics.last_mut() {
            Some(last) if last.topic == read.key.topic && last.topic_id == read.key.topic_id => {
                last.partitions.push(read.data);
            }
            _ => topics.push(FetchableTopicResponse {
                topic: read.key.topic,
                topic_id: read.key.topic_id,
                partitions: vec![read.data],
                ..FetchableTopicResponse::default()
            }),
        }
    }
    topics
}
