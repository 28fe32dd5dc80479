//! The dynamic settings of a broker: which there are, what is checked, and which of them act.

#[cfg(feature = "tls")]
use vltava_config::ConfigError;
use vltava_config::Update;
use vltava_protocol::ErrorCode;
#[cfg(feature = "tls")]
use vltava_security::ssl::{ServerContext, SslError};

use super::Controller;
use crate::config::connections::check_per_ip;
use crate::config::keys::{AT_RUN_TIME, without_listener};
use crate::config::resolve::{self, Settings, Sources};
#[cfg(feature = "tls")]
use crate::config::ssl::{self, ListenerSsl};
use crate::config::{ConfigChange, broker_key, gives_a_topic_default, is_authorizer_key, is_sasl_key};
use crate::metadata::features::ELIGIBLE_LEADER_REPLICAS_VERSION;
use crate::metadata::image::{MetadataImage, ResourceType};
use crate::request::ApiError;

/// The settings of TLS that Kafka alters for a single listener only.
const PER_LISTENER: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Of which Kafka takes no more than half or double the present value at once.
const THREAD_POOLS: [&str; 5] = [
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

const CLEANER_THREADS: &str = "log.cleaner.threads";
const CLEANER_RATE: &str = "log.cleaner.io.max.bytes.per.second";

/// Why a key of the broker cannot act at run time; none if it does, or if nobody knows it, which Kafka stores as well.
pub(crate) fn without_effect(key: &str) -> Option<&'static str> {
    const ONCE: &str = "this broker reads it once, when it starts";
    // Logins and users among them, which must not be stored where nothing reads them.
    if is_sasl_key(key) || is_authorizer_key(key) {
        return Some(ONCE);
    }
    let of_listener = without_listener(key);
    let row = broker_key(of_listener.unwrap_or(key))?;
    // Topics show it. Where partitions have one replica there is nothing to elect, in Kafka neither.
    if key == "unclean.leader.election.enable" {
        return None;
    }
    match row.support.why() {
        Some(why) => Some(why),
        None if of_listener.is_some_and(|key| PER_LISTENER.contains(&key)) => None,
        None if gives_a_topic_default(key) || AT_RUN_TIME.contains(&row.key) => None,
        None => Some(ONCE),
    }
}

/// Checks the dynamic settings of the broker, or of all brokers where `name` is empty.
///
/// # Errors
///
/// `INVALID_REQUEST` with Kafka's text for what Kafka refuses, and with the reason for what cannot act here.
pub(super) fn validate(
    controller: &Controller,
    image: &MetadataImage,
    name: &str,
    changes: &[(String, ConfigChange)],
    next: &Settings,
) -> Result<(), ApiError> {
    check_names(next)?;
    check_values(next)?;
    if name.is_empty() {
        check_for_all(next)?;
    }
    let present = image.sources(&controller.config);
    let sources = match name.is_empty() {
        true => Sources { dynamic_default: Some(next), ..present },
        false => Sources { dynamic_broker: Some(next), ..present },
    };
    let text = |key: &str| sources.broker(key).unwrap_or("");
    check_per_ip(text("max.connections.per.ip"), text("max.connections.per.ip.overrides"))
        .map_err(|error| refusal(error.kafka_message()))?;
    check_threads(present, sources)?;
    check_assignment_intervals(sources)?;
    // Kafka would act on these; to store them without effect would be a promise that nobody keeps.
    for (key, _) in changes.iter().filter(|(_, change)| *change != ConfigChange::Delete) {
        if let Some(why) = without_effect(key) {
            return Err(refusal(format!("`{key}` cannot be altered while the broker runs: {why}")));
        }
    }
    #[cfg(feature = "tls")]
    check_tls(controller, present, sources, changes)?;
    resolve::validate_topic(sources, &Settings::new()).map_err(|error| refusal(error.kafka_message()))?;
    check_min_insync_replicas(image, name, next)
}

/// With eligible leader replicas (KIP-966) there is one value for all brokers, always.
fn check_min_insync_replicas(image: &MetadataImage, name: &str, next: &Settings) -> Result<(), ApiError> {
    const KEY: &str = "min.insync.replicas";
    let is_set = |settings: Option<&Settings>| settings.is_some_and(|settings| settings.contains_key(KEY));
    let was_set = is_set(image.config(ResourceType::Broker, name).map(AsRef::as_ref));
    let text = match (name, is_set(Some(next))) {
        _ if image.feature_level(ELIGIBLE_LEADER_REPLICAS_VERSION) == 0 => return Ok(()),
        ("", false) if was_set => format!("Cluster-level {KEY} cannot be removed while ELR is enabled."),
        ("", _) | (_, false) => return Ok(()),
        (_, true) => format!("Broker-level {KEY} cannot be altered while ELR is enabled."),
    };
    Err(ApiError::new(ErrorCode::InvalidConfig, text))
}

fn refusal(text: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, text.into())
}

/// Refuses with the names of those keys that are `wrong`.
fn refuse_all(settings: &Settings, what: &str, wrong: impl Fn(&str) -> bool) -> Result<(), ApiError> {
    let keys: Vec<&str> = settings.keys().map(String::as_str).filter(|key| wrong(key)).collect();
    if keys.is_empty() { Ok(()) } else { Err(refusal(format!("{what}: [{}]", keys.join(", ")))) }
}

fn update_of(key: &str) -> Option<Update> {
    broker_key(key).map(|row| row.update)
}

fn check_names(settings: &Settings) -> Result<(), ApiError> {
    let is_read_once = |key: &str| update_of(key) == Some(Update::ReadOnly);
    refuse_all(settings, "Cannot update these configs dynamically", is_read_once)?;
    let what = "These security configs can be dynamically updated only per-listener using the listener prefix";
    refuse_all(settings, what, |key| PER_LISTENER.contains(&key))
}

