//! `listeners` and `advertised.listeners`: names, protocols, hosts and ports.

use vltava_config::{ConfigError, split_list};

/// One entry of `listeners` or `advertised.listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The listener's name, such as `PLAINTEXT` or `EXTERNAL`.
    pub name: String,
    /// The host to bind to or to advertise; empty for every address, or this machine's name.
    pub host: String,
    /// The port; 0 lets the operating system choose.
    pub port: u16,
}

/// Reads the entries of `value`, which is the value of `key`.
pub(crate) fn parse_listeners(key: &str, value: &str) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for entry in split_list(value) {
        let listener = parse_listener(entry)
            .ok_or_else(|| ConfigError::new(key, value, format!("Unable to parse {entry} to a broker endpoint")))?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(ConfigError::new(key, value, "Each listener must have a different name"));
        }
        if listener.port != 0 && listeners.iter().any(|other| same_socket(other, &listener)) {
            return Err(ConfigError::new(key, value, "Each listener must have a different port"));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn same_socket(a: &Listener, b: &Listener) -> bool {
    a.port == b.port && a.host == b.host
}

fn parse_listener(entry: &str) -> Option<Listener> {
    let (name, rest) = entry.split_once("://")?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => v6.split_once("]:")?,
        None => rest.rsplit_once(':').filter(|(host, _)| !host.contains(':'))?,
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(legal) {
        return None;
    }
    Some(Listener { name: name.to_ascii_uppercase(), host: host.to_owned(), port: port.parse().ok()? })
}

/// Refuses a listener whose security protocol is not served: only PLAINTEXT is, so far.
pub(crate) fn check_protocol(name: &str, map: &str, is_controller: bool) -> Result<(), ConfigError> {
    let key = "listener.security.protocol.map";
    let protocol = split_list(map).into_iter().find_map(|entry| {
        let (listener, protocol) = entry.split_once(':')?;
        listener.eq_ignore_ascii_case(name).then_some(protocol)
    });
    match protocol {
        Some(protocol) if protocol.eq_ignore_ascii_case("PLAINTEXT") => Ok(()),
        // Kafka's default for those of the controller.
        None if is_controller => Ok(()),
        Some(protocol) => Err(ConfigError::new(
            key,
            map,
            format!("listener {name} asks for {protocol}, this broker serves PLAINTEXT only"),
        )),
        None => Err(ConfigError::new(key, map, format!("No security protocol defined for listener {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, host: &str, port: u16) -> Listener {
        Listener { name: name.to_owned(), host: host.to_owned(), port }
    }

    #[test]
    fn reads_names_hosts_and_ports() {
        let got = parse_listeners("listeners", "PLAINTEXT://:9092, ext://host.example:0,V6://[::1]:9094");
        let expected =
            [listener("PLAINTEXT", "", 9092), listener("EXT", "host.example", 0), listener("V6", "::1", 9094)];
        assert_eq!(got.as_deref(), Ok(expected.as_slice()));
    }

    #[test]
    fn refuses_what_it_cannot_bind() {
        for wrong in ["9092", "PLAINTEXT://host", "A://h:1,A://h:2", "A://h:1,B://h:1", "A://h:99999", "A://a:b:1"] {
            assert!(parse_listeners("listeners", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_plaintext_is_served() {
        assert!(check_protocol("EXT", "EXT:PLAINTEXT", false).is_ok());
        assert!(check_protocol("EXT", "EXT:SASL_SSL", false).is_err());
        assert!(check_protocol("EXT", "PLAINTEXT:PLAINTEXT", false).is_err());
        assert!(check_protocol("CONTROLLER", "PLAINTEXT:PLAINTEXT", true).is_ok());
        assert!(check_protocol("CONTROLLER", "CONTROLLER:SSL", true).is_err());
    }
}
