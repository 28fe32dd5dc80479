//! What a client counts of its connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vltava_metrics::{Gauge, Sensor, Tags};
use vltava_protocol::ApiKey;

use super::definitions::network as define;
use super::{ClientKind, Recorder, fraction_of_ms};
use crate::error::ClientError;
use crate::net::{ConnectionKey, Purpose};

/// The network of one client.
#[derive(Debug)]
pub(crate) struct NetworkMetrics {
    recorder: Recorder,
    node_group: &'static str,
    created: Sensor,
    closed: Sensor,
    authenticated: Sensor,
    authenticated_once: Sensor,
    authentication_failed: Sensor,
    reauthenticated: Sensor,
    reauthentication_latency: Sensor,
    reauthentication_failed: Sensor,
    io: Sensor,
    outgoing: Sensor,
    incoming: Sensor,
    requests: Sensor,
    responses: Sensor,
    /// By Kafka's id of the connection.
    nodes: Mutex<BTreeMap<i32, Arc<NodeSensors>>>,
    open: Arc<AtomicUsize>,
    _connection_count: Gauge,
}

/// What is counted by broker.
#[derive(Debug)]
struct NodeSensors {
    outgoing: Sensor,
    incoming: Sensor,
    requests: Sensor,
    responses: Sensor,
    latency: Sensor,
}

impl NetworkMetrics {
    pub(super) fn new(kind: ClientKind, recorder: Recorder) -> Self {
        let (group, node_group) = kind.groups();
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        let look = move || counted.load(Ordering::Relaxed) as f64;
        let sensor = |definition| recorder.sensor(group, definition);
        Self {
            node_group,
            created: sensor(&define::CONNECTION_CREATED),
            closed: sensor(&define::CONNECTION_CLOSED),
            authenticated: sensor(&define::AUTHENTICATED),
            authenticated_once: sensor(&define::AUTHENTICATED_ONCE),
            authentication_failed: sensor(&define::AUTHENTICATION_FAILED),
            reauthenticated: sensor(&define::REAUTHENTICATED),
            reauthentication_latency: sensor(&define::REAUTHENTICATION_LATENCY),
            reauthentication_failed: sensor(&define::REAUTHENTICATION_FAILED),
            io: sensor(&define::NETWORK_IO),
            outgoing: sensor(&define::OUTGOING),
            incoming: sensor(&define::INCOMING),
            requests: sensor(&define::REQUESTS),
            responses: sensor(&define::RESPONSES),
            nodes: Mutex::default(),
            _connection_count: recorder.gauge(group, &define::CONNECTION_COUNT, look),
            open,
            recorder,
        }
    }

    /// A socket was connected; the meter counts what goes over it, and its end.
    pub(crate) fn connected(self: &Arc<Self>, key: ConnectionKey, now: Instant) -> Arc<Meter> {
        self.created.record(1.0, self.recorder.ms(now));
        self.open.fetch_add(1, Ordering::Relaxed);
        Arc::new(Meter { node: self.node(key), network: Arc::clone(self), is_over: AtomicBool::new(false) })
    }

    /// The sensors of a broker. Its coordinator has a connection of its own, and an id in Kafka's clients too; fetches have
    /// one here, but not there.
    fn node(&self, key: ConnectionKey) -> Arc<NodeSensors> {
        let id = if key.purpose == Purpose::Coordinator { i32::MAX - key.node } else { key.node };
        let mut nodes = self.nodes.lock();
        let node = nodes.entry(id).or_insert_with(|| {
            let tags = Tags::new([("node-id", format!("node-{id}"))]);
            let sensor = |definition| self.recorder.sensor_of(self.node_group, definition, &tags);
            Arc::new(NodeSensors {
                outgoing: sensor(&define::NODE_OUTGOING),
                incoming: sensor(&define::NODE_INCOMING),
                requests: sensor(&define::NODE_REQUESTS),
                responses: sensor(&define::NODE_RESPONSES),
                latency: sensor(&define::NODE_LATENCY),
            })
        });
        Arc::clone(node)
    }

    /// Forgets brokers to which there is no connection any more and which `is_known` does not know.
    pub(crate) fn forget_nodes(&self, is_known: impl Fn(i32) -> bool) {
        let broker = |id: i32| if id > i32::MAX / 2 { i32::MAX - id } else { id };
        self.nodes.lock().retain(|id, node| Arc::strong_count(node) > 1 || is_known(broker(*id)));
    }
}

/// Counts what goes over one connection.
#[derive(Debug)]
pub(crate) struct Meter {
    network: Arc<NetworkMetrics>,
    node: Arc<NodeSensors>,
    is_over: AtomicBool,
}

impl Meter {
    fn ms(&self, now: Instant) -> i64 {
        self.network.recorder.ms(now)
    }

    /// A request of this size was handed over.
    pub(crate) fn request(&self, size: usize, now: Instant) {
        let (size, now) = (size as f64, self.ms(now));
        self.network.requests.record(size, now);
        self.node.requests.record(size, now);
    }

    /// The socket has taken some bytes.
    pub(crate) fn sent(&self, bytes: usize, now: Instant) {
        let (bytes, now) = (bytes as f64, self.ms(now));
        self.network.io.record(bytes, now);
        self.network.outgoing.record(bytes, now);
        self.node.outgoing.record(bytes, now);
    }

    /// An answer of this size has come to a request that was handed over at `since`.
    pub(crate) fn response(&self, api: ApiKey, bytes: usize, since: Instant, now: Instant) {
        let latency = now.saturating_duration_since(since);
        let (bytes, now) = (bytes as f64, self.ms(now));
        self.network.io.record(bytes, now);
        self.network.incoming.record(bytes, now);
        self.network.responses.record(1.0, now);
        self.node.incoming.record(bytes, now);
        self.node.responses.record(1.0, now);
        // As Kafka: of other requests it is not recorded.
        if matches!(api, ApiKey::Produce | ApiKey::Fetch) {
            self.node.latency.record(fraction_of_ms(latency), now);
        }
    }

    /// The two sides have agreed on who they are, where that is asked.
    pub(crate) fn authenticated(&self, now: Instant) {
        let now = self.ms(now);
        self.network.authenticated.record(1.0, now);
        self.network.authenticated_once.record(1.0, now);
    }

    /// A connection could not be made for this reason.
    pub(crate) fn failed(&self, error: &ClientError, now: Instant) {
        if matches!(error, ClientError::SaslAuthentication { .. } | ClientError::SslAuthentication { .. }) {
            self.network.authentication_failed.record(1.0, self.ms(now));
        }
    }

    /// A session was begun again, or could not be.
    pub(crate) fn reauthenticated(&self, is_accepted: bool, took: Duration, now: Instant) {
        let now = self.ms(now);
        if is_accepted {
            self.network.reauthenticated.record(1.0, now);
            self.network.reauthentication_latency.record(fraction_of_ms(took), now);
        } else {
            self.network.reauthentication_failed.record(1.0, now);
        }
    }

    /// The connection has ended. Only the first time counts.
    pub(crate) fn over(&self, now: Instant) {
        if !self.is_over.swap(true, Ordering::AcqRel) {
            self.network.open.fetch_sub(1, Ordering::Relaxed);
            self.network.closed.record(1.0, self.ms(now));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.over(Instant::now());
    }
}
