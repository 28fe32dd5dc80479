//! One connection to a broker.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use vltava_protocol::ApiKey;
use vltava_protocol::wire::{Message, Request};

use super::api_versions::ApiVersions;
use super::frame_reader::Answers;
use super::frames;
use super::sasl::{Ask, Authenticator};
use super::security::Unanswered;
use super::task::spawn;
use super::throttle::Throttle;
use crate::caught::caught;
use crate::error::ClientError;
use crate::metrics::Meter;

/// How many slices one vectored write takes; the usual limit of operating systems is 1024.
const WRITE_SLICES: usize = 64;

/// What a connection has to know of the client that it belongs to.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// `client.id`.
    pub client_id: Arc<str>,
    /// How many requests may wait for their answers.
    pub max_in_flight: usize,
    /// How long a request may wait for its answer, unless it says otherwise.
    pub request_timeout: Duration,
    /// What it may mean that the other side closes without an answer.
    pub(crate) unanswered: Option<Arc<Unanswered>>,
    /// Counts what goes over it.
    pub(crate) meter: Option<Arc<Meter>>,
}

/// A connection that speaks Kafka's protocol: requests out in the order in which they are handed over, answers back.
///
/// Cheap to clone. It closes when the last clone is dropped, after an error, or after an answer that did not come in
/// time: whatever comes later could only be waited for behind it.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: Arc<str>,
    options: ConnectionOptions,
    versions: ApiVersions,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    permits: Arc<Semaphore>,
    correlation: AtomicI32,
    state: Arc<State>,
    task: tokio::task::AbortHandle,
}

/// What the handles and the task share.
#[derive(Debug)]
struct State {
    pending: Mutex<VecDeque<Pending>>,
    in_flight: AtomicUsize,
    closed: AtomicBool,
    failure: Mutex<Option<ClientError>>,
    last_used: Mutex<Instant>,
    /// How many answers have come.
    answers: AtomicUsize,
    unanswered: Option<Arc<Unanswered>>,
    meter: Option<Arc<Meter>>,
    /// Where the other side wants to be told who is there, again and again.
    session: OnceLock<Session>,
    /// When requests have to wait; from when the connection is made.
    throttle: OnceLock<Throttle>,
}

/// A session that ends.
#[derive(Debug)]
struct Session {
    authenticator: Authenticator,
    client_id: Arc<str>,
    /// When it is to be begun again.
    due: Mutex<Option<Instant>>,
}

impl Session {
    fn is_due(&self, now: Instant) -> bool {
        self.due.lock().is_some_and(|due| due <= now)
    }
}

/// Whether a request may still be written. Asked before each write of its bytes.
pub(crate) type Condition = Arc<dyn Fn() -> bool + Send + Sync>;

struct Outgoing {
    chunks: Vec<Bytes>,
    condition: Option<Condition>,
    /// `None` for a request that is not answered; then `written` is told when it is on its way.
    pending: Option<Pending>,
    written: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Pending {
    api: ApiKey,
    correlation_id: i32,
    /// When it was handed over.
    since: Instant,
    reply: oneshot::Sender<Result<Bytes, ClientError>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
        self.state.fail(ClientError::Closed);
    }
}

