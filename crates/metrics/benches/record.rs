//! What recording costs, and reading it.

use divan::{Bencher, black_box};
use vltava_metrics::definition::{SensorDefinition, Statistic, avg, count, max, rate, rate_of_events, total, value};
use vltava_metrics::{MetricConfig, RecordingLevel, Registry, Stats, Tags};

const GROUP: &str = "bench-metrics";

/// As the size of requests.
static FOUR: SensorDefinition = SensorDefinition::new("bytes", &STATISTICS);
static DEBUG: SensorDefinition = SensorDefinition::new("bytes", &STATISTICS).level(RecordingLevel::Debug);
static STATISTICS: [Statistic; 4] =
    [rate_of_events("rate", ""), count("total", ""), avg("size-avg", ""), max("size-max", "")];
static METER: SensorDefinition = SensorDefinition::new("bytes", &[rate("rate", ""), total("total", "")]);
static LAG: SensorDefinition =
    SensorDefinition::new("records", &[value("lag", ""), max("lag-max", ""), avg("lag-avg", "")]);

fn main() {
    divan::main();
}

fn registry() -> Registry {
    Registry::new("kafka.bench", MetricConfig::default(), Tags::new([("client-id", "bench")]))
}

/// Values a millisecond apart, so that windows end now and then.
fn times() -> impl FnMut() -> i64 {
    let mut now = 0;
    move || {
        now += 1;
        now
    }
}

#[divan::bench]
fn a_sensor_of_four_statistics(bencher: Bencher) {
    let sensor = registry().sensor(GROUP, &FOUR, &Tags::default());
    let mut now = times();
    bencher.bench_local(|| sensor.record(black_box(1000.0), now()));
}

#[divan::bench]
fn a_meter(bencher: Bencher) {
    let sensor = registry().sensor(GROUP, &METER, &Tags::default());
    let mut now = times();
    bencher.bench_local(|| sensor.record(black_box(1000.0), now()));
}

#[divan::bench]
fn a_meter_in_fields_of_a_thread(bencher: Bencher) {
    let (config, mut stats, mut now) = (MetricConfig::default(), Stats::new(&METER), times());
    bencher.bench_local(|| stats.record(&config, black_box(1000.0), now()));
}

#[divan::bench]
fn what_is_not_recorded(bencher: Bencher) {
    let sensor = registry().sensor(GROUP, &DEBUG, &Tags::default());
    let mut now = times();
    bencher.bench_local(|| sensor.record(black_box(1000.0), now()));
}

#[divan::bench]
fn a_snapshot_of_four_thousand_partitions(bencher: Bencher) {
    let registry = registry();
    let sensors: Vec<_> = (0..4000)
        .map(|partition: i32| registry.sensor(GROUP, &LAG, &Tags::new([("partition", partition.to_string())])))
        .collect();
    sensors.iter().for_each(|sensor| sensor.record(1.0, 0));
    bencher.bench_local(|| registry.snapshot(1));
}
