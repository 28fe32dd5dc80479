//! Answers that wait until what they tell of is committed.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use vltava_protocol::ErrorCode;

/// Where an answer goes.
pub(super) type ReplySender<R> = oneshot::Sender<Result<R, ErrorCode>>;

/// The answers that one operation set free. Who is not there any more is not told.
#[derive(Debug)]
pub(super) struct Answers<R> {
    /// To requests that wait for others, or for time.
    pub(super) replies: Vec<(ReplySender<R>, R)>,
    /// To the operation's own request, which has its answer and only waits for this.
    pub(super) operation: Option<ReplySender<()>>,
}

impl<R> Answers<R> {
    pub(super) fn send(self) {
        for (sender, reply) in self.replies {
            let _ = sender.send(Ok(reply));
        }
        if let Some(sender) = self.operation {
            let _ = sender.send(Ok(()));
        }
    }

    fn refuse(self, error: ErrorCode) {
        for (sender, _) in self.replies {
            let _ = sender.send(Err(error));
        }
        if let Some(sender) = self.operation {
            let _ = sender.send(Err(error));
        }
    }
}

/// What waits in one leader epoch: offsets and deadlines grow from the first to the last.
#[derive(Debug)]
pub(super) struct Parked<R> {
    queue: VecDeque<Waiting<R>>,
}

#[derive(Debug)]
struct Waiting<R> {
    /// Answered when the high watermark is here.
    offset: i64,
    /// Refused at this time.
    deadline: i64,
    answers: Answers<R>,
}

impl<R> Parked<R> {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn push(&mut self, offset: i64, deadline: i64, answers: Answers<R>) {
        if !answers.replies.is_empty() || answers.operation.is_some() {
            self.queue.push_back(Waiting { offset, deadline, answers });
        }
    }

    /// Lets go what is committed.
    pub(super) fn release(&mut self, high_watermark: i64) {
        while self.queue.front().is_some_and(|waiting| waiting.offset <= high_watermark) {
            self.queue.pop_front().into_iter().for_each(|waiting| waiting.answers.send());
        }
    }

    /// Returns the time at which [`Parked::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        self.queue.front().map(|waiting| waiting.deadline)
    }

    /// Refuses what has waited for too long.
    pub(super) fn expire(&mut self, now: i64, error: ErrorCode) {
        while self.queue.front().is_some_and(|waiting| waiting.deadline <= now) {
            self.queue.pop_front().into_iter().for_each(|waiting| waiting.answers.refuse(error));
        }
    }

    pub(super) fn refuse_all(&mut self, error: ErrorCode) {
        for waiting in self.queue.drain(..) {
            waiting.answers.refuse(error);
        }
    }
}
