//! One connection: requests in, answers out, in the order of the requests.
//!
//! A request is handled to its end before the next one is begun, as in Kafka, so answers cannot
//! overtake each other and a client that does not read its answers stops being read. While a
//! request waits (a fetch for data, a join for its group), bytes are still taken, up to one
//! request ahead: that is how a client that went away is noticed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, watch};
use tracing::{debug, info};
use vltava_protocol::frame::FrameReader;
use vltava_protocol::wire::Records;
use vltava_security::sasl;

use super::memory::{self, Charge, RequestBudget};
use super::reply;
use super::transport::{Transport, within};
use crate::clock;
use crate::dispatch::{self, Handled, Refusal, Reply};
use crate::metrics::Spent;
use crate::request::Peer;
use crate::security::authentication::{Authentication, KnownUsers, Now, Step, Violation};
use crate::security::authorizer::one_line;
use crate::services::Services;

/// How far a waiting connection is read ahead.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("closed by the client")]
    Closed,
    #[error("the broker stops")]
    Stopping,
    #[error("nothing moved for longer than `connections.max.idle.ms`")]
    Idle,
    #[error("the connection ended within a request")]
    Truncated,
    #[error("not a request: {0}")]
    Frame(vltava_protocol::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("it has not authenticated: {0}")]
    Unauthenticated(String),
    #[error("cannot read: {0}")]
    Read(io::Error),
    #[error("cannot write: {0}")]
    Write(io::Error),
}

/// Serves a connection until it ends.
pub(crate) async fn serve<T: Transport>(
    services: Arc<Services>,
    transport: T,
    peer: Peer,
    budget: RequestBudget,
    stop: watch::Receiver<bool>,
) {
    let idle = services.config.connections_max_idle;
    let sasl = services.config.sasl(&peer.listener);
    let authentication = sasl.map(|sasl| Box::new(Authentication::new(Arc::clone(sasl))));
    let frames = FrameReader::new(match &authentication {
        Some(authentication) => authentication.max_receive_size().unwrap_or(services.config.request_max_bytes),
        None => services.config.request_max_bytes,
    });
    let peer = Arc::new(peer);
    let mut connection =
        Connection { services, transport, peer, frames, budget, charge: None, stop, idle, authentication };
    let end = connection.run().await;
    if matches!(end, End::Idle) {
        connection.peer.listener_metrics.expired();
    }
    debug!(connection = connection.peer.connection_id, %end, "connection ends");
}

struct Connection<T> {
    services: Arc<Services>,
    transport: T,
    peer: Arc<Peer>,
    frames: FrameReader,
    budget: RequestBudget,
    /// The memory of the request that is read.
    charge: Option<Charge>,
    stop: watch::Receiver<bool>,
    idle: Option<Duration>,
    /// Where the listener asks who is there.
    authentication: Option<Box<Authentication>>,
}

impl<T: Transport> Connection<T> {
    async fn run(&mut self) -> End {
        // Who does not say who it is in the time of an idle connection is not waited for, however it spends it.
        match within(self.idle, self.until_authenticated()).await {
            Some(Ok(())) => {}
            Some(Err(end)) => return end,
            None => return End::Idle,
        }
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    async fn until_authenticated(&mut self) -> Result<(), End> {
        while self.authentication.as_ref().is_some_and(|authentication| !authentication.is_complete()) {
            self.turn().await?;
        }
        Ok(())
    }

    /// One request and its answer.
    async fn turn(&mut self) -> Result<(), End> {
        let request = self.request().await?;
        self.peer.listener_metrics.received(request.len());
        let (bytes, read) = (request.len(), Instant::now());
        let request = match request {
            request if self.authentication.is_none() => request,
            frame => match self.authenticate(frame).await? {
                Some(request) => request,
                None => return Ok(()),
            },
        };
        let (place, queue) = match Arc::clone(&self.budget.places).try_acquire_owned() {
            Ok(place) => (place, Duration::ZERO),
            Err(_) => (self.place().await?, read.elapsed()),
        };
        let Handled { api, version, reply, throttle, remote } = self.answer(request, place).await?;
        let (answered, is_answered) = (Instant::now(), reply.is_some());
        if let Some(reply) = reply {
            self.send(reply).await?;
        }
        if let Some(metrics) = self.services.metrics.requests.of(api) {
            let send = if is_answered { answered.elapsed() } else { Duration::ZERO };
            let handled = answered.duration_since(read).saturating_sub(queue);
            metrics.record(version, &Spent { bytes, queue, remote, handled, send, throttle });
        }
        if throttle.is_zero() { Ok(()) } else { self.wait(throttle).await }
    }

    /// Handles no request for a while: the client has used more than its quota. What it sends meanwhile stays with it, but
    /// for what tells whether it is still there.
    async fn wait(&mut self, throttle: Duration) -> Result<(), End> {
        let over = tokio::time::sleep(throttle);
        tokio::pin!(over);
        loop {
            let may_read = self.frames.buffered() < READ_AHEAD_BYTES;
            let more = tokio::select! {
                biased;
                () = &mut over => return Ok(()),
                _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stopping),
                more = fill(&mut self.frames, &mut self.transport), if may_read => more?,
            };
            if !more {
                return Err(End::Closed);
            }
        }
    }

