//! TLS of a listener: what its handshakes are made with, and the handshakes.
//!
//! Keys and certificates come from the settings in force and from their files: both are looked at for each connection, so
//! that what is altered or renewed holds for the next one. Kafka's broker reads a renewed file when it is told to, by an
//! alteration that may name the same file; that works here as well, and is not needed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};
use vltava_security::KafkaPrincipal;
use vltava_security::ssl::{HandshakeFailure, ServerContext, SslPrincipalMapper, distinguished_name};

use super::transport::Transport;
use crate::config::ssl::{ListenerSsl, as_given};
use crate::config::{BrokerConfig, ConfigError};
use crate::request::Peer;
use crate::seldom::Seldom;
use crate::services::Services;

/// No client waits longer: Kafka's `socket.connection.setup.timeout.max.ms`.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// How long, and for how many bytes, a client is listened to that is told why it is refused: what it has sent and nobody
/// has read would take that answer from it.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 64 * 1024;

/// TLS on a socket: given bytes, never files.
impl Transport for TlsStream<TcpStream> {}

/// What the handshakes of a listener are made with.
#[derive(Debug)]
pub(super) struct ListenerTls {
    name: String,
    context: ServerContext,
    state: Mutex<State>,
    failures: Arc<Mutex<Seldom>>,
}

#[derive(Debug)]
struct State {
    /// Where the log of the metadata ended when the settings were read.
    as_of: Option<i64>,
    settings: ListenerSsl,
}

/// One handshake.
pub(super) struct Handshake {
    config: Arc<ServerConfig>,
    principals: SslPrincipalMapper,
    limit: Duration,
    failures: Arc<Mutex<Seldom>>,
}

impl ListenerTls {
    /// Reads the files that the settings name; none for a listener without TLS.
    pub(super) fn new(config: &BrokerConfig, name: &str) -> Result<Option<Self>, ConfigError> {
        let Some(settings) = config.ssl.get(name).cloned() else { return Ok(None) };
        let context = ServerContext::new(settings.config.clone())
            .map_err(|error| as_given(name, &|key| config.text(key), error.into()))?;
        let state = Mutex::new(State { as_of: None, settings });
        Ok(Some(Self { name: name.to_owned(), context, state, failures: Arc::default() }))
    }

    /// For the next connection, by what holds now.
    pub(super) fn handshake(&self, services: &Services) -> Handshake {
        let mut state = self.state.lock();
        let (image, as_of) = services.metadata.image_and_offset();
        if state.as_of != Some(as_of) {
            // What the metadata log has was checked when it was written: it need not be like what the file says.
            let is_first = state.as_of.replace(as_of).is_none();
            let sources = image.sources(&services.config);
            match ListenerSsl::read(&self.name, &|key| sources.broker(key)) {
                Ok(settings) if settings == state.settings => {}
                Ok(settings) => {
                    let next = settings.config.clone();
                    match if is_first { self.context.begin_anew(next) } else { self.context.replace(next) } {
                        Ok(()) => state.settings = settings,
                        Err(error) => warn!(listener = self.name, "altered settings of TLS cannot be used: {error}"),
                    }
                }
                Err(error) => warn!(listener = self.name, "altered settings of TLS cannot be used: {error}"),
            }
        }
        let idle = services.config.connections_max_idle;
        Handshake {
            config: self.context.current(),
            principals: state.settings.principals().clone(),
            limit: idle.map_or(HANDSHAKE, |idle| idle.min(HANDSHAKE)),
            failures: Arc::clone(&self.failures),
        }
    }
}

impl Handshake {
    /// Makes it, and finds out who the client is. None if it comes to nothing: the connection is closed then.
    pub(super) async fn run(
        self,
        stream: TcpStream,
        peer: Peer,
        mut stop: watch::Receiver<bool>,
    ) -> Option<(TlsStream<TcpStream>, Peer)> {
        let accepting = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).into_fallible();
        let accepted = tokio::select! {
            biased;
            accepted = timeout(self.limit, accepting) => accepted,
            _ = stop.wait_for(|stop| *stop) => return None,
        };
        let (why, stream) = match accepted {
            Ok(Ok(stream)) => match self.principal(&stream) {
                Ok(principal) => {
                    peer.listener_metrics.authenticated(true);
                    return Some((stream, Peer { principal, ..peer }));
                }
                Err(why) => (why, None),
            },
            Ok(Err((error, stream))) => match HandshakeFailure::of(&error) {
                HandshakeFailure::Refused(why) => (why, Some(stream)),
                HandshakeFailure::NotTls => ("it does not speak TLS".to_owned(), Some(stream)),
                _ => (error.to_string(), None),
            },
            Err(_) => (format!("it took longer than {} ms", self.limit.as_millis()), None),
        };
        peer.listener_metrics.authenticated(false);
        if let Some(times) = self.failures.lock().count(Instant::now()) {
            let Peer { address, listener, .. } = &peer;
            info!(%address, %listener, times, "the handshake of TLS failed: {why}");
        }
        if let Some(stream) = stream {
            tokio::select! {
                _ = timeout(FAREWELL, farewell(stream)) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        None
    }

    /// Who the client is by its certificate, and nobody in particular without one; why that cannot be told.
    fn principal(&self, stream: &TlsStream<TcpStream>) -> Result<KafkaPrincipal, String> {
        let (_, connection) = stream.get_ref();
        let Some(certificate) = connection.peer_certificates().and_then(<[_]>::first) else {
            return Ok(KafkaPrincipal::anonymous());
        };
        let name = distinguished_name(certificate).ok_or("the name in its certificate cannot be read")?;
        match self.principals.name(&name) {
            Some(principal) => Ok(KafkaPrincipal::user(&principal)),
            None => Err(format!("no rule of `ssl.principal.mapping.rules` fits {name:?}")),
        }
    }
}

/// Ends a connection so that what was written last arrives.
async fn farewell(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut unwanted = [0; 4096];
    let mut left = FAREWELL_BYTES;
    while let Ok(count @ 1..) = stream.read(&mut unwanted).await {
        left = left.saturating_sub(count);
        if left == 0 {
            return;
        }
    }
}
