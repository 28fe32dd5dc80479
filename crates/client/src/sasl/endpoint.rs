//! Tokens from an endpoint by HTTP: OAuth's client credentials (RFC 6749, section 4.4), as Kafka's `HttpJwtRetriever`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use ureq::Agent;
use vltava_security::Secret;

use super::{BearerToken, TokenError, TokenFuture, TokenProvider};

/// After this part of its life a token is got anew: `sasl.login.refresh.window.factor` at its default.
const KEPT_FOR: f64 = 0.8;
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 1 << 20;
/// The answers that another attempt would not change, as in Kafka.
const FOR_GOOD: [u16; 17] = [400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 501, 505];

/// What an endpoint is asked with.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) scope: Option<String>,
    /// Whether name and secret are URL-encoded in the header, as RFC 6749 has it and many endpoints do not.
    pub(crate) encodes_header: bool,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) read_timeout: Option<Duration>,
}

/// Asks an endpoint, and keeps its token for as long as it is good.
pub(crate) struct TokenEndpoint {
    asking: Arc<Asking>,
    /// One asks at a time, and the others have what comes of it.
    kept: tokio::sync::Mutex<Option<Kept>>,
}

struct Asking {
    agent: Agent,
    grant: Grant,
}

struct Kept {
    token: BearerToken,
    until: Instant,
}

impl TokenEndpoint {
    /// # Errors
    /// Where the system's certificates cannot be read.
    pub(crate) fn new(grant: Grant) -> Result<Self, String> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Another address is not told the secret.
            .max_redirects(0)
            .timeout_connect(grant.connect_timeout)
            .timeout_recv_response(grant.read_timeout)
            .timeout_recv_body(grant.read_timeout)
            .tls_config(tls()?);
        let asking = Asking { agent: config.build().new_agent(), grant };
        Ok(Self { asking: Arc::new(asking), kept: tokio::sync::Mutex::new(None) })
    }

    async fn kept_or_new(&self) -> Result<BearerToken, TokenError> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return Ok(kept.token.clone());
        }
        // Its life has begun when it comes, and who is slow to answer does not make it longer.
        let since = Instant::now();
        let asking = Arc::clone(&self.asking);
        let asked = tokio::task::spawn_blocking(move || asking.ask()).await;
        let (token, lifetime) = asked.map_err(|error| TokenError::Unavailable(error.to_string()))??;
        *kept = lifetime.and_then(|lifetime| {
            let until = since.checked_add(lifetime.mul_f64(KEPT_FOR))?;
            Some(Kept { token: token.clone(), until })
        });
        Ok(token)
    }
}

impl TokenProvider for TokenEndpoint {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(self.kept_or_new())
    }

    fn refused(&self, token: &BearerToken) {
        // Where somebody asks at this moment, that is for another one.
        if let Ok(mut kept) = self.kept.try_lock()
            && kept.as_ref().is_some_and(|kept| kept.token == *token)
        {
            *kept = None;
        }
    }
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenEndpoint").field(&self.asking.grant).finish()
    }
}

impl Asking {
    /// The token, and for how long it is good, where the endpoint says so.
    fn ask(&self) -> Result<(BearerToken, Option<Duration>), TokenError> {
        let Grant { url, client_id, client_secret, scope, encodes_header, .. } = &self.grant;
        let encoded = |text: &str| if *encodes_header { form_encoded(text) } else { text.to_owned() };
        let login = STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(client_secret.expose())));
        let mut body = "grant_type=client_credentials".to_owned();
        if let Some(scope) = scope {
            body.push_str(&format!("&scope={}", form_encoded(scope)));
        }
        let unavailable = |why: &dyn fmt::Display| TokenError::Unavailable(format!("{url}: {why}"));
        let request = self
            .agent
            .post(url)
            .header("Authorization", format!("Basic {login}"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Accept", "application/json")
            .header("Cache-Control", "no-cache");
        let mut response = request.send(body).map_err(|error| unavailable(&error))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        let text = text.map_err(|error| unavailable(&error))?;
        let answer: Option<Value> = serde_json::from_slice(&text).ok();
        let field = |name: &str| answer.as_ref().and_then(|answer| answer.get(name));
        if !(200..300).contains(&status) {
            // RFC 6749, section 5.2: what is no secret.
            let words = ["error", "error_description"].into_iter().filter_map(|name| field(name)?.as_str());
            let words = words.collect::<Vec<_>>().join(": ");
            let why = format!("{url} answers with status {status} {words}");
            return Err(match FOR_GOOD.contains(&status) {
                true => TokenError::Refused(why),
                false => TokenError::Unavailable(why),
            });
        }
        let token = ["access_token", "id_token"].into_iter().find_map(|name| field(name)?.as_str());
        let token = token.ok_or_else(|| TokenError::Refused(format!("{url} answers without an access_token")))?;
        let told = field("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
        // What a broker goes by is the token's own word, as Kafka's clients do.
        let lifetime = [told, life_of(token, SystemTime::now())].into_iter().flatten().min();
        Ok((BearerToken::new(token), lifetime))
    }
}

/// How long a JWT says that it is good yet (RFC 7519, section 4.1.4). `None` where it is none or does not say so.
fn life_of(token: &str, now: SystemTime) -> Option<Duration> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let expires = Duration::try_from_secs_f64(claims.get("exp")?.as_f64()?).ok()?;
    Some(expires.saturating_sub(now.duration_since(SystemTime::UNIX_EPOCH).ok()?))
}

