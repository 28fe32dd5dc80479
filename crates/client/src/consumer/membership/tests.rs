//! A member under test, what it subscribes to, and the time: the coordinator is whoever writes the test.

use std::time::{Duration, Instant};

use super::{GroupRequest, GroupResponse, Membership, MembershipConfig, Step};
use crate::ClientError;
use crate::config::{AutoOffsetReset, GroupProtocol};
use crate::consumer::assignor::RebalanceProtocol;
use crate::consumer::coordinator::Coordinator;
use crate::consumer::subscription::SubscriptionState;

pub(super) fn config() -> MembershipConfig {
    MembershipConfig {
        group_id: "g".into(),
        group_instance_id: None,
        group_protocol: GroupProtocol::Classic,
        member_id: "me".into(),
        remote_assignor: None,
        rack_id: None,
        protocol: RebalanceProtocol::Eager,
        session_timeout: Duration::from_secs(45),
        rebalance_timeout: Duration::from_secs(300),
        heartbeat_interval: Duration::from_secs(3),
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
    }
}

pub(super) struct Bench<M> {
    pub(super) member: M,
    pub(super) coordinator: Coordinator,
    pub(super) subscription: SubscriptionState,
    pub(super) now: Instant,
}

impl<M: Membership> Bench<M> {
    pub(super) fn of(
        config: MembershipConfig,
        topics: &[&str],
        member: impl FnOnce(MembershipConfig, Instant) -> M,
    ) -> Self {
        let now = Instant::now();
        let coordinator = Coordinator::new(config.retry_backoff, config.retry_backoff_max);
        let mut subscription = SubscriptionState::new(AutoOffsetReset::Latest);
        subscription.subscribe_topics(topics.iter().map(|topic| (*topic).to_owned()).collect()).unwrap();
        Self { member: member(config, now), coordinator, subscription, now }
    }

    pub(super) fn step(&mut self) -> Step {
        self.member.next_step(self.now, &mut self.coordinator, &mut self.subscription)
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.member.tick(self.now, &mut self.coordinator);
    }

    pub(super) fn found(&mut self, node: i32) {
        assert!(self.coordinator.poll(self.now), "nobody looks for the coordinator");
        self.coordinator.on_found(self.now, &Ok(node));
        self.member.on_coordinator(self.now);
    }

    /// The next request, if there is one to send now.
    pub(super) fn next_request(&mut self) -> Option<(u64, GroupRequest)> {
        self.member.tick(self.now, &mut self.coordinator);
        self.member.next_request()
    }

    pub(super) fn respond(&mut self, token: u64, answer: Result<GroupResponse, ClientError>) {
        self.member.on_response(self.now, token, answer, &mut self.coordinator);
    }
}
