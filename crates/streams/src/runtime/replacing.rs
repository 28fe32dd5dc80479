//! The life of a stream thread: it begins, is replaced when it has failed, and how soon, and ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    global::Globals,
    kafka_streams::{Shared, StreamThreadExceptionResponse},
    queries,
    thread::StreamThread,
    threads::Removal,
    wait::{self, Cut, Within},
};
use crate::{error::Error, guard::panicked};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// A thread that has worked for so long has not met the failure of the one before.
const HEALTHY: Duration = Duration::from_secs(60);

/// The pauses before the replacements of one thread: twice as long each time, unless the last one did well for a while.
/// Kafka Streams replaces without a pause, and so fails thousands of times a second on what fails at once.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses { next: FIRST }
    }
}

impl Pauses {
    /// The pause after a thread that worked for `lived`.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        let pause = if lived >= HEALTHY { FIRST } else { self.next };
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

/// The life of a thread, which begins when the global stores are there.
pub(super) fn run(shared: &Arc<Shared>, index: usize) {
    let _context = shared.runtime().enter();
    queries::on_stream_thread();
    let Some(removal) = shared.threads.removal(index) else { return };
    let _within = Within::enter_thread(&shared.closing, &removal);
    if shared.globals.as_ref().is_none_or(Globals::wait_until_filled) {
        shared.or_fail(|| work(shared, &removal));
    }
    shared.stream_thread_ended(index);
}

/// Restarted or not after a failure, as the application's handler says.
fn work(shared: &Arc<Shared>, removal: &Removal) {
    let index = removal.thread();
    let mut pauses = Pauses::default();
    loop {
        let started = Instant::now();
        // It asks all instances to close as soon as it is a member.
        let has_asked = shared.ends_application.load(Ordering::Relaxed);
        let run = || StreamThread::start(shared.clone(), removal.clone()).and_then(StreamThread::run);
        let ended = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(ended) => ended,
            Err(panic) => Err(panicked(&*panic)),
        };
        let Err(error) = ended else { return };
        match wait::take_cut() {
            Some(Cut::Request) => return,
            Some(Cut::Deadline) => return shared.closing.not_committed(shared.thread_name(index), error),
            None => tracing::error!(thread = index + 1, "stream thread failed: {error}"),
        }
        shared.threads.count_failed();
        let ends = has_asked || matches!(*error, Error::ShutdownRequested);
        let response = if ends { StreamThreadExceptionResponse::ShutdownClient } else { shared.response_to(&error) };
        match response {
            _ if shared.is_closing() => return shared.fail(error),
            StreamThreadExceptionResponse::ShutdownClient => return shared.fail(error),
            StreamThreadExceptionResponse::ShutdownApplication => shared.end_application(error),
            StreamThreadExceptionResponse::ReplaceThread => {}
        }
        shared.set_thread_running(index, false);
        let pause = pauses.after(started.elapsed());
        tracing::warn!(thread = index + 1, "the thread is replaced in {} ms", pause.as_millis());
        if wait::until_closing(tokio::time::sleep(pause)).is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pauses;

    #[test]
    fn what_fails_again_and_again_is_replaced_more_and_more_seldom() {
        let mut pauses = Pauses::default();
        let ms = |pauses: &mut Pauses, lived| pauses.after(Duration::from_secs(lived)).as_millis();
        let first: Vec<_> = (0..12).map(|_| ms(&mut pauses, 0)).collect();
        assert_eq!(first, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000]);
        assert_eq!((ms(&mut pauses, 3_600), ms(&mut pauses, 59)), (100, 200));
    }
}
