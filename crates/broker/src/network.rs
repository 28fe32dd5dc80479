//! The server: listens, counts connections, and gives each a task of its own.

mod connection;
mod frame;
mod reply;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

pub(crate) use reply::Reply;

use crate::config::{BrokerConfig, Listener};
use crate::error::BrokerError;
use crate::node::Node;
use crate::request::Peer;

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    socket: TcpListener,
}

/// Binds every listener of the configuration. To be called within the runtime.
pub(crate) fn bind(config: &BrokerConfig) -> Result<Vec<Bound>, BrokerError> {
    config.listeners.iter().map(|listener| bind_one(config, listener)).collect()
}

fn bind_one(config: &BrokerConfig, listener: &Listener) -> Result<Bound, BrokerError> {
    let shown = format!("{}://{}:{}", listener.name, listener.host, listener.port);
    let failed = |source| BrokerError::Bind { listener: shown.clone(), source };
    let host = if listener.host.is_empty() { "0.0.0.0" } else { listener.host.as_str() };
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in (host, listener.port).to_socket_addrs().map_err(failed)? {
        match bind_address(config, address) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(failed)?;
                return Ok(Bound { name: listener.name.as_str().into(), address, socket });
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

/// Accepts connections until `stop` says so, then waits until every connection has ended.
pub(crate) async fn run(node: Arc<Node>, listeners: Vec<Bound>, stop: watch::Receiver<bool>) {
    let limits = Arc::new(Limits::new(&node.config));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        acceptors.spawn(accept(Arc::clone(&node), listener, Arc::clone(&limits), stop.clone()));
    }
    while acceptors.join_next().await.is_some() {}
}

async fn accept(node: Arc<Node>, listener: Bound, limits: Arc<Limits>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "a connection's task failed");
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(place) = limits.take(address.ip()) else {
                    debug!(%address, "refused: too many connections");
                    continue;
                };
                let peer = Peer { address, listener: Arc::clone(&listener.name) };
                let serving = serve(Arc::clone(&node), stream, peer, stop.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely: to try at once again would only burn the processor.
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(node: Arc<Node>, stream: TcpStream, peer: Peer, stop: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    connection::serve(node, stream, peer, stop).await;
}

/// `max.connections` and `max.connections.per.ip`.
#[derive(Debug)]
struct Limits {
    open: AtomicUsize,
    most: usize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
    most_per_address: usize,
}

/// A connection's place among those allowed, given back when dropped.
#[derive(Debug)]
struct Place {
    limits: Arc<Limits>,
    address: IpAddr,
}

impl Limits {
    fn new(config: &BrokerConfig) -> Self {
        Self {
            open: AtomicUsize::new(0),
            most: config.max_connections,
            per_address: Mutex::new(HashMap::new()),
            most_per_address: config.max_connections_per_ip,
        }
    }

    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        if self.open.load(Ordering::Relaxed) >= self.most {
            return None;
        }
        let mut per_address = self.per_address.lock();
        let count = per_address.entry(address).or_insert(0);
        if *count >= self.most_per_address {
            return None;
        }
        *count += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Place { limits: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
        let mut per_address = self.limits.per_address.lock();
        if let Some(count) = per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                per_address.remove(&self.address);
            }
        }
    }
}
