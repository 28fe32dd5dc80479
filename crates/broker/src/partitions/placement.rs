//! Which directory each partition is in, and who leads it: what a start has to record.

use std::collections::HashMap;

use vltava_protocol::Uuid;
use vltava_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};

use crate::log_dirs::{MIGRATING, UNASSIGNED};
use crate::metadata::image::{MetadataImage, NO_LEADER, PartitionImage, TopicImage};

/// The directories that a start found.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    /// The ids of the directories that work, in the order of the configuration, those for partitions alone.
    pub(crate) online: Vec<Uuid>,
    /// Whether every configured directory works, and every one that this broker had is configured.
    pub(crate) is_complete: bool,
    /// Where the log of a partition was found.
    pub(crate) found: HashMap<(Uuid, i32), Uuid>,
    /// Whether the last stop was clean.
    pub(crate) was_clean: bool,
}

/// A partition that this broker cannot serve because it is not its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "partition {partition} has replicas {replicas:?}: a single node, here {node_id}, serves no partition of other nodes"
)]
pub(crate) struct ForeignReplicas {
    pub(crate) partition: String,
    pub(crate) replicas: Vec<i32>,
    pub(crate) node_id: i32,
}

impl Placement {
    /// The changes to the partitions that come with a start, as Kafka's broker (AssignReplicasToDirs) and controller
    /// (elections) make them: a log that was found in another directory than recorded is assigned to it; a partition
    /// whose directory is not there has no leader, and is never made again elsewhere; the others are led by this broker.
    /// After a crash the end of a log may be gone, and what comes in its place must not be taken for it: they get a new
    /// leader epoch (KIP-320).
    pub(crate) fn changes(&self, image: &MetadataImage, node_id: i32) -> Result<Vec<MetadataRecord>, ForeignReplicas> {
        let mut records = Vec::new();
        for topic in image.topics() {
            for (partition, index) in topic.partitions.iter().zip(0..) {
                if partition.replicas != [node_id] {
                    let replicas = partition.replicas.clone();
                    return Err(ForeignReplicas { partition: format!("{}-{index}", topic.name), replicas, node_id });
                }
                records.extend(self.change(topic, partition, index, node_id));
            }
        }
        Ok(records)
    }

    fn change(
        &self,
        topic: &TopicImage,
        partition: &PartitionImage,
        index: i32,
        node_id: i32,
    ) -> Option<MetadataRecord> {
        let mut change =
            PartitionChangeRecord { partition_id: index, topic_id: topic.id, ..PartitionChangeRecord::default() };
        let recorded = partition.directory_of(node_id);
        let directory = self.directory(topic, index, recorded);
        if let Some(directory) = directory.filter(|directory| *directory != recorded) {
            change.directories = Some(vec![directory]);
        }
        match directory {
            None if partition.leader != NO_LEADER => change.leader = NO_LEADER,
            Some(_) if partition.leader != node_id || !self.was_clean => {
                change.leader = node_id;
                if partition.isr != [node_id] {
                    change.isr = Some(vec![node_id]);
                    // It may be one of the replicas that were eligible although they were not in sync.
                    change.eligible_leader_replicas = Some(Vec::new());
                    change.last_known_elr = Some(Vec::new());
                }
            }
            _ if change.directories.is_some() => {}
            _ => return None,
        }
        Some(MetadataRecord::PartitionChange(change))
    }

    /// The directory that a partition's log is in, or is to be made in; `None` where it is in one that is not there.
    fn directory(&self, topic: &TopicImage, index: i32, recorded: Uuid) -> Option<Uuid> {
        if let Some(found) = self.found.get(&(topic.id, index)) {
            return Some(*found);
        }
        if self.online.contains(&recorded) {
            return Some(recorded);
        }
        // Nobody has said yet where it is: it can only be new if all directories are here.
        let is_unassigned = recorded == UNASSIGNED || recorded == MIGRATING;
        let at = usize::try_from(index).unwrap_or(0).checked_rem(self.online.len())?;
        self.online.get(at).copied().filter(|_| is_unassigned && self.is_complete)
    }
}

#[cfg(test)]
mod tests {
    use vltava_protocol::records::metadata::{PartitionRecord, TopicRecord};

    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(500);
    const A: Uuid = Uuid::from_u128(1001);
    const B: Uuid = Uuid::from_u128(1002);
    const LOST: Uuid = Uuid::from_u128(2);

