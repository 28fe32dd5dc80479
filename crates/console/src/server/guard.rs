//! Who is answered.
//!
//! A page of another site may have the browser ask here under a name of its own that it points to this machine (DNS
//! rebinding), and would then read the answer. The name stands in the request's `Host`, so that a name which nobody gave to
//! the console is refused. An address cannot be pointed elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{HeaderMap, Method, Uri};
use subtle::ConstantTimeEq as _;

use crate::config::{ConsoleConfig, Login};

/// Why somebody is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Asked under a name that is not the console's.
    Host(String),
    /// The user or the password is not the one that was given to the console.
    Login,
    /// Asked for something else than to read.
    Method,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "this console is not called `{host}`; `--host {host}` would say that it is"),
            Self::Login => f.write_str("a user and a password are needed"),
            Self::Method => f.write_str("this console only reads: there is nothing to do but GET"),
        }
    }
}

/// Who may ask.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Vec<String>,
    login: Option<Login>,
}

impl Guard {
    pub(crate) fn new(config: &ConsoleConfig) -> Self {
        Self { hosts: config.hosts.clone(), login: config.login.clone() }
    }

    /// Whether a request is answered. Names are looked at first: a page under a wrong one is not to try passwords.
    pub(crate) fn admit(&self, method: &Method, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        let told = headers.get_all(HOST);
        let mut told = told.iter().map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        let Some(host) = told.next() else { return Err(Refusal::Host(String::new())) };
        let in_address = uri.host().is_none_or(|host| self.is_ours(host));
        if told.next().is_some() || !in_address || !self.is_ours(without_port(&host)) {
            return Err(Refusal::Host(host.chars().filter(|c| !c.is_control()).take(100).collect()));
        }
        if let Some(login) = &self.login
            && !headers.get(AUTHORIZATION).is_some_and(|given| is_login(given.as_bytes(), login))
        {
            return Err(Refusal::Login);
        }
        match *method {
            Method::GET | Method::HEAD => Ok(()),
            _ => Err(Refusal::Method),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match in_brackets {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => host == "localhost" || host.parse::<IpAddr>().is_ok() || self.hosts.contains(&host),
        }
    }
}

/// The name in `name:port`, with the brackets of an address of IPv6.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_login(header: &[u8], login: &Login) -> bool {
    let Some((scheme, given)) = header.split_at_checked(6) else { return false };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return false;
    }
    let Ok(given) = STANDARD.decode(given.trim_ascii()) else { return false };
    let expected = format!("{}:{}", login.user, login.password);
    given.ct_eq(expected.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn admit(config: ConsoleConfig, method: Method, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        Guard::new(&config).admit(&method, &map, &Uri::from_static("/"))
    }

    fn config() -> ConsoleConfig {
        ConsoleConfig::new([("bootstrap.servers", "b:9092")]).host("Console.example")
    }

    #[test]
    fn names_that_nobody_gave_are_refused() {
        for ours in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "10.1.2.3", "console.example:80"] {
            assert_eq!(admit(config(), Method::GET, &[("host", ours)]), Ok(()), "{ours}");
        }
        let others =
            ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil", "", "[evil]", "[127.0.0.1]", "a b"];
        for other in others {
            let expected = Err(Refusal::Host(other.to_owned()));
            assert_eq!(admit(config(), Method::GET, &[("host", other)]), expected, "{other}");
        }
        assert_eq!(admit(config(), Method::GET, &[]), Err(Refusal::Host(String::new())));
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert!(admit(config(), Method::GET, &twice).is_err());
        let guard = Guard::new(&config());
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let elsewhere = Uri::from_static("http://evil.example/api/overview");
        assert!(guard.admit(&Method::GET, &headers, &elsewhere).is_err());
    }

    #[test]
    fn a_login_is_asked_for_where_there_is_one() {
        let config = || config().login(Login::new("ada", "love:lace").unwrap());
        let with = |header: &str| admit(config(), Method::GET, &[("host", "localhost"), ("authorization", header)]);
        assert_eq!(admit(config(), Method::GET, &[("host", "localhost")]), Err(Refusal::Login));
        assert_eq!(with(&format!("Basic {}", STANDARD.encode("ada:love:lace"))), Ok(()));
        assert_eq!(with(&format!("bAsIc  {}", STANDARD.encode("ada:love:lace"))), Ok(()));
        let wrong = ["ada:love:lac", "ada:love:lacee", "ada", ""].map(|it| format!("Basic {}", STANDARD.encode(it)));
        for header in wrong.iter().map(String::as_str).chain(["Basic", "Basic ?", "Bearer x", "éé"]) {
            assert_eq!(with(header), Err(Refusal::Login), "{header}");
        }
    }

    #[test]
    fn nothing_is_written() {
        assert_eq!(admit(config(), Method::HEAD, &[("host", "localhost")]), Ok(()));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            assert_eq!(admit(config(), method, &[("host", "localhost")]), Err(Refusal::Method));
        }
    }
}
