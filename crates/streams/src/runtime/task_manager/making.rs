//! Making tasks and standbys beside those that are at work.
//!
//! Opening stores takes as long as they are large, and offsets are told when the brokers like: exactly once not before the
//! transactions of who had the task are over. So both is done on a thread of its own. The stream thread begins it, looks at
//! what has come of it in each turn, and alone knows of the group, of the partitions and of what is restored.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle};
use vltava_client::{ClientError, Consumer, OffsetAndMetadata, TopicPartition};

use super::{TaskManager, client_failed, machine::Event};
use crate::{
    error::{Error, Result},
    guard::guarded,
    processing::RecordCollector,
    runtime::{
        changelog_ids,
        kafka_streams::{Shared, now_ms},
        offset_sum,
        restore::{Plan, Planner, StoreChangelog},
        verdict::{self, Verdict},
        wait::{Within, at_once, block_on, wait},
    },
    state::TaskDirectory,
    store::KeptStores,
    task::{Task, TaskId, TaskOptions, TaskScope},
};

/// How long an answer is waited for; then the task is tried again.
const LOOK_UP: Duration = Duration::from_secs(10);

pub(super) type Offsets = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

/// What is made.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// An active task that reads these partitions.
    Task(Vec<TopicPartition>),
    /// A standby of the task that does.
    Standby(Vec<TopicPartition>),
}

/// A task with its stores open, what is committed of its input, and what its stores lack of their changelogs.
pub(super) struct Opened {
    pub(super) task: Task,
    pub(super) committed: Offsets,
    pub(super) plans: Vec<(StoreChangelog, Plan)>,
}

/// What has come of it.
enum Outcome {
    Opened(Box<Opened>),
    /// Something could not be looked up.
    NotMade {
        task: Box<Task>,
        doing: String,
        error: ClientError,
    },
    /// It was not wanted any more, and is closed.
    Unwanted,
}

/// A task that is being made.
pub(super) struct Making {
    job: JoinHandle<Result<Outcome>>,
    kind: Kind,
    /// Until this is dropped it is wanted.
    wanted: Option<oneshot::Sender<()>>,
    /// How far its stores are on disk, as far as that is known.
    pub(super) offset_sum: Option<i64>,
}

/// What a task is made of, aside from its thread.
pub(super) struct Maker {
    shared: Arc<Shared>,
    thread: usize,
    consumer: Consumer,
    planner: Planner,
}

struct Job {
    maker: Arc<Maker>,
    id: TaskId,
    kind: Kind,
    directory: PathBuf,
    collector: Box<dyn RecordCollector>,
    kept: KeptStores,
}

impl Maker {
    pub(super) fn new(shared: Arc<Shared>, thread: usize, consumer: Consumer, planner: Planner) -> Arc<Self> {
        Arc::new(Maker { shared, thread, consumer, planner })
    }

    /// The changelog of a store of a task, if it has one.
    pub(super) fn changelog_of(&self, store: &str, task: TaskId) -> Option<TopicPartition> {
        let topology = &self.shared.topology;
        let factory = topology.stores.values().find(|factory| factory.name == store)?;
        let topic = topology.changelog_topic(factory, self.shared.config.application_id())?;
        Some(TopicPartition::new(topic, task.partition))
    }

    async fn committed(&self, kind: &Kind) -> Result<Offsets, ClientError> {
        let answer = async {
            match kind {
                Kind::Task(inputs) => self.consumer.committed(inputs).await,
                // The group is not asked as a member for what is another's.
                Kind::Standby(inputs) => {
                    let application = self.shared.config.application_id();
                    self.shared.admin().list_consumer_group_offsets(application, Some(inputs)).await
                }
            }
        };
        within("committed offsets", answer).await
    }

    /// The stores of a task that come back from a topic.
    fn changelogs_of(&self, task: &Task, directory: &Path, committed: &Offsets) -> Result<Vec<StoreChangelog>> {
        let mut changelogs = Vec::new();
        let (id, ids) = (task.id(), changelog_ids::read(directory)?);
        for (store, covered) in task.store_offsets()? {
            let Some(changelog) = self.changelog_of(&store, id) else { continue };
            // A source topic that serves as changelog is the store's only up to what was processed.
            let offset = committed.get(&changelog);
            let limit = offset.map(|offset| offset.as_ref().map_or(0, |offset| offset.offset));
            let topic_id = ids.get(&store).copied();
            changelogs.push(StoreChangelog { store, changelog, covered, limit, topic_id });
        }
        Ok(changelogs)
    }

