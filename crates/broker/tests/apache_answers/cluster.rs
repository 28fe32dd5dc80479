//! Requests about the cluster, and what is not served.

use vltava_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use vltava_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeQuorumRequest, FindCoordinatorRequest, InitProducerIdRequest,
    MetadataRequest,
};

use crate::groups::coordinator;
use crate::transcript::Session;

/// What Kafka serves and this broker does not: delegation tokens, metrics of clients, changes of the
/// quorum, share groups.
const NOT_SERVED: [i16; 20] = [38, 39, 40, 41, 64, 76, 77, 78, 79, 80, 81, 83, 84, 85, 86, 87, 90, 91, 92, 93];
/// Features that stand for what is not served.
const FEATURES_NOT_SERVED: [&str; 2] = ["kraft.version", "share.version"];

/// Whether this broker serves an API that Kafka serves.
pub(crate) fn serves(api: i16) -> bool {
    !NOT_SERVED.contains(&api)
}

fn client(name: &str, version: &str) -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: name.to_owned(),
        client_software_version: version.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn questions(s: &mut Session) {
    coordinator(s);
    s.about("versions");
    for version in 0..=4 {
        s.call_then(&format!("version {version}"), version, &client("a", "1"), |response| {
            response.api_keys.retain(|api| !NOT_SERVED.contains(&api.api_key));
            response.supported_features.retain(|feature| !FEATURES_NOT_SERVED.contains(&feature.name.as_str()));
            response.finalized_features.retain(|feature| !FEATURES_NOT_SERVED.contains(&feature.name.as_str()));
            response.finalized_features_epoch = response.finalized_features_epoch.min(0);
            response.supported_features.sort_by(|a, b| a.name.cmp(&b.name));
            response.finalized_features.sort_by(|a, b| a.name.cmp(&b.name));
        });
    }
    s.call("no name", 4, &client("", "1"));
    s.call("no version", 4, &client("a", ""));
    s.call("a name that is none", 4, &client("-a", "1"));

    s.about("coordinators");
    let keys = |kind: i8, keys: &[&str]| FindCoordinatorRequest {
        key_type: kind,
        coordinator_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..Default::default()
    };
    let old =
        |kind: i8, key: &str| FindCoordinatorRequest { key_type: kind, key: key.to_owned(), ..Default::default() };
    s.call("of groups", 6, &keys(0, &["a", "", "a"]));
    s.call("of none", 6, &keys(0, &[]));
    s.call("of an unknown kind", 6, &keys(9, &["a"]));
    s.call("of a negative kind", 6, &keys(-1, &["a"]));
    s.call("of a group, old", 3, &old(0, "a"));
    s.call("of a group, oldest", 0, &old(0, "a"));
    s.call("of an unknown kind, old", 3, &old(9, "a"));
    s.call("of share groups before they were", 5, &keys(2, &["a"]));

    s.about("the cluster");
    let cluster = |kind: i8| DescribeClusterRequest { endpoint_type: kind, ..Default::default() };
    let described = |s: &mut Session, what: &str, version: i16, request: &DescribeClusterRequest| {
        s.call_then(what, version, request, |response| response.cluster_id.clear());
    };
    described(s, "brokers", 2, &cluster(1));
    described(
        s,
        "brokers with operations",
        2,
        &DescribeClusterRequest { include_cluster_authorized_operations: true, ..cluster(1) },
    );
    described(s, "fenced brokers", 2, &DescribeClusterRequest { include_fenced_brokers: true, ..cluster(1) });
    described(s, "controllers", 2, &cluster(2));
    described(s, "an unknown kind", 2, &cluster(7));
    described(s, "old", 0, &cluster(1));
    let quorum = |topic: &str, partition: i32| DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: topic.to_owned(),
            partitions: vec![PartitionData { partition_index: partition, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    s.call("the quorum of another topic", 2, &quorum("other", 0));
    s.call("the quorum of another partition", 2, &quorum("__cluster_metadata", 7));
    s.call("the quorum of nothing", 2, &DescribeQuorumRequest::default());

    s.about("producers");
    let init = |change: fn(&mut InitProducerIdRequest)| {
        let mut request = InitProducerIdRequest {
            transaction_timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        change(&mut request);
        request
    };
    s.call_then("a new one", 5, &init(|_| {}), |response| response.producer_id = response.producer_id.min(0));
    s.call_then("one that it had", 5, &init(|r| (r.producer_id, r.producer_epoch) = (77, 3)), |response| {
        response.producer_id = response.producer_id.min(0);
    });
    s.call("an id without an epoch", 5, &init(|r| r.producer_id = 77));
    s.call("an epoch without an id", 5, &init(|r| r.producer_epoch = 3));
    s.call("an empty transaction", 5, &init(|r| r.transactional_id = Some(String::new())));
}

pub(crate) fn not_served(s: &mut Session) {
    let request = MetadataRequest { topics: None, ..Default::default() };
    for (what, api, version) in [
        ("a version too low", 0, 2),
        ("a version too high", 3, 99),
        ("a negative version", 3, -1),
        ("an api for brokers only", 4, 0),
        ("an api of the past", 7, 0),
        ("an api that never was", 999, 0),
        ("a negative api", -1, 0),
        ("a vote", 52, 0),
    ] {
        s.raw(what, &request, api, version);
    }
}
