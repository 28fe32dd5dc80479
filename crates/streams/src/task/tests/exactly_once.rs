//! What loses or repeats things in its buffers, under exactly-once: random topologies of parts that hold something back,
//! whose transactions come to nothing, whose tasks fail within a record, and whose processes die, with their disk or without.
//!
//! Beside each stand tasks that only ever do what came to be committed: one without any interruption, and one that is
//! restored from the changelogs alone wherever the first one began anew, as Kafka does it. What is committed must be the
//! same, record by record: results, changelogs and what goes through internal topics. So nothing of an aborted attempt is
//! left in a buffer, a cache, a changelog or a store, for the records that follow would show it.
//!
//! Each of these, broken in one line, is found: a cache, a map in memory, windows in memory and their time, a buffer of
//! `suppress` with what is to be written of it, and an outer join with its time forget; what cannot forget is not kept, and
//! on disk emptied, whether anything was committed or not; a buffer is restored to the places that its changelog tells, and
//! a commit is the end of what it may have to undo; times of processors come with the commit.
//!
//! Not found: that subscriptions of foreign-key joins forget, since what comes through topics comes again as it was; that
//! stores on disk do, since they are opened anew; that time goes no further while stores are restored, which
//! [`begun_anew`](super::begun_anew) is about; and what only makes a restoration longer.

mod parts;
mod run;
mod stores;

use proptest::prelude::*;

use self::{
    parts::{PARTS, Part, Restart},
    run::{Entry, Run},
};
use super::*;

/// The bytes that decide; zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % bound
    }
}

/// A record from outside.
#[derive(Clone, Debug)]
struct Input {
    topic: &'static str,
    key: &'static str,
    value: Option<String>,
    /// In ms.
    timestamp: i64,
}

/// How a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    /// It is abandoned: its transaction was aborted, it was fenced, or it is not known what became of a commit.
    Abandoned,
    /// Its process is killed.
    Killed,
    /// Its process is killed, and what is on disk is lost.
    Lost,
}

/// What comes to nothing.
#[derive(Clone, Debug)]
struct Attempt {
    /// How many records from outside are processed.
    records: usize,
    /// Whether the records of a topic come before those of others that they come after when it is tried again.
    reorders: bool,
    /// After so many records nothing can be sent any more.
    fails_after: Option<usize>,
    flushes: bool,
    going: Going,
    /// Whether the next one goes, too, before its stores are restored.
    interrupted: Option<Going>,
}

/// What a task does between two commits.
#[derive(Clone, Debug)]
struct Batch {
    /// The wall clock, in ms.
    now: i64,
    attempts: Vec<Attempt>,
    /// How many records from outside are in it.
    records: usize,
    end: End,
}

/// What follows when a transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    GoesOn,
    /// The task is closed and made again.
    Closes,
    /// The task does not get to know that it was committed.
    Unknown(Going),
    /// It does, and then it goes.
    Known(Going),
}

struct Case {
    topology: crate::Topology,
    config: StreamsConfig,
    /// Topics that it reads from outside.
    topics: Vec<&'static str>,
    restart: Restart,
    /// Whether no record is later than those before it. Others are no later than any grace period: what is too late is told
    /// by the time that a node of windows has seen, and after a restart it has seen none, as in Kafka.
    is_in_order: bool,
    inputs: Vec<Input>,
    batches: Vec<Batch>,
}

const KEYS: [&str; 3] = ["a", "b", "c"];

impl Case {
    fn of(bytes: &[u8]) -> Case {
        let mut choices = Choices(bytes);
        let config = StreamsConfig::builder("test")
            .set("processing.guarantee", "exactly_once_v2")
            .set("dsl.store.suppliers.class", ["rocksdb", "in_memory", "in_memory"][choices.below(3)])
            .set("dsl.store.format", ["DEFAULT", "HEADERS"][choices.below(2)])
            .set("statestore.cache.max.bytes", ["0", "10485760"][choices.below(2)])
            .set("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", "0")
            .set("__emit.interval.ms.kstreams.windowed.aggregation__", "0")
            .build()
            .unwrap();
        let mut parts: Vec<usize> = (0..=choices.below(2)).map(|_| choices.below(PARTS.len())).collect();
        parts.dedup();
        let parts: Vec<Part> = parts.into_iter().map(|part| PARTS[part]).collect();
        let builder = StreamsBuilder::with_config(&config);
        parts.iter().for_each(|part| (part.describe)(&builder));
        let mut case = Case {
            topology: builder.build_with(&config).unwrap(),
            config,
            topics: parts.iter().flat_map(|part| part.topics).copied().collect(),
            restart: parts.iter().map(|part| part.restart).max().unwrap_or(Restart::Unseen),
            is_in_order: choices.below(2) == 0,
            inputs: Vec::new(),
            batches: Vec::new(),
        };
        let mut time = 0;
        while !choices.0.is_empty() {
            case.add_batch(&mut choices, &mut time);
        }
        case.close(time);
        case
    }

