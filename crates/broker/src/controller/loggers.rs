//! What a request may change of the broker's loggers (KIP-412).

use tracing::info;
use vltava_protocol::ErrorCode;

use crate::config::{BrokerConfig, ConfigChange};
use crate::log_levels::{LEVELS, LOGGERS, ROOT};
use crate::request::ApiError;

/// Changes levels, all or none, unless they are only to be checked; where nobody can, those that would change something are
/// refused. `may_alter` is whether who asks may.
pub(crate) fn alter(
    config: &BrokerConfig,
    name: &str,
    changes: &[(String, ConfigChange)],
    may_alter: bool,
    validate_only: bool,
) -> Result<(), ApiError> {
    let (node_id, levels) = (config.node_id, &config.log_levels);
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
            ConfigChange::Set(Some(level)) if !levels.is_controlled() && level != levels.of(logger) => {
                return request(format!(
                    "the log level of `{logger}` is {}, and only who starts the broker can change it",
                    levels.of(logger)
                ));
            }
            ConfigChange::Set(_) | ConfigChange::Delete => {}
        }
    }
    if !validate_only {
        levels.set(changes.iter().map(|(logger, change)| match change {
            ConfigChange::Set(level) => (logger.as_str(), level.as_deref()),
            _ => (logger.as_str(), None),
        }));
        for (logger, _) in changes {
            info!(logger, level = levels.of(logger), "the level of a logger was altered");
        }
    }
    Ok(())
}
