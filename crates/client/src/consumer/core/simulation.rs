//! Consumers' cores against a model of a cluster, in virtual time, by seed.
//!
//! Messages are late, lost (before or after they did something) and processed twice; brokers go and come back, leaders and
//! the coordinator move, records are deleted; applications are slow, seek, pause, commit, and vanish. Checked at every step:
//!
//! - an application gets the records of a partition from where it may begin, without a gap and none twice;
//! - nothing is committed that no application got (the model looks at each commit that it takes);
//! - a commit names the generation in which its partitions are assigned to the member;
//! - a partition has one owner in a generation; where the coordinator assigns, no member has what is not its own in the
//!   coordinator's eyes;
//! - a core that was polled at its deadline has another one than that;
//!
//! and when the world heals, the group comes to rest with everything read and committed. A core is polled only when
//! something was given to it or its deadline has come, and an application only when it was woken or its step is due: whoever
//! is not told waits for ever.
//!
//! `MACHINE_SEED=n cargo test -p vltava-client --lib consumer::core::simulation` replays one seed, `cargo xtask soak` runs
//! thousands of others (`MACHINE_SEEDS`, from `MACHINE_FIRST` on).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vltava_protocol::{ErrorCode, Uuid};

use super::*;
use crate::consumer::assignor::{CooperativeStickyAssignor, RangeAssignor};
use crate::consumer::streams_group::Subtopology;
use crate::consumer::subscription::SubscriptionPattern;

mod application;
mod cluster;
mod consumer_group;
mod group;
mod network;

use application::{Doing, Simulated};
use cluster::Cluster;
use consumer_group::ConsumerGroup;
use group::{ClassicGroup, Group};
use network::{Message, copy, no_answer, not_coordinator, unanswered};

const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid::from_bytes([7; 16]);
/// The sub-topology that reads the topic, where the members are of Streams.
const SUBTOPOLOGY: &str = "0";
const NODES: i32 = 3;
const PARTITIONS: i32 = 5;
const SESSION: Duration = Duration::from_secs(6);
const TICK: Duration = Duration::from_millis(20);
/// How long a healed world may need.
const RECOVERY: Duration = Duration::from_secs(180);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// A consumer, and how often it was started.
type Sender = (usize, u32);

/// The id by which a coordinator that assigns knows a consumer.
fn member_id((at, starts): Sender) -> String {
    format!("m{at}-{starts}")
}

struct SimulatedWorld {
    metadata: Arc<MetadataSnapshot>,
    version: u64,
}

impl World for SimulatedWorld {
    fn metadata(&self) -> Arc<MetadataSnapshot> {
        Arc::clone(&self.metadata)
    }

    fn metadata_version(&self) -> u64 {
        self.version
    }

    fn unix_ms(&self) -> i64 {
        1_000_000
    }

    fn timed_out(&self, what: &str, limit: Duration) -> ClientError {
        ClientError::timeout(what, limit)
    }
}

/// The group's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Eager,
    Cooperative,
    /// The coordinator assigns.
    Consumer,
    /// The coordinator assigns, and looks at a pattern of topics.
    ConsumerByPattern,
    /// The coordinator assigns tasks.
    Streams,
}

impl Kind {
    fn coordinator_assigns(self) -> bool {
        matches!(self, Self::Consumer | Self::ConsumerByPattern | Self::Streams)
    }
}

struct Simulation {
    random: fastrand::Rng,
    now: Instant,
    config: Arc<ConsumerConfig>,
    kind: Kind,
    /// When the last request to the group's coordinator of each consumer arrives: it is a connection.
    arrivals: BTreeMap<Sender, Instant>,
    network: Vec<(Instant, Message)>,
    cluster: Cluster,
    consumers: Vec<Simulated>,
    /// Of a thousand messages, so many are lost.
    loss: u32,
    /// Brokers fail, applications are slow.
    is_rough: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        // Pauses before retries come from there.
        fastrand::seed(seed);
        let mut random = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let kinds = [Kind::Eager, Kind::Cooperative, Kind::Consumer, Kind::ConsumerByPattern, Kind::Streams];
        let kind = kinds[random.usize(0..kinds.len())];
        let auto_commit = if random.bool() { "true" } else { "false" };
        let mut properties = vec![
            ("bootstrap.servers", "h:9092"),
            ("group.id", "g"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", auto_commit),
            ("auto.commit.interval.ms", "500"),
            ("max.poll.interval.ms", "20000"),
            ("max.poll.records", "7"),
            ("request.timeout.ms", "3000"),
        ];
        let group = match kind {
            Kind::Eager => Group::Classic(ClassicGroup::new("range")),
            Kind::Cooperative => Group::Classic(ClassicGroup::new("cooperative-sticky")),
            _ => Group::Consumer(ConsumerGroup::new(PARTITIONS)),
        };
        if matches!(kind, Kind::Consumer | Kind::ConsumerByPattern) {
            properties.push(("group.protocol", "consumer"));
        } else {
            properties.extend([("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")]);
        }
        let config = Arc::new(ConsumerConfig::from_properties(properties).unwrap());
        let mut simulation = Self {
            loss: random.u32(0..150),
            cluster: Cluster::new(&mut random, group, now),
            random,
            now,
            config,
            kind,
            arrivals: BTreeMap::new(),
            network: Vec::new(),
            consumers: Vec::new(),
            is_rough: true,
        };
        for at in 0..simulation.random.usize(1..4) {
            let started = simulation.start(at, 0);
            simulation.consumers.push(started);
        }
        simulation
    }

