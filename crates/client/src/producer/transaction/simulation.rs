//! Machine, sender and accumulator against a model of brokers, by seed: requests are lost, answered without the answer coming
//! back, or arrive late, when their connection is long broken; markers take their time; the producer is fenced; the application
//! commits, aborts, drops and discards whenever it likes.
//!
//! At all times: no batch lies outside of a transaction, a transaction is committed only with all that was given for it, and
//! each record has one fate, which is told once. In the end: no transaction is left open, readers of committed records see
//! exactly what was committed, and the producer, unless it was fenced, is of use. No transaction ends before its batches, none
//! that is aborted keeps what was not sent, and another epoch is asked for only after something was lost.
//!
//! Each of these, broken in one line, is found:
//!
//! - the manager: what is sent begins the transaction, and so do offsets; lost numbers and a higher version ask for another
//!   epoch, and it is asked for once; a transaction forgets partitions and groups of the one before, and that it was begun;
//!   a commit in which a batch fails fails; an abort adds no more partitions, and gives up offsets; an end waits for offsets;
//!   an identity that comes with an end is taken; a lost answer to an end is no end; groups and partitions are added first;
//!   who was fenced does not go on.
//! - the sender: partitions count from 0 in another epoch; no batch goes before its partition is added; an end waits for
//!   batches, answers included; what was not sent is given up by an abort, and by a failure.
//!
//! Not found, for the brokers refuse what comes of it, or it only costs a request: batches behind a gap are given up before
//! they are sent, and a call whose answer was lost is repeated before an abort.

mod model;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::sync::watch;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Codec, Compression};

use super::calls::{Answer, Call, NoAnswer, Request};
use super::manager::{Outcome, Phase, TransactionManager, TransactionSettings, TransactionVersion};
use crate::config::Acks;
use crate::consumer::ConsumerGroupMetadata;
use crate::error::ClientError;
use crate::producer::ProducerRecord;
use crate::producer::accumulator::{Accumulator, AccumulatorSettings, Appended};
use crate::producer::observe::ByCallback;
use crate::producer::sender::{Effect, Leader, Leaders, Part, PartitionOutcome, Sender, SenderSettings};
use crate::{OffsetAndMetadata, TopicPartition};
use model::Model;

const TOPIC: &str = "t";
const PARTITIONS: usize = 3;
const NODES: i32 = 2;
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Partition by partition, one node after the other.
struct Fixed;

impl Leaders for Fixed {
    fn leader(&self, _: &str, partition: i32) -> Leader {
        Leader::Node(partition % NODES)
    }
}

/// Something on its way.
enum Wire {
    Produce { request: u64, node: i32, parts: Vec<Part>, version: TransactionVersion },
    Coordinate(Call),
}

/// What became of a transaction, as far as the application was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed,
    /// Aborted, or given up before it was committed.
    Nothing,
    /// A commit was begun, and its end is not known.
    Unknown,
}

#[derive(Debug)]
struct Given {
    values: Vec<Vec<String>>,
    has_offset: bool,
    told: Told,
}

/// What the application waits for.
enum Waits {
    Init,
    Commit,
    Abort,
}

type Fates = Arc<Mutex<BTreeMap<String, Vec<Result<(), ClientError>>>>>;

struct World {
    rng: Rng,
    now: Instant,
    accumulator: Arc<Accumulator>,
    sender: Sender,
    model: Model,
    wire: VecDeque<Wire>,
    /// What arrives though its connection is broken, at some time.
    late: VecDeque<Wire>,
    given: Vec<Given>,
    is_open: bool,
    waits: Option<(Waits, watch::Receiver<Outcome>)>,
    fates: Fates,
    fenced: usize,
    ends: [usize; 2],
    /// When another epoch was asked for the last time: how many records were lost by then, the version, the call.
    epoch_of: (usize, TransactionVersion, u64),
}

