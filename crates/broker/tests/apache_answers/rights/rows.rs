//! Every API, what it needs, and what is asked of it.

use vltava_protocol::ApiKey;
use vltava_security::acl::AclOperation::{
    All, Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read, Write,
};
use vltava_security::acl::CLUSTER_NAME;
use vltava_security::acl::ResourceType::{Cluster, Group, Topic, TransactionalId};

use super::asks::{
    add_offsets, add_partitions, alter_configs, alter_quotas, alter_reassignments, alter_replica_log_dirs, alter_users,
    consumer_group_describe, consumer_group_heartbeat, create_partitions, create_topics, delete_groups, delete_records,
    delete_topics, delete_topics_by_id, describe_all_topic_partitions, describe_cluster, describe_configs,
    describe_groups, describe_log_dirs, describe_producers, describe_quorum, describe_quotas,
    describe_topic_partitions, describe_transactions, describe_users, elect_leaders, end_transaction, fetch,
    fetch_as_follower, find_group, find_transaction, heartbeat, incremental_alter_configs, join_group, leader_epoch,
    leave_group, list_config_resources, list_groups, list_offsets, list_reassignments, list_transactions,
    metadata_by_id, metadata_by_name, metadata_of_all, metadata_of_cluster, metadata_to_create, offset_commit,
    offset_delete, offset_fetch, offset_fetch_all, produce, produce_in_transaction, producer_id, sync_group,
    transactional_producer, txn_offset_commit, update_features, write_markers,
};
use super::lists::{create_acls, delete_acls, describe_acls};
use super::streams_groups::{streams_group_describe, streams_group_heartbeat, streams_group_that_wants_topics};
use super::{Asking, Right, Row};

