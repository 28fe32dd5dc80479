//! A cluster in memory: leaders, logs, sequence checks, and a network that loses and delays.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Codec, Compression, Decompressor, RecordBatch, increment_sequence};

use crate::config::Acks;
use crate::error::ClientError;
use crate::producer::accumulator::{Accumulator, AccumulatorSettings, Appended, PartitionQueue};
use crate::producer::observe::{ByDelivery, ByFlush};
use crate::producer::sender::{Effect, Identity, Leader, Leaders, Part, PartitionOutcome, Sender, SenderSettings};
use crate::producer::{Delivery, ProducerRecord, RecordMetadata};

pub(super) const TOPIC: &str = "t";
/// The topic whose records are held back: its partitions follow those of the other one in all lists.
pub(super) const STATE: &str = "state";

/// What the network or the broker does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All goes well.
    Fine,
    /// The request does not arrive.
    Lost,
    /// It arrives and is written; the answer does not come back.
    AnswerLost,
    /// The broker refuses every batch with this code, and writes nothing.
    Refused(ErrorCode),
    /// It refuses the batch of this partition, and writes the others.
    RefusedOne(usize, ErrorCode),
}

/// What a broker remembers of a producer, per partition.
#[derive(Debug, Default)]
struct ProducerEntry {
    epoch: i16,
    /// First and last sequence and offset of the last five batches.
    batches: VecDeque<(i32, i32, i64)>,
}

/// One partition's log: the values in the order in which they were written.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) values: Vec<Vec<u8>>,
    producers: BTreeMap<i64, ProducerEntry>,
}

#[derive(Debug)]
pub(super) struct Brokers {
    pub(super) logs: Vec<Log>,
    pub(super) leaders: Vec<Leader>,
    pub(super) max_batch: usize,
    /// Whether a producer without state has to begin with 0, as brokers before 2.4 demand; Kafka takes any number.
    pub(super) refuses_unknown: bool,
    next_producer: i64,
    /// How many partitions the first topic has.
    first_state: usize,
    /// What was written, in the order in which it was.
    pub(super) arrivals: Vec<Arrival>,
}

/// A record that was written.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) node: i32,
    pub(super) request: u64,
    pub(super) partition: usize,
    pub(super) value: String,
}

impl Leaders for Brokers {
    fn leader(&self, topic: &str, partition: i32) -> Leader {
        self.leaders[self.index(topic, partition)]
    }
}

impl Brokers {
    pub(super) fn index(&self, topic: &str, partition: i32) -> usize {
        partition as usize + if topic == STATE { self.first_state } else { 0 }
    }

    /// Writes a part of a request that arrived, and remembers what came with it.
    fn arrive(&mut self, node: i32, request: u64, part: &Part) -> PartitionOutcome {
        let partition = self.index(&part.topic, part.partition);
        let before = self.logs[partition].values.len();
        let outcome = self.write(part);
        for value in &self.logs[partition].values[before..] {
            let value = String::from_utf8(value.clone()).unwrap();
            self.arrivals.push(Arrival { node, request, partition, value });
        }
        outcome
    }

    /// Forgets all producers, as after their records were deleted.
    pub(super) fn forget_producers(&mut self) {
        for log in &mut self.logs {
            log.producers.clear();
        }
    }

    fn outcome(code: ErrorCode, base_offset: i64) -> PartitionOutcome {
        PartitionOutcome { code, base_offset, ..PartitionOutcome::UNKNOWN }
    }

    /// Refuses a batch, unless it was written before: then it was fine.
    fn refuse(&self, part: &Part, code: ErrorCode) -> PartitionOutcome {
        let batch = RecordBatch::parse(part.bytes.clone()).unwrap();
        let header = batch.header();
        let producers = &self.logs[self.index(&part.topic, part.partition)].producers;
        let known = producers.get(&header.producer_id()).filter(|entry| entry.epoch == header.producer_epoch());
        let written = known.and_then(|entry| entry.batches.iter().find(|one| one.0 == header.base_sequence()));
        match written {
            Some((_, _, offset)) => Self::outcome(ErrorCode::None, *offset),
            None => Self::outcome(code, -1),
        }
    }