impl Connection {
    /// Takes over a connected stream. `versions` is what the other side speaks; see [`connector`](super::connector) for
    /// how that is found.
    pub(crate) fn start<S>(stream: S, address: Arc<str>, options: ConnectionOptions, versions: ApiVersions) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            pending: Mutex::new(VecDeque::new()),
            in_flight: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            failure: Mutex::new(None),
            last_used: Mutex::new(Instant::now()),
            answers: AtomicUsize::new(0),
            unanswered: options.unanswered.clone(),
            meter: options.meter.clone(),
            session: OnceLock::new(),
            throttle: OnceLock::new(),
        });
        let task = spawn(&Handle::current(), run(stream, queue, Arc::clone(&state), Arc::clone(&address)));
        Self {
            shared: Arc::new(Shared {
                permits: Arc::new(Semaphore::new(options.max_in_flight.min(Semaphore::MAX_PERMITS))),
                address,
                options,
                versions,
                outgoing,
                correlation: AtomicI32::new(0),
                state,
                task: task.abort_handle(),
            }),
        }
    }

    /// The same connection with what the other side turned out to speak. Only before it is shared.
    pub(crate) fn with_versions(mut self, versions: ApiVersions) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.versions = versions;
        }
        self
    }

    /// From now on sends nothing while the broker wants to hear nothing, and takes in what its answers say of that.
    pub(crate) fn obey(&self, throttle: Throttle) {
        // It is set once for each connection.
        let _ = self.shared.state.throttle.set(throttle);
    }

    /// Says who the client is, and keeps saying it before each end of the session. Only before the connection is shared.
    pub(super) async fn authenticate(&self, authenticator: Authenticator) -> Result<(), ClientError> {
        let due = authenticator.authenticate(&mut Beginning(self)).await?;
        if due.is_some() {
            let client_id = Arc::clone(&self.shared.options.client_id);
            let session = Session { authenticator, client_id, due: Mutex::new(due) };
            // It is set here only, once for each connection.
            let _ = self.shared.state.session.set(session);
        }
        Ok(())
    }

    /// `host:port` of the other side.
    #[must_use]
    pub fn address(&self) -> &Arc<str> {
        &self.shared.address
    }

    /// What the other side speaks.
    #[must_use]
    pub fn versions(&self) -> &ApiVersions {
        &self.shared.versions
    }

    /// How many requests wait for their answers, or to be written.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.state.in_flight.load(Ordering::Relaxed)
    }

    /// Whether requests can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.shared.state.closed.load(Ordering::Acquire)
    }

    /// When the last request was handed over or the last answer came.
    pub(crate) fn last_used(&self) -> Instant {
        *self.shared.state.last_used.lock()
    }

    /// Closes the connection for all its clones. Requests without an answer fail with `reason`.
    pub fn close(&self, reason: ClientError) {
        self.shared.task.abort();
        self.shared.state.fail(reason);
    }

    /// Sends a request in the highest common version and waits for its answer; first for its turn if
    /// [`ConnectionOptions::max_in_flight`] requests are on their way.
    ///
    /// Dropping the future before the answer is there drops the answer; the request may have been sent.
    ///
    /// # Errors
    /// Retriable: [`ClientError::Connection`], [`ClientError::Timeout`]. Others: [`ClientError::UnsupportedVersion`],
    /// [`ClientError::Encode`], [`ClientError::Decode`].
    pub async fn send<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.send_with(request, None, None).await
    }

    /// As [`send`](Self::send), with an upper limit of the version and another timeout than `request.timeout.ms`.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_with<R: Request>(
        &self,
        request: &R,
        max_version: Option<i16>,
        timeout: Option<Duration>,
    ) -> Result<R::Response, ClientError> {
        let version = self.shared.versions.pick::<R>(max_version)?;
        let permit = Arc::clone(&self.shared.permits).acquire_owned().await.map_err(|_| ClientError::Closed)?;
        self.enqueue(request, version, timeout, Some(permit), None)?.answer().await
    }

    /// Hands a request over at once, whatever is in flight: the order of calls is the order on the wire.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn start_request<R: Request>(&self, request: &R) -> Result<PendingResponse<R>, ClientError> {
        let version = self.shared.versions.pick::<R>(None)?;
        self.start_version(request, version)
    }

    /// As [`start_request`](Self::start_request), with an upper limit of the version, for a request that is to be written
    /// only on a condition. If that does not hold any more, the connection ends with an error that is retriable.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) fn start_request_while<R: Request>(
        &self,
        request: &R,
        max_version: Option<i16>,
        condition: Condition,
    ) -> Result<PendingResponse<R>, ClientError> {
        let version = self.shared.versions.pick::<R>(max_version)?;
        self.enqueue(request, version, None, None, Some(condition))
    }

    /// As [`start_request`](Self::start_request) in a given version, which must be one that the other side speaks.
    pub(crate) fn start_version<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<PendingResponse<R>, ClientError> {
        self.enqueue(request, version, None, None, None)
    }

    /// Hands over a request that the broker does not answer (produce with `acks=0`), on the condition of
    /// [`start_request_while`](Self::start_request_while). The receiver is told when it was written, or dropped when it
    /// could not be.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) fn start_unanswered<R: Request>(
        &self,
        request: &R,
        condition: Condition,
    ) -> Result<oneshot::Receiver<()>, ClientError> {
        let version = self.shared.versions.pick::<R>(None)?;
        let chunks = frames::encode(request, version, self.next_correlation(), &self.shared.options.client_id)?;
        let (written, receiver) = oneshot::channel();
        self.hand_over(Outgoing { chunks, condition: Some(condition), pending: None, written: Some(written) })?;
        Ok(receiver)
    }

    fn enqueue<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Option<Duration>,
        permit: Option<OwnedSemaphorePermit>,
        condition: Option<Condition>,
    ) -> Result<PendingResponse<R>, ClientError> {
        let correlation_id = self.next_correlation();
        let chunks = frames::encode(request, version, correlation_id, &self.shared.options.client_id)?;
        let (reply, receiver) = oneshot::channel();
        let pending = Pending { api: R::API_KEY, correlation_id, since: Instant::now(), reply, _permit: permit };
        self.hand_over(Outgoing { chunks, condition, pending: Some(pending), written: None })?;
        Ok(PendingResponse {
            connection: self.clone(),
            receiver,
            version,
            timeout: timeout.unwrap_or(self.shared.options.request_timeout),
            request: PhantomData,
        })
    }

    fn hand_over(&self, outgoing: Outgoing) -> Result<(), ClientError> {
        let state = &self.shared.state;
        if !self.is_open() {
            return Err(state.failure(&self.shared.address));
        }
        let now = outgoing.pending.as_ref().map_or_else(Instant::now, |pending| pending.since);
        *state.last_used.lock() = now;
        if let Some(meter) = &state.meter {
            meter.request(outgoing.chunks.iter().map(Bytes::len).sum(), now);
        }
        if outgoing.pending.is_some() {
            state.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.outgoing.send(outgoing).map_err(|_| state.failure(&self.shared.address))
    }

    fn next_correlation(&self) -> i32 {
        self.shared.correlation.fetch_add(1, Ordering::Relaxed) & i32::MAX
    }
}

