//! What a flush promises, at every moment at which somebody can look.
//!
//! Deliveries and flushes are polled by the waker itself, that is, in the middle of what wakes them: no other thread can look
//! at a worse moment.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use proptest::prelude::*;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Codec, Compression};

use super::super::accumulator::{Accumulator, AccumulatorSettings, Appended, PartitionQueue};
use super::super::batch::Batch;
use super::super::delivery::Written;
use super::super::observe::{ByCallback, ByDelivery, ByFlush, ByTag, Observe};
use super::super::{ProducerRecord, RecordTag};
use crate::error::ClientError;

type Watched = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future that whoever wakes it polls at once.
struct AtOnce(Mutex<Option<Watched>>);

impl AtOnce {
    fn start(future: impl Future<Output = ()> + Send + 'static) {
        Arc::new(Self(Mutex::new(Some(Box::pin(future))))).wake();
    }
}

impl Wake for AtOnce {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let Some(mut future) = self.0.lock().take() else { return };
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            *self.0.lock() = Some(future);
        }
    }
}

/// What was given, and what of it is known.
#[derive(Default)]
struct Book {
    /// Callbacks asked for and called.
    callbacks: AtomicUsize,
    called: AtomicUsize,
    /// Records nobody waits for that have failed, and failures that flushes told.
    tagged_failures: AtomicUsize,
    complaints: Mutex<Vec<String>>,
    flushes: AtomicUsize,
}

impl Book {
    fn complain(&self, what: String) {
        self.complaints.lock().push(what);
    }
}

struct World {
    accumulator: Arc<Accumulator>,
    queues: Vec<Arc<PartitionQueue>>,
    book: Arc<Book>,
    /// What the sender has taken.
    taken: Vec<Batch>,
    /// Batches with a record that nobody waits for, and that is not flushed.
    unobserved: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let accumulator = Accumulator::new(AccumulatorSettings {
            batch_size: 200,
            buffer_memory: 1 << 20,
            max_request_size: 1 << 20,
            codec: Codec::from(Compression::None),
            adaptive_partitioning: true,
        });
        accumulator.set_partitions(&Arc::from("t"), 2);
        let queues = accumulator.with_topic("t", |topic| topic.partitions.clone()).unwrap();
        let accumulator = Arc::new(accumulator);
        Self { accumulator, queues, book: Arc::default(), taken: Vec::new(), unobserved: Arc::default() }
    }

    fn append<O: Observe>(&self, partition: usize, observe: O) -> O::Tag {
        let record = ProducerRecord::new("t").value("some value of a record");
        match self.accumulator.append(&self.queues[partition], &record, 0, observe, Instant::now).unwrap() {
            Appended::Done { tag, .. } => tag,
            Appended::NeedsMemory { .. } => panic!("there is memory enough"),
        }
    }

    /// A flush that looks, at the moment at which it is over, whether everything is told that was given before it.
    fn flush(&self) {
        start_flush(&self.accumulator, &self.book, &self.unobserved);
    }
}

fn start_flush(accumulator: &Arc<Accumulator>, book: &Arc<Book>, unobserved: &Arc<AtomicUsize>) {
    let (accumulator, book, unobserved) = (Arc::clone(accumulator), Arc::clone(book), Arc::clone(unobserved));
    let callbacks = book.callbacks.load(Ordering::SeqCst);
    let failures = Arc::clone(&unobserved);
    AtOnce::start(async move {
        let result = accumulator.flush(|| {}).await;
        book.flushes.fetch_add(1, Ordering::SeqCst);
        let called = book.called.load(Ordering::SeqCst);
        if called < callbacks {
            book.complain(format!("a flush is over and {called} of {callbacks} callbacks have run"));
        }
        // The first flush that is over after a failure tells it.
        let failed = failures.swap(0, Ordering::SeqCst);
        if (failed > 0) != result.is_err() {
            book.complain(format!("{failed} batches failed, and the flush says {result:?}"));
        }
        let tagged = book.tagged_failures.swap(0, Ordering::SeqCst);
        let told = accumulator.take_failed().len();
        if told < tagged {
            book.complain(format!("{told} of {tagged} failed records with a tag are told"));
        }
    });
}

#[derive(Debug, Clone)]
enum Step {
    Deliver(usize),
    CallBack(usize, bool),
    Forget(usize),
    Tag(usize),
    Flush,
    Take(usize),
    Finish(usize, bool),
    Panic(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2_usize).prop_map(Step::Deliver),
        3 => (0..2_usize, any::<bool>()).prop_map(|(partition, flushes)| Step::CallBack(partition, flushes)),
        3 => (0..2_usize).prop_map(Step::Forget),
        2 => (0..2_usize).prop_map(Step::Tag),
        2 => Just(Step::Flush),
        3 => (0..2_usize).prop_map(Step::Take),
        4 => (0..8_usize, any::<bool>()).prop_map(|(place, fails)| Step::Finish(place, fails)),
        1 => (0..2_usize).prop_map(Step::Panic),
    ]
}

