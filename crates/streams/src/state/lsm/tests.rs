use std::path::Path;

use bytes::Bytes;

use super::{KeyValueBytesStore, LsmEngine, LsmKeyValueStore, LsmOptions, Order, Restoration};

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

/// The journals in a directory.
fn journals(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("journal.")).collect()
}

#[test]
fn what_was_committed_is_there_after_a_crash_and_what_was_not_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine().open("counts", folder.path()).unwrap();
    store.put(b"a", Some(b"1")).unwrap();
    store.put(b"b", Some(b"1")).unwrap();
    store.commit(Some(1)).unwrap();
    store.close().unwrap();
    assert!(journals(folder.path()).is_empty(), "all is in tables");
    store.put(b"a", Some(b"2")).unwrap();
    store.put(b"b", None).unwrap();
    store.commit(Some(2)).unwrap();
    store.put(b"a", Some(b"3")).unwrap();
    drop(store);
    let store = engine().open("counts", folder.path()).unwrap();
    let value = store.get(b"a").unwrap();
    assert_eq!((value.as_deref(), store.committed_offset().unwrap()), (Some(&b"2"[..]), Some(2)));
    assert_eq!(keys(&store, Order::Forward), [&b"a"[..]]);
}

#[test]
fn after_the_death_of_a_machine_a_store_is_as_of_an_earlier_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine().open("counts", folder.path()).unwrap();
    for number in 1..=3 {
        store.put(b"a", Some(number.to_string().as_bytes())).unwrap();
        store.commit(Some(number)).unwrap();
    }
    drop(store);
    let journal = folder.path().join(&journals(folder.path())[0]);
    let bytes = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &bytes[..bytes.len() - 1]).unwrap();
    let store = engine().open("counts", folder.path()).unwrap();
    let value = store.get(b"a").unwrap();
    assert_eq!((value.as_deref(), store.committed_offset().unwrap()), (Some(&b"2"[..]), Some(2)));
}

#[test]
fn journals_go_when_what_they_have_is_in_tables() {
    let engine = LsmEngine::new(LsmOptions { write_buffer_bytes: 0, ..LsmOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine.open("counts", folder.path()).unwrap();
    for _ in 0..20 {
        write_tables(&mut store);
        // That of what is written, and the one behind it.
        assert!(journals(folder.path()).len() <= 2, "{:?}", journals(folder.path()));
    }
    store.close().unwrap();
    assert!(journals(folder.path()).is_empty());
}

#[test]
fn a_journal_of_few_keys_does_not_grow_for_ever() {
    let engine = LsmEngine::new(LsmOptions { write_buffer_bytes: 0, ..LsmOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine.open("counts", folder.path()).unwrap();
    let value = vec![7; 10_000];
    for number in 0..1000 {
        store.put(b"k", Some(&value)).unwrap();
        store.commit(Some(number)).unwrap();
        assert!(store.journal.len() <= 2 << 20, "of 1 MiB at least that is written at a time");
    }
    drop(store);
    assert_eq!(engine.open("counts", folder.path()).unwrap().committed_offset().unwrap(), Some(999));
}

#[test]
fn an_emptied_store_has_no_journal_that_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine().open("counts", folder.path()).unwrap();
    store.put(b"a", Some(b"1")).unwrap();
    store.commit(Some(1)).unwrap();
    store.clear().unwrap();
    drop(store);
    let store = engine().open("counts", folder.path()).unwrap();
    assert_eq!((store.get(b"a").unwrap(), store.committed_offset().unwrap()), (None, None));
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
    while store.sealed.as_ref().is_some_and(|sealed| !sealed.is_done()) {
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

/// Whoever ends a restoration then waits for nothing; and all is there after a crash.
#[test]
fn what_was_restored_is_written_in_the_background_before_the_restoration_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine().open("counts", folder.path()).unwrap();
    assert!(store.is_restoration_written().unwrap(), "there is nothing");
    store.restore(b"a", Some(b"1")).unwrap();
    store.commit(Some(1)).unwrap();
    assert!(!store.is_restoration_written().unwrap());
    while !store.is_restoration_written().unwrap() {
        std::thread::yield_now();
    }
    assert!(store.sealed.is_none() && store.restoration == Restoration::None);
    store.commit(Some(1)).unwrap();
    store.end_restoration().unwrap();
    drop(store);
    let store = engine().open("counts", folder.path()).unwrap();
    let value = store.get(b"a").unwrap();
    assert_eq!((value.as_deref(), store.committed_offset().unwrap()), (Some(&b"1"[..]), Some(1)));
}

#[test]
fn what_is_restored_behind_the_end_of_a_restoration_is_there_after_a_crash_with_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = engine().open("counts", folder.path()).unwrap();
    for (value, offset) in [(b"1", 1), (b"2", 2)] {
        store.restore(b"a", Some(value)).unwrap();
        store.commit(Some(offset)).unwrap();
        store.end_restoration().unwrap();
    }
    // Of this one there is no commit.
    store.restore(b"a", Some(b"3")).unwrap();
    assert_eq!(store.get(b"a").unwrap().as_deref(), Some(&b"3"[..]));
    drop(store);
    let store = engine().open("counts", folder.path()).unwrap();
    let value = store.get(b"a").unwrap();
    assert_eq!((value.as_deref(), store.committed_offset().unwrap()), (Some(&b"2"[..]), Some(2)));
    drop(store);

    // It follows, without a commit that says that the restoration is over.
    let mut store = engine().open("counts", folder.path()).unwrap();
    store.end_restoration().unwrap();
    store.restore(b"a", Some(b"4")).unwrap();
    store.commit(Some(4)).unwrap();
    drop(store);
    let store = engine().open("counts", folder.path()).unwrap();
    let value = store.get(b"a").unwrap();
    assert_eq!((value.as_deref(), store.committed_offset().unwrap()), (Some(&b"4"[..]), Some(4)));
}
