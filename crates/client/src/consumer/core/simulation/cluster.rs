//! A small model of brokers: partitions with leaders and records, committed offsets, a group.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::fetch_request::FetchPartition;
use vltava_protocol::messages::fetch_response::{FetchableTopicResponse, LeaderIdAndEpoch, PartitionData};
use vltava_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use vltava_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use vltava_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use vltava_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use vltava_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use vltava_protocol::record::{Compression, RecordBatchBuilder};

use super::group::Group;
use super::{NODES, PARTITIONS, TOPIC, TOPIC_ID, tp};
use crate::consumer::core::Committed;
use crate::{OffsetAndMetadata, TopicPartition};

#[derive(Debug)]
struct Batch {
    base: i64,
    next: i64,
    epoch: i32,
    bytes: Bytes,
}

pub(super) struct Partition {
    leader: i32,
    epoch: i32,
    start: i64,
    batches: Vec<Batch>,
    /// The first record that no application got.
    missing: i64,
    /// What some application got behind that.
    delivered: BTreeSet<i64>,
    committed: Option<i64>,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leader, epoch, start, missing, committed, .. } = self;
        let end = self.end();
        write!(f, "{start}..{end} of {leader} in epoch {epoch}, missing {missing}, committed {committed:?}")
    }
}

impl Partition {
    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |batch| batch.next)
    }

    pub(super) fn is_done(&self) -> bool {
        self.missing == self.end() && self.committed.unwrap_or(0) == self.end()
    }

    pub(super) fn deliver(&mut self, offset: i64) {
        self.delivered.insert(offset);
        self.skip_delivered();
    }

    fn skip_delivered(&mut self) {
        while self.delivered.first().is_some_and(|first| *first <= self.missing) {
            self.missing += i64::from(self.delivered.pop_first() == Some(self.missing));
        }
    }
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) partitions: Vec<Partition>,
    pub(super) group: Group,
    /// Until when each node is down.
    down: [Instant; NODES as usize],
    pub(super) coordinator: i32,
}

impl Cluster {
    pub(super) fn new(random: &mut fastrand::Rng, group: Group, now: Instant) -> Self {
        let partition = |_| Partition {
            leader: random.i32(0..NODES),
            epoch: 0,
            start: 0,
            batches: Vec::new(),
            missing: 0,
            delivered: BTreeSet::new(),
            committed: None,
        };
        let partitions = (0..PARTITIONS).map(partition).collect();
        Self { partitions, group, down: [now; NODES as usize], coordinator: 0 }
    }

    pub(super) fn is_down(&self, node: i32, now: Instant) -> bool {
        self.down[node as usize] > now
    }

    /// A node goes, for a while; others lead its partitions.
    pub(super) fn stop(&mut self, random: &mut fastrand::Rng, node: i32, until: Instant) {
        self.down[node as usize] = until;
        for at in 0..self.partitions.len() {
            if self.partitions[at].leader == node {
                self.move_leader(random, at);
            }
        }
        if self.coordinator == node {
            self.move_coordinator(random);
        }
    }

    pub(super) fn move_leader(&mut self, random: &mut fastrand::Rng, at: usize) {
        let partition = &mut self.partitions[at];
        partition.leader = (partition.leader + random.i32(1..NODES)) % NODES;
        partition.epoch += 1;
    }

    pub(super) fn move_coordinator(&mut self, random: &mut fastrand::Rng) {
        self.coordinator = (self.coordinator + random.i32(1..NODES)) % NODES;
        self.group.moves();
    }

    pub(super) fn append(&mut self, at: usize, count: i64) {
        let partition = &mut self.partitions[at];
        let (base, epoch) = (partition.end(), partition.epoch);
        let mut builder = RecordBatchBuilder::new(Compression::None).base_offset(base).partition_leader_epoch(epoch);
        for offset in base..base + count {
            builder.append(offset, None, Some(b"v"), []).unwrap();
        }
        partition.batches.push(Batch { base, next: base + count, epoch, bytes: builder.build().unwrap() });
    }

    /// Old records go, whether or not they were read.
    pub(super) fn delete_some(&mut self, at: usize) {
        let partition = &mut self.partitions[at];
        if partition.batches.len() > 2 {
            partition.batches.remove(0);
            partition.start = partition.batches[0].base;
            partition.missing = partition.missing.max(partition.start);
            partition.skip_delivered();
        }
    }

