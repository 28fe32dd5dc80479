//! Settings that change while the broker runs and are looked at too often to be read from text each time.

use super::BrokerConfig;
use super::resolve::Sources;

/// Has what the sources say be in force from now on: at the start, and after each change.
pub(crate) fn follow(config: &BrokerConfig, sources: &Sources<'_>) {
    let logs = &config.upkeep.dynamic;
    if let Some(ms) = sources.value("producer.id.expiration.ms") {
        logs.set_producer_id_expiration_ms(ms);
    }
    if let Some(verifies) = sources.value("transaction.partition.verification.enable") {
        logs.set_verifies_transactions(verifies);
    }
    if let Some(threads) = sources.value("num.recovery.threads.per.data.dir") {
        logs.set_recovery_threads(threads);
    }
    let groups = &config.groups.dynamic;
    groups.set_assignment_intervals(assignment_interval(sources, "consumer"), assignment_interval(sources, "streams"));
}

/// As in Kafka, one that was stored under other bounds is brought within those that hold now.
fn assignment_interval(sources: &Sources<'_>, kind: &str) -> Option<i32> {
    let value = |name: &str| sources.value::<i32>(&format!("group.{kind}.{name}"));
    let interval = value("assignment.interval.ms")?;
    let interval = value("max.assignment.interval.ms").map_or(interval, |most| interval.min(most));
    Some(value("min.assignment.interval.ms").map_or(interval, |least| interval.max(least)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::Settings;

    #[test]
    fn a_change_is_in_force_and_its_end_brings_back_what_the_file_says() {
        let given = [
            ("producer.id.expiration.ms", "70000"),
            ("transaction.partition.verification.enable", "false"),
            ("num.recovery.threads.per.data.dir", "4"),
            ("group.streams.max.assignment.interval.ms", "9000"),
        ];
        let config = BrokerConfig::from_properties(given).unwrap();
        let in_force = || {
            let logs = &config.upkeep.dynamic;
            let (consumer, streams) = (config.groups.consumer_of("g"), config.groups.streams_of("g"));
            (
                (logs.producer_id_expiration_ms(), logs.verifies_transactions(), logs.recovery_threads()),
                (consumer.assignment_interval_ms, streams.assignment_interval_ms),
            )
        };
        let changed: Settings = [
            ("producer.id.expiration.ms", "5"),
            ("transaction.partition.verification.enable", "true"),
            ("num.recovery.threads.per.data.dir", "8"),
            ("group.consumer.assignment.interval.ms", "7"),
            // Stored when the bound was another one.
            ("group.streams.assignment.interval.ms", "9001"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let file = Sources::static_only(&config);
        follow(&config, &file);
        assert_eq!(in_force(), ((70_000, false, 4), (1000, 1000)));
        follow(&config, &Sources { dynamic_default: Some(&changed), ..file });
        assert_eq!(in_force(), ((5, true, 8), (7, 9000)));
        follow(&config, &file);
        assert_eq!(in_force(), ((70_000, false, 4), (1000, 1000)));
    }
}
