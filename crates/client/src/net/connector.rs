//! How a connection is made: address, socket, TLS, versions, and who the client is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use vltava_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use vltava_protocol::wire::Message;
use vltava_protocol::{ApiKey, ErrorCode};
use vltava_security::SecurityProtocol;

use super::api_versions::{ApiVersions, api_versions_request};
use super::connection::{Connection, ConnectionOptions};
use super::pool::ConnectionKey;
use super::sasl::Authenticator;
use super::security::Security;
use super::throttle::Throttle;
use crate::config::CommonConfig;
use crate::error::ClientError;
use crate::metrics::NetworkMetrics;

/// Connects to `host:port`, trying every address of the name, and asks what the broker speaks; all in `timeout`.
pub(crate) async fn connect(
    key: ConnectionKey,
    address: Arc<str>,
    config: &CommonConfig,
    security: &Security,
    throttle: &Throttle,
    metrics: &Arc<NetworkMetrics>,
    timeout: Duration,
) -> Result<Connection, ClientError> {
    let whole = async {
        let stream =
            connect_stream(&address, config).await.map_err(|error| ClientError::connection(&address, error))?;
        let meter = metrics.connected(key, Instant::now());
        let options = ConnectionOptions {
            client_id: Arc::from(config.client_id.as_str()),
            max_in_flight: config.max_in_flight,
            request_timeout: config.request_timeout,
            unanswered: security.unanswered(),
            meter: Some(Arc::clone(&meter)),
        };
        let begun = begin(stream, &address, config, security, throttle, options, timeout).await;
        match &begun {
            Ok(_) if config.security_protocol != SecurityProtocol::Plaintext => meter.authenticated(Instant::now()),
            Ok(_) => {}
            Err(error) => meter.failed(error, Instant::now()),
        }
        begun
    };
    match tokio::time::timeout(timeout, whole).await {
        Ok(result) => result,
        Err(_) => Err(ClientError::timeout(format!("connecting to {address}"), timeout)),
    }
}

/// The two sides get to know each other.
async fn begin(
    stream: TcpStream,
    address: &Arc<str>,
    config: &CommonConfig,
    security: &Security,
    throttle: &Throttle,
    options: ConnectionOptions,
    timeout: Duration,
) -> Result<Connection, ClientError> {
    let connection = security.start(stream, Arc::clone(address), options).await?;
    let versions = negotiate(&connection, throttle).await?;
    if let Some(sasl) = &config.sasl {
        let own = Authenticator::new(Arc::clone(sasl), Arc::clone(address), &versions, timeout)?;
        connection.authenticate(own).await?;
    }
    let connection = connection.with_versions(versions);
    connection.obey(throttle.clone());
    Ok(connection)
}

async fn connect_stream(address: &str, config: &CommonConfig) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in tokio::net::lookup_host(address).await? {
        match connect_socket(candidate, config).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_socket(address: SocketAddr, config: &CommonConfig) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(size) = config.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = config.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks for the broker's versions, in the newest form first: a broker that does not know it answers in the oldest, with
/// the versions it knows (KIP-511).
async fn negotiate(connection: &Connection, throttle: &Throttle) -> Result<ApiVersions, ClientError> {
    let request = api_versions_request();
    let mut version = ApiVersionsRequest::MAX_VERSION;
    let response = ask(connection, &request, version).await?;
    let response = if ErrorCode::from(response.error_code) == ErrorCode::UnsupportedVersion {
        let offered = ApiVersions::from_response(&response);
        version = offered.pick::<ApiVersionsRequest>(None).unwrap_or(0);
        ask(connection, &request, version).await?
    } else {
        response
    };
    ClientError::check(response.error_code, None)?;
    throttle.take_in(ApiKey::ApiVersions, version, response.throttle_time_ms);
    Ok(ApiVersions::from_response(&response))
}

async fn ask(
    connection: &Connection,
    request: &ApiVersionsRequest,
    version: i16,
) -> Result<ApiVersionsResponse, ClientError> {
    connection.start_version(request, version)?.await
}
