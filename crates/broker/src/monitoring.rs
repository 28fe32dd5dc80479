//! What can be known of a broker from outside of it: in the process, and over HTTP at `metrics.http.address`.
//!
//! Whoever reaches the address reads names of topics and listeners, paths of log directories and how much is used: there is
//! no authentication. The server has a thread of its own, is there before the logs are loaded, and ends with the broker.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tracing::{error, info, warn};
use vltava_metrics::MetricConfig;
use vltava_metrics::http::{Exposed, serve};

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::health::Health;
use crate::metrics::{Looks, Metrics, Page};
use crate::services::Services;

/// Threads for those who look, beside the one that serves: a disk that does not answer takes one.
const LOOKING_THREADS: usize = 4;

/// What is known of a broker.
#[derive(Debug)]
pub(crate) struct Monitoring {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Health,
    looks: Arc<Looks>,
    /// From when the logs are loaded until the broker stops.
    services: OnceLock<Weak<Services>>,
}

impl Monitoring {
    pub(crate) fn new(config: MetricConfig) -> Self {
        let metrics = Arc::new(Metrics::new(config));
        Self { metrics, health: Health::default(), looks: Arc::default(), services: OnceLock::new() }
    }

    /// The broker has loaded its logs.
    pub(crate) fn follow(&self, services: &Arc<Services>) {
        // There is one broker to a value.
        let _ = self.services.set(Arc::downgrade(services));
    }

    fn services(&self) -> Option<Arc<Services>> {
        self.services.get().and_then(Weak::upgrade)
    }

    /// All metrics, piece by piece.
    pub(crate) fn page(&self) -> Page {
        let state = f64::from(self.health.state() as u8);
        Page::new(&self.metrics, state, &self.looks, self.services())
    }

    /// What is wrong, if anything is. Asks the disks.
    pub(crate) fn health(&self) -> Result<String, String> {
        self.health.health(self.services().as_deref())
    }
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Serves where the configuration says so.
    pub(crate) fn start(config: &BrokerConfig, monitoring: &Arc<Monitoring>) -> Result<Option<Self>, BrokerError> {
        let Some(given) = config.metrics_http_address.as_deref() else { return Ok(None) };
        let failed = |source| BrokerError::Bind { listener: format!("metrics.http.address={given}"), source };
        let listener = bind(given).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(LOOKING_THREADS)
            .thread_name("vltava-broker-looks")
            .enable_all()
            .build()
            .map_err(BrokerError::Runtime)?;
        let exposed = exposed(monitoring);
        let (stop, stopped) = oneshot::channel::<()>();
        let body = move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = async { serve(tokio::net::TcpListener::from_std(listener)?, exposed).await } => {
                        if let Err(error) = ended {
                            error!(%error, "metrics and health are not served any more");
                        }
                    }
                    _ = stopped => {}
                }
            });
            // Not waited for: a disk that does not answer may hold whoever looks at it.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("vltava-broker-http".to_owned()).spawn(body);
        let thread = thread.map_err(BrokerError::Runtime)?;
        match address.ip().is_loopback() {
            true => info!(%address, "metrics and health are served over HTTP to whoever is on this machine"),
            false => warn!(%address, "metrics and health are served over HTTP to whoever reaches this address"),
        }
        Ok(Some(Self { address, stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended already.
            let _ = stop.send(());
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread that serves metrics panicked");
        }
    }
}

/// The first address that works.
fn bind(given: &str) -> std::io::Result<std::net::TcpListener> {
    let addresses: Vec<SocketAddr> = given.to_socket_addrs()?.collect();
    let listener = std::net::TcpListener::bind(addresses.as_slice())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn exposed(monitoring: &Arc<Monitoring>) -> Exposed {
    let [of_metrics, of_health, of_ready] = [(); 3].map(|()| Arc::clone(monitoring));
    Exposed::of_pieces(move || of_metrics.page())
        .health_in_words(move || of_health.health())
        .ready(move || of_ready.health.ready())
}
