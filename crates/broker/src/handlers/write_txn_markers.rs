//! WriteTxnMarkers (27), versions 1–2.
//!
//! Ends transactions in partitions: for coordinators on other brokers, and for whoever ends a transaction that hangs. A
//! partition of the groups' topic commits or drops the offsets of the transaction. Answered when the markers are committed.
//!
//! Versions: 1 flexible · 2 the `transaction.version` of the transaction (KIP-1228).

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use vltava_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::transaction::TransactionCoordinator;
use crate::partition::EndTransaction;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    request: &WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let may_write = context.may_quietly(AclOperation::Alter, Resource::CLUSTER)
        || context.may(AclOperation::ClusterAction, Resource::CLUSTER);
    // As Kafka: what is said of one producer in several markers is answered in one place.
    let mut answers: BTreeMap<i64, BTreeMap<Arc<str>, BTreeMap<i32, ErrorCode>>> = BTreeMap::new();
    for marker in &request.markers {
        let topics = answers.entry(marker.producer_id).or_default();
        let end = EndTransaction {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            committed: marker.transaction_result,
            transaction_version: i16::from(marker.transaction_version),
        };
        for topic in &marker.topics {
            let name: Arc<str> = topic.name.as_str().into();
            for index in &topic.partition_indexes {
                let partition = TopicPartition::new(Arc::clone(&name), *index);
                let result = match may_write {
                    true => transactions.markers().write(&end, &partition).await,
                    false => Err(ErrorCode::ClusterAuthorizationFailed),
                };
                let error = result.err().unwrap_or(ErrorCode::None);
                topics.entry(Arc::clone(&name)).or_default().insert(*index, error);
            }
        }
    }
    let markers = answers.into_iter().map(|(producer_id, topics)| WritableTxnMarkerResult {
        producer_id,
        topics: topics.into_iter().map(|(name, partitions)| topic_result(&name, partitions)).collect(),
        ..WritableTxnMarkerResult::default()
    });
    WriteTxnMarkersResponse { markers: markers.collect(), ..WriteTxnMarkersResponse::default() }
}

fn topic_result(name: &str, partitions: BTreeMap<i32, ErrorCode>) -> WritableTxnMarkerTopicResult {
    let partitions = partitions.into_iter().map(|(partition_index, error)| WritableTxnMarkerPartitionResult {
        partition_index,
        error_code: error.code(),
        ..WritableTxnMarkerPartitionResult::default()
    });
    WritableTxnMarkerTopicResult {
        name: name.to_owned(),
        partitions: partitions.collect(),
        ..WritableTxnMarkerTopicResult::default()
    }
}
