//! What Kafka does not start with of the settings of connections.

use vltava_config::{ConfigError, Reader};

const IDLE: &str = "connections.max.idle.ms";
const DELAY: &str = "connection.failed.authentication.delay.ms";
const PER_IP: &str = "max.connections.per.ip";
const OVERRIDES: &str = "max.connections.per.ip.overrides";

pub(super) fn check(reader: &Reader<'_>) -> Result<(), ConfigError> {
    let (idle, delay) = (reader.integer(IDLE)?, reader.integer(DELAY)?);
    if idle >= 0 && delay >= idle {
        let reason = format!("must be less than `{IDLE}` ({idle}), or who fails to authenticate is not told");
        return Err(ConfigError::new(DELAY, delay, reason));
    }
    check_per_ip(reader.text(PER_IP).unwrap_or(""), reader.text(OVERRIDES).unwrap_or(""))
}

/// Whether addresses have limits that can be kept.
pub(crate) fn check_per_ip(per_ip: &str, overrides: &str) -> Result<(), ConfigError> {
    let refuse = |reason: String| Err(ConfigError::new(OVERRIDES, overrides, reason));
    let mut count = 0;
    for pair in overrides.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((host, limit)) = parse_override(pair) else {
            return refuse(format!("{pair:?} is not of the form host:count"));
        };
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "-%._:".contains(c);
        if host.is_empty() || !host.chars().all(is_fine) {
            return refuse(format!("{host:?} is no host"));
        }
        if i32::try_from(limit).is_err() {
            return refuse(format!("{limit} is more than an integer of 32 bits"));
        }
        count += 1;
    }
    if per_ip.trim() == "0" && count == 0 {
        return Err(ConfigError::new(PER_IP, per_ip, format!("nobody could connect: it needs `{OVERRIDES}`")));
    }
    Ok(())
}

/// `host:count`, where a host is an address or a name.
pub(crate) fn parse_override(pair: &str) -> Option<(&str, usize)> {
    let (host, count) = pair.trim().rsplit_once(':')?;
    Some((host.trim().trim_start_matches('[').trim_end_matches(']'), count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrokerConfig;

    #[test]
    fn limits_that_cannot_be_kept_are_refused() {
        for (pairs, expected) in [
            (
                vec![(IDLE, "100")],
                format!(
                    "invalid `{DELAY}` 100: must be less than `{IDLE}` (100), or who fails to authenticate is not told"
                ),
            ),
            (vec![(PER_IP, "0")], format!("invalid `{PER_IP}` 0: nobody could connect: it needs `{OVERRIDES}`")),
            (vec![(OVERRIDES, "a")], format!("invalid `{OVERRIDES}` a: \"a\" is not of the form host:count")),
            (vec![(OVERRIDES, "a:-1")], format!("invalid `{OVERRIDES}` a:-1: \"a:-1\" is not of the form host:count")),
            (vec![(OVERRIDES, "b:1,a/b:1")], format!("invalid `{OVERRIDES}` b:1,a/b:1: \"a/b\" is no host")),
        ] {
            assert_eq!(BrokerConfig::from_properties(pairs).unwrap_err().to_string(), expected);
        }
        for pairs in [
            vec![(IDLE, "101")],
            vec![(IDLE, "-1"), (DELAY, "2000000")],
            vec![(PER_IP, "0"), (OVERRIDES, "localhost:1, 10.0.0.1:2,[::1]:3")],
        ] {
            assert!(BrokerConfig::from_properties(pairs).is_ok());
        }
    }
}
