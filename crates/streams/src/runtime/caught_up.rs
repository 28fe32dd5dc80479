//! Waiting until an application has worked off its topics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use vltava_client::{ClientError, TopicPartition, admin::OffsetSpec, config::IsolationLevel};

use super::{
    background,
    kafka_streams::{KafkaStreams, Shared},
    state::State,
    wait::{Within, block_on},
};
use crate::error::{Error, Result};

/// How long to wait before the offsets are looked at again.
const STEP: Duration = Duration::from_millis(10);

/// While somebody waits for them, threads that are busy commit as often as this; those that are not, at once.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

impl KafkaStreams {
    /// Waits on this thread until the application has worked off its topics: the committed offsets of its group have
    /// reached the ends of its source topics and of its repartition topics, as they are at that moment. So whatever it
    /// makes of records that were written before is in its output topics and stores; and it is in state `RUNNING` then, so
    /// that the stores can be asked. False after `timeout`.
    ///
    /// Global stores have what is in their topics then.
    ///
    /// For tests and jobs that end; Kafka has nothing of the kind. All instances of the application count, and records
    /// that are written meanwhile as well. Offsets move with commits: this instance commits as soon as it has nothing to
    /// do, as long as somebody waits; others do every `commit.interval.ms`. A partition that is read from its end
    /// (`auto.offset.reset` latest) counts from the first record that was read. Records that wait for stream time, in
    /// windows that are not closed, or for the wall clock, still do.
    ///
    /// Async code calls [`wait_until_caught_up_async`](Self::wait_until_caught_up_async).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(streams: vltava_streams::KafkaStreams) -> vltava_streams::Result<()> {
    /// streams.start()?;
    /// assert!(streams.wait_until_caught_up(Duration::from_secs(30))?);
    /// streams.close(Duration::from_secs(10))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`] if the application has failed; [`Error::StreamsNotStarted`], [`Error::StreamsStopped`];
    /// [`Error::Streams`] if the cluster does not answer; [`Error::Unsupported`] on a thread of the application.
    pub fn wait_until_caught_up(&self, timeout: Duration) -> Result<bool> {
        let work = self.shared.clone().catches_up(timeout)?;
        let _context = self.shared.runtime().enter();
        block_on(work)
    }

    /// As [`wait_until_caught_up`](Self::wait_until_caught_up), without blocking the thread. Cancel-safe; any executor will
    /// do.
    ///
    /// # Errors
    /// As [`wait_until_caught_up`](Self::wait_until_caught_up).
    pub fn wait_until_caught_up_async(&self, timeout: Duration) -> impl Future<Output = Result<bool>> + Send + use<> {
        let work = self.shared.clone().catches_up(timeout);
        background::run(&self.shared, async move { work?.await })
    }
}

fn asking(error: ClientError) -> Box<Error> {
    Error::client("asking for the offsets of the application", error)
}

/// Has the threads commit, until it is dropped.
struct CommitsWanted(Arc<Shared>);

impl CommitsWanted {
    fn new(shared: Arc<Shared>) -> Self {
        shared.commits_wanted.fetch_add(1, Ordering::Relaxed);
        CommitsWanted(shared)
    }
}

impl Drop for CommitsWanted {
    fn drop(&mut self) {
        self.0.commits_wanted.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// After how long a thread commits because somebody waits for it; `None` if nobody does.
    pub(super) fn commit_patience(&self, idle: bool) -> Option<Duration> {
        let wanted = self.commits_wanted.load(Ordering::Relaxed) > 0;
        wanted.then_some(if idle { STEP } else { COMMIT_INTERVAL })
    }

    fn catches_up(self: Arc<Self>, timeout: Duration) -> Result<impl Future<Output = Result<bool>> + Send + 'static> {
        if Within::is_in(&self.closing) {
            let what = "waiting on a thread of the application, which would wait for itself: wait on another one";
            return Err(Box::new(Error::Unsupported(what.to_owned())));
        }
        self.must_be_started()?;
        Ok(async move {
            let wanted = CommitsWanted::new(self);
            match tokio::time::timeout(timeout, wanted.0.caught_up()).await {
                Ok(caught_up) => caught_up.map(|()| true),
                Err(_elapsed) => Ok(false),
            }
        })
    }

    async fn caught_up(&self) -> Result<()> {
        loop {
            if let Some(failure) = self.failure() {
                return Err(Box::new(Error::Failed(failure)));
            }
            self.must_run()?;
            // Until the topics are made there is nothing to be behind of.
            let committed = match self.source_topics().await? {
                _ if !self.topology.has_tasks() => true,
                Some(topics) => self.has_committed_all(topics).await.map_err(asking)?,
                None => false,
            };
            let is_done = committed && self.global_stores_have_all().await.map_err(asking)?;
            // One thread may have done it all before the others have joined; stores do not answer until they have.
            if is_done && self.state() == State::Running {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Whether the global stores have what is in their topics now.
    async fn global_stores_have_all(&self) -> Result<bool, ClientError> {
        let Some(globals) = &self.globals else { return Ok(true) };
        let Some(next) = globals.next_offsets() else { return Ok(false) };
        let latest = next.keys().map(|partition| (partition.clone(), OffsetSpec::Latest));
        for (partition, end) in self.admin().list_offsets(latest, IsolationLevel::ReadUncommitted).await {
            let end = end?.offset;
            if next.get(&partition).is_some_and(|next| *next < end) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn has_committed_all(&self, topics: BTreeSet<String>) -> Result<bool, ClientError> {
        let admin = self.admin();
        let committed = admin.list_consumer_group_offsets(self.config.application_id(), None).await?;
        let mut partitions = Vec::new();
        for (topic, description) in admin.describe_topics(topics).await {
            let of_topic = description?.partitions.into_iter();
            partitions.extend(of_topic.map(|info| TopicPartition::new(topic.as_str(), info.partition)));
        }
        // What a task writes to a repartition topic is there before it commits what it made that of. Ends that are asked
        // for after the commits know all that was committed for, so no record is missed between two sub-topologies.
        let latest = partitions.iter().map(|partition| (partition.clone(), OffsetSpec::Latest));
        let mut untouched = BTreeMap::new();
        for (partition, end) in admin.list_offsets(latest, IsolationLevel::ReadUncommitted).await {
            let end = end?.offset;
            match committed.get(&partition).and_then(Option::as_ref) {
                Some(at) if at.offset < end => return Ok(false),
                Some(_) => {}
                None => {
                    untouched.insert(partition, end);
                }
            }
        }
        // Nothing is committed for a partition without records: one that never had any, or lost all to retention.
        let earliest = untouched.keys().map(|partition| (partition.clone(), OffsetSpec::Earliest));
        for (partition, start) in admin.list_offsets(earliest, IsolationLevel::ReadUncommitted).await {
            let start = start?.offset;
            if untouched.get(&partition).is_some_and(|end| start < *end) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
