//! How subscriptions and assignments look on the wire: a version, then the message.

use std::collections::BTreeMap;

use bytes::Bytes;
use vltava_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
    consumer_protocol_subscription,
};
use vltava_protocol::wire::{Message, Reader, Writer};

use super::{Assignment, Subscription};
use crate::{ClientError, TopicPartition};

/// Encodes a subscription in the highest version.
pub(crate) fn encode_subscription(subscription: &Subscription) -> Result<Bytes, ClientError> {
    let mut topics = subscription.topics.clone();
    topics.sort();
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    let mut owned: Vec<&TopicPartition> = subscription.owned_partitions.iter().collect();
    owned.sort();
    for tp in owned {
        by_topic.entry(tp.topic()).or_default().push(tp.partition());
    }
    encode(&ConsumerProtocolSubscription {
        topics,
        user_data: subscription.user_data.clone(),
        owned_partitions: by_topic
            .into_iter()
            .map(|(topic, partitions)| consumer_protocol_subscription::TopicPartition {
                topic: topic.to_owned(),
                partitions,
            })
            .collect(),
        generation_id: subscription.generation_id.unwrap_or(-1),
        rack_id: subscription.rack_id.clone(),
    })
}

/// Decodes a subscription of any version; newer ones than we know begin as the newest we know.
pub(crate) fn decode_subscription(bytes: &Bytes) -> Result<Subscription, ClientError> {
    let message: ConsumerProtocolSubscription = decode(bytes, "subscription")?;
    Ok(Subscription {
        topics: message.topics,
        user_data: message.user_data,
        owned_partitions: message
            .owned_partitions
            .iter()
            .flat_map(|t| t.partitions.iter().map(|&p| TopicPartition::new(t.topic.as_str(), p)))
            .collect(),
        generation_id: (message.generation_id >= 0).then_some(message.generation_id),
        rack_id: message.rack_id.filter(|rack| !rack.is_empty()),
        group_instance_id: None,
    })
}

/// Encodes an assignment in the highest version.
pub(crate) fn encode_assignment(assignment: &Assignment) -> Result<Bytes, ClientError> {
    let mut topics: Vec<consumer_protocol_assignment::TopicPartition> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for tp in &assignment.partitions {
        let at = *known.entry(tp.topic()).or_insert_with(|| {
            topics.push(consumer_protocol_assignment::TopicPartition {
                topic: tp.topic().to_owned(),
                ..Default::default()
            });
            topics.len() - 1
        });
        if let Some(entry) = topics.get_mut(at) {
            entry.partitions.push(tp.partition());
        }
    }
    encode(&ConsumerProtocolAssignment { assigned_partitions: topics, user_data: assignment.user_data.clone() })
}

/// Decodes an assignment of any version. Nothing at all is what a coordinator gives to a member
/// that the leader forgot.
pub(crate) fn decode_assignment(bytes: &Bytes) -> Result<Assignment, ClientError> {
    let message: ConsumerProtocolAssignment = decode(bytes, "assignment")?;
    Ok(Assignment {
        partitions: message
            .assigned_partitions
            .iter()
            .flat_map(|t| t.partitions.iter().map(|&p| TopicPartition::new(t.topic.as_str(), p)))
            .collect(),
        user_data: message.user_data,
    })
}

fn encode<M: Message>(message: &M) -> Result<Bytes, ClientError> {
    let mut writer = Writer::new();
    writer.i16(M::MAX_VERSION);
    message
        .encode(&mut writer, M::MAX_VERSION)
        .map_err(|error| ClientError::invalid(format!("cannot encode {}: {error}", M::NAME)))?;
    Ok(writer.into_bytes())
}

fn decode<M: Message>(bytes: &Bytes, what: &str) -> Result<M, ClientError> {
    let mut reader = Reader::new(bytes.clone());
    let unreadable = |error| ClientError::unexpected(format!("{what} of the group: {error}"));
    let version = reader.i16().map_err(unreadable)?;
    if version < M::MIN_VERSION {
        return Err(ClientError::unexpected(format!("{what} of the group has version {version}")));
    }
    M::decode(&mut reader, version.min(M::MAX_VERSION)).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscription_is_kafkas() {
        let subscription = Subscription {
            topics: vec!["b".into(), "a".into()],
            user_data: None,
            owned_partitions: vec![TopicPartition::new("a", 1), TopicPartition::new("a", 0)],
            generation_id: Some(5),
            rack_id: Some("r".into()),
            group_instance_id: None,
        };
        let bytes = encode_subscription(&subscription).unwrap();
        let expected: &[u8] = b"\0\x03\0\0\0\x02\0\x01a\0\x01b\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\x05\0\x01r";
        assert_eq!(bytes, expected);
        let decoded = decode_subscription(&bytes).unwrap();
        assert_eq!(decoded.topics, ["a", "b"]);
        assert_eq!(decoded.owned_partitions, [TopicPartition::new("a", 0), TopicPartition::new("a", 1)]);
        assert_eq!(decoded.generation_id, Some(5));
        assert_eq!(decoded.rack_id.as_deref(), Some("r"));
    }

    #[test]
    fn older_and_newer_subscriptions_are_read() {
        let version_0 = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01x");
        let decoded = decode_subscription(&version_0).unwrap();
        assert_eq!(decoded.topics, ["a"]);
        assert_eq!(decoded.user_data.as_deref(), Some(&b"x"[..]));
        let newer = Bytes::from_static(b"\0\x09\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\0\0\0\0\x07\xff\xffmore");
        assert_eq!(decode_subscription(&newer).unwrap().generation_id, Some(7));
    }

    #[test]
    fn assignment_round_trips_in_order() {
        let partitions = vec![TopicPartition::new("b", 2), TopicPartition::new("a", 0), TopicPartition::new("b", 1)];
        let bytes = encode_assignment(&Assignment::new(partitions)).unwrap();
        let decoded = decode_assignment(&bytes).unwrap();
        let names: Vec<String> = decoded.partitions.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["b-2", "b-1", "a-0"]);
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b""[..], b"\0", b"\0\0", b"\xff\xff\0\0", b"\0\x01\x7f\xff\xff\xff"] {
            assert!(decode_subscription(&Bytes::copy_from_slice(bytes)).is_err());
            assert!(decode_assignment(&Bytes::copy_from_slice(bytes)).is_err());
        }
    }
}