fn producer() -> (Arc<Accumulator>, Sender) {
    let settings = SenderSettings {
        acks: Acks::All,
        idempotent: true,
        linger: Duration::from_millis(5),
        delivery_timeout: DELIVERY_TIMEOUT,
        retries: i32::MAX as u32,
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
        max_in_flight: 5,
        max_request_size: 1 << 20,
        availability_timeout: None,
    };
    let accumulator = Accumulator::new(AccumulatorSettings {
        batch_size: 200,
        buffer_memory: 64 << 20,
        max_request_size: settings.max_request_size,
        codec: Codec::from(Compression::None),
        adaptive_partitioning: true,
    })
    .with_transactions(TransactionSettings {
        transactional_id: Arc::from("id"),
        retry_backoff: settings.retry_backoff,
        retry_backoff_max: settings.retry_backoff_max,
    });
    accumulator.set_partitions(&Arc::from(TOPIC), PARTITIONS);
    let accumulator = Arc::new(accumulator);
    (Arc::clone(&accumulator), Sender::new(settings, accumulator))
}

/// What Kafka itself has no defence against: with version 1, an end or offsets that come so late that the next transaction is
/// open, which has the same epoch; and the first request for an identity, which fences whoever has it.
fn may_be_late(wire: &Wire) -> bool {
    let Wire::Coordinate(call) = wire else { return true };
    match &call.request {
        Request::InitProducerId { identity } => identity.is_some(),
        Request::CommitOffsets { version, .. } | Request::End { version, .. } => *version == TransactionVersion::Two,
        Request::AddPartitions { .. } | Request::AddOffsets { .. } => true,
    }
}

impl World {
    fn new(seed: u64, version: TransactionVersion) -> Self {
        // The pauses between attempts are drawn from the thread's own.
        fastrand::seed(seed);
        let (accumulator, sender) = producer();
        Self {
            rng: Rng::with_seed(seed),
            now: Instant::now(),
            accumulator,
            sender,
            model: Model::new(PARTITIONS, version),
            wire: VecDeque::new(),
            late: VecDeque::new(),
            given: Vec::new(),
            is_open: false,
            waits: None,
            fates: Fates::default(),
            fenced: 0,
            ends: [0; 2],
            epoch_of: (0, version, 0),
        }
    }

    fn transact<T>(&self, change: impl FnOnce(&mut TransactionManager) -> T) -> T {
        self.accumulator.transact(change).unwrap()
    }

    fn poll(&mut self) {
        loop {
            let mut again = false;
            for effect in self.sender.poll(self.now, &Fixed) {
                match effect {
                    Effect::Connect(node) => {
                        self.sender.connected(node);
                        again = true;
                    }
                    Effect::Produce { request, node, parts, version } => {
                        self.wire.push_back(Wire::Produce { request, node, parts, version: version.unwrap() });
                    }
                    Effect::Coordinate(call) => {
                        self.check_call(&call);
                        self.wire.push_back(Wire::Coordinate(call));
                    }
                    Effect::InitProducerId => panic!("a producer with transactions has its id from the coordinator"),
                    Effect::RefreshMetadata(_) => {}
                }
            }
            if !again {
                return self.check_queues();
            }
        }
    }

    /// A transaction ends when nothing of it is on its way, and another epoch is asked for only after something was lost.
    fn check_call(&mut self, call: &Call) {
        match &call.request {
            Request::End { .. } => {
                let is_on_its_way = self.wire.iter().any(|wire| matches!(wire, Wire::Produce { .. }));
                assert!(!is_on_its_way, "the transaction ends before its batches");
            }
            Request::InitProducerId { identity: Some(_) } => {
                let is_lost = self.fates.lock().values().flatten().filter(|told| told.is_err()).count();
                let is_upgraded = std::mem::replace(&mut self.epoch_of.1, self.model.version) != self.model.version;
                let is_asked_again = call.look_up || self.epoch_of.2 == call.number;
                assert!(
                    is_asked_again || is_upgraded || is_lost > self.epoch_of.0,
                    "another epoch, and nothing was lost since the last one"
                );
                (self.epoch_of.0, self.epoch_of.2) = (is_lost, call.number);
            }
            _ => {}
        }
    }

