//! Whether a signed token is good, as Kafka's `BrokerJwtValidator` and the library under it see it.

use base64::Engine;
use serde_json::Value;

use super::ValidToken;
use super::json::{BASE64_URL, Object, shown};
use super::jwk::{JsonWebKeySet, Verdict};

/// What a token has to say, as Kafka's `BrokerJwtValidator` asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtValidator {
    /// `sasl.oauthbearer.expected.audience`: a token must name one of them. Where there is none, it may name nobody.
    pub expected_audience: Vec<String>,
    /// `sasl.oauthbearer.expected.issuer`.
    pub expected_issuer: Option<String>,
    /// `sasl.oauthbearer.clock.skew.seconds`: by how much clocks may differ.
    pub clock_skew_seconds: i64,
    /// `sasl.oauthbearer.scope.claim.name`.
    pub scope_claim_name: String,
    /// `sasl.oauthbearer.sub.claim.name`: the claim that is the principal.
    pub sub_claim_name: String,
}

/// Why a token is not good, Kafka's `JwtValidatorException`, for the log: its claims may be shown, and it itself never is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// None of the keys is the one that it names. The provider may have others by now.
    #[error("there is no key for its header (kid {}, alg {algorithm})", .id.as_deref().map_or("none".to_owned(), shown))]
    UnknownKey {
        /// The key that it names.
        id: Option<String>,
        /// How it is signed.
        algorithm: String,
    },
    /// Everything else.
    #[error("{0}")]
    Invalid(String),
}

fn invalid<T>(why: impl Into<String>) -> Result<T, JwtError> {
    Err(JwtError::Invalid(why.into()))
}

impl JwtValidator {
    /// Checks a token against the provider's keys; `now_ms` is in ms of the epoch.
    ///
    /// # Errors
    /// [`JwtError`].
    pub fn validate(&self, token: &str, keys: &JsonWebKeySet, now_ms: i64) -> Result<ValidToken, JwtError> {
        let claims = verified(token, keys)?;
        let expires_at = self.check_times(&claims, now_ms)?;
        self.check_issuer_and_audience(&claims)?;
        for name in ["sub", "jti"] {
            text_claim(&claims, name)?;
        }
        self.check_scopes(&claims)?;
        let name = &self.sub_claim_name;
        let principal = match text_claim(&claims, name)?.map(str::trim) {
            Some(principal) if !principal.is_empty() => principal.to_owned(),
            Some(_) => return invalid(format!("the claim `{name}` is empty")),
            None => return invalid(format!("the claim `{name}` is missing")),
        };
        match expires_at.checked_mul(1000) {
            Some(expires_at_ms) => Ok(ValidToken { principal, expires_at_ms }),
            None => invalid("it ends at no time that there is"),
        }
    }

    /// When it ends, in s of the epoch.
    fn check_times(&self, claims: &Object, now_ms: i64) -> Result<i64, JwtError> {
        let now = now_ms.div_euclid(1000);
        let Some(expires_at) = date(claims, "exp")? else { return invalid("the claim `exp` is missing") };
        let Some(issued_at) = date(claims, "iat")? else { return invalid("the claim `iat` is missing") };
        if now.saturating_sub(self.clock_skew_seconds) >= expires_at {
            return invalid(format!("it has expired at {expires_at}, and it is {now}"));
        }
        let not_before = date(claims, "nbf")?;
        if expires_at < issued_at || not_before.is_some_and(|begin| expires_at < begin) {
            return invalid("it ends before it begins");
        }
        match not_before {
            Some(begin) if now.saturating_add(self.clock_skew_seconds) < begin => {
                invalid(format!("it is not valid before {begin}, and it is {now}"))
            }
            _ if expires_at < 0 || issued_at < 0 => invalid("a time before 1970"),
            _ => Ok(expires_at),
        }
    }

