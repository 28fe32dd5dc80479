//! Topics are created, described, grown and deleted.

mod support;

use support::{Client, code, start};
use vltava_broker::embedded;
use vltava_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use vltava_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::describe_topic_partitions_request::TopicRequest;
use vltava_protocol::messages::metadata_request::MetadataRequestTopic;
use vltava_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeLogDirsRequest, DescribeTopicPartitionsRequest, MetadataRequest,
};
use vltava_protocol::wire::Message;
use vltava_protocol::{ErrorCode, Uuid};

fn creatable(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.to_owned(), num_partitions, replication_factor, ..Default::default() }
}

fn create(client: &mut Client, topics: Vec<CreatableTopic>) -> CreateTopicsResponse {
    client.call(7, &CreateTopicsRequest { topics, timeout_ms: 1000, ..Default::default() })
}

#[test]
fn every_version_of_create_metadata_and_delete_is_served() {
    let broker = start();
    let mut client = Client::connect(&broker);
    for version in CreateTopicsRequest::MIN_VERSION..=CreateTopicsRequest::MAX_VERSION {
        let name = format!("t{version}");
        let request = CreateTopicsRequest { topics: vec![creatable(&name, 2, 1)], ..Default::default() };
        assert_eq!(client.call(version, &request).topics[0].error_code, 0, "version {version}");
    }
    for version in MetadataRequest::MIN_VERSION..=MetadataRequest::MAX_VERSION {
        let topics = if version > 0 { None } else { Some(Vec::new()) };
        let request = MetadataRequest { topics, allow_auto_topic_creation: true, ..Default::default() };
        let response = client.call(version, &request);
        assert_eq!((response.topics.len(), response.brokers.len()), (6, 1), "version {version}");
        assert!(response.topics.iter().all(|topic| topic.partitions.len() == 2));
    }
    for version in DeleteTopicsRequest::MIN_VERSION..=DeleteTopicsRequest::MAX_VERSION {
        let name = format!("t{}", version + 1);
        let mut request = DeleteTopicsRequest::default();
        if version < 6 {
            request.topic_names.push(name);
        } else {
            request.topics.push(DeleteTopicState { name: Some(name), ..Default::default() });
        }
        let known = version + 1 >= CreateTopicsRequest::MIN_VERSION;
        let expected = if known { 0 } else { code(ErrorCode::UnknownTopicOrPartition) };
        assert_eq!(client.call(version, &request).responses[0].error_code, expected, "version {version}");
    }
    assert!(client.call(12, &MetadataRequest { topics: None, ..Default::default() }).topics.is_empty());
}

#[test]
fn a_created_topic_is_told_with_its_settings() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let response = create(&mut client, vec![creatable("t", -1, -1)]);
    let topic = &response.topics[0];
    assert_eq!((topic.num_partitions, topic.replication_factor), (1, 1));
    let configs = topic.configs.as_ref().unwrap();
    assert_eq!(configs.len(), 33);
    let retention = configs.iter().find(|config| config.name == "retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("-1"));
}

