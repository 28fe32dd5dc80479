//! The messages of SCRAM: attributes of a letter and a value, with commas in between.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::LONGEST_MESSAGE;

/// The header of a client that binds no channel and acts as itself.
pub(super) const GS2_HEADER: &str = "n,,";

/// Without its meaning: `=` and `,` (RFC 5802, `saslname`).
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// The name behind a `saslname`; nothing where an `=` means something else.
pub(super) fn unescape(name: &str) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    let mut parts = name.split('=');
    text.push_str(parts.next()?);
    for part in parts {
        match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => {
                text.push(',');
                text.push_str(rest);
            }
            (_, Some(rest)) => {
                text.push('=');
                text.push_str(rest);
            }
            (None, None) => return None,
        }
    }
    Some(text)
}

/// The text of a message that may be looked at.
pub(super) fn text(message: &[u8]) -> Option<&str> {
    std::str::from_utf8(message.get(..=LONGEST_MESSAGE).is_none().then_some(message)?).ok()
}

/// The value of an attribute that a part has to be.
fn attribute<'a>(part: Option<&'a str>, name: &str) -> Option<&'a str> {
    part?.strip_prefix(name)?.strip_prefix('=').filter(|value| !value.is_empty())
}

fn is_nonce(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn nonce(part: Option<&str>) -> Option<&str> {
    attribute(part, "r").filter(|nonce| is_nonce(nonce))
}

/// Names and values of extensions, which are what follows.
fn extensions<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Vec<(&'a str, &'a str)>> {
    parts
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
            (is_name && !value.is_empty()).then_some((name, value))
        })
        .collect()
}

/// `n,,n=name,r=nonce`.
#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    /// Up to the second comma, which the last message repeats.
    pub(super) gs2_header: &'a str,
    /// What is signed.
    pub(super) bare: &'a str,
    /// Whom the client wants to act as.
    pub(super) authorization_id: Option<String>,
    pub(super) username: String,
    pub(super) nonce: &'a str,
    pub(super) extensions: Vec<(&'a str, &'a str)>,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("n,")?;
        let (authorization_id, bare) = rest.split_once(',')?;
        let authorization_id = match authorization_id {
            "" => None,
            id => Some(unescape(attribute(Some(id), "a")?)?),
        };
        let gs2_header = text.get(..text.len() - bare.len())?;
        let mut parts = bare.split(',');
        let username = unescape(attribute(parts.next(), "n")?)?;
        let nonce = nonce(parts.next())?;
        Some(Self { gs2_header, bare, authorization_id, username, nonce, extensions: extensions(parts)? })
    }
}

/// `r=nonce,s=salt,i=iterations`.
#[derive(Debug)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(',');
        let nonce = nonce(parts.next())?;
        let salt = STANDARD.decode(attribute(parts.next(), "s")?).ok()?;
        let iterations = attribute(parts.next(), "i")?.parse().ok()?;
        extensions(parts)?;
        Some(Self { nonce, salt, iterations })
    }

    pub(super) fn write(nonce: &str, salt: &[u8], iterations: u32) -> String {
        format!("r={nonce},s={},i={iterations}", STANDARD.encode(salt))
    }
}

/// `c=binding,r=nonce,p=proof`.
#[derive(Debug)]
pub(super) struct ClientFinal<'a> {
    /// The header of the first message, again.
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'a str,
    /// What is signed: all but the proof.
    pub(super) without_proof: &'a str,
    pub(super) proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut parts = without_proof.split(',');
        let binding = STANDARD.decode(attribute(parts.next(), "c")?).ok()?;
        let nonce = nonce(parts.next())?;
        extensions(parts)?;
        Some(Self { binding, nonce, without_proof, proof: STANDARD.decode(proof).ok()? })
    }

    pub(super) fn without_proof(nonce: &str) -> String {
        format!("c={},r={nonce}", STANDARD.encode(GS2_HEADER))
    }

    pub(super) fn write(without_proof: &str, proof: &[u8]) -> String {
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }
}

/// `v=signature`, or `e=error`.
#[derive(Debug)]
pub(super) enum ServerFinal<'a> {
    Signature(Vec<u8>),
    Error(&'a str),
}

impl<'a> ServerFinal<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(',');
        let first = parts.next();
        let parsed = match attribute(first, "e") {
            Some(error) => Self::Error(error),
            None => Self::Signature(STANDARD.decode(attribute(first, "v")?).ok()?),
        };
        extensions(parts)?;
        Some(parsed)
    }

    pub(super) fn write(signature: &[u8]) -> String {
        format!("v={}", STANDARD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_equals_sign_means_a_comma_or_itself() {
        assert_eq!(escape("a=b,c"), "a=3Db=2Cc");
        assert_eq!(unescape("a=3Db=2Cc").as_deref(), Some("a=b,c"));
        assert_eq!(unescape("=3D2C").as_deref(), Some("=2C"));
        for wrong in ["a=", "a=b", "a=3d", "="] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in "\\PC*") {
            prop_assert_eq!(unescape(&escape(&name)), Some(name));
        }

        #[test]
        fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(text) = text(&bytes) {
                let _ = (ClientFirst::parse(text), ServerFirst::parse(text));
                let _ = (ClientFinal::parse(text), ServerFinal::parse(text));
            }
        }

        #[test]
        fn what_looks_like_one_is_a_message_or_none(message in "(n,(a=[a-z=,]{0,3})?,)?([nrscipvme]=[a-zA-Z0-9=/+]{0,8},?){0,5}") {
            let _ = (ClientFirst::parse(&message), ServerFirst::parse(&message));
            let _ = (ClientFinal::parse(&message), ServerFinal::parse(&message));
        }
    }
}
