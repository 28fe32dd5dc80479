//! A store whose task crashes and begins anew from its last commit, against one whose task never did.

use proptest::prelude::*;

use super::{
    INTERVAL, InMemorySegmentedStore, KeySchema, PersistentSegmentedStore, Segmentation, SegmentedBytesStore,
    TimeRange, context,
};
use crate::state::{LsmEngine, LsmOptions, Order, TaskDirectory};

/// What a task does with its store: as the operators of the DSL do it.
#[derive(Clone, Copy, Debug)]
enum Operator {
    /// Looks for records that are near, and puts every record.
    Join,
    /// Adds each record to the window it is in.
    Windows,
    /// Adds each record to the sessions that it touches.
    Sessions,
}

/// No multiple of the interval: what has just expired and what has not are in one segment.
const RETENTION: i64 = 120;
const SEGMENTS: Segmentation = Segmentation { retention: RETENTION, interval: INTERVAL, time_ordered: false };
const NEAR: i64 = 10;
const SIZE: i64 = 20;
const GAP: i64 = 10;
/// Nothing that an operator still takes is older than the retention then.
const GRACE: i64 = RETENTION - 2 * GAP;

#[derive(Clone, Debug)]
enum Step {
    /// A key, how far time moves, and how late the record is.
    Record(u8, i64, i64),
    Commit,
    /// The process dies between the commit of the offsets and that of the store.
    CommitOffsets,
    /// A clean end, and a new begin.
    Stop,
    /// Twice in a row: after so many of the records that come again, too.
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let moves = prop_oneof![6 => 0i64..25, 1 => 100i64..300];
    prop_oneof![
        12 => (0u8..2, moves, prop_oneof![2 => Just(0i64), 3 => 0i64..120]).prop_map(|(k, m, l)| Step::Record(k, m, l)),
        1 => Just(Step::Commit),
        1 => Just(Step::CommitOffsets),
        1 => Just(Step::Stop),
        2 => (0usize..8).prop_map(Step::Crash),
    ]
}

/// Entries of a store; which records are in one say its bits.
type Entries = Vec<(Vec<u8>, u128)>;

#[derive(Clone, Copy)]
struct Input {
    position: usize,
    key: u8,
    time: i64,
}

/// A task: its store, what it has written to the changelog, and the greatest time it has seen.
struct Task {
    operator: Operator,
    store: Box<dyn SegmentedBytesStore>,
    observed: i64,
    changelog: Vec<(Vec<u8>, Option<u128>)>,
}

impl Task {
    fn new(operator: Operator, store: Box<dyn SegmentedBytesStore>) -> Self {
        Task { operator, store, observed: -1, changelog: Vec::new() }
    }

    /// What the operator finds for a record, of what has not expired.
    fn process(&mut self, Input { position, key, time }: Input) -> Entries {
        self.observed = self.observed.max(time);
        let (own, mut bits) = ([key], 1u128 << position);
        let range = |reach: i64| TimeRange {
            from_key: Some(&own),
            to_key: Some(&own),
            from: time.saturating_sub(reach),
            to: time + reach,
        };
        let closed = |end: i64| end + GRACE <= self.observed;
        match self.operator {
            Operator::Join => {
                let found = self.fetch(&range(NEAR));
                self.put(window(key, time, position), Some(bits));
                found
            }
            Operator::Windows => {
                let start = time / SIZE * SIZE;
                if closed(start + SIZE) {
                    return Vec::new();
                }
                let found = self.fetch(&TimeRange { from: start, to: start, ..range(0) });
                bits |= union(&found);
                self.put(window(key, start, 0), Some(bits));
                found
            }
            Operator::Sessions => {
                if closed(time + GAP) {
                    return Vec::new();
                }
                let found = self.fetch(&range(GAP));
                let (mut start, mut end) = (time, time);
                for (session, _) in &found {
                    start = start.min(KeySchema::session_start(session));
                    end = end.max(KeySchema::Session.time(session));
                    self.store.remove(session).unwrap();
                    self.changelog.push((session.clone(), None));
                }
                bits |= union(&found);
                self.put([&own[..], &end.to_be_bytes(), &start.to_be_bytes()].concat(), Some(bits));
                found
            }
        }
    }

    fn fetch(&self, range: &TimeRange<'_>) -> Entries {
        let schema = schema(self.operator);
        let entries = self.store.fetch(range, Order::Forward).unwrap().map(|entry| entry.unwrap());
        let live = entries.filter(|(key, _)| schema.time(key) > self.observed - RETENTION);
        live.map(|(key, value)| (key.to_vec(), u128::from_be_bytes(value[..].try_into().unwrap()))).collect()
    }

    fn put(&mut self, key: Vec<u8>, bits: Option<u128>) {
        self.put_below(&key, bits);
        self.changelog.push((key, bits));
    }

