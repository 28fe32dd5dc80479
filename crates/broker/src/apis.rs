//! The list of APIs: the one place where an API of Kafka 4.3 is either served, in which versions and by which handler, or
//! lacking. Dispatch, the answer to ApiVersions and what is logged of a request that is refused come from it.
//!
//! A new one is a file in `handlers/` and its row here, in the place of its row among those that are lacking.

use vltava_protocol::ApiKey;
use vltava_security::acl::{AclOperation, ResourceType};

use crate::security::access::Need;

/// Gives the list to the macro `$then`. Versions are Kafka's without those it marks unstable. What an API needs are the
/// operations on types of resources that its handler may ask the authorizer about, which ones and in which order its
/// handler knows. A handler takes the parts of the broker that its row names, the context of the request and the request.
/// What waits for others, for data or for members of a group, is none of those that `queued.max.requests` counts.
macro_rules! apis {
    ($then:ident) => {
        $then! {
            served {
                // librdkafka takes a broker that lacks the old versions for one without message format 2, so Kafka tells
                // of them and refuses them.
                Produce 3..=13, told from 0, needs [Write Topic, Write TransactionalId]
                    => produce(config, partitions, transactions).await;
                Fetch 4..=18, needs [Read Topic, ClusterAction Cluster]
                    => fetch(config, partitions, fetch_sessions).await, waits for others;
                ListOffsets 1..=11, needs [Describe Topic]
                    => list_offsets(partitions);
                Metadata 0..=13, needs [Describe Topic, Create Topic, Create Cluster, Describe Cluster]
                    => metadata(advertised, metadata, topic_creation);
                OffsetCommit 2..=10, needs [Read Group, Read Topic]
                    => offset_commit(metadata, groups).await;
                OffsetFetch 1..=10, needs [Describe Group, Describe Topic]
                    => offset_fetch(metadata, groups).await;
                FindCoordinator 0..=6, needs [Describe Group, Describe TransactionalId, ClusterAction Cluster]
                    => find_coordinator(advertised, metadata, groups, transaction_shards, topic_creation).await;
                JoinGroup 0..=9, needs [Read Group]
                    => join_group(groups).await, waits for others;
                Heartbeat 0..=4, needs [Read Group]
                    => heartbeat(groups).await;
                LeaveGroup 0..=5, needs [Read Group]
                    => leave_group(metadata, groups).await;
                SyncGroup 0..=5, needs [Read Group]
                    => sync_group(groups).await, waits for others;
                DescribeGroups 0..=6, needs [Describe Group]
                    => describe_groups(groups).await;
                ListGroups 0..=5, needs [Describe Cluster, Describe Group]
                    => list_groups(groups).await;
                SaslHandshake 0..=1, needs []
                    => sasl_handshake();
                ApiVersions 0..=4, needs []
                    => api_versions(metadata);
                CreateTopics 2..=7, needs [Create Cluster, Create Topic, DescribeConfigs Topic]
                    => create_topics(metadata, controller).await;
                DeleteTopics 1..=6, needs [Delete Cluster, Delete Topic, Describe Topic]
                    => delete_topics(controller, groups).await;
                DeleteRecords 0..=2, needs [Delete Topic]
                    => delete_records(partitions);
                InitProducerId 0..=5, needs [Write TransactionalId, TwoPhaseCommit TransactionalId, IdempotentWrite Cluster, Write Topic]
                    => init_producer_id(transactions).await;
                OffsetForLeaderEpoch 2..=4, needs [ClusterAction Cluster, Describe Topic]
                    => offset_for_leader_epoch(partitions);
                AddPartitionsToTxn 0..=5, needs [ClusterAction Cluster, Write TransactionalId, Write Topic]
                    => add_partitions_to_txn(metadata, transactions).await;
                AddOffsetsToTxn 0..=4, needs [Write TransactionalId, Read Group]
                    => add_offsets_to_txn(config, groups, transactions).await;
                EndTxn 0..=5, needs [Write TransactionalId]
                    => end_txn(transactions).await;
                WriteTxnMarkers 1..=2, needs [Alter Cluster, ClusterAction Cluster]
                    => write_txn_markers(transactions).await;
                TxnOffsetCommit 0..=5, needs [Write TransactionalId, Read Group, Read Topic]
                    => txn_offset_commit(metadata, partitions, groups, transactions).await;
                DescribeAcls 1..=3, needs [Describe Cluster]
                    => describe_acls(metadata);
                CreateAcls 1..=3, needs [Alter Cluster]
                    => create_acls(controller).await;
                DeleteAcls 1..=3, needs [Alter Cluster]
                    => delete_acls(controller).await;
                DescribeConfigs 1..=4, needs [DescribeConfigs Cluster, DescribeConfigs Topic, DescribeConfigs Group]
                    => describe_configs(config, metadata);
                AlterConfigs 0..=2, needs [AlterConfigs Cluster, AlterConfigs Topic, AlterConfigs Group]
                    => alter_configs(controller).await;
                AlterReplicaLogDirs 1..=2, needs [Alter Cluster]
                    => alter_replica_log_dirs(partitions);
                DescribeLogDirs 1..=5, needs [Describe Cluster]
                    => describe_log_dirs(partitions);
                SaslAuthenticate 0..=2, needs []
                    => sasl_authenticate();
                CreatePartitions 0..=3, needs [Alter Topic]
                    => create_partitions(metadata, controller).await;
                DeleteGroups 0..=2, needs [Delete Group]
                    => delete_groups(groups).await;
                ElectLeaders 0..=2, needs [Alter Cluster]
                    => elect_leaders(metadata);
                IncrementalAlterConfigs 0..=1, needs [AlterConfigs Cluster, AlterConfigs Topic, AlterConfigs Group]
                    => incremental_alter_configs(controller).await;
                AlterPartitionReassignments 0..=1, needs [Alter Cluster]
                    => alter_partition_reassignments(config, metadata);
                ListPartitionReassignments 0..=0, needs [Describe Cluster]
                    => list_partition_reassignments();
                OffsetDelete 0..=0, needs [Delete Group, Read Topic]
                    => offset_delete(metadata, groups).await;
                DescribeClientQuotas 0..=1, needs [DescribeConfigs Cluster]
                    => describe_client_quotas(metadata);
                AlterClientQuotas 0..=1, needs [AlterConfigs Cluster]
                    => alter_client_quotas(controller).await;
                DescribeUserScramCredentials 0..=0, needs [Describe Cluster]
                    => describe_user_scram_credentials(metadata);
                AlterUserScramCredentials 0..=0, needs [Alter Cluster]
                    => alter_user_scram_credentials(controller).await;
                DescribeQuorum 0..=2, needs [Describe Cluster]
                    => describe_quorum(advertised, metadata, partitions);
                UpdateFeatures 0..=2, needs [Alter Cluster]
                    => update_features(controller).await;
                DescribeCluster 0..=2, needs [Describe Cluster]
                    => describe_cluster(advertised);
                DescribeProducers 0..=0, needs [Read Topic]
                    => describe_producers(metadata, partitions);
                DescribeTransactions 0..=0, needs [Describe TransactionalId, Describe Topic]
                    => describe_transactions(transactions).await;
                ListTransactions 0..=2, needs [Describe TransactionalId]
                    => list_transactions(transactions).await;
                ConsumerGroupHeartbeat 0..=1, needs [Read Group, Describe Topic]
                    => consumer_group_heartbeat(config, metadata, groups).await;
                ConsumerGroupDescribe 0..=1, needs [Describe Group, Describe Topic]
                    => consumer_group_describe(config, metadata, groups).await;
                ListConfigResources 0..=1, needs [DescribeConfigs Cluster]
                    => list_config_resources(config, metadata);
                DescribeTopicPartitions 0..=0, needs [Describe Topic]
                    => describe_topic_partitions(config, metadata);
                StreamsGroupHeartbeat 0..=0, needs [Read Group, Describe Topic, Create Cluster, Create Topic]
                    => streams_group_heartbeat(config, metadata, topic_creation, groups).await;
                StreamsGroupDescribe 0..=0, needs [Describe Group, Describe Topic]
                    => streams_group_describe(config, metadata, groups).await;
            }
            // Not told of, and whoever sends one all the same has the connection closed, as Kafka does with what it does
            // not serve: a client that asks first does without, or says what it lacks.
            lacking {
                "delegation tokens": CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken,
                    DescribeDelegationToken;
                "metrics of clients": GetTelemetrySubscriptions, PushTelemetry;
                "changes of the quorum": UnregisterBroker, AddRaftVoter, RemoveRaftVoter;
                "share groups": ShareGroupHeartbeat, ShareGroupDescribe, ShareFetch, ShareAcknowledge,
                    InitializeShareGroupState, ReadShareGroupState, WriteShareGroupState, DeleteShareGroupState,
                    ReadShareGroupStateSummary, DescribeShareGroupOffsets, AlterShareGroupOffsets,
                    DeleteShareGroupOffsets;
            }
        }
    };
}
pub(crate) use apis;

