//! Stores of the application's own that are on disk and cannot forget what was not committed.

use super::*;
use crate::{OwnStore, StateStore};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A disk that has every write at once, and the offset of the last commit.
type Disk = Arc<parking_lot::Mutex<(Rows, Option<i64>)>>;

struct Ledger(Disk);

impl StateStore for Ledger {
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        self.0.lock().0.insert(key.to_vec(), value.unwrap_or_default().to_vec());
        Ok(())
    }

    fn persistent(&self) -> bool {
        true
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.0.lock().1 = changelog_offset;
        Ok(())
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        Ok(self.0.lock().1)
    }

    fn clear(&mut self) -> Result<()> {
        *self.0.lock() = Default::default();
        Ok(())
    }
}

struct Enter(StoreHandle<OwnStore<Ledger>>);

impl Processor for Enter {
    type KIn = String;
    type VIn = String;
    type KOut = ();
    type VOut = ();

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.store(self.0)?.restore(record.key.as_bytes(), Some(record.value.as_bytes()), record.timestamp)
    }
}

#[test]
fn one_that_nobody_has_closed_is_restored_anew_under_exactly_once() {
    // How the task goes, and whether the next one finds what was committed, and more.
    for (guarantee, commits, clean, found) in [
        ("exactly_once_v2", true, false, None),
        ("exactly_once_v2", false, false, None),
        ("exactly_once_v2", true, true, Some(1)),
        ("at_least_once", true, false, Some(1)),
        ("at_least_once", true, true, Some(1)),
    ] {
        let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
        let builder = StreamsBuilder::new();
        let on_disk = disk.clone();
        let ledger = builder.add_state_store(StoreBuilder::own("ledger", move |_| Ok(Ledger(on_disk.clone()))));
        builder.stream::<String, String>("a").process_with(ledger, Enter);
        let topology = builder.build().unwrap();
        let engine = LsmEngine::new(LsmOptions::default()).unwrap();
        let open = || {
            let state_dir = Some(TaskDirectory { path: folder.path().to_owned(), engine: engine.clone() });
            let config = StreamsConfig::builder("test").set("processing.guarantee", guarantee).build().unwrap();
            let mut task = Task::new(&topology, TaskOptions { state_dir, ..options(config, Nowhere) }).unwrap();
            task.initialize().unwrap();
            task
        };
        let mut task = open();
        if commits {
            put(&mut task, 1, b"committed").unwrap();
            task.commit_stores(|_| Some(1)).unwrap();
        }
        match clean {
            true => task.close().unwrap(),
            false => {
                put(&mut task, 2, b"of a transaction that came to nothing").unwrap();
                task.abandon().unwrap();
            }
        }
        drop(task);
        let offsets = open().store_offsets().unwrap();
        assert_eq!(offsets["ledger"], found, "{guarantee}, commits: {commits}, closed: {clean}");
        assert_eq!(disk.lock().0.is_empty(), found.is_none());
    }
}
