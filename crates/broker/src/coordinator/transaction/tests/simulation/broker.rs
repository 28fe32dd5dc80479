//! The broker: the coordinators of transactions and of groups, partitions, and the jobs that write markers.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use vltava_log::{TopicPartition, VerificationGuard};
use vltava_protocol::messages::TxnOffsetCommitRequest;
use vltava_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use vltava_protocol::record::{Compression, ProducerState, RecordBatchBuilder, RecordBatchHeader};
use vltava_protocol::{ErrorCode, Uuid};

use super::client::{Answer, Ask, IDS, Packet, Request, TIMEOUT_MS};
use super::truth::Truth;
use crate::coordinator::group::{GroupCoordinatorConfig, GroupCoordinatorShard, TopicMetadata};
use crate::coordinator::log::CoordinatorLog;
use crate::coordinator::memory_log::{Fault, MemoryLog};
use crate::coordinator::runtime::RuntimeConfig;
use crate::coordinator::runtime::by_hand::{ByHand, Commit, is_committed};
use crate::coordinator::shard::{Now, Shard};
use crate::coordinator::transaction::TransactionCoordinatorConfig;
use crate::coordinator::transaction::add_partitions::Producer;
use crate::coordinator::transaction::init_producer_id::InitProducerId;
use crate::coordinator::transaction::jobs::Jobs;
use crate::coordinator::transaction::metadata::TransactionMetadata;
use crate::coordinator::transaction::records::TransactionRecord;
use crate::coordinator::transaction::shard::{Attempt, Decided, TransactionEffect, TransactionShard};
use crate::partition::EndTransaction;

/// The partitions of `t`.
pub(super) const DATA_PARTITIONS: i32 = 3;
/// Where offsets are.
pub(super) const OFFSETS_PARTITION: (&str, i32) = ("__consumer_offsets", 0);
const GROUP: &str = "group";
/// The one partition of a coordinator.
const PARTITION: i32 = 0;
/// The feature of the cluster.
const VERSION: i16 = 2;

pub(super) struct Broker {
    pub(super) now: Now,
    pub(super) data: Arc<MemoryLog>,
    /// What has happened that is worth telling.
    pub(super) seen: Vec<&'static str>,
    state_log: Arc<MemoryLog>,
    offsets_log: Arc<MemoryLog>,
    config: Arc<TransactionCoordinatorConfig>,
    transactions: ByHand<TransactionShard>,
    groups: ByHand<GroupCoordinatorShard>,
    jobs: Jobs,
    running: Vec<Running>,
    /// What is told when it is committed.
    waiting: Vec<(Commit, Packet)>,
    told: Vec<Packet>,
    next_producer_id: i64,
}

/// A job under way.
struct Running {
    leader_epoch: i32,
    effect: TransactionEffect,
    step: Step,
}

enum Step {
    /// It has to ask whether the decision stands.
    Ask,
    /// It has asked, and waits until the answer is committed.
    Asked(Commit),
    Write {
        left: Vec<TopicPartition>,
        written: Vec<TopicPartition>,
    },
    /// A marker waits until it is committed.
    Committing {
        commit: Commit,
        at: TopicPartition,
        left: Vec<TopicPartition>,
        written: Vec<TopicPartition>,
    },
    Over,
}

/// What an operation of a coordinator came to, and what has to be committed before it is told.
type Outcome<T> = Result<(Result<T, ErrorCode>, Option<Commit>), ErrorCode>;

struct NoTopics;

impl TopicMetadata for NoTopics {
    fn version(&self) -> i64 {
        0
    }

    fn topic(&self, _: &str) -> Option<(Uuid, i32)> {
        None
    }

