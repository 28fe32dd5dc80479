//! The settings of groups and of subscriptions to clients' metrics (KIP-848, KIP-714), and what they have to agree with.

use vltava_config::{Definition, Kind, Range, Tables, Update, find};
use vltava_protocol::ErrorCode;

use super::keys::{NO_METRICS_PUSH, SHARE};
use super::resolve::{Settings, Sources};
use crate::request::ApiError;

const fn int(key: &'static str, default: &'static str, low: i64, doc: &'static str) -> Definition {
    Definition::new(key, Kind::Int, Some(default), Range::AtLeast(low), doc).update(Update::ClusterWide)
}

const fn of_share(key: &'static str, kind: Kind, default: &'static str, range: Range, doc: &'static str) -> Definition {
    Definition::new(key, kind, Some(default), range, doc).update(Update::ClusterWide).warned(SHARE)
}

/// The settings that a group can have for itself.
pub(crate) static GROUP_SETTINGS: Tables = &[GROUP];

#[rustfmt::skip]
static GROUP: &[Definition] = &[
    int("consumer.assignment.interval.ms", "1000", 0, "The least time between two target assignments, in ms."),
    int("consumer.heartbeat.interval.ms", "5000", 1, "Time between heartbeats that members are told to keep, in ms."),
    int("consumer.session.timeout.ms", "45000", 1, "A member that is not heard of for this long is removed, in ms."),
    int("share.assignment.interval.ms", "1000", 0, "The least time between two target assignments of a share group, in ms.").warned(SHARE),
    of_share("share.auto.offset.reset", Kind::String, "latest", Range::Checked("latest, earliest or by_duration: with an ISO 8601 duration", is_offset_reset), "Where a share group begins to read."),
    int("share.delivery.count.limit", "5", 2, "How often a record is delivered at most.").warned(SHARE),
    int("share.heartbeat.interval.ms", "5000", 1, "Time between heartbeats of members of a share group, in ms.").warned(SHARE),
    of_share("share.isolation.level", Kind::String, "read_uncommitted", Range::OneOf(&["read_committed", "read_uncommitted"]), "Whether records of open and aborted transactions are delivered."),
    int("share.partition.max.record.locks", "2000", 100, "The most records of a partition that a share group has acquired.").warned(SHARE),
    int("share.record.lock.duration.ms", "30000", 1000, "How long a share consumer holds a record, in ms.").warned(SHARE),
    of_share("share.renew.acknowledge.enable", Kind::Boolean, "true", Range::Any, "Whether share consumers may hold a record longer."),
    int("share.session.timeout.ms", "45000", 1, "A member of a share group that is not heard of for this long is removed, in ms.").warned(SHARE),
    int("streams.assignment.interval.ms", "1000", 0, "The least time between two target assignments of a streams group, in ms."),
    int("streams.heartbeat.interval.ms", "5000", 1, "Time between heartbeats of members of a streams group, in ms."),
    int("streams.initial.rebalance.delay.ms", "3000", 0, "How long an empty streams group waits for more members, in ms."),
    int("streams.num.standby.replicas", "0", 0, "Standby replicas of each task of a streams group."),
    int("streams.session.timeout.ms", "45000", 1, "A member of a streams group that is not heard of for this long is removed, in ms."),
];

/// The settings of a subscription to clients' metrics.
pub(crate) static CLIENT_METRICS_SETTINGS: Tables = &[CLIENT_METRICS];

#[rustfmt::skip]
static CLIENT_METRICS: &[Definition] = &[
    Definition::new("interval.ms", Kind::Int, Some("300000"), Range::Any, "Time between two pushes of metrics, in ms.").update(Update::ClusterWide).warned(NO_METRICS_PUSH),
    Definition::new("match", Kind::List, Some(""), Range::Any, "Which clients push metrics, as name=pattern.").update(Update::ClusterWide).warned(NO_METRICS_PUSH),
    Definition::new("metrics", Kind::List, Some(""), Range::Any, "Prefixes of the names of metrics that are pushed.").update(Update::ClusterWide).warned(NO_METRICS_PUSH),
];

fn is_offset_reset(value: &str) -> bool {
    matches!(value, "latest" | "earliest")
        || value.strip_prefix("by_duration:").is_some_and(|time| time.starts_with('P'))
}

/// The key of the broker that gives a group's setting its default.
pub(crate) fn group_synonym(key: &str) -> Option<&'static str> {
    super::broker_key(&format!("group.{key}")).map(|definition| definition.key)
}

fn invalid(text: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidConfig, text)
}

