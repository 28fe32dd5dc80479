//! Users of SCRAM, and what is kept of their passwords.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::records::metadata::{RemoveUserScramCredentialRecord, UserScramCredentialRecord};
use vltava_security::sasl::scram::{Hash, ScramCredential};

/// The credentials, by mechanism and user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScramImage {
    credentials: BTreeMap<(Hash, String), ScramCredential>,
}

impl ScramImage {
    /// A user's credential of a mechanism.
    pub(crate) fn get(&self, hash: Hash, user: &str) -> Option<&ScramCredential> {
        self.credentials.get(&(hash, user.to_owned()))
    }

    /// All of them, with mechanism and user.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Hash, &str, &ScramCredential)> {
        self.credentials.iter().map(|((hash, user), credential)| (*hash, user.as_str(), credential))
    }

    /// The users, each once.
    pub(crate) fn users(&self) -> BTreeSet<&str> {
        self.credentials.keys().map(|(_, user)| user.as_str()).collect()
    }

    pub(super) fn set(&mut self, record: &UserScramCredentialRecord) -> Result<(), String> {
        let hash = hash(record.mechanism)?;
        let iterations = u32::try_from(record.iterations)
            .map_err(|_| format!("user `{}` has {} iterations", record.name, record.iterations))?;
        let credential = ScramCredential {
            salt: record.salt.to_vec(),
            stored_key: record.stored_key.to_vec(),
            server_key: record.server_key.to_vec(),
            iterations,
        };
        self.credentials.insert((hash, record.name.clone()), credential);
        Ok(())
    }

    pub(super) fn remove(&mut self, record: &RemoveUserScramCredentialRecord) -> Result<(), String> {
        let key = (hash(record.mechanism)?, record.name.clone());
        let removed = self.credentials.remove(&key);
        removed.map(drop).ok_or_else(|| format!("user `{}` has no credential of {}", key.1, key.0.mechanism()))
    }
}

/// The iterations as records and answers have them.
pub(crate) fn iterations(credential: &ScramCredential) -> i32 {
    // They came as such a number, or are of a range far below.
    i32::try_from(credential.iterations).unwrap_or(i32::MAX)
}

fn hash(mechanism: i8) -> Result<Hash, String> {
    Hash::of_id(mechanism).ok_or_else(|| format!("SCRAM mechanism {mechanism} is not known"))
}
