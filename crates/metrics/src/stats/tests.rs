//! Kafka's own classes were given the same values at the same times: `interop/metrics/StatValues.java` made the table.

use super::Stats;
use crate::config::{MetricConfig, RecordingLevel};
use crate::definition::{
    Bins, Kind, SensorDefinition, Statistic, avg, count, max, min, rate, rate_of_events, rate_of_events_per_hour,
    ratio, total, value,
};
use crate::tally::Tally;

const fn of(name: &'static str, kind: Kind) -> Statistic {
    Statistic { name, description: "", kind }
}

static CONSTANT: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("avg", ""),
        max("max", ""),
        min("min", ""),
        rate("rate", ""),
        rate_of_events("rate-of-events", ""),
        rate_of_events_per_hour("rate-per-hour", ""),
        ratio("ratio", ""),
        total("sum", ""),
        count("count", ""),
        value("value", ""),
        of("windowed-sum", Kind::WindowedSum),
        of("windowed-count", Kind::WindowedCount),
        of("constant-0", Kind::Percentile(0.0)),
        of("constant-50", Kind::Percentile(50.0)),
        of("constant-99", Kind::Percentile(99.0)),
    ],
)
.bins(Bins::Constant { count: 100, min: 0.0, max: 100.0 });

static LINEAR: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        of("linear-0", Kind::Percentile(0.0)),
        of("linear-50", Kind::Percentile(50.0)),
        of("linear-99", Kind::Percentile(99.0)),
    ],
)
.bins(Bins::Linear { count: 100, max: 100.0 });

#[test]
fn values_are_those_of_kafkas_classes() {
    let mut lines = include_str!("kafka.txt").lines().filter(|line| !line.starts_with('#'));
    let columns: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let mut run = ("", "", "");
    let mut config = MetricConfig::default();
    let mut sensors = [Stats::new(&CONSTANT), Stats::new(&LINEAR)];
    let mut compared = 0;
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        if run != (fields[0], fields[1], fields[2]) {
            run = (fields[0], fields[1], fields[2]);
            config = MetricConfig::new(fields[1].parse().unwrap(), fields[2].parse().unwrap(), RecordingLevel::Info);
            sensors = [Stats::new(&CONSTANT), Stats::new(&LINEAR)];
        }
        let (now, recorded): (i64, f64) = (fields[3].parse().unwrap(), fields[4].parse().unwrap());
        for sensor in &mut sensors {
            if !recorded.is_nan() {
                sensor.record(&config, recorded, now);
            }
            sensor.measure(&config, now, |statistic, value| {
                let column = columns.iter().position(|column| *column == statistic.name).unwrap();
                let expected: f64 = fields[column].parse().unwrap();
                let is_equal = value == expected || (value.is_nan() && expected.is_nan());
                assert!(is_equal, "{}: {value} and not {expected}, of {line}", statistic.name);
                compared += 1;
            });
        }
    }
    assert_eq!(compared, 30 * 4 * 18);
}

#[test]
fn values_put_together_are_recorded_as_each_of_them() {
    let config = MetricConfig::default();
    let values = [3.0, -1.5, 8.0, 8.0];
    let (mut each, mut all, mut tally) = (Stats::new(&CONSTANT), Stats::new(&CONSTANT), Tally::default());
    let (mut of_each, mut of_all) = (Vec::new(), Vec::new());
    for value in values {
        each.record(&config, value, 500);
        tally.add(value);
    }
    all.record_all(&config, &tally.take(), 500);
    assert!(tally.is_empty());
    let is_exact = |kind| !matches!(kind, Kind::Percentile(_));
    each.measure(&config, 700, |statistic, value| of_each.extend(is_exact(statistic.kind).then_some(value)));
    all.measure(&config, 700, |statistic, value| of_all.extend(is_exact(statistic.kind).then_some(value)));
    assert_eq!(of_each, of_all);
}
