//! The hashes, and what SCRAM computes with them.

use std::fmt;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

use crate::sasl::Mechanism;

/// The hash of a SCRAM mechanism, Kafka's `ScramMechanism`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// Of 32 bytes.
    Sha256,
    /// Of 64 bytes.
    Sha512,
}

impl Hash {
    /// The mechanism with this hash.
    #[must_use]
    pub const fn mechanism(self) -> Mechanism {
        match self {
            Self::Sha256 => Mechanism::ScramSha256,
            Self::Sha512 => Mechanism::ScramSha512,
        }
    }

    /// The number of the mechanism in requests and in the metadata log, as Kafka's `ScramMechanism`.
    #[must_use]
    pub const fn id(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The mechanism of this number.
    #[must_use]
    pub const fn of_id(id: i8) -> Option<Self> {
        match id {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// How many bytes a hash has.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    pub(super) fn hmac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => {
                let key = block::<64>(self, key);
                <Hmac<Sha256> as KeyInit>::new(&key.into()).chain_update(bytes).finalize().into_bytes().to_vec()
            }
            Self::Sha512 => {
                let key = block::<128>(self, key);
                <Hmac<Sha512> as KeyInit>::new(&key.into()).chain_update(bytes).finalize().into_bytes().to_vec()
            }
        }
    }

    /// `Hi` of RFC 5802, which is PBKDF2: what takes the time.
    #[must_use]
    pub fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> SaltedPassword {
        let mut salted = vec![0; self.size()];
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
            Self::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted),
        }
        SaltedPassword { hash: self, bytes: salted }
    }
}

/// A password with its salt, the `saltedPassword` of Kafka's `ScramFormatter`: as hard to guess as the iterations make it. It is as good as the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltedPassword {
    hash: Hash,
    bytes: Vec<u8>,
}

impl SaltedPassword {
    /// One that another has computed.
    #[must_use]
    pub fn from_bytes(hash: Hash, bytes: Vec<u8>) -> Self {
        Self { hash, bytes }
    }

    /// What goes to a broker that is to keep it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn client_key(&self) -> Vec<u8> {
        self.hash.hmac(&self.bytes, b"Client Key")
    }

    pub(super) fn stored_key(&self) -> Vec<u8> {
        self.hash.digest(&self.client_key())
    }

    pub(super) fn server_key(&self) -> Vec<u8> {
        self.hash.hmac(&self.bytes, b"Server Key")
    }
}

impl fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key as one block of its hash: hashed where it is longer, and zeros behind it (RFC 2104).
fn block<const SIZE: usize>(hash: Hash, key: &[u8]) -> [u8; SIZE] {
    let mut block = [0; SIZE];
    let hashed = (key.len() > SIZE).then(|| hash.digest(key));
    block.iter_mut().zip(hashed.as_deref().unwrap_or(key)).for_each(|(to, from)| *to = *from);
    block
}

/// The bytes that are in one and not in the other; nothing of different lengths.
pub(super) fn xor(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    (one.len() == other.len()).then(|| one.iter().zip(other).map(|(a, b)| a ^ b).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, cases 2 and 6: a key shorter and one longer than a block.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let short = hex(&Hash::Sha256.hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(short, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let long = hex(&Hash::Sha256.hmac(&[0xaa; 131], text));
        assert_eq!(long, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
        let long = hex(&Hash::Sha512.hmac(&[0xaa; 131], text));
        assert!(long.starts_with("80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"), "{long}");
    }
}