    fn name(&self, _: Uuid) -> Option<String> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

fn runtime_config() -> RuntimeConfig {
    RuntimeConfig {
        compression: Compression::None,
        max_batch_bytes: 1_000_000,
        load_buffer_bytes: 1_000_000,
        write_timeout_ms: 5_000,
    }
}

impl Broker {
    /// A broker with empty logs; or, with `is_old`, one whose ids have hardly any epochs left.
    pub(super) fn new(seed: u64, is_old: bool) -> Self {
        let (state_log, offsets_log) = (Arc::new(MemoryLog::default()), Arc::new(MemoryLog::default()));
        let config =
            TransactionCoordinatorConfig { abort_interval_ms: 1_000, ..TransactionCoordinatorConfig::default() };
        config.version.set(VERSION);
        let config = Arc::new(config);
        let now = Now { elapsed_ms: 0, timestamp_ms: 1_700_000_000_000 };
        let mut next_producer_id = 1_000;
        if is_old {
            for (id, left) in IDS.into_iter().zip([seed % 7, seed / 7 % 7]) {
                next_producer_id += 1;
                let mut metadata = TransactionMetadata::new(next_producer_id, TIMEOUT_MS, now.timestamp_ms);
                metadata.producer_epoch = i16::MAX - 1 - left as i16;
                let record = TransactionRecord { transactional_id: id.to_owned(), metadata: Some(metadata) };
                let bytes = record.encode(VERSION).unwrap();
                let mut builder = RecordBatchBuilder::new(Compression::None);
                builder.append(0, Some(&bytes.key), bytes.value.as_deref(), []).unwrap();
                let batch = builder.build().unwrap();
                state_log.append(PARTITION, 0, &batch, VerificationGuard::SENTINEL, 0).unwrap();
            }
        }
        let groups = Arc::new(GroupCoordinatorConfig::default());
        Self {
            now,
            data: Arc::new(MemoryLog::default()),
            seen: Vec::new(),
            transactions: ByHand::new(runtime_config(), config.clone(), state_log.clone()),
            groups: ByHand::new(runtime_config(), groups, offsets_log.clone()),
            state_log,
            offsets_log,
            config,
            jobs: Jobs::default(),
            running: Vec::new(),
            waiting: Vec::new(),
            told: Vec::new(),
            next_producer_id,
        }
    }

    /// Takes something that arrives.
    pub(super) fn take(&mut self, packet: Packet, truth: &mut Truth) {
        match packet {
            Packet::Request(request) => self.take_request(request),
            Packet::Append(request, guard) => self.append(request, guard, truth),
            Packet::Answer(_) => unreachable!("answers are for clients"),
        }
        self.gather();
    }

    fn take_request(&mut self, request: Request) {
        let producer = Producer { id: request.producer.0, epoch: request.producer.1 };
        let version = if request.bumps { VERSION } else { 0 };
        let id = request.id;
        match request.ask.clone() {
            Ask::Init { had } => {
                let init = InitProducerId {
                    transactional_id: id.to_owned(),
                    timeout_ms: TIMEOUT_MS,
                    had,
                    two_phase_commit: false,
                    keeps_prepared: false,
                };
                let outcome = self.attempt(|shard, now, fresh| shard.init_producer_id(now, &init, fresh));
                self.answer(request, outcome);
            }
            Ask::Add(partition) => {
                let partitions = BTreeSet::from([partition]);
                let add = |shard: &mut TransactionShard, now| shard.add_partitions(now, id, producer, &partitions, 0);
                let outcome = self.transactions.run(self.now, add);
                let outcome = outcome.map(|(result, commit)| (result.map(|()| (-1, -1)), commit));
                self.answer(request, outcome);
            }
            Ask::Produce { partition, .. } => {
                let log = self.data.clone();
                self.verify(request, &log, partition, TopicPartition::new("t", partition));
            }
            Ask::CommitOffset { .. } => {
                let log = self.offsets_log.clone();
                self.verify(request, &log, PARTITION, TopicPartition::new(OFFSETS_PARTITION.0, OFFSETS_PARTITION.1));
            }
            Ask::End { committed } => {
                let outcome = self.attempt(|shard, now, fresh| {
                    let ended = shard.end_transaction(now, id, producer, committed, version, fresh)?;
                    Ok(match ended {
                        Attempt::Done(producer) => Attempt::Done((producer.id, producer.epoch)),
                        Attempt::NeedsProducerId => Attempt::NeedsProducerId,
                    })
                });
                self.answer(request, outcome);
            }
        }
    }