    fn image(partition: PartitionRecord) -> MetadataImage {
        let mut image = MetadataImage::default();
        let topic = TopicRecord { name: "t".to_owned(), topic_id: TOPIC, ..TopicRecord::default() };
        image.replay(&MetadataRecord::Topic(topic)).unwrap();
        image.replay(&MetadataRecord::Partition(partition)).unwrap();
        image
    }

    fn partition(directories: &[Uuid], leader: i32, isr: &[i32]) -> PartitionRecord {
        PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC,
            replicas: vec![1],
            isr: isr.to_vec(),
            leader_epoch: 0,
            leader,
            directories: directories.to_vec(),
            ..PartitionRecord::default()
        }
    }

    fn placement(online: &[Uuid], is_complete: bool, found: Option<Uuid>) -> Placement {
        let found = found.into_iter().map(|directory| ((TOPIC, 0), directory)).collect();
        Placement { online: online.to_vec(), is_complete, found, was_clean: true }
    }

    /// What becomes of a partition: its leader and directory afterwards.
    fn after(placement: &Placement, partition: PartitionRecord) -> (i32, Uuid, i32) {
        let mut image = image(partition);
        for record in placement.changes(&image, 1).unwrap() {
            image.replay(&record).unwrap();
        }
        let partition = &image.topic("t").unwrap().partitions[0];
        assert!(partition.leader == NO_LEADER || partition.isr == [1]);
        (partition.leader, partition.directory_of(1), partition.leader_epoch)
    }

    #[test]
    fn a_partition_is_led_where_its_directory_is_and_offline_where_it_is_not() {
        let both = [A, B];
        // Name, directories online, whether these are all, where the log was found, what is recorded, leader; then leader,
        // directory and leader epoch afterwards.
        type Case<'a> = (&'a str, &'a [Uuid], bool, Option<Uuid>, &'a [Uuid], i32, (i32, Uuid, i32));
        let cases: [Case<'_>; 11] = [
            ("as it was", &both, true, Some(B), &[B], 1, (1, B, 0)),
            ("its log was made away with by hand, as in Kafka", &both, true, None, &[B], 1, (1, B, 0)),
            ("its directory is gone", &[A], false, None, &[B], 1, (-1, B, 1)),
            ("its directory is still gone", &[A], false, None, &[B], -1, (-1, B, 0)),
            ("its directory is back", &both, true, Some(B), &[B], -1, (1, B, 1)),
            ("found in another one", &both, true, Some(A), &[B], 1, (1, A, 0)),
            ("found in another one, its own is gone", &[A], false, Some(A), &[B], 1, (1, A, 0)),
            ("never recorded, found", &both, true, Some(B), &[], 1, (1, B, 0)),
            ("never recorded, new", &both, true, None, &[UNASSIGNED], 1, (1, A, 0)),
            ("never recorded, one is missing", &[A], false, None, &[UNASSIGNED], 1, (-1, UNASSIGNED, 1)),
            ("lost", &both, true, None, &[LOST], 1, (-1, LOST, 1)),
        ];
        for (name, online, is_complete, found, directories, leader, expected) in cases {
            let placement = placement(online, is_complete, found);
            assert_eq!(after(&placement, partition(directories, leader, &[1])), expected, "{name}");
        }
    }

    #[test]
    fn a_partition_that_kafka_left_without_leader_and_replicas_in_sync_is_led_again() {
        let found = placement(&[A], true, Some(A));
        assert_eq!(after(&found, partition(&[A], NO_LEADER, &[])), (1, A, 1));
    }

    #[test]
    fn every_partition_gets_a_new_epoch_after_a_crash() {
        let crashed = Placement { was_clean: false, ..placement(&[A], true, Some(A)) };
        assert_eq!(after(&crashed, partition(&[A], 1, &[1])), (1, A, 1));
    }

    #[test]
    fn partitions_of_other_nodes_are_refused() {
        let image = image(PartitionRecord { replicas: vec![1, 2], ..partition(&[A, B], 1, &[1, 2]) });
        let error = placement(&[A], true, None).changes(&image, 1).unwrap_err();
        assert_eq!((error.partition.as_str(), error.replicas.as_slice()), ("t-0", [1, 2].as_slice()));
    }
}