    pub(super) fn metadata(&self, now: Instant) -> MetadataResponse {
        let up = |id: &i32| !self.is_down(*id, now);
        let broker = |node_id| MetadataResponseBroker { node_id, host: "h".into(), port: 9092, ..Default::default() };
        let partition = |(partition, index): (&Partition, i32)| MetadataResponsePartition {
            partition_index: index,
            leader_id: partition.leader,
            leader_epoch: partition.epoch,
            replica_nodes: (0..NODES).collect(),
            isr_nodes: (0..NODES).collect(),
            ..Default::default()
        };
        MetadataResponse {
            brokers: (0..NODES).filter(up).map(broker).collect(),
            topics: vec![MetadataResponseTopic {
                name: Some(TOPIC.into()),
                topic_id: TOPIC_ID,
                partitions: self.partitions.iter().zip(0..).map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// What is wrong with a request to `node` for a partition.
    fn check(&self, node: i32, partition: i32, leader_epoch: i32) -> ErrorCode {
        let known = &self.partitions[partition as usize];
        match leader_epoch {
            _ if known.leader != node => ErrorCode::NotLeaderOrFollower,
            -1 => ErrorCode::None,
            epoch if epoch < known.epoch => ErrorCode::FencedLeaderEpoch,
            epoch if epoch > known.epoch => ErrorCode::UnknownLeaderEpoch,
            _ => ErrorCode::None,
        }
    }

    /// The answer, and how long the broker waits for records.
    pub(super) fn fetch(
        &self,
        random: &mut fastrand::Rng,
        node: i32,
        request: &FetchRequest,
    ) -> (FetchResponse, Duration) {
        let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
        let partitions: Vec<PartitionData> = asked.map(|asked| self.fetch_one(random, node, asked)).collect();
        let has_news = |data: &PartitionData| data.records.is_some() || data.error_code != 0;
        let wait = if partitions.iter().any(has_news) { Duration::ZERO } else { Duration::from_millis(200) };
        let topic = FetchableTopicResponse { topic_id: TOPIC_ID, partitions, ..Default::default() };
        (FetchResponse { responses: vec![topic], ..Default::default() }, wait)
    }

    fn fetch_one(&self, random: &mut fastrand::Rng, node: i32, asked: &FetchPartition) -> PartitionData {
        let known = &self.partitions[asked.partition as usize];
        let mut code = self.check(node, asked.partition, asked.current_leader_epoch);
        if code == ErrorCode::None && (asked.fetch_offset < known.start || asked.fetch_offset > known.end()) {
            code = ErrorCode::OffsetOutOfRange;
        }
        let mut data =
            PartitionData { partition_index: asked.partition, error_code: code.code(), ..Default::default() };
        match code {
            ErrorCode::None => {
                data.high_watermark = known.end();
                data.log_start_offset = known.start;
                let wanted = known.batches.iter().filter(|batch| batch.next > asked.fetch_offset);
                let mut bytes = BytesMut::new();
                wanted.take(random.usize(1..4)).for_each(|batch| bytes.extend_from_slice(&batch.bytes));
                data.records = (!bytes.is_empty()).then(|| bytes.freeze().into());
            }
            ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch => {
                data.current_leader =
                    LeaderIdAndEpoch { leader_id: known.leader, leader_epoch: known.epoch, ..Default::default() };
            }
            _ => {}
        }
        data
    }

    pub(super) fn list_offsets(&self, node: i32, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
        let partitions = asked.map(|asked| {
            let known = &self.partitions[asked.partition_index as usize];
            let code = self.check(node, asked.partition_index, asked.current_leader_epoch);
            ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                error_code: code.code(),
                offset: if asked.timestamp == -2 { known.start } else { known.end() },
                leader_epoch: known.epoch,
                ..Default::default()
            }
        });
        let topic =
            ListOffsetsTopicResponse { name: TOPIC.into(), partitions: partitions.collect(), ..Default::default() };
        ListOffsetsResponse { topics: vec![topic], ..Default::default() }
    }

    pub(super) fn epoch_ends(&self, node: i32, request: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
        let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
        let partitions = asked.map(|asked| {
            let known = &self.partitions[asked.partition as usize];
            let code = self.check(node, asked.partition, asked.current_leader_epoch);
            let later = known.batches.iter().find(|batch| batch.epoch > asked.leader_epoch);
            EpochEndOffset {
                error_code: code.code(),
                partition: asked.partition,
                leader_epoch: asked.leader_epoch,
                end_offset: later.map_or(known.end(), |batch| batch.base),
                ..Default::default()
            }
        });
        let topic =
            OffsetForLeaderTopicResult { topic: TOPIC.into(), partitions: partitions.collect(), ..Default::default() };
        OffsetForLeaderEpochResponse { topics: vec![topic], ..Default::default() }
    }

    pub(super) fn committed(&self, asked: &BTreeSet<TopicPartition>) -> Committed {
        let committed = |tp: &TopicPartition| {
            let known = &self.partitions[tp.partition() as usize];
            (tp.clone(), known.committed.map(OffsetAndMetadata::new))
        };
        asked.iter().map(committed).collect()
    }

    /// Takes a commit if the member is in its generation. What is committed was delivered, up to there.
    pub(super) fn commit(&mut self, now: Instant, request: &OffsetCommitRequest) -> OffsetCommitResponse {
        let (member, generation) = (&request.member_id, request.generation_id_or_member_epoch);
        let all = || request.topics.iter().flat_map(|topic| &topic.partitions);
        let asked: BTreeSet<i32> = all().map(|one| one.partition_index).collect();
        let code = self.group.check_commit(now, member, generation, &asked);
        let mut partitions = Vec::new();
        for one in all() {
            if code == ErrorCode::None {
                let known = &mut self.partitions[one.partition_index as usize];
                let (offset, missing) = (one.committed_offset, known.missing);
                assert!(
                    offset <= missing,
                    "{} is committed up to {offset} by {member}, and {missing} was never delivered",
                    tp(one.partition_index)
                );
                known.committed = Some(offset);
            }
            partitions.push(OffsetCommitResponsePartition {
                partition_index: one.partition_index,
                error_code: code.code(),
                ..Default::default()
            });
        }
        let topic = OffsetCommitResponseTopic { name: TOPIC.into(), partitions, ..Default::default() };
        OffsetCommitResponse { topics: vec![topic], ..Default::default() }
    }
}

/// The topic's partitions by number.
pub(super) fn all(cluster: &Cluster) -> BTreeSet<TopicPartition> {
    (0..cluster.partitions.len() as i32).map(tp).collect()
}