    /// What will not be sent any more is not kept waiting until it is too old.
    fn check_queues(&self) {
        let view = self.transact(|manager| manager.view());
        if matches!(view.phase, Phase::Aborting | Phase::Failed(_)) {
            for partition in 0..PARTITIONS {
                let queue = self.accumulator.with_topic(TOPIC, |topic| Arc::clone(&topic.partitions[partition]));
                assert!(queue.unwrap().peek().is_none(), "it is aborting, and keeps what was not sent");
            }
        }
    }

    fn arrive(&mut self, wire: &Wire) -> (Vec<PartitionOutcome>, Answer) {
        match wire {
            Wire::Produce { parts, version, .. } => {
                (parts.iter().map(|part| self.model.write(part, *version)).collect(), Answer::default())
            }
            Wire::Coordinate(call) => (Vec::new(), self.model.handle(&call.request)),
        }
    }

    /// One that is on its way has its fate, with all that is behind it on a connection that breaks.
    fn deliver(&mut self, place: usize, breaks: bool) {
        let Some(wire) = self.wire.remove(place) else { return };
        if breaks {
            return self.lose(wire);
        }
        let (outcomes, answer) = self.arrive(&wire);
        match wire {
            Wire::Produce { request, parts, .. } => {
                drop(parts);
                self.sender.answered(self.now, request, Ok(outcomes));
            }
            Wire::Coordinate(call) => self.sender.coordinated(self.now, call.number, Ok(answer)),
        }
    }

    fn lose(&mut self, first: Wire) {
        let lost = || ClientError::connection(&Arc::from("model:1"), std::io::ErrorKind::ConnectionReset.into());
        let mut broken = vec![first];
        if let Wire::Produce { node: of, .. } = broken[0] {
            let (same, others): (VecDeque<Wire>, VecDeque<Wire>) = std::mem::take(&mut self.wire)
                .into_iter()
                .partition(|one| matches!(one, Wire::Produce { node, .. } if *node == of));
            self.wire = others;
            broken.extend(same);
        }
        let mut fate = self.rng.u8(0..3);
        for wire in broken {
            match &wire {
                Wire::Produce { request, .. } => self.sender.answered(self.now, *request, Err(lost())),
                Wire::Coordinate(call) => {
                    let error = match self.rng.u8(0..4) {
                        0 if fate == 2 => NoAnswer::NotFound(ClientError::broker(ErrorCode::CoordinatorNotAvailable)),
                        _ => NoAnswer::Lost(lost()),
                    };
                    self.sender.coordinated(self.now, call.number, Err(error));
                }
            }
            match fate {
                // It had arrived, as all before it.
                0 => drop(self.arrive(&wire)),
                1 if may_be_late(&wire) => self.late.push_back(wire),
                _ => {}
            }
            fate = fate.max(self.rng.u8(0..3));
        }
    }

    fn begin(&mut self) {
        if self.transact(TransactionManager::begin).is_ok_and(|number| number.is_some()) {
            let values = vec![Vec::new(); PARTITIONS];
            self.given.push(Given { values, has_offset: false, told: Told::Nothing });
            self.model.given.clear();
            self.is_open = true;
        }
    }

