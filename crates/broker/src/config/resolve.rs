//! Which value of a key holds: dynamic for this broker, dynamic for the cluster, from the file, or
//! Kafka's default; and what a topic's settings are in the end.

use std::collections::BTreeMap;
use std::str::FromStr;

use vltava_config::{ConfigError, Definition};

use super::{BrokerConfig, broker_key, broker_synonyms, topic_key, topic_keys};

/// Values by key.
pub(crate) type Settings = BTreeMap<String, String>;

/// Where a value comes from, as DescribeConfigs numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigSource {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicBrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

/// A key's value in one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synonym {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) source: ConfigSource,
}

/// The sources of a broker's values, the strongest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) dynamic_broker: Option<&'a Settings>,
    pub(crate) dynamic_default: Option<&'a Settings>,
    pub(crate) config: &'a BrokerConfig,
}

impl<'a> Sources<'a> {
    pub(crate) fn static_only(config: &'a BrokerConfig) -> Self {
        Self { dynamic_broker: None, dynamic_default: None, config }
    }

    /// The value of a key of the broker, if anything but its default was set.
    fn set(&self, key: &str) -> Option<&'a str> {
        let dynamic = self.dynamic_broker.and_then(|settings| settings.get(key));
        let dynamic = dynamic.or_else(|| self.dynamic_default.and_then(|settings| settings.get(key)));
        dynamic.map(String::as_str).or_else(|| self.config.settings().given(key))
    }

    /// The value of a key of the broker.
    pub(crate) fn broker(&self, key: &str) -> Option<&'a str> {
        self.set(key).or_else(|| broker_key(key).and_then(|row| row.default))
    }

    /// The same as a number or whatever it is. Values are checked before they are stored: one that is not understood is as
    /// good as none.
    pub(crate) fn value<T: FromStr>(&self, key: &str) -> Option<T> {
        self.broker(key).and_then(|text| text.parse().ok())
    }

    /// The value of a topic's key, where the topic has `overrides`.
    pub(crate) fn topic(&self, key: &Definition, overrides: Option<&Settings>) -> String {
        if let Some(value) = overrides.and_then(|settings| settings.get(key.key)) {
            return key.parse(value).unwrap_or_else(|_| value.clone());
        }
        self.topic_default(key)
    }

    /// The value of a topic's key where the topic says nothing.
    fn topic_default(&self, key: &Definition) -> String {
        for (synonym, factor) in broker_synonyms(key.key) {
            let Some(value) = self.broker(synonym) else { continue };
            // `flush.ms` falls to the scheduler's interval, which has a default of its own.
            let number = value.parse::<i64>().ok();
            return match number {
                // Any negative time of the broker means for ever.
                Some(number) if key.key == "retention.ms" && number < 0 => "-1".to_owned(),
                Some(number) if *factor != 1 => number.saturating_mul(*factor).to_string(),
                _ => value.to_owned(),
            };
        }
        key.default.unwrap_or_default().to_owned()
    }

    /// All settings of a topic with `overrides`.
    pub(crate) fn topic_settings(&self, overrides: Option<&Settings>) -> BTreeMap<&'static str, String> {
        let mut settings: BTreeMap<_, _> = topic_keys().map(|key| (key.key, self.topic(key, overrides))).collect();
        // Those that are never described hold where a topic has them.
        let own = overrides.into_iter().flatten().filter_map(|(name, value)| Some((topic_key(name)?, value)));
        settings.extend(own.filter(|(key, _)| key.is_internal).map(|(key, value)| (key.key, value.clone())));
        settings
    }

    /// The values of `name` and the keys it stands for in every source, the strongest first.
    pub(crate) fn synonyms(&self, name: &str) -> Vec<Synonym> {
        let mut all = Vec::new();
        let names = related(name);
        let mut add = |value: &dyn Fn(&str) -> Option<&'a str>, source: ConfigSource| {
            for name in &names {
                if let Some(value) = value(name) {
                    all.push(Synonym { name: (*name).to_owned(), value: value.to_owned(), source });
                }
            }
        };
        let dynamic = |settings: Option<&'a Settings>, name: &str| Some(settings?.get(name)?.as_str());
        add(&|name| dynamic(self.dynamic_broker, name), ConfigSource::DynamicBroker);
        add(&|name| dynamic(self.dynamic_default, name), ConfigSource::DynamicDefaultBroker);
        add(&|name| self.config.settings().given(name), ConfigSource::StaticBroker);
        for name in &names {
            if let Some(value) = broker_key(name).and_then(|row| row.default) {
                let (name, value) = ((*name).to_owned(), value.to_owned());
                all.push(Synonym { name, value, source: ConfigSource::Default });
            }
        }
        // As Kafka does: what comes before the key's own entry is not told.
        let own = all.iter().position(|synonym| synonym.name == name).unwrap_or(all.len());
        all.split_off(own)
    }
}

/// The keys that Kafka looks at together with `name`.
fn related(name: &str) -> Vec<&str> {
    let families: [&[&str]; 4] = [
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    ];
    if name == "log.flush.scheduler.interval.ms" {
        return vec![name];
    }
    // A setting of one listener falls to that of all.
    if let Some((_, of_all)) = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')) {
        return vec![name, of_all];
    }
    let family = families.into_iter().find(|family| family.contains(&name));
    family.map_or_else(|| vec![name], <[&str]>::to_vec)
}

