//! Every kind of store over the files of every other kind, of an earlier version, and of damaged ones.

use std::{
    fs,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::state::{
    KeyValueSupplier, LsmEngine, LsmOptions, RestoredFrom, SessionSupplier, TaskDirectory, WindowSupplier,
};

type Make = Arc<dyn Fn(&StoreInit<'_>) -> Result<Box<dyn AnyStore>>>;

/// A kind of store. Those with the same `changelog` write the same records to it.
struct Kind {
    name: &'static str,
    changelog: &'static str,
    make: Make,
    headers: bool,
}

fn built<S: 'static>(name: &'static str, changelog: &'static str, builder: StoreBuilder<S>) -> Kind {
    Kind { name, changelog, make: Arc::new(move |init| (builder.factory(0).make)(init)), headers: false }
}

fn spec(
    name: &'static str,
    headers: bool,
    make: impl Fn(&StoreInit<'_>) -> Result<Box<dyn AnyStore>> + 'static,
) -> Kind {
    Kind { name, changelog: name.trim_end_matches(" with headers"), make: Arc::new(make), headers }
}

const STORE: &str = "store";

fn key_values() -> Vec<Kind> {
    type KeyValue = KeyValueStore<String, String>;
    type Timestamped = TimestampedKeyValueStore<String, String>;
    type WithHeaders = TimestampedKeyValueStoreWithHeaders<String, String>;
    type Versioned = VersionedKeyValueStore<String, String>;
    let hour = Duration::from_secs(3600);
    let with_headers = KeyValueSupplier::persistent_timestamped_with_headers(STORE);
    vec![
        built("plain", "key-value", StoreBuilder::<KeyValue>::key_value(KeyValueSupplier::persistent(STORE))),
        built(
            "timestamped",
            "key-value",
            StoreBuilder::<Timestamped>::timestamped_key_value(KeyValueSupplier::persistent_timestamped(STORE)),
        ),
        built(
            "with headers",
            "key-value",
            StoreBuilder::<WithHeaders>::timestamped_key_value_with_headers(with_headers),
        ),
        built(
            "versioned",
            "key-value",
            StoreBuilder::<Versioned>::versioned(KeyValueSupplier::persistent_versioned(STORE, hour)),
        ),
        built(
            "versioned in other segments",
            "key-value",
            StoreBuilder::<Versioned>::versioned(KeyValueSupplier::persistent_versioned(STORE, 10 * hour)),
        ),
    ]
}

fn in_time() -> Vec<Kind> {
    type Window = WindowStore<String, String>;
    type Timestamped = TimestampedWindowStore<String, String>;
    type WithHeaders = TimestampedWindowStoreWithHeaders<String, String>;
    type Session = SessionStore<String, String>;
    type SessionWithHeaders = SessionStoreWithHeaders<String, String>;
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let window = |retention, duplicates| WindowSupplier::persistent(STORE, retention, minute, duplicates).unwrap();
    let timestamped = WindowSupplier::persistent_timestamped(STORE, hour, minute, false).unwrap();
    let with_headers = WindowSupplier::persistent_timestamped_with_headers(STORE, hour, minute, false).unwrap();
    vec![
        built("window", "window", StoreBuilder::<Window>::window(window(hour, false))),
        built("window in other segments", "window", StoreBuilder::<Window>::window(window(4 * hour, false))),
        built("window with duplicates", "duplicates", StoreBuilder::<Window>::window(window(hour, true))),
        built("timestamped window", "window", StoreBuilder::<Timestamped>::timestamped_window(timestamped)),
        built(
            "window with headers",
            "window",
            StoreBuilder::<WithHeaders>::timestamped_window_with_headers(with_headers),
        ),
        built("session", "session", StoreBuilder::<Session>::session(SessionSupplier::persistent(STORE, hour))),
        built(
            "session with headers",
            "session",
            StoreBuilder::<SessionWithHeaders>::session_with_headers(SessionSupplier::persistent_with_headers(
                STORE, hour,
            )),
        ),
    ]
}

fn internal() -> Vec<Kind> {
    let name = || STORE.to_owned();
    let outer = OuterJoinSpec::<String, String, String> {
        name: name(),
        in_memory: None,
        key_serde: None,
        left_serde: None,
        right_serde: None,
        types: PhantomData,
    };
    let buffer = JoinBufferSpec::<String, String> {
        name: name(),
        join: "join".to_owned(),
        grace: 1000,
        key_serde: None,
        value_serde: None,
        types: PhantomData,
    };
    vec![
        spec("outer join", false, move |init| outer.make(init)),
        spec("join buffer", false, move |init| buffer.make(init)),
        spec("subscription", false, |init| SubscriptionStore::make(STORE, init)),
        spec("subscription with headers", true, |init| SubscriptionStore::make(STORE, init)),
    ]
}

fn kinds() -> Vec<Kind> {
    let mut kinds = key_values();
    kinds.extend(in_time());
    kinds.extend(internal());
    kinds
}

struct Disk {
    engine: LsmEngine,
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Disk { engine: LsmEngine::new(LsmOptions::default()).unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(STORE)
    }

    fn open(&self, kind: &Kind, restored_from: RestoredFrom) -> Result<Box<dyn AnyStore>> {
        let format = if kind.headers { "headers" } else { "default" };
        let config = StreamsConfig::builder("test").set("dsl.store.format", format).build().unwrap();
        let directory = TaskDirectory { path: self.folder.path().to_owned(), engine: self.engine.clone() };
        let engine = EngineContext {
            task_id: "0_0".to_owned(),
            state_dir: Some(directory),
            restored_from,
            transactional: false,
        };
        (kind.make)(&StoreInit {
            config: &config,
            engine: &engine,
            changelog: Some((Arc::from("changelog"), 0)),
            caching: false,
            sharing: Sharing::Own,
        })
    }

    /// Leaves a store that covers offset 7.
    fn write(&self, kind: &Kind) {
        let mut store = self.open(kind, RestoredFrom::Changelog).unwrap();
        // It has the form of every kind's key: of a window and a session that begin at 0, of a join at time 0.
        store.restore_with_headers(&[0; 24], Some(&[b'x'; 16]), 0, &Headers::new()).unwrap();
        store.commit(Some(7)).unwrap();
        store.close().unwrap();
    }
}

#[test]
fn a_store_that_was_written_in_another_form_is_restored_anew_or_refused_with_the_remedy() {
    let kinds = kinds();
    for written in &kinds {
        for opened in &kinds {
            let names = format!("{} as {}", written.name, opened.name);
            let disk = Disk::new();
            disk.write(written);
            let covered = disk.open(opened, RestoredFrom::Changelog).and_then(|store| store.committed_offset());
            match written {
                _ if written.name == opened.name => assert_eq!(covered.unwrap(), Some(7), "{names}"),
                _ if written.changelog == opened.changelog => assert_eq!(covered.unwrap(), None, "{names}"),
                _ => {
                    let error = covered.unwrap_err().to_string();
                    assert!(error.contains("give the store another name, or reset"), "{names}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_store_without_a_changelog_is_never_thrown_away() {
    let kinds = kinds();
    for (at, written) in kinds.iter().enumerate() {
        let opened = &kinds[(at + 1) % kinds.len()];
        let disk = Disk::new();
        disk.write(written);
        let error = disk.open(opened, RestoredFrom::Nothing).err().unwrap().to_string();
        assert!(error.contains("it has no changelog") && error.contains("open it as it was written"), "{error}");
        let store = disk.open(written, RestoredFrom::Nothing).unwrap();
        assert_eq!(store.committed_offset().unwrap(), Some(7), "{}", written.name);
    }
}

#[test]
fn a_global_store_is_filled_anew_whatever_it_was() {
    let kinds = kinds();
    for pair in kinds.windows(2) {
        let disk = Disk::new();
        disk.write(&pair[0]);
        let store = disk.open(&pair[1], RestoredFrom::Topic).unwrap();
        assert_eq!(store.committed_offset().unwrap(), None, "{} as {}", pair[0].name, pair[1].name);
    }
}

#[test]
fn a_store_of_an_earlier_version_is_restored_anew_or_without_a_changelog_taken_as_it_is() {
    for kind in kinds() {
        for (from, covered) in [(RestoredFrom::Changelog, None), (RestoredFrom::Nothing, Some(7))] {
            let disk = Disk::new();
            disk.write(&kind);
            fs::remove_file(disk.path().join("store-format")).unwrap();
            let store = disk.open(&kind, from).unwrap();
            assert_eq!(store.committed_offset().unwrap(), covered, "{}", kind.name);
            drop(store);
            assert!(disk.path().join("store-format").exists());
        }
    }
}

/// The first file below a directory whose own directory has this name.
fn file_in(path: &Path, directory: &str) -> Option<PathBuf> {
    fs::read_dir(path).unwrap().find_map(|entry| {
        let entry = entry.unwrap().path();
        match entry.is_dir() {
            true => file_in(&entry, directory),
            false => path.ends_with(directory).then_some(entry),
        }
    })
}

#[test]
fn a_damaged_store_is_restored_from_its_changelog_or_kept_for_who_can_repair_it() {
    for kind in kinds() {
        let disk = Disk::new();
        disk.write(&kind);
        let table = file_in(&disk.path(), "tables").unwrap();
        let bytes = fs::read(&table).unwrap();
        fs::write(&table, &bytes[..bytes.len() / 2]).unwrap();
        let error = disk.open(&kind, RestoredFrom::Nothing).err().unwrap().to_string();
        assert!(error.contains("are damaged") && error.contains("put a copy in its place"), "{error}");
        assert!(table.exists());
        let mut store = disk.open(&kind, RestoredFrom::Changelog).unwrap();
        assert_eq!(store.committed_offset().unwrap(), None, "{}", kind.name);
        store.restore_with_headers(&[0; 24], Some(&[b'y'; 16]), 0, &Headers::new()).unwrap();
        store.commit(Some(9)).unwrap();
        store.close().unwrap();
        drop(store);
        let store = disk.open(&kind, RestoredFrom::Changelog).unwrap();
        assert_eq!(store.committed_offset().unwrap(), Some(9), "{}", kind.name);
    }
}

#[test]
fn a_window_store_misses_a_segment_that_is_gone() {
    for kind in in_time() {
        let disk = Disk::new();
        disk.write(&kind);
        let mut store = disk.open(&kind, RestoredFrom::Changelog).unwrap();
        let later = 10_000_000i64.to_be_bytes();
        let key = match kind.name.starts_with("session") {
            true => [&b"key"[..], &later, &later].concat(),
            false => [&b"key"[..], &later, &[0; 4]].concat(),
        };
        store.restore_with_headers(&key, Some(b"value"), 0, &Headers::new()).unwrap();
        store.commit(Some(9)).unwrap();
        store.close().unwrap();
        drop(store);
        let segments = || fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().path());
        let gone = segments().find(|segment| segment.is_dir()).unwrap();
        fs::remove_dir_all(gone).unwrap();
        let store = disk.open(&kind, RestoredFrom::Changelog).unwrap();
        assert_eq!(store.committed_offset().unwrap(), None, "{}", kind.name);
    }
}

#[test]
fn an_emptied_store_covers_nothing_in_this_life_and_the_next() {
    for kind in kinds() {
        let disk = Disk::new();
        disk.write(&kind);
        let mut store = disk.open(&kind, RestoredFrom::Changelog).unwrap();
        store.clear().unwrap();
        assert_eq!(store.committed_offset().unwrap(), None, "{}", kind.name);
        if let Some(entries) = store.raw_entries() {
            assert_eq!(entries.unwrap(), [], "{}", kind.name);
        }
        drop(store);
        let store = disk.open(&kind, RestoredFrom::Changelog).unwrap();
        assert_eq!(store.committed_offset().unwrap(), None, "{}", kind.name);
    }
}
