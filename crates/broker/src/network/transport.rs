//! What a connection reads from and writes to: a socket as it is. What encrypts is a transport of its own, and is given
//! bytes to write, never a file.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The bytes of a connection, in both directions.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket, where what is written goes into it as it is: the kernel may send a file there then.
    #[cfg(target_os = "linux")]
    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

impl Transport for TcpStream {
    #[cfg(target_os = "linux")]
    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// The value of `future`, or nothing when `limit` is over first.
pub(super) async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
