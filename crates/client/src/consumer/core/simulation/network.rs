//! What is on its way between consumers and brokers.

use std::time::Duration;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    StreamsGroupHeartbeatResponse, SyncGroupResponse,
};

use super::Sender;
use crate::ClientError;
use crate::consumer::core::{Effect, Event};
use crate::consumer::membership::{GroupRequest, GroupResponse};
use crate::net::MetadataSnapshot;

pub(super) enum Message {
    Request { from: Sender, effect: Effect },
    Event { to: Sender, event: Event },
    ReadMetadata { from: Sender },
    Metadata { to: Sender, snapshot: Box<MetadataSnapshot> },
}

/// The same request once more, of those that a broker may get twice. A heartbeat to a coordinator that assigns is made
/// anew where it has failed: on its connection none comes after one that was answered.
pub(super) fn copy(effect: &Effect) -> Option<Effect> {
    match effect {
        Effect::Group { request: GroupRequest::ConsumerHeartbeat(_) | GroupRequest::StreamsHeartbeat(_), .. } => None,
        Effect::Group { token, node, request } => {
            Some(Effect::Group { token: *token, node: *node, request: request.clone() })
        }
        Effect::Commit { token, node, request } => {
            Some(Effect::Commit { token: *token, node: *node, request: request.clone() })
        }
        _ => None,
    }
}

fn lost() -> ClientError {
    ClientError::timeout("simulated", Duration::from_secs(1))
}

/// A request that did not arrive.
pub(super) fn unanswered(effect: Effect) -> Event {
    match effect {
        Effect::FindCoordinator => Event::Coordinator(Err(lost())),
        Effect::Group { token, .. } => Event::Group(token, Err(lost())),
        Effect::Commit { token, .. } => Event::Commit(token, Err(lost())),
        Effect::NameTopics { .. } => Event::TopicNames(Err(lost())),
        Effect::FetchCommitted { partitions, .. } => Event::Committed(partitions, Err(lost())),
        Effect::ListOffsets { asked, .. } => Event::Offsets(asked, Err(lost())),
        Effect::EpochEnds { asked, .. } => Event::EpochEnds(asked, Err(lost())),
        Effect::Fetch(call) => Event::Fetched(call.node, Err(lost())),
        effect => panic!("{effect:?} is no request"),
    }
}

/// An answer that did not arrive.
pub(super) fn no_answer(event: Event) -> Event {
    match event {
        Event::Coordinator(_) => Event::Coordinator(Err(lost())),
        Event::Group(token, _) => Event::Group(token, Err(lost())),
        Event::Commit(token, _) => Event::Commit(token, Err(lost())),
        Event::TopicNames(_) => Event::TopicNames(Err(lost())),
        Event::Committed(asked, _) => Event::Committed(asked, Err(lost())),
        Event::Offsets(asked, _) => Event::Offsets(asked, Err(lost())),
        Event::EpochEnds(asked, _) => Event::EpochEnds(asked, Err(lost())),
        Event::Fetched(node, _) => Event::Fetched(node, Err(lost())),
        Event::EndOffset(..) => event,
    }
}

pub(super) fn not_coordinator(request: &GroupRequest) -> GroupResponse {
    let error_code = ErrorCode::NotCoordinator.code();
    match request {
        GroupRequest::Join(_) => GroupResponse::Join(JoinGroupResponse { error_code, ..Default::default() }),
        GroupRequest::Sync(_) => GroupResponse::Sync(SyncGroupResponse { error_code, ..Default::default() }),
        GroupRequest::Heartbeat(_) => GroupResponse::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }),
        GroupRequest::Leave(_) => GroupResponse::Leave(LeaveGroupResponse { error_code, ..Default::default() }),
        GroupRequest::ConsumerHeartbeat(_) => {
            GroupResponse::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse { error_code, ..Default::default() })
        }
        GroupRequest::StreamsHeartbeat(_) => {
            GroupResponse::StreamsHeartbeat(StreamsGroupHeartbeatResponse { error_code, ..Default::default() })
        }
    }
}
