//! Requests about producers.

use vltava_protocol::messages::describe_producers_request::TopicRequest;
use vltava_protocol::messages::{DescribeProducersRequest, ProduceRequest};
use vltava_protocol::record::{Compression, ProducerState};

use crate::support::{batch_of, produce_request};
use crate::transcript::Session;

fn describe(topics: &[(&str, &[i32])]) -> DescribeProducersRequest {
    let topics = topics.iter().map(|(name, partition_indexes)| TopicRequest {
        name: (*name).to_owned(),
        partition_indexes: partition_indexes.to_vec(),
        ..TopicRequest::default()
    });
    DescribeProducersRequest { topics: topics.collect(), ..DescribeProducersRequest::default() }
}

fn produce(producer: ProducerState) -> ProduceRequest {
    let records = batch_of(&["a", "b"], Some(producer), Compression::None);
    produce_request("produced", 0, records, -1)
}

pub(crate) fn life(s: &mut Session) {
    s.create("produced", 2);
    // Apache's broker answers CreateTopics before it leads the partitions.
    let ready = describe(&[("produced", &[0, 1])]);
    s.until(0, &ready, |answer| {
        answer.topics.iter().flat_map(|topic| &topic.partitions).all(|partition| partition.error_code == 0)
    });
    s.about("producers that partitions remember");
    s.call("two records of one", 12, &produce(ProducerState::idempotent(4711, 0, 0)));
    s.call("two more", 12, &produce(ProducerState::idempotent(4711, 0, 2)));
    s.call("of another, in the midst of its numbers", 12, &produce(ProducerState::idempotent(4712, 3, 10)));
    s.call("they are told of", 0, &describe(&[("produced", &[0, 1])]));
    let wrong = describe(&[("produced", &[2, -1]), ("unknown", &[0]), ("bad/name", &[0]), ("", &[0])]);
    s.call("what is not there", 0, &wrong);
    s.call("nothing", 0, &describe(&[]));
}
