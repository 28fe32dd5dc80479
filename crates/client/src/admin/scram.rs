//! Users of SCRAM: which there are, new ones, other passwords, and those that are to go (KIP-554).

use std::collections::BTreeMap;

use vltava_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use vltava_protocol::messages::describe_user_scram_credentials_request::UserName;
use vltava_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use vltava_protocol::messages::{AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest};
pub use vltava_security::sasl::scram::Hash as ScramMechanism;
use vltava_security::sasl::scram::{MAX_CLIENT_ITERATIONS, MIN_ITERATIONS};
use vltava_security::{Secret, sasl};

use super::{Admin, Results};
use crate::error::ClientError;
use crate::net::SendOptions;

/// What a user has of a mechanism, Kafka's `ScramCredentialInfo`. Nothing is told of the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScramCredentialInfo {
    /// The mechanism.
    pub mechanism: ScramMechanism,
    /// How often the password was hashed.
    pub iterations: i32,
}

/// What is to become of a user's credential, Kafka's `UserScramCredentialAlteration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserScramCredentialAlteration {
    user: String,
    mechanism: ScramMechanism,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Delete,
    Upsert { password: Secret, iterations: u32 },
}

impl UserScramCredentialAlteration {
    /// The user has this password, from now on or again. It is hashed here, with a new salt and 4096 times unless
    /// [`iterations`](Self::iterations) says otherwise, and does not go to the broker.
    #[must_use]
    pub fn upsert(user: impl Into<String>, mechanism: ScramMechanism, password: impl Into<String>) -> Self {
        let change = Change::Upsert { password: password.into().into(), iterations: MIN_ITERATIONS };
        Self { user: user.into(), mechanism, change }
    }

    /// The user has no password of this mechanism any more.
    #[must_use]
    pub fn delete(user: impl Into<String>, mechanism: ScramMechanism) -> Self {
        Self { user: user.into(), mechanism, change: Change::Delete }
    }

    /// How often the password is hashed: 4096 to 16384 in Kafka; more cost each authentication more, and whoever guesses.
    #[must_use]
    pub fn iterations(mut self, count: u32) -> Self {
        if let Change::Upsert { iterations, .. } = &mut self.change {
            *iterations = count;
        }
        self
    }
}

impl Admin {
    /// Which users there are, or what these have, if any are named.
    ///
    /// # Errors
    /// Of a user `ResourceNotFound`; of the call [`ClientError::UnsupportedVersion`] of before Kafka 2.7.
    pub async fn describe_user_scram_credentials<S: Into<String>>(
        &self,
        users: impl IntoIterator<Item = S>,
    ) -> Result<Results<String, Vec<ScramCredentialInfo>>, ClientError> {
        let name = |user: S| UserName { name: user.into(), ..UserName::default() };
        let users: Vec<UserName> = users.into_iter().map(name).collect();
        let users = (!users.is_empty()).then_some(users);
        let request = DescribeUserScramCredentialsRequest { users, ..DescribeUserScramCredentialsRequest::default() };
        let response = self
            .retry(async || {
                let response = self.cluster.send_controller(&request, SendOptions::default()).await?;
                ClientError::check(response.error_code, response.error_message.as_deref()).map(|()| response)
            })
            .await?;
        Ok(response.results.into_iter().map(|result| (result.user.clone(), credentials(&result))).collect())
    }

    /// Alters what users have, each mechanism of a user once at most.
    ///
    /// # Errors
    /// For each user `UnacceptableCredential`, `ResourceNotFound` of one to delete, `DuplicateResource`;
    /// [`ClientError::InvalidArgument`] for an empty password.
    pub async fn alter_user_scram_credentials(
        &self,
        alterations: impl IntoIterator<Item = UserScramCredentialAlteration>,
    ) -> Results<String, ()> {
        let mut results = Results::new();
        // By user, so that those whose failure may pass are tried again by themselves.
        let mut requests: BTreeMap<String, AlterUserScramCredentialsRequest> = BTreeMap::new();
        for alteration in alterations {
            let request = requests.entry(alteration.user.clone()).or_default();
            if let Err(error) = add(request, alteration.clone()).await {
                results.insert(alteration.user, Err(error));
            }
        }
        requests.retain(|user, _| !results.contains_key(user));
        let users = requests.keys().cloned().collect();
        let requests = &requests;
        let answered = self.retry_each(users, async |users: Vec<String>| {
            let mut all = AlterUserScramCredentialsRequest::default();
            for one in users.iter().filter_map(|user| requests.get(user)) {
                all.deletions.extend(one.deletions.iter().cloned());
                all.upsertions.extend(one.upsertions.iter().cloned());
            }
            let response = self.cluster.send_controller(&all, SendOptions::default()).await?;
            let answers = response.results.into_iter().map(|result| {
                let checked = ClientError::check(result.error_code, result.error_message.as_deref());
                (result.user, checked)
            });
            Ok(answers.collect())
        });
        results.extend(answered.await);
        results
    }
}

fn credentials(result: &DescribeUserScramCredentialsResult) -> Result<Vec<ScramCredentialInfo>, ClientError> {
    ClientError::check(result.error_code, result.error_message.as_deref())?;
    // One of a mechanism that nobody here knows is left out.
    let known = result.credential_infos.iter().filter_map(|info| {
        let mechanism = ScramMechanism::of_id(info.mechanism)?;
        Some(ScramCredentialInfo { mechanism, iterations: info.iterations })
    });
    Ok(known.collect())
}

async fn add(
    request: &mut AlterUserScramCredentialsRequest,
    alteration: UserScramCredentialAlteration,
) -> Result<(), ClientError> {
    let UserScramCredentialAlteration { user: name, mechanism, change } = alteration;
    let Change::Upsert { password, iterations } = change else {
        let deletion = ScramCredentialDeletion { name, mechanism: mechanism.id(), ..Default::default() };
        request.deletions.push(deletion);
        return Ok(());
    };
    if password.expose().is_empty() {
        return Err(ClientError::invalid("a password of SCRAM must not be empty"));
    }
    let too_many = || ClientError::invalid(format!("{iterations} iterations: at most {MAX_CLIENT_ITERATIONS}"));
    let signed = i32::try_from(iterations).map_err(|_| too_many())?;
    if iterations > MAX_CLIENT_ITERATIONS {
        return Err(too_many());
    }
    let salt = sasl::salt().map_err(|error| ClientError::invalid(format!("no salt: {error}")))?;
    let own = salt.clone();
    // Many thousand hashes: other work on this thread goes on meanwhile.
    let hashed =
        tokio::task::spawn_blocking(move || mechanism.salted_password(password.expose().as_bytes(), &own, iterations));
    let salted = hashed.await.map_err(|error| ClientError::Panicked { message: error.to_string().into() })?;
    request.upsertions.push(ScramCredentialUpsertion {
        name,
        mechanism: mechanism.id(),
        iterations: signed,
        salt: salt.into(),
        salted_password: salted.expose().to_vec().into(),
        ..Default::default()
    });
    Ok(())
}