    fn append(&mut self) {
        let partition = self.rng.usize(0..PARTITIONS);
        let number = self.given.len();
        for _ in 0..self.rng.usize(1..8) {
            let Some(given) = self.given.last_mut() else { return };
            let value = format!("{number}/{partition}/{}", given.values[partition].len());
            let queue = self.accumulator.with_topic(TOPIC, |topic| Arc::clone(&topic.partitions[partition])).unwrap();
            self.accumulator.assign(&queue, partition as i32 % NODES);
            let (fates, key) = (Arc::clone(&self.fates), value.clone());
            let callback = ByCallback(Box::new(move |result| {
                fates.lock().entry(key).or_default().push(result.map(drop));
            }));
            let record = ProducerRecord::new(TOPIC).value(&value);
            match self.accumulator.append(&queue, &record, 1000, callback, || self.now) {
                Ok(Appended::Done { .. }) => {
                    self.fates.lock().entry(value.clone()).or_default();
                    self.model.given.insert(value.clone());
                    given.values[partition].push(value);
                }
                Ok(Appended::NeedsMemory { .. }) => panic!("the model has memory enough"),
                Err(error) => assert!(
                    matches!(error, ClientError::TransactionFailed { .. } | ClientError::ProducerFailed { .. }),
                    "{error}"
                ),
            }
        }
    }

    fn send_offsets(&mut self) {
        let offset = self.given.len() as i64;
        let offsets = vec![(TopicPartition::new("input", 0), OffsetAndMetadata::new(offset))];
        let group = ConsumerGroupMetadata::unknown_member("g");
        if self.transact(|manager| manager.send_offsets(offsets, group)).is_ok() {
            self.given.last_mut().unwrap().has_offset = true;
        }
    }

    /// One thing that the application does.
    fn act(&mut self) {
        if self.waits.is_some() {
            return self.look();
        }
        if !self.is_open {
            match self.transact(TransactionManager::init) {
                Ok(end) => self.waits = Some((Waits::Init, end)),
                Err(ClientError::ProducerFailed { .. }) => self.replace(),
                Err(_) => self.begin(),
            }
            return;
        }
        match self.rng.u8(0..20) {
            0..=9 => self.append(),
            10 | 11 => self.send_offsets(),
            12..=15 => self.commit(),
            16 | 17 => self.abort(),
            18 => {
                let number = self.transact(|manager| manager.view().number);
                self.transact(|manager| manager.abandon(number));
                self.is_open = false;
            }
            _ => self.accumulator.discard_all(),
        }
    }

    fn commit(&mut self) {
        match self.transact(TransactionManager::commit) {
            Ok(end) => {
                self.given.last_mut().unwrap().told = Told::Unknown;
                self.waits = Some((Waits::Commit, end));
            }
            Err(ClientError::TransactionFailed { .. }) => self.abort(),
            Err(ClientError::ProducerFailed { .. }) => self.replace(),
            Err(error) => panic!("{error}"),
        }
    }

