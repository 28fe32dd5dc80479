//! DescribeUserScramCredentials (50), version 0 (KIP-554).
//!
//! Which users have credentials of SCRAM, of which mechanisms and with how many iterations: all users, or those named. Nothing
//! is told of the passwords.

use vltava_protocol::messages::describe_user_scram_credentials_request::UserName;
use vltava_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use vltava_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};
use vltava_protocol::{ErrorCode, java};
use vltava_security::acl::AclOperation;

use crate::metadata::MetadataStore;
use crate::metadata::scram::{ScramImage, iterations};
use crate::request::RequestContext;

pub(crate) fn handle(
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    if let Err(error) = context.need_of_cluster(AclOperation::Describe) {
        // As Kafka: each user that was asked for has the error as well, and no name.
        let refused = |_: &UserName| DescribeUserScramCredentialsResult {
            error_code: error.code.code(),
            error_message: None,
            ..DescribeUserScramCredentialsResult::default()
        };
        return DescribeUserScramCredentialsResponse {
            error_code: error.code.code(),
            error_message: None,
            results: request.users.iter().flatten().map(refused).collect(),
            ..DescribeUserScramCredentialsResponse::default()
        };
    }
    let image = metadata.image();
    let scram = image.scram();
    let mut users: Vec<(&str, bool)> = Vec::new();
    match request.users.as_deref() {
        None | Some([]) => users.extend(scram.users().into_iter().map(|user| (user, false))),
        Some(named) => {
            for user in named {
                match users.iter_mut().find(|(known, _)| *known == user.name) {
                    Some((_, is_repeated)) => *is_repeated = true,
                    None => users.push((&user.name, false)),
                }
            }
        }
    }
    // In the order of Java's map of them.
    let table = java::grown(users.len());
    java::sort_by_bucket(&mut users, table, |(user, _)| java::string_hash(user));
    let results = users.into_iter().map(|(user, is_repeated)| describe(scram, user, is_repeated)).collect();
    DescribeUserScramCredentialsResponse { results, ..DescribeUserScramCredentialsResponse::default() }
}

fn describe(scram: &ScramImage, user: &str, is_repeated: bool) -> DescribeUserScramCredentialsResult {
    let refuse = |code: ErrorCode, why: &str| DescribeUserScramCredentialsResult {
        user: user.to_owned(),
        error_code: code.code(),
        error_message: Some(format!("{why}: {user}")),
        ..DescribeUserScramCredentialsResult::default()
    };
    if is_repeated {
        let why = "Cannot describe SCRAM credentials for the same user twice in a single request";
        return refuse(ErrorCode::DuplicateResource, why);
    }
    let own = scram.all().filter(|(_, name, _)| *name == user);
    let credential_infos: Vec<CredentialInfo> = own
        .map(|(hash, _, credential)| CredentialInfo {
            mechanism: hash.id(),
            iterations: iterations(credential),
            ..CredentialInfo::default()
        })
        .collect();
    if credential_infos.is_empty() {
        return refuse(ErrorCode::ResourceNotFound, "Attempt to describe a user credential that does not exist");
    }
    DescribeUserScramCredentialsResult {
        user: user.to_owned(),
        credential_infos,
        ..DescribeUserScramCredentialsResult::default()
    }
}
