//! A task that dies between the writing of its changelogs and the commit, after time has moved on by more than its stores
//! keep: whoever has it next gives the results of a task that did not die.

use std::collections::BTreeSet;

use super::*;
use crate::{
    BufferConfig, JoinWindows, Suppressed, TimeWindows, WindowStore, state::WindowSupplier, store::KeptStores,
};

/// What a task has sent: topic, key, value, timestamp.
pub(super) type Sent = Arc<parking_lot::Mutex<Vec<(String, Vec<u8>, Option<Vec<u8>>, i64)>>>;

struct Recording(Sent);

impl RecordCollector for Recording {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        let key = record.key.unwrap_or_default().to_vec();
        let value = record.value.map(<[u8]>::to_vec);
        self.0.lock().push((record.topic.to_string(), key, value, record.timestamp.unwrap_or(-1)));
        Ok(())
    }
    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

/// An outer join, what was seen in each window, and the version of a table that was valid at a time; each keeps 32 s. With
/// buffers: what was seen in each window when it was closed, too.
pub(super) fn topology(buffers: bool) -> crate::Topology {
    let second = Duration::from_secs(1);
    let builder = StreamsBuilder::new();
    let windows = JoinWindows::of_time_difference_and_grace(second, 30 * second);
    let or_nothing = |side: Option<&String>| side.map_or("-".to_owned(), String::clone);
    builder
        .stream::<String, String>("left")
        .outer_join_stream(&builder.stream::<String, String>("right"), windows, move |left, right| {
            format!("{}+{}", or_nothing(left), or_nothing(right))
        })
        .to("joined");
    let seen = |seen: String, value: &String| if seen.contains(value) { seen } else { seen + value };
    let windows = builder
        .stream::<String, String>("left")
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(2 * second, 30 * second))
        .aggregate_with(Materialized::named("seen"), String::new, move |_, value, all| seen(all, &value));
    if buffers {
        let closed = Suppressed::until_window_closes(BufferConfig::unbounded());
        let closed = windows.suppress(closed).to_stream();
        closed.map(|windowed, seen| (format!("{}@{}", windowed.key, windowed.window.start()), seen)).to("closed");
    }
    windows
        .to_stream()
        .map(|windowed, seen| (format!("{}@{}", windowed.key, windowed.window.start()), seen))
        .to("windows");
    let history = KeyValueSupplier::persistent_versioned("prices", 32 * second);
    let prices = builder.table_with::<String, String>(Materialized::supplied(history), "prices");
    builder
        .stream::<String, String>("right")
        .left_join(&prices, move |value, price| format!("{value} for {}", or_nothing(price)))
        .to("priced");
    builder.build().unwrap()
}

/// Topic, key, value and second; the first ones were committed.
pub(super) const INPUT: [(&str, &str, &str, i64); 11] = [
    ("prices", "a", "p1", 1),
    ("left", "a", "l1", 2),
    ("right", "b", "r1", 2),
    ("prices", "a", "p2", 3),
    // From here on it comes again.
    ("right", "a", "r2", 2),
    ("left", "b", "l2", 3),
    ("left", "a", "l3", 3),
    ("prices", "a", "p3", 70),
    ("left", "x", "l4", 70),
    ("right", "x", "r4", 70),
    ("right", "y", "r5", 140),
];
pub(super) const COMMITTED: usize = 4;

pub(super) struct Application {
    topology: crate::Topology,
    in_memory: bool,
    exactly_once: bool,
    engine: LsmEngine,
    pub(super) sent: Sent,
}

impl Application {
    pub(super) fn new(topology: crate::Topology, in_memory: bool, exactly_once: bool) -> Self {
        let engine = LsmEngine::new(LsmOptions::default()).unwrap();
        Application { topology, in_memory, exactly_once, engine, sent: Sent::default() }
    }

    pub(super) fn task(&self, folder: &Path, kept: KeptStores) -> Task {
        let store_type = if self.in_memory { "in_memory" } else { "rocksdb" };
        let config = StreamsConfig::builder("test")
            .set("dsl.store.suppliers.class", store_type)
            .set("processing.guarantee", if self.exactly_once { "exactly_once_v2" } else { "at_least_once" })
            .set("statestore.cache.max.bytes", "0")
            .set("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", "0");
        let state_dir = Some(TaskDirectory { path: folder.to_owned(), engine: self.engine.clone() });
        let options = options(config.build().unwrap(), Recording(self.sent.clone()));
        Task::new_over(&self.topology, TaskOptions { state_dir, ..options }, kept).unwrap()
    }