    fn abort(&mut self) {
        match self.transact(TransactionManager::abort) {
            Ok(end) => self.waits = Some((Waits::Abort, end)),
            Err(ClientError::ProducerFailed { .. }) => self.replace(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sees whether a call has come to its end.
    fn look(&mut self) {
        let Some((waits, end)) = self.waits.take() else { return };
        let Some(result) = end.borrow().clone() else {
            self.waits = Some((waits, end));
            return;
        };
        self.transact(|manager| manager.acknowledge(&end));
        match (waits, result) {
            (Waits::Init, Ok(())) => {}
            (Waits::Commit, Ok(())) => {
                self.ends[1] += 1;
                self.is_open = false;
                let given = self.given.last_mut().unwrap();
                given.told = Told::Committed;
                for value in given.values.iter().flatten() {
                    let told = self.fates.lock()[value].len();
                    assert_eq!(told, 1, "{value} is committed, and its callback has run {told} times");
                }
            }
            (Waits::Abort, Ok(())) => {
                self.ends[0] += 1;
                self.is_open = false;
            }
            (_, Err(ClientError::TransactionFailed { .. })) => {
                self.given.last_mut().unwrap().told = Told::Nothing;
            }
            (_, Err(error)) => {
                assert!(matches!(error, ClientError::ProducerFailed { .. }), "{error}");
                self.replace();
            }
        }
    }

    /// A new producer of the same id, after the one before could not go on.
    fn replace(&mut self) {
        assert!(self.fenced > 0, "nobody has fenced it");
        self.sender.abandon(&ClientError::Closed);
        self.late.extend(self.wire.drain(..));
        let (accumulator, sender) = producer();
        (self.accumulator, self.sender) = (accumulator, sender);
        self.is_open = false;
        self.waits = None;
    }

    fn step(&mut self) {
        match self.rng.u8(0..100) {
            0..=34 => self.act(),
            35..=49 => self.now += Duration::from_millis(self.rng.u64(0..150)),
            50..=74 => {
                // The first of its connection.
                let node = self.rng.i32(-1..NODES);
                let is_of = |wire: &Wire| match wire {
                    Wire::Produce { node: of, .. } => *of == node,
                    Wire::Coordinate(_) => node == -1,
                };
                if let Some(place) = self.wire.iter().position(is_of) {
                    let breaks = self.rng.u8(0..10) == 0;
                    self.deliver(place, breaks);
                }
            }
            75..=89 => self.model.complete(),
            90..=95 => {
                if let Some(wire) = self.late.pop_front() {
                    drop(self.arrive(&wire));
                }
            }
            96..=98 => {
                if self.rng.u8(0..20) == 0 {
                    self.model.fence();
                    self.fenced += 1;
                }
            }
            _ => {
                // Nothing is answered for so long that batches are given up.
                if self.rng.u8(0..3) == 0 {
                    self.now += DELIVERY_TIMEOUT;
                }
            }
        }
        self.poll();
    }

    /// From now on all goes well.
    fn recover(&mut self) {
        for _ in 0..10_000 {
            while let Some(wire) = self.late.pop_front() {
                drop(self.arrive(&wire));
            }
            while !self.wire.is_empty() {
                self.deliver(0, false);
            }
            self.model.complete();
            self.poll();
            if self.waits.is_none() && self.is_open {
                self.commit();
            } else if self.waits.is_none() && self.sender.is_idle() && self.wire.is_empty() {
                return;
            }
            self.look();
            self.now += Duration::from_millis(20);
            self.poll();
        }
        panic!("it does not come to rest");
    }

    /// Whether it can do what it is for. One that was fenced may not know it yet.
    fn is_of_use(&mut self) {
        let before = self.ends[1];
        for _ in 0..2 {
            for _ in 0..100 {
                self.act_until_open();
                if self.is_open {
                    break;
                }
                self.recover();
                self.now += Duration::from_millis(50);
            }
            assert!(self.is_open, "no transaction can be begun");
            for _ in 0..5 {
                self.append();
            }
            self.commit();
            self.poll();
            self.recover();
            if self.ends[1] > before {
                return;
            }
        }
        panic!("what is begun without trouble is not committed");
    }

    fn act_until_open(&mut self) {
        if self.waits.is_some() {
            return self.look();
        }
        match self.transact(TransactionManager::init) {
            Ok(end) => self.waits = Some((Waits::Init, end)),
            Err(ClientError::ProducerFailed { .. }) => self.replace(),
            Err(_) => self.begin(),
        }
        self.poll();
    }

    fn check(&mut self) {
        for (value, told) in &*self.fates.lock() {
            assert_eq!(told.len(), 1, "{value} was told {told:?}");
            let partition: usize = value.split('/').nth(1).unwrap().parse().unwrap();
            assert!(told[0].is_err() || self.model.has(partition, value), "{value} is said to be there");
        }
        let seen: Vec<Vec<String>> = (0..PARTITIONS).map(|index| self.model.committed(index)).collect();
        let mut last_offset = Some(0);
        for (number, given) in (1..).zip(&self.given) {
            let of = |values: &[String]| {
                let mine = |value: &&String| value.starts_with(&format!("{number}/"));
                values.iter().filter(mine).cloned().collect::<Vec<String>>()
            };
            let is_seen: Vec<Vec<String>> = seen.iter().map(|values| of(values)).collect();
            let nothing = vec![Vec::<String>::new(); PARTITIONS];
            match given.told {
                Told::Committed => assert_eq!(is_seen, given.values, "transaction {number} was committed"),
                Told::Nothing => assert_eq!(is_seen, nothing, "transaction {number} was not committed"),
                Told::Unknown => {
                    assert!(is_seen == given.values || is_seen == nothing, "half of {number}: {is_seen:?}")
                }
            }
            match (given.has_offset, given.told) {
                (true, Told::Committed) => last_offset = Some(number),
                (true, Told::Unknown) => last_offset = None,
                _ => {}
            }
        }
        if let Some(last) = last_offset {
            assert_eq!(self.model.offset.unwrap_or(0), last, "the offsets of the last transaction that has some");
        }
        assert_eq!(self.model.complaints, [""; 0]);
        assert!(self.accumulator.pending.is_empty());
        assert_eq!(self.accumulator.memory.used(), 0);
    }
}

fn run(seed: u64) -> [usize; 3] {
    let version = if seed.is_multiple_of(2) { TransactionVersion::One } else { TransactionVersion::Two };
    let mut world = World::new(seed, version);
    for step in 0..600 {
        if seed % 10 == 4 && step == 300 {
            // The cluster is upgraded meanwhile.
            world.model.version = TransactionVersion::Two;
        }
        world.step();
    }
    world.recover();
    world.is_of_use();
    world.check();
    [world.ends[0], world.ends[1], world.fenced]
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `MACHINE_SEED=n cargo test -p vltava-client --lib producer::transaction::simulation` replays one; `cargo xtask soak` runs
/// thousands of others.
#[test]
fn whatever_fails_a_transaction_is_whole_or_not_there() {
    let mut seen = [0; 3];
    if let Some(seed) = number("MACHINE_SEED") {
        run(seed);
        return;
    }
    let first = number("MACHINE_FIRST").unwrap_or(0);
    for seed in first..first + number("MACHINE_SEEDS").unwrap_or(400) {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(counts) => seen.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count),
            Err(_) => panic!("MACHINE_SEED={seed} cargo test -p vltava-client --lib producer::transaction::simulation"),
        }
    }
    // It is about something.
    let [aborted, committed, fenced] = seen;
    assert!(aborted > 0 && committed > 0 && fenced > 0, "{aborted} {committed} {fenced}");
}

/// A coordinator that is still ending a transaction has the first batches of the next wait for 20 ms: they come later then.
#[test]
fn the_first_batches_wait_for_what_is_still_being_ended() {
    let trip = Duration::from_millis(1);
    let mut world = World::new(0, TransactionVersion::Two);
    world.act_until_open();
    for _ in 0..20 {
        world.recover();
        world.act_until_open();
        world.append();
        world.poll();
        if world.wire.is_empty() {
            world.now = world.sender.deadline().unwrap();
            world.poll();
        }
        world.now += Duration::from_millis(20);
        while !world.wire.is_empty() {
            world.now += trip;
            world.deliver(0, false);
            world.poll();
        }
        world.commit();
        world.poll();
        while !world.wire.is_empty() {
            world.now += trip;
            world.deliver(0, false);
            world.model.complete();
            world.poll();
        }
        world.look();
    }
    world.begin();
    world.append();
    // Nothing lingers.
    world.commit();
    let ended = world.now;
    world.poll();
    assert!(world.wire.is_empty(), "{} requests", world.wire.len());
    world.now = world.sender.deadline().unwrap();
    assert!(world.now > ended && world.now <= ended + Duration::from_millis(10), "{:?}", world.now - ended);
    world.poll();
    assert_eq!(world.wire.len(), 1);
}