/// A connection that nobody else has yet.
struct Beginning<'a>(&'a Connection);

impl Ask for Beginning<'_> {
    async fn ask<R: Request + Sync>(&mut self, request: &R, version: i16) -> Result<R::Response, ClientError> {
        self.0.start_version(request, version)?.answer().await
    }
}

/// A request that was handed over; wait for its answer.
#[derive(Debug)]
#[must_use = "the answer is dropped with this"]
pub struct PendingResponse<R> {
    connection: Connection,
    receiver: oneshot::Receiver<Result<Bytes, ClientError>>,
    version: i16,
    timeout: Duration,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> PendingResponse<R> {
    /// The version in which the request was sent.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Waits for the answer.
    async fn answer(self) -> Result<R::Response, ClientError> {
        let Self { connection, receiver, version, timeout, .. } = self;
        let state = &connection.shared.state;
        let mut receiver = receiver;
        let mut deadline = tokio::time::Instant::now() + timeout;
        let frame = loop {
            match tokio::time::timeout_at(deadline, &mut receiver).await {
                Ok(Ok(answer)) => break answer?,
                Ok(Err(_)) => return Err(state.failure(&connection.shared.address)),
                Err(_) => {}
            }
            // While the broker wanted to hear nothing, the request was not sent, or its answer kept back.
            let throttled = state.throttle.get().and_then(Throttle::until).map(|until| until + timeout);
            match throttled.filter(|later| *later > deadline) {
                Some(later) => deadline = later,
                None => {
                    let error = ClientError::timeout(format!("{:?} to {}", R::API_KEY, connection.address()), timeout);
                    connection.close(error.clone());
                    return Err(error);
                }
            }
        };
        let response = frames::decode::<R>(frame, version).inspect_err(|error| connection.close(error.clone()))?;
        if let Some(throttle) = state.throttle.get() {
            throttle.take_in(R::API_KEY, version, response.throttle_time_ms());
        }
        Ok(response)
    }
}

impl<R: Request + 'static> IntoFuture for PendingResponse<R> {
    type Output = Result<R::Response, ClientError>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answer())
    }
}

impl State {
    /// Takes in that the connection is over. The first reason counts.
    fn fail(&self, error: ClientError) {
        self.failure.lock().get_or_insert(error);
        self.closed.store(true, Ordering::Release);
        let pending = std::mem::take(&mut *self.pending.lock());
        self.in_flight.store(0, Ordering::Relaxed);
        if let Some(meter) = &self.meter {
            meter.over(Instant::now());
        }
        for one in pending {
            let reason = self.failure.lock().clone().unwrap_or(ClientError::Closed);
            // The caller may have gone; then nobody wants to know.
            let _ = one.reply.send(Err(reason));
        }
    }

