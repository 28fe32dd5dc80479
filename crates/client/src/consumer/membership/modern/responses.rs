//! What a member concludes from the coordinator's answers.

use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;

use super::{Answer, GroupResponse, MemberState, ModernMembership, ModernProtocol, Standing, Uncertain, said};
use crate::ClientError;
use crate::consumer::coordinator::Coordinator;

impl<P: ModernProtocol> ModernMembership<P> {
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
        match answer.and_then(P::answer) {
            Ok(answer) if answer.error_code == ErrorCode::None.code() => self.succeeded(answer),
            Ok(answer) => {
                let message = answer.error_message.unwrap_or_default();
                self.refused(now, ErrorCode::from(answer.error_code), &message, coordinator);
            }
            Err(error) => self.failed(now, error, coordinator),
        }
    }

    fn succeeded(&mut self, answer: Answer<P::Response>) {
        let interval = answer.heartbeat_interval_ms.max(0).unsigned_abs();
        self.timer.succeeded(Duration::from_millis(u64::from(interval)));
        self.is_unconfirmed = false;
        let epoch = answer.member_epoch;
        let standing = Standing { config: &self.config, state: self.state, epoch, target: &self.target.assigned };
        let target = self.protocol.take(&standing, answer.message);
        if !self.state.beats() || epoch < 0 {
            return;
        }
        self.set_epoch(epoch);
        match target {
            Ok(Some(target)) => self.take_target(target),
            Ok(None) => {}
            Err(error) => self.fail(error),
        }
    }

    /// There was no answer.
    fn failed(&mut self, now: Instant, error: ClientError, coordinator: &mut Coordinator) {
        self.timer.failed(now);
        self.is_uncertain(Uncertain::Unanswered);
        if error.is_retriable() {
            tracing::debug!(group = %self.config.group_id, %error, "a heartbeat failed");
            coordinator.lost(&error.to_string());
        } else {
            self.fail(error);
        }
    }

    fn refused(&mut self, now: Instant, code: ErrorCode, message: &str, coordinator: &mut Coordinator) {
        tracing::debug!(group = %self.config.group_id, %code, %message, "a heartbeat was refused");
        self.timer.failed(now);
        self.is_uncertain(Uncertain::Refused);
        match code {
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => coordinator.lost(code.name()),
            ErrorCode::CoordinatorLoadInProgress => {}
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                tracing::info!(group = %self.config.group_id, %code, %message, "the member is out of the group");
                self.timer.reset();
                self.lose(MemberState::Fenced);
            }
            // It may be let in later.
            ErrorCode::TopicAuthorizationFailed => self.failure = Some(said(code, message)),
            _ => self.fail(said(code, message)),
        }
    }

    /// There is nothing to be done but to tell the application.
    fn fail(&mut self, error: ClientError) {
        let error = P::explained(error);
        tracing::error!(group = %self.config.group_id, %error, "the member cannot go on");
        self.fatal = Some(error);
        self.lose(MemberState::Fatal);
    }
}
