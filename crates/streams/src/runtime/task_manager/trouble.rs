//! Tasks that make no progress: since when, why, and when to try again. Kafka's `task.timeout.ms`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use vltava_client::ClientError;

use crate::task::TaskId;

/// The pause before the second attempt; it doubles with every further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How seldom a warning is repeated.
const REPEAT: Duration = Duration::from_secs(60);

/// What a task does not get done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its offsets or changelogs cannot be read.
    Making,
    /// What it writes cannot be sent.
    Sending,
    /// Its offsets cannot be committed.
    Committing,
    /// A standby's changelogs cannot be read.
    Following,
}

#[derive(Debug)]
struct Trouble {
    /// All that does not work, in the order in which it stopped to.
    causes: Vec<Cause>,
    error: ClientError,
    since: Instant,
    told: Instant,
    attempts: u32,
    retry_at: Instant,
}

/// The tasks of a thread that make no progress.
#[derive(Debug)]
pub(super) struct Troubles {
    /// `None` where it may take any time.
    timeout: Option<Duration>,
    tasks: BTreeMap<TaskId, Trouble>,
}

impl Troubles {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Troubles { timeout, tasks: BTreeMap::new() }
    }

    /// Something did not work. If that has gone on for longer than the timeout, returns for how long.
    pub(super) fn begin(&mut self, task: TaskId, cause: Cause, error: ClientError, now: Instant) -> Option<Duration> {
        let trouble = self.tasks.entry(task).or_insert_with(|| {
            tracing::warn!(%task, "makes no progress, will be tried again: {error}");
            Trouble { causes: Vec::new(), error: error.clone(), since: now, told: now, attempts: 0, retry_at: now }
        });
        let waited = now.duration_since(trouble.since);
        if now.duration_since(trouble.told) >= REPEAT {
            let waited_s = waited.as_secs();
            match self.timeout.map(|timeout| timeout.as_millis()) {
                Some(timeout_ms) => {
                    tracing::warn!(%task, waited_s, "has made no progress, `task.timeout.ms` is {timeout_ms}: {error}");
                }
                None => tracing::warn!(%task, waited_s, "the standby has made no progress: {error}"),
            }
            trouble.told = now;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << trouble.attempts.min(16)).min(LONGEST_PAUSE);
        trouble.error = error;
        if !trouble.causes.contains(&cause) {
            trouble.causes.push(cause);
        }
        trouble.attempts += 1;
        trouble.retry_at = now + pause;
        self.timeout.is_some_and(|timeout| waited > timeout).then_some(waited)
    }

    /// It works again.
    pub(super) fn end(&mut self, task: TaskId, cause: Cause) {
        let Some(trouble) = self.tasks.get_mut(&task) else { return };
        trouble.causes.retain(|known| *known != cause);
        if trouble.causes.is_empty() {
            self.tasks.remove(&task);
            tracing::info!(%task, "makes progress again");
        }
    }

    /// Whether the pause after the last attempt is over.
    pub(super) fn may_try(&self, task: TaskId, now: Instant) -> bool {
        self.tasks.get(&task).is_none_or(|trouble| trouble.retry_at <= now)
    }

    /// Whether a task waits for its offsets to be committed again.
    pub(super) fn any_commits(&self) -> bool {
        self.tasks.values().any(|trouble| trouble.causes.contains(&Cause::Committing))
    }

    /// Whether no task waits for its offsets to be committed again.
    pub(super) fn may_commit(&self, now: Instant) -> bool {
        self.tasks.values().all(|trouble| !trouble.causes.contains(&Cause::Committing) || trouble.retry_at <= now)
    }

    pub(super) fn error_of(&self, task: TaskId) -> Option<&ClientError> {
        self.tasks.get(&task).map(|trouble| &trouble.error)
    }

    /// Forgets tasks that are not the thread's any more.
    pub(super) fn retain(&mut self, keep: impl Fn(TaskId) -> bool) {
        self.tasks.retain(|task, _| keep(*task));
    }
}
