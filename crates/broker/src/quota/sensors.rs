//! The uses of now, of those who have a limit.
//!
//! Who uses nothing is forgotten as soon as what is known of it says no more than what is known of a stranger: memory goes
//! with those who use something within `quota.window.num` windows. Kafka keeps them for an hour.

use std::collections::HashMap;

use super::limits::Limit;
use super::{Measure, Windows};

/// The measures, by user and client id.
#[derive(Debug)]
pub(super) struct Sensors<M> {
    windows: Windows,
    by_user: HashMap<Box<str>, HashMap<Box<str>, Sensor<M>>>,
    /// When it is looked next for those that may be forgotten.
    sweep_ms: i64,
}

#[derive(Debug)]
struct Sensor<M> {
    measure: M,
    /// As of its last use.
    limit: f64,
}

/// How a use is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Always,
    /// Unless too much was used before.
    IfNotExceeded,
}

impl<M: Measure> Sensors<M> {
    pub(super) fn new(windows: Windows) -> Self {
        Self { windows, by_user: HashMap::new(), sweep_ms: i64::MIN }
    }

    /// Counts a use, and gives the time to wait: after it, or where it is not counted, before it.
    pub(super) fn record(&mut self, limit: Limit<'_>, value: f64, counted: Counted, now_ms: i64) -> i64 {
        self.sweep(now_ms);
        let windows = self.windows;
        let per_second = limit.per_second;
        let Sensor { measure, limit } = self.sensor(limit);
        *limit = per_second;
        if counted == Counted::IfNotExceeded {
            let throttle_ms = measure.throttle_ms(windows, per_second, now_ms);
            if throttle_ms == 0 {
                measure.record(windows, per_second, value, now_ms);
            }
            return throttle_ms;
        }
        measure.record(windows, per_second, value, now_ms);
        measure.throttle_ms(windows, per_second, now_ms)
    }

    fn sensor(&mut self, limit: Limit<'_>) -> &mut Sensor<M> {
        let clients = self.by_user.entry(limit.user.into()).or_default();
        clients
            .entry(limit.client_id.into())
            .or_insert_with(|| Sensor { measure: M::default(), limit: limit.per_second })
    }

    fn sweep(&mut self, now_ms: i64) {
        if now_ms < self.sweep_ms {
            return;
        }
        let windows = self.windows;
        self.sweep_ms = now_ms.saturating_add(windows.span_ms());
        self.by_user.retain(|_, clients| {
            clients.retain(|_, sensor| !sensor.measure.is_as_new(windows, sensor.limit, now_ms));
            !clients.is_empty()
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_user.values().map(HashMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rate::Rate;
    use super::super::token_bucket::TokenBucket;
    use super::*;

    const WINDOWS: Windows = Windows { samples: 11, size_ms: 1000 };

    fn of<'a>(user: &'a str, client_id: &'a str) -> Limit<'a> {
        Limit { per_second: 100.0, user, client_id }
    }

    #[test]
    fn each_has_its_own_use_and_a_new_limit_holds_at_once() {
        let mut sensors = Sensors::<Rate>::new(WINDOWS);
        assert_eq!(sensors.record(of("u", "c"), 1100.0, Counted::Always, 0), 1000);
        assert_eq!(sensors.record(of("u", ""), 1000.0, Counted::Always, 0), 0);
        assert_eq!(sensors.record(of("", "c"), 1000.0, Counted::Always, 0), 0);
        let raised = Limit { per_second: 110.0, ..of("u", "c") };
        assert_eq!(sensors.record(raised, 0.0, Counted::Always, 0), 0);
        assert_eq!(sensors.len(), 3);
    }

    #[test]
    fn who_uses_nothing_is_forgotten() {
        let mut sensors = Sensors::<Rate>::new(WINDOWS);
        for number in 0..1000 {
            sensors.record(of("", &number.to_string()), 1.0, Counted::Always, 0);
        }
        assert_eq!(sensors.record(of("", "busy"), 5000.0, Counted::Always, 5000), 40_000);
        sensors.record(of("", "new"), 1.0, Counted::Always, 11_000);
        assert_eq!(sensors.len(), 2, "one is not over its use yet, the other has come just now");
        assert!(sensors.record(of("", "busy"), 0.0, Counted::Always, 11_000) > 0);
    }

    #[test]
    fn what_comes_while_too_much_was_used_is_not_counted_where_it_is_refused() {
        let mut sensors = Sensors::<TokenBucket>::new(WINDOWS);
        let one = Limit { per_second: 1.0, ..of("u", "") };
        assert_eq!(sensors.record(one, 13.0, Counted::IfNotExceeded, 0), 0);
        assert_eq!(sensors.record(one, 50.0, Counted::IfNotExceeded, 0), 2000);
        assert_eq!(sensors.record(one, 1.0, Counted::Always, 0), 3000);
        assert_eq!(sensors.record(one, 1.0, Counted::IfNotExceeded, 3000), 0);
    }
}
