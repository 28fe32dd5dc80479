//! The cluster itself: its brokers and their disks.

use std::collections::BTreeMap;

use vltava_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use vltava_protocol::messages::{DescribeClusterRequest, DescribeLogDirsRequest};

use super::{Admin, Results};
use crate::TopicPartition;
use crate::error::ClientError;
use crate::net::Node;

/// The cluster and its brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: String,
    /// The controller's broker id, if there is one.
    pub controller: Option<i32>,
    /// The brokers in order of their ids.
    pub nodes: Vec<Node>,
}

/// One directory of a broker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogDirDescription {
    /// Why it cannot be used, if it cannot.
    pub error: Option<ClientError>,
    /// Bytes of its disk; `None` where the broker does not say.
    pub total_bytes: Option<i64>,
    /// Bytes left on its disk; `None` where the broker does not say.
    pub usable_bytes: Option<i64>,
    /// The replicas in it.
    pub replicas: BTreeMap<TopicPartition, ReplicaInfo>,
}

/// A replica in a log directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaInfo {
    /// Size of all segments in bytes.
    pub size_bytes: i64,
    /// How many offsets it is behind the high watermark, or behind the present replica for a future one.
    pub offset_lag: i64,
    /// Whether it is being made to take the place of the present one.
    pub is_future: bool,
}

impl Admin {
    /// The cluster's id, controller and brokers.
    ///
    /// # Errors
    /// If no broker answers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let request = DescribeClusterRequest::default();
        let response = self
            .retry(async || {
                let response = self.cluster.send_any(&request).await?;
                ClientError::check(response.error_code, response.error_message.as_deref()).map(|()| response)
            })
            .await?;
        let nodes = response.brokers.iter();
        let mut nodes: Vec<Node> =
            nodes.filter_map(|b| Node::new(b.broker_id, &b.host, b.port, b.rack.as_deref())).collect();
        nodes.sort_by_key(|node| node.id);
        let controller = (response.controller_id >= 0).then_some(response.controller_id);
        Ok(ClusterDescription { cluster_id: response.cluster_id, controller, nodes })
    }

    /// The log directories of brokers, by path.
    ///
    /// # Errors
    /// For each broker, if it cannot be asked or refuses.
    pub async fn describe_log_dirs(
        &self,
        brokers: impl IntoIterator<Item = i32>,
    ) -> Results<i32, BTreeMap<String, LogDirDescription>> {
        let request = DescribeLogDirsRequest { topics: None, ..DescribeLogDirsRequest::default() };
        let mut results = Results::new();
        for broker in brokers {
            let described = self.ask(broker, &request, |response| response.error_code).await;
            let dirs = described.map(|response| response.results.into_iter().map(log_dir).collect());
            results.insert(broker, dirs);
        }
        results
    }
}

fn log_dir(dir: DescribeLogDirsResult) -> (String, LogDirDescription) {
    let mut replicas = BTreeMap::new();
    for topic in dir.topics {
        for p in topic.partitions {
            let info =
                ReplicaInfo { size_bytes: p.partition_size, offset_lag: p.offset_lag, is_future: p.is_future_key };
            replicas.insert(TopicPartition::new(topic.name.as_str(), p.partition_index), info);
        }
    }
    let description = LogDirDescription {
        error: ClientError::check(dir.error_code, None).err(),
        total_bytes: (dir.total_bytes >= 0).then_some(dir.total_bytes),
        usable_bytes: (dir.usable_bytes >= 0).then_some(dir.usable_bytes),
        replicas,
    };
    (dir.log_dir, description)
}
