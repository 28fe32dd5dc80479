//! Stores in the JVM's own format, which keytool wrote before Java 9 and writes with `-storetype JKS`.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY as SHA1};

use super::der::{Der, OCTET_STRING, OID};
use super::error::StoreProblem;
use super::name;
use super::store::{Stored, StoredKey};

pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// That of the format JCEKS.
pub(super) const JCEKS_MAGIC: [u8; 4] = [0xce, 0xce, 0xce, 0xce];

/// The JVM's own encryption of keys.
const KEY_PROTECTOR: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];
/// What the digest of a store begins with, behind the password.
const WHITENER: &[u8] = b"Mighty Aphrodite";
const DIGEST_BYTES: usize = 20;

const CUT: StoreProblem = StoreProblem::Malformed("it ends too early");

/// Reads a store. Without a password its integrity is not checked, and its keys cannot be read. A key may have a
/// password of its own.
pub(super) fn read(bytes: &[u8], password: Option<&str>, key_password: Option<&str>) -> Result<Stored, StoreProblem> {
    let (body, expected) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or(CUT)?;
    if let Some(password) = password {
        let mut context = Context::new(&SHA1);
        context.update(&utf16(password));
        context.update(WHITENER);
        context.update(body);
        if context.finish().as_ref() != expected {
            return Err(StoreProblem::WrongPassword);
        }
    }
    let mut input = Input(body);
    input.take(MAGIC.len())?;
    let version = input.number()?;
    if !matches!(version, 1 | 2) {
        return Err(StoreProblem::Malformed("its version is neither 1 nor 2"));
    }
    let mut stored = Stored::default();
    for _ in 0..input.number()? {
        let kind = input.number()?;
        input.text()?;
        // The time at which it was added.
        input.take(8)?;
        match kind {
            1 => {
                let protected = input.bytes()?;
                let password = key_password.or(password).ok_or(StoreProblem::NeedsPassword);
                let key = password.and_then(|password| unprotect(protected, password));
                let mut chain = Vec::new();
                for _ in 0..input.number()? {
                    chain.push(input.certificate(version)?);
                }
                stored.keys.push(StoredKey { key, chain });
            }
            2 => {
                let certificate = input.certificate(version)?;
                stored.trusted.push(certificate);
            }
            _ => return Err(StoreProblem::Malformed("an entry is neither a key nor a certificate")),
        }
    }
    Ok(stored)
}

/// What is still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], StoreProblem> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, StoreProblem> {
        Ok(self.take(4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn bytes(&mut self) -> Result<&'a [u8], StoreProblem> {
        let count = usize::try_from(self.number()?).map_err(|_| CUT)?;
        self.take(count)
    }

    fn text(&mut self) -> Result<&'a [u8], StoreProblem> {
        let count = self.take(2)?.iter().fold(0, |count, byte| count << 8 | usize::from(*byte));
        self.take(count)
    }

    fn certificate(&mut self, version: u32) -> Result<Vec<u8>, StoreProblem> {
        if version == 2 && self.text()? != b"X.509" {
            return Err(StoreProblem::Unsupported("a certificate that is not of X.509".to_owned()));
        }
        self.bytes().map(<[u8]>::to_vec)
    }
}

/// A key is hidden under the digests of the password and of the digest before, beginning with a salt; behind it stands the
/// digest of the password and the key.
fn unprotect(protected: &[u8], password: &str) -> Result<Vec<u8>, StoreProblem> {
    let mut info = Der::new(protected).sequence()?;
    let algorithm = info.sequence()?.take(OID)?;
    if algorithm != KEY_PROTECTOR {
        return Err(StoreProblem::Unsupported(format!("the encryption {}", name::dotted(algorithm))));
    }
    let hidden = info.take(OCTET_STRING)?;
    let (salt, hidden) = hidden.split_first_chunk::<DIGEST_BYTES>().ok_or(CUT)?;
    let (hidden, expected) = hidden.split_last_chunk::<DIGEST_BYTES>().ok_or(CUT)?;
    let password = utf16(password);
    let after_password = |bytes: &[u8]| {
        let mut context = Context::new(&SHA1);
        context.update(&password);
        context.update(bytes);
        context.finish()
    };
    let mut key = Vec::with_capacity(hidden.len());
    let mut last = salt.to_vec();
    for part in hidden.chunks(DIGEST_BYTES) {
        last = after_password(&last).as_ref().to_vec();
        key.extend(part.iter().zip(&last).map(|(byte, mask)| byte ^ mask));
    }
    if after_password(&key).as_ref() == expected { Ok(key) } else { Err(StoreProblem::WrongPassword) }
}

fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// A store of these certificates, for tests that need a damaged one with a right digest.
#[cfg(test)]
pub(super) fn with_digest(body: &[u8], password: &str) -> Vec<u8> {
    let digest = ring::digest::digest(&SHA1, &[&utf16(password), WHITENER, body].concat());
    [body, digest.as_ref()].concat()
}