    /// What the end of the connection means where a request waits, and none was answered but that for the versions.
    fn explained(&self, address: &str, source: io::Error) -> io::Error {
        let is_end = matches!(source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        let is_unanswered = self.answers.load(Ordering::Relaxed) <= 1 && !self.pending.lock().is_empty();
        match &self.unanswered {
            Some(hint) if is_end && is_unanswered => hint.explain(address, source.kind()),
            _ => source,
        }
    }

    fn failure(&self, address: &Arc<str>) -> ClientError {
        self.failure.lock().clone().unwrap_or_else(|| {
            ClientError::connection(address, io::Error::new(io::ErrorKind::NotConnected, "connection was closed"))
        })
    }
}

/// The connection's task: reads and writes until one of them fails.
async fn run<S>(stream: S, queue: mpsc::UnboundedReceiver<Outgoing>, state: Arc<State>, address: Arc<str>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let work = async {
        let (read, write) = tokio::io::split(stream);
        let error = tokio::select! {
            error = read_answers(read, &state) => error,
            error = write_requests(write, queue, &state) => error,
        };
        match error {
            Failure::Io(source) => ClientError::connection(&address, state.explained(&address, source)),
            Failure::Protocol(error) => error,
            Failure::NotKafka(reason) => ClientError::NotKafka { address, reason: reason.into() },
        }
    };
    let error = caught(work).await.unwrap_or_else(|panicked| panicked);
    state.fail(error.clone());
    tracing::debug!("{error}");
}

/// Why a connection ends.
pub(super) enum Failure {
    Io(io::Error),
    Protocol(ClientError),
    /// The other side speaks something else.
    NotKafka(String),
}

async fn write_requests<W>(mut write: W, mut queue: mpsc::UnboundedReceiver<Outgoing>, state: &State) -> Failure
where
    W: AsyncWrite + Unpin + Send,
{
    let mut chunks: VecDeque<Bytes> = VecDeque::new();
    let (mut written, mut conditions) = (Vec::new(), Vec::new());
    while let Some(first) = queue.recv().await {
        if let Some(throttle) = state.throttle.get() {
            throttle.over().await;
        }
        if let Some(session) = state.session.get()
            && session.is_due(Instant::now())
            && let Err(error) = begin_again(session, &mut write, state).await
        {
            // It is told why like those whose answers are awaited.
            state.pending.lock().extend(first.pending);
            return Failure::Protocol(error);
        }
        let mut next = Some(first);
        while let Some(outgoing) = next {
            chunks.extend(outgoing.chunks);
            written.extend(outgoing.written);
            conditions.extend(outgoing.condition);
            if let Some(pending) = outgoing.pending {
                state.pending.lock().push_back(pending);
            }
            next = if chunks.len() < WRITE_SLICES { queue.try_recv().ok() } else { None };
        }
        // As long as any of them is not written whole, all of them must hold: they rarely differ.
        if let Err(error) = write_all(&mut write, &mut chunks, &conditions, state.meter.as_deref()).await {
            return Failure::Io(error);
        }
        conditions.clear();
        for one in written.drain(..) {
            let _ = one.send(());
        }
    }
    Failure::Protocol(ClientError::Closed)
}

/// Says who the client is while requests wait behind: none may come between.
async fn begin_again<W>(session: &Session, write: &mut W, state: &State) -> Result<(), ClientError>
where
    W: AsyncWrite + Unpin + Send,
{
    let (limit, begun) = (session.authenticator.timeout, Instant::now());
    let mut ask = Again { write, state, client_id: &session.client_id, correlation_id: FIRST_OF_SASL };
    let ended = tokio::time::timeout(limit, session.authenticator.authenticate(&mut ask)).await;
    if let Some(meter) = &state.meter {
        meter.reauthenticated(matches!(ended, Ok(Ok(_))), begun.elapsed(), Instant::now());
    }
    match ended {
        Ok(Ok(due)) => *session.due.lock() = due,
        // Whether the client is not let in any more is what the next connection finds out, as in Kafka.
        Ok(Err(refused @ ClientError::SaslAuthentication { .. })) => {
            return Err(session.authenticator.passing(refused));
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(ClientError::timeout("authenticating again", limit)),
    }
    Ok(())
}

/// As Kafka's clients, with correlation ids that requests rarely come to.
const FIRST_OF_SASL: i32 = i32::MAX - 7;

/// The connection's own task, which writes nothing else meanwhile.
struct Again<'a, W> {
    write: &'a mut W,
    state: &'a State,
    client_id: &'a str,
    correlation_id: i32,
}

impl<W: AsyncWrite + Unpin + Send> Ask for Again<'_, W> {
    async fn ask<R: Request + Sync>(&mut self, request: &R, version: i16) -> Result<R::Response, ClientError> {
        let correlation_id = self.correlation_id;
        self.correlation_id = correlation_id.checked_add(1).unwrap_or(FIRST_OF_SASL);
        let mut chunks: VecDeque<Bytes> = frames::encode(request, version, correlation_id, self.client_id)?.into();
        let since = Instant::now();
        if let Some(meter) = &self.state.meter {
            meter.request(chunks.iter().map(Bytes::len).sum(), since);
        }
        let (reply, receiver) = oneshot::channel();
        self.state.in_flight.fetch_add(1, Ordering::Relaxed);
        self.state.pending.lock().push_back(Pending { api: R::API_KEY, correlation_id, since, reply, _permit: None });
        write_all(self.write, &mut chunks, &[], self.state.meter.as_deref())
            .await
            .map_err(|error| ClientError::connection(&"authenticating again".into(), error))?;
        // What reads answers ends the task, and this with it, when it fails.
        let frame = receiver.await.map_err(|_| ClientError::Closed)??;
        frames::decode::<R>(frame, version)
    }
}

