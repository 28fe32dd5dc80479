//! The engines of keys and values against a map, through transactions: committed, aborted, of unknown outcome, and with
//! processes and machines that die meanwhile.

use std::{collections::BTreeMap, fs, ops::Bound, path::Path};

use bytes::Bytes;
use proptest::prelude::*;

use super::{BytesIter, InMemoryKeyValueStore, KeyValueBytesStore, LsmEngine, LsmOptions, Order};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
/// A key, and its value or none.
type Change = (Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug)]
enum Op {
    Put(Vec<u8>, Option<Vec<u8>>),
    /// Deletes what is between two keys, one by one.
    DeleteRange(Vec<u8>, Vec<u8>),
    Range(Option<Vec<u8>>, Option<Vec<u8>>),
    Prefix(Vec<u8>),
    /// The transaction is committed.
    Commit,
    /// It is aborted, and what was put is forgotten.
    Abort,
    /// It is aborted, and its task goes.
    Close,
    /// The process dies, and it is not known to the store what has become of the transaction.
    Crash {
        committed: bool,
        /// The restoration does not come to its end the first time.
        interrupted: Option<Interruption>,
    },
    /// The machine dies: of what was not forced to the disk so many bytes are lost.
    MachineDies {
        lost: usize,
    },
}

/// How a restoration ends before its end.
#[derive(Clone, Copy, Debug)]
struct Interruption {
    /// After so many records.
    after: usize,
    /// Whether the process dies; else the store is closed.
    dies: bool,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0u8, 1, b'a', 0xff]), 0..3)
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..4));
    prop_oneof![
        12 => (key(), value).prop_map(|(key, value)| Op::Put(key, value)),
        1 => (key(), key()).prop_map(|(from, to)| Op::DeleteRange(from, to)),
        3 => (prop::option::of(key()), prop::option::of(key())).prop_map(|(from, to)| Op::Range(from, to)),
        3 => key().prop_map(Op::Prefix),
        3 => Just(Op::Commit),
        2 => Just(Op::Abort),
        1 => Just(Op::Close),
        2 => (any::<bool>(), prop::option::of((0usize..20, any::<bool>()))).prop_map(|(committed, interrupted)| {
            let interrupted = interrupted.map(|(after, dies)| Interruption { after, dies });
            Op::Crash { committed, interrupted }
        }),
        1 => (0usize..200).prop_map(|lost| Op::MachineDies { lost }),
    ]
}

fn entries(found: BytesIter) -> Vec<(Vec<u8>, Vec<u8>)> {
    found.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// Both directions of a scan.
fn compare(
    expected: &Map,
    within: impl Fn(&[u8]) -> bool,
    scan: impl Fn(Order) -> BytesIter,
) -> Result<(), TestCaseError> {
    let mut expected: Vec<_> = expected.clone().into_iter().filter(|(key, _)| within(key)).collect();
    prop_assert_eq!(entries(scan(Order::Forward)), expected.clone());
    expected.reverse();
    prop_assert_eq!(entries(scan(Order::Reverse)), expected);
    Ok(())
}

/// A store, what is in it, and its changelog: none where a record counts for nothing.
struct Bench<'a> {
    store: Box<dyn KeyValueBytesStore>,
    open: &'a dyn Fn() -> Box<dyn KeyValueBytesStore>,
    now: Map,
    committed: Map,
    changelog: Vec<Option<Change>>,
    /// Where the changelog was at the last commit.
    covered: usize,
    /// What the store was told then.
    known: i64,
}

impl Bench<'_> {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.store.put(&key, value.as_deref()).unwrap();
        match value.clone() {
            Some(value) => drop(self.now.insert(key.clone(), value)),
            None => drop(self.now.remove(&key)),
        }
        self.changelog.push(Some((key, value)));
    }

    /// The transaction has come to an end, and the changelog says which.
    fn end(&mut self, committed: bool) {
        match committed {
            true => self.committed = self.now.clone(),
            false => {
                self.now = self.committed.clone();
                self.changelog[self.covered..].fill(None);
            }
        }
        self.changelog.push(None);
        self.covered = self.changelog.len();
    }

    fn commit_store(&mut self) {
        self.known = self.changelog.len() as i64;
        self.store.commit(Some(self.known)).unwrap();
    }

    fn commit(&mut self) {
        self.commit_store();
        self.end(true);
    }

    /// Whoever opens the store reads what it does not have, and says now and then how far that is.
    fn restore(&mut self) -> i64 {
        let from = self.restore_part(usize::MAX);
        self.commit_store();
        self.store.end_restoration().unwrap();
        from
    }

    fn restore_part(&mut self, records: usize) -> i64 {
        let from = self.store.committed_offset().unwrap().unwrap_or(0);
        for (offset, record) in self.changelog.iter().enumerate().skip(from as usize).take(records) {
            if let Some((key, value)) = record {
                self.store.restore(key, value.as_deref()).unwrap();
            }
            if offset % 3 == 2 {
                self.store.commit(Some(offset as i64 + 1)).unwrap();
            }
        }
        from
    }

    fn reads(&mut self, op: &Op) -> Result<(), TestCaseError> {
        for committed_only in [false, true] {
            self.store.read_committed(committed_only);
            let (store, expected) = (&self.store, if committed_only { &self.committed } else { &self.now });
            match op {
                Op::Range(from, to) => compare(
                    expected,
                    |key| {
                        from.as_ref().is_none_or(|from| key >= &from[..]) && to.as_ref().is_none_or(|to| key <= &to[..])
                    },
                    |order| {
                        let first = store.first(from.as_deref(), to.as_deref()).unwrap();
                        let mut range = store.range(from.as_deref(), to.as_deref(), Order::Forward).unwrap();
                        assert_eq!(first, range.next().transpose().unwrap());
                        store.range(from.as_deref(), to.as_deref(), order).unwrap()
                    },
                )?,
                Op::Prefix(prefix) => {
                    compare(expected, |key| key.starts_with(prefix), |order| store.prefix(prefix, order).unwrap())?;
                }
                _ => {}
            }
            for key in self.now.keys().chain(self.committed.keys()) {
                let value = store.get(key).unwrap();
                prop_assert_eq!(value.as_deref(), expected.get(key).map(Vec::as_slice));
            }
        }
        self.store.read_committed(false);
        Ok(())
    }
}