    /// Runs an operation, and again with a producer id that nobody has if it needs one.
    fn attempt<T>(
        &mut self,
        operation: impl Fn(&mut TransactionShard, Now, Option<i64>) -> Result<Attempt<T>, ErrorCode>,
    ) -> Outcome<T> {
        let mut fresh = None;
        loop {
            let (result, commit) = self.transactions.run(self.now, |shard, now| operation(shard, now, fresh))?;
            match result {
                Ok(Attempt::Done(value)) => return Ok((Ok(value), commit)),
                Ok(Attempt::NeedsProducerId) => {
                    self.next_producer_id += 1;
                    fresh = Some(self.next_producer_id);
                    self.seen.push("epochs used up");
                }
                Err(error) => return Ok((Err(error), commit)),
            }
        }
    }

    /// Asks for the transaction of a batch, unless it is open in its partition.
    fn verify(&mut self, request: Request, log: &MemoryLog, partition: i32, at: TopicPartition) {
        let (producer_id, epoch) = request.producer;
        let guard =
            log.with_producers(partition, |producers| producers.start_verification(producer_id, epoch, request.bumps));
        let guard = match guard {
            Ok(Some(guard)) => guard,
            Ok(None) => return self.told.push(Packet::Append(request, None)),
            Err(error) => return self.told.push(Packet::Answer(Answer { request, result: Err(error) })),
        };
        let producer = Producer { id: producer_id, epoch };
        let (id, bumps, partitions) = (request.id, request.bumps, BTreeSet::from([at.clone()]));
        let asked = self.transactions.run(self.now, |shard, now| match bumps {
            true => shard.add_partitions(now, id, producer, &partitions, VERSION),
            false => match shard.verify_partitions(id, producer, &partitions)?.get(&at) {
                Some(error) => Err(*error),
                None => Ok(()),
            },
        });
        let (packet, commit) = match asked {
            Ok((Ok(()), commit)) => (Packet::Append(request, Some(guard)), commit),
            Ok((Err(error), commit)) => {
                let error = match error {
                    ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
                    error => error,
                };
                (Packet::Answer(Answer { request, result: Err(error) }), commit)
            }
            Err(_) => (Packet::Answer(Answer { request, result: Err(ErrorCode::NotEnoughReplicas) }), None),
        };
        self.tell(packet, commit);
    }

    /// Appends a batch whose transaction was asked for some time ago.
    fn append(&mut self, request: Request, guard: Option<u64>, truth: &mut Truth) {
        match request.ask.clone() {
            Ask::Produce { partition, batch, value, .. } => {
                let result = self.append_data(&request, guard, partition, &batch);
                if result == Ok(true) {
                    truth.appended(request.id, request.generation, value);
                }
                let result = result.map(|_| (-1, -1));
                self.told.push(Packet::Answer(Answer { request, result }));
            }
            Ask::CommitOffset { transaction } => {
                let outcome = self.append_offset(&request, guard, transaction);
                self.answer(request, outcome.map(|commit| (Ok((-1, -1)), commit)));
            }
            _ => unreachable!("nothing else is appended"),
        }
    }

    /// Gives whether the batch was not there yet.
    fn append_data(
        &mut self,
        request: &Request,
        guard: Option<u64>,
        partition: i32,
        batch: &Bytes,
    ) -> Result<bool, ErrorCode> {
        let (producer_id, epoch) = request.producer;
        let header = RecordBatchHeader::parse(batch).unwrap();
        let is_new = self.data.with_producers(partition, |producers| {
            let is_duplicate = producers.is_duplicate(&header);
            if is_duplicate == Ok(true) {
                return Ok(false);
            }
            producers.verify(producer_id, epoch, guard)?;
            is_duplicate.map(|_| true)
        })?;
        if is_new {
            self.data.append(partition, 0, batch, VerificationGuard::SENTINEL, 0)?;
        }
        Ok(is_new)
    }