    /// Closes what is not wanted any more, and lets its directory go.
    fn let_go(&self, id: TaskId, mut task: Task) {
        if let Err(error) = task.abandon() {
            tracing::warn!(task = %id, "closing a task that was not made to its end: {error}");
        }
        drop(task);
        self.shared.directory.unlock(id, self.thread);
    }
}

async fn within<T>(what: &str, asked: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let timed_out = |_| ClientError::Timeout { what: what.into(), after: LOOK_UP };
    tokio::time::timeout(LOOK_UP, asked).await.map_err(timed_out)?
}

impl Job {
    fn run(self, mut unwanted: oneshot::Receiver<()>) -> Result<Outcome> {
        let Job { maker, id, kind, directory, collector, kept } = self;
        let _within = Within::enter(&maker.shared.closing);
        let options = TaskOptions {
            id,
            config: maker.shared.config.clone(),
            collector,
            state_dir: Some(TaskDirectory { path: directory.clone(), engine: maker.shared.engine.clone() }),
            globals: maker.shared.globals.as_ref().map(|globals| globals.stores().clone()),
            scope: TaskScope::Subtopology,
            now: now_ms(),
        };
        let task = Task::new_over(&maker.shared.topology, options, kept)?;
        // Offsets are read before it is asked where changelogs end, which have what led to the offsets by then, or will.
        let asked = async {
            tokio::select! {
                biased;
                _ = &mut unwanted => None,
                committed = maker.committed(&kind) => Some(committed),
            }
        };
        let committed = match block_on(asked) {
            None => return Ok(unwanted_task(&maker, id, task)),
            Some(Ok(committed)) => committed,
            Some(Err(error)) => {
                let doing = "reading committed offsets".to_owned();
                return Ok(Outcome::NotMade { task: Box::new(task), doing, error });
            }
        };
        let stores = maker.changelogs_of(&task, &directory, &committed)?;
        let names = stores.iter().map(|store| store.changelog.to_string()).collect::<Vec<_>>().join(", ");
        let what = format!("looking up the offsets of changelogs {names}");
        let asked = async {
            tokio::select! {
                biased;
                _ = &mut unwanted => None,
                plans = within(&what, maker.planner.plans(stores)) => Some(plans),
            }
        };
        let plans = match block_on(asked) {
            None => return Ok(unwanted_task(&maker, id, task)),
            Some(Ok(plans)) => plans,
            Some(Err(error)) => return Ok(Outcome::NotMade { task: Box::new(task), doing: what, error }),
        };
        let mut opened = Opened { task, committed, plans };
        opened.clear_what_is_of_no_use()?;
        let topics =
            opened.plans.iter().filter_map(|(store, _)| Some((store.store.clone(), store.topic_id?))).collect();
        changelog_ids::write(&directory, &topics)?;
        Ok(Outcome::Opened(Box::new(opened)))
    }
}

fn unwanted_task(maker: &Maker, id: TaskId, task: Task) -> Outcome {
    maker.let_go(id, task);
    Outcome::Unwanted
}

impl Opened {
    /// Stores that are restored anew are empty then.
    fn clear_what_is_of_no_use(&mut self) -> Result<()> {
        for (place, plan) in &mut self.plans {
            let Plan::Anew(beginning, limit) = *plan else { continue };
            let StoreChangelog { store, changelog, covered, .. } = &*place;
            tracing::warn!(
                task = %self.task.id(), store, %changelog, ?covered, beginning, limit,
                "restored anew: the changelog does not have the offset that the store covers, or is another topic of this name"
            );
            self.task.clear_store(store)?;
            *plan = Plan::Anew(beginning, limit).emptied();
        }
        Ok(())
    }
}

impl TaskManager {
    /// Whether something is done for the thread's tasks beside it, so that there may be more to do soon.
    pub(in crate::runtime) fn is_making(&self) -> bool {
        !self.making.is_empty() || !self.completing.is_empty()
    }

