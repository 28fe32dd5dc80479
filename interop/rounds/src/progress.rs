//! How far the application is, and whether anything moves.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use vltava::client::{Admin, TopicPartition, admin::OffsetSpec, config::IsolationLevel};

use crate::names::{Input, Names};

/// What the broker knows of the application's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// By partition that the group reads what is committed and its end.
    pub consumed: BTreeMap<TopicPartition, (i64, i64)>,
}

impl Progress {
    /// Asks the broker; `None` if it does not know all of it now.
    pub async fn ask(admin: &Admin, names: &Names) -> Option<Self> {
        let topics = admin.list_topics().await.ok()?;
        let consumed = topics.keys().filter(|topic| names.is_consumed(topic)).cloned();
        let described = admin.describe_topics(consumed.collect::<Vec<_>>()).await;
        let mut partitions = Vec::new();
        for (topic, described) in described {
            let described = described.ok()?;
            let count = i32::try_from(described.partitions.len()).ok()?;
            partitions.extend((0..count).map(|partition| TopicPartition::new(topic.as_str(), partition)));
        }
        let ends = end_offsets(admin, &partitions, IsolationLevel::ReadUncommitted).await?;
        let committed = admin.list_consumer_group_offsets(names.application_id(), None).await.ok()?;
        let with_committed = |(partition, end)| {
            let at = committed.get(&partition).and_then(Option::as_ref).map_or(0, |offset| offset.offset);
            (partition, (at, end))
        };
        Some(Self { consumed: ends.into_iter().map(with_committed).collect() })
    }

    /// Records that are not committed yet.
    pub fn lag(&self) -> i64 {
        self.consumed.values().map(|(committed, end)| (end - committed).max(0)).sum()
    }

    /// Records of the inputs that are not committed yet: behind the last record of an internal topic a transaction's marker
    /// may lie, of which no offset is committed.
    pub fn lag_of_inputs(&self, names: &Names) -> i64 {
        let inputs: Vec<String> = Input::ALL.into_iter().map(|input| names.input(input)).collect();
        let of_inputs =
            self.consumed.iter().filter(|(partition, _)| inputs.iter().any(|input| input == partition.topic()));
        of_inputs.map(|(_, (committed, end))| (end - committed).max(0)).sum()
    }

    /// All that was committed.
    pub fn committed(&self) -> i64 {
        self.consumed.values().map(|(committed, _)| committed).sum()
    }

    /// The partitions that lag, by name, with how far each is.
    pub fn describe(&self) -> String {
        let lagging = self.consumed.iter().filter(|(_, (committed, end))| committed < end);
        let lines = lagging.map(|(partition, (committed, end))| format!("    {partition}: {committed} of {end}\n"));
        lines.collect()
    }
}

/// The ends of these partitions; `None` if one is not known now.
pub async fn end_offsets(
    admin: &Admin,
    partitions: &[TopicPartition],
    isolation: IsolationLevel,
) -> Option<BTreeMap<TopicPartition, i64>> {
    let wanted = partitions.iter().map(|partition| (partition.clone(), OffsetSpec::Latest));
    let ends = admin.list_offsets(wanted, isolation).await;
    ends.into_iter().map(|(partition, end)| Some((partition, end.ok()?.offset))).collect()
}

/// Says when a thing has been the same for too long.
#[derive(Clone, Debug)]
pub struct Watchdog<T> {
    last: Option<T>,
    since: Instant,
    patience: Duration,
}

impl<T: PartialEq> Watchdog<T> {
    /// Begins to watch.
    pub fn new(now: Instant, patience: Duration) -> Self {
        Self { last: None, since: now, patience }
    }

    /// Takes what is now, and says for how long it has been so if that is longer than there is patience.
    pub fn see(&mut self, now: Instant, what: T) -> Option<Duration> {
        if self.last.as_ref() != Some(&what) {
            self.last = Some(what);
            self.since = now;
        }
        let still = now.saturating_duration_since(self.since);
        (still >= self.patience).then_some(still)
    }

    /// Begins anew: what stood still had a reason.
    pub fn excuse(&mut self, now: Instant) {
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_never_told_and_what_stands_is_told_in_time() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut watchdog = Watchdog::new(start, 3 * second);
        for i in 0..10 {
            assert_eq!(watchdog.see(start + i * second, i), None);
        }
        assert_eq!(watchdog.see(start + 11 * second, 9), None);
        assert_eq!(watchdog.see(start + 12 * second, 9), Some(3 * second));
        watchdog.excuse(start + 12 * second);
        assert_eq!(watchdog.see(start + 14 * second, 9), None);
        assert_eq!(watchdog.see(start + 15 * second, 9), Some(3 * second));
    }

    #[test]
    fn lag_is_what_is_not_committed() {
        let partition = |p| TopicPartition::new("t", p);
        let consumed = [(partition(0), (3, 5)), (partition(1), (7, 7)), (partition(2), (0, 1))].into();
        let progress = Progress { consumed };
        assert_eq!((progress.lag(), progress.committed()), (3, 10));
        assert_eq!(progress.lag_of_inputs(&Names::new("app")), 0, "t is no input");
        assert_eq!(progress.describe(), "    t-0: 3 of 5\n    t-2: 0 of 1\n");
    }
}