    pub(super) fn process(&self, task: &mut Task, records: std::ops::Range<usize>) {
        for (offset, (topic, key, value, second)) in INPUT.iter().enumerate().take(records.end).skip(records.start) {
            let queue = task.queue(topic).unwrap();
            let (key, value) = (key.as_bytes(), value.as_bytes());
            let batch = InputBatch::single(offset as i64, second * 1000, Some(key), Some(value), Headers::new());
            task.add_records(queue, batch).unwrap();
            assert!(task.process(0).unwrap());
        }
        task.flush().unwrap();
    }

    pub(super) fn changelog(&self, store: &str) -> Vec<(Vec<u8>, Option<Vec<u8>>, i64)> {
        let topic = format!("test-{store}-changelog");
        let sent = self.sent.lock();
        let records = sent.iter().filter(|(to, ..)| *to == topic);
        records.map(|(_, key, value, timestamp)| (key.clone(), value.clone(), *timestamp)).collect()
    }

    /// Commits, and gives the times that the commit keeps.
    pub(super) fn commit(&self, task: &mut Task) -> Vec<(String, i64)> {
        task.commit_stores(|store| Some(self.changelog(store).len() as i64)).unwrap();
        task.consumed_offsets().map(|(topic, consumed)| (topic.to_owned(), consumed.partition_time)).collect()
    }

    /// Begins as of a commit that has kept these times.
    pub(super) fn begin(&self, folder: &Path, times: Vec<(String, i64)>) -> Task {
        self.begin_over(folder, KeptStores::default(), times).0
    }

    /// The same, and how many records were restored of each store.
    pub(super) fn begin_over(
        &self,
        folder: &Path,
        kept: KeptStores,
        times: Vec<(String, i64)>,
    ) -> (Task, BTreeMap<String, usize>) {
        let (mut task, mut restored) = (self.task(folder, kept), BTreeMap::new());
        for (topic, time) in times {
            let queue = task.queue(&topic).unwrap();
            task.set_partition_time(queue, time);
        }
        task.limit_store_times();
        for (store, covered) in task.store_offsets().unwrap() {
            let changelog = self.changelog(&store);
            for (key, value, timestamp) in changelog.iter().skip(covered.unwrap_or(0) as usize) {
                task.restore(&store, key, value.as_deref(), *timestamp, &self.headers(&store)).unwrap();
                *restored.entry(store.clone()).or_default() += 1;
            }
            task.restored(&store, changelog.len() as i64).unwrap();
        }
        task.initialize().unwrap();
        (task, restored)
    }

    /// What a record of a changelog of a buffer has.
    pub(super) fn headers(&self, store: &str) -> Headers {
        let version = crate::Header { key: "v".to_owned(), value: Some(bytes::Bytes::from_static(&[3])) };
        if store.contains("SUPPRESS") { [version].into_iter().collect() } else { Headers::new() }
    }

    pub(super) fn results(&self) -> BTreeSet<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let sent = self.sent.lock();
        let results = sent.iter().filter(|(topic, ..)| !topic.ends_with("-changelog"));
        results
            .map(|(topic, key, value, _)| format!("{topic} {} {}", text(key), text(value.as_ref().unwrap())))
            .collect()
    }

    /// How many results there are: each is to be there once.
    pub(super) fn count(&self) -> usize {
        self.sent.lock().iter().filter(|(topic, ..)| !topic.ends_with("-changelog")).count()
    }
}

