//! Queries of a running application: from the asking thread to the stores of its stream threads and back.
//!
//! A thread's tasks are behind a lock that it lets go of between two turns; a query takes it for as long as it reads.

use std::{
    cell::Cell,
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    global::Globals,
    kafka_streams::{KafkaStreams, Shared},
    restore,
    state::State,
    task_manager::{StorePosition, TaskManager},
    threads::Found,
    wait::block_on,
};
use crate::{
    error::{Error, Result},
    query::{
        FailureReason, IsolationLevel, LagInfo, QueriedStore, Query, QueryFailure, QueryResult, QueryableStoreType,
        Scope, StateQueryRequest, StateQueryResult, StoreQueryParameters, StoreSource, ThreadMetadata, ThreadState,
        Visit,
    },
};

thread_local! {
    static ON_STREAM_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread: it has a lock that its queries would wait for.
pub(super) fn on_stream_thread() {
    ON_STREAM_THREAD.set(true);
}

pub(super) fn refuse_on_stream_thread() -> Result<()> {
    if ON_STREAM_THREAD.get() {
        return Err(Box::new(Error::Unsupported(
            "a query on a stream thread, which would wait for itself: ask from another one".to_owned(),
        )));
    }
    Ok(())
}

impl Shared {
    pub(super) fn known_store(&self, name: &str) -> Result<usize> {
        let id = self.topology.stores.iter().find(|(_, store)| store.name == name).map(|(id, _)| *id);
        id.or_else(|| self.global_store(name)).ok_or_else(|| {
            Box::new(Error::UnknownStateStore(format!(
                "Cannot get state store {name} because no such store is registered in the topology."
            )))
        })
    }

    /// The number of a global store.
    pub(super) fn global_store(&self, name: &str) -> Option<usize> {
        let mut stores = self.topology.global_stores.iter().map(|global| &global.factory);
        stores.find(|store| store.name == name).map(|store| store.id)
    }

    /// Whether a query sees what is committed only. At least once there is no such state.
    fn reads_committed(&self, level: Option<IsolationLevel>) -> bool {
        self.config.is_exactly_once() && level != Some(IsolationLevel::ReadUncommitted)
    }

    pub(super) fn must_be_started(&self) -> Result<State> {
        match self.state() {
            State::Created => Err(Box::new(Error::StreamsNotStarted(
                "KafkaStreams has not been started, you can retry after calling start()".to_owned(),
            ))),
            state => Ok(state),
        }
    }

    /// Views and metadata are for an application that runs.
    pub(super) fn must_run(&self) -> Result<()> {
        match self.must_be_started()? {
            state if state.is_running_or_rebalancing() => Ok(()),
            state => Err(Box::new(Error::StreamsStopped(format!("KafkaStreams is not running. State is {state}.")))),
        }
    }
}

/// The stores of an application, for views that may outlive it.
struct LocalStores(Weak<Shared>);

fn not_running(store: &str, state: ThreadState, stale: bool) -> Box<Error> {
    let or = if stale { " or REBALANCING" } else { "" };
    Box::new(Error::InvalidStateStore(format!(
        "Cannot get state store {store} because the stream thread is {state}, not RUNNING{or}"
    )))
}

impl StoreSource for LocalStores {
    fn visit(&self, scope: &Scope, visit: Visit<'_>) -> Result<()> {
        refuse_on_stream_thread()?;
        let stopped = || Box::new(Error::StreamsStopped("KafkaStreams is not running. It was dropped.".to_owned()));
        let shared = self.0.upgrade().ok_or_else(stopped)?;
        shared.must_run()?;
        let Scope { store_name, partition, stale_stores, isolation_level } = scope;
        let committed_only = shared.reads_committed(*isolation_level);
        if let (Some(globals), Some(id)) = (&shared.globals, shared.global_store(store_name)) {
            let mut reader = globals.reader(store_name)?;
            let Some(mut store) = QueriedStore::of(&mut reader.ctx, id) else { return Ok(()) };
            return visit(&mut store).map(|_| ());
        }
        let id = shared.known_store(store_name)?;
        let mut found = false;
        for thread in shared.threads.found() {
            let manager = match thread.manager {
                None if *stale_stores => continue,
                None => return Err(not_running(store_name, ThreadState::Starting, false)),
                Some(manager) => manager,
            };
            let mut manager = manager.lock();
            if !stale_stores && manager.state() != ThreadState::Running {
                return Err(not_running(store_name, manager.state(), false));
            }
            for mut task in manager.queried_tasks(*stale_stores) {
                if partition.is_some_and(|partition| partition != task.id().partition) {
                    continue;
                }
                let is_active = task.is_active();
                let Some(mut store) = task.store(id) else { continue };
                // A standby has nothing else.
                if committed_only && is_active {
                    store.read_committed();
                }
                found = true;
                if visit(&mut store)?.is_break() {
                    return Ok(());
                }
            }
            if partition.is_some() && found {
                break;
            }
        }
        match partition {
            _ if found => Ok(()),
            Some(partition) => Err(Box::new(Error::InvalidStateStorePartition(format!(
                "The specified partition {partition} for store {store_name} does not exist."
            )))),
            None => Err(Box::new(Error::InvalidStateStore(format!(
                "The state store, {store_name}, may have migrated to another instance."
            )))),
        }
    }
}

impl KafkaStreams {
    /// A read-only view over the partitions of a store that are on this instance (KIP-67, KIP-562). It can be used on
    /// any thread but a stream thread of this process, and waits for its turn between two records.
    ///
    /// ```no_run
    /// use vltava_streams::query::{QueryableStoreTypes, StoreQueryParameters};
    /// # fn example(streams: &vltava_streams::KafkaStreams) -> vltava_streams::Result<()> {
    /// let counts = QueryableStoreTypes::key_value_store::<String, i64>();
    /// let counts = streams.store(&StoreQueryParameters::from_name_and_type("counts", counts))?;
    /// println!("{:?}", counts.get(&"vltava".to_owned())?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamsNotStarted`], [`Error::StreamsStopped`], [`Error::UnknownStateStore`]. Whether the store is of
    /// the wanted type, and here, shows when it is asked.
    pub fn store<T: QueryableStoreType>(&self, parameters: &StoreQueryParameters<T>) -> Result<T::View> {
        self.shared.must_run()?;
        self.shared.known_store(&parameters.store_name)?;
        Ok(parameters.view(Arc::new(LocalStores(Arc::downgrade(&self.shared)))))
    }

    /// Runs a query on the partitions of a store that are on this instance, those that are being restored and those of standbys
    /// included unless the request says otherwise (KIP-796). Each answers for itself; that it cannot is no error of this method.
    ///
    /// ```no_run
    /// use vltava_streams::query::{KeyQuery, StateQueryRequest};
    /// # fn example(streams: &vltava_streams::KafkaStreams) -> vltava_streams::Result<()> {
    /// let query = KeyQuery::<String, i64>::with_key("vltava".to_owned());
    /// let answers = streams.query(&StateQueryRequest::in_store("counts").with_query(query))?;
    /// if let Some(answer) = answers.only_partition_result()? {
    ///     println!("{:?} as of {:?}", answer.result(), answer.position());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamsNotStarted`], [`Error::StreamsStopped`], [`Error::UnknownStateStore`]; [`Error::Unsupported`] on
    /// a stream thread.
    pub fn query<Q: Query>(&self, request: &StateQueryRequest<Q>) -> Result<StateQueryResult<Q::Result>> {
        refuse_on_stream_thread()?;
        let shared = &self.shared;
        let id = shared.known_store(request.store_name())?;
        let state = shared.must_be_started()?;
        if !state.is_running_or_rebalancing() {
            return Err(Box::new(Error::StreamsStopped(format!(
                "KafkaStreams has been stopped ({state}). This instance can no longer serve queries."
            ))));
        }
        let mut results = StateQueryResult::new();
        if let (Some(globals), Some(id)) = (&shared.globals, shared.global_store(request.store_name())) {
            results.set_global(ask_global(globals, id, request));
            return Ok(results);
        }
        for manager in shared.threads.found().into_iter().filter_map(|thread| thread.manager) {
            let committed_only = shared.reads_committed(request.isolation_level);
            let done = ask(&mut manager.lock(), (id, committed_only), request, &mut results);
            if done.is_break() {
                return Ok(results);
            }
        }
        for partition in request.partitions().into_iter().flatten() {
            if !results.has(*partition) {
                let message = "The requested partition was not present at the time of the query.";
                let failure = QueryFailure::new(FailureReason::NotPresent, message);
                results.add(*partition, QueryResult::new(Err(failure), None));
            }
        }
        Ok(results)
    }

    /// How far the stores on this instance are in their changelogs, by store and partition (KIP-535): those of running tasks
    /// have all, those that are being restored and those of standbys may lack some. To compare instances by; a store without
    /// changelog is not among them, nor is a global store.
    ///
    /// # Errors
    /// [`Error::StreamsNotStarted`], [`Error::StreamsStopped`]; [`Error::Client`] if the ends of changelogs cannot be looked up;
    /// [`Error::Unsupported`] on a stream thread.
    pub fn all_local_store_partition_lags(&self) -> Result<BTreeMap<String, BTreeMap<i32, LagInfo>>> {
        refuse_on_stream_thread()?;
        self.shared.must_run()?;
        let _context = self.shared.runtime().enter();
        let mut positions = Vec::new();
        for manager in self.shared.threads.found().into_iter().filter_map(|thread| thread.manager) {
            positions.extend(manager.lock().store_positions()?);
        }
        let changelogs: Vec<_> = positions.iter().map(|position| position.changelog.clone()).collect();
        let ends = block_on(restore::high_watermarks(self.shared.admin(), &changelogs));
        let ends = ends.map_err(|error| Error::client("looking up the ends of changelogs", error))?;
        let mut lags: BTreeMap<String, BTreeMap<i32, LagInfo>> = BTreeMap::new();
        for StorePosition { store, changelog, position } in positions {
            let end = restore::bound(&ends, &changelog)
                .map_err(|error| Error::client("looking up the ends of changelogs", error))?;
            lags.entry(store).or_default().insert(changelog.partition(), LagInfo::new(position.unwrap_or(end), end));
        }
        Ok(lags)
    }

    /// The stream threads that have not ended, with their tasks.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a stream thread.
    pub fn metadata_for_local_threads(&self) -> Result<Vec<ThreadMetadata>> {
        refuse_on_stream_thread()?;
        let is_closing = self.shared.is_closing();
        let metadata = |Found { thread, is_leaving, manager }: Found| {
            let name = self.shared.thread_name(thread);
            let state = |state| if is_leaving || is_closing { ThreadState::PendingShutdown } else { state };
            let Some(manager) = manager else {
                return ThreadMetadata::new(name, state(ThreadState::Starting), Vec::new());
            };
            let mut manager = manager.lock();
            let (active, standbys): (Vec<_>, Vec<_>) = manager.queried_tasks(true).partition(|task| task.is_active());
            let [active, standbys] = [active, standbys].map(|tasks| tasks.iter().map(|task| task.metadata()).collect());
            ThreadMetadata::new(name, state(manager.state()), active).with_standbys(standbys)
        };
        Ok(self.shared.threads.found().into_iter().map(metadata).collect())
    }
}

/// Asks a global store.
fn ask_global<Q: Query>(globals: &Globals, id: usize, request: &StateQueryRequest<Q>) -> QueryResult<Q::Result> {
    let started = Instant::now();
    let name = request.store_name();
    let mut result = match globals.reader(name) {
        Ok(mut reader) => {
            let position = reader.position.clone();
            match QueriedStore::of(&mut reader.ctx, id) {
                Some(mut store) => request.run(&mut store, position),
                None => QueryResult::new(Err(QueryFailure::new(FailureReason::DoesNotExist, name)), None),
            }
        }
        Err(error) => QueryResult::new(Err(QueryFailure::new(FailureReason::NotPresent, error.to_string())), None),
    };
    if request.execution_info_enabled() {
        let nanos = started.elapsed().as_nanos();
        result.add_execution_info(format!("Handled in global store {name} in {nanos}ns"));
    }
    result
}

/// Asks the tasks of one thread; breaks off when nothing more is wanted.
fn ask<Q: Query>(
    manager: &mut TaskManager,
    (id, committed_only): (usize, bool),
    request: &StateQueryRequest<Q>,
    results: &mut StateQueryResult<Q::Result>,
) -> ControlFlow<()> {
    let state = manager.state();
    for mut task in manager.queried_tasks(true) {
        let (task_id, is_active) = (task.id(), task.is_active());
        if !request.asks(task_id.partition) {
            continue;
        }
        let started = Instant::now();
        let position = task.position(request.query().reads_cache() && !committed_only);
        let Some(mut store) = task.store(id) else { continue };
        if committed_only && is_active {
            store.read_committed();
        }
        let mut result = if request.is_require_active() && !(is_active && state == ThreadState::Running) {
            let was = if is_active { "active" } else { "not active" };
            let message =
                format!("Query requires a running active task, but partition was in state {state} and was {was}.");
            QueryResult::new(Err(QueryFailure::new(FailureReason::NotActive, message)), None)
        } else {
            request.run(&mut store, position)
        };
        if request.execution_info_enabled() {
            let (name, nanos) = (request.store_name(), started.elapsed().as_nanos());
            result.add_execution_info(format!("Handled in store {name} of task {task_id} in {nanos}ns"));
        }
        results.add(task_id.partition, result);
        let all = |wanted: &std::collections::BTreeSet<i32>| wanted.iter().all(|partition| results.has(*partition));
        if request.partitions().is_some_and(all) {
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}
