//! Rates and latencies of what was acknowledged, in the lines of Kafka's tool.

/// What is known of the records of a run, or of its steady state.
#[derive(Debug)]
pub(super) struct Stats {
    start_ms: i64,
    /// Every so many records one latency is kept.
    sampling: u64,
    latencies: Vec<u32>,
    count: u64,
    bytes: u64,
    max_latency: u32,
    total_latency: u64,
    window: Window,
    reporting_interval_ms: i64,
    is_steady_state: bool,
    suppress_windows: bool,
}

/// The records since the last line was printed.
#[derive(Debug)]
struct Window {
    start_ms: i64,
    count: u64,
    bytes: u64,
    max_latency: u32,
    total_latency: u64,
}

impl Window {
    fn new(start_ms: i64) -> Self {
        Self { start_ms, count: 0, bytes: 0, max_latency: 0, total_latency: 0 }
    }
}

impl Stats {
    /// Latencies kept at most, about.
    const SAMPLES: u64 = 500_000;

    pub(super) fn new(records: u64, reporting_interval_ms: i64, is_steady_state: bool, now_ms: i64) -> Self {
        Self {
            start_ms: now_ms,
            sampling: records / records.clamp(1, Self::SAMPLES),
            latencies: Vec::new(),
            count: 0,
            bytes: 0,
            max_latency: 0,
            total_latency: 0,
            window: Window::new(now_ms),
            reporting_interval_ms,
            is_steady_state,
            suppress_windows: false,
        }
    }

    /// No more lines for windows.
    pub(super) fn suppress_windows(&mut self) {
        self.suppress_windows = true;
    }

    /// Takes one acknowledged record; the lines are those that are due.
    pub(super) fn record(&mut self, latency_ms: u32, bytes: usize, now_ms: i64, lines: &mut Vec<String>) {
        if self.count.is_multiple_of(self.sampling.max(1)) {
            self.latencies.push(latency_ms);
        }
        self.count += 1;
        self.bytes += bytes as u64;
        self.total_latency += u64::from(latency_ms);
        self.max_latency = self.max_latency.max(latency_ms);
        let window = &mut self.window;
        window.count += 1;
        window.bytes += bytes as u64;
        window.total_latency += u64::from(latency_ms);
        window.max_latency = window.max_latency.max(latency_ms);
        if now_ms - window.start_ms >= self.reporting_interval_ms {
            if self.is_steady_state && self.count == window.count {
                lines.push("In steady state.".to_owned());
            }
            if !self.suppress_windows {
                lines.push(self.window_line(now_ms));
            }
            self.window = Window::new(now_ms);
        }
    }

    fn window_line(&self, now_ms: i64) -> String {
        let window = &self.window;
        let (records, megabytes) = rates(window.count, window.bytes, now_ms - window.start_ms);
        format!(
            "{} records sent, {records:.1} records/sec ({megabytes:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
            window.count,
            window.total_latency as f64 / window.count as f64,
            f64::from(window.max_latency)
        )
    }

    /// The line at the end.
    pub(super) fn total(&mut self, now_ms: i64) -> String {
        let (records, megabytes) = rates(self.count, self.bytes, now_ms - self.start_ms);
        self.latencies.sort_unstable();
        let [p50, p95, p99, p999] = [0.5, 0.95, 0.99, 0.999].map(|part| {
            let index = (part * self.latencies.len() as f64) as usize;
            self.latencies.get(index).copied().unwrap_or(0)
        });
        let steady = if self.is_steady_state { " steady state" } else { "" };
        format!(
            "{}{steady} records sent, {records:.6} records/sec ({megabytes:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max \
             latency, {p50} ms 50th, {p95} ms 95th, {p99} ms 99th, {p999} ms 99.9th.",
            self.count,
            self.total_latency as f64 / self.count as f64,
            f64::from(self.max_latency)
        )
    }
}

/// Records and MiB a second.
fn rates(count: u64, bytes: u64, elapsed_ms: i64) -> (f64, f64) {
    let elapsed = elapsed_ms as f64;
    (1000.0 * count as f64 / elapsed, 1000.0 * bytes as f64 / elapsed / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_kafkas_tool() {
        let mut lines = Vec::new();
        let mut stats = Stats::new(4, 1000, false, 0);
        for (latency, now) in [(10, 100), (30, 1000), (20, 1500), (5, 2000)] {
            stats.record(latency, 512 * 1024, now, &mut lines);
        }
        let window = |latencies| format!("2 records sent, 2.0 records/sec (1.00 MB/sec), {latencies}");
        let expected =
            [window("20.0 ms avg latency, 30.0 ms max latency."), window("12.5 ms avg latency, 20.0 ms max latency.")];
        assert_eq!(lines, expected);
        let total = "4 records sent, 2.000000 records/sec (1.00 MB/sec), 16.25 ms avg latency, 30.00 ms max latency, \
            20 ms 50th, 30 ms 95th, 30 ms 99th, 30 ms 99.9th.";
        assert_eq!(stats.total(2000), total);
    }

    #[test]
    fn the_steady_state_is_told_once() {
        let mut lines = Vec::new();
        let mut stats = Stats::new(3, 10, true, 0);
        for now in [10, 20, 30] {
            stats.record(1, 1, now, &mut lines);
        }
        assert_eq!(lines.iter().filter(|line| *line == "In steady state.").count(), 1);
        assert!(stats.total(30).starts_with("3 steady state records sent, 100.000000 records/sec"));
    }

    #[test]
    fn a_long_run_keeps_some_latencies() {
        let mut stats = Stats::new(2_000_000, 1_000_000, false, 0);
        for _ in 0..40 {
            stats.record(1, 1, 1, &mut Vec::new());
        }
        assert_eq!(stats.latencies.len(), 10);
    }
}