/// What may not be written any more, and would be half a request in the end, ends the connection.
fn check(conditions: &[Condition]) -> io::Result<()> {
    match conditions.iter().all(|holds| holds()) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "a request may not be sent any more")),
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    write: &mut W,
    chunks: &mut VecDeque<Bytes>,
    conditions: &[Condition],
    meter: Option<&Meter>,
) -> io::Result<()> {
    while !chunks.is_empty() {
        let mut slices = [io::IoSlice::new(&[]); WRITE_SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks.iter()) {
            *slice = io::IoSlice::new(chunk);
            count += 1;
        }
        // Each time that the socket takes something: it may have been full for long.
        let mut sent = poll_fn(|context| {
            check(conditions)?;
            Pin::new(&mut *write).poll_write_vectored(context, slices.get(..count).unwrap_or_default())
        })
        .await?;
        if sent == 0 && chunks.iter().any(|chunk| !chunk.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if let Some(meter) = meter {
            meter.sent(sent, Instant::now());
        }
        while let Some(front) = chunks.front_mut() {
            if front.len() > sent {
                front.advance(sent);
                break;
            }
            sent -= front.len();
            chunks.pop_front();
        }
    }
    write.flush().await
}

async fn read_answers<R: AsyncRead + Unpin>(read: R, state: &State) -> Failure {
    let mut frames = Answers::new(read);
    loop {
        let frame = match frames.next().await {
            Ok(frame) => frame,
            Err(failure) => return failure,
        };
        let Some(correlation_id) = frame.first_chunk::<4>().copied().map(i32::from_be_bytes) else {
            return Failure::Protocol(ClientError::unexpected("a frame without a header"));
        };
        let pending = state.pending.lock().pop_front();
        match pending {
            Some(pending) if pending.correlation_id == correlation_id => {
                state.in_flight.fetch_sub(1, Ordering::Relaxed);
                state.answers.fetch_add(1, Ordering::Relaxed);
                let now = Instant::now();
                *state.last_used.lock() = now;
                if let Some(meter) = &state.meter {
                    meter.response(pending.api, frame.len() + size_of::<i32>(), pending.since, now);
                }
                let _ = pending.reply.send(Ok(frame));
            }
            Some(pending) => {
                let what = format!(
                    "correlation id {correlation_id} in place of {} for {:?}",
                    pending.correlation_id, pending.api
                );
                let error = ClientError::unexpected(what);
                let _ = pending.reply.send(Err(error.clone()));
                return Failure::Protocol(error);
            }
            None => return Failure::Protocol(ClientError::unexpected("an answer that nobody asked for")),
        }
    }
}
