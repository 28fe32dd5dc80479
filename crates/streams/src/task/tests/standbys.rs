//! A standby follows the changelogs of a task that dies, and takes over: the results are those of a task that did not die, and
//! nothing is restored.

use super::{begun_anew::*, *};
use crate::store::KeptStores;

/// A task whose stores follow.
struct Standby {
    task: Task,
    /// How much of each changelog they have.
    had: BTreeMap<String, usize>,
}

impl Standby {
    fn begin(application: &Application, folder: &Path, kept: KeptStores) -> Self {
        let task = application.task(folder, kept);
        let had = task.store_offsets().unwrap().into_iter();
        let had = had.map(|(store, covered)| (store, covered.unwrap_or(0) as usize)).collect();
        Standby { task, had }
    }

    /// Reads what is there, no further in time than was committed.
    fn follow(&mut self, application: &Application, committed: &[(String, i64)]) {
        for (topic, time) in committed {
            let queue = self.task.queue(topic).unwrap();
            self.task.set_partition_time(queue, *time);
        }
        self.task.limit_store_times();
        for (store, had) in &mut self.had {
            let changelog = application.changelog(store);
            for (key, value, timestamp) in &changelog[*had..] {
                self.task.restore(store, key, value.as_deref(), *timestamp, &application.headers(store)).unwrap();
            }
            *had = changelog.len();
        }
        let had = &self.had;
        self.task.commit_stores(|store| had.get(store).map(|had| *had as i64)).unwrap();
        self.task.caught_up().unwrap();
    }

    fn promote(mut self) -> KeptStores {
        self.task.recycle(|store| self.had.get(store).map(|had| *had as i64)).unwrap()
    }
}

fn take_over(in_memory: bool, exactly_once: bool, commits: std::ops::Range<usize>) {
    // A transaction has results once; without one, what suppress holds back may come twice.
    let application = || Application::new(topology(exactly_once), in_memory, exactly_once);
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [undisturbed_folder, first, second] = folders.each_ref().map(tempfile::TempDir::path);
    let undisturbed = application();
    let mut task = undisturbed.begin(undisturbed_folder, Vec::new());
    undisturbed.process(&mut task, 0..INPUT.len());
    for commit_at in commits {
        let what = format!("in memory: {in_memory}, exactly once: {exactly_once}, at {commit_at}");
        let dying = application();
        let mut task = dying.begin(first, Vec::new());
        let mut standby = Standby::begin(&dying, second, KeptStores::default());
        let mut times = Vec::new();
        for record in 0..commit_at {
            dying.process(&mut task, record..record + 1);
            // It may hear of the commit later than of what it is for.
            standby.follow(&dying, &times);
            times = dying.commit(&mut task);
        }
        standby.follow(&dying, &times);
        let committed = dying.sent.lock().len();
        dying.process(&mut task, commit_at..INPUT.len());
        if exactly_once {
            dying.sent.lock().truncate(committed);
        }
        standby.follow(&dying, &times);
        drop(task);

        let (mut task, restored) = dying.begin_over(second, standby.promote(), times);
        assert_eq!(restored, BTreeMap::new(), "{what}");
        dying.process(&mut task, commit_at..INPUT.len());
        assert_eq!(dying.results(), undisturbed.results(), "{what}");
        assert!(!exactly_once || dying.count() == undisturbed.count(), "{what}");

        // It becomes a standby again, which has all.
        dying.commit(&mut task);
        let kept = task.recycle(|store| Some(dying.changelog(store).len() as i64)).unwrap();
        let standby = Standby::begin(&dying, second, kept);
        for (store, had) in &standby.had {
            assert_eq!(*had, dying.changelog(store).len(), "{what}: {store}");
        }
        drop(standby);
        for folder in [first, second] {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        }
    }
}

#[test]
fn a_standby_takes_over_at_any_commit_exactly_once() {
    for in_memory in [true, false] {
        take_over(in_memory, true, 0..INPUT.len());
    }
}

#[test]
fn a_standby_that_has_read_more_than_was_committed_takes_over() {
    for in_memory in [true, false] {
        take_over(in_memory, false, COMMITTED..COMMITTED + 1);
    }
}
