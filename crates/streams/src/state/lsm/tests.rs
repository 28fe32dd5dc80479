use std::collections::BTreeMap;

use bytes::Bytes;
use lsm_tree::AbstractTree;
use proptest::prelude::*;

use super::{KeyValueBytesStore, LsmEngine, LsmKeyValueStore, LsmOptions, Order};

fn engine() -> LsmEngine {
    LsmEngine::new(LsmOptions::default()).unwrap()
}

fn keys(store: &LsmKeyValueStore, order: Order) -> Vec<Bytes> {
    store.all(order).unwrap().map(|entry| entry.unwrap().0).collect()
}

#[test]
fn what_was_put_is_there_after_a_clean_close_with_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine().open("counts", folder.path()).unwrap();
    assert_eq!(store.committed_offset().unwrap(), None);
    store.put(b"a", Some(b"1")).unwrap();
    store.put(b"b", Some(b"2")).unwrap();
    store.put(b"a", None).unwrap();
    store.commit(Some(3)).unwrap();
    store.close().unwrap();
    drop(store);
    let mut store = engine().open("counts", folder.path()).unwrap();
    assert_eq!(store.committed_offset().unwrap(), Some(3));
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(store.get(b"b").unwrap().as_deref(), Some(&b"2"[..]));
    // What is written after a reopening hides what was there before.
    store.put(b"b", Some(b"3")).unwrap();
    assert_eq!(store.get(b"b").unwrap().as_deref(), Some(&b"3"[..]));
}

#[test]
fn what_was_not_sealed_is_gone_after_a_crash_and_the_offset_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine().open("counts", folder.path()).unwrap();
    store.put(b"a", Some(b"1")).unwrap();
    store.commit(Some(1)).unwrap();
    store.close().unwrap();
    store.put(b"a", Some(b"2")).unwrap();
    store.commit(Some(2)).unwrap();
    drop(store);
    let store = engine().open("counts", folder.path()).unwrap();
    let value = store.get(b"a").unwrap();
    assert_eq!((value.as_deref(), store.committed_offset().unwrap()), (Some(&b"1"[..]), Some(1)));
}

#[test]
fn a_full_memtable_goes_to_disk_at_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let options = LsmOptions { write_buffer_bytes: 0, ..LsmOptions::default() };
    let mut store = LsmEngine::new(options).unwrap().open("counts", folder.path()).unwrap();
    let value = vec![7; 1000];
    for i in 0..2000u32 {
        store.put(&i.to_be_bytes(), Some(&value)).unwrap();
    }
    store.commit(Some(2000)).unwrap();
    while store.tree.sealed_memtable_count() > 0 {
        std::thread::yield_now();
    }
    drop(store);
    let store = engine().open("counts", folder.path()).unwrap();
    assert_eq!(store.committed_offset().unwrap(), Some(2000));
    assert_eq!(keys(&store, Order::Forward).len(), 2000);
}

/// Fills memtable after memtable, so that the background has tables to write and to merge.
fn write_tables(store: &mut LsmKeyValueStore) {
    let value = vec![7; 10_000];
    for table in 0..6 {
        for i in 0..110u32 {
            store.put(&i.to_be_bytes(), Some(&value)).unwrap();
        }
        store.commit(Some(table)).unwrap();
    }
}

#[test]
fn nothing_is_written_where_a_store_was_discarded() {
    let engine = LsmEngine::new(LsmOptions { write_buffer_bytes: 0, ..LsmOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = folder.path().join(round.to_string());
        let mut store = engine.open("segment", &path).unwrap();
        write_tables(&mut store);
        store.discard().unwrap();
        drop(store);
        std::fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn a_store_may_be_opened_by_another_engine_as_soon_as_it_is_closed() {
    let engine_of_few = || LsmEngine::new(LsmOptions { write_buffer_bytes: 0, ..LsmOptions::default() }).unwrap();
    let engines = [engine_of_few(), engine_of_few()];
    let folder = tempfile::tempdir().unwrap();
    for engine in engines.iter().cycle().take(20) {
        let mut store = engine.open("counts", folder.path()).unwrap();
        write_tables(&mut store);
        store.close().unwrap();
        drop(store);
    }
    let store = engine().open("counts", folder.path()).unwrap();
    assert_eq!((keys(&store, Order::Forward).len(), store.committed_offset().unwrap()), (110, Some(5)));
}

#[test]
fn prefixes_end_where_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine().open("counts", folder.path()).unwrap();
    for key in [&b"\xfe"[..], b"\xff", b"\xff\x00", b"\xff\xff", b"a"] {
        store.put(key, Some(b"")).unwrap();
    }
    let under_ff = store.prefix(b"\xff", Order::Forward).unwrap().count();
    assert_eq!(under_ff, 3);
    assert_eq!(store.prefix(b"", Order::Forward).unwrap().count(), 5);
}

#[derive(Clone, Debug)]
enum Op {
    Put(Vec<u8>, Option<Vec<u8>>),
    Commit,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let key = prop::collection::vec(prop::sample::select(vec![0u8, 1, b'a', 0xff]), 0..3);
    prop_oneof![
        8 => (key, prop::option::of(prop::collection::vec(any::<u8>(), 0..4))).prop_map(|(k, v)| Op::Put(k, v)),
        1 => Just(Op::Commit),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]
    #[test]
    fn is_an_ordered_map(ops in prop::collection::vec(op(), 1..60), from in any::<[u8; 1]>(), to in any::<[u8; 1]>()) {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine();
        let mut store = engine.open("model", folder.path()).unwrap();
        let mut model = BTreeMap::new();
        for op in ops {
            match op {
                Op::Put(key, Some(value)) => {
                    store.put(&key, Some(&value)).unwrap();
                    model.insert(key, value);
                }
                Op::Put(key, None) => {
                    store.put(&key, None).unwrap();
                    model.remove(&key);
                }
                Op::Commit => store.commit(Some(1)).unwrap(),
                Op::Reopen => {
                    store.close().unwrap();
                    drop(store);
                    store = engine.open("model", folder.path()).unwrap();
                }
            }
        }
        let all: Vec<_> = store.all(Order::Forward).unwrap().map(Result::unwrap).collect();
        prop_assert!(all.iter().map(|(k, v)| (&**k, &**v)).eq(model.iter().map(|(k, v)| (&**k, &**v))));
        let mut backwards = keys(&store, Order::Reverse);
        backwards.reverse();
        prop_assert!(backwards.iter().map(|k| &**k).eq(model.keys().map(|k| &**k)));
        if from <= to {
            let some = store.range(Some(&from), Some(&to), Order::Forward).unwrap().count();
            prop_assert_eq!(some, model.range(from.to_vec()..=to.to_vec()).count());
        }
        for (key, value) in &model {
            let got = store.get(key).unwrap();
            prop_assert_eq!(got.as_deref(), Some(&**value));
        }
    }
}
