//! From the bytes of a request to the bytes of its answer: header, version, the one match over all
//! APIs.

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::ApiKey;
use vltava_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use vltava_protocol::wire::{DecodeError, EncodeError, Message, Reader, Records, Request, Writer};

use crate::api_table;
use crate::handlers::{
    alter_configs, alter_partition_reassignments, alter_replica_log_dirs, api_versions, consumer_group_describe,
    consumer_group_heartbeat, create_partitions, create_topics, delete_groups, delete_records, delete_topics,
    describe_cluster, describe_configs, describe_groups, describe_log_dirs, describe_quorum, describe_topic_partitions,
    elect_leaders, fetch, find_coordinator, heartbeat, incremental_alter_configs, init_producer_id, join_group,
    leave_group, list_config_resources, list_groups, list_offsets, list_partition_reassignments, metadata,
    offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group,
};
use crate::node::Node;
use crate::request::{Peer, RequestContext};

/// Why a request gets no answer and its connection ends, as in Kafka.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("malformed request of api {api}: {source}")]
    Malformed { api: i16, source: DecodeError },
    #[error("version {version} of api {api} is not served")]
    NotServed { api: i16, version: i16 },
    #[error("cannot write the answer of {api}: {source}")]
    Unanswerable { api: ApiKey, source: EncodeError },
    /// A producer that waits for no answer learns of a failure in this way only.
    #[error("a produce request without acknowledgement failed")]
    Unacknowledged,
}

/// The bytes of one answer, in the parts that they lie in, without their length.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) parts: Vec<Records>,
}

/// Handles one request. Nothing to send is an answer too: a producer with `acks=0` expects none.
pub(crate) async fn handle(node: &Arc<Node>, peer: &Peer, request: Bytes) -> Result<Option<Reply>, Refusal> {
    let mut reader = Reader::new(request);
    let head = reader.clone();
    let (code, version) = api_and_version(head).map_err(|source| Refusal::Malformed { api: -1, source })?;
    let malformed = |source| Refusal::Malformed { api: code, source };
    let api = ApiKey::from_code(code).ok_or(Refusal::NotServed { api: code, version })?;
    let header = RequestHeader::decode(&mut reader, api.request_header_version(version)).map_err(malformed)?;
    let context = RequestContext { api_key: api, version, client_id: header.client_id, peer: peer.clone() };
    let exchange = Exchange { correlation_id: header.correlation_id, context };
    if !api_table::serves(api, version) {
        if api == ApiKey::ApiVersions {
            return exchange.reply::<ApiVersionsRequest>(0, &api_versions::unsupported()).map(Some);
        }
        return Err(Refusal::NotServed { api: code, version });
    }
    exchange.dispatch(node, reader).await
}

fn api_and_version(mut head: Reader) -> Result<(i16, i16), DecodeError> {
    Ok((head.i16()?, head.i16()?))
}

/// A request under way.
struct Exchange {
    correlation_id: i32,
    context: RequestContext,
}

/// Decodes the body, calls the handler with it, encodes what it returns.
macro_rules! answer {
    ($exchange:ident, $reader:ident, |$request:ident| $handler:expr) => {{
        let $request = $exchange.body($reader)?;
        let response = $handler;
        $exchange.reply_to(&$request, &response).map(Some)
    }};
}

