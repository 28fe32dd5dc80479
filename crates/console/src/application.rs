//! Programs of Kafka Streams that serve their metrics: asked over HTTP, as a monitoring system asks them.

pub(crate) mod scrape;
pub(crate) mod text;

use crate::error::ConsoleError;

/// An application's program, and where it serves `/metrics`, `/health` and `/ready`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) name: String,
    /// `host:port`
    pub(crate) authority: String,
}

impl Application {
    /// # Errors
    /// For a name that is empty, and for an address that is not `http://host:port`.
    pub(crate) fn new(name: &str, address: &str) -> Result<Self, ConsoleError> {
        if name.is_empty() {
            return Err(ConsoleError::refused(format!("the application at {address} needs a name")));
        }
        let wrong = |why: &str| ConsoleError::refused(format!("application `{name}` at {address}: {why}"));
        if address.starts_with("https://") {
            return Err(wrong("https is not supported yet"));
        }
        let authority = address.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let authority = authority.ok_or_else(|| wrong("must be http://host:port"))?;
        let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        let is_plain = !authority.contains(['/', '@', '?', '#', ' ']) && !authority.chars().any(char::is_control);
        match port {
            Some(Ok(1..)) if is_plain => Ok(Self { name: name.to_owned(), authority: authority.to_owned() }),
            _ => Err(wrong("must be http://host:port, without a path")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Application;

    #[test]
    fn addresses_have_a_host_and_a_port_and_no_more() {
        for (address, authority) in [("http://app:9404", "app:9404"), ("http://[::1]:80/", "[::1]:80")] {
            assert_eq!(Application::new("words", address).unwrap().authority, authority);
        }
        let wrong = ["app:9404", "https://app:9404", "http://app", "http://:80", "http://app:0", "http://a:80/metrics"];
        for address in wrong.into_iter().chain(["http://u@a:80", "http://a\r\nx:80", "http://a:80?x"]) {
            let refused = Application::new("words", address).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("application `words` at {address}: ")), "{refused}");
        }
        Application::new("", "http://app:9404").unwrap_err();
    }
}
