//! When a member sends heartbeats, and what it concludes from silence.

use std::time::{Duration, Instant};

/// The three timers of a member: next heartbeat, session, poll interval.
#[derive(Debug, Clone)]
pub(super) struct Heartbeat {
    interval: Duration,
    session_timeout: Duration,
    max_poll_interval: Duration,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
    next: Instant,
    session_end: Instant,
    /// When the last request was sent that the coordinator has answered: the member's session there began later.
    confirmed: Instant,
    beat_sent: Instant,
    poll_end: Instant,
    /// By when the coordinator wants to have heard from the member that it joins again, at the earliest.
    rejoin_end: Option<Instant>,
    failures: u32,
    pub(super) in_flight: bool,
}

impl Heartbeat {
    pub(super) fn new(config: &super::MembershipConfig, now: Instant) -> Self {
        Self {
            interval: config.heartbeat_interval,
            session_timeout: config.session_timeout,
            max_poll_interval: config.rebalance_timeout,
            retry_backoff: config.retry_backoff,
            retry_backoff_max: config.retry_backoff_max,
            next: now,
            session_end: now,
            confirmed: now,
            beat_sent: now,
            poll_end: now + config.rebalance_timeout,
            rejoin_end: None,
            failures: 0,
            in_flight: false,
        }
    }

    /// All timers start anew: the member has joined, and had not asked to before `asked`.
    pub(super) fn restart(&mut self, now: Instant, asked: Instant) {
        self.next = now + self.interval;
        self.session_end = now + self.session_timeout;
        self.confirmed = asked;
        self.poll_end = now + self.max_poll_interval;
        self.rejoin_end = None;
        self.failures = 0;
        self.in_flight = false;
    }

    /// The coordinator has answered a request that was sent at this time or later.
    pub(super) fn answered(&mut self, asked: Instant) {
        self.confirmed = self.confirmed.max(asked);
    }

    /// A coordinator was found: it gets the time of a session to answer.
    pub(super) fn restart_session(&mut self, now: Instant) {
        self.session_end = now + self.session_timeout;
    }

    /// The application polled.
    pub(super) fn polled(&mut self, now: Instant) {
        self.poll_end = now + self.max_poll_interval;
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.in_flight = true;
        self.beat_sent = now;
        self.next = now + self.interval;
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.in_flight = false;
        self.failures = 0;
        self.session_end = now + self.session_timeout;
        self.confirmed = self.beat_sent;
    }

    /// A heartbeat was answered with news of a rebalance. It has begun since the one before was sent, perhaps long before the
    /// application polled last, and lasts for `max.poll.interval.ms`: whoever has not joined again by then is a member no more.
    pub(super) fn is_rebalancing(&mut self, now: Instant) {
        self.rejoin_end.get_or_insert(self.confirmed + self.max_poll_interval);
        self.succeeded(now);
    }

    /// Tries again after a pause that doubles with every failure.
    pub(super) fn failed(&mut self, now: Instant) {
        self.in_flight = false;
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.next = now + self.retry_backoff.saturating_mul(factor).min(self.retry_backoff_max);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.in_flight && self.next <= now
    }

    pub(super) fn session_expired(&self, now: Instant) -> bool {
        self.session_end <= now
    }

    /// Whether the coordinator has answered within the session, the application has polled often enough, and a rebalance,
    /// if there is one, does not go on without the member yet.
    pub(super) fn is_confirmed(&self, now: Instant) -> bool {
        now < self.confirmed + self.session_timeout
            && now < self.poll_end
            && self.rejoin_end.is_none_or(|end| now < end)
    }

    pub(super) fn poll_expired(&self, now: Instant) -> bool {
        self.poll_end <= now
    }

    pub(super) fn next_deadline(&self) -> Instant {
        let end = self.session_end.min(self.poll_end);
        if self.in_flight { end } else { end.min(self.next) }
    }
}
