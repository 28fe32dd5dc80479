//! How the bytes of connections are protected.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::api_versions::ApiVersions;
use super::connection::{Connection, ConnectionOptions};
use crate::config::CommonConfig;
use crate::error::ClientError;

/// What a client protects its connections with; made once, and looked at for each connection.
#[derive(Debug)]
pub(crate) struct Security {
    #[cfg(feature = "tls")]
    tls: Option<vltava_security::ssl::ClientContext>,
    unanswered: Option<Arc<Unanswered>>,
}

/// What it may mean that a broker closes connections without an answer: its listener asks for more than this client has. A
/// broker does not say so.
#[derive(Debug)]
pub(crate) struct Unanswered {
    what: &'static str,
    next_warning: Mutex<Option<Instant>>,
}

impl Unanswered {
    fn new(config: &CommonConfig) -> Option<Arc<Self>> {
        #[cfg(feature = "tls")]
        let has_tls = config.ssl.is_some();
        #[cfg(not(feature = "tls"))]
        let has_tls = false;
        let what = match (config.sasl.is_some(), has_tls) {
            (true, _) => return None,
            (false, true) => "does its listener ask for SASL? `security.protocol` is SSL",
            (false, false) => "does its listener ask for SASL or TLS? `security.protocol` is PLAINTEXT",
        };
        Some(Arc::new(Self { what, next_warning: Mutex::new(None) }))
    }

    /// The error that says so. It is told in the log, too: once, and then seldom.
    pub(super) fn explain(&self, address: &str, kind: io::ErrorKind) -> io::Error {
        const SELDOM: Duration = Duration::from_secs(30);
        let what = self.what;
        let now = Instant::now();
        let mut next = self.next_warning.lock();
        if next.is_none_or(|at| at <= now) {
            *next = Some(now + SELDOM);
            tracing::warn!("{address} closes connections without an answer: {what}");
        }
        io::Error::new(kind, format!("closed by the broker without an answer: {what}"))
    }
}

impl Security {
    /// Reads the files that the settings name.
    #[cfg(feature = "tls")]
    pub(crate) fn new(config: &CommonConfig) -> Result<Self, ClientError> {
        let context = config.ssl.clone().map(vltava_security::ssl::ClientContext::new).transpose();
        let tls = context.map_err(|error| ClientError::Config(error.into()))?;
        Ok(Self { tls, unanswered: Unanswered::new(config) })
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn new(config: &CommonConfig) -> Result<Self, ClientError> {
        Ok(Self { unanswered: Unanswered::new(config) })
    }

    pub(super) fn unanswered(&self) -> Option<Arc<Unanswered>> {
        self.unanswered.clone()
    }

    /// Makes a connection of a socket, after a handshake of TLS where there is one.
    pub(super) async fn start(
        &self,
        stream: TcpStream,
        address: Arc<str>,
        options: ConnectionOptions,
    ) -> Result<Connection, ClientError> {
        let versions = ApiVersions::default();
        #[cfg(feature = "tls")]
        if let Some(context) = &self.tls {
            let stream = tls::handshake(context, stream, &address).await?;
            return Ok(Connection::start(stream, address, options, versions));
        }
        Ok(Connection::start(stream, address, options, versions))
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::io;
    use std::sync::Arc;

    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::pki_types::ServerName;
    use vltava_security::ssl::{ClientContext, HandshakeFailure};

    use crate::error::ClientError;

    pub(super) async fn handshake(
        context: &ClientContext,
        stream: TcpStream,
        address: &Arc<str>,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let refused = |reason: Arc<str>| ClientError::SslAuthentication { address: Arc::clone(address), reason };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| refused(error.to_string().into()))?;
        let connector = TlsConnector::from(context.current());
        connector.connect(name, stream).await.map_err(|error| match HandshakeFailure::of(&error) {
            HandshakeFailure::Refused(reason) => refused(reason.into()),
            HandshakeFailure::NotTls => {
                refused("it does not speak TLS, is `security.protocol` what its listener has?".into())
            }
            // A listener without TLS takes the first bytes for the length of a request, and closes.
            _ if error.kind() == io::ErrorKind::UnexpectedEof => {
                let text = "closed by the broker in the handshake of TLS, which it may not speak there";
                ClientError::connection(address, io::Error::new(error.kind(), text))
            }
            _ => ClientError::connection(address, error),
        })
    }
}
