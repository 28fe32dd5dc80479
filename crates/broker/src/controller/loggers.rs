//! The broker's loggers, as the configuration requests know them (KIP-412).
//!
//! There is one level of what is logged, which whoever starts the process gives it: it is told, and it is not altered here.

use tracing::level_filters::LevelFilter;
use vltava_protocol::ErrorCode;

use crate::config::ConfigChange;
use crate::request::ApiError;

/// Kafka's name for what all loggers inherit from.
const ROOT: &str = "root";
/// The loggers: the root, the audit log of the authorizer, and the crates by the names under which they log.
const LOGGERS: [&str; 4] = [ROOT, "kafka.authorizer.logger", "vltava_broker", "vltava_log"];
const LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/// Every logger with its level in Kafka's word.
pub(crate) fn levels() -> impl Iterator<Item = (&'static str, &'static str)> {
    let level = level();
    LOGGERS.into_iter().map(move |logger| (logger, level))
}

fn level() -> &'static str {
    match LevelFilter::current() {
        LevelFilter::TRACE => "TRACE",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::INFO => "INFO",
        LevelFilter::WARN => "WARN",
        LevelFilter::ERROR => "ERROR",
        // Kafka's highest level: it has no word for nothing at all.
        _ => "FATAL",
    }
}

/// Checks changes of levels as Kafka does, and refuses those that would change something.
/// `may_alter` is whether who asks may.
pub(crate) fn alter(
    node_id: i32,
    name: &str,
    changes: &[(String, ConfigChange)],
    may_alter: bool,
) -> Result<(), ApiError> {
    let request = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let config = |text: String| Err(ApiError::new(ErrorCode::InvalidConfig, text));
    if !may_alter {
        return Err(ErrorCode::ClusterAuthorizationFailed.into());
    }
    match name.parse::<i32>() {
        Ok(id) if id == node_id => {}
        Ok(id) => return request(format!("Unexpected node id. Expected {node_id}, but received {id}")),
        Err(_) => return request(format!("Node id must be an integer, but it is: {name}")),
    }
    for (logger, change) in changes {
        let is_known = LOGGERS.contains(&logger.as_str());
        match change {
            ConfigChange::Set(_) | ConfigChange::Delete if !is_known => {
                return config(format!("Logger {logger} does not exist!"));
            }
            ConfigChange::Set(Some(level)) if !LEVELS.contains(&level.as_str()) => {
                return config(format!(
                    "Cannot set the log level of {logger} to {level} as it is not a supported log level. \
                     Valid log levels are {}",
                    LEVELS.join(", ")
                ));
            }
            ConfigChange::Delete if logger == ROOT => {
                return request(format!("Removing the log level of the {ROOT} logger is not allowed"));
            }
            ConfigChange::Append(_) => {
                return request("APPEND operation is not allowed for the BROKER_LOGGER resource".to_owned());
            }
            ConfigChange::Subtract(_) => {
                return request("SUBTRACT operation is not allowed for the BROKER_LOGGER resource".to_owned());
            }
            ConfigChange::Unknown(operation) => {
                return request(format!(
                    "Unknown operation type {operation} is not allowed for the BROKER_LOGGER resource"
                ));
            }
            ConfigChange::Set(Some(level)) if level != self::level() => {
                return request(format!(
                    "the log level of `{logger}` is {}, and only who starts the broker can change it",
                    self::level()
                ));
            }
            ConfigChange::Set(_) | ConfigChange::Delete => {}
        }
    }
    Ok(())
}
