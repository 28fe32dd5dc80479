//! The engines of keys in time against a map that knows nothing but the rules of retention.

mod crashes;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    InMemorySegmentedStore, KeySchema, PersistentSegmentedStore, Segmentation, SegmentedBytesStore, TimeRange,
};
use crate::state::{EngineContext, LsmEngine, LsmOptions, Order, RestoredFrom, TaskDirectory};

const RETENTION: i64 = 100;
const INTERVAL: i64 = 50;

#[derive(Clone, Debug)]
enum Op {
    /// Key, time, and what is left of the suffix: the sequence number or the session's length.
    Put(Vec<u8>, i64, u8, Option<u8>),
    Get(Vec<u8>, i64, u8),
    Fetch(Option<Vec<u8>>, Option<Vec<u8>>, i64, i64, bool),
    /// The transaction is committed.
    Commit,
    /// It is aborted, and what was put is forgotten.
    Abort,
    /// It is not known to the store what has become of it: it is opened again, and reads what the changelog has.
    Crash {
        committed: bool,
    },
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(vec![b"".to_vec(), b"a".to_vec(), b"aa".to_vec(), b"b".to_vec(), b"\xff".to_vec()]),
        proptest::collection::vec(any::<u8>(), 0..3),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (key(), 0i64..400, 0u8..3, proptest::option::of(any::<u8>())).prop_map(|(k, t, r, v)| Op::Put(k, t, r, v)),
        2 => (key(), 0i64..400, 0u8..3).prop_map(|(k, t, r)| Op::Get(k, t, r)),
        3 => (proptest::option::of(key()), proptest::option::of(key()), 0i64..400, 0i64..400, any::<bool>())
            .prop_map(|(a, b, from, to, reverse)| Op::Fetch(a, b, from, to, reverse)),
        1 => (key(), 0i64..400, 0i64..400, any::<bool>())
            .prop_map(|(k, from, to, reverse)| Op::Fetch(Some(k.clone()), Some(k), from, to, reverse)),
        2 => Just(Op::Commit),
        1 => Just(Op::Abort),
        1 => any::<bool>().prop_map(|committed| Op::Crash { committed }),
    ]
}

fn bytes(schema: KeySchema, key: &[u8], time: i64, rest: u8) -> Vec<u8> {
    match schema {
        KeySchema::Window => [key, &time.to_be_bytes(), &i32::from(rest).to_be_bytes()].concat(),
        KeySchema::Session => {
            let start = time.saturating_sub(10 * i64::from(rest)).max(0);
            [key, &time.to_be_bytes(), &start.to_be_bytes()].concat()
        }
    }
}

/// Everything that was put and not deleted, and the greatest time of any put.
#[derive(Clone)]
struct Model {
    schema: KeySchema,
    /// Whether an expired put still lands where its segment lives.
    in_segments: bool,
    entries: BTreeMap<Vec<u8>, u8>,
    stream_time: i64,
}

impl Model {
    fn new(schema: KeySchema, in_segments: bool) -> Self {
        Model { schema, in_segments, entries: BTreeMap::new(), stream_time: -1 }
    }

    fn put(&mut self, key: &[u8], value: Option<u8>) -> bool {
        let time = self.schema.time(key);
        self.stream_time = self.stream_time.max(time);
        let taken = if self.in_segments {
            time / INTERVAL >= (self.stream_time - RETENTION) / INTERVAL
        } else {
            self.is_live(key)
        };
        if taken {
            match value {
                Some(value) => drop(self.entries.insert(key.to_vec(), value)),
                None => drop(self.entries.remove(key)),
            }
        }
        taken
    }

    fn is_live(&self, key: &[u8]) -> bool {
        self.schema.time(key) > self.stream_time - RETENTION
    }

