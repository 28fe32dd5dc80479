//! The server: listens, counts connections, and gives each a task of its own.

mod connection;
mod excess;
mod limits;
mod memory;
mod rate;
mod reply;
#[cfg(feature = "tls")]
mod tls;
mod transport;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};
use vltava_security::{KafkaPrincipal, SecurityProtocol};

pub(crate) use self::excess::Activity;
use self::limits::{Limits, NoPlace};
use self::memory::RequestBudget;
#[cfg(feature = "tls")]
use self::tls::ListenerTls;
use crate::config::{BrokerConfig, Listener};
use crate::error::BrokerError;
use crate::metrics::{ListenerMetrics, Metrics};
use crate::request::Peer;
use crate::seldom::Seldom;
use crate::services::Services;

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    security_protocol: SecurityProtocol,
    #[cfg(feature = "tls")]
    tls: Option<ListenerTls>,
    socket: TcpListener,
    metrics: Arc<ListenerMetrics>,
}

/// Binds every listener of the configuration. To be called within the runtime.
pub(crate) fn bind(config: &BrokerConfig, metrics: &Metrics) -> Result<Vec<Bound>, BrokerError> {
    config.listeners.iter().map(|listener| bind_one(config, listener, metrics)).collect()
}

fn bind_one(config: &BrokerConfig, listener: &Listener, metrics: &Metrics) -> Result<Bound, BrokerError> {
    let shown = format!("{}://{}:{}", listener.name, listener.host, listener.port);
    let failed = |source| BrokerError::Bind { listener: shown.clone(), source };
    let host = if listener.host.is_empty() { "0.0.0.0" } else { listener.host.as_str() };
    #[cfg(feature = "tls")]
    let tls = ListenerTls::new(config, &listener.name)?;
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in (host, listener.port).to_socket_addrs().map_err(failed)? {
        match bind_address(config, address) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(failed)?;
                return Ok(Bound {
                    name: listener.name.as_str().into(),
                    address,
                    security_protocol: config.security_protocol(&listener.name),
                    #[cfg(feature = "tls")]
                    tls,
                    socket,
                    metrics: metrics.listener(&listener.name),
                });
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn bind_address(config: &BrokerConfig, address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // What is accepted inherits the sizes; -1 leaves them to the operating system.
    if let Some(size) = config.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = config.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    socket.bind(&address.into())?;
    // Kafka's default of 50 makes the 51st of a burst of clients wait a second for its next try, so it holds only where
    // somebody asked for it.
    socket.listen(config.backlog.unwrap_or(DEFAULT_BACKLOG))?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// The system cuts it to its own limit.
const DEFAULT_BACKLOG: i32 = 4096;

/// Until it is tried again to accept a connection.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Accepts connections until `stop` says so, then waits until every connection has ended.
pub(crate) async fn run(services: Arc<Services>, listeners: Vec<Bound>, stop: watch::Receiver<bool>) {
    let shared = Shared {
        limits: Arc::new(Limits::new(Arc::clone(&services.config), Arc::clone(&services.metadata))),
        budget: RequestBudget::new(services.config.queued_max_requests, services.config.queued_max_request_bytes),
        failures: Arc::default(),
        services,
        stop,
    };
    shared.services.metrics.follow_places(&shared.budget.places);
    let mut acceptors = JoinSet::new();
    let (limits, stop) = (Arc::clone(&shared.limits), shared.stop.clone());
    acceptors.spawn(async move { limits.keep(stop).await });
    for listener in listeners {
        acceptors.spawn(accept(shared.clone(), listener));
    }
    while acceptors.join_next().await.is_some() {}
}

/// What all listeners have in common.
#[derive(Clone)]
struct Shared {
    services: Arc<Services>,
    limits: Arc<Limits>,
    budget: RequestBudget,
    failures: Arc<Mutex<Seldom>>,
    stop: watch::Receiver<bool>,
}

async fn accept(mut shared: Shared, listener: Bound) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            _ = shared.stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "a connection's task failed");
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, address)) => {
                if !admit(&mut shared, &mut connections, stream, &listener, address).await {
                    break;
                }
            }
            // To try at once again would only burn the processor, where descriptors are used up.
            Err(error) => {
                if let Some(times) = shared.failures.lock().count(Instant::now()) {
                    warn!(%error, times, listener = %listener.name, "cannot accept connections");
                }
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// What is known of a connection from its beginning.
fn peer(listener: &Bound, address: SocketAddr, activity: Arc<Activity>) -> Peer {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    Peer {
        connection_id: format!("{}-{address}-{}", listener.address, NUMBER.fetch_add(1, Ordering::Relaxed)),
        address,
        listener: Arc::clone(&listener.name),
        security_protocol: listener.security_protocol,
        principal: KafkaPrincipal::anonymous(),
        activity,
        listener_metrics: Arc::clone(&listener.metrics),
    }
}

/// Holds a connection for a while, and closes it.
async fn close_later<D>(stream: TcpStream, descriptor: D, after: Duration, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = tokio::time::sleep(after) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    drop((stream, descriptor));
}

/// Serves a new connection when and if there may be one more; false when the broker stops.
async fn admit(
    shared: &mut Shared,
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    listener: &Bound,
    address: SocketAddr,
) -> bool {
    let Shared { services, limits, budget, stop, .. } = shared;
    let activity = limits.activity();
    let peer = peer(listener, address, Arc::clone(&activity));
    let address = address.ip();
    let place = tokio::select! {
        biased;
        place = limits.place(&listener.name, address, &activity) => place,
        _ = stop.wait_for(|stop| *stop) => return false,
    };
    let place = match place {
        Ok(place) => place,
        Err(NoPlace::TooManyOfAddress { limit }) => {
            info!(%address, limit, "rejected a connection: the address has as many as it may have");
            return true;
        }
        Err(NoPlace::TooFastOfAddress { after }) => {
            debug!(%address, "rejected a connection: the address has a quota");
            // As Kafka, no longer than a window: its client is to come again no sooner.
            let window = Duration::from_millis(services.config.quota_windows.size_ms.unsigned_abs());
            if let Ok(descriptor) = services.descriptors.connect(services.partitions.count()) {
                connections.spawn(close_later(stream, descriptor, after.min(window), stop.clone()));
            }
            return true;
        }
    };
    let descriptor = match services.descriptors.connect(services.partitions.count()) {
        Ok(descriptor) => descriptor,
        Err(error) => {
            if let Some(times) = services.descriptors.refusals.lock().count(Instant::now()) {
                warn!(%error, times, "new connections are closed");
            }
            return true;
        }
    };
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let held = (place, descriptor, listener.metrics.connected());
    #[cfg(feature = "tls")]
    if let Some(tls) = &listener.tls {
        let (handshake, budget) = (tls.handshake(services), budget.clone());
        let (services, stop) = (Arc::clone(services), stop.clone());
        connections.spawn(async move {
            let serving = async {
                if let Some((stream, peer)) = handshake.run(stream, peer, stop.clone()).await {
                    connection::serve(services, stream, peer, budget, stop).await;
                }
            };
            unless_excess(&activity, serving).await;
            drop(held);
        });
        return true;
    }
    let serving = connection::serve(Arc::clone(services), stream, peer, budget.clone(), stop.clone());
    connections.spawn(async move {
        unless_excess(&activity, serving).await;
        drop(held);
    });
    true
}

/// Serves a connection, until it is one too many.
async fn unless_excess(activity: &Activity, serving: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = serving => {}
        () = activity.excess() => debug!("a connection is closed for others"),
    }
}
