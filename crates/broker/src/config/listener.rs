//! `listeners` and `advertised.listeners`: names, protocols, hosts and ports.

use std::collections::BTreeMap;

use vltava_config::{ConfigError, split_list};
use vltava_security::SecurityProtocol;

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

const MAP: &str = "listener.security.protocol.map";

/// Which protocol the listener of each name has, by `listener.security.protocol.map`.
#[derive(Debug, Clone)]
pub(crate) struct Protocols<'a> {
    map: &'a str,
    by_name: BTreeMap<String, SecurityProtocol>,
}

impl<'a> Protocols<'a> {
    /// Reads the map.
    pub(crate) fn parse(map: &'a str) -> Result<Self, ConfigError> {
        let mut by_name = BTreeMap::new();
        for entry in split_list(map) {
            let refuse = |reason: String| ConfigError::new(MAP, map, reason);
            let (name, protocol) =
                entry.split_once(':').ok_or_else(|| refuse(format!("{entry} is not of the form name:protocol")))?;
            let known = protocol.trim().parse().map_err(|()| refuse(format!("{protocol} is no security protocol")))?;
            by_name.insert(name.trim().to_ascii_uppercase(), known);
        }
        Ok(Self { map, by_name })
    }

    /// That of a listener, if it can be served.
    pub(crate) fn of(&self, name: &str, is_controller: bool) -> Result<SecurityProtocol, ConfigError> {
        let refuse = |reason| Err(ConfigError::new(MAP, self.map, reason));
        match self.by_name.get(&name.to_ascii_uppercase()) {
            Some(protocol) if is_controller && *protocol != SecurityProtocol::Plaintext => refuse(format!(
                "listener {name} asks for {}, and the controller is not reached over listeners here",
                protocol.name()
            )),
            Some(protocol) if protocol.is_tls() && cfg!(not(feature = "tls")) => {
                refuse(format!("listener {name} asks for {}, and {}", protocol.name(), vltava_security::ssl::NO_TLS))
            }
            Some(protocol) => Ok(*protocol),
            // Kafka's default for those of the controller.
            None if is_controller => Ok(SecurityProtocol::Plaintext),
            None => refuse(format!("No security protocol defined for listener {name}")),
        }
    }

    /// Whether there is one for this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(&name.to_ascii_uppercase())
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
    fn what_is_served_has_a_protocol_and_what_is_not_is_refused() {
        let of = |map, name, is_controller| {
            Protocols::parse(map).and_then(|all| all.of(name, is_controller)).map_err(|error| error.reason)
        };
        assert_eq!(of("EXT:PLAINTEXT", "EXT", false), Ok(SecurityProtocol::Plaintext));
        assert_eq!(of("A:PLAINTEXT, ext:sasl_plaintext", "EXT", false), Ok(SecurityProtocol::SaslPlaintext));
        #[cfg(feature = "tls")]
        assert_eq!(of("A:PLAINTEXT, ext:ssl", "EXT", false), Ok(SecurityProtocol::Ssl));
        #[cfg(feature = "tls")]
        assert_eq!(of("EXT:SASL_SSL", "EXT", false), Ok(SecurityProtocol::SaslSsl));
        assert_eq!(of("PLAINTEXT:PLAINTEXT", "CONTROLLER", true), Ok(SecurityProtocol::Plaintext));
        for (map, is_controller, reason) in [
            ("PLAINTEXT:PLAINTEXT", false, "No security protocol defined for listener EXT"),
            ("EXT:SSL", true, "listener EXT asks for SSL, and the controller is not reached over listeners here"),
            ("EXT:TLS", false, "TLS is no security protocol"),
            ("EXT", false, "EXT is not of the form name:protocol"),
        ] {
            assert_eq!(of(map, "EXT", is_controller), Err(reason.to_owned()), "{map}");
        }
    }
}