    fn fetch(&self, range: &TimeRange<'_>, order: Order) -> Vec<(Vec<u8>, u8)> {
        let (schema, width) = (self.schema, if self.schema == KeySchema::Window { 12 } else { 16 });
        let start = |key: &[u8]| i64::from_be_bytes(key[key.len() - 8..].try_into().unwrap());
        let in_range = |key: &[u8]| {
            let (own, time) = (&key[..key.len() - width], schema.time(key));
            let begins = if schema == KeySchema::Window { time } else { start(key) };
            range.from_key.is_none_or(|from| own >= from)
                && range.to_key.is_none_or(|to| own <= to)
                && time >= range.from
                && begins <= range.to
        };
        let mut found: Vec<_> = self.entries.iter().filter(|(key, _)| self.is_live(key) && in_range(key)).collect();
        if self.in_segments {
            found.sort_by_key(|(key, _)| (schema.time(key) / INTERVAL, key.to_vec()));
        } else {
            found.sort_by_key(|(key, _)| {
                let rest = &key[key.len() - (width - 8)..];
                let rest = match schema {
                    KeySchema::Window => i64::from(rest[3]),
                    KeySchema::Session => -start(key),
                };
                (schema.time(key), key[..key.len() - width].to_vec(), rest)
            });
        }
        let found = found.into_iter().map(|(key, value)| (key.clone(), *value));
        match order {
            Order::Forward => found.collect(),
            Order::Reverse => found.rev().collect(),
        }
    }
}

/// Plays `ops`; `reopen` makes the store again after a crash, from what is on disk. A store that is not `transactional`
/// cannot forget.
fn play(
    transactional: bool,
    mut model: Model,
    ops: Vec<Op>,
    mut reopen: impl FnMut() -> Box<dyn SegmentedBytesStore>,
) -> Result<(), TestCaseError> {
    let schema = model.schema;
    let mut store = reopen();
    // What records of aborted transactions and ends of transactions were is nothing to a reader.
    let mut changelog: Vec<Option<(Vec<u8>, Option<u8>)>> = Vec::new();
    let (mut committed, mut covered) = (model.clone(), 0);
    for op in ops {
        match op {
            Op::Put(key, time, rest, value) => {
                let key = bytes(schema, &key, time, rest);
                let taken = store.put(&key, value.as_ref().map(std::slice::from_ref)).unwrap();
                prop_assert_eq!(taken, model.put(&key, value));
                changelog.push(Some((key, value)));
            }
            Op::Get(key, time, rest) => {
                let key = bytes(schema, &key, time, rest);
                let expected = |model: &Model| model.entries.get(&key).filter(|_| model.is_live(&key)).copied();
                prop_assert_eq!(store.get(&key).unwrap().map(|value| value[0]), expected(&model));
                if transactional {
                    store.read_committed(true);
                    prop_assert_eq!(store.get(&key).unwrap().map(|value| value[0]), expected(&committed));
                    store.read_committed(false);
                }
            }
            Op::Fetch(from_key, to_key, from, to, reverse) => {
                let range = TimeRange { from_key: from_key.as_deref(), to_key: to_key.as_deref(), from, to };
                let order = if reverse { Order::Reverse } else { Order::Forward };
                compare(&*store, &model, &range, order)?;
                if transactional {
                    store.read_committed(true);
                    compare(&*store, &committed, &range, order)?;
                    store.read_committed(false);
                }
            }
            Op::Commit => {
                store.commit(Some(changelog.len() as i64)).unwrap();
                changelog.push(None);
                (committed, covered) = (model.clone(), changelog.len());
            }
            Op::Abort => {
                // One without segments has nothing to forget.
                let forgotten = store.forget().unwrap();
                prop_assert!(forgotten || !transactional);
                if forgotten {
                    model = committed.clone();
                    changelog[covered..].fill(None);
                }
            }
            Op::Crash { committed: is_committed } => {
                drop(store);
                store = reopen();
                if !is_committed {
                    model = committed;
                    changelog[covered..].fill(None);
                }
                changelog.push(None);
                let from = store.committed_offset().unwrap().unwrap_or(0) as usize;
                for (key, value) in changelog[from..].iter().flatten() {
                    store.put(key, value.as_ref().map(std::slice::from_ref)).unwrap();
                }
                // A store that was opened knows the time again with the next record.
                let latest = bytes(schema, b"clock", model.stream_time.max(0), 0);
                prop_assert!(store.put(&latest, Some(&[0])).unwrap());
                model.put(&latest, Some(0));
                changelog.push(Some((latest, Some(0))));
                store.commit(Some(changelog.len() as i64)).unwrap();
                (committed, covered) = (model.clone(), changelog.len());
            }
        }
    }
    compare(&*store, &model, &TimeRange::ALL, Order::Forward)
}