    pub(super) fn write(&mut self, part: &Part) -> PartitionOutcome {
        if part.bytes.len() > self.max_batch {
            return Self::outcome(ErrorCode::MessageTooLarge, -1);
        }
        let batch = RecordBatch::parse(part.bytes.clone()).unwrap();
        batch.verify_crc().unwrap();
        let header = *batch.header();
        let index = self.index(&part.topic, part.partition);
        let log = &mut self.logs[index];
        let base_offset = log.values.len() as i64;
        if header.producer_id() >= 0 {
            let (first, count) = (header.base_sequence(), header.count());
            let last = increment_sequence(first, count - 1);
            let known = log.producers.get(&header.producer_id());
            if let Some(entry) = known {
                if header.producer_epoch() < entry.epoch {
                    return Self::outcome(ErrorCode::InvalidProducerEpoch, -1);
                }
                if header.producer_epoch() == entry.epoch {
                    if let Some((_, _, offset)) = entry.batches.iter().find(|one| (one.0, one.1) == (first, last)) {
                        return Self::outcome(ErrorCode::None, *offset);
                    }
                    let expected = entry.batches.back().map_or(0, |one| increment_sequence(one.1, 1));
                    if first != expected {
                        return Self::outcome(ErrorCode::OutOfOrderSequenceNumber, -1);
                    }
                } else if first != 0 {
                    return Self::outcome(ErrorCode::OutOfOrderSequenceNumber, -1);
                }
            } else if first != 0 && self.refuses_unknown {
                return Self::outcome(ErrorCode::UnknownProducerId, -1);
            }
            let entry = log.producers.entry(header.producer_id()).or_default();
            if entry.epoch != header.producer_epoch() {
                *entry = ProducerEntry { epoch: header.producer_epoch(), batches: VecDeque::new() };
            }
            entry.batches.push_back((first, last, base_offset));
            if entry.batches.len() > 5 {
                entry.batches.pop_front();
            }
        }
        let mut decompressor = Decompressor::new();
        for record in batch.records(&mut decompressor).unwrap() {
            log.values.push(record.unwrap().value().unwrap().to_vec());
        }
        Self::outcome(ErrorCode::None, base_offset)
    }
}

pub(super) fn sender_settings() -> SenderSettings {
    SenderSettings {
        acks: Acks::All,
        idempotent: true,
        linger: Duration::from_millis(5),
        delivery_timeout: Duration::from_secs(120),
        retries: i32::MAX as u32,
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
        max_in_flight: 5,
        max_request_size: 1 << 20,
        availability_timeout: None,
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) request: u64,
    pub(super) node: i32,
    pub(super) parts: Vec<Part>,
}

/// The sender with everything around it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) accumulator: Arc<Accumulator>,
    pub(super) sender: Sender,
    pub(super) brokers: Brokers,
    pub(super) wire: VecDeque<Wire>,
    pub(super) refreshes: usize,
}

impl World {
    pub(super) fn new(partitions: usize, settings: SenderSettings) -> Self {
        Self::with_batches(partitions, settings, 200, Compression::None)
    }

    /// With another topic that is held back.
    pub(super) fn with_state(partitions: usize, state: usize, settings: SenderSettings) -> Self {
        let mut world = Self::new(partitions, settings);
        world.accumulator.hold_back(STATE);
        world.accumulator.set_partitions(&Arc::from(STATE), state);
        world.brokers.logs.extend((0..state).map(|_| Log::default()));
        world.brokers.leaders.extend((0..state).map(|one| Leader::Node(one as i32 % 2)));
        world
    }

    pub(super) fn with_batches(
        partitions: usize,
        settings: SenderSettings,
        batch_size: usize,
        compression: Compression,
    ) -> Self {
        let accumulator = Arc::new(Accumulator::new(AccumulatorSettings {
            batch_size,
            buffer_memory: 64 << 20,
            max_request_size: settings.max_request_size,
            codec: Codec::from(compression),
            adaptive_partitioning: true,
        }));
        accumulator.set_partitions(&Arc::from(TOPIC), partitions);
        Self {
            now: Instant::now(),
            sender: Sender::new(settings, Arc::clone(&accumulator)),
            accumulator,
            brokers: Brokers {
                logs: (0..partitions).map(|_| Log::default()).collect(),
                leaders: (0..partitions).map(|one| Leader::Node(one as i32 % 2)).collect(),
                max_batch: 1 << 20,
                refuses_unknown: false,
                next_producer: 1000,
                first_state: partitions,
                arrivals: Vec::new(),
            },
            wire: VecDeque::new(),
            refreshes: 0,
        }
    }

    /// The queue of a partition, with the leader that the metadata says.
    pub(super) fn queue(&self, topic: &str, partition: usize) -> Arc<PartitionQueue> {
        let queue = self.accumulator.with_topic(topic, |topic| Arc::clone(&topic.partitions[partition])).unwrap();
        if let Leader::Node(node) = self.brokers.leader(topic, partition as i32) {
            self.accumulator.assign(&queue, node);
        }
        queue
    }

    pub(super) fn append(&self, partition: usize, value: &[u8]) -> Delivery {
        self.append_to(TOPIC, partition, value)
    }

    pub(super) fn append_to(&self, topic: &str, partition: usize, value: &[u8]) -> Delivery {
        let record = ProducerRecord::new(topic).value(value);
        let queue = self.queue(topic, partition);
        match self.accumulator.append(&queue, &record, 1000, ByDelivery, || self.now).unwrap() {
            Appended::Done { tag, .. } => tag,
            Appended::NeedsMemory { .. } => panic!("the model has memory enough"),
        }
    }

    pub(super) fn append_unobserved(&self, partition: usize, value: &[u8]) {
        let record = ProducerRecord::new(TOPIC).value(value);
        let queue = self.queue(TOPIC, partition);
        self.accumulator.append(&queue, &record, 1000, ByFlush, || self.now).unwrap();
    }

