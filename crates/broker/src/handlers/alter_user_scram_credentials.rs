//! AlterUserScramCredentials (51), version 0 (KIP-554).
//!
//! Keeps and forgets what is needed of users' passwords for SCRAM. A client sends a salted password and never the password;
//! what is kept of it can check a proof and make none. Each user is answered for itself.

use std::sync::Arc;

use vltava_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use vltava_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use vltava_security::acl::AclOperation;

use crate::controller::{Controller, scram};
use crate::request::RequestContext;

pub(crate) async fn handle(
    controller: &Arc<Controller>,
    context: &RequestContext,
    request: &AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let altered = match context.need_of_cluster(AclOperation::Alter) {
        Ok(()) => scram::alter(controller, request.clone()).await,
        Err(error) => Err(error),
    };
    let results = match altered {
        Ok(results) => results,
        Err(error) => {
            let users = request.deletions.iter().map(|deletion| &deletion.name);
            let users = users.chain(request.upsertions.iter().map(|upsertion| &upsertion.name));
            let failed = |user: &String| AlterUserScramCredentialsResult {
                user: user.clone(),
                error_code: error.code.code(),
                error_message: error.text(),
                ..AlterUserScramCredentialsResult::default()
            };
            users.map(failed).collect()
        }
    };
    AlterUserScramCredentialsResponse { results, ..AlterUserScramCredentialsResponse::default() }
}
