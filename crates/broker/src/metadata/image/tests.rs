use vltava_protocol::records::metadata::{
    ProducerIdsRecord, RemoveAccessControlEntryRecord, RemoveTopicRecord, TopicRecord,
};
use vltava_security::acl;
use vltava_security::acl::{AclBinding, AclOperation, AclPermissionType, PatternType};

use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn topic(name: &str, n: u128) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { name: name.to_owned(), topic_id: id(n), ..TopicRecord::default() })
}

fn partition(n: u128, index: i32) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        topic_id: id(n),
        partition_id: index,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        ..PartitionRecord::default()
    })
}

fn config(name: &str, key: &str, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: ResourceType::Topic as i8,
        resource_name: name.to_owned(),
        name: key.to_owned(),
        value: value.map(str::to_owned),
        ..ConfigRecord::default()
    })
}

fn fold(records: &[MetadataRecord]) -> Result<MetadataImage, ReplayError> {
    let mut image = MetadataImage::default();
    for record in records {
        image.replay(record)?;
    }
    Ok(image)
}

#[test]
fn topics_come_grow_and_go() {
    let mut image = fold(&[topic("b", 7), partition(7, 0), topic("a", 8), partition(8, 0), partition(7, 1)]).unwrap();
    let names: Vec<&str> = image.topics().map(|topic| topic.name.as_ref()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(image.topic_by_id(id(7)).unwrap().partitions.len(), 2);

    image.replay(&config("b", "retention.ms", Some("5"))).unwrap();
    let removed = RemoveTopicRecord { topic_id: id(7), ..RemoveTopicRecord::default() };
    let kept = image.clone();
    image.replay(&MetadataRecord::RemoveTopic(removed)).unwrap();
    assert!(image.topic("b").is_none() && image.topic_by_id(id(7)).is_none());
    assert!(image.config(ResourceType::Topic, "b").is_none(), "the settings go with the topic");
    assert!(kept.topic("b").is_some(), "an image that is held does not change");
}

#[test]
fn a_new_leader_begins_a_new_epoch_and_anything_else_does_not() {
    let mut image = fold(&[topic("t", 7), partition(7, 0)]).unwrap();
    let change = PartitionChangeRecord { topic_id: id(7), partition_id: 0, ..PartitionChangeRecord::default() };
    let led = PartitionChangeRecord { leader: 1, ..change.clone() };
    image.replay(&MetadataRecord::PartitionChange(led)).unwrap();
    let shrunk = PartitionChangeRecord { isr: Some(vec![]), ..change };
    image.replay(&MetadataRecord::PartitionChange(shrunk)).unwrap();
    let partition = &image.topic("t").unwrap().partitions[0];
    assert_eq!((partition.leader_epoch, partition.partition_epoch), (1, 2));
    assert!(partition.isr.is_empty());
}

#[test]
fn settings_are_set_and_taken_back() {
    let mut image = fold(&[config("t", "a", Some("1")), config("t", "b", Some("2")), config("t", "a", None)]).unwrap();
    let settings = image.config(ResourceType::Topic, "t").unwrap();
    assert_eq!(settings.iter().collect::<Vec<_>>(), [(&"b".to_owned(), &"2".to_owned())]);
    image.replay(&config("t", "b", None)).unwrap();
    assert!(image.config(ResourceType::Topic, "t").is_none());
}

#[test]
fn producer_ids_go_on_after_the_last_block() {
    let ids = ProducerIdsRecord { next_producer_id: 3000, ..ProducerIdsRecord::default() };
    assert_eq!(fold(&[MetadataRecord::ProducerIds(ids)]).unwrap().next_producer_id(), 3000);
}

#[test]
fn records_that_do_not_fit_are_errors() {
    let unknown = RemoveTopicRecord { topic_id: id(9), ..RemoveTopicRecord::default() };
    for records in [
        vec![topic("t", 1), topic("t", 2)],
        vec![partition(1, 0)],
        vec![topic("t", 1), partition(1, 1)],
        vec![MetadataRecord::RemoveTopic(unknown)],
    ] {
        assert!(fold(&records).is_err(), "{records:?}");
    }
}

#[test]
fn access_control_entries_come_and_go_by_their_ids() {
    let binding = AclBinding {
        resource_type: acl::ResourceType::Topic,
        resource_name: "t".to_owned(),
        pattern_type: PatternType::Literal,
        principal: "User:a".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Read,
        permission_type: AclPermissionType::Allow,
    };
    let add = |n| MetadataRecord::AccessControlEntry(bindings::record(id(n), &binding));
    let remove = |n| {
        let removed = RemoveAccessControlEntryRecord { id: id(n), ..RemoveAccessControlEntryRecord::default() };
        MetadataRecord::RemoveAccessControlEntry(removed)
    };
    let image = fold(&[add(1)]).unwrap();
    assert!(image.acls().contains(&binding));
    let mut later = image.clone();
    later.replay(&remove(1)).unwrap();
    assert!(!later.acls().contains(&binding));
    // Who holds the image of before sees what was then.
    assert!(image.acls().contains(&binding));
    assert!(fold(&[add(1), remove(2)]).is_err());
    assert!(!fold(&[add(1), remove(1), add(3), remove(3)]).unwrap().acls().contains(&binding));
}
