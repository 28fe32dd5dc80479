//! The controller: the one place where the cluster's metadata changes, on threads of its own.
//!
//! A handler gives a change and awaits what it came to; no thread that serves connections ever waits for the disk. One
//! thread decides and writes: what has gathered while it waited for the disk goes out with the next wait. Another does
//! what follows, such as making the files of new partitions, and then makes the change known: so that a request for a
//! thousand partitions keeps back neither who wants a producer id nor who reads.

pub(crate) mod alter;
pub(crate) mod auto_creation;
pub(crate) mod features;
pub(crate) mod loggers;
pub(crate) mod producer_ids;
pub(crate) mod publisher;
pub(crate) mod quotas;
mod recent_errors;
pub(crate) mod registration;
pub(crate) mod scram;
pub(crate) mod topics;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::error;
use vltava_protocol::ErrorCode;
use vltava_protocol::records::metadata::MetadataRecord;

use self::publisher::Publisher;
use crate::clock;
use crate::config::BrokerConfig;
use crate::descriptors::Descriptors;
use crate::error::BrokerError;
use crate::metadata::image::MetadataImage;
use crate::metadata::{Change, Committed, MetadataStore};
use crate::partitions::Partitions;
use crate::request::ApiError;

/// As many changes are written with one wait for the disk at the most.
const MOST_AT_ONCE: usize = 256;

/// Takes changes to the metadata, with what it takes to decide on them.
#[derive(Debug)]
pub(crate) struct Controller {
    config: Arc<BrokerConfig>,
    metadata: Arc<MetadataStore>,
    partitions: Arc<Partitions>,
    descriptors: Arc<Descriptors>,
    publisher: Arc<Publisher>,
    broker_epoch: AtomicI64,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Task>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// When the one who asked for a change is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// When it is on the disk.
    Committed,
    /// When what follows is done, and all can see it.
    Published,
}

/// A change and who waits for it.
trait Task: Change {
    fn answer(&self) -> Answer;

    /// Tells the one who asked; `acted` is what became of what follows from the change.
    fn finish(self: Box<Self>, acted: Result<(), ApiError>);
}

struct Update<T, F> {
    decide: Option<F>,
    outcome: Result<T, ApiError>,
    reply: oneshot::Sender<Result<T, ApiError>>,
    answer: Answer,
}

impl<T, F> Change for Update<T, F>
where
    T: Send,
    F: FnOnce(&MetadataImage) -> Result<(Vec<MetadataRecord>, T), ApiError> + Send,
{
    fn decide(&mut self, image: &MetadataImage) -> Vec<MetadataRecord> {
        let Some(decide) = self.decide.take() else { return Vec::new() };
        match decide(image) {
            Ok((records, value)) => {
                self.outcome = Ok(value);
                records
            }
            Err(error) => {
                self.outcome = Err(error);
                Vec::new()
            }
        }
    }

    fn fail(&mut self, error: ApiError) {
        self.outcome = Err(error);
    }
}

impl<T, F> Task for Update<T, F>
where
    T: Send,
    F: FnOnce(&MetadataImage) -> Result<(Vec<MetadataRecord>, T), ApiError> + Send,
{
    fn answer(&self) -> Answer {
        self.answer
    }

    fn finish(self: Box<Self>, acted: Result<(), ApiError>) {
        let outcome = self.outcome.and_then(|value| acted.map(|()| value));
        // Who asked may be gone.
        self.reply.send(outcome).ok();
    }
}

/// What became of a change when it was written, and who still waits for it.
struct Written {
    /// `None` where it was refused, or there was nothing to write.
    committed: Option<Committed>,
    task: Option<Box<dyn Task>>,
}

impl Controller {
    /// A controller that takes changes at once, but none to be awaited until [`Self::start`].
    pub(crate) fn new(
        config: Arc<BrokerConfig>,
        metadata: Arc<MetadataStore>,
        partitions: Arc<Partitions>,
        descriptors: Arc<Descriptors>,
        publisher: Publisher,
    ) -> Self {
        Self {
            config,
            metadata,
            partitions,
            descriptors,
            publisher: Arc::new(publisher),
            broker_epoch: AtomicI64::new(-1),
            queue: Mutex::default(),
            threads: Mutex::default(),
        }
    }

    pub(crate) fn config(&self) -> &BrokerConfig {
        &self.config
    }