fn compare(
    store: &dyn SegmentedBytesStore,
    model: &Model,
    range: &TimeRange<'_>,
    order: Order,
) -> Result<(), TestCaseError> {
    let found = store.fetch(range, order).unwrap().map(|entry| entry.map(|(key, value)| (key.to_vec(), value[0])));
    let found: Vec<_> = found.collect::<Result<_, _>>().unwrap();
    let expected = if range.is_backwards() { Vec::new() } else { model.fetch(range, order) };
    prop_assert_eq!(found, expected);
    Ok(())
}

fn context(state_dir: Option<TaskDirectory>) -> EngineContext {
    EngineContext { task_id: "0_0".to_owned(), state_dir, restored_from: RestoredFrom::Changelog, transactional: false }
}

const SEGMENTS: Segmentation = Segmentation { retention: RETENTION, interval: INTERVAL, time_ordered: false };

fn schema_of(sessions: bool) -> KeySchema {
    if sessions { KeySchema::Session } else { KeySchema::Window }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn in_memory_is_a_map_by_time(
        ops in proptest::collection::vec(op(), 1..60),
        sessions in any::<bool>(),
        transactional in any::<bool>(),
    ) {
        let schema = schema_of(sessions);
        play(transactional, Model::new(schema, false), ops, || Box::new(match transactional {
            true => InMemorySegmentedStore::transactional("s", schema, RETENTION),
            false => InMemorySegmentedStore::new("s", schema, RETENTION),
        }))?;
    }

    #[test]
    fn segments_are_a_map_by_segment(
        ops in proptest::collection::vec(op(), 1..60),
        sessions in any::<bool>(),
        transactional in any::<bool>(),
    ) {
        let schema = schema_of(sessions);
        let context = EngineContext { transactional, ..context(None) };
        play(transactional, Model::new(schema, true), ops, || {
            Box::new(PersistentSegmentedStore::open("s".to_owned(), schema, SEGMENTS, &context).unwrap())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 20))]

    #[test]
    fn segments_on_disk_come_back_as_of_the_last_commit(
        ops in proptest::collection::vec(op(), 1..60),
        sessions in any::<bool>(),
    ) {
        let schema = schema_of(sessions);
        let folder = tempfile::tempdir().unwrap();
        let engine = LsmEngine::new(LsmOptions::default()).unwrap();
        play(true, Model::new(schema, true), ops, || {
            let directory = TaskDirectory { path: folder.path().to_owned(), engine: engine.clone() };
            let store = PersistentSegmentedStore::open("s".to_owned(), schema, SEGMENTS, &context(Some(directory)));
            Box::new(store.unwrap())
        })?;
    }
}