    fn start(&mut self, at: usize, starts: u32) -> Simulated {
        let is_cooperative = self.kind == Kind::Cooperative;
        let protocol = if is_cooperative { RebalanceProtocol::Cooperative } else { RebalanceProtocol::Eager };
        let topics = Subtopology { source_topics: [TOPIC.to_owned()].into(), ..Subtopology::default() };
        let streams = (self.kind == Kind::Streams).then(|| StreamsMember {
            subtopologies: [(SUBTOPOLOGY.to_owned(), topics)].into(),
            ..StreamsMember::default()
        });
        let mut core = Core::new(Arc::clone(&self.config), protocol, member_id((at, starts)), streams, self.now);
        match self.kind {
            Kind::ConsumerByPattern => core.subscribe_pattern(SubscriptionPattern::new(TOPIC).into()).unwrap(),
            _ => core.subscribe([TOPIC.to_owned()].into()).unwrap(),
        }
        let world = SimulatedWorld { metadata: Arc::default(), version: 0 };
        let effects = core.poll(self.now, &world);
        let mut started = Simulated {
            core,
            world,
            assignor: if is_cooperative {
                Box::new(CooperativeStickyAssignor::default())
            } else {
                Box::new(RangeAssignor)
            },
            starts,
            doing: Doing::Works(self.now),
            is_woken: false,
            is_reading_metadata: false,
            next_commit: self.now,
            expected: BTreeMap::new(),
            may_begin: BTreeMap::new(),
            assignments: BTreeMap::new(),
        };
        self.perform(&mut started, at, effects);
        started
    }

    fn delay(&mut self) -> Duration {
        // Now and then a message takes longer than anybody waits.
        let most = if self.is_rough && self.random.u32(0..100) == 0 { 5000 } else { 100 };
        Duration::from_millis(self.random.u64(0..most))
    }

    fn is_lost(&mut self) -> bool {
        self.random.u32(0..1000) < self.loss
    }

    fn send(&mut self, after: Duration, message: Message) {
        let mut at = self.now + after + self.delay();
        if self.kind.coordinator_assigns()
            && let Message::Request { from, effect: Effect::Group { .. } | Effect::Commit { .. } } = &message
        {
            let last = self.arrivals.entry(*from).or_insert(at);
            at = at.max(*last);
            *last = at;
        }
        self.network.push((at, message));
    }

    /// Who sent the request notices after a while that there is no answer.
    fn time_out(&mut self, to: Sender, event: Event) {
        let at = self.now + Duration::from_millis(self.random.u64(1000..3000));
        self.network.push((at, Message::Event { to, event }));
    }

    fn perform(&mut self, consumer: &mut Simulated, at: usize, effects: Vec<Effect>) {
        let from = (at, consumer.starts);
        for effect in effects {
            match effect {
                Effect::Wake => consumer.is_woken = true,
                Effect::TrackAll(_) | Effect::LookUpEnd(_) => panic!("{effect:?} is not called for"),
                Effect::RefreshMetadata | Effect::Track { .. } => {
                    if !std::mem::replace(&mut consumer.is_reading_metadata, true) {
                        self.send(Duration::from_millis(100), Message::ReadMetadata { from });
                    }
                }
                Effect::UpdateLeaders(news) => {
                    if let Some(next) = consumer.world.metadata.with_leaders(&news.leaders, &news.nodes) {
                        consumer.world.metadata = Arc::new(next);
                        consumer.world.version += 1;
                        // The edge is told of other metadata.
                        let to = from;
                        let snapshot = Box::new((*consumer.world.metadata).clone());
                        self.network.push((self.now, Message::Metadata { to, snapshot }));
                    }
                }
                effect if self.is_lost() => {
                    let event = unanswered(effect);
                    self.time_out(from, event);
                }
                effect => {
                    if self.is_lost()
                        && let Some(effect) = copy(&effect)
                    {
                        self.send(Duration::from_millis(300), Message::Request { from, effect });
                    }
                    self.send(Duration::ZERO, Message::Request { from, effect });
                }
            }
        }
    }

