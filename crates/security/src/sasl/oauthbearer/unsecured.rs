//! Tokens that nobody has signed, as Kafka's `OAuthBearerUnsecuredValidatorCallbackHandler` takes them: for tests.

use serde_json::Value;

use super::json::{Object, shown};
use super::{TokenRefused, ValidToken};
use crate::sasl::UnsecuredOptions;

/// Checks tokens that nobody has signed, as Kafka's class for it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsecuredValidator(UnsecuredOptions);

impl UnsecuredValidator {
    /// By the options of the login module.
    #[must_use]
    pub fn new(options: UnsecuredOptions) -> Self {
        Self(options)
    }

    /// Checks a token; `now_ms` is in ms of the epoch.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub fn validate(&self, token: &str, now_ms: i64) -> Result<ValidToken, TokenRefused> {
        let claims = claims(token)?;
        let options = &self.0;
        let principal = match claims.get(&options.principal_claim_name) {
            Some(Value::String(principal)) if !principal.trim().is_empty() => principal.clone(),
            _ => return refuse(format!("the claim `{}` names nobody", options.principal_claim_name)),
        };
        let (now, skew) = (now_ms as f64, options.allowable_clock_skew_ms as f64);
        let issued_at = number(&claims, "iat")?;
        if issued_at.is_some_and(|at| 1000.0 * at > now + skew) {
            return refuse("it was issued after now");
        }
        let Some(expires_at) = number(&claims, "exp")? else { return refuse("the claim `exp` is missing") };
        if now - skew >= 1000.0 * expires_at {
            return refuse("it has expired");
        }
        if issued_at.is_some_and(|at| expires_at <= at) {
            return refuse("it ends before it begins");
        }
        let scope = scope(&claims, &options.scope_claim_name)?;
        if let Some(missing) = options.required_scope.iter().find(|wanted| !scope.contains(wanted)) {
            return Err(TokenRefused {
                status: "insufficient_scope",
                scope: Some(format!("[{}]", options.required_scope.join(", "))),
                why: format!("it lacks the scope {}", shown(missing)),
            });
        }
        Ok(ValidToken { principal, expires_at_ms: (expires_at * 1000.0).round() as i64 })
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, TokenRefused> {
    Err(TokenRefused::invalid(why))
}

fn claims(token: &str) -> Result<Object, TokenRefused> {
    let sections: Vec<&str> = token.splitn(4, '.').collect();
    let [header, payload, signature] = sections[..] else { return refuse("it is not of three sections") };
    let Some(header) = Object::of_token(header) else { return refuse("its header cannot be read") };
    if header.text("alg") != Some("none") {
        return refuse("its algorithm is not `none`");
    }
    if !signature.is_empty() {
        return refuse("it has a signature");
    }
    Object::of_token(payload).ok_or_else(|| TokenRefused::invalid("its claims cannot be read"))
}

fn number(claims: &Object, name: &str) -> Result<Option<f64>, TokenRefused> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => refuse(format!("the claim `{name}` is no number")),
    }
}

fn scope(claims: &Object, name: &str) -> Result<Vec<String>, TokenRefused> {
    let text = |value: &Value| value.as_str().map(|text| text.trim().to_owned());
    let all = match claims.get(name) {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.trim().to_owned()],
        Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
        Some(_) => return refuse(format!("the claim `{name}` is neither a text nor a list of texts")),
    };
    Ok(all.into_iter().filter(|scope| !scope.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_who_it_is_from_and_how_long() {
        let options = UnsecuredOptions {
            required_scope: vec!["read".to_owned(), "write".to_owned()],
            allowable_clock_skew_ms: 500,
            ..UnsecuredOptions::default()
        };
        let validator = UnsecuredValidator::new(options);
        let validate = |header: &str, claims: &str| validator.validate(&token(header, claims), 10_000);
        let none = r#"{"alg":"none"}"#;
        let fine = r#"{"sub":"alice","exp":12.5,"iat":9,"scope":["write","read","more"]}"#;
        assert_eq!(validate(none, fine), Ok(ValidToken { principal: "alice".to_owned(), expires_at_ms: 12_500 }));
        let skewed = r#"{"sub":"alice","exp":9.6,"scope":["write","read"]}"#;
        assert!(validate(none, skewed).is_ok());
        for (header, claims, why) in [
            (r#"{"alg":"RS256"}"#, fine, "its algorithm is not `none`"),
            ("{}", fine, "its algorithm is not `none`"),
            ("x", fine, "its header cannot be read"),
            (none, "x", "its claims cannot be read"),
            (none, r#"{"exp":12}"#, "the claim `sub` names nobody"),
            (none, r#"{"sub":" ","exp":12}"#, "the claim `sub` names nobody"),
            (none, r#"{"sub":"a"}"#, "the claim `exp` is missing"),
            (none, r#"{"sub":"a","exp":"12"}"#, "the claim `exp` is no number"),
            (none, r#"{"sub":"a","exp":9.5}"#, "it has expired"),
            (none, r#"{"sub":"a","exp":12,"iat":10.6}"#, "it was issued after now"),
            (none, r#"{"sub":"a","exp":9.9,"iat":9.9}"#, "it ends before it begins"),
        ] {
            assert_eq!(validate(header, claims), Err(TokenRefused::invalid(why)), "{claims}");
        }
        let scope = validate(none, r#"{"sub":"a","exp":12,"scope":"read"}"#).unwrap_err();
        assert_eq!(scope.json(), r#"{"status":"insufficient_scope", "scope":"[read, write]"}"#);
        for token in ["", "a.b", "..", "a.b.c.d"] {
            assert!(validator.validate(token, 0).is_err());
        }
        let signed = format!("{}c2ln", token(none, fine));
        assert_eq!(validator.validate(&signed, 10_000), Err(TokenRefused::invalid("it has a signature")));
    }
}
