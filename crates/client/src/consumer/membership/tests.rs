//! A member against a coordinator that answers by hand.

use std::time::{Duration, Instant};

use super::classic::*;

fn config() -> MembershipConfig {
    MembershipConfig {
        group_id: "g".into(),
        group_instance_id: None,
        session_timeout: Duration::from_secs(45),
        rebalance_timeout: Duration::from_secs(300),
        heartbeat_interval: Duration::from_secs(3),
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
    }
}

#[test]
fn a_new_member_looks_for_its_coordinator_first() {
    let now = Instant::now();
    let mut member = ClassicMembership::new(config(), now);
    assert!(matches!(member.next_step(now), Step::Wait));
    assert!(matches!(member.poll_request(), Some((_, GroupRequest::FindCoordinator))));
    assert_eq!(member.state(), MemberState::Unjoined);
}
