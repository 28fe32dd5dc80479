//! Users of SCRAM: what the metadata log has of their passwords, altered as Kafka's controller does.

use std::sync::Arc;

use tracing::info;
use vltava_protocol::messages::AlterUserScramCredentialsRequest;
use vltava_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use vltava_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use vltava_protocol::records::metadata::{MetadataRecord, RemoveUserScramCredentialRecord, UserScramCredentialRecord};
use vltava_protocol::{ErrorCode, java};
use vltava_security::sasl::scram::{Hash, MAX_ITERATIONS, MIN_ITERATIONS, SaltedPassword, ScramCredential};

use super::Controller;
use crate::metadata::image::MetadataImage;
use crate::metadata::scram::iterations;
use crate::request::ApiError;

/// Alters what the request names, and tells of each user what became of it.
///
/// # Errors
/// Where the metadata log cannot be written; then nothing of it has happened.
pub(crate) async fn alter(
    controller: &Arc<Controller>,
    request: AlterUserScramCredentialsRequest,
) -> Result<Vec<AlterUserScramCredentialsResult>, ApiError> {
    let results = controller.update(move |image| Ok(records(image, &request))).await?;
    for result in &results {
        if result.error_code == 0 {
            info!(user = result.user, "a SCRAM credential is altered");
        }
    }
    Ok(results)
}

/// The record that keeps a credential.
pub(crate) fn record(name: &str, hash: Hash, credential: &ScramCredential) -> MetadataRecord {
    MetadataRecord::UserScramCredential(UserScramCredentialRecord {
        name: name.to_owned(),
        mechanism: hash.id(),
        salt: credential.salt.clone().into(),
        stored_key: credential.stored_key.clone().into(),
        server_key: credential.server_key.clone().into(),
        iterations: iterations(credential),
        ..UserScramCredentialRecord::default()
    })
}

/// One thing asked for.
#[derive(Debug, Clone, Copy)]
enum Asked<'a> {
    Deletion(&'a ScramCredentialDeletion),
    Upsertion(&'a ScramCredentialUpsertion),
}

impl Asked<'_> {
    fn user(&self) -> &str {
        match self {
            Self::Deletion(deletion) => &deletion.name,
            Self::Upsertion(upsertion) => &upsertion.name,
        }
    }
}

/// What is to be written, and what is answered: deletions, then upsertions, then what is refused, each in the order of Java's
/// map of them.
fn records(
    image: &MetadataImage,
    request: &AlterUserScramCredentialsRequest,
) -> (Vec<MetadataRecord>, Vec<AlterUserScramCredentialsResult>) {
    let mut admitted: Vec<Asked<'_>> = Vec::new();
    let mut refused: Vec<(&str, ApiError)> = Vec::new();
    let deletions = request.deletions.iter().map(Asked::Deletion);
    for asked in deletions.chain(request.upsertions.iter().map(Asked::Upsertion)) {
        let user = match asked {
            Asked::Deletion(deletion) => deletion.name.as_str(),
            Asked::Upsertion(upsertion) => upsertion.name.as_str(),
        };
        if refused.iter().any(|(known, _)| *known == user) {
            continue;
        }
        let others = admitted.len();
        admitted.retain(|known| known.user() != user);
        let outcome = match asked {
            _ if admitted.len() < others => Err(ApiError::new(
                ErrorCode::DuplicateResource,
                "A user credential cannot be altered twice in the same request",
            )),
            Asked::Deletion(deletion) => check_deletion(image, deletion),
            Asked::Upsertion(upsertion) => check_upsertion(upsertion),
        };
        match outcome {
            Ok(()) => admitted.push(asked),
            Err(error) => refused.push((user, error)),
        }
    }
    let (mut deletions, mut upsertions): (Vec<_>, Vec<_>) =
        admitted.into_iter().partition(|asked| matches!(asked, Asked::Deletion(_)));
    for group in [&mut deletions, &mut upsertions] {
        let table = java::grown(group.len());
        java::sort_by_bucket(group, table, |asked| java::string_hash(asked.user()));
    }
    let table = java::grown(refused.len());
    java::sort_by_bucket(&mut refused, table, |(user, _)| java::string_hash(user));
    let admitted: Vec<Asked<'_>> = deletions.into_iter().chain(upsertions).collect();
    let result = |user: &str, error: Option<&ApiError>| AlterUserScramCredentialsResult {
        user: user.to_owned(),
        error_code: error.map_or(0, |error| error.code.code()),
        error_message: error.and_then(|error| error.text()),
        ..AlterUserScramCredentialsResult::default()
    };
    let done = admitted.iter().map(|asked| result(asked.user(), None));
    let results = done.chain(refused.iter().map(|(user, error)| result(user, Some(error)))).collect();
    (admitted.iter().filter_map(to_record).collect(), results)
}

fn to_record(asked: &Asked<'_>) -> Option<MetadataRecord> {
    match asked {
        Asked::Deletion(deletion) => Some(MetadataRecord::RemoveUserScramCredential(RemoveUserScramCredentialRecord {
            name: deletion.name.clone(),
            mechanism: deletion.mechanism,
            ..RemoveUserScramCredentialRecord::default()
        })),
        Asked::Upsertion(upsertion) => {
            let hash = Hash::of_id(upsertion.mechanism)?;
            let salted = SaltedPassword::from_bytes(hash, upsertion.salted_password.to_vec());
            let iterations = u32::try_from(upsertion.iterations).ok()?;
            let credential = ScramCredential::new(&salted, upsertion.salt.to_vec(), iterations);
            Some(record(&upsertion.name, hash, &credential))
        }
    }
}

fn check_deletion(image: &MetadataImage, deletion: &ScramCredentialDeletion) -> Result<(), ApiError> {
    let hash = check_user(&deletion.name, deletion.mechanism)?;
    match image.scram().get(hash, &deletion.name) {
        Some(_) => Ok(()),
        None => {
            Err(ApiError::new(ErrorCode::ResourceNotFound, "Attempt to delete a user credential that does not exist"))
        }
    }
}

fn check_upsertion(upsertion: &ScramCredentialUpsertion) -> Result<(), ApiError> {
    check_user(&upsertion.name, upsertion.mechanism)?;
    match u32::try_from(upsertion.iterations) {
        Ok(iterations) if iterations > MAX_ITERATIONS => {
            Err(ApiError::new(ErrorCode::UnacceptableCredential, "Too many iterations"))
        }
        Ok(iterations) if iterations >= MIN_ITERATIONS => Ok(()),
        _ => Err(ApiError::new(ErrorCode::UnacceptableCredential, "Too few iterations")),
    }
}

fn check_user(name: &str, mechanism: i8) -> Result<Hash, ApiError> {
    if name.is_empty() {
        return Err(ApiError::new(ErrorCode::UnacceptableCredential, "Username must not be empty"));
    }
    Hash::of_id(mechanism).ok_or_else(|| ApiError::new(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"))
}
