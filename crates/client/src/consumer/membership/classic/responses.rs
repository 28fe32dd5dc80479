//! What a member concludes from the coordinator's answers.

use std::time::Instant;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{HeartbeatResponse, JoinGroupResponse, SyncGroupResponse};

use super::{ClassicMembership, Generation, GroupResponse, Kind, MemberState, Membership as _, PROTOCOL_TYPE, Phase};
use crate::ClientError;
use crate::consumer::coordinator::Coordinator;

impl ClassicMembership {
    pub(super) fn take_response(
        &mut self,
        now: Instant,
        token: u64,
        answer: Result<GroupResponse, ClientError>,
        coordinator: &mut Coordinator,
    ) {
        let Some((kind, sent)) = self.in_flight.remove(&token) else { return };
        let awaited = self.awaited == Some(token);
        let beat = self.beat == Some(token);
        if beat {
            self.beat = None;
        }
        match answer {
            Ok(GroupResponse::Heartbeat(response)) if beat => self.on_heartbeat(now, &sent, &response, coordinator),
            Ok(GroupResponse::Join(response)) if awaited => self.on_join(now, &sent, response, coordinator),
            Ok(GroupResponse::Sync(response)) if awaited => self.on_sync(now, &sent, response, coordinator),
            Ok(GroupResponse::Leave(response)) => {
                let code = ErrorCode::from(response.error_code);
                if code != ErrorCode::None {
                    tracing::warn!(group = %self.config.group_id, %code, "leaving the group failed");
                }
            }
            // Something that was given up.
            Ok(
                GroupResponse::Join(_)
                | GroupResponse::Sync(_)
                | GroupResponse::Heartbeat(_)
                | GroupResponse::ConsumerHeartbeat(_)
                | GroupResponse::StreamsHeartbeat(_),
            ) => {}
            Err(error) => match kind {
                Kind::Rebalance if awaited => {
                    coordinator.lost(&error.to_string());
                    self.join_failed(now, error);
                }
                Kind::Heartbeat if beat => self.heartbeat_failed(now, error, coordinator),
                Kind::Rebalance | Kind::Heartbeat => {}
                Kind::Leave => tracing::warn!(group = %self.config.group_id, %error, "leaving the group failed"),
            },
        }
    }

    fn heartbeat_failed(&mut self, now: Instant, error: ClientError, coordinator: &mut Coordinator) {
        self.heartbeat.failed(now);
        coordinator.lost(&error.to_string());
        if !error.is_retriable() {
            self.failure = Some(error);
        }
    }

    fn on_join(&mut self, now: Instant, sent: &Generation, response: JoinGroupResponse, coordinator: &mut Coordinator) {
        let code = ErrorCode::from(response.error_code);
        match code {
            ErrorCode::None => {
                if response.protocol_type.as_deref().is_some_and(|t| t != PROTOCOL_TYPE) {
                    self.join_failed(now, ClientError::broker(ErrorCode::InconsistentGroupProtocol));
                } else if self.state == MemberState::PreparingRebalance {
                    self.joined(now, response);
                } else {
                    self.join_failed(now, ClientError::broker(ErrorCode::IllegalGeneration));
                }
            }
            ErrorCode::MemberIdRequired => {
                self.generation = Generation { member_id: response.member_id, ..Generation::NONE };
                self.rejoin_reason = format!("need to re-join with the given member-id: {}", self.generation.member_id);
                self.rejoin_needed = true;
                self.phase = Phase::Idle;
                self.awaited = None;
                self.state = MemberState::Unjoined;
            }
            ErrorCode::UnknownMemberId => {
                if *sent == self.generation {
                    self.reset_and_rejoin("encountered UNKNOWN_MEMBER_ID from JoinGroup response", true);
                }
                self.join_failed(now, ClientError::broker(code));
            }
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => {
                coordinator.lost(code.name());
                self.join_failed(now, ClientError::broker(code));
            }
            _ => self.join_failed(now, ClientError::broker(code)),
        }
    }