/// The row of an API.
const fn row(
    what: &'static str,
    api: ApiKey,
    versions: [i16; 2],
    rights: &'static [Right],
    ask: fn(&mut Asking<'_>, i16) -> String,
) -> Row {
    Row { what, api, versions, rights, ask }
}

const ALTER_CLUSTER: &[Right] = &[(Alter, Cluster, CLUSTER_NAME)];
const DESCRIBE_CLUSTER: &[Right] = &[(Describe, Cluster, CLUSTER_NAME)];
const READ_GROUP: &[Right] = &[(Read, Group, "g")];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row("produce", ApiKey::Produce, [3, 13], &[(Write, Topic, "t")], produce),
    row("produce in a transaction", ApiKey::Produce, [3, 13], &[(Write, TransactionalId, "x"), (Write, Topic, "t")], produce_in_transaction),
    row("fetch", ApiKey::Fetch, [4, 18], &[(Read, Topic, "t")], fetch),
    row("fetch as a follower", ApiKey::Fetch, [4, 4], &[(ClusterAction, Cluster, CLUSTER_NAME)], fetch_as_follower),
    row("list offsets", ApiKey::ListOffsets, [1, 11], &[(Describe, Topic, "t")], list_offsets),
    row("metadata of topics by name", ApiKey::Metadata, [0, 13], &[(Describe, Topic, "t"), (Describe, Topic, "missing")], metadata_by_name),
    row("metadata of the cluster's operations", ApiKey::Metadata, [8, 10], &[(Describe, Cluster, CLUSTER_NAME), (Read, Topic, "t")], metadata_of_cluster),
    row("metadata of topics by id", ApiKey::Metadata, [12, 13], &[(Describe, Topic, "t")], metadata_by_id),
    row("metadata of all topics", ApiKey::Metadata, [0, 13], &[(Describe, Topic, "t"), (Alter, Topic, "u")], metadata_of_all),
    row("metadata of a topic to create", ApiKey::Metadata, [4, 13], &[(Describe, Topic, "made-"), (Create, Topic, "made-"), (Create, Cluster, CLUSTER_NAME)], metadata_to_create),
    row("commit offsets", ApiKey::OffsetCommit, [2, 10], &[(Read, Group, "g"), (Read, Topic, "t")], offset_commit),
    row("fetch offsets", ApiKey::OffsetFetch, [1, 10], &[(Describe, Group, "g"), (Describe, Topic, "t")], offset_fetch),
    row("fetch all offsets", ApiKey::OffsetFetch, [2, 10], &[(Describe, Group, "g"), (Describe, Topic, "t")], offset_fetch_all),
    row("find a group's coordinator", ApiKey::FindCoordinator, [0, 6], &[(Describe, Group, "g")], find_group),
    row("find a transaction's coordinator", ApiKey::FindCoordinator, [1, 6], &[(Describe, TransactionalId, "x")], find_transaction),
    row("join a group", ApiKey::JoinGroup, [0, 9], READ_GROUP, join_group),
    row("heartbeat", ApiKey::Heartbeat, [0, 4], READ_GROUP, heartbeat),
    row("leave a group", ApiKey::LeaveGroup, [0, 5], READ_GROUP, leave_group),
    row("sync a group", ApiKey::SyncGroup, [0, 5], READ_GROUP, sync_group),
    row("describe groups", ApiKey::DescribeGroups, [0, 6], &[(Describe, Group, "g"), (Delete, Group, "missing")], describe_groups),
    row("list groups", ApiKey::ListGroups, [0, 5], &[(Describe, Group, "g"), (Describe, Cluster, CLUSTER_NAME)], list_groups),
    row("create topics", ApiKey::CreateTopics, [2, 7], &[(Create, Topic, "new"), (DescribeConfigs, Topic, "new"), (Create, Cluster, CLUSTER_NAME)], create_topics),
    row("delete topics", ApiKey::DeleteTopics, [1, 6], &[(Describe, Topic, "missing"), (Delete, Topic, "missing")], delete_topics),
    row("delete topics of the whole cluster", ApiKey::DeleteTopics, [1, 6], &[(All, Cluster, CLUSTER_NAME)], delete_topics),
    row("delete topics by id", ApiKey::DeleteTopics, [6, 6], &[(Describe, Topic, "doomed"), (Delete, Topic, "doomed")], delete_topics_by_id),
    row("delete records", ApiKey::DeleteRecords, [0, 2], &[(Delete, Topic, "t")], delete_records),
    row("a producer id", ApiKey::InitProducerId, [0, 5], &[(IdempotentWrite, Cluster, CLUSTER_NAME)], producer_id),
    row("a producer id for who may write to a topic", ApiKey::InitProducerId, [0, 5], &[(Write, Topic, "t")], producer_id),
    row("a transactional producer", ApiKey::InitProducerId, [0, 5], &[(Write, TransactionalId, "y")], transactional_producer),
    row("the end of a leader epoch", ApiKey::OffsetForLeaderEpoch, [2, 4], &[(Describe, Topic, "t"), (ClusterAction, Cluster, CLUSTER_NAME)], leader_epoch),
    row("add partitions to a transaction", ApiKey::AddPartitionsToTxn, [0, 3], &[(Write, TransactionalId, "y"), (Write, Topic, "t"), (Write, Topic, "u")], add_partitions),
    row("add partitions to transactions of others", ApiKey::AddPartitionsToTxn, [4, 5], &[(ClusterAction, Cluster, CLUSTER_NAME)], add_partitions),
    row("add offsets to a transaction", ApiKey::AddOffsetsToTxn, [0, 4], &[(Write, TransactionalId, "y"), (Read, Group, "g")], add_offsets),
    row("end a transaction", ApiKey::EndTxn, [0, 5], &[(Write, TransactionalId, "y")], end_transaction),
    row("write markers", ApiKey::WriteTxnMarkers, [1, 2], &[(ClusterAction, Cluster, CLUSTER_NAME)], write_markers),
    row("write markers as an administrator", ApiKey::WriteTxnMarkers, [1, 2], ALTER_CLUSTER, write_markers),
    row("commit offsets in a transaction", ApiKey::TxnOffsetCommit, [0, 5], &[(Write, TransactionalId, "y"), (Read, Group, "g"), (Read, Topic, "missing")], txn_offset_commit),
    row("describe access control lists", ApiKey::DescribeAcls, [1, 3], DESCRIBE_CLUSTER, describe_acls),
    row("create access control entries", ApiKey::CreateAcls, [1, 3], ALTER_CLUSTER, create_acls),
    row("delete access control entries", ApiKey::DeleteAcls, [1, 3], ALTER_CLUSTER, delete_acls),
    row("describe settings", ApiKey::DescribeConfigs, [1, 4], &[(DescribeConfigs, Topic, "t"), (DescribeConfigs, Group, "g"), (DescribeConfigs, Cluster, CLUSTER_NAME)], describe_configs),
    row("describe settings that may be altered", ApiKey::DescribeConfigs, [1, 4], &[(AlterConfigs, Topic, "t")], describe_configs),
    row("replace settings", ApiKey::AlterConfigs, [0, 2], &[(AlterConfigs, Topic, "t"), (AlterConfigs, Group, "g"), (AlterConfigs, Cluster, CLUSTER_NAME)], alter_configs),
    row("alter settings", ApiKey::IncrementalAlterConfigs, [0, 1], &[(AlterConfigs, Topic, "t"), (AlterConfigs, Group, "g"), (AlterConfigs, Cluster, CLUSTER_NAME)], incremental_alter_configs),
    row("move replicas", ApiKey::AlterReplicaLogDirs, [1, 2], ALTER_CLUSTER, alter_replica_log_dirs),
    row("describe log directories", ApiKey::DescribeLogDirs, [1, 5], DESCRIBE_CLUSTER, describe_log_dirs),
    row("create partitions", ApiKey::CreatePartitions, [0, 3], &[(Alter, Topic, "t")], create_partitions),
    row("delete groups", ApiKey::DeleteGroups, [0, 2], &[(Delete, Group, "missing")], delete_groups),
    row("elect leaders", ApiKey::ElectLeaders, [0, 2], ALTER_CLUSTER, elect_leaders),
    row("alter reassignments", ApiKey::AlterPartitionReassignments, [0, 1], ALTER_CLUSTER, alter_reassignments),
    row("list reassignments", ApiKey::ListPartitionReassignments, [0, 0], DESCRIBE_CLUSTER, list_reassignments),
    row("delete offsets", ApiKey::OffsetDelete, [0, 0], &[(Delete, Group, "g"), (Read, Topic, "u")], offset_delete),
    row("describe quotas", ApiKey::DescribeClientQuotas, [0, 1], &[(DescribeConfigs, Cluster, CLUSTER_NAME)], describe_quotas),
    row("alter quotas", ApiKey::AlterClientQuotas, [0, 1], &[(AlterConfigs, Cluster, CLUSTER_NAME)], alter_quotas),
    row("describe users", ApiKey::DescribeUserScramCredentials, [0, 0], DESCRIBE_CLUSTER, describe_users),
    row("alter users", ApiKey::AlterUserScramCredentials, [0, 0], ALTER_CLUSTER, alter_users),
    row("describe the quorum", ApiKey::DescribeQuorum, [0, 2], DESCRIBE_CLUSTER, describe_quorum),
    row("update features", ApiKey::UpdateFeatures, [0, 2], ALTER_CLUSTER, update_features),
    row("describe the cluster", ApiKey::DescribeCluster, [0, 2], DESCRIBE_CLUSTER, describe_cluster),
    row("describe producers", ApiKey::DescribeProducers, [0, 0], &[(Read, Topic, "t")], describe_producers),
    row("describe transactions", ApiKey::DescribeTransactions, [0, 0], &[(Describe, TransactionalId, "x"), (Describe, Topic, "t")], describe_transactions),
    row("list transactions", ApiKey::ListTransactions, [0, 2], &[(Describe, TransactionalId, "x")], list_transactions),
    row("heartbeat of a consumer group", ApiKey::ConsumerGroupHeartbeat, [0, 1], &[(Read, Group, "g"), (Describe, Topic, "t")], consumer_group_heartbeat),
    row("describe consumer groups", ApiKey::ConsumerGroupDescribe, [0, 1], &[(Describe, Group, "c"), (Read, Topic, "t")], consumer_group_describe),
    row("heartbeat of a streams group", ApiKey::StreamsGroupHeartbeat, [0, 0], &[(Read, Group, "s"), (Describe, Topic, "t")], streams_group_heartbeat),
    row("heartbeat that wants topics", ApiKey::StreamsGroupHeartbeat, [0, 0], &[(Read, Group, "wants"), (Describe, Topic, "t"), (Describe, Topic, "wanted"), (Create, Topic, "wanted")], streams_group_that_wants_topics),
    row("heartbeat that wants topics, for the cluster", ApiKey::StreamsGroupHeartbeat, [0, 0], &[(Read, Group, "wants"), (Describe, Topic, "t"), (Describe, Topic, "wanted"), (Create, Cluster, CLUSTER_NAME)], streams_group_that_wants_topics),
    row("describe streams groups", ApiKey::StreamsGroupDescribe, [0, 0], &[(Describe, Group, "s"), (Read, Topic, "t")], streams_group_describe),
    row("list what has settings", ApiKey::ListConfigResources, [0, 1], &[(DescribeConfigs, Cluster, CLUSTER_NAME)], list_config_resources),
    row("describe partitions", ApiKey::DescribeTopicPartitions, [0, 0], &[(Describe, Topic, "t"), (AlterConfigs, Topic, "t")], describe_topic_partitions),
    row("describe all partitions", ApiKey::DescribeTopicPartitions, [0, 0], &[(Write, Topic, "u")], describe_all_topic_partitions),
];
