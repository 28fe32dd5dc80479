//! One task after the other, and the log of all that they send.

use super::*;
use crate::store::KeptStores;

/// What has become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

/// A record that was sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    topic: String,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Option<i64>,
    headers: Headers,
}

impl Entry {
    /// Whether it is neither of a changelog nor of another internal topic.
    pub(super) fn is_result(&self) -> bool {
        !self.topic.starts_with("test-")
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map_or("null".to_owned(), |bytes| bytes.escape_ascii().to_string())
        };
        let Entry { topic, key, value, timestamp, headers } = self;
        write!(f, "{topic}: {} = {} at {timestamp:?} {headers:?}", text(key), text(value))
    }
}

#[derive(Default)]
struct Log {
    entries: Vec<(Entry, Fate)>,
    /// How many may still be sent.
    left: Option<usize>,
}

impl Log {
    /// The records of a topic, by offset.
    fn of(&self, topic: &str) -> Vec<(Entry, Fate)> {
        self.entries.iter().filter(|(entry, _)| entry.topic == topic).cloned().collect()
    }

    fn end(&mut self, fate: Fate) {
        self.entries.iter_mut().filter(|(_, is)| *is == Fate::Open).for_each(|(_, is)| *is = fate);
    }
}

struct Collector(Arc<parking_lot::Mutex<Log>>);

impl RecordCollector for Collector {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        let mut log = self.0.lock();
        if let Some(left) = &mut log.left {
            *left = left.checked_sub(1).ok_or_else(|| Error::streams("nothing can be sent any more".to_owned()))?;
        }
        let entry = Entry {
            topic: record.topic.to_string(),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            timestamp: record.timestamp,
            headers: record.headers.clone(),
        };
        log.entries.push((entry, Fate::Open));
        Ok(())
    }

    fn partitions_for(&mut self, _topic: &str) -> Result<i32> {
        Ok(1)
    }
}

/// What a commit keeps of a partition.
#[derive(Clone, Debug, Default)]
struct Offset {
    offset: i64,
    partition_time: i64,
    processor_times: BTreeMap<String, i64>,
}

pub(super) struct Run<'a> {
    case: &'a Case,
    log: Arc<parking_lot::Mutex<Log>>,
    engine: LsmEngine,
    /// Where persistent stores are; in memory, where no disk is needed.
    folder: Option<tempfile::TempDir>,
    task: Option<Task>,
    committed: BTreeMap<String, Offset>,
    /// Records from outside that are committed.
    taken: usize,
    now: i64,
}

