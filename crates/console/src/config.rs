//! What a console is to show, and to whom.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use crate::application::Application;
use crate::error::ConsoleError;

/// How long a call may take, unless the settings say otherwise: a person waits for it.
const API_TIMEOUT_MS: &str = "6000";

/// The same for one request of it.
const REQUEST_TIMEOUT_MS: &str = "4000";

/// The port when none is given.
const PORT: u16 = 8080;

/// A user's name and password, for basic authentication (RFC 7617).
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Login {
    /// # Errors
    /// [`ConsoleError::Refused`] for a name that is empty or has a colon, and for an empty password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Result<Self, ConsoleError> {
        let (user, password) = (user.into(), password.into());
        if user.is_empty() || user.contains(':') {
            return Err(ConsoleError::refused(format!("the user `{user}` must have a name without a colon")));
        }
        if password.is_empty() {
            return Err(ConsoleError::refused(format!("the user `{user}` has an empty password")));
        }
        Ok(Self { user, password })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("password", &"***").finish()
    }
}

/// What a console is to show, where, and to whom.
#[derive(Clone)]
#[must_use]
pub struct ConsoleConfig {
    properties: Vec<(String, String)>,
    pub(crate) address: SocketAddr,
    pub(crate) login: Option<Login>,
    pub(crate) is_open: bool,
    pub(crate) hosts: Vec<String>,
    pub(crate) applications: Vec<Application>,
}

/// Shows keys of the clients' settings and hides values, among which may be secrets.
impl fmt::Debug for ConsoleConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleConfig")
            .field("properties", &self.properties.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .field("address", &self.address)
            .field("login", &self.login)
            .field("is_open", &self.is_open)
            .field("hosts", &self.hosts)
            .field("applications", &self.applications)
            .finish()
    }
}

impl ConsoleConfig {
    /// Of the cluster that these settings of Kafka's clients lead to; `bootstrap.servers` is required.
    ///
    /// `default.api.timeout.ms` is 6 s and `request.timeout.ms` 4 s unless they are given: somebody waits for each answer.
    pub fn new<K: Into<String>, V: Into<String>>(properties: impl IntoIterator<Item = (K, V)>) -> Self {
        Self {
            properties: properties.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            login: None,
            is_open: false,
            hosts: Vec::new(),
            applications: Vec::new(),
        }
    }

    /// Where the page is served. Default: 127.0.0.1:8080. Port 0 is a free one. An address that other machines reach needs
    /// a [`login`](Self::login), or [`without_authentication`](Self::without_authentication).
    pub fn address(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// Who may see it. It goes over the wire as it is: put a proxy with TLS before a console that others reach.
    pub fn login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// Shows it to everyone who reaches the address, also from other machines.
    pub fn without_authentication(self) -> Self {
        Self { is_open: true, ..self }
    }

    /// A name under which browsers may ask for the page; may be given many times. Addresses and `localhost` always may.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// A program of Kafka Streams that serves its metrics under `address`, such as `http://localhost:9404`; may be given many
    /// times. Where it has the name of a group, the two are shown together.
    ///
    /// # Errors
    /// [`ConsoleError::Refused`] for an address that is not `http://host:port`, and for a name that is there already.
    pub fn application(mut self, name: &str, address: &str) -> Result<Self, ConsoleError> {
        if self.applications.iter().any(|known| known.name == name) {
            return Err(ConsoleError::refused(format!("there are two applications `{name}`")));
        }
        self.applications.push(Application::new(name, address)?);
        Ok(self)
    }

    /// Whether others may be let in as it is said.
    pub(crate) fn check(&self) -> Result<(), ConsoleError> {
        if self.address.ip().is_loopback() || self.login.is_some() || self.is_open {
            return Ok(());
        }
        Err(ConsoleError::refused(format!(
            "other machines reach {}: give a user and a password, or say that no authentication is wanted",
            self.address
        )))
    }

    /// The settings of the clients, with the console's defaults and then `last`, which wins.
    pub(crate) fn properties(&self, last: &[(&str, &str)]) -> Vec<(String, String)> {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let defaults = [
            ("default.api.timeout.ms", API_TIMEOUT_MS),
            ("request.timeout.ms", REQUEST_TIMEOUT_MS),
            ("client.id", "vltava-console"),
        ];
        let given = |key: &str| self.properties.iter().any(|(name, _)| name == key);
        // One that is given alone may not go with the other's default.
        let are_times_given = given("default.api.timeout.ms") || given("request.timeout.ms");
        let is_settled = |key: &str| given(key) || (are_times_given && key.ends_with("timeout.ms"));
        let defaults = defaults.iter().filter(|(key, _)| !is_settled(key));
        let mut all: Vec<_> = defaults.map(pair).chain(self.properties.iter().cloned()).collect();
        all.retain(|(name, _)| !last.iter().any(|(key, _)| name == key));
        all.extend(last.iter().map(pair));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_let_in_only_when_somebody_said_so() {
        let config =
            |address: &str| ConsoleConfig::new([("bootstrap.servers", "b:9092")]).address(address.parse().unwrap());
        let login = || Login::new("ada", "lovelace").unwrap();
        for address in ["127.0.0.1:8080", "[::1]:0", "127.3.2.1:1"] {
            config(address).check().unwrap();
        }
        for address in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080"] {
            let refused = config(address).check().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("other machines reach {address}: give a user")), "{refused}");
            config(address).login(login()).check().unwrap();
            config(address).without_authentication().check().unwrap();
        }
    }

    #[test]
    fn secrets_are_not_shown_and_logins_are_whole() {
        let config = ConsoleConfig::new([("ssl.key.password", "geheim")]).login(Login::new("ada", "lovelace").unwrap());
        let shown = format!("{config:?}");
        assert!(
            shown.contains("ssl.key.password") && !shown.contains("geheim") && !shown.contains("lovelace"),
            "{shown}"
        );
        for (user, password) in [("", "x"), ("a:b", "x"), ("ada", "")] {
            Login::new(user, password).unwrap_err();
        }
    }

    #[test]
    fn the_consoles_own_times_stand_where_none_is_given() {
        let get = |given: &[(&str, &str)], key: &str| {
            let all = ConsoleConfig::new(given.to_vec()).properties(&[("client.id", "mine")]);
            let found: Vec<_> = all.into_iter().filter(|(name, _)| name == key).map(|(_, value)| value).collect();
            assert!(found.len() < 2);
            found.into_iter().next()
        };
        assert_eq!(get(&[], "default.api.timeout.ms").as_deref(), Some("6000"));
        assert_eq!(get(&[("request.timeout.ms", "9000")], "default.api.timeout.ms"), None);
        assert_eq!(get(&[("client.id", "other")], "client.id").as_deref(), Some("mine"));
    }
}
