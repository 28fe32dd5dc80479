//! What the leader tells a member beside its partitions: the JVM's `AssignmentInfo`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use vltava_client::TopicPartition;

use super::{EARLIEST_PROBEABLE, LATEST, Malformed, NAMED_TOPOLOGIES, Result, UNKNOWN, count, take, task, text};
use crate::{query::HostInfo, task::TaskId};

type Partitions = BTreeSet<TopicPartition>;
type ByHost = BTreeMap<HostInfo, Partitions>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct AssignmentInfo {
    /// That of these bytes: the oldest that a member uses.
    pub(in crate::runtime) version: i32,
    /// The newest that all members know; −1 where that is not told.
    pub(in crate::runtime) commonly_supported: i32,
    /// For each of the member's partitions, in their order, the task.
    pub(in crate::runtime) active: Vec<TaskId>,
    /// Its standby tasks with their partitions.
    pub(in crate::runtime) standby: BTreeMap<TaskId, Partitions>,
    /// Where active tasks are.
    pub(in crate::runtime) hosts: ByHost,
    /// Where standby tasks are.
    pub(in crate::runtime) standby_hosts: ByHost,
    /// 0, or Kafka's number of a `Refusal`.
    pub(in crate::runtime) error: i32,
    /// When the member is to ask for a rebalance, in ms since the epoch: 0 for now, `i64::MAX` for never.
    pub(in crate::runtime) next_rebalance_ms: i64,
    /// What we have to say beyond that; the JVM does not read so far.
    pub(in crate::runtime) more: Bytes,
}

impl AssignmentInfo {
    /// Without tasks.
    pub(in crate::runtime) fn new(version: i32, commonly_supported: i32) -> Self {
        AssignmentInfo {
            version,
            commonly_supported,
            active: Vec::new(),
            standby: BTreeMap::new(),
            hosts: ByHost::new(),
            standby_hosts: ByHost::new(),
            error: 0,
            next_rebalance_ms: i64::MAX,
            more: Bytes::new(),
        }
    }

    pub(in crate::runtime) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i32(self.version);
        if self.version >= EARLIEST_PROBEABLE {
            bytes.put_i32(self.commonly_supported);
        }
        put_length(&mut bytes, self.active.len());
        self.active.iter().for_each(|task| self.put_task(&mut bytes, *task));
        put_length(&mut bytes, self.standby.len());
        for (task, partitions) in &self.standby {
            self.put_task(&mut bytes, *task);
            put_partitions(&mut bytes, partitions);
        }
        match self.version {
            ..2 => {}
            2..5 => {
                put_length(&mut bytes, self.hosts.len());
                for (host, partitions) in &self.hosts {
                    put_host(&mut bytes, host);
                    put_partitions(&mut bytes, partitions);
                }
            }
            5 => put_by_host(&mut bytes, &[&self.hosts]),
            6.. => put_by_host(&mut bytes, &[&self.hosts, &self.standby_hosts]),
        }
        if self.version >= 4 {
            bytes.put_i32(self.error);
        }
        if self.version >= 7 {
            bytes.put_i64(self.next_rebalance_ms);
        }
        bytes.put_slice(&self.more);
        bytes.freeze()
    }

    fn put_task(&self, bytes: &mut BytesMut, task: TaskId) {
        bytes.put_u32(task.subtopology);
        bytes.put_i32(task.partition);
        if self.version >= NAMED_TOPOLOGIES {
            bytes.put_i32(0);
        }
    }

    pub(in crate::runtime) fn decode(mut bytes: &[u8]) -> Result<Self> {
        let bytes = &mut bytes;
        let version = bytes.try_get_i32()?;
        if !(1..=LATEST).contains(&version) {
            return Err(Malformed::Version(version));
        }
        let mut info = AssignmentInfo::new(version, UNKNOWN);
        if version >= EARLIEST_PROBEABLE {
            info.commonly_supported = bytes.try_get_i32()?;
        }
        for _ in 0..count(bytes, 8)? {
            info.active.push(take_task(bytes, version)?);
        }
        for _ in 0..count(bytes, 12)? {
            info.standby.insert(take_task(bytes, version)?, take_partitions(bytes)?);
        }
        match version {
            ..2 => {}
            2..5 => {
                for _ in 0..count(bytes, 10)? {
                    info.hosts.insert(take_host(bytes)?, take_partitions(bytes)?);
                }
            }
            5.. => {
                let topics = take_dictionary(bytes)?;
                info.hosts = take_by_host(bytes, &topics)?;
                if version >= 6 {
                    info.standby_hosts = take_by_host(bytes, &topics)?;
                }
            }
        }
        if version >= 4 {
            info.error = bytes.try_get_i32()?;
        }
        if version >= 7 {
            info.next_rebalance_ms = bytes.try_get_i64()?;
        }
        info.more = Bytes::copy_from_slice(bytes);
        Ok(info)
    }
}

