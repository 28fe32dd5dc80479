//! What was read and how fast, in the lines of Kafka's tool.

use std::collections::BTreeSet;
use std::ops::Range;

use vltava_client::TopicPartition;

use crate::java::date_format::DateFormat;
use crate::java::fixed4;

/// What the columns are.
pub(super) fn header(detailed: bool) -> String {
    let first = if detailed { "time, threadId" } else { "start.time, end.time" };
    format!(
        "{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, \
         fetch.MB.sec, fetch.nMsg.sec"
    )
}

/// How much was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) records: i64,
    bytes: i64,
}

impl Read {
    pub(super) fn add(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let length = |bytes: Option<&[u8]>| i64::try_from(bytes.map_or(0, <[u8]>::len)).unwrap_or(i64::MAX);
        self.records += 1;
        self.bytes += length(key) + length(value);
    }

    fn megabytes(&self) -> f64 {
        self.bytes as f64 / (1024.0 * 1024.0)
    }

    fn since(&self, earlier: &Self) -> Self {
        Self { records: self.records - earlier.records, bytes: self.bytes - earlier.bytes }
    }
}

/// How the lines look.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) format: DateFormat,
    pub(super) interval_ms: i64,
}

impl Report {
    /// The line of an interval, in which joining the group took `joining_ms`.
    pub(super) fn progress(&self, read: &Read, reported: &Read, time: Range<i64>, joining_ms: i64) -> String {
        let interval = read.since(reported);
        let elapsed = time.end - time.start;
        let fetching = elapsed - joining_ms;
        let rate = |amount: f64, ms: i64| 1000.0 * amount / ms as f64;
        let fetched = |amount: f64| if fetching <= 0 { 0.0 } else { rate(amount, fetching) };
        let records = interval.records as f64;
        format!(
            "{}, 0, {}, {}, {}, {}, {joining_ms}, {fetching}, {}, {}",
            self.format.format(time.end),
            fixed4(read.megabytes()),
            fixed4(rate(interval.megabytes(), elapsed)),
            read.records,
            fixed4(records / elapsed as f64 * 1000.0),
            fixed4(fetched(interval.megabytes())),
            fixed4(fetched(records))
        )
    }

    /// The line at the end.
    pub(super) fn total(&self, read: &Read, time: Range<i64>, joining_ms: i64) -> String {
        let elapsed_ms = time.end - time.start;
        let fetching_ms = elapsed_ms - joining_ms;
        let (elapsed, fetching) = (elapsed_ms as f64 / 1000.0, fetching_ms as f64 / 1000.0);
        let (megabytes, records) = (read.megabytes(), read.records as f64);
        format!(
            "{}, {}, {}, {}, {}, {}, {joining_ms}, {fetching_ms}, {}, {}",
            self.format.format(time.start),
            self.format.format(time.end),
            fixed4(megabytes),
            fixed4(megabytes / elapsed),
            read.records,
            fixed4(records / elapsed),
            fixed4(megabytes / fetching),
            fixed4(records / fetching)
        )
    }
}

/// How long the consumer was without partitions.
#[derive(Debug)]
pub(super) struct JoinTimes {
    assigned: BTreeSet<TopicPartition>,
    since_ms: i64,
    total_ms: i64,
    round_ms: i64,
}

impl JoinTimes {
    pub(super) fn new(now_ms: i64) -> Self {
        Self { assigned: BTreeSet::new(), since_ms: now_ms, total_ms: 0, round_ms: 0 }
    }

    pub(super) fn revoked(&mut self, partitions: &[TopicPartition], now_ms: i64) {
        self.assigned.retain(|partition| !partitions.contains(partition));
        if self.assigned.is_empty() {
            self.since_ms = now_ms;
        }
    }

    pub(super) fn assigned(&mut self, partitions: &[TopicPartition], now_ms: i64) {
        if self.assigned.is_empty() {
            self.total_ms += now_ms - self.since_ms;
            self.round_ms += now_ms - self.since_ms;
        }
        self.assigned.extend(partitions.iter().cloned());
    }

    /// All of it, in ms.
    pub(super) fn total_ms(&self) -> i64 {
        self.total_ms
    }

    /// What there was of it since the last call, in ms.
    pub(super) fn end_round(&mut self) -> i64 {
        std::mem::take(&mut self.round_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::java::time_zone::TimeZone;

    fn report() -> Report {
        let format = DateFormat::new("HH:mm:ss:SSS", TimeZone::default()).unwrap();
        Report { format, interval_ms: 5000 }
    }

    fn read(records: i64, mebibytes: i64) -> Read {
        Read { records, bytes: mebibytes << 20 }
    }

    #[test]
    fn lines_are_those_of_kafkas_tool() {
        let report = report();
        for (read, time, joining, expected) in [
            (
                read(4000, 8),
                0..4000,
                2000,
                "00:00:00:000, 00:00:04:000, 8.0000, 2.0000, 4000, 1000.0000, 2000, 2000, 4.0000, 2000.0000",
            ),
            // Nothing, in no time.
            (Read::default(), 7..7, 0, "00:00:00:007, 00:00:00:007, 0.0000, NaN, 0, NaN, 0, 0, NaN, NaN"),
            (
                read(1, 1),
                7..7,
                0,
                "00:00:00:007, 00:00:00:007, 1.0000, Infinity, 1, Infinity, 0, 0, Infinity, Infinity",
            ),
        ] {
            assert_eq!(report.total(&read, time, joining), expected);
        }
        for (joining, expected) in [
            (1000, "00:00:03:000, 0, 8.0000, 2.0000, 4000, 1500.0000, 1000, 1000, 4.0000, 3000.0000"),
            // No time but for joining.
            (2000, "00:00:03:000, 0, 8.0000, 2.0000, 4000, 1500.0000, 2000, 0, 0.0000, 0.0000"),
        ] {
            assert_eq!(report.progress(&read(4000, 8), &read(1000, 4), 1000..3000, joining), expected);
        }
    }

    #[test]
    fn keys_and_values_are_counted_in_bytes() {
        let mut read = Read::default();
        for (key, value) in [(None, None), (Some(&b"ab"[..]), Some(&b"cde"[..])), (None, Some(b"f"))] {
            read.add(key, value);
        }
        assert_eq!(read, Read { records: 3, bytes: 6 });
    }

    #[test]
    fn joining_lasts_while_there_are_no_partitions() {
        let [a, b] = [0, 1].map(|index| TopicPartition::new("t", index));
        let mut times = JoinTimes::new(100);
        times.assigned(std::slice::from_ref(&a), 130);
        // There are some already.
        times.assigned(std::slice::from_ref(&b), 150);
        assert_eq!((times.total_ms(), times.end_round(), times.end_round()), (30, 30, 0));
        times.revoked(std::slice::from_ref(&a), 200);
        times.revoked(&[b], 210);
        times.assigned(&[a], 250);
        assert_eq!((times.total_ms(), times.end_round()), (70, 40));
    }
}
