//! Tokens and sets of keys: the first two bytes say how long the token is, and the rest is the set. There is no private key,
//! so that nothing is good but what a key of both ends has signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vltava_security::sasl::UnsecuredOptions;
use vltava_security::sasl::oauthbearer::{JsonWebKeySet, JwtValidator, UnsecuredValidator};

fuzz_target!(|data: &[u8]| {
    let [high, low, data @ ..] = data else { return };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(data.len());
    let (token, set) = data.split_at(length);
    let Ok(token) = std::str::from_utf8(token) else { return };
    let unsecured = UnsecuredValidator::new(UnsecuredOptions::default()).validate(token, 1_700_000_000_000);
    if let Err(refused) = unsecured {
        assert!(refused.why.len() < 1000 && refused.json().len() < 1000);
    }
    let Ok(keys) = JsonWebKeySet::parse(set) else { return };
    assert!(keys.len() <= set.len());
    let validator = JwtValidator {
        expected_audience: vec!["kafka".to_owned()],
        expected_issuer: None,
        clock_skew_seconds: 30,
        scope_claim_name: "scope".to_owned(),
        sub_claim_name: "sub".to_owned(),
    };
    match validator.validate(token, &keys, 1_700_000_000_000) {
        Ok(valid) => assert!(!valid.principal.is_empty() && set.windows(3).any(|part| part == b"oct")),
        Err(error) => assert!(error.to_string().len() < 1000),
    }
});