fn put_length(bytes: &mut BytesMut, of: usize) {
    bytes.put_i32(i32::try_from(of).unwrap_or(i32::MAX));
}

/// `DataOutputStream.writeUTF`, for names of topics and hosts.
fn put_text(bytes: &mut BytesMut, text: &str) {
    bytes.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    bytes.put_slice(text.as_bytes());
}

fn put_partitions(bytes: &mut BytesMut, partitions: &Partitions) {
    put_length(bytes, partitions.len());
    for partition in partitions {
        put_text(bytes, partition.topic());
        bytes.put_i32(partition.partition());
    }
}

fn put_host(bytes: &mut BytesMut, host: &HostInfo) {
    put_text(bytes, host.host());
    bytes.put_i32(i32::from(host.port()));
}

fn put_by_host(bytes: &mut BytesMut, maps: &[&ByHost]) {
    let topics: BTreeSet<&str> =
        maps.iter().flat_map(|map| map.values()).flatten().map(TopicPartition::topic).collect();
    let numbers: BTreeMap<&str, i32> = topics.into_iter().zip(0..).collect();
    put_length(bytes, numbers.len());
    for (topic, number) in &numbers {
        bytes.put_i32(*number);
        put_text(bytes, topic);
    }
    for map in maps {
        put_length(bytes, map.len());
        for (host, partitions) in *map {
            put_host(bytes, host);
            put_length(bytes, partitions.len());
            for partition in partitions {
                bytes.put_i32(numbers.get(partition.topic()).copied().unwrap_or_default());
                bytes.put_i32(partition.partition());
            }
        }
    }
}

fn take_task(bytes: &mut &[u8], version: i32) -> Result<TaskId> {
    let task = task(bytes.try_get_i32()?, bytes.try_get_i32()?)?;
    if version >= NAMED_TOPOLOGIES && bytes.try_get_i32()? != 0 {
        return Err(Malformed::NamedTopology);
    }
    Ok(task)
}

fn take_text(bytes: &mut &[u8]) -> Result<String> {
    let length = usize::from(bytes.try_get_u16()?);
    text(take(bytes, length)?)
}

fn take_partitions(bytes: &mut &[u8]) -> Result<Partitions> {
    let count = count(bytes, 6)?;
    (0..count).map(|_| Ok(TopicPartition::new(take_text(bytes)?, bytes.try_get_i32()?))).collect()
}

fn take_host(bytes: &mut &[u8]) -> Result<HostInfo> {
    let (host, port) = (take_text(bytes)?, bytes.try_get_i32()?);
    Ok(HostInfo::new(host, u16::try_from(port).map_err(|_| Malformed::Count(port))?))
}

fn take_dictionary(bytes: &mut &[u8]) -> Result<BTreeMap<i32, String>> {
    let count = count(bytes, 6)?;
    (0..count).map(|_| Ok((bytes.try_get_i32()?, take_text(bytes)?))).collect()
}

fn take_by_host(bytes: &mut &[u8], topics: &BTreeMap<i32, String>) -> Result<ByHost> {
    let hosts = count(bytes, 10)?;
    let mut by_host = ByHost::new();
    for _ in 0..hosts {
        let host = take_host(bytes)?;
        let count = count(bytes, 8)?;
        let mut partitions = Partitions::new();
        for _ in 0..count {
            let (topic, partition) = (bytes.try_get_i32()?, bytes.try_get_i32()?);
            let topic = topics.get(&topic).ok_or(Malformed::Topic(topic))?;
            partitions.insert(TopicPartition::new(topic.as_str(), partition));
        }
        by_host.insert(host, partitions);
    }
    Ok(by_host)
}