/// The certificates that the system trusts.
fn tls() -> Result<ureq::tls::TlsConfig, String> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let found = rustls_native_certs::load_native_certs();
    if let ([], [error, ..]) = (&found.certs[..], &found.errors[..]) {
        return Err(format!("the system's certificates cannot be read: {error}"));
    }
    let roots = found.certs.iter().map(|root| Certificate::from_der(root).to_owned());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// As Java's `URLEncoder`.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;

    /// Answers each request with the next of `answers`, and gives the requests.
    fn endpoint(answers: Vec<(&'static str, &'static str)>) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (tell, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                while !String::from_utf8_lossy(&request).contains("client_credentials") {
                    let read = stream.read(&mut piece).unwrap();
                    request.extend_from_slice(&piece[..read]);
                }
                tell.send(String::from_utf8(request).unwrap()).unwrap();
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        (url, asked)
    }

    fn provider(url: &str, encodes_header: bool) -> TokenEndpoint {
        let limit = Some(Duration::from_secs(10));
        TokenEndpoint::new(Grant {
            url: url.to_owned(),
            client_id: "app".to_owned(),
            client_secret: "sec ret".into(),
            scope: Some("kafka read".to_owned()),
            encodes_header,
            connect_timeout: limit,
            read_timeout: limit,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_token_is_asked_for_and_kept_for_as_long_as_it_is_good() {
        let (url, asked) = endpoint(vec![
            ("200 OK", r#"{"access_token":"a.b.c","expires_in":3600}"#),
            ("200 OK", r#"{"id_token":"never"}"#),
        ]);
        let provider = provider(&url, false);
        for _ in 0..3 {
            assert_eq!(provider.token().await, Ok(BearerToken::new("a.b.c")));
        }
        let request = asked.recv().unwrap();
        assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
        let login = STANDARD.encode("app:sec ret");
        assert!(
            request.to_lowercase().contains(&format!("authorization: basic {}", login.to_lowercase())),
            "{request}"
        );
        assert!(request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=kafka+read"), "{request}");
        assert!(asked.try_recv().is_err(), "once is enough");
        assert!(!format!("{provider:?}").contains("sec ret"));
    }

    #[tokio::test]
    async fn one_that_a_broker_does_not_take_is_not_kept() {
        let answer = |name| ("200 OK", name);
        let (url, _asked) = endpoint(vec![
            answer(r#"{"access_token":"one","expires_in":3600}"#),
            answer(r#"{"access_token":"two","expires_in":3600}"#),
        ]);
        let provider = provider(&url, false);
        assert_eq!(provider.token().await, Ok(BearerToken::new("one")));
        provider.refused(&BearerToken::new("another"));
        assert_eq!(provider.token().await, Ok(BearerToken::new("one")));
        provider.refused(&BearerToken::new("one"));
        assert_eq!(provider.token().await, Ok(BearerToken::new("two")));
    }

    #[test]
    fn a_token_says_for_how_long_it_is_good() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_250);
        let life = |claims: &str| life_of(&format!("head.{}.signature", URL_SAFE_NO_PAD.encode(claims)), now);
        assert_eq!(life(r#"{"exp":1006}"#), Some(Duration::from_millis(5_750)));
        assert_eq!(life(r#"{"exp":1006.5}"#), Some(Duration::from_millis(6_250)));
        assert_eq!(life(r#"{"exp":7}"#), Some(Duration::ZERO));
        for none in [r#"{"exp":-1}"#, r#"{"exp":"1006"}"#, r#"{"exp":1e300}"#, "{}", "[]", "no object"] {
            assert_eq!(life(none), None, "{none}");
        }
        assert_eq!(life_of("opaque", now), None);
    }

    #[tokio::test]
    async fn a_token_ends_when_it_says_so_whatever_the_endpoint_says() {
        // It has ended already: each connection asks anew.
        let ended =
            format!(r#"{{"access_token":"e30.{}.s","expires_in":3600}}"#, URL_SAFE_NO_PAD.encode(r#"{"exp":7}"#));
        let ended: &'static str = Box::leak(ended.into_boxed_str());
        let (url, asked) = endpoint(vec![("200 OK", ended), ("200 OK", ended)]);
        let provider = provider(&url, false);
        for _ in 0..2 {
            assert!(provider.token().await.is_ok());
            asked.recv().unwrap();
        }
    }

    #[tokio::test]
    async fn one_without_a_lifetime_is_not_kept_and_a_header_may_be_encoded() {
        let (url, asked) = endpoint(vec![("200 OK", r#"{"id_token":"one"}"#), ("200 OK", r#"{"access_token":"two"}"#)]);
        let provider = provider(&url, true);
        assert_eq!(provider.token().await, Ok(BearerToken::new("one")));
        assert_eq!(provider.token().await, Ok(BearerToken::new("two")));
        assert!(asked.recv().unwrap().contains(&STANDARD.encode("app:sec+ret")));
    }

    #[tokio::test]
    async fn refusals_are_for_good_and_the_rest_may_pass() {
        let (url, _asked) = endpoint(vec![
            ("401 Unauthorized", r#"{"error":"invalid_client","error_description":"no such client"}"#),
            ("503 Service Unavailable", "busy"),
            ("302 Found", ""),
            ("200 OK", "{}"),
        ]);
        let provider = provider(&url, false);
        let refused = provider.token().await.unwrap_err();
        let told = format!("{url} answers with status 401 invalid_client: no such client");
        assert_eq!(refused, TokenError::Refused(told));
        assert!(matches!(provider.token().await, Err(TokenError::Unavailable(_))));
        assert!(matches!(provider.token().await, Err(TokenError::Unavailable(_))), "nobody is followed elsewhere");
        assert!(matches!(provider.token().await, Err(TokenError::Refused(_))));
        // Nobody listens any more.
        assert!(matches!(provider.token().await, Err(TokenError::Unavailable(_))));
    }
}