/// Cuts the end off the youngest journal.
fn lose(folder: &Path, bytes: usize) {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("journal.")?.parse::<u64>().ok();
    if let Some(journal) = entries.filter(|path| number(path).is_some()).max_by_key(|path| number(path)) {
        let content = fs::read(&journal).unwrap();
        fs::write(journal, &content[..content.len().saturating_sub(bytes)]).unwrap();
    }
}

fn play(
    ops: Vec<Op>,
    open: &dyn Fn() -> Box<dyn KeyValueBytesStore>,
    folder: Option<&Path>,
) -> Result<(), TestCaseError> {
    let (now, committed, changelog) = (Map::new(), Map::new(), Vec::new());
    let mut bench = Bench { store: open(), open, now, committed, changelog, covered: 0, known: 0 };
    let nothing: Box<dyn Fn() -> Box<dyn KeyValueBytesStore>> =
        Box::new(|| Box::new(InMemoryKeyValueStore::new("none")));
    for op in ops {
        match op.clone() {
            Op::Put(key, value) => bench.put(key, value),
            Op::DeleteRange(from, to) => {
                let bounds = (Bound::Included(from.clone()), Bound::Included(to.clone()));
                let keys: Vec<_> = if from <= to { bench.now.range(bounds).collect() } else { Vec::new() };
                let keys: Vec<_> = keys.into_iter().map(|(key, _)| key.clone()).collect();
                keys.into_iter().for_each(|key| bench.put(key, None));
            }
            Op::Range(..) | Op::Prefix(_) => {}
            Op::Commit => bench.commit(),
            Op::Abort => {
                prop_assert!(bench.store.forget().unwrap());
                bench.end(false);
            }
            Op::Close => {
                bench.store.close().unwrap();
                bench.store = nothing();
                bench.end(false);
                bench.store = (bench.open)();
                if folder.is_none() {
                    bench.restore();
                }
            }
            Op::Crash { committed, interrupted } => {
                let known = bench.known;
                bench.store = nothing();
                bench.end(committed);
                bench.store = (bench.open)();
                if let Some(Interruption { after, dies }) = interrupted {
                    bench.restore_part(after);
                    if !dies {
                        bench.store.close().unwrap();
                    }
                    bench.store = nothing();
                    bench.store = (bench.open)();
                }
                let from = bench.restore();
                // Of what was committed for all it knew, the store has restored nothing.
                prop_assert!(folder.is_none() || from >= known, "restored from {}, had {}", from, known);
            }
            Op::MachineDies { lost } => {
                bench.store = nothing();
                if let Some(folder) = folder {
                    lose(folder, lost);
                }
                bench.end(false);
                bench.store = (bench.open)();
                bench.restore();
            }
        }
        bench.reads(&op)?;
    }
    bench.reads(&Op::Prefix(Vec::new()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    #[test]
    fn on_disk(ops in prop::collection::vec(op(), 1..60), small in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        // Tables are written again and again, or hardly ever.
        let write_buffer_bytes = if small { 0 } else { LsmOptions::default().write_buffer_bytes };
        let engine = LsmEngine::new(LsmOptions { write_buffer_bytes, ..LsmOptions::default() }).unwrap();
        play(ops, &|| Box::new(engine.open("model", folder.path()).unwrap()), Some(folder.path()))?;
    }
}

proptest! {
    #[test]
    fn in_memory(ops in prop::collection::vec(op(), 1..60)) {
        play(ops, &|| Box::new(InMemoryKeyValueStore::transactional("model")), None)?;
    }
}

#[test]
fn what_is_forgotten_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let engine = LsmEngine::new(LsmOptions::default()).unwrap();
    let on_disk: Box<dyn KeyValueBytesStore> = Box::new(engine.open("model", folder.path()).unwrap());
    for mut store in [on_disk, Box::new(InMemoryKeyValueStore::transactional("model"))] {
        let put = |store: &mut dyn KeyValueBytesStore| {
            store.put(b"key", Some(&[1; 1000])).unwrap();
            store.put(b"key", Some(&[2; 1000])).unwrap();
        };
        put(&mut *store);
        store.commit(Some(1)).unwrap();
        assert_eq!(store.uncommitted_bytes(), 0);
        put(&mut *store);
        assert!((1000..1200).contains(&store.uncommitted_bytes()), "the key is counted once");
        assert!(store.forget().unwrap());
        assert_eq!(store.uncommitted_bytes(), 0);
        assert_eq!(store.get(b"key").unwrap(), Some(Bytes::from(vec![2; 1000])));
    }
}
