//! What a handler asks: whether the one who sent the request may do something. Where no authorizer is configured, everybody
//! may do everything, and nothing is looked up.

use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_security::acl::{AclOperation, CLUSTER_NAME, ResourceType};

use super::acls::{Acls, Requester};
use super::authorizer::{Action, Authorizer};
use crate::apis;
use crate::request::{ApiError, RequestContext};

/// What a request is judged by: the lists as they were when it began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access(Option<(Arc<Authorizer>, Arc<Acls>)>);

/// A resource by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resource<'a> {
    pub(crate) resource_type: ResourceType,
    pub(crate) name: &'a str,
}

/// When a decision goes to the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logged {
    Always,
    /// Who is not allowed has not asked for it: it is one of several ways, or a filter.
    IfAllowed,
    /// Nobody has asked: it tells what would be allowed.
    Never,
}

/// The operation and the type of a resource that an API may ask about: an entry of its row in the list of APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) operation: AclOperation,
    pub(crate) resource_type: ResourceType,
}

impl<'a> Resource<'a> {
    pub(crate) const CLUSTER: Resource<'static> = Resource { resource_type: ResourceType::Cluster, name: CLUSTER_NAME };

    pub(crate) const fn topic(name: &'a str) -> Self {
        Self { resource_type: ResourceType::Topic, name }
    }

    pub(crate) const fn group(name: &'a str) -> Self {
        Self { resource_type: ResourceType::Group, name }
    }

    pub(crate) const fn transactional_id(name: &'a str) -> Self {
        Self { resource_type: ResourceType::TransactionalId, name }
    }
}

impl Access {
    /// Of an authorizer, with the lists of now.
    pub(crate) fn judged_by(authorizer: &Arc<Authorizer>, acls: &Arc<Acls>) -> Self {
        Self(Some((Arc::clone(authorizer), Arc::clone(acls))))
    }
}

impl RequestContext {
    /// Whether the sender may do something with a resource.
    pub(crate) fn may(&self, operation: AclOperation, resource: Resource<'_>) -> bool {
        self.may_logged(operation, resource, 1, Logged::Always)
    }

    /// As [`Self::may`], for a resource that the request names `references` times.
    pub(crate) fn may_each(&self, operation: AclOperation, resource: Resource<'_>, references: usize) -> bool {
        self.may_logged(operation, resource, references, Logged::Always)
    }

    /// As [`Self::may`], where it is no offence if not.
    pub(crate) fn may_quietly(&self, operation: AclOperation, resource: Resource<'_>) -> bool {
        self.may_logged(operation, resource, 1, Logged::IfAllowed)
    }

    fn may_logged(&self, operation: AclOperation, resource: Resource<'_>, references: usize, logged: Logged) -> bool {
        let Some((authorizer, acls)) = &self.access.0 else { return true };
        self.check_table(operation, resource.resource_type);
        let action = Action { api: self.api_key, operation, resource, references, logged };
        authorizer.authorize(acls, self.requester(), action)
    }

    /// Whether the sender may do something with some resource of a type.
    pub(crate) fn may_with_some(&self, operation: AclOperation, resource_type: ResourceType) -> bool {
        let Some((authorizer, acls)) = &self.access.0 else { return true };
        self.check_table(operation, resource_type);
        authorizer.authorize_by_resource_type(acls, self.requester(), self.api_key, operation, resource_type)
    }

    /// Whether there is anything to ask.
    pub(crate) fn is_judged(&self) -> bool {
        self.access.0.is_some()
    }

    /// Refuses who may not do something with the cluster, with what Kafka says then.
    pub(crate) fn need_of_cluster(&self, operation: AclOperation) -> Result<(), ApiError> {
        match self.may(operation, Resource::CLUSTER) {
            true => Ok(()),
            false => {
                let text = format!("Request Request({self}) needs {operation} permission.");
                Err(ApiError::new(ErrorCode::ClusterAuthorizationFailed, text))
            }
        }
    }

    /// As [`Self::need_of_cluster`], for what is about the lists: without an authorizer there are none, in these words.
    pub(crate) fn need_of_lists(&self, operation: AclOperation, without: &str) -> Result<(), ApiError> {
        match self.is_judged() {
            true => self.need_of_cluster(operation),
            false => Err(ApiError::new(ErrorCode::SecurityDisabled, without)),
        }
    }

    /// What the sender may do with a resource, as the bit field of KIP-430.
    pub(crate) fn authorized_operations(&self, resource: Resource<'_>) -> i32 {
        let may = |operation: AclOperation| match &self.access.0 {
            None => true,
            Some((authorizer, acls)) => {
                let action = Action { api: self.api_key, operation, resource, references: 1, logged: Logged::Never };
                authorizer.authorize(acls, self.requester(), action)
            }
        };
        let operations = resource.resource_type.operations().iter().copied();
        operations.filter(|operation| may(*operation)).fold(0, |field, operation| field | 1 << operation.code())
    }

    fn requester(&self) -> Requester<'_> {
        Requester { principal: &self.peer.principal, host: self.peer.address.ip().to_canonical() }
    }

    /// What a handler asks stands in the row of its API, or the list would not tell what an API needs.
    fn check_table(&self, operation: AclOperation, resource_type: ResourceType) {
        debug_assert!(
            apis::needs(self.api_key).contains(&Need { operation, resource_type }),
            "{} asks for {operation} of {resource_type}, which its row in the list of APIs does not have",
            self.api_key
        );
    }
}

#[cfg(test)]
mod tests;