fn check_values(settings: &Settings) -> Result<(), ApiError> {
    for (name, value) in settings {
        let key = without_listener(name).unwrap_or(name);
        if let Some(row) = broker_key(key) {
            row.parse(value).map_err(|error| refusal(error.kafka_message()))?;
        }
        // Nobody could connect any more, not even to take it back. In a file Kafka lets it stand.
        if matches!(key, "max.connections" | "max.connection.creation.rate") && value.trim() == "0" {
            return Err(refusal(format!("Invalid {key} {value}")));
        }
        // Kafka's compaction would wait for ever, also when the limit is raised again.
        if key == CLEANER_RATE && value.trim().parse::<f64>().is_ok_and(|rate| rate <= 0.0) {
            return Err(refusal(format!("Invalid value {value} for configuration {key}: nothing could be compacted")));
        }
    }
    Ok(())
}

/// Limits of connections are the settings of a listener that all brokers may share.
fn check_for_all(settings: &Settings) -> Result<(), ApiError> {
    let own = |key: &str| match without_listener(key) {
        Some(key) => !matches!(key, "max.connections" | "max.connection.creation.rate" | "num.network.threads"),
        None => update_of(key) == Some(Update::PerBroker),
    };
    refuse_all(settings, "Cannot update these configs at default cluster level, broker id must be specified", own)
}

/// Numbers of threads change by steps.
fn check_threads(present: Sources<'_>, next: Sources<'_>) -> Result<(), ApiError> {
    for key in THREAD_POOLS {
        let (Some(present), Some(next)) = (present.value::<usize>(key), next.value::<usize>(key)) else { continue };
        let reason = match next {
            _ if next == present => continue,
            _ if next < present / 2 => format!("be at least half the current value {present}"),
            _ if next > present * 2 => format!("not be greater than double the current value {present}"),
            _ => continue,
        };
        let what = "Dynamic thread count update validation failed for";
        return Err(refusal(format!("{what} {key}={next}, value should {reason}")));
    }
    let threads = |sources: Sources<'_>| sources.value::<usize>(CLEANER_THREADS).unwrap_or(1);
    check_cleaner_threads(threads(present), threads(next))
}

/// The same of compaction, in other words.
fn check_cleaner_threads(present: usize, next: usize) -> Result<(), ApiError> {
    let reason = match next {
        _ if next == present => return Ok(()),
        0 => "should be at least 1".to_owned(),
        _ if next < present / 2 => format!("cannot be reduced to less than half the current value {present}"),
        _ if next > present * 2 => format!("cannot be increased to more than double the current value {present}"),
        _ => return Ok(()),
    };
    Err(refusal(format!("Log cleaner threads {reason}")))
}

/// The intervals of all groups lie within the bounds of those that a group may have for itself.
fn check_assignment_intervals(sources: Sources<'_>) -> Result<(), ApiError> {
    for kind in ["consumer", "share", "streams"] {
        let key = format!("group.{kind}.assignment.interval.ms");
        let (least, most) =
            (format!("group.{kind}.min.assignment.interval.ms"), format!("group.{kind}.max.assignment.interval.ms"));
        let value = |key: &str| sources.value::<i64>(key);
        let Some(interval) = value(&key) else { continue };
        if value(&least).is_some_and(|least| interval < least) {
            return Err(refusal(format!("{key} must be greater than or equal to {least}")));
        }
        if value(&most).is_some_and(|most| interval > most) {
            return Err(refusal(format!("{key} must be less than or equal to {most}")));
        }
    }
    Ok(())
}

/// Tries what the listeners with TLS would have, as Kafka does: what cannot be used is not stored.
#[cfg(feature = "tls")]
fn check_tls(
    controller: &Controller,
    present: Sources<'_>,
    next: Sources<'_>,
    changes: &[(String, ConfigChange)],
) -> Result<(), ApiError> {
    let of_tls = |key: &str| without_listener(key).is_some_and(|key| PER_LISTENER.contains(&key));
    let mut changed: Vec<&str> = changes.iter().map(|(key, _)| key.as_str()).filter(|key| of_tls(key)).collect();
    for listener in controller.config.ssl.keys() {
        let before = changed.len();
        let prefix = ssl::prefix(listener);
        changed.retain(|key| !key.starts_with(&prefix));
        if changed.len() == before {
            continue;
        }
        let read = |sources: Sources<'_>| ListenerSsl::read(listener, &|key| sources.broker(key));
        let sources = next;
        let next = read(next).map_err(|error| refusal(error.kafka_message()))?.config;
        // What cannot be read now says nothing of what comes after it.
        let running = read(present).ok().and_then(|present| ServerContext::new(present.config).ok());
        let checked = match running {
            Some(running) => running.check(&next),
            None => ServerContext::new(next).map(drop),
        };
        let named = |error: SslError| {
            let file = error.file.as_ref().map_or_else(String::new, |file| format!(" {}", file.display()));
            let key = ssl::as_given(listener, &|key| sources.broker(key), ConfigError::missing(error.key)).key;
            refusal(format!("invalid `{key}`{file}: {}", error.problem))
        };
        checked.map_err(named)?;
    }
    let is_set = |key: &&&str| changes.iter().any(|(name, change)| name == **key && *change != ConfigChange::Delete);
    match changed.iter().find(is_set) {
        Some(key) => Err(refusal(format!("`{key}` cannot be altered: there is no listener of this name with TLS"))),
        None => Ok(()),
    }
}