    fn append_offset(
        &mut self,
        request: &Request,
        guard: Option<u64>,
        transaction: u64,
    ) -> Result<Option<Commit>, ErrorCode> {
        let (producer_id, epoch) = request.producer;
        self.offsets_log.with_producers(PARTITION, |producers| producers.verify(producer_id, epoch, guard))?;
        let commit = TxnOffsetCommitRequest {
            group_id: GROUP.to_owned(),
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: "t".to_owned(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: transaction as i32,
                    committed_offset: 1,
                    ..TxnOffsetCommitRequestPartition::default()
                }],
                ..TxnOffsetCommitRequestTopic::default()
            }],
            ..TxnOffsetCommitRequest::default()
        };
        let producer = ProducerState::transactional(producer_id, epoch, 0);
        let ((), committed) = self.groups.run_transactional(self.now, producer, |shard, now| {
            let (_, records) = shard.prepare_transactional_commit(now, &commit, &NoTopics).unwrap();
            ((), records)
        })?;
        Ok(committed)
    }

    fn answer(&mut self, request: Request, outcome: Outcome<(i64, i16)>) {
        match outcome {
            Ok((result, commit)) => self.tell(Packet::Answer(Answer { request, result }), commit),
            Err(error) => self.tell(Packet::Answer(Answer { request, result: Err(error) }), None),
        }
    }

    fn tell(&mut self, packet: Packet, commit: Option<Commit>) {
        match commit {
            Some(commit) => self.waiting.push((commit, packet)),
            None => self.told.push(packet),
        }
    }

    /// Gives what is committed by now, or will never be.
    pub(super) fn take_told(&mut self, truth: &mut Truth) -> Vec<Packet> {
        // What waited was answered before what need not wait.
        let at_once = std::mem::take(&mut self.told);
        for (mut commit, packet) in std::mem::take(&mut self.waiting) {
            match is_committed(&mut commit) {
                None => self.waiting.push((commit, packet)),
                Some(true) => self.told.push(packet),
                Some(false) => {
                    let (Packet::Answer(Answer { request, .. })
                    | Packet::Append(request, _)
                    | Packet::Request(request)) = packet;
                    let result = Err(ErrorCode::NotCoordinator);
                    self.told.push(Packet::Answer(Answer { request, result }));
                }
            }
        }
        let mut told = std::mem::take(&mut self.told);
        told.extend(at_once);
        for packet in &told {
            if let Packet::Answer(Answer { request, result: Ok(producer) }) = packet
                && let Ask::Init { .. } = request.ask
            {
                truth.give(request.id, *producer);
            }
        }
        told
    }

    /// Begins the jobs that are wanted.
    fn gather(&mut self) {
        for job in self.transactions.take_effects() {
            let begun = self.jobs.arrive(job);
            self.begin(begun);
        }
    }

    fn begin(&mut self, job: Option<(i32, TransactionEffect)>) {
        self.running.extend(job.map(|(leader_epoch, effect)| Running { leader_epoch, effect, step: Step::Ask }));
    }

    /// Does one step of a job.
    pub(super) fn work(&mut self, random: &mut fastrand::Rng, is_reliable: bool) {
        if self.running.is_empty() {
            return;
        }
        let at = random.usize(..self.running.len());
        let mut running = self.running.swap_remove(at);
        let fails = !is_reliable && random.u32(..10) == 0;
        running.step = match &running.effect {
            TransactionEffect::WriteMarkers(decided) => {
                let decided = decided.clone();
                self.write(random, &decided, running.leader_epoch, running.step, fails)
            }
            TransactionEffect::AbortTimedOut { transactional_id, producer_id, producer_epoch } => {
                self.next_producer_id += 1;
                let (id, producer, fresh) = (transactional_id, (*producer_id, *producer_epoch), self.next_producer_id);
                let abort = |shard: &mut TransactionShard, now| shard.abort_timed_out_with(now, id, producer, fresh);
                // The next look finds it again.
                let _ = self.transactions.run(self.now, abort);
                self.seen.push("epochs used up");
                Step::Over
            }
        };
        match running.step {
            Step::Over => {
                let next = self.jobs.finish(running.effect.transactional_id());
                self.begin(next);
            }
            _ => self.running.push(running),
        }
        self.gather();
    }

    fn write(
        &mut self,
        random: &mut fastrand::Rng,
        decided: &Decided,
        leader_epoch: i32,
        step: Step,
        fails: bool,
    ) -> Step {
        let begin = || Step::Write { left: decided.partitions.clone(), written: Vec::new() };
        match step {
            Step::Ask => match self.transactions.run(self.now, |shard, _| shard.is_decided(decided)) {
                Ok((true, None)) => begin(),
                Ok((true, Some(commit))) => Step::Asked(commit),
                Ok((false, _)) | Err(_) => Step::Over,
            },
            Step::Asked(mut commit) => match is_committed(&mut commit) {
                None => Step::Asked(commit),
                Some(true) => begin(),
                Some(false) => Step::Over,
            },
            Step::Write { left, written } if left.is_empty() => {
                let noted = |shard: &mut TransactionShard, now| shard.markers_written(now, decided, &written);
                // A shard that is loaded asks again.
                let _ = self.transactions.run(self.now, noted);
                Step::Over
            }
            Step::Write { mut left, mut written } => {
                let at = left.swap_remove(random.usize(..left.len()));
                if fails {
                    self.seen.push("marker failed");
                    return Step::Write { left, written };
                }
                self.check_decision(decided);
                match self.write_marker(decided, leader_epoch, &at) {
                    Ok(Some(commit)) => return Step::Committing { commit, at, left, written },
                    Ok(None) | Err(ErrorCode::InvalidProducerEpoch) => written.push(at),
                    Err(_) => {}
                }
                Step::Write { left, written }
            }
            Step::Committing { mut commit, at, left, mut written } => match is_committed(&mut commit) {
                None => Step::Committing { commit, at, left, written },
                Some(true) => {
                    written.push(at);
                    Step::Write { left, written }
                }
                Some(false) => Step::Write { left, written },
            },
            Step::Over => Step::Over,
        }
    }

    fn write_marker(
        &mut self,
        decided: &Decided,
        leader_epoch: i32,
        at: &TopicPartition,
    ) -> Result<Option<Commit>, ErrorCode> {
        let end = EndTransaction {
            producer_id: decided.producer_id,
            producer_epoch: decided.producer_epoch,
            coordinator_epoch: leader_epoch,
            committed: decided.committed,
            transaction_version: decided.transaction_version,
        };
        if &*at.topic == OFFSETS_PARTITION.0 {
            return self.groups.end_transaction(self.now, &end).map(|((), commit)| commit);
        }
        self.data.end_transaction(at.partition, 0, &end, 0).map(|_| None)
    }

    /// A marker may be written only of what its coordinator's log says last, and that is committed.
    fn check_decision(&self, decided: &Decided) {
        let committed = self.state_log.high_watermark(PARTITION);
        let records = self.state_log.records(PARTITION).into_iter().filter(|(offset, _, _)| *offset < committed);
        let records = records.map(|(_, key, value)| TransactionRecord::decode(key, value).unwrap().unwrap());
        let last = records.filter(|record| *record.transactional_id == *decided.transactional_id).last();
        let metadata = last.and_then(|record| record.metadata).expect("a decision is in the log");
        assert_eq!(metadata.state.decision(), Some(decided.committed), "{decided:?} is not what was decided");
        assert_eq!((metadata.producer_id, metadata.producer_epoch), (decided.producer_id, decided.producer_epoch));
    }

    /// Lets time pass, with every deadline at its time.
    pub(super) fn pass(&mut self, ms: i64) {
        let end = self.now.elapsed_ms + ms;
        loop {
            let deadlines = [self.transactions.next_deadline(), self.groups.next_deadline()];
            let Some(deadline) = deadlines.into_iter().flatten().min().filter(|deadline| *deadline <= end) else {
                break;
            };
            self.set_clock(deadline.max(self.now.elapsed_ms));
            let before = self.state_log.end(PARTITION);
            self.transactions.advance(self.now);
            self.groups.advance(self.now);
            if self.state_log.end(PARTITION) > before {
                self.seen.push("timed out");
            }
        }
        self.set_clock(end);
        self.gather();
    }

    fn set_clock(&mut self, elapsed_ms: i64) {
        self.now.timestamp_ms += elapsed_ms - self.now.elapsed_ms;
        self.now.elapsed_ms = elapsed_ms;
    }

    pub(super) fn load(&mut self) {
        self.transactions.load(self.now);
        self.groups.load(self.now);
        self.gather();
    }

    /// A log comes forward with its high watermark, or falls behind from now on.
    pub(super) fn commit_some(&mut self, random: &mut fastrand::Rng) {
        let log = if random.bool() { self.state_log.clone() } else { self.offsets_log.clone() };
        if random.u32(..3) == 0 {
            log.set_slow(random.bool());
        }
        let end = log.end(PARTITION);
        log.commit(PARTITION, random.i64(0..=end));
        self.advance();
    }

    pub(super) fn commit_all(&mut self) {
        self.state_log.commit(PARTITION, i64::MAX);
        self.offsets_log.commit(PARTITION, i64::MAX);
        self.advance();
    }

    fn advance(&mut self) {
        self.transactions.advance(self.now);
        self.groups.advance(self.now);
        self.gather();
    }

    /// The next appends of a coordinator fail.
    pub(super) fn fail_or_not(&mut self, random: &mut fastrand::Rng) {
        let log = if random.bool() { &self.state_log } else { &self.offsets_log };
        let error = ErrorCode::KafkaStorageError;
        log.fail(Some(if random.bool() { Fault::Refused(error) } else { Fault::Written(error) }));
        self.seen.push("append failed");
    }

    pub(super) fn repair(&mut self) {
        self.state_log.fail(None);
        self.offsets_log.fail(None);
    }

    /// A coordinator's partition has another leader, which had nothing that was not committed.
    pub(super) fn depose(&mut self, random: &mut fastrand::Rng) {
        let log = if random.bool() { &self.state_log } else { &self.offsets_log };
        log.depose(PARTITION);
        self.advance();
    }

    /// The process dies and another begins.
    pub(super) fn die(&mut self) {
        self.transactions.restart();
        self.groups.restart();
        self.jobs = Jobs::default();
        self.running.clear();
        self.waiting.clear();
        self.told.clear();
        for partition in 0..DATA_PARTITIONS {
            self.data.with_producers(partition, |producers| producers.forget_questions());
        }
        self.offsets_log.with_producers(PARTITION, |producers| producers.forget_questions());
    }

    /// Does all jobs to their end.
    pub(super) fn work_off(&mut self, random: &mut fastrand::Rng) {
        self.state_log.set_slow(false);
        self.offsets_log.set_slow(false);
        for _ in 0..10_000 {
            if self.running.is_empty() {
                return;
            }
            self.work(random, true);
        }
        panic!("the jobs never end");
    }

    /// Asserts that the state is what a replay of the log alone gives.
    pub(super) fn check_replay(&mut self) {
        let Some(shard) = self.transactions.shard() else { return };
        let mut replayed = TransactionShard::new(&self.config, 0);
        for (offset, key, value) in self.state_log.records(PARTITION) {
            replayed.replay(offset, -1, TransactionShard::decode(key, value).unwrap().unwrap());
        }
        let states = |shard: &TransactionShard| {
            let states = shard.transactions.iter().map(|(id, transaction)| {
                // Kafka's records do not hold it.
                (id.clone(), TransactionMetadata { last_producer_epoch: -1, ..transaction.metadata.clone() })
            });
            states.collect::<Vec<_>>()
        };
        assert_eq!(states(shard), states(&replayed), "the shard is not what its log says");
    }

    /// Asserts that nothing is open any more.
    pub(super) fn check_rest(&mut self) {
        let shard = self.transactions.shard().expect("a shard that can be loaded");
        for (id, transaction) in &shard.transactions {
            assert!(transaction.metadata.state.is_at_rest(), "{id} is {transaction:?}");
        }
        let open =
            |log: &MemoryLog, partition| log.with_producers(partition, |producers| producers.first_unstable_offset());
        for partition in 0..DATA_PARTITIONS {
            assert_eq!(open(&self.data, partition), None, "a transaction hangs in {partition}");
        }
        assert_eq!(open(&self.offsets_log, PARTITION), None, "a transaction hangs among the offsets");
    }

    /// The transactions whose offset counts.
    pub(super) fn offsets(&mut self) -> BTreeSet<u64> {
        let shard = self.groups.shard().expect("a shard that can be loaded");
        let topics = shard.fetch_offsets(GROUP, None, true);
        let partitions = topics.into_iter().flat_map(|topic| topic.partitions);
        let found = partitions.map(|partition| {
            assert_eq!(partition.error_code, 0, "an offset is pending");
            partition.partition_index as u64
        });
        found.collect()
    }
}
