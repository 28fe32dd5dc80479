//! What a member concludes from the coordinator's answers.

use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::ConsumerGroupHeartbeatResponse;

use super::reconciliation::Partitions;
use super::{ConsumerMembership, GroupResponse, MemberState};
use crate::ClientError;
use crate::consumer::coordinator::Coordinator;

/// Kafka's words for a cluster that does not know the protocol.
const NO_CONSUMER_PROTOCOL: &str = "The cluster does not support the new CONSUMER group protocol. Set \
     group.protocol=classic on the consumer configs to revert to the CLASSIC protocol until the cluster is upgraded.";
/// Kafka's words for one that does not look at patterns yet.
const NO_PATTERNS: &str = "The cluster does not support regular expressions resolution on ConsumerGroupHeartbeat API \
     version 0. It must be upgraded to use ConsumerGroupHeartbeat API version >= 1 to allow to subscribe to a \
     SubscriptionPattern.";

/// The first version of heartbeats in which the coordinator looks at patterns.
pub(crate) const FIRST_VERSION_WITH_PATTERNS: i16 = 1;

impl ConsumerMembership {
    pub(super) fn take_response(
        &mut self,
        now: Instant,
        token: u64,
        answer: Result<GroupResponse, ClientError>,
        coordinator: &mut Coordinator,
    ) {
        if self.awaited != Some(token) {
            // Of who has left, or of a heartbeat that was given up.
            if let Err(error) = answer {
                tracing::debug!(group = %self.config.group_id, %error, "a heartbeat failed that is not waited for");
            }
            return;
        }
        self.awaited = None;
        match answer {
            Ok(GroupResponse::ConsumerHeartbeat(response)) if response.error_code == ErrorCode::None.code() => {
                self.succeeded(response);
            }
            Ok(GroupResponse::ConsumerHeartbeat(response)) => self.refused(now, response, coordinator),
            Ok(other) => {
                let error = ClientError::unexpected(format!("{other:?} to a heartbeat of a consumer group"));
                self.failed(now, error, coordinator);
            }
            Err(error) => self.failed(now, error, coordinator),
        }
    }

    fn succeeded(&mut self, response: ConsumerGroupHeartbeatResponse) {
        let interval = response.heartbeat_interval_ms.max(0).unsigned_abs();
        self.timer.succeeded(Duration::from_millis(u64::from(interval)));
        self.is_unconfirmed = false;
        if !self.beats() || response.member_epoch < 0 {
            return;
        }
        self.set_epoch(response.member_epoch);
        if let Some(assignment) = response.assignment {
            let topics = assignment.topic_partitions.into_iter();
            let target: Partitions = topics.map(|one| (one.topic_id, one.partitions.into_iter().collect())).collect();
            self.take_target(target);
        }
    }

    /// There was no answer.
    fn failed(&mut self, now: Instant, error: ClientError, coordinator: &mut Coordinator) {
        self.timer.failed(now);
        self.sent.reset();
        if error.is_retriable() {
            tracing::debug!(group = %self.config.group_id, %error, "a heartbeat failed");
            coordinator.lost(&error.to_string());
            return;
        }
        self.fail(match error {
            ClientError::UnsupportedVersion { client_min, .. } => {
                let is_pattern = client_min >= FIRST_VERSION_WITH_PATTERNS;
                said(ErrorCode::UnsupportedVersion, if is_pattern { NO_PATTERNS } else { NO_CONSUMER_PROTOCOL })
            }
            other => other,
        });
    }

    fn refused(&mut self, now: Instant, response: ConsumerGroupHeartbeatResponse, coordinator: &mut Coordinator) {
        let code = ErrorCode::from(response.error_code);
        let message = response.error_message.unwrap_or_default();
        tracing::debug!(group = %self.config.group_id, %code, %message, "a heartbeat was refused");
        self.timer.failed(now);
        self.sent.reset();
        match code {
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                coordinator.lost(code.name());
            }
            ErrorCode::CoordinatorLoadInProgress => {}
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                tracing::info!(group = %self.config.group_id, %code, %message, "the member is out of the group");
                self.timer.reset();
                self.lose(MemberState::Fenced);
            }
            // It may be let in later.
            ErrorCode::TopicAuthorizationFailed => self.failure = Some(said(code, &message)),
            ErrorCode::UnsupportedVersion => self.fail(said(code, NO_CONSUMER_PROTOCOL)),
            ErrorCode::InvalidRegularExpression => {
                let text = format!("Invalid RE2J SubscriptionPattern provided in the call to subscribe. {message}");
                self.fail(said(code, &text));
            }
            _ => self.fail(said(code, &message)),
        }
    }

    /// There is nothing to be done but to tell the application.
    fn fail(&mut self, error: ClientError) {
        tracing::error!(group = %self.config.group_id, %error, "the member cannot go on");
        self.fatal = Some(error);
        self.lose(MemberState::Fatal);
    }
}

/// The code, with the coordinator's words if it has some.
fn said(code: ErrorCode, words: &str) -> ClientError {
    ClientError::Broker { code, message: Some(words).filter(|words| !words.is_empty()).map(Into::into) }
}