    fn check_issuer_and_audience(&self, claims: &Object) -> Result<(), JwtError> {
        let issuer = text_claim(claims, "iss")?;
        if let Some(expected) = &self.expected_issuer
            && issuer != Some(expected)
        {
            return invalid(format!("its issuer is {}", issuer.map_or("not told".to_owned(), shown)));
        }
        let audience = texts(claims, "aud")?;
        let has_none = audience.is_empty() && claims.get("aud").is_none();
        match (self.expected_audience.is_empty(), has_none) {
            (true, true) => Ok(()),
            (true, false) => invalid(format!("it is for {}, and nobody is expected", listed(&audience))),
            (false, true) => invalid("it names no audience"),
            (false, false) => match audience.iter().any(|one| self.expected_audience.iter().any(|own| own == one)) {
                true => Ok(()),
                false => invalid(format!("its audience is {}", listed(&audience))),
            },
        }
    }

    /// Nobody asks for a scope here. What is none is refused all the same, as in Kafka.
    fn check_scopes(&self, claims: &Object) -> Result<(), JwtError> {
        let name = &self.scope_claim_name;
        let scopes = match claims.get(name) {
            Some(Value::String(_) | Value::Array(_)) => texts(claims, name)?,
            _ => return Ok(()),
        };
        let scopes: Vec<&str> = scopes.into_iter().map(str::trim).collect();
        for (at, scope) in scopes.iter().enumerate() {
            if scope.is_empty() {
                return invalid(format!("the claim `{name}` has an empty part"));
            }
            if scopes.iter().take(at).any(|before| before == scope) {
                return invalid(format!("the claim `{name}` has {} twice", shown(scope)));
            }
        }
        Ok(())
    }
}

/// The claims of a token that one of the keys has signed.
fn verified(token: &str, keys: &JsonWebKeySet) -> Result<Object, JwtError> {
    let sections = token.rsplit_once('.').and_then(|(signed, signature)| {
        let (header, payload) = signed.split_once('.')?;
        let is_whole = ![header, payload, signature].contains(&"") && !payload.contains('.');
        is_whole.then_some((signed, header, payload, signature))
    });
    let Some((signed, header, payload, signature)) = sections else { return invalid("it is not of three sections") };
    let Some(head) = Object::of_token(header) else { return invalid("its header cannot be read") };
    // RFC 7515, section 4.1.11: what must be understood and is not.
    if head.get("crit").is_some() {
        return invalid("its header wants something to be understood that is not");
    }
    let Some(algorithm) = head.text("alg") else { return invalid("its header names no algorithm") };
    let id = match head.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => return invalid("the id of its key is no text"),
    };
    let Ok(signature) = BASE64_URL.decode(signature) else { return invalid("its signature cannot be read") };
    match keys.verify(algorithm, id, signed.as_bytes(), &signature) {
        Verdict::Good => {}
        Verdict::Bad => return invalid("its signature is not that of the key"),
        Verdict::UnknownAlgorithm => return invalid(format!("its algorithm is {}", shown(algorithm))),
        Verdict::UnknownKey => {
            return Err(JwtError::UnknownKey { id: id.map(str::to_owned), algorithm: algorithm.to_owned() });
        }
    }
    Object::of_token(payload).ok_or_else(|| JwtError::Invalid("its claims cannot be read".to_owned()))
}

/// A claim that is a text, where it is there.
fn text_claim<'a>(claims: &'a Object, name: &str) -> Result<Option<&'a str>, JwtError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => invalid(format!("the claim `{name}` is no text")),
    }
}

/// A claim that is a text or a list of them.
fn texts<'a>(claims: &'a Object, name: &str) -> Result<Vec<&'a str>, JwtError> {
    let no_text = || JwtError::Invalid(format!("the claim `{name}` is neither a text nor a list of texts"));
    match claims.get(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(list)) => list.iter().map(|one| one.as_str().ok_or_else(no_text)).collect(),
        Some(_) => Err(no_text()),
    }
}

/// A time in s of the epoch.
fn date(claims: &Object, name: &str) -> Result<Option<i64>, JwtError> {
    match claims.get(name) {
        None => Ok(None),
        // What is behind the point goes, as in Java.
        Some(Value::Number(number)) => Ok(number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64))),
        Some(_) => invalid(format!("the claim `{name}` is no number")),
    }
}

fn listed(texts: &[&str]) -> String {
    shown(&texts.join(", "))
}

#[cfg(test)]
mod tests;
