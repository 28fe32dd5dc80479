//! Tokens that are good, and each way in which one is not.

use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA384, RsaEncoding,
};
use ring::{hmac, signature};

use super::*;

/// Now, in s.
const NOW: i64 = 1_700_000_000;

fn rsa() -> KeyPair {
    let pem = include_str!("rsa.pem");
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    KeyPair::from_pkcs8(&STANDARD.decode(text).unwrap()).unwrap()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL.encode(bytes)
}

fn rsa_key(id: &str) -> String {
    let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(rsa().public());
    format!(r#"{{"kty":"RSA","kid":"{id}","use":"sig","alg":"RS256","n":"{}","e":"{}"}}"#, encode(n), encode(e))
}

fn keys(keys: &[String]) -> JsonWebKeySet {
    JsonWebKeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
}

fn signed_by(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(signature))
}

fn rsa_signature(padding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let rsa = rsa();
    let mut signature = vec![0; rsa.public().modulus_len()];
    rsa.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn signed(header: &str, claims: &str) -> String {
    signed_by(header, claims, |message| rsa_signature(&RSA_PKCS1_SHA256, message))
}

fn validator() -> JwtValidator {
    JwtValidator {
        expected_audience: vec!["kafka".to_owned(), "brokers".to_owned()],
        expected_issuer: Some("https://idp.example".to_owned()),
        clock_skew_seconds: 30,
        scope_claim_name: "scope".to_owned(),
        sub_claim_name: "sub".to_owned(),
    }
}

const HEADER: &str = r#"{"alg":"RS256","typ":"JWT","kid":"one"}"#;

/// The claims of a good token, with these in the place of those of the same name; null takes one away.
fn claims(changed: &str) -> String {
    let good = format!(
        r#"{{"sub":"alice","iss":"https://idp.example","aud":"kafka","scope":["read","write"],"iat":{},"exp":{}}}"#,
        NOW - 10,
        NOW + 60
    );
    let mut good: serde_json::Map<String, Value> = serde_json::from_str(&good).unwrap();
    good.extend(serde_json::from_str::<serde_json::Map<String, Value>>(&format!("{{{changed}}}")).unwrap());
    Value::Object(good).to_string()
}

fn validate(validator: &JwtValidator, token: &str) -> Result<ValidToken, String> {
    let known = keys(&[rsa_key("one")]);
    validator.validate(token, &known, NOW * 1000 + 999).map_err(|error| error.to_string())
}

#[test]
fn a_good_token_says_who_it_is_from_and_how_long() {
    let good =
        |principal: &str, end: i64| Ok(ValidToken { principal: principal.to_owned(), expires_at_ms: end * 1000 });
    for (changed, expected) in [
        ("", good("alice", NOW + 60)),
        (r#""sub":" bob ""#, good("bob", NOW + 60)),
        (r#""aud":["others","brokers"]"#, good("alice", NOW + 60)),
        (r#""scope":null"#, good("alice", NOW + 60)),
        (r#""scope":"read write""#, good("alice", NOW + 60)),
        (r#""scope":7"#, good("alice", NOW + 60)),
        // Within what clocks may differ by.
        (r#""exp":1699999971,"iat":1699999000"#, good("alice", NOW - 29)),
        (r#""nbf":1700000030"#, good("alice", NOW + 60)),
        // Whatever is behind the point.
        (r#""exp":1700000060.9"#, good("alice", NOW + 60)),
        // Nobody asks when it was issued, as long as that is told.
        (r#""iat":1700000060"#, good("alice", NOW + 60)),
        (r#""own":{"x":[1]},"jti":"7""#, good("alice", NOW + 60)),
    ] {
        assert_eq!(validate(&validator(), &signed(HEADER, &claims(changed))), expected, "{changed}");
    }
    let own =
        JwtValidator { sub_claim_name: "client_id".to_owned(), scope_claim_name: "scp".to_owned(), ..validator() };
    let token = signed(HEADER, &claims(r#""client_id":"app","scp":["x"],"scope":["x","x"]"#));
    assert_eq!(validate(&own, &token), good("app", NOW + 60));
}

#[test]
fn what_the_claims_lack_or_have_too_much_is_told() {
    for (changed, why) in [
        (r#""exp":1699999970,"iat":1699999000"#, "it has expired at 1699999970, and it is 1700000000"),
        (r#""exp":null"#, "the claim `exp` is missing"),
        (r#""exp":"soon""#, "the claim `exp` is no number"),
        (r#""exp":1e300,"iat":-1"#, "a time before 1970"),
        (r#""exp":1e300"#, "it ends at no time that there is"),
        (r#""iat":null"#, "the claim `iat` is missing"),
        (r#""iat":1700000061"#, "it ends before it begins"),
        (r#""nbf":1700000061"#, "it ends before it begins"),
        (r#""nbf":1700000031"#, "it is not valid before 1700000031, and it is 1700000000"),
        (r#""sub":null"#, "the claim `sub` is missing"),
        (r#""sub":"""#, "the claim `sub` is empty"),
        (r#""sub":" ""#, "the claim `sub` is empty"),
        (r#""sub":["alice"]"#, "the claim `sub` is no text"),
        (r#""jti":7"#, "the claim `jti` is no text"),
        (r#""iss":null"#, "its issuer is not told"),
        (r#""iss":"https://idp.example/""#, r#"its issuer is "https://idp.example/""#),
        (r#""iss":"a\nb""#, r#"its issuer is "a\nb""#),
        (r#""aud":null"#, "it names no audience"),
        (r#""aud":[]"#, r#"its audience is """#),
        (r#""aud":["others","kafka2"]"#, r#"its audience is "others, kafka2""#),
        (r#""aud":7"#, "the claim `aud` is neither a text nor a list of texts"),
        (r#""aud":["kafka",7]"#, "the claim `aud` is neither a text nor a list of texts"),
        (r#""scope":"""#, "the claim `scope` has an empty part"),
        (r#""scope":["a"," "]"#, "the claim `scope` has an empty part"),
        (r#""scope":["a","b","a "]"#, r#"the claim `scope` has "a" twice"#),
        (r#""scope":[7]"#, "the claim `scope` is neither a text nor a list of texts"),
    ] {
        assert_eq!(validate(&validator(), &signed(HEADER, &claims(changed))), Err(why.to_owned()), "{changed}");
    }
}

#[test]
fn who_expects_nobody_takes_what_is_for_nobody() {
    let any = JwtValidator { expected_audience: Vec::new(), expected_issuer: None, ..validator() };
    assert!(validate(&any, &signed(HEADER, &claims(r#""aud":null,"iss":null"#))).is_ok());
    let told = validate(&any, &signed(HEADER, &claims("")));
    assert_eq!(told, Err(r#"it is for "kafka", and nobody is expected"#.to_owned()));
    let no_text = validate(&any, &signed(HEADER, &claims(r#""aud":null,"iss":1"#)));
    assert_eq!(no_text, Err("the claim `iss` is no text".to_owned()));
}

#[test]
fn what_is_not_signed_by_the_key_is_not_taken() {
    let fine = claims("");
    let good = signed(HEADER, &fine);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let no_sections = "it is not of three sections";
    let bad = "its signature is not that of the key";
    // Who knows the public key signs with it as if it were a secret.
    let PublicKeyComponents { n, .. } = PublicKeyComponents::<Vec<u8>>::from(rsa().public());
    let confused = signed_by(r#"{"alg":"HS256","kid":"one"}"#, &fine, |message| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &n), message).as_ref().to_vec()
    });
    let by_none = |alg: &str| format!("{}.{payload}.{signature}", encode(format!(r#"{{"alg":"{alg}","kid":"one"}}"#)));
    let mut cut = BASE64_URL.decode(signature).unwrap();
    cut.pop();
    for (token, why) in [
        (String::new(), no_sections),
        ("a.b".to_owned(), no_sections),
        (format!("{message}."), no_sections),
        (format!("{good}."), no_sections),
        (format!("{good}.x"), no_sections),
        (format!("{message}.*"), "its signature cannot be read"),
        (format!("*.{payload}.{signature}"), "its header cannot be read"),
        (by_none("none"), r#"its algorithm is "none""#),
        (by_none("None"), r#"its algorithm is "None""#),
        (by_none("ES512"), r#"its algorithm is "ES512""#),
        (by_none("RS384"), bad),
        (by_none("ES256"), r#"there is no key for its header (kid "one", alg ES256)"#),
        (confused, r#"there is no key for its header (kid "one", alg HS256)"#),
        (format!("{header}.{}.{signature}", encode(claims(r#""sub":"mallory""#))), bad),
        (format!("{message}.{}", encode(cut)), bad),
        (signed(r#"{"alg":"RS256","kid":"two"}"#, &fine), r#"there is no key for its header (kid "two", alg RS256)"#),
        (signed(r#"{"alg":"RS256","kid":7}"#, &fine), "the id of its key is no text"),
        (signed(r#"{"kid":"one"}"#, &fine), "its header names no algorithm"),
        (signed(r#"{"alg":"RS256","alg":"none"}"#, &fine), "its header cannot be read"),
        (
            signed(r#"{"alg":"RS256","kid":"one","crit":["exp"]}"#, &fine),
            "its header wants something to be understood that is not",
        ),
        (signed(HEADER, "[]"), "its claims cannot be read"),
        (signed(HEADER, r#"{"sub":"alice","sub":"mallory"}"#), "its claims cannot be read"),
    ] {
        let told = validate(&validator(), &token);
        assert_eq!(told, Err(why.to_owned()), "{token}");
    }
    assert!(validate(&validator(), &signed(r#"{"alg":"RS256"}"#, &fine)).is_ok(), "one key needs no name");
}

#[test]
fn each_algorithm_is_known_and_keys_may_be_many() {
    let random = SystemRandom::new();
    let ec = |algorithm: &'static EcdsaSigningAlgorithm| {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
    };
    let ec_key = |pair: &EcdsaKeyPair, curve: &str, id: &str| {
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        format!(r#"{{"kty":"EC","crv":"{curve}","kid":"{id}","x":"{}","y":"{}"}}"#, encode(x), encode(y))
    };
    let (p256, p384) = (ec(&ECDSA_P256_SHA256_FIXED_SIGNING), ec(&ECDSA_P384_SHA384_FIXED_SIGNING));
    let ed25519 = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
    let ed25519_key =
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"{}"}}"#, encode(ed25519.public_key().as_ref()));
    let secret = [7; 64];
    let all = keys(&[
        ed25519_key,
        ec_key(&p384, "P-384", "p384"),
        ec_key(&p256, "P-256", "p256"),
        rsa_key("one").replace(r#""alg":"RS256","#, ""),
        format!(r#"{{"kty":"oct","kid":"both","k":"{}"}}"#, encode(secret)),
    ]);
    let fine = claims("");
    let of_rsa = |padding: &'static dyn RsaEncoding| move |message: &[u8]| rsa_signature(padding, message);
    let of_ec = |pair: &EcdsaKeyPair, message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
    let by = |algorithm: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        signed_by(&format!(r#"{{"alg":"{algorithm}"}}"#), &fine, sign)
    };
    for token in [
        by("RS256", &of_rsa(&RSA_PKCS1_SHA256)),
        by("RS512", &of_rsa(&RSA_PKCS1_SHA512)),
        by("PS384", &of_rsa(&RSA_PSS_SHA384)),
        by("ES256", &|message| of_ec(&p256, message)),
        by("ES384", &|message| of_ec(&p384, message)),
        by("EdDSA", &|message| signature::Ed25519KeyPair::sign(&ed25519, message).as_ref().to_vec()),
        by("HS512", &|message| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, &secret), message).as_ref().to_vec()),
    ] {
        assert!(validator().validate(&token, &all, NOW * 1000).is_ok(), "{token}");
    }
    let other_curve = by("ES256", &|message| of_ec(&p384, message));
    assert!(validator().validate(&other_curve, &all, NOW * 1000).is_err());
}

#[test]
fn no_part_of_a_token_is_told() {
    for token in [signed(r#"{"alg":"RS256","kid":"two"}"#, &claims("")), signed(HEADER, &claims(r#""aud":"x""#))] {
        let told = validate(&validator(), &token).unwrap_err();
        assert!(token.split('.').all(|part| !told.contains(part)), "{told}");
    }
    let long = "k".repeat(100_000);
    let told =
        validate(&validator(), &signed(&format!(r#"{{"alg":"RS256","kid":"{long}"}}"#), &claims(""))).unwrap_err();
    assert!(told.len() < 200, "{told}");
}

proptest::proptest! {
    #[test]
    fn nothing_is_taken_by_chance(token in "[a-zA-Z0-9_-]{0,20}(\\.[a-zA-Z0-9_-]{0,40}){0,4}", at in 0..400usize, byte: u8) {
        proptest::prop_assert!(validate(&validator(), &token).is_err());
        let mut damaged = signed(HEADER, &claims("")).into_bytes();
        let at = at % damaged.len();
        let was = std::mem::replace(&mut damaged[at], byte);
        // The last bits of base64 may say nothing.
        let damaged = String::from_utf8_lossy(&damaged).into_owned();
        if byte != was && !damaged.ends_with(char::from(byte)) {
            proptest::prop_assert!(validate(&validator(), &damaged).is_err(), "{}", damaged);
        }
    }
}
