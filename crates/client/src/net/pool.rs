//! The connections of a client: at most one per broker and purpose, made when it is needed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::connection::Connection;
use super::connector;
use super::metadata::Node;
use super::security::Security;
use super::throttle::Throttle;
use crate::config::CommonConfig;
use crate::config::exponential;
use crate::error::ClientError;
use crate::metrics::NetworkMetrics;

/// What a connection is for: a request that the broker answers late must not hold up others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Purpose {
    /// Everything that is answered soon, and produce.
    Data,
    /// Fetches, which the broker may hold back for `fetch.max.wait.ms`.
    Fetch,
    /// A group's or transaction's coordinator: a join is answered when the whole group has come.
    Coordinator,
}

/// Which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// The broker's id; negative for an entry of `bootstrap.servers`.
    pub node: i32,
    /// What it is for.
    pub purpose: Purpose,
}

impl ConnectionKey {
    /// The connection for everything that is answered soon.
    #[must_use]
    pub const fn data(node: i32) -> Self {
        Self { node, purpose: Purpose::Data }
    }

    /// The connection for fetches.
    #[must_use]
    pub const fn fetch(node: i32) -> Self {
        Self { node, purpose: Purpose::Fetch }
    }

    /// The connection for a coordinator.
    #[must_use]
    pub const fn coordinator(node: i32) -> Self {
        Self { node, purpose: Purpose::Coordinator }
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    config: Arc<CommonConfig>,
    security: Security,
    metrics: Arc<NetworkMetrics>,
    slots: Mutex<HashMap<ConnectionKey, Arc<Slot>>>,
    last_failure: Mutex<Option<ClientError>>,
    /// By node; those of coordinators apart.
    throttles: Mutex<HashMap<(i32, bool), Throttle>>,
}

/// One place for a connection.
#[derive(Debug)]
struct Slot {
    current: Mutex<Current>,
    /// Held while connecting: others wait for the result.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Current {
    address: Arc<str>,
    connection: Option<Connection>,
    failures: u32,
    retry_at: Option<Instant>,
    /// Failures before that are not worth a line.
    next_warning: Option<Instant>,
}

impl Current {
    /// Says that there is no connection: once, and then seldom.
    fn complain(&mut self, key: ConnectionKey, error: &ClientError, now: Instant) {
        const SELDOM: Duration = Duration::from_secs(30);
        let ConnectionKey { node, .. } = key;
        if self.next_warning.is_some_and(|at| now < at) {
            tracing::debug!(node, address = %self.address, "cannot connect: {error}");
            return;
        }
        self.next_warning = Some(now + SELDOM);
        tracing::warn!("connection to node {node} ({}) could not be established: {error}", self.address);
    }
}

impl Pool {
    pub(crate) fn new(config: Arc<CommonConfig>, metrics: Arc<NetworkMetrics>) -> Result<Self, ClientError> {
        let security = Security::new(&config)?;
        Ok(Self {
            config,
            security,
            metrics,
            slots: Mutex::new(HashMap::new()),
            last_failure: Mutex::new(None),
            throttles: Mutex::new(HashMap::new()),
        })
    }

    /// Why the last attempt to connect failed, if it did.
    pub(crate) fn last_failure(&self) -> Option<ClientError> {
        self.last_failure.lock().clone()
    }

    /// The open connection of this key, if there is one.
    pub(crate) fn open(&self, key: ConnectionKey) -> Option<Connection> {
        let slot = self.slots.lock().get(&key).cloned()?;
        let current = slot.current.lock();
        current.connection.clone().filter(Connection::is_open)
    }

    /// Whether the last attempt failed and the pause after it is not over.
    pub(crate) fn is_backing_off(&self, key: ConnectionKey, now: Instant) -> bool {
        let slot = self.slots.lock().get(&key).cloned();
        slot.is_some_and(|slot| slot.current.lock().retry_at.is_some_and(|at| at > now))
    }

