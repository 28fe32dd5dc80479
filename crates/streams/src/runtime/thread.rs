//! A stream thread: polls, restores, processes, punctuates and commits, in turns.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use vltava_client::{
    ClientError, Consumer, TopicPartition,
    consumer::{CloseOptions, GroupMembershipOperation, RebalanceListener, TopicPattern, assignor::BoxFuture},
};

use super::{
    assignor::{AskedStanding, AssignmentConfig, Instance, ProcessId, SharedStandbys, StreamsAssignor, Told},
    clients::client_failed,
    kafka_streams::{Shared, now_ms},
    resets::{Resets, Seek},
    restore::Restorer,
    setup::Setup,
    streams_group::{self, GroupWatch},
    summary::{Summary, Work},
    task_manager::TaskManager,
    thread_producer::ThreadProducer,
    threads::Removal,
    verdict::{self, Verdict},
    wait::{self, Cut, block_on, wait, wait_while_open},
};
use crate::{
    error::{Error, Result},
    metrics::thread::ListenerMetrics,
    query::ThreadState,
};

/// How long a thread waits for changelog records before it looks after its other tasks.
const RESTORE_POLL: Duration = Duration::from_millis(20);
/// For how long changelogs are read while tasks are at work, and tasks are worked on while changelogs are read, until it is the
/// others' turn.
const BESIDE: Duration = Duration::from_millis(50);
/// How often a thread looks after what others do for it: a task is made, a store is written, a directory let go.
const PENDING_POLL: Duration = Duration::from_millis(5);

/// A thread with a backlog polls at least so often, so that it hears of a rebalance: other members wait for it.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How soon a commit that was not made is tried again.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);
/// How seldom a warning is repeated.
const REPEAT: Duration = Duration::from_secs(60);

/// How often a thread looks whether its tasks have waited long enough for other partitions' records. Records that come
/// end the wait at once.
const IDLE_POLL: Duration = Duration::from_millis(10);

pub(super) struct StreamThread {
    shared: Arc<Shared>,
    index: usize,
    removal: Removal,
    /// Among how many threads the caches were shared.
    shares: usize,
    consumer: Consumer,
    producer: Arc<ThreadProducer>,
    manager: Arc<Mutex<TaskManager>>,
    topics: Vec<String>,
    /// What the last assignment has said.
    assigned: Told,
    /// Where the coordinator assigns tasks, what is to be done about the group's state.
    group_watch: GroupWatch,
    resets: Resets,
    /// Whether it has asked for the rebalance in which all instances are told to close.
    ends_application: bool,
    /// When it committed last, or tried to, and whether that has to be done again soon.
    committed: Instant,
    owes_commit: bool,
    /// How long it may work without polling.
    max_turn: Duration,
    /// Since when the coordinator has a group of another kind.
    other_group: Option<Instant>,
    /// When a failing poll was told last.
    told: Option<Instant>,
    commit_interval: Duration,
    summary: Summary,
    last_cleanup: Instant,
    cleanup_delay: Duration,
    poll_time: Duration,
    /// Whether nothing could be processed in the last turn.
    waiting: bool,
    /// Whether a task was begun or made in the last turn, so that there may be more.
    makes: bool,
    /// Whether changelogs had something in the last turn, so that there may be more.
    reads: bool,
    /// How long the last turn worked on the tasks whose stores are complete.
    worked: Duration,
}

/// Brings what the group decides to the tasks; called inside of `poll`, on the thread itself.
struct Listener {
    metrics: ListenerMetrics,
    manager: Arc<Mutex<TaskManager>>,
    /// Whether something may be skipped if positions are forgotten.
    remembers: bool,
    /// What the task manager is told of standbys.
    standbys: SharedStandbys,
}

