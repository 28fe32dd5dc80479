//! Connections that end because there are more than `max.connections`: as in Kafka those that were used longest ago, on other
//! listeners than the one that brokers use among themselves, whose connections come beyond that limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// The order in which connections were used. Nobody counts where there is no limit.
#[derive(Debug, Default)]
pub(super) struct Uses {
    is_counted: AtomicBool,
    count: AtomicU64,
}

impl Uses {
    pub(super) fn set_counted(&self, is_counted: bool) {
        self.is_counted.store(is_counted, Ordering::Relaxed);
    }
}

/// A connection's own part of it.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    uses: Arc<Uses>,
    last: AtomicU64,
    excess: Notify,
}

impl Activity {
    pub(super) fn new(uses: &Arc<Uses>) -> Arc<Self> {
        let activity = Self { uses: Arc::clone(uses), ..Self::default() };
        activity.touch();
        Arc::new(activity)
    }

    /// The connection is used.
    pub(crate) fn touch(&self) {
        if self.uses.is_counted.load(Ordering::Relaxed) {
            self.last.store(self.uses.count.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Until the connection is one too many.
    pub(super) async fn excess(&self) {
        self.excess.notified().await;
    }
}

/// The connections that may be ended.
#[derive(Debug, Default)]
pub(super) struct Closable {
    next: u64,
    open: HashMap<u64, Arc<Activity>>,
}

impl Closable {
    pub(super) fn add(&mut self, activity: &Arc<Activity>) -> u64 {
        self.next += 1;
        self.open.insert(self.next, Arc::clone(activity));
        self.next
    }

    /// Whether it was still there.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        self.open.remove(&number).is_some()
    }

    /// Ends so many of those that were used longest ago; how many those are.
    pub(super) fn close(&mut self, excess: usize) -> usize {
        let mut by_use: Vec<(u64, u64)> =
            self.open.iter().map(|(number, activity)| (activity.last.load(Ordering::Relaxed), *number)).collect();
        by_use.sort_unstable();
        by_use.truncate(excess);
        let closed = by_use.iter().filter_map(|(_, number)| self.open.remove(number));
        closed.inspect(|activity| activity.excess.notify_one()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_used_longest_ago_end_first() {
        let uses = Arc::new(Uses::default());
        uses.set_counted(true);
        let mut closable = Closable::default();
        let all: Vec<Arc<Activity>> = (0..4).map(|_| Activity::new(&uses)).collect();
        let numbers: Vec<u64> = all.iter().map(|activity| closable.add(activity)).collect();
        all[0].touch();
        closable.remove(numbers[1]);
        assert_eq!(closable.close(2), 2);
        all[2].excess().await;
        all[3].excess().await;
        assert_eq!(closable.close(5), 1);
        all[0].excess().await;
        assert_eq!(closable.close(5), 0);
    }
}