/// An API and its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) api: ApiKey,
    min_version: i16,
    pub(crate) max_version: i16,
    /// The lowest version that clients are told of.
    pub(crate) told_from: i16,
    /// Whether it may wait for what others send: data, or members of a group.
    pub(crate) waits_for_others: bool,
    /// What its handler may ask the authorizer about.
    pub(crate) needs: &'static [Need],
}

macro_rules! tables {
    (
        served { $(
            $api:ident $min:literal..=$max:literal $(, told from $told:literal)?
                , needs [$($operation:ident $resource:ident),*]
                => $handler:ident $parts:tt $(.$wait:ident)? $(, waits for $others:ident)?;
        )* }
        lacking { $($what:literal: $($lacking:ident),+;)* }
    ) => {
        /// What is served.
        pub(crate) static SERVED: &[Served] = &[$(Served {
            api: ApiKey::$api,
            min_version: $min,
            max_version: $max,
            told_from: [$($told,)? $min][0],
            waits_for_others: !stringify!($($others)?).is_empty(),
            needs: &[$(Need {
                operation: AclOperation::$operation,
                resource_type: ResourceType::$resource,
            }),*],
        }),*];

        /// What Kafka's brokers serve and this one does not, with what it belongs to.
        static LACKING: &[(ApiKey, &str)] = &[$($((ApiKey::$lacking, $what)),+),*];
    };
}
apis!(tables);