    fn add_batch(&mut self, choices: &mut Choices<'_>, time: &mut i64) {
        let records = 1 + choices.below(4);
        for _ in 0..records {
            *time += [0, 500, 1000, 2500, 7000, 40_000][choices.below(6)];
            let topic = self.topics[choices.below(self.topics.len())];
            let value = format!("{}{}", KEYS[choices.below(3)], choices.below(3));
            let is_deletion = topic.ends_with("-rows") && choices.below(4) == 3;
            let late = if self.is_in_order { 0 } else { [0, 0, 1000, 2000][choices.below(4)] };
            self.inputs.push(Input {
                topic,
                key: KEYS[choices.below(3)],
                value: (!is_deletion).then_some(value),
                timestamp: (*time - late).max(0),
            });
        }
        let going = |choices: &mut Choices<'_>| {
            [Going::Abandoned, Going::Abandoned, Going::Killed, Going::Lost][choices.below(4)]
        };
        let attempts = (0..choices.below(3)).map(|_| Attempt {
            records: choices.below(12),
            reorders: choices.below(2) == 1,
            fails_after: (choices.below(3) == 2).then(|| choices.below(12)),
            flushes: choices.below(2) == 1,
            going: going(choices),
            interrupted: (choices.below(4) == 3).then(|| going(choices)),
        });
        let attempts = attempts.collect();
        let end = match choices.below(6) {
            0..=2 => End::GoesOn,
            3 => End::Closes,
            4 => End::Unknown(going(choices)),
            _ => End::Known(going(choices)),
        };
        let now = self.batches.last().map_or(0, |batch| batch.now) + [0, 1000, 4000][choices.below(3)];
        self.batches.push(Batch { now, attempts, records, end });
    }

    /// All keys come once more, so that what should not be there shows; and time goes on until everything has closed.
    fn close(&mut self, time: i64) {
        for later in [0, 1000, 3_600_000, 7_200_000] {
            for (topic, key) in self.topics.iter().flat_map(|topic| KEYS.map(|key| (*topic, key))) {
                let value = Some(format!("{key}9"));
                self.inputs.push(Input { topic, key, value, timestamp: time + later });
            }
            let now = self.batches.last().map_or(0, |batch| batch.now) + 4000;
            let records = self.topics.len() * KEYS.len();
            self.batches.push(Batch { now, attempts: Vec::new(), records, end: End::GoesOn });
        }
    }

    /// What is committed in the end.
    fn play(&self) -> Vec<Entry> {
        let mut run = Run::new(self, true);
        for batch in &self.batches {
            run.set_clock(batch.now);
            for attempt in &batch.attempts {
                run.attempt(attempt);
            }
            run.process(batch.records, false).unwrap();
            run.commit(batch.records, batch.end);
        }
        run.committed()
    }

    /// The same without what came to nothing; `anew` tells whether tasks are restored from changelogs nevertheless.
    fn play_undisturbed(&self, anew: bool) -> Vec<Entry> {
        let mut run = Run::new(self, false);
        for batch in &self.batches {
            run.set_clock(batch.now);
            if anew && !batch.attempts.is_empty() {
                run.go(Going::Lost, None);
            }
            run.process(batch.records, false).unwrap();
            run.commit(batch.records, End::GoesOn);
            if anew && batch.end != End::GoesOn {
                run.go(Going::Lost, None);
            }
        }
        run.committed()
    }
}

/// Both must be the same; what is told is where they part.
fn same(found: &[Entry], expected: &[Entry], beside: &str, case: &Case) -> Result<(), TestCaseError> {
    let common = found.iter().zip(expected).take_while(|(one, other)| one == other).count();
    let told = || {
        let of = |entries: &[Entry]| entries.iter().skip(common).take(3).map(Entry::to_string).collect::<Vec<_>>();
        let (found, expected) = (of(found).join("\n  "), of(expected).join("\n  "));
        let settings = case.config.fields();
        let (in_memory, cache) = (settings.stores_in_memory, settings.cache_max_bytes);
        format!(
            "{:?}, in memory: {in_memory}, cache: {cache}: other than a task that {beside}, after {common} records:\n  \
             {found}\nexpected:\n  {expected}\nof {:#?}\n{:#?}",
            case.topics, case.inputs, case.batches
        )
    };
    if found == expected { Ok(()) } else { Err(TestCaseError::fail(told())) }
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let case = Case::of(bytes);
    let found = case.play();
    same(&found, &case.play_undisturbed(true), "is restored from changelogs", &case)?;
    match case.restart {
        Restart::Unseen if case.is_in_order => same(&found, &case.play_undisturbed(false), "is not disturbed", &case),
        Restart::Delays if case.is_in_order => {
            let results = |mut entries: Vec<Entry>| {
                entries.retain(Entry::is_result);
                entries.sort_by_key(Entry::to_string);
                entries
            };
            let undisturbed = results(case.play_undisturbed(false));
            same(&results(found), &undisturbed, "is not disturbed, in any order", &case)
        }
        _ => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_came_to_nothing_has_left_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes)?;
    }
}