    /// Lets the sender act; requests go on the wire, everything else happens at once.
    pub(super) fn poll(&mut self) {
        loop {
            let effects = self.sender.poll(self.now, &self.brokers);
            let mut again = false;
            for effect in effects {
                match effect {
                    Effect::Connect(node) => {
                        self.sender.connected(node);
                        again = true;
                    }
                    Effect::Produce { request, node, parts, .. } => self.wire.push_back(Wire { request, node, parts }),
                    Effect::InitProducerId => {
                        let id = self.brokers.next_producer;
                        self.brokers.next_producer += 1;
                        self.sender.identified(self.now, Ok(Identity { id, epoch: 0 }));
                        again = true;
                    }
                    Effect::Coordinate(call) => panic!("there are no transactions here: {call:?}"),
                    Effect::RefreshMetadata(_) => self.refreshes += 1,
                }
            }
            if !again {
                return;
            }
        }
    }

    /// Has a batch acknowledged in each partition, after which several may be on their way.
    pub(super) fn introduce(&mut self) {
        for partition in 0..self.brokers.logs.len() {
            self.append(partition, b"first");
        }
        self.settle();
    }

    /// The outcome of a flush, if it has one now.
    pub(super) fn flush(&self) -> Option<Result<(), ClientError>> {
        match std::pin::pin!(self.accumulator.flush(|| {})).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.poll();
    }

    /// The request at this place of the wire has this fate, and the sender hears of it.
    pub(super) fn answer(&mut self, place: usize, fate: Fate) {
        let wire = self.wire.remove(place).unwrap();
        let lost = || {
            let source = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            ClientError::connection(&Arc::from("model:1"), source)
        };
        let result = match fate {
            Fate::Fine => Ok(wire.parts.iter().map(|one| self.brokers.arrive(wire.node, wire.request, one)).collect()),
            Fate::Lost => Err(lost()),
            Fate::AnswerLost => {
                for part in &wire.parts {
                    self.brokers.arrive(wire.node, wire.request, part);
                }
                Err(lost())
            }
            Fate::RefusedOne(partition, code) => {
                let brokers = &mut self.brokers;
                let outcome = |part: &Part| match brokers.index(&part.topic, part.partition) == partition {
                    true => brokers.refuse(part, code),
                    false => brokers.arrive(wire.node, wire.request, part),
                };
                Ok(wire.parts.iter().map(outcome).collect())
            }
            Fate::Refused(code) => Ok(wire.parts.iter().map(|part| self.brokers.refuse(part, code)).collect()),
        };
        // As in life, nobody holds the bytes any more when the answer is there.
        drop(wire.parts);
        self.sender.answered(self.now, wire.request, result);
        self.poll();
    }

    /// The connection to a node breaks: of its requests, the first `arrived` were written, and none is answered.
    pub(super) fn break_connection(&mut self, node: i32, arrived: usize) {
        let mut seen = 0;
        while let Some(place) = self.wire.iter().position(|wire| wire.node == node) {
            let fate = if seen < arrived { Fate::AnswerLost } else { Fate::Lost };
            seen += 1;
            let wire = self.wire.remove(place).unwrap();
            self.wire.push_front(wire);
            // Without polling in between: all of them fail at the same moment.
            let wire = self.wire.pop_front().unwrap();
            if fate == Fate::AnswerLost {
                for part in &wire.parts {
                    self.brokers.arrive(wire.node, wire.request, part);
                }
            }
            drop(wire.parts);
            let source = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            let error = ClientError::connection(&Arc::from("model:1"), source);
            self.sender.answered(self.now, wire.request, Err(error));
        }
        self.poll();
    }

    /// Answers everything well until nothing is left.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            self.poll();
            if !self.wire.is_empty() {
                self.answer(0, Fate::Fine);
            } else if self.sender.is_idle() {
                return;
            } else {
                let until = self.sender.deadline().expect("what is not idle has a deadline");
                self.now = self.now.max(until);
            }
        }
        panic!("the sender does not come to rest: {:?}", self.sender);
    }

    pub(super) fn values(&self, partition: usize) -> Vec<String> {
        let log = &self.brokers.logs[partition];
        log.values.iter().map(|value| String::from_utf8(value.clone()).unwrap()).collect()
    }
}

/// The result of a delivery that has to be known.
pub(super) fn result(delivery: &mut Delivery) -> Result<RecordMetadata, ClientError> {
    match try_result(delivery) {
        Some(result) => result,
        None => panic!("the record has no fate yet"),
    }
}

pub(super) fn try_result(delivery: &mut Delivery) -> Option<Result<RecordMetadata, ClientError>> {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(delivery).poll(&mut context) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// The sequence numbers of the batches of a request, by partition.
pub(super) fn sequences(wire: &Wire) -> Vec<(i32, i16, i32)> {
    let header = |bytes: &Bytes| *RecordBatch::parse(bytes.clone()).unwrap().header();
    wire.parts
        .iter()
        .map(|part| {
            let header = header(&part.bytes);
            (part.partition, header.producer_epoch(), header.base_sequence())
        })
        .collect()
}
