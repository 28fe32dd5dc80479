//! One connection: requests in, answers out, in the order of the requests.
//!
//! A request is handled to its end before the next one is begun, as in Kafka, so answers cannot
//! overtake each other and a client that does not read its answers stops being read. While a
//! request waits (a fetch for data, a join for its group), bytes are still taken, up to one
//! request ahead: that is how a client that went away is noticed.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::frame::{FrameError, FrameReader};
use super::reply::Reply;
use crate::dispatch::{self, Refusal};
use crate::node::Node;
use crate::request::Peer;

/// How far a waiting connection is read ahead.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("closed by the client")]
    Closed,
    #[error("the broker stops")]
    Stopping,
    #[error("nothing came for longer than `connections.max.idle.ms`")]
    Idle,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("cannot write: {0}")]
    Write(std::io::Error),
}

/// Serves a connection until it ends.
pub(crate) async fn serve(node: Arc<Node>, stream: TcpStream, peer: Peer, stop: watch::Receiver<bool>) {
    let frames = FrameReader::new(node.config.request_max_bytes);
    let idle = node.config.connections_max_idle;
    let mut connection = Connection { node, stream, peer, frames, stop, idle };
    let end = connection.run().await;
    debug!(peer = %connection.peer.address, %end, "connection ends");
}

struct Connection {
    node: Arc<Node>,
    stream: TcpStream,
    peer: Peer,
    frames: FrameReader,
    stop: watch::Receiver<bool>,
    idle: Option<Duration>,
}

impl Connection {
    async fn run(&mut self) -> End {
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    /// One request and its answer.
    async fn turn(&mut self) -> Result<(), End> {
        let request = loop {
            if let Some(request) = self.frames.buffered()? {
                break request;
            }
            self.frames.trim();
            let more = tokio::select! {
                biased;
                more = within(self.idle, self.frames.fill(&mut self.stream)) => more.ok_or(End::Idle)??,
                _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stopping),
            };
            if !more {
                return Err(End::Closed);
            }
        };
        match self.answer(request).await? {
            Some(reply) => self.send(reply).await,
            None => Ok(()),
        }
    }

    async fn answer(&mut self, request: bytes::Bytes) -> Result<Option<Reply>, End> {
        let handling = dispatch::handle(&self.node, &self.peer, request);
        tokio::pin!(handling);
        loop {
            let may_read = self.frames.buffered_bytes() < READ_AHEAD_BYTES;
            let more = tokio::select! {
                biased;
                reply = &mut handling => return Ok(reply?),
                _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stopping),
                more = self.frames.fill(&mut self.stream), if may_read => more?,
            };
            if !more {
                return Err(End::Closed);
            }
        }
    }

    async fn send(&mut self, reply: Reply) -> Result<(), End> {
        let writing = within(self.idle, reply.write_to(&mut self.stream));
        tokio::select! {
            biased;
            written = writing => written.ok_or(End::Idle)?.map_err(End::Write),
            _ = self.stop.wait_for(|stop| *stop) => Err(End::Stopping),
        }
    }
}

/// The value of `future`, or nothing when `limit` is over first.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
