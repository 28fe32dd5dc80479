//! When a member sends heartbeats, and since when nobody answers.

use std::time::{Duration, Instant};

use crate::consumer::membership::MembershipConfig;

/// So many intervals of the coordinator's without an answer, and the member may be out of its group.
const SILENT_INTERVALS: u32 = 3;

/// The timers of a member: next heartbeat, poll interval.
#[derive(Debug)]
pub(super) struct HeartbeatTimer {
    interval: Duration,
    next: Instant,
    /// No heartbeat before this time, whatever there is to tell.
    retry_at: Option<Instant>,
    failures: u32,
    in_flight: bool,
    beat_sent: Instant,
    /// When the last heartbeat was sent that was answered.
    confirmed: Option<Instant>,
    poll_end: Instant,
    max_poll_interval: Duration,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
}

impl HeartbeatTimer {
    pub(super) fn new(config: &MembershipConfig, now: Instant) -> Self {
        Self {
            interval: Duration::ZERO,
            next: now,
            retry_at: None,
            failures: 0,
            in_flight: false,
            beat_sent: now,
            confirmed: None,
            poll_end: now + config.rebalance_timeout,
            max_poll_interval: config.rebalance_timeout,
            retry_backoff: config.retry_backoff,
            retry_backoff_max: config.retry_backoff_max,
        }
    }

    /// As the coordinator wants it; zero before it has said so.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// The application polled.
    pub(super) fn polled(&mut self, now: Instant) {
        self.poll_end = now + self.max_poll_interval;
    }

    pub(super) fn poll_expired(&self, now: Instant) -> bool {
        self.poll_end <= now
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.in_flight = true;
        self.beat_sent = now;
        self.retry_at = None;
        self.next = now + self.interval;
    }

    /// The answer names the interval.
    pub(super) fn succeeded(&mut self, interval: Duration) {
        self.in_flight = false;
        self.failures = 0;
        self.retry_at = None;
        self.confirmed = Some(self.beat_sent);
        self.interval = interval;
        self.next = self.beat_sent + interval;
    }

    /// Tries again after a pause that doubles with every failure.
    pub(super) fn failed(&mut self, now: Instant) {
        self.in_flight = false;
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let at = now + self.retry_backoff.saturating_mul(factor).min(self.retry_backoff_max);
        (self.next, self.retry_at) = (at, Some(at));
    }

    /// The last heartbeat is not waited for: the next one goes as soon as the pause after a failure is over.
    pub(super) fn hurry(&mut self) {
        self.in_flight = false;
        self.next = self.beat_sent;
    }

    /// Nothing is known of the group any more, and the next heartbeat goes at once.
    pub(super) fn reset(&mut self) {
        self.hurry();
        self.retry_at = None;
        self.failures = 0;
        self.confirmed = None;
    }

    pub(super) fn is_due(&self, now: Instant, is_urgent: bool) -> bool {
        !self.in_flight && self.retry_at.is_none_or(|at| at <= now) && (is_urgent || self.next <= now)
    }

    /// When a heartbeat is due, or the poll interval over.
    pub(super) fn next_deadline(&self, is_urgent: bool) -> Instant {
        let beat = match self.retry_at {
            Some(at) => at,
            None if is_urgent => self.beat_sent,
            None => self.next,
        };
        if self.in_flight { self.poll_end } else { self.poll_end.min(beat) }
    }

    /// Whether the coordinator has answered not long ago, and the application has polled often enough.
    pub(super) fn is_confirmed(&self, now: Instant) -> bool {
        let is_recent = |at: Instant| now < at + self.interval.saturating_mul(SILENT_INTERVALS);
        self.confirmed.is_some_and(is_recent) && now < self.poll_end
    }
}
