//! How the bytes of connections are protected.

use std::sync::Arc;

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
}

impl Security {
    /// Reads the files that the settings name.
    #[cfg(feature = "tls")]
    pub(crate) fn new(config: &CommonConfig) -> Result<Self, ClientError> {
        let context = config.ssl.clone().map(vltava_security::ssl::ClientContext::new).transpose();
        let tls = context.map_err(|error| ClientError::Config(error.into()))?;
        Ok(Self { tls })
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn new(_: &CommonConfig) -> Result<Self, ClientError> {
        Ok(Self {})
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
