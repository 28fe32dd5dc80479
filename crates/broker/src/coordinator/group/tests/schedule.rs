//! Random schedules of groups whose coordinator assigns, by seed, with lost messages and restarts: what is the same whatever is
//! assigned.
//!
//! After every step the schedule's [`check`](Schedule::check) holds, and a replay of the log gives the same group. At the end
//! everybody is heard of, and [`check_at_rest`](Schedule::check_at_rest) holds.

use super::harness::Harness;
use super::topics::TopicTable;
use crate::coordinator::group::shard::Refused;

const STEPS: usize = 250;
const SEEDS: u64 = 40;
/// So many rounds of heartbeats bring a group to rest. In the first half of them whoever is silent is found out.
const ROUNDS: usize = 80;

/// A member as its process sees it.
pub(in crate::coordinator::group) trait Process: Clone {
    type Request;
    type Response;

    /// The heartbeat that says everything.
    fn request(&self) -> Self::Request;

    /// Takes over what an answer says, as a client does that gives up at once.
    fn follow(&mut self, response: &Self::Response);

    /// Out of its group: everything is given up, and the member comes again.
    fn is_fenced(&mut self);
}

/// What is of one kind of groups.
pub(in crate::coordinator::group) trait Schedule: Sized {
    type Process: Process;

    const CLIENTS: usize;

    fn new(seed: u64) -> (Self, Harness, TopicTable);

    fn start(index: usize, name: &str) -> Self::Process;

    fn change_topics(&mut self, random: &mut fastrand::Rng, topics: &mut TopicTable);

    /// What the member at `index` says, or a part of it.
    fn request(index: usize, client: &Self::Process, random: &mut fastrand::Rng) -> RequestOf<Self>;

    /// What the member at `index` says once there is to be rest.
    fn request_at_rest(client: &Self::Process) -> RequestOf<Self> {
        client.request()
    }

    fn goodbye(client: &Self::Process, random: &mut fastrand::Rng) -> RequestOf<Self>;

    fn send(harness: &mut Harness, topics: &TopicTable, request: &RequestOf<Self>)
    -> Result<ResponseOf<Self>, Refused>;

    /// Checks that a restart gives the same group, if there is one.
    fn check_replay(harness: &mut Harness);

    fn check(harness: &Harness, clients: &[Option<Self::Process>]);

    /// Has all topics there that an assignment needs.
    fn prepare_rest(&self, _topics: &mut TopicTable) {}

    fn check_at_rest(&self, harness: &Harness, topics: &TopicTable, clients: &[Self::Process]);
}

pub(in crate::coordinator::group) type RequestOf<S> = <<S as Schedule>::Process as Process>::Request;
pub(in crate::coordinator::group) type ResponseOf<S> = <<S as Schedule>::Process as Process>::Response;

/// Runs the schedules of all seeds.
pub(in crate::coordinator::group) fn run<S: Schedule>() {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| Simulation::<S>::new(seed).run());
        assert!(run.is_ok(), "the schedule of seed {seed} fails");
    }
}

struct Simulation<S: Schedule> {
    schedule: S,
    random: fastrand::Rng,
    harness: Harness,
    topics: TopicTable,
    /// None for a process that is not there.
    clients: Vec<Option<S::Process>>,
    next_id: usize,
}

impl<S: Schedule> Simulation<S> {
    fn new(seed: u64) -> Self {
        let (schedule, harness, topics) = S::new(seed);
        let clients = vec![None; S::CLIENTS];
        Self { schedule, random: fastrand::Rng::with_seed(seed), harness, topics, clients, next_id: 0 }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            S::check(&self.harness, &self.clients);
        }
        self.come_to_rest();
    }

    fn step(&mut self) {
        let index = self.random.usize(..S::CLIENTS);
        match self.random.u32(..100) {
            0..3 => S::check_replay(&mut self.harness),
            3..8 => self.schedule.change_topics(&mut self.random, &mut self.topics),
            8..22 => {
                let ms = self.random.i64(1..4_000);
                self.harness.advance(ms);
            }
            22..26 => self.clients[index] = None,
            26..30 => self.leave(index),
            _ => {
                let client = self.client(index);
                let request = S::request(index, &client, &mut self.random);
                let is_lost = self.random.u8(..10) == 0;
                self.beat(index, client, &request, is_lost);
            }
        }
    }

    fn client(&mut self, index: usize) -> S::Process {
        self.clients[index].take().unwrap_or_else(|| {
            self.next_id += 1;
            S::start(index, &format!("member-{}", self.next_id))
        })
    }

    fn beat(&mut self, index: usize, mut client: S::Process, request: &RequestOf<S>, is_lost: bool) {
        match S::send(&mut self.harness, &self.topics, request) {
            Ok(response) if !is_lost => client.follow(&response),
            Ok(_) => {}
            Err(_) => client.is_fenced(),
        }
        self.clients[index] = Some(client);
    }

    fn leave(&mut self, index: usize) {
        let Some(client) = self.clients[index].take() else { return };
        let request = S::goodbye(&client, &mut self.random);
        // It may be out already.
        let _ = S::send(&mut self.harness, &self.topics, &request);
    }

    fn come_to_rest(&mut self) {
        self.schedule.prepare_rest(&mut self.topics);
        for round in 0..ROUNDS {
            for index in 0..S::CLIENTS {
                let client = self.client(index);
                let request = S::request_at_rest(&client);
                self.beat(index, client, &request, false);
                S::check(&self.harness, &self.clients);
            }
            self.harness.advance(if round < ROUNDS / 2 { 5_000 } else { 1_000 });
        }
        let clients: Vec<_> = self.clients.iter().flatten().cloned().collect();
        assert_eq!(clients.len(), S::CLIENTS);
        self.schedule.check_at_rest(&self.harness, &self.topics, &clients);
    }
}