/// Checks a topic's new settings: names, values, and those that must agree with each other.
pub(crate) fn validate_topic(sources: Sources<'_>, overrides: &Settings) -> Result<(), TopicConfigError> {
    for (name, value) in overrides {
        let key = topic_key(name).ok_or_else(|| TopicConfigError::Unknown(name.clone()))?;
        key.parse(value)?;
    }
    let settings = sources.topic_settings(Some(overrides));
    let number = |name: &str| settings.get(name).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
    let (low, high) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if low > high {
        return Err(TopicConfigError::Conflict(format!(
            "conflict topic config setting min.compaction.lag.ms ({low}) > max.compaction.lag.ms ({high})"
        )));
    }
    if settings.get("remote.storage.enable").is_some_and(|value| value == "true") {
        return Err(TopicConfigError::Conflict(
            "Tiered Storage functionality is disabled in the broker. \
             Topic cannot be configured with remote log storage."
                .to_owned(),
        ));
    }
    Ok(())
}

/// Why a topic's settings are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicConfigError {
    Unknown(String),
    Value(ConfigError),
    Conflict(String),
}

impl From<ConfigError> for TopicConfigError {
    fn from(error: ConfigError) -> Self {
        Self::Value(error)
    }
}

impl TopicConfigError {
    /// The text that Kafka answers.
    pub(crate) fn kafka_message(&self) -> String {
        match self {
            Self::Unknown(name) => format!("Unknown topic config name: {name}"),
            Self::Value(error) => error.kafka_message(),
            Self::Conflict(text) => text.clone(),
        }
    }
}

/// Refuses a broker whose own defaults for topics contradict each other.
pub(super) fn check_lags(config: &BrokerConfig) -> Result<(), ConfigError> {
    match validate_topic(Sources::static_only(config), &Settings::new()) {
        Err(TopicConfigError::Conflict(reason)) => {
            let key = "log.cleaner.min.compaction.lag.ms";
            Err(ConfigError::new(key, config.text(key).unwrap_or_default(), reason))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn topic(sources: Sources<'_>, key: &str, overrides: &Settings) -> String {
        sources.topic(topic_key(key).unwrap(), Some(overrides))
    }

    #[test]
    fn a_topics_setting_comes_from_the_strongest_source() {
        let config = BrokerConfig::from_properties([("log.retention.hours", "2")]).unwrap();
        let none = Settings::new();
        let fixed = Sources::static_only(&config);
        assert_eq!(topic(fixed, "retention.ms", &none), "7200000");
        assert_eq!(topic(fixed, "segment.ms", &none), "604800000");
        let cluster = settings(&[("log.retention.ms", "5")]);
        let dynamic = Sources { dynamic_default: Some(&cluster), ..fixed };
        assert_eq!(topic(dynamic, "retention.ms", &none), "5");
        assert_eq!(topic(dynamic, "retention.ms", &settings(&[("retention.ms", "9")])), "9");
    }

    #[test]
    fn any_negative_retention_of_the_broker_means_for_ever() {
        let config = BrokerConfig::from_properties([("log.retention.hours", "-7")]).unwrap();
        assert_eq!(topic(Sources::static_only(&config), "retention.ms", &Settings::new()), "-1");
    }

    #[test]
    fn the_defaults_of_a_topic_are_kafkas() {
        let config = BrokerConfig::from_properties::<&str, &str>([]).unwrap();
        for key in topic_keys() {
            let got = Sources::static_only(&config).topic(key, None);
            assert_eq!(Some(got.as_str()), key.default, "{}", key.key);
        }
    }

    #[test]
    fn synonyms_are_told_as_kafka_tells_them() {
        let config = BrokerConfig::from_properties([("log.segment.bytes", "2000000")]).unwrap();
        let sources = Sources::static_only(&config);
        let names: Vec<(String, ConfigSource)> =
            sources.synonyms("log.segment.bytes").into_iter().map(|s| (s.value, s.source)).collect();
        assert_eq!(
            names,
            [("2000000".to_owned(), ConfigSource::StaticBroker), ("1073741824".to_owned(), ConfigSource::Default)]
        );
        assert_eq!(sources.synonyms("log.retention.ms"), []);
    }

    #[test]
    fn unknown_and_contradicting_topic_settings_are_refused() {
        let config = BrokerConfig::from_properties::<&str, &str>([]).unwrap();
        let check = |pairs: &[(&str, &str)]| {
            validate_topic(Sources::static_only(&config), &settings(pairs)).map_err(|e| e.kafka_message())
        };
        assert_eq!(check(&[("retention.ms", "1")]), Ok(()));
        assert_eq!(check(&[("nope", "1")]), Err("Unknown topic config name: nope".to_owned()));
        assert_eq!(
            check(&[("segment.bytes", "1")]),
            Err("Invalid value 1 for configuration segment.bytes: Value must be at least 1048576".to_owned())
        );
        assert!(check(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]).is_err());
    }
}