#[test]
fn what_cannot_be_created_is_refused_in_kafkas_words() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("a.b", 1, &[]);
    let assigned = |replicas: &[&[i32]]| CreatableTopic {
        assignments: replicas
            .iter()
            .zip(0..)
            .map(|(brokers, partition_index)| CreatableReplicaAssignment {
                partition_index,
                broker_ids: brokers.to_vec(),
                ..Default::default()
            })
            .collect(),
        ..creatable("assigned", -1, -1)
    };
    let cases = [
        (creatable("a.b", 1, 1), ErrorCode::TopicAlreadyExists, "Topic 'a.b' already exists."),
        (creatable("a_b", 1, 1), ErrorCode::InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b"),
        (
            creatable("bad/name", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: 'bad/name' contains one or more characters other than ASCII alphanumerics, '.', \
             '_' and '-'",
        ),
        (
            creatable("t", 0, 1),
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            creatable("t", 1, 3),
            ErrorCode::InvalidReplicationFactor,
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because \
             only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
        ),
        (
            assigned(&[&[1], &[2]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
        (
            creatable("__cluster_metadata", 1, 1),
            ErrorCode::InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
    ];
    for (topic, expected, message) in cases {
        let response = create(&mut client, vec![topic]);
        let result = &response.topics[0];
        assert_eq!((result.error_code, result.error_message.as_deref()), (code(expected), Some(message)));
    }
    let response = create(&mut client, vec![creatable("twice", 1, 1), creatable("twice", 2, 1)]);
    assert_eq!(response.topics.len(), 1);
    assert_eq!(response.topics[0].error_message.as_deref(), Some("Duplicate topic name."));
    assert_eq!(create(&mut client, vec![assigned(&[&[1], &[1]])]).topics[0].num_partitions, 2);
}

#[test]
fn validation_alone_creates_nothing() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let request = CreateTopicsRequest { topics: vec![creatable("t", 1, 1)], validate_only: true, ..Default::default() };
    assert_eq!(client.call(7, &request).topics[0].error_code, 0);
    assert_eq!(client.metadata(&["t"], false).topics[0].error_code, code(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn a_topic_that_is_asked_for_is_created_where_that_is_allowed() {
    let broker = start();
    let mut client = Client::connect(&broker);
    assert_eq!(client.metadata(&["t"], false).topics[0].error_code, code(ErrorCode::UnknownTopicOrPartition));
    let begun = client.metadata(&["t", "bad/name"], true);
    let errors: Vec<i16> = begun.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(errors, [ErrorCode::InvalidTopicException, ErrorCode::UnknownTopicOrPartition].map(code));
    // Whoever asks again finds it soon, whether or not he would have it created.
    while client.metadata(&["t"], false).topics[0].error_code != 0 {
        std::thread::yield_now();
    }
    assert_eq!(client.produce("t", 0, &["a"]).error_code, 0);

    let config = embedded::Config::default().property("auto.create.topics.enable", "false");
    let strict = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&strict);
    assert_eq!(client.metadata(&["t"], true).topics[0].error_code, code(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn topics_are_found_by_id() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let id = client.create_topic("t", 1, &[]);
    let ask = |topic_id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id, name: None, ..Default::default() }]),
        ..Default::default()
    };
    let response = client.call(12, &ask(id));
    assert_eq!(response.topics[0].name.as_deref(), Some("t"));
    let response = client.call(12, &ask(Uuid::from_u128(4711)));
    assert_eq!(response.topics[0].error_code, code(ErrorCode::UnknownTopicId));
}

#[test]
fn topics_only_grow() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 3, &[]);
    let mut grow = |count: i32| {
        let topic = CreatePartitionsTopic { name: "t".to_owned(), count, assignments: None, ..Default::default() };
        let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        let mut response = client.call(3, &request);
        let result = response.results.remove(0);
        (result.error_code, result.error_message)
    };
    let refused = |text: &str| (code(ErrorCode::InvalidPartitions), Some(text.to_owned()));
    assert_eq!(grow(3), refused("Topic already has 3 partition(s)."));
    assert_eq!(grow(2), refused("The topic t currently has 3 partition(s); 2 would not be an increase."));
    assert_eq!(grow(5), (0, None));
    assert_eq!(client.metadata(&["t"], false).topics[0].partitions.len(), 5);
    assert_eq!(client.produce("t", 4, &["a"]).error_code, 0);
}

#[test]
fn a_topic_made_anew_is_empty_and_has_another_id() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let old = client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["a"]);
    let by_id = DeleteTopicState { topic_id: old, ..Default::default() };
    let deleted = client.call(6, &DeleteTopicsRequest { topics: vec![by_id.clone()], ..Default::default() });
    assert_eq!((deleted.responses[0].error_code, deleted.responses[0].name.as_deref()), (0, Some("t")));
    let again = client.call(6, &DeleteTopicsRequest { topics: vec![by_id], ..Default::default() });
    assert_eq!(again.responses[0].error_code, code(ErrorCode::UnknownTopicId));
    assert_ne!(client.create_topic("t", 1, &[]), old);
    assert_eq!(client.values("t", 0, 0), Vec::<String>::new());
}

#[test]
fn partitions_are_described_page_by_page() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("a", 3, &[]);
    client.create_topic("b", 2, &[]);
    let topics = ["b", "a", "nope"].map(|name| TopicRequest { name: name.to_owned(), ..Default::default() });
    let mut request =
        DescribeTopicPartitionsRequest { topics: topics.to_vec(), response_partition_limit: 2, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let response = client.call(0, &request);
        for topic in response.topics {
            let name = topic.name.unwrap();
            if topic.error_code != 0 {
                seen.push((name, -1));
            } else {
                seen.extend(topic.partitions.iter().map(|p| (name.clone(), p.partition_index)));
            }
        }
        let Some(next) = response.next_cursor else { break };
        request.cursor = Some(vltava_protocol::messages::describe_topic_partitions_request::Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
            ..Default::default()
        });
    }
    let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("nope", -1)];
    assert_eq!(seen, expected.map(|(name, index)| (name.to_owned(), index)));
}

#[test]
fn the_cluster_and_its_directories_are_described() {
    let broker = embedded::Broker::start(embedded::Config::default().cluster_id("my-cluster")).unwrap();
    let mut client = Client::connect(&broker);
    for version in DescribeClusterRequest::MIN_VERSION..=DescribeClusterRequest::MAX_VERSION {
        let response = client.call(version, &DescribeClusterRequest::default());
        assert_eq!((response.cluster_id.as_str(), response.controller_id), ("my-cluster", 1));
        let told = format!("{}:{}", response.brokers[0].host, response.brokers[0].port);
        assert_eq!(told, broker.bootstrap_servers());
    }
    client.create_topic("t", 2, &[]);
    let produced = client.produce("t", 1, &["a"]);
    assert_eq!(produced.error_code, 0);
    for version in DescribeLogDirsRequest::MIN_VERSION..=DescribeLogDirsRequest::MAX_VERSION {
        let response = client.call(version, &DescribeLogDirsRequest { topics: None, ..Default::default() });
        let dir = &response.results[0];
        let sizes: Vec<bool> = dir.topics[0].partitions.iter().map(|p| p.partition_size > 0).collect();
        assert_eq!(sizes, [false, true], "version {version}");
        assert!(version < 4 || dir.total_bytes >= dir.usable_bytes && dir.usable_bytes > 0);
    }
}