#[test]
fn a_task_whose_transaction_comes_to_nothing_goes_on_from_its_last_commit() {
    // How the task goes: its transaction is aborted, its process dies, both with what its stores have or without it.
    for (in_memory, is_aborted, disk_lost) in
        [(true, true, false), (true, false, true), (false, true, false), (false, false, false), (false, false, true)]
    {
        let what = format!("in memory: {in_memory}, aborted: {is_aborted}, disk lost: {disk_lost}");
        let application = || Application {
            topology: topology(true),
            in_memory,
            exactly_once: true,
            engine: LsmEngine::new(LsmOptions::default()).unwrap(),
            sent: Sent::default(),
        };
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [undisturbed_folder, first, second] = folders.each_ref().map(tempfile::TempDir::path);
        let undisturbed = application();
        let mut task = undisturbed.begin(undisturbed_folder, Vec::new());
        undisturbed.process(&mut task, 0..INPUT.len());

        for commit_at in 0..INPUT.len() {
            let failing = application();
            let mut task = failing.begin(first, Vec::new());
            failing.process(&mut task, 0..commit_at);
            let times = failing.commit(&mut task);
            let committed = failing.sent.lock().len();
            failing.process(&mut task, commit_at..INPUT.len());
            // What was sent since is nothing to a reader.
            failing.sent.lock().truncate(committed);
            let kept = if is_aborted { task.abandon().unwrap() } else { KeptStores::default() };
            drop(task);
            let (mut task, restored) = failing.begin_over(if disk_lost { second } else { first }, kept, times);
            // What suppress holds back is in memory whatever the stores are.
            let had = |store: &str| is_aborted || !disk_lost && !in_memory && !store.contains("SUPPRESS");
            for (store, records) in restored {
                assert!(!had(&store) || records == 0, "{what}: {records} restored of {store}");
            }
            failing.process(&mut task, commit_at..INPUT.len());
            assert_eq!(failing.results(), undisturbed.results(), "{what}, at {commit_at}");
            assert_eq!(failing.count(), undisturbed.count(), "{what}, at {commit_at}");
            drop(task);
            for folder in [first, second] {
                fs::remove_dir_all(folder).unwrap();
                fs::create_dir(folder).unwrap();
            }
        }
    }
}

#[test]
fn a_task_that_begins_anew_from_its_last_commit_finds_what_had_not_expired_by_then() {
    for (in_memory, disk_lost) in [(true, true), (false, false), (false, true)] {
        let application = || Application {
            topology: topology(false),
            in_memory,
            exactly_once: false,
            engine: LsmEngine::new(LsmOptions::default()).unwrap(),
            sent: Sent::default(),
        };
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [undisturbed_folder, first, second] = folders.each_ref().map(tempfile::TempDir::path);
        let undisturbed = application();
        let mut task = undisturbed.begin(undisturbed_folder, Vec::new());
        undisturbed.process(&mut task, 0..INPUT.len());

        let crashed = application();
        let mut task = crashed.begin(first, Vec::new());
        crashed.process(&mut task, 0..COMMITTED);
        let times = crashed.commit(&mut task);
        crashed.process(&mut task, COMMITTED..INPUT.len());
        drop(task);
        let mut task = crashed.begin(if disk_lost { second } else { first }, times);
        assert_eq!(task.stream_time(), 3000);
        crashed.process(&mut task, COMMITTED..INPUT.len());

        let expected = undisturbed.results();
        for right in ["joined a l1+r2", "joined b l2+r1", "windows a@2000 l1l3", "priced a r2 for p1"] {
            assert!(expected.contains(right), "{right} is not in {expected:?}");
        }
        assert_eq!(crashed.results(), expected, "in memory: {in_memory}, disk lost: {disk_lost}");
    }
}

/// Puts what it is given a day later.
struct Later(StoreHandle<WindowStore<String, String>>);

impl Processor for Later {
    type KIn = String;
    type VIn = String;
    type KOut = ();
    type VOut = ();

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.store(self.0)?.put(&record.key, Some(record.value), record.timestamp + 86_400_000)
    }
}

#[test]
fn the_time_of_a_store_that_is_ahead_of_the_records_comes_with_the_commit() {
    let builder = StreamsBuilder::new();
    let second = Duration::from_secs(1);
    let store = WindowSupplier::in_memory("later", 32 * second, second, false).unwrap();
    let store = builder.add_state_store(StoreBuilder::<WindowStore<String, String>>::window(store));
    builder.stream::<String, String>("left").process_with(store, Later);
    let engine = LsmEngine::new(LsmOptions::default()).unwrap();
    let application = Application {
        topology: builder.build().unwrap(),
        in_memory: true,
        exactly_once: false,
        engine,
        sent: Sent::default(),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut task = application.begin(folder.path(), Vec::new());
    application.process(&mut task, 5..7);
    let kept = BTreeMap::from([("@stores".to_owned(), 86_403_000)]);
    assert_eq!(*task.processor_times(), kept);
    assert_eq!(application.commit(&mut task), [("left".to_owned(), 3000)]);

    let mut task = application.task(folder.path(), KeptStores::default());
    task.restore_processor_times(kept);
    task.limit_store_times();
    for (key, value, timestamp) in application.changelog("later") {
        task.restore("later", &key, value.as_deref(), timestamp, &Headers::new()).unwrap();
    }
    let later = task.ctx.stores.iter().flatten().find(|store| store.name() == "later").unwrap();
    assert_eq!(later.time(), Some(86_403_000), "as before");
}
