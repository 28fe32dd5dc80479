//! Requests to the registry, one address after the other until one answers.

use std::time::Duration;

use ureq::Agent;

use super::config::RegistryConfig;
use crate::error::{Result, SchemaError};

/// What the registry's API calls its JSON.
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

pub(super) struct Http {
    agent: Agent,
    /// Each without a slash at its end, with the header that logs in there.
    bases: Vec<(String, Option<String>)>,
}

/// What came back, whatever it says.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Method and path.
    pub(super) request: String,
}

impl Http {
    pub(super) fn new(config: &RegistryConfig) -> Result<Self> {
        let builder = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_millis(config.connect_timeout_ms)))
            .timeout_recv_response(Some(Duration::from_millis(config.read_timeout_ms)))
            .timeout_recv_body(Some(Duration::from_millis(config.read_timeout_ms)));
        #[cfg(feature = "tls")]
        let builder = builder.tls_config(tls::config()?);
        Ok(Http { agent: builder.build().new_agent(), bases: config.bases() })
    }

    pub(super) fn get(&self, path: &str) -> Result<Answer> {
        self.first(&format!("GET {path}"), |base, login| {
            let mut request = self.agent.get(format!("{base}{path}")).header("Accept", CONTENT_TYPE);
            if let Some(login) = login {
                request = request.header("Authorization", login);
            }
            request.call()
        })
    }

    pub(super) fn post(&self, path: &str, body: &serde_json::Value) -> Result<Answer> {
        let body = body.to_string();
        self.first(&format!("POST {path}"), |base, login| {
            let request = self.agent.post(format!("{base}{path}")).header("Accept", CONTENT_TYPE);
            let mut request = request.header("Content-Type", CONTENT_TYPE);
            if let Some(login) = login {
                request = request.header("Authorization", login);
            }
            request.send(body.as_str())
        })
    }

    /// The first answer; an address that cannot be reached, or is broken, gives way to the next.
    fn first(
        &self,
        request: &str,
        send: impl Fn(&str, Option<&str>) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer> {
        let mut last = Err(SchemaError::Config("`schema.registry.url` is missing".to_owned()));
        for (base, login) in &self.bases {
            let answer = send(base, login.as_deref()).and_then(|mut response| {
                let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
                Ok(Answer { status: response.status().as_u16(), body, request: request.to_owned() })
            });
            match answer {
                Ok(answer) if answer.status < 500 => return Ok(answer),
                Ok(answer) => last = Ok(answer),
                Err(error) => {
                    tracing::debug!(url = base, request, "{error}");
                    // An answer, even a bad one, tells more than a registry that is away.
                    if last.is_err() {
                        last = Err(SchemaError::Unavailable { url: base.clone(), reason: error.to_string() });
                    }
                }
            }
        }
        last
    }
}

/// A name as one segment of a path.
pub(super) fn encoded(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(feature = "tls")]
mod tls {
    use std::sync::Arc;

    use ureq::tls::{Certificate, RootCerts, TlsConfig};

    use crate::error::{Result, SchemaError};

    /// The certificates that the system trusts.
    pub(super) fn config() -> Result<TlsConfig> {
        let found = rustls_native_certs::load_native_certs();
        if let ([], [error, ..]) = (&found.certs[..], &found.errors[..]) {
            return Err(SchemaError::Config(format!("the system's certificates cannot be read: {error}")));
        }
        let roots = found.certs.iter().map(|root| Certificate::from_der(root).to_owned());
        Ok(TlsConfig::builder()
            .root_certs(RootCerts::from(roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_subject_is_one_segment_of_a_path() {
        assert_eq!(super::encoded("a.b-c_d"), "a.b-c_d");
        assert_eq!(super::encoded("a/b ?é"), "a%2Fb%20%3F%C3%A9");
    }
}