    fn put_below(&mut self, key: &[u8], bits: Option<u128>) {
        self.store.put(key, bits.map(u128::to_be_bytes).as_ref().map(|bits| &bits[..])).unwrap();
    }

    fn commit(&mut self) {
        self.store.commit(Some(self.changelog.len() as i64)).unwrap();
    }

    /// Goes on with a store that was opened, as of a commit at which time had come so far.
    fn restore(&mut self, store: Box<dyn SegmentedBytesStore>, committed: i64) {
        (self.store, self.observed) = (store, committed);
        self.store.limit_time(committed);
        let covered = self.store.committed_offset().unwrap().unwrap_or(0) as usize;
        for (at, (key, bits)) in self.changelog.clone().into_iter().enumerate().skip(covered) {
            self.put_below(&key, bits);
            if at % 5 == 4 {
                self.store.commit(Some(at as i64 + 1)).unwrap();
            }
        }
        self.commit();
        self.store.limit_time(i64::MAX);
    }
}

fn schema(operator: Operator) -> KeySchema {
    match operator {
        Operator::Join | Operator::Windows => KeySchema::Window,
        Operator::Sessions => KeySchema::Session,
    }
}

fn window(key: u8, start: i64, number: usize) -> Vec<u8> {
    [&[key], &start.to_be_bytes()[..], &(number as i32).to_be_bytes()].concat()
}

fn union(entries: &Entries) -> u128 {
    entries.iter().fold(0, |all, (_, bits)| all | bits)
}

/// The records of the steps.
fn inputs(steps: &[Step]) -> Vec<Input> {
    let mut now = 0;
    let records = steps.iter().filter_map(|step| match step {
        Step::Record(key, moves, late) => {
            now += moves;
            Some((*key, (now - late).max(0)))
        }
        _ => None,
    });
    records.enumerate().map(|(position, (key, time))| Input { position, key, time }).collect()
}

/// Plays `steps`; `open` opens the store again, with what is on disk.
fn play(
    operator: Operator,
    steps: &[Step],
    undisturbed: Box<dyn SegmentedBytesStore>,
    mut open: impl FnMut() -> Box<dyn SegmentedBytesStore>,
) -> Result<(), TestCaseError> {
    let inputs = inputs(steps);
    let mut undisturbed = Task::new(operator, undisturbed);
    let expected: Vec<Entries> = inputs.iter().map(|input| undisturbed.process(*input)).collect();
    let mut task = Task::new(operator, open());
    // How many records are processed, and what was committed: the number of the next one and the time.
    let (mut processed, mut committed) = (0, (0, -1));
    for step in steps {
        match step {
            Step::Record(..) => {
                prop_assert_eq!(task.process(inputs[processed]), expected[processed].clone(), "record {}", processed);
                processed += 1;
            }
            Step::CommitOffsets => committed = (processed, task.observed),
            Step::Commit | Step::Stop => {
                committed = (processed, task.observed);
                task.commit();
                if matches!(step, Step::Stop) {
                    task.store.close().unwrap();
                    task.store = Box::new(InMemorySegmentedStore::new("none", schema(operator), RETENTION));
                    task.restore(open(), committed.1);
                }
            }
            Step::Crash(again) => {
                for until in [processed.min(committed.0 + again), processed] {
                    task.store = Box::new(InMemorySegmentedStore::new("none", schema(operator), RETENTION));
                    task.restore(open(), committed.1);
                    for at in committed.0..until {
                        let missing = union(&expected[at]) & !union(&task.process(inputs[at]));
                        prop_assert_eq!(missing, 0, "record {} does not find these when it comes again", at);
                    }
                }
            }
        }
    }
    prop_assert_eq!(task.fetch(&TimeRange::ALL), undisturbed.fetch(&TimeRange::ALL));
    Ok(())
}

fn operator() -> impl Strategy<Value = Operator> {
    prop_oneof![Just(Operator::Join), Just(Operator::Windows), Just(Operator::Sessions)]
}

fn persistent(schema: KeySchema, directory: Option<TaskDirectory>) -> Box<dyn SegmentedBytesStore> {
    Box::new(PersistentSegmentedStore::open("s".to_owned(), schema, SEGMENTS, &context(directory)).unwrap())
}

proptest! {
    #[test]
    fn in_memory_nothing_is_missing_after_a_crash(
        steps in proptest::collection::vec(step(), 1..60),
        operator in operator(),
    ) {
        let open = || Box::new(InMemorySegmentedStore::new("s", schema(operator), RETENTION));
        play(operator, &steps, open(), || open())?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 20))]

    #[test]
    fn on_disk_nothing_is_missing_after_a_crash(
        steps in proptest::collection::vec(step(), 1..60),
        operator in operator(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let engine = LsmEngine::new(LsmOptions::default()).unwrap();
        let directory = TaskDirectory { path: folder.path().to_owned(), engine };
        let schema = schema(operator);
        play(operator, &steps, persistent(schema, None), || persistent(schema, Some(directory.clone())))?;
    }
}