    fn answer(&mut self, to: Sender, after: Duration, event: Event) {
        if self.is_lost() {
            return self.time_out(to, no_answer(event));
        }
        self.send(after, Message::Event { to, event });
    }

    /// A broker gets a request.
    fn handle(&mut self, from: Sender, effect: Effect) {
        let now = self.now;
        let node = match &effect {
            Effect::Group { node, .. }
            | Effect::Commit { node, .. }
            | Effect::FetchCommitted { node, .. }
            | Effect::ListOffsets { node, .. }
            | Effect::EpochEnds { node, .. } => Some(*node),
            Effect::Fetch(call) => Some(call.node),
            _ => None,
        };
        if node.is_some_and(|node| self.cluster.is_down(node, now)) {
            return self.time_out(from, unanswered(effect));
        }
        let is_coordinator = node == Some(self.cluster.coordinator);
        let event = match effect {
            Effect::FindCoordinator => {
                let node = self.cluster.coordinator;
                let found = if self.cluster.is_down(node, now) {
                    Err(ClientError::broker(ErrorCode::CoordinatorNotAvailable))
                } else {
                    Ok(node)
                };
                Event::Coordinator(found)
            }
            Effect::Group { token, request, .. } if is_coordinator => {
                self.cluster.group.handle(now, (from, token), request);
                return;
            }
            Effect::Group { token, request, .. } => Event::Group(token, Ok(not_coordinator(&request))),
            Effect::Commit { token, request, .. } => {
                if is_coordinator {
                    self.check_generation(from, &request);
                    Event::Commit(token, Ok(self.cluster.commit(now, &request)))
                } else {
                    Event::Commit(token, Err(ClientError::broker(ErrorCode::NotCoordinator)))
                }
            }
            Effect::FetchCommitted { partitions, .. } => {
                let committed = self.cluster.committed(&partitions);
                let error = ClientError::broker(ErrorCode::NotCoordinator);
                Event::Committed(partitions, if is_coordinator { Ok(committed) } else { Err(error) })
            }
            Effect::NameTopics { .. } => Event::TopicNames(Ok([(TOPIC_ID, TOPIC.to_owned())].into())),
            Effect::ListOffsets { node, request, asked } => {
                Event::Offsets(asked, Ok(self.cluster.list_offsets(node, &request)))
            }
            Effect::EpochEnds { node, request, asked } => {
                Event::EpochEnds(asked, Ok(self.cluster.epoch_ends(node, &request)))
            }
            Effect::Fetch(call) => {
                let (response, wait) = self.cluster.fetch(&mut self.random, call.node, &call.request);
                return self.answer(from, wait, Event::Fetched(call.node, Ok(response)));
            }
            effect => panic!("{effect:?} is no request"),
        };
        self.answer(from, Duration::ZERO, event);
    }

    /// What a member commits in a generation is its own there.
    fn check_generation(&self, from: Sender, request: &OffsetCommitRequest) {
        let consumer = &self.consumers[from.0];
        if consumer.starts != from.1 || self.kind.coordinator_assigns() {
            return;
        }
        let generation = request.generation_id_or_member_epoch;
        let assigned = consumer.assignments.get(&generation);
        for partition in request.topics.iter().flat_map(|topic| &topic.partitions) {
            let tp = tp(partition.partition_index);
            let is_own = assigned.is_some_and(|assigned| assigned.contains(&tp));
            assert!(is_own, "{tp} is committed in generation {generation}, which did not give it to {from:?}");
        }
    }