fn finish(world: &mut World, place: usize, fails: bool) {
    if world.taken.is_empty() {
        return;
    }
    let batch = world.taken.remove(place % world.taken.len());
    if !fails {
        world.accumulator.finish(batch, Ok(Written { base_offset: Some(7), log_append_time: None }));
        return;
    }
    let tagged = batch.tags.iter().count();
    world.book.tagged_failures.fetch_add(tagged, Ordering::SeqCst);
    if batch.completion.is_unobserved() {
        world.unobserved.fetch_add(1, Ordering::SeqCst);
    }
    world.accumulator.finish(batch, Err(ClientError::broker(ErrorCode::MessageTooLarge)));
}

fn take(world: &mut World, partition: usize) {
    let Some(mut batch) = world.queues[partition].pop() else { return };
    let state = vltava_protocol::record::ProducerState::NONE;
    batch.seal(state, &mut vltava_protocol::record::Compressor::new()).unwrap();
    world.taken.push(batch);
}

fn run(world: &mut World, step: &Step) {
    match step {
        Step::Deliver(partition) => {
            let delivery = world.append(*partition, ByDelivery);
            let (accumulator, book) = (Arc::clone(&world.accumulator), Arc::clone(&world.book));
            AtOnce::start(async move {
                let result = delivery.await;
                // Whoever is told of a failure finds the records of the batch that have a tag.
                let tagged = book.tagged_failures.load(Ordering::SeqCst);
                if result.is_err() && tagged > 0 {
                    let told = accumulator.take_failed().len();
                    book.tagged_failures.fetch_sub(told.min(tagged), Ordering::SeqCst);
                    if told == 0 {
                        book.complain("a delivery failed before the records with a tag were told".to_owned());
                    }
                }
            });
        }
        Step::CallBack(partition, flushes) => {
            let (accumulator, unobserved) = (Arc::clone(&world.accumulator), Arc::clone(&world.unobserved));
            let (book, flushes) = (Arc::clone(&world.book), *flushes);
            world.book.callbacks.fetch_add(1, Ordering::SeqCst);
            world.append(
                *partition,
                ByCallback(Box::new(move |_| {
                    book.called.fetch_add(1, Ordering::SeqCst);
                    if flushes {
                        start_flush(&accumulator, &book, &unobserved);
                    }
                })),
            );
        }
        Step::Panic(partition) => {
            world.append(*partition, ByCallback(Box::new(|_| std::panic::resume_unwind(Box::new("a mistake")))));
        }
        Step::Forget(partition) => world.append(*partition, ByFlush),
        Step::Tag(partition) => world.append(*partition, ByTag(RecordTag { owner: 1, position: 2 })),
        Step::Flush => world.flush(),
        Step::Take(partition) => take(world, *partition),
        Step::Finish(place, fails) => finish(world, *place, *fails),
    }
}

proptest! {
    #[test]
    fn a_flush_that_is_over_has_told_everything(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        for step in &steps {
            run(&mut world, step);
        }
        world.flush();
        for partition in 0..2 {
            while !world.queues[partition].is_done() {
                take(&mut world, partition);
            }
        }
        while !world.taken.is_empty() {
            finish(&mut world, 0, false);
        }
        prop_assert_eq!(&*world.book.complaints.lock(), &Vec::<String>::new());
        prop_assert!(world.accumulator.pending.is_empty());
        prop_assert_eq!(world.accumulator.memory.used(), 0);
        prop_assert!(!world.accumulator.is_in_a_hurry(), "every flush is over");
    }
}

#[test]
fn a_flush_tells_the_failure_of_a_record_that_nobody_waits_for() {
    let mut world = World::new();
    run(&mut world, &Step::Forget(0));
    run(&mut world, &Step::Flush);
    take(&mut world, 0);
    finish(&mut world, 0, true);
    assert_eq!(*world.book.complaints.lock(), Vec::<String>::new());
    assert_eq!(world.book.flushes.load(Ordering::SeqCst), 1);
}

/// Two records of a batch that one task waits for, of which one goes to another task.
#[test]
fn a_delivery_that_moves_to_another_task_leaves_the_others_theirs() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let mut world = World::new();
    let (mut stays, mut moves) = (world.append(0, ByDelivery), world.append(0, ByDelivery));
    let (first, second) = (Arc::new(Count(AtomicUsize::new(0))), Arc::new(Count(AtomicUsize::new(0))));
    let (one, other) = (Waker::from(Arc::clone(&first)), Waker::from(Arc::clone(&second)));
    assert!(Pin::new(&mut stays).poll(&mut Context::from_waker(&one)).is_pending());
    assert!(Pin::new(&mut moves).poll(&mut Context::from_waker(&one)).is_pending());
    assert!(Pin::new(&mut moves).poll(&mut Context::from_waker(&other)).is_pending());
    take(&mut world, 0);
    finish(&mut world, 0, false);
    assert!(first.0.load(Ordering::SeqCst) > 0, "the one that stays is woken");
    assert!(second.0.load(Ordering::SeqCst) > 0);
    assert!(matches!(Pin::new(&mut stays).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
}