/// The API, if it is served in `version`.
pub(crate) fn serves(api: ApiKey, version: i16) -> Option<&'static Served> {
    SERVED.iter().find(|served| served.api == api && (served.min_version..=served.max_version).contains(&version))
}

/// What the handler of `api` may ask the authorizer about.
pub(crate) fn needs(api: ApiKey) -> &'static [Need] {
    SERVED.iter().find(|served| served.api == api).map_or(&[], |served| served.needs)
}

/// What `api` belongs to, if Kafka has that and this broker has not.
pub(crate) fn lacking(api: ApiKey) -> Option<&'static str> {
    LACKING.iter().find(|(lacking, _)| *lacking == api).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_of_kafkas_brokers_is_either_served_or_lacking() {
        for &api in ApiKey::ALL {
            let rows = SERVED.iter().filter(|served| served.api == api).count()
                + LACKING.iter().filter(|(lacking, _)| *lacking == api).count();
            assert_eq!(rows, usize::from(api.is_on_broker()), "{api}");
        }
    }

    /// Everybody may ask what is served, and say who they are, before anybody knows it.
    #[test]
    fn every_api_but_those_before_anybody_is_known_needs_a_right() {
        let free = SERVED.iter().filter(|served| served.needs.is_empty()).map(|served| served.api);
        assert_eq!(free.collect::<Vec<_>>(), [ApiKey::SaslHandshake, ApiKey::ApiVersions, ApiKey::SaslAuthenticate]);
    }

    #[test]
    fn the_rights_that_are_needed_are_those_that_there_are() {
        for served in SERVED {
            for Need { operation, resource_type } in served.needs {
                // Kafka looks for this one, which it lets nobody have by itself: ALL of the cluster has it.
                let is_odd = (*operation, *resource_type) == (AclOperation::Delete, ResourceType::Cluster);
                let has = is_odd || resource_type.operations().contains(operation);
                assert!(has, "{}: {operation} of {resource_type}", served.api);
            }
        }
    }

    #[test]
    fn all_stable_versions_are_served() {
        for served in SERVED {
            let versions = (served.min_version, served.max_version);
            assert_eq!(versions, (served.api.min_version(), served.api.max_stable_version()), "{}", served.api);
        }
    }
}
