//! Requests to the registry, one address after the other until one answers.

use std::time::Duration;

use ureq::Agent;
use vltava_config::ConfigError;

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
    /// Method and address.
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

    /// The first answer; an address that cannot be reached, or is broken, gives way to the next.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Result<Answer> {
        let body = body.map(ToString::to_string);
        let mut last = Err(ConfigError::missing("schema.registry.url").into());
        for (base, login) in &self.bases {
            let request = format!("{method} {base}{path}");
            match self.send(method, format!("{base}{path}"), login.as_deref(), body.as_deref()) {
                Ok((status, body)) if status < 500 => return Ok(Answer { status, body, request }),
                Ok((status, body)) => last = Ok(Answer { status, body, request }),
                Err(error) => {
                    tracing::debug!(request, "{error}");
                    // An answer, even a bad one, tells more than a registry that is away.
                    if last.is_err() {
                        last = Err(SchemaError::Unavailable { url: base.clone(), reason: error.to_string() });
                    }
                }
            }
        }
        last
    }

    /// Status and body of one address's answer.
    fn send(
        &self,
        method: &str,
        url: String,
        login: Option<&str>,
        body: Option<&str>,
    ) -> Result<(u16, Vec<u8>), ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(url).header("Accept", CONTENT_TYPE);
        if let Some(login) = login {
            request = request.header("Authorization", login);
        }
        let mut response = match body {
            Some(body) => self.agent.run(request.header("Content-Type", CONTENT_TYPE).body(body)?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok((response.status().as_u16(), body))
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
            return Err(SchemaError::Certificates { reason: error.to_string() });
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