/// Checks a group's new settings: names, values, the broker's bounds, and those that must agree with each other.
pub(crate) fn validate_group(sources: &Sources<'_>, settings: &Settings) -> Result<(), ApiError> {
    if let Some(unknown) = settings.keys().find(|key| find(GROUP_SETTINGS, key).is_none()) {
        return Err(invalid(format!("Unknown group config name: {unknown}")));
    }
    for (key, value) in settings {
        if let Some(definition) = find(GROUP_SETTINGS, key) {
            definition.parse(value).map_err(|error| invalid(error.kafka_message()))?;
        }
    }
    let of_broker = |key: &str| sources.broker(key).and_then(|value| value.parse::<i64>().ok());
    let effective = |key: &str| match settings.get(key) {
        Some(value) => value.parse::<i64>().ok(),
        None => of_broker(&format!("group.{key}")),
    };
    for definition in GROUP {
        // A group's interval that follows the broker's is not held against the bounds.
        if definition.key.ends_with("assignment.interval.ms") && !settings.contains_key(definition.key) {
            continue;
        }
        let (Some(value), Some((of, rest))) = (effective(definition.key), definition.key.split_once('.')) else {
            continue;
        };
        let rest = rest.strip_prefix("num.").unwrap_or(rest);
        let (least, most) = (format!("group.{of}.min.{rest}"), format!("group.{of}.max.{rest}"));
        if of_broker(&least).is_some_and(|least| value < least) {
            return Err(invalid(format!("{} must be greater than or equal to {least}", definition.key)));
        }
        if of_broker(&most).is_some_and(|most| value > most) {
            return Err(invalid(format!("{} must be less than or equal to {most}", definition.key)));
        }
    }
    for of in ["consumer", "share", "streams"] {
        let (session, heartbeat) = (format!("{of}.session.timeout.ms"), format!("{of}.heartbeat.interval.ms"));
        if effective(&session) <= effective(&heartbeat) {
            return Err(invalid(format!("{session} must be greater than {heartbeat}")));
        }
    }
    Ok(())
}

/// Checks a subscription to clients' metrics.
pub(crate) fn validate_client_metrics(name: &str, settings: &Settings) -> Result<(), ApiError> {
    const PARAMETERS: [&str; 6] = [
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    if name.is_empty() {
        return refuse("Subscription name can't be empty".to_owned());
    }
    for (key, value) in settings {
        let Some(definition) = find(CLIENT_METRICS_SETTINGS, key) else {
            return refuse(format!("Unknown client metrics configuration: {key}"));
        };
        let value = definition.parse(value).map_err(|error| invalid(error.kafka_message()))?;
        let is_interval = value.parse::<i64>().is_ok_and(|ms| (100..=3_600_000).contains(&ms));
        if definition.key == "interval.ms" && !is_interval {
            return refuse(format!(
                "Invalid value {value} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
            ));
        }
        if definition.key != "match" {
            continue;
        }
        for pattern in vltava_config::split_list(&value) {
            let parts: Vec<&str> = pattern.split('=').map(str::trim).collect();
            let is_fine = match parts.as_slice() {
                [parameter, expression] => PARAMETERS.contains(parameter) && regex_lite::Regex::new(expression).is_ok(),
                _ => false,
            };
            if !is_fine {
                return Err(invalid(format!("Illegal client matching pattern: {pattern}")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn text(result: Result<(), ApiError>) -> Result<(), String> {
        result.map_err(|error| error.text().unwrap_or_default())
    }

    #[test]
    fn a_groups_settings_lie_within_the_brokers_bounds_and_agree() {
        let config = BrokerConfig::from_properties([("group.consumer.max.session.timeout.ms", "50000")]).unwrap();
        let sources = Sources::static_only(&config);
        let check = |pairs: &[(&str, &str)]| text(validate_group(&sources, &settings(pairs)));
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("consumer.session.timeout.ms", "50000")]), Ok(()));
        let cases = [
            (("consumer.session", "1"), "Unknown group config name: consumer.session"),
            (
                ("consumer.session.timeout.ms", "50001"),
                "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
            ),
            (
                ("consumer.heartbeat.interval.ms", "10"),
                "consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms",
            ),
            (
                ("streams.num.standby.replicas", "3"),
                "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
            ),
            (
                ("share.record.lock.duration.ms", "0"),
                "Invalid value 0 for configuration share.record.lock.duration.ms: Value must be at least 1000",
            ),
        ];
        for (pair, expected) in cases {
            assert_eq!(check(&[pair]), Err(expected.to_owned()));
        }
    }

    #[test]
    fn every_group_setting_but_three_of_share_groups_has_a_default_of_the_broker() {
        let without: Vec<&str> =
            GROUP.iter().map(|definition| definition.key).filter(|key| group_synonym(key).is_none()).collect();
        assert_eq!(without, ["share.auto.offset.reset", "share.isolation.level", "share.renew.acknowledge.enable"]);
    }

    #[test]
    fn a_subscription_to_metrics_is_checked_as_in_kafka() {
        let check = |name: &str, pair: (&str, &str)| text(validate_client_metrics(name, &settings(&[pair])));
        assert_eq!(check("s", ("interval.ms", "100")), Ok(()));
        assert_eq!(check("s", ("match", "client_id=a.*,client_source_port=[0-9]+")), Ok(()));
        assert_eq!(check("", ("interval.ms", "100")), Err("Subscription name can't be empty".to_owned()));
        assert_eq!(check("s", ("x", "1")), Err("Unknown client metrics configuration: x".to_owned()));
        assert_eq!(check("s", ("match", "nope=1")), Err("Illegal client matching pattern: nope=1".to_owned()));
        let expected = "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)";
        assert_eq!(check("s", ("interval.ms", "99")), Err(expected.to_owned()));
    }
}
