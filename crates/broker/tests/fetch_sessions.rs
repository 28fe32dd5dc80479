//! Fetch sessions over the wire (KIP-227).

mod support;

use support::{Client, code, fetch_partition, fetch_request, records, start};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::fetch_request::ForgottenTopic;
use vltava_protocol::messages::{FetchRequest, FetchResponse};

fn partitions(response: &FetchResponse) -> Vec<i32> {
    response.responses.iter().flat_map(|topic| &topic.partitions).map(|p| p.partition_index).collect()
}

fn incremental(session_id: i32, session_epoch: i32, changed: &[(i32, i64)]) -> FetchRequest {
    let mut request = FetchRequest { session_id, session_epoch, ..fetch_request("t", changed, 0) };
    request.topics.retain(|topic| !topic.partitions.is_empty());
    request
}

#[test]
fn a_session_tells_only_what_is_new() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 3, &[]);
    let full = FetchRequest { session_epoch: 0, ..fetch_request("t", &[(0, 0), (1, 0), (2, 0)], 0) };
    let response = client.call(12, &full);
    assert_eq!(partitions(&response), [0, 1, 2]);
    let id = response.session_id;
    assert_ne!(id, 0);

    assert_eq!(partitions(&client.call(12, &incremental(id, 1, &[]))), Vec::<i32>::new());

    client.produce("t", 1, &["a"]);
    let response = client.call(12, &incremental(id, 2, &[]));
    assert_eq!((response.session_id, partitions(&response)), (id, vec![1]));
    assert_eq!(records(response.responses[0].partitions[0].records.as_ref().unwrap()), [(0, "a".to_owned())]);

    assert_eq!(partitions(&client.call(12, &incremental(id, 3, &[(1, 1)]))), Vec::<i32>::new());

    client.produce("t", 2, &["b"]);
    let forgotten = ForgottenTopic { topic: "t".to_owned(), partitions: vec![2], ..Default::default() };
    let request = FetchRequest { forgotten_topics_data: vec![forgotten], ..incremental(id, 4, &[]) };
    assert_eq!(partitions(&client.call(12, &request)), Vec::<i32>::new());
}

#[test]
fn a_session_out_of_step_is_refused() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let full = FetchRequest { session_epoch: 0, ..fetch_request("t", &[(0, 0)], 0) };
    let id = client.call(12, &full).session_id;
    let cases = [
        (id, 7, ErrorCode::InvalidFetchSessionEpoch),
        (id.wrapping_add(1).max(1), 1, ErrorCode::FetchSessionIdNotFound),
    ];
    for (id, epoch, expected) in cases {
        assert_eq!(client.call(12, &incremental(id, epoch, &[])).error_code, code(expected));
    }
    let closing = FetchRequest { session_id: id, session_epoch: -1, ..fetch_request("t", &[], 0) };
    assert_eq!(client.call(12, &closing).error_code, 0);
    assert_eq!(client.call(12, &incremental(id, 1, &[])).error_code, code(ErrorCode::FetchSessionIdNotFound));
}

#[test]
fn a_session_by_topic_id_finds_a_topic_that_was_made_anew_gone() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let old = client.create_topic("t", 1, &[]);
    let mut request = fetch_request("t", &[(0, 0)], 0);
    request.session_epoch = 0;
    request.topics[0].topic_id = old;
    request.topics[0].partitions = vec![fetch_partition(0, 0)];
    let id = client.call(13, &request).session_id;

    let deleted =
        vltava_protocol::messages::delete_topics_request::DeleteTopicState { topic_id: old, ..Default::default() };
    let delete = vltava_protocol::messages::DeleteTopicsRequest { topics: vec![deleted], ..Default::default() };
    assert_eq!(client.call(6, &delete).responses[0].error_code, 0);
    let new = client.create_topic("t", 1, &[]);
    assert_ne!(old, new);

    let response = client.call(13, &incremental(id, 1, &[]));
    assert_eq!(response.responses[0].partitions[0].error_code, code(ErrorCode::UnknownTopicId));
}