impl RebalanceListener for Listener {
    fn on_partitions_revoked<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, std::result::Result<(), ClientError>> {
        if !self.remembers {
            let began = Instant::now();
            self.manager.lock().revoked(partitions, BTreeMap::new());
            self.metrics.revoked(began.elapsed(), now_ms());
            return Box::pin(std::future::ready(Ok(())));
        }
        let uncommitted = self.manager.lock().uncommitted(partitions);
        let began = Instant::now();
        Box::pin(async move {
            let mut begun = BTreeMap::new();
            for (partition, first) in uncommitted {
                let position = match first {
                    Some(first) => Some(first),
                    // Only if it is known.
                    None => match tokio::time::timeout(Duration::ZERO, consumer.position(&partition)).await {
                        Ok(position) => position.ok(),
                        Err(_elapsed) => None,
                    },
                };
                begun.extend(position.map(|position| (partition, position)));
            }
            self.manager.lock().revoked(partitions, begun);
            self.metrics.revoked(began.elapsed(), now_ms());
            Ok(())
        })
    }

    fn on_partitions_assigned<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        _added: &'a [TopicPartition],
    ) -> BoxFuture<'a, std::result::Result<(), ClientError>> {
        if let Some(group) = consumer.streams_group() {
            *self.standbys.lock() = streams_group::standbys(&group.assignment);
        }
        let began = Instant::now();
        self.manager.lock().assigned();
        self.metrics.assigned(began.elapsed(), now_ms());
        Box::pin(std::future::ready(Ok(())))
    }

    fn on_partitions_lost<'a>(
        &'a mut self,
        _consumer: &'a Consumer,
        _partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, std::result::Result<(), ClientError>> {
        let began = Instant::now();
        self.manager.lock().lost();
        self.metrics.lost(began.elapsed(), now_ms());
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Divides the tasks where the members do.
fn assignor(shared: &Shared, setup: &Arc<Setup>, standing: AskedStanding, told: Told) -> StreamsAssignor {
    let config = &shared.config;
    let instance = Instance {
        process: ProcessId(shared.process_id),
        host: shared.host.clone(),
        config: AssignmentConfig::of(config.fields()),
        application: config.application_id().to_owned(),
        ends_application: shared.ends_application.clone(),
    };
    StreamsAssignor::new(setup.clone(), shared.admin().clone(), instance, standing, told)
}

impl StreamThread {
    /// Makes the thread's clients and subscribes, as soon as the topics are there. To be called within the tokio runtime's
    /// context.
    pub(super) fn start(shared: Arc<Shared>, removal: Removal) -> Result<Self> {
        let index = removal.thread();
        let setup = shared.setup()?;
        let (config, clients) = (&shared.config, &shared.clients);
        let client_id = shared.thread_name(index);
        let failed = |error: ClientError| client_failed("making the clients", &error);
        let settings = clients.producer(format!("{client_id}-producer"), shared.process_id, index);
        let producer = ThreadProducer::new(config.fields().guarantee, settings).map_err(failed)?;
        let restore = clients.restore_consumer(format!("{client_id}-restore-consumer"));
        let restorer = Restorer::new(Consumer::new(restore).map_err(failed)?, shared.admin().clone());
        let main = clients.main_consumer(format!("{client_id}-consumer"), index);
        let standing = AskedStanding::default();
        let assigned = Told { cluster: shared.cluster.clone(), ..Told::default() };
        let consumer = match config.is_of_streams_group() {
            true => Consumer::of_streams_group(main, streams_group::member(&shared)?),
            false => {
                let assignor = assignor(&shared, &setup, standing.clone(), assigned.clone());
                Consumer::with_assignors(main, vec![Box::new(assignor)])
            }
        };
        let consumer = consumer.map_err(failed)?;
        // In a transaction a zombie may write what it likes.
        if !config.is_exactly_once() {
            producer.get().send_only_while(consumer.session()).map_err(failed)?;
        }
        let manager =
            TaskManager::new(shared.clone(), setup.clone(), index, consumer.clone(), producer.clone(), restorer);
        let manager = Arc::new(Mutex::new(manager.with_standbys(assigned.standbys.clone())));
        let asked = Arc::downgrade(&manager);
        let tell = move || asked.upgrade().map_or_else(Default::default, |manager| manager.lock().standing());
        if standing.set(Box::new(tell)).is_err() {
            return Err(Error::internal("an assignor that is asked for two threads"));
        }
        shared.threads.set_manager(index, &manager);
        let topics = setup.subtopologies.values().flat_map(|info| info.source_topics.iter().cloned()).collect();
        let thread = StreamThread {
            removal,
            shares: 0,
            poll_time: config.fields().poll,
            commit_interval: config.fields().commit_interval,
            waiting: false,
            makes: false,
            reads: false,
            worked: Duration::ZERO,
            topics,
            assigned,
            group_watch: GroupWatch::default(),
            ends_application: false,
            resets: Resets::new(shared.topology.clone(), clients.reset),
            committed: Instant::now(),
            owes_commit: false,
            // Half of it, as in Kafka: the rest is for a commit.
            max_turn: POLL_EVERY.min(consumer.config().max_poll_interval() / 2),
            other_group: None,
            told: None,
            summary: Summary::new(config.fields().log_summary_interval, Instant::now()),
            last_cleanup: Instant::now(),
            cleanup_delay: config.fields().state_cleanup_delay,
            shared,
            index,
            consumer,
            producer,
            manager,
        };
        thread.subscribe()?;
        Ok(thread)
    }

    fn subscribe(&self) -> Result<()> {
        let (remembers, standbys) = (self.resets.may_skip(), self.assigned.standbys.clone());
        let metrics = match self.shared.config.is_of_streams_group() {
            true => ListenerMetrics::new(self.manager.lock().thread_metrics().recorder()),
            false => ListenerMetrics::default(),
        };
        let listener = Listener { manager: self.manager.clone(), remembers, standbys, metrics };
        let subscribed = match self.shared.topology.subscription_pattern(self.group()) {
            Some(pattern) => {
                TopicPattern::new(&pattern).and_then(|pattern| self.consumer.subscribe_pattern_with(pattern, listener))
            }
            None => self.consumer.subscribe_with(self.topics.iter().cloned(), listener),
        };
        subscribed.map_err(|error| client_failed("subscribing", &error))
    }

    /// Leaves the group without its tasks and joins again.
    fn rejoin(&self) -> Result<()> {
        wait(self.consumer.unsubscribe()).map_err(|error| client_failed("leaving the group", &error))?;
        self.subscribe()
    }

    /// Whether the application closes, or this thread is to end.
    fn is_to_end(&self) -> bool {
        self.shared.is_closing() || self.removal.is_requested()
    }

    /// Works until it is to end or something fails.
    pub(super) fn run(mut self) -> Result<()> {
        let mut done = Ok(());
        while done.is_ok() && !self.is_to_end() {
            done = self.run_once();
        }
        self.manager.lock().thread_metrics().set_state(ThreadState::PendingShutdown.number());
        let (done, uncommitted) = match (done, wait::take_cut()) {
            // Cut short between two pieces of work: all that was done can be committed.
            (Ok(()), _) | (Err(_), Some(Cut::Request)) => {
                self.finish_rebalance();
                (Ok(()), self.manager.lock().close().err())
            }
            (Err(error), Some(Cut::Deadline)) => (Ok(()), Some(error)),
            (Err(error), None) => (Err(error), None),
        };
        let mut manager = self.manager.lock();
        if done.is_err() || uncommitted.is_some() {
            manager.close_dirty();
        }
        if let Some(why) = uncommitted {
            self.shared.closing.not_committed(self.shared.thread_name(self.index), why);
        }
        drop(manager);
        // Everything is committed, or given up; there may be dead letters, and the group is to know that we leave.
        let patience = self.shared.closing.time_for_clients() / 2;
        if let Err(error) = self.producer.close(patience) {
            tracing::warn!(thread = self.index, "closing the producer: {error}");
        }
        // As in Kafka a thread that is removed leaves as a static member too.
        let operation = match self.removal.is_requested() {
            true => GroupMembershipOperation::LeaveGroup,
            false => self.shared.closing.operation(),
        };
        let options = CloseOptions::timeout(self.shared.closing.time_for_clients());
        let options = options.with_group_membership_operation(operation);
        if let Err(error) = block_on(self.consumer.close_with(options)) {
            tracing::warn!(thread = self.index, "closing the consumer: {error}");
        }
        // What was cut short at the end says nothing of why it came to that.
        wait::take_cut();
        done
    }

    /// What was done since a rebalance began can be committed when that is over, as long as there is time to close. The JVM waits
    /// for it as well.
    fn finish_rebalance(&self) {
        while self.manager.lock().waits_for_rebalance() {
            // What it reads is not processed any more, and nothing of it is committed.
            if let Err(error) = wait(self.consumer.poll(self.poll_time)) {
                tracing::info!(thread = self.index + 1, "closes in the midst of a rebalance: {error}");
                break;
            }
        }
        wait::take_cut();
    }

    fn ask_to_end_application(&self) -> Result<()> {
        if self.shared.config.is_of_streams_group() {
            self.consumer.request_shutdown_of_application();
            return Ok(());
        }
        self.ask_for_rebalance("the application is asked to end")
    }

    /// Looks at the state of a group whose coordinator assigns tasks. Whether records may be processed.
    fn look_at_group(&mut self) -> Result<bool> {
        let Some(group) = self.consumer.streams_group() else { return Ok(true) };
        if let Some(cluster) = self.group_watch.take_endpoints(&group) {
            *self.shared.cluster.lock() = cluster;
        }
        self.group_watch.look(&group, Instant::now())
    }

    fn ask_for_rebalance(&self, reason: &str) -> Result<()> {
        let asked = self.consumer.enforce_rebalance(reason);
        asked.map_err(|error| client_failed("asking for a rebalance", &error))
    }

    /// One turn: polls, and works on what there is until it is time to poll again.
    fn run_once(&mut self) -> Result<()> {
        self.clean_up();
        if !self.consumer.is_rebalancing() && self.assigned.next_rebalance.take_due(now_ms()) {
            self.ask_for_rebalance("a rebalance that the leader of the group has asked for")?;
        }
        if self.shared.ends_application.load(Ordering::Relaxed) && !std::mem::replace(&mut self.ends_application, true)
        {
            self.ask_to_end_application()?;
        }
        let timeout = self.poll_timeout();
        let turn = Instant::now();
        let polled = wait_while_open(self.consumer.poll(timeout));
        let poll_took = turn.elapsed();
        let polled_at = Instant::now();
        let records = match polled {
            Ok(records) => records,
            Err(error) => {
                self.poll_failed(&error)?;
                Default::default()
            }
        };
        let refusal = self.assigned.refusal.lock().take();
        if let Some(refusal) = refusal {
            self.shared.forget_setup();
            return Err(refusal.into_error());
        }
        let may_process = self.look_at_group()?;
        // Its own, for the turn borrows it as long as it holds the tasks.
        let manager = self.manager.clone();
        let mut manager = manager.lock();
        manager.take_failure()?;
        manager.thread_metrics().polled(poll_took, records.len(), now_ms());
        let threads = self.shared.threads.live();
        if std::mem::replace(&mut self.shares, threads) != threads {
            manager.share_cache();
        }
        for part in records.partitions() {
            manager.add_records(part)?;
        }
        if !may_process {
            self.waiting = true;
            self.shared.set_thread_running(self.index, false);
            return manager.tick();
        }
        self.makes = manager.make_pending()?;
        self.read_changelogs(&mut manager)?;
        if manager.state() == ThreadState::Running {
            self.other_group = None;
        }
        self.shared.set_thread_running(self.index, manager.is_running());
        let began = Instant::now();
        let is_beside = self.reads || manager.is_restoring();
        let poll_by = if is_beside { began + BESIDE.min(self.max_turn) } else { polled_at + self.max_turn };
        let mut work = Work { polled: 1, ..Work::default() };
        loop {
            manager.tick()?;
            manager.update_lags();
            let processed = self.process(&mut manager, poll_by.min(self.commit_at(false)))?;
            self.waiting = processed == 0;
            work.processed += processed;
            manager.look_after_failures()?;
            if Instant::now() >= self.commit_at(processed == 0) || manager.commit_requested() {
                self.owes_commit = !manager.commit()?;
                self.committed = Instant::now();
            }
            // Queries have their turn.
            MutexGuard::bump(&mut manager);
            // New records are looked for as soon as one of the queues has run dry.
            let is_dry = processed == 0 || !manager.has_records();
            if is_dry || Instant::now() >= poll_by || self.is_to_end() {
                break;
            }
        }
        self.worked = began.elapsed();
        let rejoin = manager.take_rejoin();
        work.add(manager.take_work());
        let metrics = manager.thread_metrics();
        metrics.blocked(wait::take_waited());
        metrics.turned(turn.elapsed(), work.processed, now_ms());
        drop(manager);
        self.summarize(work);
        if rejoin { self.rejoin() } else { Ok(()) }
    }

    /// Tells now and then what was done, in Kafka's words.
    fn summarize(&mut self, work: Work) {
        self.summary.add(work);
        let Some((Work { processed, punctuated, polled, committed }, since)) = self.summary.take_due(Instant::now())
        else {
            return;
        };
        let paused = if self.shared.pausing.is_paused() { "; the application is paused" } else { "" };
        tracing::info!(
            thread = self.index + 1,
            "Processed {processed} total records, ran {punctuated} punctuators, polled {polled} times and committed \
             {committed} total tasks since the last update {}ms ago{paused}",
            since.as_millis()
        );
    }

    /// Unless the application is paused.
    fn read_changelogs(&mut self, manager: &mut MutexGuard<'_, TaskManager>) -> Result<()> {
        if self.shared.pausing.is_paused() {
            self.reads = false;
            manager.put_off_restoration();
            return Ok(());
        }
        self.reads = self.restore(manager)?;
        self.follow(manager)
    }

    /// Processes and punctuates, unless the application is paused. Says how many records there were.
    fn process(&self, manager: &mut TaskManager, until: Instant) -> Result<usize> {
        if self.shared.pausing.is_paused() {
            return Ok(0);
        }
        let processed = manager.process(until)?;
        manager.punctuate(now_ms())?;
        Ok(processed)
    }

    /// By when it is the turn of the tasks at work: after as long as theirs was, so that one whose processor is slow and that has a
    /// backlog does not hold up those that are restored, and not so long that it pauses. (The JVM has a thread of its own for
    /// these.)
    fn read_until(&self) -> Instant {
        Instant::now() + self.worked.min(BESIDE)
    }

    /// Reads changelogs, if there are any to read. Tasks at work do not wait for records to come. Whether there were any.
    fn restore(&self, manager: &mut MutexGuard<'_, TaskManager>) -> Result<bool> {
        let (until, mut has_read) = (self.read_until(), false);
        let timeout = if manager.is_working() { Duration::ZERO } else { RESTORE_POLL };
        while manager.is_restoring() {
            has_read = manager.restore(timeout)?;
            MutexGuard::bump(manager);
            if !has_read || Instant::now() >= until || self.is_to_end() {
                break;
            }
        }
        Ok(has_read)
    }

    /// Standbys follow their changelogs, once nothing is to be restored: once in every turn, and on as long as there is something.
    fn follow(&mut self, manager: &mut MutexGuard<'_, TaskManager>) -> Result<()> {
        if manager.is_restoring() || !manager.is_following() {
            return Ok(());
        }
        let until = self.read_until();
        self.reads = false;
        while manager.restore(Duration::ZERO)? {
            self.reads = true;
            MutexGuard::bump(manager);
            if Instant::now() >= until || self.is_to_end() {
                break;
            }
        }
        Ok(())
    }

    /// An error of `poll` that may pass is told now and then.
    fn poll_failed(&mut self, error: &ClientError) -> Result<()> {
        let seeks = self.resets.answer(error, self.manager.lock().begun())?;
        if !seeks.is_empty() {
            return self.seek(seeks);
        }
        let now = Instant::now();
        match verdict::of_poll(error) {
            Verdict::Retry if matches!(error, ClientError::Wakeup) => return Ok(()),
            Verdict::Retry | Verdict::Rebalance | Verdict::Migrated => {}
            Verdict::OtherGroup => {
                let session = self.consumer.config().session_timeout();
                let since = *self.other_group.get_or_insert(now);
                if now.duration_since(since) > session + session / 2 {
                    let doing = format!("joining the group {}, which has members of another kind", self.group());
                    return Err(client_failed(&doing, error));
                }
                if self.is_to_be_told(now) {
                    tracing::warn!(
                        thread = self.index + 1,
                        "the group {} has members of another kind; those of an application that has just ended are \
                         forgotten after its `session.timeout.ms`: tried again until then: {error}",
                        self.group()
                    );
                }
                return Ok(());
            }
            Verdict::Fatal => return Err(client_failed("polling", error)),
        }
        if self.is_to_be_told(now) {
            tracing::warn!(thread = self.index + 1, "polling, tried again: {error}");
        }
        Ok(())
    }

    /// Goes on where the policies say, with what is still assigned.
    fn seek(&self, seeks: Vec<Seek>) -> Result<()> {
        let assigned = self.consumer.assignment();
        for seek in seeks {
            let (partition, sought) = match seek {
                Seek::ByPolicy(partition, _) | Seek::To(partition, _) if !assigned.contains(&partition) => continue,
                Seek::ByPolicy(partition, policy) => {
                    tracing::info!(%partition, ?policy, "read from where the reset policy says");
                    let sought = self.consumer.reset_offsets(std::slice::from_ref(&partition), policy);
                    (partition, sought)
                }
                Seek::To(partition, offset) => {
                    let sought = self.consumer.seek(&partition, offset);
                    (partition, sought)
                }
            };
            sought.map_err(|error| client_failed(&format!("seeking in {partition}"), &error))?;
        }
        Ok(())
    }

    fn group(&self) -> &str {
        self.shared.config.application_id()
    }

    fn is_to_be_told(&mut self, now: Instant) -> bool {
        let told = self.told.is_some_and(|told| now.duration_since(told) < REPEAT);
        if !told {
            self.told = Some(now);
        }
        !told
    }

    /// Now and then the stores of tasks that have gone to other instances for good are deleted.
    fn clean_up(&mut self) {
        if self.last_cleanup.elapsed() >= self.cleanup_delay {
            self.shared.directory.delete_unused(self.cleanup_delay);
            self.last_cleanup = Instant::now();
        }
    }

    /// When the next commit is due, which somebody may wait for.
    fn commit_at(&self, idle: bool) -> Instant {
        let interval = self.shared.commit_patience(idle).unwrap_or(self.commit_interval);
        self.committed + if self.owes_commit { COMMIT_AGAIN.min(interval) } else { interval }
    }

    fn poll_timeout(&self) -> Duration {
        let manager = self.manager.lock();
        let is_paused = self.shared.pausing.is_paused();
        let restores = !is_paused && manager.is_restoring();
        if self.reads || restores && !manager.is_working() {
            return Duration::ZERO;
        }
        if manager.is_held() {
            return self.poll_time;
        }
        if !is_paused && manager.has_records() {
            return if self.waiting { IDLE_POLL.min(self.poll_time) } else { Duration::ZERO };
        }
        if manager.has_pending() || manager.has_pending_standbys() {
            // After one comes the next; who has nothing but directories of others waits for these.
            return if self.makes { Duration::ZERO } else { PENDING_POLL };
        }
        if restores || manager.is_making() || !is_paused && manager.is_catching_up() {
            return PENDING_POLL;
        }
        let until_commit = self.commit_at(true).saturating_duration_since(Instant::now());
        self.poll_time.min(until_commit.max(Duration::from_millis(1)))
    }
}