    pub(crate) fn metadata(&self) -> &MetadataStore {
        &self.metadata
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The epoch of this run of the broker.
    pub(crate) fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Relaxed)
    }

    /// Starts the threads. They end with [`Self::stop`].
    pub(crate) fn start(&self) -> Result<(), BrokerError> {
        let (queue, changes) = mpsc::channel::<Box<dyn Task>>();
        let (to_publish, written) = mpsc::channel();
        let (writing, publishing) = (Arc::clone(&self.metadata), Arc::clone(&self.metadata));
        let publisher = Arc::clone(&self.publisher);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(body).map_err(BrokerError::Runtime)
        };
        let write = spawn("vltava-controller", Box::new(move || write(&writing, &changes, &to_publish)))?;
        let publish = spawn("vltava-publisher", Box::new(move || publish(&publishing, &publisher, &written)))?;
        self.threads.lock().extend([write, publish]);
        *self.queue.lock() = Some(queue);
        Ok(())
    }

    /// Ends the threads, after what was asked for is done. Waits for the disk.
    pub(crate) fn stop(&self) {
        self.queue.lock().take();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                error!("a thread of the controller panicked");
            }
        }
    }

    /// Changes the metadata: `decide` sees the newest state and gives the records. When this returns, partitions are
    /// opened and closed, settings are in force, and all see the change.
    ///
    /// The change is queued by the call itself: several that are called one after the other, and awaited then, are
    /// written together. Where the caller goes away, it is made all the same.
    pub(crate) fn update<T, F>(&self, decide: F) -> impl Future<Output = Result<T, ApiError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&MetadataImage) -> Result<(Vec<MetadataRecord>, T), ApiError> + Send + 'static,
    {
        self.queue(Answer::Published, decide)
    }

    /// As [`Self::update`] for what nothing follows from: returns when it is on the disk.
    pub(crate) fn commit<T, F>(&self, decide: F) -> impl Future<Output = Result<T, ApiError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&MetadataImage) -> Result<(Vec<MetadataRecord>, T), ApiError> + Send + 'static,
    {
        self.queue(Answer::Committed, decide)
    }

    /// As [`Self::update`], on this thread, while nobody else changes the metadata: at a start.
    fn update_now<T: Send>(
        &self,
        decide: impl FnOnce(&MetadataImage) -> Result<(Vec<MetadataRecord>, T), ApiError> + Send,
    ) -> Result<T, ApiError> {
        let (reply, _) = oneshot::channel();
        let not_decided = Err(ErrorCode::NotController.into());
        let mut update = Update { decide: Some(decide), outcome: not_decided, reply, answer: Answer::Published };
        let committed = self.metadata.commit(&mut [&mut update], clock::wall_clock_ms());
        for committed in committed.into_iter().flatten() {
            let acted = self.publisher.act(&committed);
            self.metadata.publish(&committed);
            acted?;
        }
        update.outcome
    }

    /// Queues a change at once; the future waits for what it came to.
    fn queue<T, F>(&self, answer: Answer, decide: F) -> impl Future<Output = Result<T, ApiError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&MetadataImage) -> Result<(Vec<MetadataRecord>, T), ApiError> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        // What no thread took up is told like this: the broker is stopping.
        let not_decided = Err(ErrorCode::NotController.into());
        let update = Box::new(Update { decide: Some(decide), outcome: not_decided, reply, answer });
        let is_queued = self.queue.lock().as_ref().is_some_and(|queue| queue.send(update).is_ok());
        async move {
            if !is_queued {
                return Err(ErrorCode::NotController.into());
            }
            let lost = |_| Err(ApiError::new(ErrorCode::UnknownServerError, "the metadata was not changed"));
            outcome.await.unwrap_or_else(lost)
        }
    }
}

/// The thread that decides and writes.
fn write(metadata: &MetadataStore, changes: &mpsc::Receiver<Box<dyn Task>>, to_publish: &mpsc::Sender<Written>) {
    while let Ok(first) = changes.recv() {
        let mut tasks = vec![first];
        tasks.extend(changes.try_iter().take(MOST_AT_ONCE - 1));
        let committed = catch_unwind(AssertUnwindSafe(|| {
            let mut waiting: Vec<&mut dyn Change> =
                tasks.iter_mut().map(|task| &mut **task as &mut dyn Change).collect();
            metadata.commit(&mut waiting, clock::wall_clock_ms())
        }));
        let Ok(committed) = committed else {
            // Those who wait see that nobody will answer.
            error!("a change to the metadata panicked");
            continue;
        };
        for (task, committed) in tasks.into_iter().zip(committed) {
            let task = match task.answer() {
                Answer::Published => Some(task),
                Answer::Committed => {
                    task.finish(Ok(()));
                    None
                }
            };
            if to_publish.send(Written { committed, task }).is_err() {
                return;
            }
        }
    }
}

/// The thread that does what follows from a change and makes it known.
fn publish(metadata: &MetadataStore, publisher: &Publisher, written: &mpsc::Receiver<Written>) {
    while let Ok(Written { committed, task }) = written.recv() {
        let acted = committed.map_or(Ok(()), |committed| {
            let acted = catch_unwind(AssertUnwindSafe(|| publisher.act(&committed)));
            metadata.publish(&committed);
            acted.unwrap_or_else(|_| {
                error!("what follows from a change to the metadata panicked");
                Err(ErrorCode::UnknownServerError.into())
            })
        });
        if let Some(task) = task {
            task.finish(acted);
        }
    }
}
