//! JSON web keys (RFC 7517, 8037): a provider's keys, and whether one of them has signed a token.

use std::fmt;

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{digest, hmac};
use serde_json::Value;

use base64::Engine;

use super::json::{BASE64_URL, Object};

/// A provider's keys. Those that it has for other things, or of kinds that are not known here, are left out, as in Kafka.
#[derive(Debug, Default)]
pub struct JsonWebKeySet(Vec<JsonWebKey>);

/// Why a text is no set of keys, for Kafka neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no JSON object with a list of `keys`")]
pub struct NoKeySet;

struct JsonWebKey {
    id: Option<String>,
    algorithm: Option<String>,
    usage: Option<String>,
    material: Material,
}

enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    /// A key that both ends have.
    Octets(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

/// How a token says that it is signed.
#[derive(Clone, Copy)]
enum Algorithm {
    Hmac(hmac::Algorithm),
    Rsa(&'static RsaParameters),
    Ec(Curve, &'static dyn VerificationAlgorithm),
    EdDsa,
}

impl Algorithm {
    /// By its registered name. There is none for `none`.
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hmac(hmac::HMAC_SHA256),
            "HS384" => Self::Hmac(hmac::HMAC_SHA384),
            "HS512" => Self::Hmac(hmac::HMAC_SHA512),
            "RS256" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            "PS256" => Self::Rsa(&RSA_PSS_2048_8192_SHA256),
            "PS384" => Self::Rsa(&RSA_PSS_2048_8192_SHA384),
            "PS512" => Self::Rsa(&RSA_PSS_2048_8192_SHA512),
            "ES256" => Self::Ec(Curve::P256, &ECDSA_P256_SHA256_FIXED),
            "ES384" => Self::Ec(Curve::P384, &ECDSA_P384_SHA384_FIXED),
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }

    /// Whether a key is of the type that it needs: what a public key is cannot become a secret that both ends have.
    fn is_of_type(self, key: &JsonWebKey) -> bool {
        matches!(
            (self, &key.material),
            (Self::Hmac(_), Material::Octets(_))
                | (Self::Rsa(_), Material::Rsa { .. })
                | (Self::Ec(..), Material::Ec { .. })
                | (Self::EdDsa, Material::Ed25519(_))
        )
    }

    fn is_of_curve(self, key: &JsonWebKey) -> bool {
        match (self, &key.material) {
            (Self::Ec(wanted, _), Material::Ec { curve, .. }) => wanted == *curve,
            _ => true,
        }
    }
}

/// What comes of a look for the key of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Bad,
    /// None of the keys is the one.
    UnknownKey,
    UnknownAlgorithm,
}

impl JsonWebKeySet {
    /// Reads what a provider publishes.
    ///
    /// # Errors
    /// [`NoKeySet`].
    pub fn parse(text: &[u8]) -> Result<Self, NoKeySet> {
        let set = Object::parse(text).ok_or(NoKeySet)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(NoKeySet)?;
        Ok(Self(keys.iter().filter_map(JsonWebKey::read).collect()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of this id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Whether the key that a token's header names has made the signature.
    pub(super) fn verify(&self, algorithm: &str, id: Option<&str>, message: &[u8], signature: &[u8]) -> Verdict {
        let Some(parsed) = Algorithm::parse(algorithm) else { return Verdict::UnknownAlgorithm };
        match self.select(parsed, algorithm, id) {
            None => Verdict::UnknownKey,
            Some(key) if key.has_signed(parsed, message, signature) => Verdict::Good,
            Some(_) => Verdict::Bad,
        }
    }

    /// The key by jose4j's rules, which are Kafka's: of the id where there is one, of the type, and not for something else;
    /// where there is more than one still, of the algorithm and of the curve, and then the first.
    fn select(&self, algorithm: Algorithm, name: &str, id: Option<&str>) -> Option<&JsonWebKey> {
        let fits = |key: &&JsonWebKey| {
            (id.is_none() || key.id.as_deref() == id)
                && algorithm.is_of_type(key)
                && key.usage.as_deref().is_none_or(|usage| usage == "sig")
        };
        let fitting: Vec<&JsonWebKey> = self.0.iter().filter(fits).collect();
        if let [only] = fitting[..] {
            return Some(only);
        }
        let is_it =
            |key: &&JsonWebKey| key.algorithm.as_deref().is_none_or(|own| own == name) && algorithm.is_of_curve(key);
        fitting.into_iter().find(is_it)
    }
}

impl JsonWebKey {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str();
        let bytes = |name: &str| BASE64_URL.decode(text(name)?).ok();
        let material = match text("kty")? {
            "RSA" => Material::Rsa { modulus: unsigned(bytes("n")?)?, exponent: unsigned(bytes("e")?)? },
            "EC" => {
                let (curve, size) = match text("crv")? {
                    "P-256" => (Curve::P256, 32),
                    "P-384" => (Curve::P384, 48),
                    _ => return None,
                };
                let mut point = vec![4];
                for coordinate in ["x", "y"] {
                    let number = unsigned(bytes(coordinate)?)?;
                    point.resize(point.len() + usize::checked_sub(size, number.len())?, 0);
                    point.extend(number);
                }
                Material::Ec { curve, point }
            }
            "OKP" if text("crv")? == "Ed25519" => Material::Ed25519(bytes("x")?),
            "oct" => Material::Octets(bytes("k")?),
            _ => return None,
        };
        let owned = |name: &str| text(name).map(str::to_owned);
        Some(Self { id: owned("kid"), algorithm: owned("alg"), usage: owned("use"), material })
    }

    fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (algorithm, &self.material) {
            (Algorithm::Rsa(parameters), Material::Rsa { modulus, exponent }) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature).is_ok()
            }
            (Algorithm::Ec(wanted, algorithm), Material::Ec { curve, point }) => {
                wanted == *curve && UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
            }
            (Algorithm::EdDsa, Material::Ed25519(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            (Algorithm::Hmac(algorithm), Material::Octets(key)) => {
                // RFC 7518, section 3.2: a key is no shorter than the hash.
                let shortest = hash_size(algorithm);
                key.len() >= shortest && hmac::verify(&hmac::Key::new(algorithm, key), message, signature).is_ok()
            }
            _ => false,
        }
    }
}

fn hash_size(algorithm: hmac::Algorithm) -> usize {
    let hash: &digest::Algorithm = algorithm.digest_algorithm();
    hash.output_len()
}

/// A number without zeros in front, which must be one.
fn unsigned(bytes: Vec<u8>) -> Option<Vec<u8>> {
    let number: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    (!number.is_empty()).then_some(number)
}

/// Without what may be secret.
impl fmt::Debug for JsonWebKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonWebKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_left_out_and_what_is_no_set_refused() {
        let text = br#"{"keys":[
            {"kty":"RSA","kid":"enc","use":"enc","n":"AQAB","e":"AQAB"},
            {"kty":"RSA","kid":"no-modulus","e":"AQAB"},
            {"kty":"EC","crv":"P-521","kid":"curve","x":"AQ","y":"AQ"},
            {"kty":"EC","crv":"P-256","kid":"long","x":"AQAB","y":"AQABAQABAQABAQABAQABAQABAQABAQABAQABAQABAQABAQAB"},
            {"kty":"EC","crv":"P-256","kid":"short","x":"AQAB","y":"AAAAAQ"},
            {"kty":"oct","kid":"not-base64","k":"*"},
            {"kty":"new","kid":"new"}, 7, null]}"#;
        let set = JsonWebKeySet::parse(text).unwrap();
        assert_eq!(set.len(), 2, "{set:?}");
        assert!(set.has("enc") && set.has("short"));
        assert_eq!(set.verify("RS256", Some("enc"), b"m", b"s"), Verdict::UnknownKey);
        assert_eq!(set.verify("ES256", Some("short"), b"m", b"s"), Verdict::Bad);
        assert_eq!(set.verify("none", None, b"m", b""), Verdict::UnknownAlgorithm);
        assert!(JsonWebKeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
        for none in [&b""[..], b"[]", b"{}", br#"{"keys":{}}"#, br#"{"keys":[],"keys":[]}"#, b"<html>"] {
            assert!(JsonWebKeySet::parse(none).is_err());
        }
    }

    #[test]
    fn a_shared_key_is_not_shown_and_not_shorter_than_its_hash() {
        let secret = BASE64_URL.encode([7; 32]);
        let set = JsonWebKeySet::parse(format!(r#"{{"keys":[{{"kty":"oct","k":"{secret}"}}]}}"#).as_bytes()).unwrap();
        assert!(!format!("{set:?}").contains(&secret));
        let sign = |algorithm| hmac::sign(&hmac::Key::new(algorithm, &[7; 32]), b"m").as_ref().to_vec();
        assert_eq!(set.verify("HS256", None, b"m", &sign(hmac::HMAC_SHA256)), Verdict::Good);
        assert_eq!(set.verify("HS256", None, b"n", &sign(hmac::HMAC_SHA256)), Verdict::Bad);
        assert_eq!(set.verify("HS512", None, b"m", &sign(hmac::HMAC_SHA512)), Verdict::Bad);
    }
}