    fn step(&mut self) {
        self.now += TICK;
        self.disturb();
        let (mut due, later): (Vec<_>, Vec<_>) = self.network.drain(..).partition(|(at, _)| *at <= self.now);
        self.network = later;
        due.sort_by_key(|(at, _)| *at);
        for (_, message) in due {
            match message {
                Message::Request { from, effect } => self.handle(from, effect),
                Message::ReadMetadata { from } => {
                    let is_lost = self.is_lost();
                    let Some(consumer) = self.consumers.get(from.0).filter(|one| one.starts == from.1) else {
                        continue;
                    };
                    if is_lost {
                        self.send(Duration::from_secs(1), Message::ReadMetadata { from });
                    } else {
                        let snapshot = Box::new(consumer.world.metadata.updated(&self.cluster.metadata(self.now)));
                        self.send(Duration::ZERO, Message::Metadata { to: from, snapshot });
                    }
                }
                Message::Metadata { to, snapshot } => self.turn(to, |consumer, _| {
                    consumer.is_reading_metadata = false;
                    consumer.world.metadata = Arc::new(*snapshot);
                    consumer.world.version += 1;
                }),
                Message::Event { to, event } => self.turn(to, |consumer, now| {
                    consumer.expect(&event);
                    consumer.core.on(event, now);
                }),
            }
        }
        self.cluster.group.advance(self.now);
        for ((to, token), response) in self.cluster.group.take_answers() {
            self.answer(to, Duration::ZERO, Event::Group(token, Ok(response)));
        }
        for at in 0..self.consumers.len() {
            if self.consumers[at].core.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                self.turn((at, self.consumers[at].starts), |_, _| ());
                let deadline = self.consumers[at].core.next_deadline();
                assert!(deadline.is_none_or(|deadline| deadline > self.now), "time stands still");
            }
            self.go_on(at);
        }
        self.check();
    }

    /// Gives something to a core, and does what it says then.
    fn turn(&mut self, (at, starts): Sender, give: impl FnOnce(&mut Simulated, Instant)) {
        if self.consumers[at].starts != starts {
            return;
        }
        let mut consumer = self.consumers.swap_remove(at);
        give(&mut consumer, self.now);
        if let Some(group) = consumer.core.group_metadata() {
            // What goes may be committed until it has gone.
            let owned = || consumer.core.assignment();
            consumer.assignments.entry(group.generation_id()).or_insert_with(owned);
        }
        let effects = consumer.core.poll(self.now, &consumer.world);
        self.perform(&mut consumer, at, effects);
        self.consumers.push(consumer);
        let last = self.consumers.len() - 1;
        self.consumers.swap(at, last);
    }

    /// Lets an application do what it does until it works or waits.
    fn go_on(&mut self, at: usize) {
        let starts = self.consumers[at].starts;
        loop {
            let (now, pause) = (self.now, self.pause());
            let consumer = &mut self.consumers[at];
            let is_due = |until: Option<Instant>| until.is_some_and(|until| until <= now);
            let is_ready = match &consumer.doing {
                Doing::Works(until) | Doing::Runs(until, _) => is_due(Some(*until)),
                Doing::Waits => std::mem::take(&mut consumer.is_woken) || is_due(consumer.core.next_step_at()),
            };
            if !is_ready {
                return;
            }
            if let Doing::Runs(_, task) = std::mem::replace(&mut consumer.doing, Doing::Works(now)) {
                self.turn((at, starts), |consumer, _| consumer.run(task));
                continue;
            }
            let mut delivered: Vec<(TopicPartition, i64)> = Vec::new();
            let is_rough = self.is_rough;
            let choice = self.random.u32(0..30);
            self.turn((at, starts), |consumer, now| match consumer.core.step(now, true) {
                Next::Records(records) => {
                    for (tp, record) in records.iter() {
                        consumer.deliver(tp, record.offset());
                        delivered.push((tp.clone(), record.offset()));
                    }
                    if !consumer.core.config.enable_auto_commit || choice < 2 {
                        consumer.commit(choice < 8, now);
                    }
                    consumer.doing = Doing::Works(now + pause);
                    if is_rough {
                        consumer.meddle(choice);
                    }
                }
                Next::Task(task) => consumer.doing = Doing::Runs(now + pause, task),
                Next::Completions(completions) => completions.into_iter().for_each(Completion::call),
                Next::Wait => {
                    consumer.doing = Doing::Waits;
                    // Who commits by hand does so again after what failed.
                    if !is_rough && !consumer.core.config.enable_auto_commit && consumer.next_commit <= now {
                        consumer.next_commit = now + Duration::from_secs(1);
                        consumer.commit(true, now);
                    }
                }
                Next::Again => {}
                Next::Fail(error) => panic!("{error}"),
            });
            for (tp, offset) in delivered {
                self.cluster.partitions[tp.partition() as usize].deliver(offset);
            }
        }
    }

    /// How long an application works.
    fn pause(&mut self) -> Duration {
        match self.random.u32(0..1000) {
            0 if self.is_rough => Duration::from_secs(25),
            1..100 => Duration::from_millis(self.random.u64(0..1500)),
            _ => Duration::from_millis(self.random.u64(0..60)),
        }
    }

    /// What happens by itself.
    fn disturb(&mut self) {
        let partition = self.random.usize(0..self.cluster.partitions.len());
        let node = self.random.i32(0..NODES);
        match self.random.u32(0..4000) {
            _ if !self.is_rough => {}
            0..400 => {
                let count = self.random.i64(1..9);
                self.cluster.append(partition, count);
            }
            400..410 => self.cluster.move_leader(&mut self.random, partition),
            410..414 => {
                let until = self.now + Duration::from_millis(self.random.u64(100..9000));
                self.cluster.stop(&mut self.random, node, until);
            }
            414..418 => self.cluster.move_coordinator(&mut self.random),
            418..422 => self.cluster.delete_some(partition),
            422..425 => {
                // A process dies, and another one begins.
                let at = self.random.usize(0..self.consumers.len());
                let starts = self.consumers[at].starts + 1;
                self.consumers[at] = self.start(at, starts);
            }
            _ => {}
        }
    }

    /// Nobody shares a partition with another member of the same generation.
    fn check(&self) {
        if let Group::Consumer(group) = &self.cluster.group {
            for (at, consumer) in self.consumers.iter().enumerate() {
                let id = member_id((at, consumer.starts));
                let Some(held) = group.held_by(&id) else { continue };
                let has: BTreeSet<i32> = consumer.core.assignment().iter().map(TopicPartition::partition).collect();
                assert!(has.is_subset(&held), "{id} has {has:?}, and the coordinator knows of {held:?}: {self:?}");
            }
            return;
        }
        let (mut owners, mut in_session) = (BTreeMap::new(), BTreeMap::new());
        for (at, consumer) in self.consumers.iter().enumerate() {
            let generation = consumer.core.group_metadata().map_or(-1, |group| group.generation_id());
            for tp in consumer.core.assignment() {
                let before = owners.insert((generation, tp.clone()), at);
                assert_eq!(before, None, "{tp} has two owners in generation {generation}");
                if consumer.core.is_in_session(self.now) {
                    let before = in_session.insert(tp.clone(), at);
                    assert_eq!(before, None, "two have {tp} and count themselves members");
                }
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        let Some(generation) = self.cluster.group.generation_at_rest(self.consumers.len()) else { return false };
        let is_in = |consumer: &Simulated| {
            let group = consumer.core.group_metadata();
            consumer.core.is_in_session(self.now) && group.is_some_and(|group| group.generation_id() == generation)
        };
        let assigned: BTreeSet<TopicPartition> = self.consumers.iter().flat_map(|one| one.core.assignment()).collect();
        self.consumers.iter().all(is_in)
            && assigned == cluster::all(&self.cluster)
            && self.cluster.partitions.iter().all(cluster::Partition::is_done)
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.cluster)?;
        for Simulated { core, expected, .. } in &self.consumers {
            let (membership, partitions) = (&core.membership, &core.subscription);
            writeln!(f, "{membership:?}\n{:?}\n{partitions:?}\n{expected:?}", core.commits)?;
        }
        Ok(())
    }
}

fn run(seed: u64) {
    let mut simulation = Simulation::new(seed);
    for _ in 0..simulation.random.u32(500..6000) {
        simulation.step();
    }
    simulation.loss = 0;
    simulation.is_rough = false;
    for consumer in &mut simulation.consumers {
        let assigned: Vec<TopicPartition> = consumer.core.assignment().into_iter().collect();
        consumer.core.set_paused(&assigned, false).unwrap();
    }
    let healed = simulation.now;
    while !simulation.is_at_rest() {
        simulation.step();
        let waited = simulation.now - healed;
        assert!(waited < RECOVERY, "no rest: {simulation:?}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_group_reads_everything_whatever_happens_to_it() {
    if let Some(seed) = number("MACHINE_SEED") {
        run(seed);
        return;
    }
    let first = number("MACHINE_FIRST").unwrap_or(0);
    for seed in first..first + number("MACHINE_SEEDS").unwrap_or(60) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "MACHINE_SEED={seed} cargo test -p vltava-client --lib consumer::core::simulation");
    }
}
