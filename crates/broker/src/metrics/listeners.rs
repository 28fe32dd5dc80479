//! What comes and goes at a listener.

use std::sync::Arc;

use vltava_metrics::{Counter, Gauge, Registry, Sensor, Tags};

use super::definitions::{
    AUTHENTICATED, AUTHENTICATION_FAILED, CLOSED, CONNECTIONS, CREATED, EXPIRED, INCOMING, OUTGOING,
    REQUESTS_OF_LISTENER, RESPONSES, SOCKET_SERVER,
};
use crate::clock;

/// Of one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerMetrics {
    traffic: Arc<Traffic>,
    created: Sensor,
    closed: Sensor,
    authenticated: Sensor,
    failed_authentication: Sensor,
    expired: Sensor,
    /// Of all listeners.
    all_expired: Arc<Counter>,
    _gauges: Vec<Gauge>,
}

/// What is counted for every request.
#[derive(Debug, Default)]
struct Traffic {
    incoming_bytes: Counter,
    outgoing_bytes: Counter,
    requests: Counter,
    responses: Counter,
    created: Counter,
    closed: Counter,
}

/// How many there are of something.
type Look = fn(&Traffic) -> u64;

/// Before each request and answer stands its length.
const LENGTH_BYTES: u64 = 4;

impl ListenerMetrics {
    pub(super) fn new(registry: &Registry, expired: &Arc<Counter>, listener: &str) -> Self {
        let tags = Tags::new([("listener", listener)]);
        let sensor = |definition| registry.sensor(SOCKET_SERVER, definition, &tags);
        let traffic: Arc<Traffic> = Arc::default();
        let looks: [(_, Look); 5] = [
            (&CONNECTIONS, |traffic| traffic.created.count().saturating_sub(traffic.closed.count())),
            (&INCOMING, |traffic| traffic.incoming_bytes.count()),
            (&OUTGOING, |traffic| traffic.outgoing_bytes.count()),
            (&REQUESTS_OF_LISTENER, |traffic| traffic.requests.count()),
            (&RESPONSES, |traffic| traffic.responses.count()),
        ];
        let gauges = looks.map(|(definition, look)| {
            let traffic = Arc::clone(&traffic);
            registry.gauge(SOCKET_SERVER, definition, &tags, move |_| (look(&traffic) as f64).into())
        });
        Self {
            created: sensor(&CREATED),
            closed: sensor(&CLOSED),
            authenticated: sensor(&AUTHENTICATED),
            failed_authentication: sensor(&AUTHENTICATION_FAILED),
            expired: sensor(&EXPIRED),
            all_expired: Arc::clone(expired),
            traffic,
            _gauges: gauges.into(),
        }
    }

    /// A connection is served, until what this gives is dropped.
    pub(crate) fn connected(self: &Arc<Self>) -> Connected {
        self.traffic.created.increment();
        self.created.record(1.0, clock::now().uptime_ms);
        Connected(Arc::clone(self))
    }

    /// A request of so many bytes was read.
    pub(crate) fn received(&self, bytes: usize) {
        self.traffic.requests.increment();
        self.traffic.incoming_bytes.add(bytes as u64 + LENGTH_BYTES);
    }

    /// An answer of so many bytes is sent.
    pub(crate) fn answered(&self, bytes: usize) {
        self.traffic.responses.increment();
        self.traffic.outgoing_bytes.add(bytes as u64 + LENGTH_BYTES);
    }

    /// A client has said who it is, and was believed or not.
    pub(crate) fn authenticated(&self, is_believed: bool) {
        let sensor = if is_believed { &self.authenticated } else { &self.failed_authentication };
        sensor.record(1.0, clock::now().uptime_ms);
    }

    /// Nothing moved on a connection for too long.
    pub(crate) fn expired(&self) {
        self.all_expired.increment();
        self.expired.record(1.0, clock::now().uptime_ms);
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Connected(Arc<ListenerMetrics>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.traffic.closed.increment();
        self.0.closed.record(1.0, clock::now().uptime_ms);
    }
}