    /// Takes what is made by now, and begins with the next task, or standby, that waits. Whether anything has come of it.
    pub(in crate::runtime) fn make_pending(&mut self) -> Result<bool> {
        let finished = self.making.iter().filter(|(_, making)| making.job.is_finished()).map(|(id, _)| *id);
        let finished: Vec<TaskId> = finished.collect();
        for id in &finished {
            if let Some(event) = self.take_made(*id)? {
                self.on(event)?;
            }
        }
        self.complete_restorations()?;
        let before = self.making.len();
        self.on(Event::MakePending(self.session()))?;
        Ok(!finished.is_empty() || self.making.len() > before)
    }

    /// Begins to make it over a directory that this thread has.
    pub(super) fn begin_making(
        &mut self,
        id: TaskId,
        kind: Kind,
        directory: PathBuf,
        collector: Box<dyn RecordCollector>,
    ) {
        let kept = std::mem::take(self.kept.entry(id).or_default());
        let offset_sum = self.recycled.remove(&id).or_else(|| offset_sum::read(&directory));
        let job = Job { maker: self.maker.clone(), id, kind: kind.clone(), directory, collector, kept };
        let (wanted, unwanted) = oneshot::channel();
        let job = self.shared.runtime().spawn_blocking(move || guarded(|| job.run(unwanted)));
        self.making.insert(id, Making { job, kind, wanted: Some(wanted), offset_sum });
    }

    /// What is being made is not wanted any more. Its directory is busy until it is closed.
    pub(super) fn unmake(&mut self, id: TaskId) {
        if let Some(making) = self.making.get_mut(&id) {
            making.wanted = None;
        }
    }

    fn take_made(&mut self, id: TaskId) -> Result<Option<Event>> {
        let Some(Making { mut job, kind, wanted, .. }) = self.making.remove(&id) else { return Ok(None) };
        let Some(joined) = at_once(&mut job) else { return Ok(None) };
        let outcome = joined.map_err(|error| Error::streams(format!("making task {id}: {error}")))?;
        match (outcome?, wanted) {
            (Outcome::Opened(opened), Some(_)) => match kind {
                Kind::Task(partitions) => self.task_made(id, &partitions, *opened).map(Some),
                Kind::Standby(inputs) => self.standby_made(id, inputs, *opened).map(Some),
            },
            (Outcome::NotMade { task, doing, error }, Some(_)) => self.not_made(id, *task, &doing, error).map(Some),
            (Outcome::Opened(opened), None) => {
                self.maker.let_go(id, opened.task);
                Ok(None)
            }
            (Outcome::NotMade { task, .. }, None) => {
                self.maker.let_go(id, *task);
                Ok(None)
            }
            (Outcome::Unwanted, _) => Ok(None),
        }
    }

    /// Lets a task go that cannot be made, for a reason that may pass.
    fn not_made(&mut self, id: TaskId, mut task: Task, doing: &str, error: ClientError) -> Result<Event> {
        self.kept.insert(id, task.abandon()?);
        drop(task);
        self.shared.directory.unlock(id, self.thread);
        match verdict::of_look_up(&error) {
            Verdict::Retry => Ok(Event::NotMade(id, error)),
            _ => Err(client_failed(doing, &error)),
        }
    }

    /// Waits until nothing is being made any more, as long as there is time to close.
    pub(super) fn end_making(&mut self) {
        self.making.values_mut().for_each(|making| making.wanted = None);
        while let Some((id, Making { job, .. })) = self.making.pop_first() {
            let ended = wait(async { Ok::<_, Box<Error>>(job.await) });
            match ended {
                Ok(Ok(Ok(Outcome::Opened(opened)))) => self.maker.let_go(id, opened.task),
                Ok(Ok(Ok(Outcome::NotMade { task, .. }))) => self.maker.let_go(id, *task),
                Ok(Ok(Ok(Outcome::Unwanted))) => {}
                Ok(Ok(Err(error))) | Err(error) => tracing::warn!(task = %id, "it was being made: {error}"),
                Ok(Err(error)) => tracing::warn!(task = %id, "it was being made: {error}"),
            }
        }
    }
}