impl Exchange {
    async fn dispatch(&self, node: &Arc<Node>, reader: Reader) -> Result<Option<Reply>, Refusal> {
        let context = &self.context;
        match context.api_key {
            ApiKey::Produce => {
                let request = self.body(reader)?;
                match produce::handle(node, context, &request) {
                    produce::Outcome::Answer(response) => self.reply_to(&request, &response).map(Some),
                    produce::Outcome::Silent => Ok(None),
                    produce::Outcome::Disconnect => Err(Refusal::Unacknowledged),
                }
            }
            ApiKey::Fetch => answer!(self, reader, |request| fetch::handle(node, context, &request).await),
            ApiKey::ListOffsets => answer!(self, reader, |request| list_offsets::handle(node, context, &request)),
            ApiKey::Metadata => answer!(self, reader, |request| metadata::handle(node, context, &request)),
            ApiKey::ApiVersions => answer!(self, reader, |request| api_versions::handle(node, context, &request)),
            ApiKey::CreateTopics => answer!(self, reader, |request| create_topics::handle(node, &request).await),
            ApiKey::DeleteTopics => {
                answer!(self, reader, |request| delete_topics::handle(node, context, &request).await)
            }
            ApiKey::DeleteRecords => answer!(self, reader, |request| delete_records::handle(node, &request)),
            ApiKey::InitProducerId => answer!(self, reader, |request| init_producer_id::handle(node, &request).await),
            ApiKey::OffsetForLeaderEpoch => {
                answer!(self, reader, |request| offset_for_leader_epoch::handle(node, &request))
            }
            ApiKey::DescribeConfigs => answer!(self, reader, |request| describe_configs::handle(node, &request)),
            ApiKey::AlterConfigs => answer!(self, reader, |request| alter_configs::handle(node, &request).await),
            ApiKey::DescribeLogDirs => answer!(self, reader, |request| describe_log_dirs::handle(node, &request)),
            ApiKey::CreatePartitions => {
                answer!(self, reader, |request| create_partitions::handle(node, &request).await)
            }
            ApiKey::IncrementalAlterConfigs => {
                answer!(self, reader, |request| incremental_alter_configs::handle(node, &request).await)
            }
            ApiKey::DescribeCluster => {
                answer!(self, reader, |request| describe_cluster::handle(node, context, &request))
            }
            ApiKey::DescribeTopicPartitions => {
                answer!(self, reader, |request| describe_topic_partitions::handle(node, &request))
            }
            ApiKey::OffsetCommit => answer!(self, reader, |request| offset_commit::handle(node, context, &request)),
            ApiKey::OffsetFetch => answer!(self, reader, |request| offset_fetch::handle(node, context, &request)),
            ApiKey::FindCoordinator => {
                answer!(self, reader, |request| find_coordinator::handle(node, context, &request).await)
            }
            ApiKey::JoinGroup => answer!(self, reader, |request| join_group::handle(node, context, &request).await),
            ApiKey::Heartbeat => answer!(self, reader, |request| heartbeat::handle(node, &request)),
            ApiKey::LeaveGroup => answer!(self, reader, |request| leave_group::handle(node, context, &request)),
            ApiKey::SyncGroup => answer!(self, reader, |request| sync_group::handle(node, context, &request).await),
            ApiKey::DescribeGroups => {
                answer!(self, reader, |request| describe_groups::handle(node, context, &request))
            }
            ApiKey::ListGroups => answer!(self, reader, |request| list_groups::handle(node, &request)),
            ApiKey::DeleteGroups => answer!(self, reader, |request| delete_groups::handle(node, &request)),
            ApiKey::OffsetDelete => answer!(self, reader, |request| offset_delete::handle(node, &request)),
            ApiKey::ConsumerGroupHeartbeat => {
                answer!(self, reader, |request| consumer_group_heartbeat::handle(node, context, &request))
            }
            ApiKey::ConsumerGroupDescribe => {
                answer!(self, reader, |request| consumer_group_describe::handle(node, &request))
            }
            ApiKey::AlterReplicaLogDirs => {
                answer!(self, reader, |request| alter_replica_log_dirs::handle(node, &request))
            }
            ApiKey::ElectLeaders => answer!(self, reader, |request| elect_leaders::handle(node, &request)),
            ApiKey::AlterPartitionReassignments => {
                answer!(self, reader, |request| alter_partition_reassignments::handle(node, &request))
            }
            ApiKey::ListPartitionReassignments => {
                answer!(self, reader, |request| list_partition_reassignments::handle(&request))
            }
            ApiKey::DescribeQuorum => answer!(self, reader, |request| describe_quorum::handle(node, context, &request)),
            ApiKey::ListConfigResources => {
                answer!(self, reader, |request| list_config_resources::handle(node, context, &request))
            }
            other => Err(Refusal::NotServed { api: other.code(), version: context.version }),
        }
    }

    fn body<R: Request>(&self, mut reader: Reader) -> Result<R, Refusal> {
        let malformed = |source| Refusal::Malformed { api: self.context.api_key.code(), source };
        R::decode(&mut reader, self.context.version).map_err(malformed)
    }

    fn reply_to<R: Request>(&self, _request: &R, response: &R::Response) -> Result<Reply, Refusal> {
        self.reply::<R>(self.context.version, response)
    }

    fn reply<R: Request>(&self, version: i16, response: &R::Response) -> Result<Reply, Refusal> {
        let api = R::API_KEY;
        let unanswerable = |source| Refusal::Unanswerable { api, source };
        let mut writer = Writer::with_files();
        let header = ResponseHeader { correlation_id: self.correlation_id, ..ResponseHeader::default() };
        header.encode(&mut writer, api.response_header_version(version)).map_err(unanswerable)?;
        response.encode(&mut writer, version).map_err(unanswerable)?;
        Ok(Reply { parts: writer.into_parts() })
    }
}
