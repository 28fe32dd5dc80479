//! DeleteTopics (20), versions 1–6.
//!
//! Topics by name or, from version 6, by id. When the answer goes out a topic is gone from the
//! metadata; its files follow after `file.delete.delay.ms`, as in Kafka.
//!
//! Versions: 4 flexible · 5 error texts, what exceeds the quota is refused (KIP-599) · 6 topic ids (KIP-516).

use std::collections::HashMap;

use vltava_protocol::messages::delete_topics_response::DeletableTopicResult;
use vltava_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use vltava_protocol::records::metadata::{MetadataRecord, RemoveTopicRecord};
use vltava_protocol::{ErrorCode, Uuid};
use vltava_security::acl::AclOperation;

use crate::controller::Controller;
use crate::coordinator;
use crate::coordinator::group::GroupCoordinator;
use crate::quota::MutationQuota;
use crate::request::{ApiError, RequestContext};
use crate::security::Resource;

/// How a request names a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Named {
    ByName(String),
    ById(Uuid),
}

/// The first version whose clients know that a quota is exceeded.
const STRICT_SINCE: i16 = 5;

pub(crate) async fn handle(
    controller: &Controller,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let mut response = DeleteTopicsResponse::default();
    let mut order: Vec<Named> = Vec::new();
    let mut counts: HashMap<Named, usize> = HashMap::new();
    let mut add = |named: Named| {
        let count = counts.entry(named.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            order.push(named);
        }
    };
    for name in &request.topic_names {
        add(Named::ByName(name.clone()));
    }
    for topic in &request.topics {
        match (&topic.name, topic.topic_id.is_zero()) {
            (Some(name), true) => add(Named::ByName(name.clone())),
            (None, false) => add(Named::ById(topic.topic_id)),
            (name, none_given) => {
                let text = if none_given {
                    "Neither topic name nor id were specified."
                } else {
                    "You may not specify both topic name and topic id."
                };
                let error = ApiError::new(ErrorCode::InvalidRequest, text);
                response.responses.push(failed(name.clone(), topic.topic_id, &error));
            }
        }
    }
    let may_delete_all = context.may_quietly(AclOperation::Delete, Resource::CLUSTER);
    let quota = context.mutation_quota(STRICT_SINCE);
    for named in order {
        let repeated = counts.get(&named).is_some_and(|count| *count > 1);
        let deletion = Deletion { named, repeated, may_delete_all, quota: quota.clone() };
        response.responses.push(delete(controller, groups, context, deletion).await);
    }
    context.charge_mutations(&quota);
    response
}

/// A topic to delete, and what its request has to do with it.
struct Deletion {
    named: Named,
    repeated: bool,
    may_delete_all: bool,
    quota: MutationQuota,
}

async fn delete(
    controller: &Controller,
    groups: &GroupCoordinator,
    context: &RequestContext,
    deletion: Deletion,
) -> DeletableTopicResult {
    let Deletion { named, repeated, may_delete_all, quota } = deletion;
    let (name, id) = match &named {
        Named::ByName(name) => (Some(name.clone()), Uuid::default()),
        Named::ById(id) => (None, *id),
    };
    let refusal = if !controller.config().delete_topic_enable {
        Some(match context.version {
            ..3 => ApiError::new(ErrorCode::InvalidRequest, "This version does not support topic deletion."),
            _ => ErrorCode::TopicDeletionDisabled.into(),
        })
    } else if repeated {
        let text = if name.is_some() { "Duplicate topic name." } else { "Duplicate topic id." };
        Some(ApiError::new(ErrorCode::InvalidRequest, text))
    } else {
        None
    };
    if let Some(error) = refusal {
        return failed(name, id, &error);
    }
    if !may_delete_all && let Some(refused) = refuse(controller, context, &named) {
        return refused;
    }
    let deleted = controller.update(move |image| {
        let topic = match &named {
            Named::ByName(name) => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
            Named::ById(id) => image.topic_by_id(*id).ok_or(ErrorCode::UnknownTopicId)?,
        };
        quota.record(topic.partitions.len())?;
        let removal = RemoveTopicRecord { topic_id: topic.id, ..RemoveTopicRecord::default() };
        Ok((vec![MetadataRecord::RemoveTopic(removal)], (topic.name.to_string(), topic.id)))
    });
    match deleted.await {
        Ok((name, topic_id)) => {
            coordinator::forget_offsets_of(groups, &[(name.clone(), topic_id)]);
            DeletableTopicResult { name: Some(name), topic_id, ..DeletableTopicResult::default() }
        }
        Err(error) => failed(name, id, &error),
    }
}

/// Refuses who may not delete a topic. Whether there is one of a name, and what one of an id is called, is told to who may
/// see it.
fn refuse(controller: &Controller, context: &RequestContext, named: &Named) -> Option<DeletableTopicResult> {
    let image = controller.metadata().image();
    let (topic, name) = match named {
        Named::ByName(name) => (image.topic(name), name.as_str()),
        Named::ById(id) => {
            let topic = image.topic_by_id(*id)?;
            (Some(topic), &*topic.name)
        }
    };
    let sees = context.may(AclOperation::Describe, Resource::topic(name));
    let may_delete = context.may(AclOperation::Delete, Resource::topic(name));
    let error = ErrorCode::TopicAuthorizationFailed.into();
    match named {
        Named::ByName(_) if sees && (may_delete || topic.is_none()) => None,
        Named::ByName(name) => Some(failed(Some(name.clone()), Uuid::default(), &error)),
        Named::ById(_) if may_delete => None,
        Named::ById(id) => Some(failed(sees.then(|| name.to_owned()), *id, &error)),
    }
}

fn failed(name: Option<String>, topic_id: Uuid, error: &ApiError) -> DeletableTopicResult {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: error.code.code(),
        error_message: error.text(),
        ..DeletableTopicResult::default()
    }
}
