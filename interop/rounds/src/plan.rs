//! What happens in a round: how many run, with which settings, and what disturbs them when. All of it follows from the
//! seed, the number of the round and the kinds that are asked for.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use fastrand::Rng;

use crate::model::SetBack;

/// A kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// SIGKILL to an instance, and another start.
    Kill,
    /// SIGSTOP to an instance for longer than its session, then SIGCONT.
    Stop,
    /// SIGKILL to an instance, which finds no state at its next start.
    Wipe,
    /// SIGKILL to the broker, and another start.
    BrokerKill,
    /// SIGSTOP to the broker, then SIGCONT.
    BrokerStop,
    /// The broker's or the instances' disk is full for a while: a small tmpfs (which takes the right to mount one) with
    /// a file that fills it. Who ends by that is started again when there is room.
    FullDisk,
    /// The clock of instances and broker (not of Apache Kafka's) goes back by hours or days, by libfaketime of Debian's
    /// package of that name.
    /// Without it the records of what time does not decide about are set back instead, and no process's clock is.
    Clock,
    /// SIGTERM to the broker, and another start.
    BrokerRestart,
    /// The broker's disk takes nothing for a while, and whoever writes waits: a file system in a file (which takes the right
    /// to mount one) that is frozen.
    DiskDelay,
}

impl Kind {
    /// Those of rounds at least once.
    pub const AT_LEAST_ONCE: [Kind; 7] =
        [Kind::Kill, Kind::Stop, Kind::Wipe, Kind::BrokerKill, Kind::BrokerStop, Kind::FullDisk, Kind::Clock];

    /// Those of rounds exactly once.
    pub const EXACTLY_ONCE: [Kind; 7] =
        [Kind::Kill, Kind::Stop, Kind::Wipe, Kind::BrokerKill, Kind::BrokerRestart, Kind::BrokerStop, Kind::DiskDelay];

    /// Whether it takes a broker that the rounds have started themselves.
    pub fn needs_own_broker(self) -> bool {
        matches!(self, Kind::BrokerKill | Kind::BrokerStop | Kind::BrokerRestart | Kind::DiskDelay)
    }
}

/// Whose disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The broker's log directory.
    Broker,
    /// The instances' state directories, which lie on one disk.
    State,
}

/// One disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL, and a start after a while.
    Kill {
        /// Which instance.
        instance: usize,
        /// How long it is away.
        away: Duration,
    },
    /// SIGSTOP and SIGCONT.
    Stop {
        /// Which instance.
        instance: usize,
        /// How long it stands.
        away: Duration,
    },
    /// As [`Act::Kill`], and the state directory is removed meanwhile.
    Wipe {
        /// Which instance.
        instance: usize,
        /// How long it is away.
        away: Duration,
    },
    /// SIGKILL to the broker, and a start after a while.
    BrokerKill {
        /// How long it is away.
        away: Duration,
    },
    /// SIGTERM to the broker, and a start after a while.
    BrokerRestart {
        /// How long it is away.
        away: Duration,
    },
    /// SIGSTOP and SIGCONT for the broker.
    BrokerStop {
        /// How long it stands.
        away: Duration,
    },
    /// The broker's disk takes nothing.
    DiskDelay {
        /// For how long.
        frozen: Duration,
    },
    /// No room on a disk.
    FullDisk {
        /// Whose.
        disk: Disk,
        /// For how long.
        full: Duration,
    },
    /// The clock goes back, and stays so.
    ClockBack {
        /// By how much.
        by: Duration,
    },
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Kill { instance, away } => write!(f, "kill instance {instance}, away for {} ms", away.as_millis()),
            Act::Stop { instance, away } => write!(f, "stop instance {instance} for {} ms", away.as_millis()),
            Act::Wipe { instance, away } => {
                write!(f, "kill instance {instance} and wipe its state, away for {} ms", away.as_millis())
            }
            Act::BrokerKill { away } => write!(f, "kill the broker, away for {} ms", away.as_millis()),
            Act::BrokerRestart { away } => write!(f, "restart the broker, away for {} ms", away.as_millis()),
            Act::DiskDelay { frozen } => write!(f, "the broker's disk stands for {} ms", frozen.as_millis()),
            Act::BrokerStop { away } => write!(f, "stop the broker for {} ms", away.as_millis()),
            Act::FullDisk { disk, full } => write!(f, "{disk:?} disk full for {} ms", full.as_millis()),
            Act::ClockBack { by } => write!(f, "clock back by {} s", by.as_secs()),
        }
    }
}

