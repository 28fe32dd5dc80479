//! The hashes, and what SCRAM computes with them.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

use crate::sasl::Mechanism;

/// The hash of a SCRAM mechanism.
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
        // A key of any length is taken: those that are too long are hashed.
        match self {
            Self::Sha256 => Hmac::<Sha256>::new_from_slice(key)
                .map(|mac| mac.chain_update(bytes).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
            Self::Sha512 => Hmac::<Sha512>::new_from_slice(key)
                .map(|mac| mac.chain_update(bytes).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
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

/// A password with its salt, as hard to guess as the iterations make it. It is as good as the password.
#[derive(Clone)]
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

/// The bytes that are in one and not in the other; nothing of different lengths.
pub(super) fn xor(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    (one.len() == other.len()).then(|| one.iter().zip(other).map(|(a, b)| a ^ b).collect())
}