    fn joined(&mut self, now: Instant, response: JoinGroupResponse) {
        let leads = response.leader == response.member_id;
        self.state = MemberState::CompletingRebalance;
        self.heartbeat.restart(now, self.asked);
        self.generation = Generation {
            id: response.generation_id,
            member_id: response.member_id,
            protocol: response.protocol_name.clone(),
        };
        tracing::info!(group = %self.config.group_id, generation = self.generation.id,
            member = %self.generation.member_id, leads, "joined group");
        self.awaited = None;
        if leads {
            self.phase = Phase::Assigning {
                protocol: response.protocol_name.unwrap_or_default(),
                members: response.members,
                skip: response.skip_assignment,
            };
        } else {
            self.assigned_topics = None;
            self.asked = now;
            self.sync(Vec::new());
        }
    }

    fn on_sync(&mut self, now: Instant, sent: &Generation, response: SyncGroupResponse, coordinator: &mut Coordinator) {
        let code = ErrorCode::from(response.error_code);
        match code {
            ErrorCode::None => {
                let other_type = response.protocol_type.as_deref().is_some_and(|t| t != PROTOCOL_TYPE);
                let other_protocol =
                    response.protocol_name.is_some() && response.protocol_name != self.generation.protocol;
                if self.state != MemberState::CompletingRebalance || *sent != self.generation {
                    // A heartbeat or the poll timeout ended this generation meanwhile.
                    self.join_failed(now, ClientError::broker(ErrorCode::IllegalGeneration));
                } else if other_type || other_protocol {
                    self.join_failed(now, ClientError::broker(ErrorCode::InconsistentGroupProtocol));
                } else {
                    tracing::info!(group = %self.config.group_id, generation = self.generation.id, "synced group");
                    self.state = MemberState::Stable;
                    self.heartbeat.answered(self.asked);
                    self.rejoin_needed = false;
                    self.rejoin_reason.clear();
                    self.awaited = None;
                    self.phase = Phase::Synced { assignment: response.assignment };
                }
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                if *sent == self.generation {
                    self.reset_and_rejoin("SyncGroup was refused", code != ErrorCode::IllegalGeneration);
                }
                self.join_failed(now, ClientError::broker(code));
            }
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => {
                coordinator.lost(code.name());
                self.join_failed(now, ClientError::broker(code));
            }
            _ => self.join_failed(now, ClientError::broker(code)),
        }
    }

    /// The rebalance did not work out: try again, at once or later, or tell the application.
    fn join_failed(&mut self, now: Instant, error: ClientError) {
        self.phase = Phase::Idle;
        self.awaited = None;
        let code = error.code();
        let name = code.map_or_else(|| error.to_string(), |code| code.exception_name().to_owned());
        self.request_rejoin(&format!("rebalance failed due to {name}"));
        let at_once = matches!(
            code,
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress)
        );
        if at_once {
            return;
        }
        self.join_retry_at = Some(now + self.config.retry_backoff);
        if !error.is_retriable() {
            self.failure = Some(error);
        }
    }

    fn on_heartbeat(
        &mut self,
        now: Instant,
        sent: &Generation,
        response: &HeartbeatResponse,
        coordinator: &mut Coordinator,
    ) {
        let code = ErrorCode::from(response.error_code);
        match code {
            ErrorCode::None => self.heartbeat.succeeded(now),
            ErrorCode::RebalanceInProgress => {
                // The member stays in the group as long as it sends heartbeats, until it joins again.
                self.heartbeat.is_rebalancing(now);
                if self.state == MemberState::Stable {
                    self.request_rejoin_if_necessary("group is already rebalancing");
                }
            }
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => {
                self.heartbeat.failed(now);
                coordinator.lost(code.name());
            }
            ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                if *sent == self.generation {
                    self.heartbeat.failed(now);
                    self.reset_and_rejoin("a heartbeat was refused", code != ErrorCode::IllegalGeneration);
                    if code == ErrorCode::FencedInstanceId {
                        self.failure = Some(ClientError::broker(code));
                    }
                } else {
                    self.heartbeat.succeeded(now);
                }
            }
            _ => {
                self.heartbeat.failed(now);
                self.failure = Some(ClientError::broker(code));
            }
        }
    }
}
