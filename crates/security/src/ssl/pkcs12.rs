//! Stores in the format of PKCS#12 (RFC 7292), as keytool and openssl write them.

use super::der::{Der, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, context, context_simple};
use super::error::StoreProblem;
use super::name;
use super::pbe;
use super::store::{Stored, StoredKey};

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
/// The types of bags differ in what follows.
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
/// By this keytool marks a certificate that is trusted, and not part of a key's chain.
const TRUSTED_KEY_USAGE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];

/// How deep the chain of a key may be: no more is read than a circle of names needs to be found out.
const LONGEST_CHAIN: usize = 16;

/// What lies in the bags.
#[derive(Default)]
struct Bags {
    keys: Vec<(Result<Vec<u8>, StoreProblem>, Attributes)>,
    certificates: Vec<Bag>,
}

struct Bag {
    bytes: Vec<u8>,
    attributes: Attributes,
}

#[derive(Default)]
struct Attributes {
    local_key_id: Option<Vec<u8>>,
    is_trusted: bool,
}

/// Reads a store. Without a password its integrity is not checked, and what is encrypted cannot be read. A key may have a
/// password of its own.
pub(super) fn read(bytes: &[u8], password: Option<&str>, key_password: Option<&str>) -> Result<Stored, StoreProblem> {
    let mut file = Der::new(bytes).sequence()?;
    if file.unsigned()? != 3 {
        return Err(StoreProblem::Malformed("its version is not 3"));
    }
    let mut safe = file.sequence()?;
    if safe.take(OID)? != DATA {
        return Err(StoreProblem::Unsupported("a store that is signed by a key".to_owned()));
    }
    let contents = Der::new(safe.take(context(0))?).take(OCTET_STRING)?;
    if let (Some(mac), Some(password)) = (file.take_if(SEQUENCE)?, password) {
        let mut mac = Der::new(mac);
        let digest = mac.sequence()?;
        let salt = mac.take(OCTET_STRING)?;
        let iterations = mac.take_if(INTEGER)?.unwrap_or(&[1]);
        pbe::verify_mac(digest, salt, iterations, contents, password)?;
    }
    let mut bags = Bags::default();
    let mut contents = Der::new(contents).sequence()?;
    while !contents.is_empty() {
        let mut content = contents.sequence()?;
        let kind = content.take(OID)?;
        let mut within = Der::new(content.take(context(0))?);
        if kind == DATA {
            bags.read(within.take(OCTET_STRING)?, password, key_password)?;
        } else if kind == ENCRYPTED_DATA {
            let password = password.ok_or(StoreProblem::NeedsPassword)?;
            bags.read(&decrypt_contents(within.sequence()?, password)?, Some(password), key_password)?;
        } else {
            return Err(StoreProblem::Unsupported(format!("a content of type {}", name::dotted(kind))));
        }
    }
    Ok(bags.stored())
}

fn decrypt_contents(mut encrypted: Der<'_>, password: &str) -> Result<Vec<u8>, StoreProblem> {
    encrypted.take(INTEGER)?;
    let mut info = encrypted.sequence()?;
    info.take(OID)?;
    let algorithm = info.sequence()?;
    pbe::decrypt(algorithm, info.take(context_simple(0))?, password)
}

impl Bags {
    fn read(&mut self, safe: &[u8], password: Option<&str>, key_password: Option<&str>) -> Result<(), StoreProblem> {
        let mut safe = Der::new(safe).sequence()?;
        while !safe.is_empty() {
            let mut bag = safe.sequence()?;
            let kind = bag.take(OID)?;
            let value = bag.take(context(0))?;
            let attributes = match bag.take_if(SET)? {
                Some(set) => Attributes::read(set)?,
                None => Attributes::default(),
            };
            match kind.strip_prefix(BAG) {
                Some([1]) => self.keys.push((Ok(value.to_vec()), attributes)),
                Some([2]) => {
                    let password = key_password.or(password).ok_or(StoreProblem::NeedsPassword);
                    self.keys.push((password.and_then(|password| decrypt_key(value, password)), attributes));
                }
                Some([3]) => {
                    let mut certificate = Der::new(value).sequence()?;
                    if certificate.take(OID)? == X509_CERTIFICATE {
                        let bytes = Der::new(certificate.take(context(0))?).take(OCTET_STRING)?;
                        self.certificates.push(Bag { bytes: bytes.to_vec(), attributes });
                    }
                }
                // Lists of revoked certificates, and secrets that are not keys of TLS.
                _ => {}
            }
        }
        Ok(())
    }

    fn stored(self) -> Stored {
        let stored =
            |(key, attributes): &(_, Attributes)| StoredKey { key: Clone::clone(key), chain: self.chain(attributes) };
        let keys = self.keys.iter().map(stored).collect();
        // openssl marks nothing: where there is no key, there is nothing but what is trusted.
        let is_trusted = |one: &&Bag| one.attributes.is_trusted || self.keys.is_empty();
        let trusted = self.certificates.iter().filter(is_trusted).map(|one| one.bytes.clone()).collect();
        Stored { keys, trusted }
    }

    /// The key's certificate and those above it.
    fn chain(&self, key: &Attributes) -> Vec<Vec<u8>> {
        let id = &key.local_key_id;
        let of_key = |one: &&Bag| id.is_some() && one.attributes.local_key_id == *id;
        let only = || self.certificates.first().filter(|_| self.keys.len() == 1 && id.is_none());
        let mut chain: Vec<Vec<u8>> = Vec::new();
        let mut next = self.certificates.iter().find(of_key).or_else(only);
        while let Some(bag) = next {
            if chain.contains(&bag.bytes) || chain.len() == LONGEST_CHAIN {
                break;
            }
            chain.push(bag.bytes.clone());
            let issuer = name::issuer(&bag.bytes).ok();
            next =
                issuer.and_then(|issuer| self.certificates.iter().find(|one| name::subject(&one.bytes) == Ok(issuer)));
        }
        chain
    }
}

/// Decrypts a key in PKCS#8.
pub(super) fn decrypt_key(encrypted: &[u8], password: &str) -> Result<Vec<u8>, StoreProblem> {
    let mut encrypted = Der::new(encrypted).sequence()?;
    let algorithm = encrypted.sequence()?;
    let key = pbe::decrypt(algorithm, encrypted.take(OCTET_STRING)?, password)?;
    // What a wrong password decrypts to is no key.
    let is_key = Der::new(&key).sequence().is_ok_and(|mut key| key.unsigned().is_ok());
    if is_key { Ok(key) } else { Err(StoreProblem::WrongPassword) }
}

impl Attributes {
    fn read(set: &[u8]) -> Result<Self, StoreProblem> {
        let mut attributes = Self::default();
        let mut set = Der::new(set);
        while !set.is_empty() {
            let mut attribute = set.sequence()?;
            let kind = attribute.take(OID)?;
            let mut values = Der::new(attribute.take(SET)?);
            if kind == LOCAL_KEY_ID {
                attributes.local_key_id = values.take_if(OCTET_STRING)?.map(<[u8]>::to_vec);
            }
            attributes.is_trusted |= kind == TRUSTED_KEY_USAGE;
        }
        Ok(attributes)
    }
}