/// A disturbance and the time before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// What passes between the end of the one before and this one.
    pub pause: Duration,
    /// What happens.
    pub act: Act,
}

/// What is the same for all rounds of a run.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The seed.
    pub seed: u64,
    /// What may happen.
    pub kinds: Vec<Kind>,
    /// Steps of the model in a round.
    pub steps: u32,
    /// The instances' `session.timeout.ms`.
    pub session: Duration,
    /// Whether the clock of a process can be set back.
    pub fake_clock: bool,
    /// Whether the broker is the rounds' own.
    pub own_broker: bool,
    /// How many disturbances one application goes through exactly once; `None` for rounds at least once.
    pub exactly_once: Option<u32>,
}

/// How long a step takes of rounds exactly once.
const STEP: Duration = Duration::from_millis(50);

fn rng(frame: &Frame, number: u32) -> Rng {
    Rng::with_seed(frame.seed.wrapping_add(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed of the records.
    pub model_seed: u64,
    /// By instance its number of stream threads.
    pub instances: Vec<u32>,
    /// Partitions of every topic.
    pub partitions: i32,
    /// The instances' `commit.interval.ms`.
    pub commit_interval_ms: u32,
    /// Their producers' `linger.ms`.
    pub linger_ms: u32,
    /// Their `statestore.cache.max.bytes`.
    pub cache_bytes: u32,
    /// Whether the DSL's stores lie on disk, or in memory.
    pub on_disk: bool,
    /// The disk that will be full.
    pub disk: Option<Disk>,
    /// Whether the broker's disk will stand still.
    pub delays_disk: bool,
    /// Steps of the model.
    pub steps: u32,
    /// Whether the clock will be set back.
    pub fakes_clock: bool,
    /// Records set back, where no clock is.
    pub set_back: Option<SetBack>,
    /// What happens, in order.
    pub disturbances: Vec<Disturbance>,
}

impl Plan {
    /// The round of this number. Its first disturbance is of the kind whose turn it is, the others are drawn.
    pub fn new(frame: &Frame, number: u32) -> Self {
        if let Some(disturbances) = frame.exactly_once {
            return Self::exactly_once(frame, number, disturbances);
        }
        let mut rng = rng(frame, number);
        let model_seed = rng.u64(..);
        let instances: Vec<u32> = (0..rng.usize(1..=3)).map(|_| rng.u32(1..=2)).collect();
        let turn = frame.kinds.iter().cycle().nth(number as usize % frame.kinds.len().max(1));
        let mut kinds: Vec<Kind> = turn.copied().into_iter().collect();
        for _ in 0..rng.u8(1..=2) {
            kinds.extend(rng.choice(&frame.kinds).copied());
        }
        // The clock goes back once, and one disk is full once: the rest of a round is for other things.
        let mut once = Vec::new();
        kinds.retain(|kind| {
            let again = once.contains(kind);
            once.push(*kind);
            !again || !matches!(kind, Kind::Clock | Kind::FullDisk)
        });
        let disk = kinds.contains(&Kind::FullDisk).then(|| match frame.own_broker && rng.bool() {
            true => Disk::Broker,
            false => Disk::State,
        });
        let back = Duration::from_secs(rng.u64(3_600..=2 * 86_400));
        let clock = kinds.contains(&Kind::Clock);
        let set_back = SetBack { from_step: rng.u32(0..=frame.steps / 2), by: back };
        let act = |kind: &Kind, rng: &mut Rng| act(*kind, rng, frame, instances.len(), disk, back);
        let acts: Vec<Act> = kinds.iter().filter_map(|kind| act(kind, &mut rng)).collect();
        let disturbances = acts
            .into_iter()
            .map(|act| Disturbance { pause: Duration::from_millis(rng.u64(200..=2_500)), act })
            .collect();
        Self {
            model_seed,
            partitions: rng.i32(1..=3),
            commit_interval_ms: pick(&mut rng, &[50, 100, 300, 1_000]),
            linger_ms: pick(&mut rng, &[0, 5, 50]),
            cache_bytes: pick(&mut rng, &[0, 1 << 20, 10 << 20]),
            on_disk: disk == Some(Disk::State) || rng.u8(0..4) != 0,
            disk,
            delays_disk: kinds.contains(&Kind::DiskDelay),
            steps: frame.steps,
            fakes_clock: clock && frame.fake_clock,
            set_back: (clock && !frame.fake_clock).then_some(set_back),
            instances,
            disturbances,
        }
    }

    /// Three instances that go through many disturbances: the kinds take turns in an order that is drawn anew each time.
    fn exactly_once(frame: &Frame, number: u32, disturbances: u32) -> Self {
        let mut rng = rng(frame, number);
        let model_seed = rng.u64(..);
        let instances: Vec<u32> = (0..3).map(|_| rng.u32(1..=2)).collect();
        let disk = frame.kinds.contains(&Kind::FullDisk).then_some(Disk::State);
        let mut turns: Vec<Kind> = Vec::new();
        let mut acts = Vec::new();
        while acts.len() < disturbances as usize {
            if turns.is_empty() {
                turns.clone_from(&frame.kinds);
                rng.shuffle(&mut turns);
            }
            let Some(kind) = turns.pop() else { break };
            let Some(act) = act(kind, &mut rng, frame, instances.len(), disk, Duration::ZERO) else { continue };
            acts.push(Disturbance { pause: Duration::from_millis(rng.u64(200..=1_200)), act });
        }
        let mut plan = Self {
            model_seed,
            partitions: rng.i32(2..=3),
            commit_interval_ms: pick(&mut rng, &[50, 100, 300]),
            linger_ms: pick(&mut rng, &[0, 5]),
            cache_bytes: pick(&mut rng, &[0, 0, 1 << 20]),
            on_disk: disk == Some(Disk::State) || rng.u8(0..4) != 0,
            disk,
            delays_disk: frame.kinds.contains(&Kind::DiskDelay),
            steps: 0,
            fakes_clock: false,
            set_back: None,
            instances,
            disturbances: acts,
        };
        plan.steps = u32::try_from(plan.length().as_millis() / STEP.as_millis()).unwrap_or(u32::MAX).max(frame.steps);
        plan
    }

    /// How long the disturbances take, without what starts and ends.
    pub fn length(&self) -> Duration {
        self.disturbances.iter().map(|disturbance| disturbance.pause + length(&disturbance.act)).sum()
    }
}

fn length(act: &Act) -> Duration {
    match *act {
        Act::Kill { away, .. }
        | Act::Stop { away, .. }
        | Act::Wipe { away, .. }
        | Act::BrokerKill { away }
        | Act::BrokerRestart { away }
        | Act::BrokerStop { away } => away,
        Act::DiskDelay { frozen } => frozen,
        Act::FullDisk { full, .. } => full,
        Act::ClockBack { .. } => Duration::ZERO,
    }
}

/// `None` where a clock is to be set back and cannot be: then the records are.
fn act(kind: Kind, rng: &mut Rng, frame: &Frame, instances: usize, disk: Option<Disk>, back: Duration) -> Option<Act> {
    let instance = rng.usize(0..instances.max(1));
    let mut between = |from: u64, to: u64| Duration::from_millis(rng.u64(from..=to));
    Some(match kind {
        Kind::Kill => Act::Kill { instance, away: between(0, 1_500) },
        Kind::Stop => Act::Stop { instance, away: frame.session + between(1_000, 4_000) },
        Kind::Wipe => Act::Wipe { instance, away: between(0, 1_500) },
        Kind::BrokerKill => Act::BrokerKill { away: between(0, 2_000) },
        Kind::BrokerRestart => Act::BrokerRestart { away: between(0, 1_000) },
        Kind::DiskDelay => Act::DiskDelay { frozen: between(200, 3_000) },
        // Shorter and longer than the instances' sessions.
        Kind::BrokerStop => Act::BrokerStop { away: between(500, 8_000) },
        Kind::FullDisk => Act::FullDisk { disk: disk?, full: between(2_000, 7_000) },
        Kind::Clock if frame.fake_clock => Act::ClockBack { by: back },
        Kind::Clock => return None,
    })
}

fn pick(rng: &mut Rng, values: &[u32]) -> u32 {
    rng.choice(values).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kinds: &[Kind]) -> Frame {
        Frame {
            seed: 7,
            kinds: kinds.to_vec(),
            steps: 1_000,
            session: Duration::from_secs(4),
            fake_clock: true,
            own_broker: true,
            exactly_once: None,
        }
    }

    #[test]
    fn exactly_once_every_kind_has_its_turn_in_each_cycle() {
        let frame = Frame { exactly_once: Some(14), ..frame(&Kind::EXACTLY_ONCE) };
        let plan = Plan::new(&frame, 3);
        assert_eq!(plan, Plan::new(&frame, 3));
        assert_eq!((plan.instances.len(), plan.disturbances.len(), plan.delays_disk), (3, 14, true));
        for cycle in plan.disturbances.chunks(7) {
            let kinds: std::collections::BTreeSet<_> =
                cycle.iter().map(|one| format!("{:?}", std::mem::discriminant(&one.act))).collect();
            assert_eq!(kinds.len(), 7);
        }
        assert!(u128::from(plan.steps) * STEP.as_millis() + STEP.as_millis() > plan.length().as_millis());
    }

    #[test]
    fn a_round_is_the_same_whichever_rounds_go_before_it() {
        let frame = frame(&Kind::AT_LEAST_ONCE);
        assert_eq!(Plan::new(&frame, 5), Plan::new(&frame, 5));
        assert_ne!(Plan::new(&frame, 5), Plan::new(&frame, 6));
        assert_ne!(Plan::new(&frame, 5), Plan::new(&Frame { seed: 8, ..frame.clone() }, 5));
    }

    #[test]
    fn each_kind_has_its_turn() {
        let frame = frame(&Kind::AT_LEAST_ONCE);
        let first = |number| Plan::new(&frame, number).disturbances.first().map(|disturbance| disturbance.act);
        assert!(matches!(first(0), Some(Act::Kill { .. })));
        assert!(matches!(first(1), Some(Act::Stop { .. })));
        assert!(matches!(first(5), Some(Act::FullDisk { .. })));
        assert!(matches!(first(13), Some(Act::ClockBack { .. })));
    }

    #[test]
    fn a_stop_is_longer_than_the_session() {
        let frame = frame(&[Kind::Stop]);
        for disturbance in (0..50).flat_map(|number| Plan::new(&frame, number).disturbances) {
            assert!(matches!(disturbance.act, Act::Stop { away, .. } if away > frame.session), "{disturbance:?}");
        }
    }

    #[test]
    fn where_no_clock_can_be_set_back_the_records_are() {
        let frame = Frame { fake_clock: false, ..frame(&[Kind::Clock]) };
        let plan = Plan::new(&frame, 0);
        assert!(plan.set_back.is_some() && !plan.fakes_clock && plan.disturbances.is_empty());
    }

    #[test]
    fn a_disk_that_fills_belongs_to_somebody_who_is_there() {
        let frame = Frame { own_broker: false, ..frame(&[Kind::FullDisk]) };
        for number in 0..20 {
            let plan = Plan::new(&frame, number);
            assert_eq!((plan.disk, plan.on_disk), (Some(Disk::State), true));
            assert_eq!(plan.disturbances.len(), 1);
        }
    }
}