    /// The connection of this key to `node`, made if need be. Waits for the pause after a failed attempt to be over.
    pub(crate) async fn connect(&self, key: ConnectionKey, node: &Node) -> Result<Connection, ClientError> {
        let address: Arc<str> = Arc::from(node.address());
        let slot = self.slot(key, &address);
        if let Some(connection) = slot.usable(&address) {
            return Ok(connection);
        }
        let _guard = slot.connecting.lock().await;
        if let Some(connection) = slot.usable(&address) {
            return Ok(connection);
        }
        let (pause, timeout) = slot.plan(&self.config);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let throttle =
            self.throttles.lock().entry((key.node, key.purpose == Purpose::Coordinator)).or_default().clone();
        let (address, metrics) = (Arc::clone(&address), &self.metrics);
        let result = connector::connect(key, address, &self.config, &self.security, &throttle, metrics, timeout).await;
        slot.settle(key, &result, &self.config);
        *self.last_failure.lock() = result.as_ref().err().cloned();
        result
    }

    fn slot(&self, key: ConnectionKey, address: &Arc<str>) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        let slot = slots.entry(key).or_insert_with(|| {
            Arc::new(Slot {
                current: Mutex::new(Current {
                    address: Arc::clone(address),
                    connection: None,
                    failures: 0,
                    retry_at: None,
                    next_warning: None,
                }),
                connecting: tokio::sync::Mutex::new(()),
            })
        });
        Arc::clone(slot)
    }

    /// Closes connections that were not used for longer than `connections.max.idle.ms`.
    pub(crate) fn close_idle(&self, now: Instant) {
        let Some(limit) = self.config.connections_max_idle else { return };
        for slot in self.slots.lock().values() {
            let mut current = slot.current.lock();
            let idle = |connection: &Connection| {
                connection.in_flight() == 0 && now.saturating_duration_since(connection.last_used()) > limit
            };
            if current.connection.as_ref().is_some_and(idle) {
                tracing::debug!(address = %current.address, "closing an idle connection");
                current.connection = None;
            }
        }
    }

    /// How many requests have no answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        let slots: Vec<Arc<Slot>> = self.slots.lock().values().cloned().collect();
        slots.iter().filter_map(|slot| slot.current.lock().connection.as_ref().map(Connection::in_flight)).sum()
    }

    /// Closes everything.
    pub(crate) fn close(&self) {
        for (_, slot) in self.slots.lock().drain() {
            if let Some(connection) = slot.current.lock().connection.take() {
                connection.close(ClientError::Closed);
            }
        }
    }
}

impl Slot {
    /// The connection, if it is open and goes to `address`: a broker may have moved.
    fn usable(&self, address: &Arc<str>) -> Option<Connection> {
        let mut current = self.current.lock();
        if current.address != *address {
            current.address = Arc::clone(address);
            current.connection = None;
            current.failures = 0;
            current.retry_at = None;
            current.next_warning = None;
        }
        if current.connection.as_ref().is_some_and(|connection| !connection.is_open()) {
            current.connection = None;
        }
        current.connection.clone()
    }

    /// How long to wait before the next attempt, and how long it may take.
    fn plan(&self, config: &CommonConfig) -> (Duration, Duration) {
        let current = self.current.lock();
        let pause = current.retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let setup = exponential(config.connection_setup_timeout, config.connection_setup_timeout_max, current.failures);
        (pause, setup)
    }

    fn settle(&self, key: ConnectionKey, result: &Result<Connection, ClientError>, config: &CommonConfig) {
        let mut current = self.current.lock();
        match result {
            Ok(connection) => {
                current.connection = Some(connection.clone());
                current.failures = 0;
                current.retry_at = None;
                current.next_warning = None;
            }
            Err(error) => {
                current.complain(key, error, Instant::now());
                let pause = exponential(config.reconnect_backoff, config.reconnect_backoff_max, current.failures);
                current.retry_at = Some(Instant::now() + pause);
                current.failures = current.failures.saturating_add(1);
            }
        }
    }
}
