//! Who coordinates the group, and when to ask for that.

use std::time::{Duration, Instant};

use crate::ClientError;

/// What is known of the group's coordinator: membership, commits and the look-up of committed offsets share it.
#[derive(Debug)]
pub(crate) struct Coordinator {
    node: Option<i32>,
    is_wanted: bool,
    is_sought: bool,
    retry_at: Option<Instant>,
    failures: u32,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
}

impl Coordinator {
    pub(crate) fn new(retry_backoff: Duration, retry_backoff_max: Duration) -> Self {
        Self {
            node: None,
            is_wanted: false,
            is_sought: false,
            retry_at: None,
            failures: 0,
            retry_backoff,
            retry_backoff_max,
        }
    }

    /// Its node id, if it is known.
    pub(crate) fn node(&self) -> Option<i32> {
        self.node
    }

    /// Its node id; if it is not known, it will be looked for.
    pub(crate) fn want(&mut self) -> Option<i32> {
        self.is_wanted |= self.node.is_none();
        self.node
    }

    /// It does not answer, or says that it is not the coordinator.
    pub(crate) fn lost(&mut self, cause: &str) {
        if let Some(node) = self.node.take() {
            tracing::info!(node, cause, "group coordinator is unavailable or invalid");
        }
    }

    /// Whether to look for it now; then [`on_found`](Self::on_found) tells how that went.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        let starts = self.is_wanted && !self.is_sought && self.retry_at.is_none_or(|at| at <= now);
        self.is_sought |= starts;
        starts
    }

    /// When [`poll`](Self::poll) has something to do without anything happening.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.is_wanted && !self.is_sought)
    }

    pub(crate) fn on_found(&mut self, now: Instant, found: &Result<i32, ClientError>) {
        self.is_sought = false;
        match found {
            Ok(node) => {
                tracing::info!(node, "discovered group coordinator");
                self.node = Some(*node);
                self.is_wanted = false;
                self.retry_at = None;
                self.failures = 0;
            }
            Err(error) => {
                tracing::debug!(%error, "no coordinator yet");
                let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
                let pause = self.retry_backoff.saturating_mul(factor).min(self.retry_backoff_max);
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(now + pause);
                // Who needs it in spite of that says so again.
                self.is_wanted &= error.is_retriable();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vltava_protocol::ErrorCode;

    use super::*;

    #[test]
    fn it_is_looked_for_with_pauses_while_somebody_wants_it() {
        let mut coordinator = Coordinator::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut now = Instant::now();
        assert!(!coordinator.poll(now), "nobody wants it");
        assert_eq!(coordinator.want(), None);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            assert!(coordinator.poll(now) && !coordinator.poll(now), "once at a time");
            coordinator.on_found(now, &Err(ClientError::broker(ErrorCode::CoordinatorNotAvailable)));
            assert!(!coordinator.poll(now));
            let next = coordinator.next_deadline().unwrap();
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1000]);
        assert!(coordinator.poll(now));
        coordinator.on_found(now, &Err(ClientError::broker(ErrorCode::GroupAuthorizationFailed)));
        assert_eq!(coordinator.next_deadline(), None, "an error that stays is not met again for nobody");
        coordinator.want();
        now = coordinator.next_deadline().unwrap();
        assert!(coordinator.poll(now));
        coordinator.on_found(now, &Ok(7));
        assert_eq!((coordinator.want(), coordinator.poll(now)), (Some(7), false));
        coordinator.lost("it does not answer");
        assert!(!coordinator.poll(now), "until it is wanted");
        coordinator.want();
        assert!(coordinator.poll(now), "at once");
    }
}