impl<'a> Run<'a> {
    pub(super) fn new(case: &'a Case, on_disk: bool) -> Run<'a> {
        let mut run = Run {
            case,
            log: Arc::default(),
            engine: LsmEngine::new(LsmOptions::default()).unwrap(),
            folder: on_disk.then(folder),
            task: None,
            committed: BTreeMap::new(),
            taken: 0,
            now: 0,
        };
        run.begin(KeptStores::default(), None);
        run
    }

    pub(super) fn set_clock(&mut self, now: i64) {
        self.now = now;
    }

    /// All that is committed, in the order in which it was sent.
    pub(super) fn committed(&self) -> Vec<Entry> {
        let log = self.log.lock();
        log.entries.iter().filter(|(_, fate)| *fate == Fate::Committed).map(|(entry, _)| entry.clone()).collect()
    }

    fn task(&mut self) -> &mut Task {
        self.task.as_mut().unwrap()
    }

    /// What comes to nothing.
    pub(super) fn attempt(&mut self, attempt: &Attempt) {
        self.log.lock().left = attempt.fails_after;
        let left = self.case.inputs.len() - self.taken;
        let done = self.process(attempt.records.min(left), attempt.reorders);
        if attempt.flushes && done.is_ok() {
            _ = self.task().flush();
        }
        self.log.lock().left = None;
        self.log.lock().end(Fate::Aborted);
        self.go(attempt.going, attempt.interrupted);
    }

    /// Processes what has come through internal topics, and so many records from outside.
    pub(super) fn process(&mut self, records: usize, reorders: bool) -> Result<()> {
        let now = self.now;
        let mut input = Vec::new();
        let topics: Vec<String> = self.task().group.queues.iter().map(|queue| queue.topic.to_string()).collect();
        for topic in topics.iter().filter(|topic| !self.case.topics.contains(&topic.as_str())) {
            let from = self.offset(topic);
            let read = self.log.lock().of(topic).into_iter().enumerate().skip(from as usize);
            let read = read.filter(|(_, (_, fate))| *fate == Fate::Committed);
            input.extend(read.map(|(offset, (entry, _))| (offset as i64, entry)));
        }
        let mut offsets = BTreeMap::new();
        for Input { topic, key, value, timestamp } in &self.case.inputs[self.taken..self.taken + records] {
            let committed = self.offset(topic);
            let offset = offsets.entry(topic).or_insert(committed);
            let entry = Entry {
                topic: (*topic).to_owned(),
                key: Some(key.as_bytes().to_vec()),
                value: value.as_ref().map(|value| value.as_bytes().to_vec()),
                timestamp: Some(*timestamp),
                headers: Headers::new(),
            };
            input.push((*offset, entry));
            *offset += 1;
        }
        if reorders {
            input.sort_by(|(_, one), (_, other)| other.topic.cmp(&one.topic));
        }
        let task = self.task();
        task.maybe_punctuate_system_time(now)?;
        for (offset, Entry { topic, key, value, timestamp, headers }) in input {
            let queue = task.queue(&topic).unwrap();
            let timestamp = timestamp.unwrap();
            let batch = InputBatch::single(offset, timestamp, key.as_deref(), value.as_deref(), headers);
            task.add_records(queue, batch)?;
            assert!(task.process(now)?, "a record of {topic} waits");
        }
        Ok(())
    }

    fn offset(&self, topic: &str) -> i64 {
        self.committed.get(topic).map_or(0, |committed| committed.offset)
    }

    /// What was processed is committed.
    pub(super) fn commit(&mut self, records: usize, end: End) {
        self.task().flush().unwrap();
        self.log.lock().end(Fate::Committed);
        self.taken += records;
        let processor_times = self.task().processor_times().clone();
        let consumed: Vec<_> =
            self.task().consumed_offsets().map(|(topic, consumed)| (topic.to_owned(), consumed)).collect();
        for (topic, ConsumedOffset { offset, partition_time }) in consumed {
            let kept = Offset { offset, partition_time, processor_times: processor_times.clone() };
            if self.offset(&topic) != offset {
                self.committed.insert(topic, kept);
            }
        }
        if !matches!(end, End::Unknown(_)) {
            let log = self.log.clone();
            let covered = |store: &str| Some(log.lock().of(&changelog(store)).len() as i64);
            self.task().commit_stores(covered).unwrap();
        }
        match end {
            End::GoesOn => {}
            End::Closes => {
                self.task().close().unwrap();
                self.begin(KeptStores::default(), None);
            }
            End::Unknown(going) | End::Known(going) => self.go(going, None),
        }
    }

    /// The task goes, and another one takes its place; that goes, too, if it is interrupted.
    pub(super) fn go(&mut self, going: Going, interrupted: Option<Going>) {
        let kept = self.end(going);
        if let Some(again) = interrupted {
            self.begin(kept, Some(again));
        } else {
            self.begin(kept, None);
        }
    }

    fn end(&mut self, going: Going) -> KeptStores {
        let mut task = self.task.take().unwrap();
        match going {
            Going::Abandoned => return task.abandon().unwrap(),
            Going::Killed => drop(task),
            Going::Lost => {
                drop(task);
                self.folder = self.folder.take().map(|_| folder());
            }
        }
        KeptStores::default()
    }

    fn begin(&mut self, kept: KeptStores, interrupted: Option<Going>) {
        let directory = |folder: &tempfile::TempDir| {
            let path = folder.path().join("0_0");
            TaskDirectory { path, engine: self.engine.clone() }
        };
        let options = TaskOptions {
            state_dir: self.folder.as_ref().map(directory),
            scope: TaskScope::Everything,
            now: self.now,
            ..options(self.case.config.clone(), Collector(self.log.clone()))
        };
        let mut task = Task::new_over(&self.case.topology, options, kept).unwrap();
        for (topic, committed) in &self.committed {
            let queue = task.queue(topic).unwrap();
            task.set_partition_time(queue, committed.partition_time);
            task.restore_processor_times(committed.processor_times.clone());
        }
        task.limit_store_times();
        self.task = Some(task);
        for (store, covered) in self.task().store_offsets().unwrap() {
            let changelog = self.log.lock().of(&changelog(&store));
            let from = covered.unwrap_or(0) as usize;
            // Records come by the piece.
            for piece in (from..changelog.len()).step_by(2) {
                let end = changelog.len().min(piece + 2);
                for (entry, _) in changelog[piece..end].iter().filter(|(_, fate)| *fate == Fate::Committed) {
                    let (key, value) = (entry.key.as_deref().unwrap(), entry.value.as_deref());
                    let timestamp = entry.timestamp.unwrap_or(0);
                    self.task().restore(&store, key, value, timestamp, &entry.headers).unwrap();
                }
                self.task().restored(&store, end as i64).unwrap();
                if let Some(going) = interrupted {
                    return self.go(going, None);
                }
            }
        }
        self.task().initialize().unwrap();
    }
}

/// No machine dies here: what is forced to a disk need not get there, which takes most of the time.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn changelog(store: &str) -> String {
    format!("test-{store}-changelog")
}