    /// Does with a frame what the authentication says; gives it back where it is a request like any other.
    async fn authenticate(&mut self, frame: Bytes) -> Result<Option<Bytes>, End> {
        let Some(authentication) = &mut self.authentication else { return Ok(Some(frame)) };
        if authentication.passes(&frame, std::time::Instant::now)? {
            return Ok(Some(frame));
        }
        let now = Now { at: std::time::Instant::now(), wall_clock_ms: clock::wall_clock_ms() };
        let image = self.services.metadata.image();
        let known = KnownUsers {
            listener: authentication.listener(),
            scram: image.scram(),
            #[cfg(feature = "oauth")]
            tokens: self.services.tokens.of(&self.peer.listener).map(AsRef::as_ref),
            #[cfg(feature = "oauth")]
            wall_clock_ms: now.wall_clock_ms,
        };
        let step = authentication.take(frame, &known, now, sasl::nonce)?;
        let limit = authentication.max_receive_size().unwrap_or(self.services.config.request_max_bytes);
        self.frames.limit(limit);
        let (reply, why) = match step {
            Step::Pass(request) => return Ok(Some(request)),
            Step::Answer(reply) => {
                self.send(reply).await?;
                return Ok(None);
            }
            Step::Authenticated(reply, principal) => {
                debug!(connection = self.peer.connection_id, %principal, "authenticated");
                self.peer.listener_metrics.authenticated(true);
                self.peer = Arc::new(Peer { principal, ..(*self.peer).clone() });
                self.send(reply).await?;
                return Ok(None);
            }
            Step::Refuse(reply, why) => (reply, why),
        };
        self.peer.listener_metrics.authenticated(false);
        let why = one_line(why);
        info!(connection = self.peer.connection_id, listener = %self.peer.listener, "failed authentication: {why}");
        let delay = authentication.failure_delay();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stopping),
        }
        if let Some(reply) = reply {
            self.send(reply).await?;
        }
        Err(End::Unauthenticated(why))
    }

    async fn request(&mut self) -> Result<Bytes, End> {
        loop {
            if let (Some(size), None) = (self.frames.announced().map_err(End::Frame)?, &self.charge) {
                // Nothing is read while there is no memory: what the client sends stays with it.
                self.charge = tokio::select! {
                    biased;
                    charge = self.budget.memory.charge(size) => charge,
                    _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stopping),
                };
            }
            if let Some(request) = self.frames.next_frame().map_err(End::Frame)? {
                self.peer.activity.touch();
                return Ok(memory::charged(request, self.charge.take()));
            }
            let more = tokio::select! {
                biased;
                more = within(self.idle, fill(&mut self.frames, &mut self.transport)) => more.ok_or(End::Idle)??,
                _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stopping),
            };
            if !more {
                return Err(End::Closed);
            }
        }
    }

    /// The request's place among those that wait for the broker. Nothing more is read until it has one.
    async fn place(&mut self) -> Result<OwnedSemaphorePermit, End> {
        tokio::select! {
            biased;
            place = Arc::clone(&self.budget.places).acquire_owned() => place.map_err(|AcquireError { .. }| End::Stopping),
            _ = self.stop.wait_for(|stop| *stop) => Err(End::Stopping),
        }
    }

    async fn answer(&mut self, request: Bytes, place: OwnedSemaphorePermit) -> Result<Handled, End> {
        let handling = dispatch::handle(&self.services, &self.peer, request, place);
        tokio::pin!(handling);
        loop {
            let may_read = self.frames.buffered() < READ_AHEAD_BYTES;
            let more = tokio::select! {
                biased;
                reply = &mut handling => return Ok(reply?),
                _ = self.stop.wait_for(|stop| *stop) => return Err(End::Stopping),
                more = fill(&mut self.frames, &mut self.transport), if may_read => more?,
            };
            if !more {
                return Err(End::Closed);
            }
        }
    }

    async fn send(&mut self, reply: Reply) -> Result<(), End> {
        self.peer.listener_metrics.answered(reply.parts.iter().map(Records::len).sum());
        tokio::select! {
            biased;
            written = reply::write(reply, &mut self.transport, self.idle) => written.map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => End::Idle,
                _ => End::Write(error),
            }),
            _ = self.stop.wait_for(|stop| *stop) => Err(End::Stopping),
        }
    }
}

/// Reads once; false at the end of the stream. Cancel-safe.
async fn fill<T: Transport>(frames: &mut FrameReader, transport: &mut T) -> Result<bool, End> {
    match transport.read_buf(&mut frames.room()).await.map_err(End::Read)? {
        0 if frames.buffered() == 0 => Ok(false),
        0 => Err(End::Truncated),
        _ => Ok(true),
    }
}
