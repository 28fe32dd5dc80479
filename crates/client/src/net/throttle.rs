//! Brokers that want to hear nothing more for a while (KIP-219).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use vltava_protocol::ApiKey;

/// Until when a broker is left alone: shared by all connections to it but those to a coordinator, which stand for
/// themselves, so that a member of a group that reads too much is still one. Kafka's clients have one connection for
/// each of the two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Throttle(Arc<Mutex<Option<Instant>>>);

impl Throttle {
    /// Takes in what an answer tells, if clients are to obey it in its version.
    pub(crate) fn take_in(&self, api: ApiKey, version: i16, throttle_time_ms: i32) {
        let Ok(throttle_ms) = u64::try_from(throttle_time_ms) else { return };
        if throttle_ms == 0 || !asks_clients(api, version) {
            return;
        }
        tracing::trace!(?api, throttle_ms, "the broker wants to hear nothing more for a while");
        let until = Instant::now() + Duration::from_millis(throttle_ms);
        let mut current = self.0.lock();
        *current = Some(current.map_or(until, |current| current.max(until)));
    }

    /// Until when nothing was or is sent, if that was ever so.
    pub(crate) fn until(&self) -> Option<Instant> {
        *self.0.lock()
    }

    /// Waits until requests may be sent. Cancel-safe.
    pub(crate) async fn over(&self) {
        while let Some(until) = self.until().filter(|until| *until > Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Whether a broker that answers in this version leaves it to the client to wait, after the answer and not before it:
/// Kafka's `shouldClientThrottle`.
fn asks_clients(api: ApiKey, version: i16) -> bool {
    let since = match api {
        ApiKey::Fetch => 8,
        ApiKey::Produce | ApiKey::Metadata => 6,
        ApiKey::OffsetCommit | ApiKey::OffsetFetch => 4,
        ApiKey::ListOffsets | ApiKey::JoinGroup | ApiKey::CreateTopics => 3,
        ApiKey::FindCoordinator
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::DescribeGroups
        | ApiKey::ListGroups
        | ApiKey::ApiVersions
        | ApiKey::DeleteTopics
        | ApiKey::DescribeConfigs => 2,
        ApiKey::DeleteRecords
        | ApiKey::InitProducerId
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::EndTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::DescribeAcls
        | ApiKey::CreateAcls
        | ApiKey::DeleteAcls
        | ApiKey::AlterConfigs
        | ApiKey::AlterReplicaLogDirs
        | ApiKey::DescribeLogDirs
        | ApiKey::CreatePartitions
        | ApiKey::CreateDelegationToken
        | ApiKey::RenewDelegationToken
        | ApiKey::ExpireDelegationToken
        | ApiKey::DescribeDelegationToken
        | ApiKey::DeleteGroups => 1,
        ApiKey::IncrementalAlterConfigs
        | ApiKey::OffsetDelete
        | ApiKey::ElectLeaders
        | ApiKey::AlterPartitionReassignments
        | ApiKey::ListPartitionReassignments
        | ApiKey::DescribeUserScramCredentials
        | ApiKey::AlterUserScramCredentials
        | ApiKey::UnregisterBroker
        | ApiKey::DescribeTopicPartitions => 0,
        _ => return false,
    };
    version >= since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_have_waited_before_they_answer() {
        for (api, version, expected) in [
            (ApiKey::Fetch, 7, false),
            (ApiKey::Fetch, 8, true),
            (ApiKey::Produce, 5, false),
            (ApiKey::Produce, 6, true),
            (ApiKey::Heartbeat, 1, false),
            (ApiKey::DescribeTopicPartitions, 0, true),
            // Kafka's clients do not wait after these.
            (ApiKey::DescribeClientQuotas, 1, false),
            (ApiKey::ConsumerGroupHeartbeat, 1, false),
        ] {
            assert_eq!(asks_clients(api, version), expected, "{api:?} {version}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_time_holds() {
        let throttle = Throttle::default();
        let begun = Instant::now();
        throttle.over().await;
        for ms in [500, 2000, 0, -1, 1000] {
            throttle.take_in(ApiKey::Fetch, 8, ms);
        }
        throttle.take_in(ApiKey::Fetch, 7, 9000);
        throttle.over().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }
}