/// The directories of the segments of `s`.
fn on_disk(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path().join("s")).unwrap().map(|entry| entry.unwrap());
    let segments = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> = segments.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_segment_leaves_the_disk_when_it_has_expired() {
    let folder = tempfile::tempdir().unwrap();
    let engine = LsmEngine::new(LsmOptions::default()).unwrap();
    let directory = TaskDirectory { path: folder.path().to_owned(), engine };
    let open = || {
        PersistentSegmentedStore::open("s".to_owned(), KeySchema::Window, SEGMENTS, &context(Some(directory.clone())))
    };
    let mut store = open().unwrap();
    let put = |store: &mut PersistentSegmentedStore, time| {
        store.put(&bytes(KeySchema::Window, b"k", time, 0), Some(b"v")).unwrap()
    };
    assert!(put(&mut store, 10) && put(&mut store, 60));
    assert_eq!(on_disk(&folder), ["s.0", "s.50"]);
    store.commit(Some(2)).unwrap();
    store.close().unwrap();
    drop(store);
    let mut store = open().unwrap();
    assert_eq!(store.committed_offset().unwrap(), Some(2));
    assert!(put(&mut store, 155));
    assert_eq!(on_disk(&folder), ["s.0", "s.150", "s.50"], "who begins anew from the last commit needs them all");
    store.commit(Some(3)).unwrap();
    assert_eq!(on_disk(&folder), ["s.150", "s.50"]);
    assert!(!put(&mut store, 10));
    assert_eq!(store.get(&Bytes::from(bytes(KeySchema::Window, b"k", 60, 0))).unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn what_stays_longer_is_that_of_one_more_commit() {
    let folder = tempfile::tempdir().unwrap();
    let engine = LsmEngine::new(LsmOptions::default()).unwrap();
    let directory = TaskDirectory { path: folder.path().to_owned(), engine };
    let store = PersistentSegmentedStore::open("s".to_owned(), KeySchema::Window, SEGMENTS, &context(Some(directory)));
    let mut store = store.unwrap();
    // The time between two commits.
    let between = 200;
    let at_most = |time: i64| (time / INTERVAL + 1) as usize;
    for time in (0..2000).step_by(10) {
        assert!(store.put(&bytes(KeySchema::Window, b"k", time, 0), Some(b"v")).unwrap());
        assert!(on_disk(&folder).len() <= at_most(RETENTION + between), "{:?}", on_disk(&folder));
        if time % between == 0 {
            store.commit(Some(time)).unwrap();
            assert!(on_disk(&folder).len() <= at_most(RETENTION), "{:?}", on_disk(&folder));
        }
    }
}

#[test]
fn the_time_goes_no_further_than_its_limit() {
    enum Do {
        Limit(i64),
        /// A time, and whether it is taken.
        Put(i64, bool),
        Commit,
    }
    use Do::{Commit, Limit, Put};
    // What is done, the time of the store then, and the times of what is found.
    let cases: [(&str, &[Do], i64, &[i64]); 7] = [
        ("no limit", &[Put(10, true), Put(60, true), Put(155, true)], 155, &[60, 155]),
        ("behind what is put", &[Limit(109), Put(10, true), Put(60, true), Put(400, true)], 109, &[10, 60, 400]),
        ("and a commit", &[Limit(109), Put(10, true), Put(400, true), Commit, Put(20, true)], 109, &[10, 20, 400]),
        ("before what is put", &[Limit(500), Put(10, true), Put(60, true), Put(155, true)], 155, &[60, 155]),
        ("put too late", &[Limit(109), Put(60, true), Put(10, true), Put(155, true)], 109, &[10, 60, 155]),
        ("below what it was", &[Put(60, true), Put(80, true), Limit(70), Put(155, true)], 70, &[60, 80, 155]),
        (
            "over",
            &[Limit(109), Put(10, true), Put(155, true), Limit(i64::MAX), Put(111, true), Commit],
            111,
            &[111, 155],
        ),
    ];
    for (name, done, time, found) in cases {
        for schema in [KeySchema::Window, KeySchema::Session] {
            let in_memory = InMemorySegmentedStore::new("s", schema, RETENTION);
            let segments = PersistentSegmentedStore::open("s".to_owned(), schema, SEGMENTS, &context(None)).unwrap();
            let stores: [Box<dyn SegmentedBytesStore>; 2] = [Box::new(in_memory), Box::new(segments)];
            for mut store in stores {
                let what = format!("{name}, {schema:?}, persistent: {}", store.persistent());
                for step in done {
                    match step {
                        Limit(limit) => store.limit_time(*limit),
                        Commit => store.commit(None).unwrap(),
                        Put(time, taken) => {
                            let put = store.put(&bytes(schema, b"k", *time, 0), Some(b"v")).unwrap();
                            assert_eq!(put, *taken, "{what}: {time}");
                        }
                    }
                }
                assert_eq!(store.time(), Some(time), "{what}");
                let entries = store.fetch(&TimeRange::ALL, Order::Forward).unwrap();
                let times: Vec<_> = entries.map(|entry| schema.time(&entry.unwrap().0)).collect();
                assert_eq!(times, found, "{what}");
            }
        }
    }
}
