//! What a member says of itself when it joins: `SubscriptionInfoData`.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::{
    super::client_state::{LATEST_OFFSET, UNKNOWN_OFFSET_SUM},
    LATEST, Malformed, NAMED_TOPOLOGIES, Result, UNKNOWN, count, take, task, text,
};
use crate::task::TaskId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct SubscriptionInfo {
    /// That of these bytes.
    pub(in crate::runtime) version: i32,
    /// The newest that the member knows; −1 where that is not told.
    pub(in crate::runtime) latest_supported: i32,
    /// Its instance.
    pub(in crate::runtime) process: Uuid,
    /// Its `application.server`.
    pub(in crate::runtime) endpoint: Option<String>,
    /// The tasks that it has something of, and how far that is, in offsets of all changelogs of a task together.
    pub(in crate::runtime) offset_sums: BTreeMap<TaskId, i64>,
    /// Different at every join, for the coordinator to see that something has changed.
    pub(in crate::runtime) unique: i8,
    /// 0, or Kafka's number of the `Refusal` that the member wants.
    pub(in crate::runtime) error: i32,
    pub(in crate::runtime) tags: Vec<(String, String)>,
}

impl SubscriptionInfo {
    /// In its version, at most the newest one.
    pub(in crate::runtime) fn encode(&self) -> Bytes {
        let version = self.version.min(LATEST);
        let mut bytes = BytesMut::new();
        bytes.put_i32(version);
        if version >= 3 {
            bytes.put_i32(self.latest_supported);
        }
        bytes.put_slice(self.process.as_bytes());
        if version < 7 {
            for running in [true, false] {
                let of = |(_, sum): &(&TaskId, &i64)| (**sum == LATEST_OFFSET) == running;
                let tasks: Vec<_> = self.offset_sums.iter().filter(of).collect();
                bytes.put_i32(length(tasks.len()));
                for (task, _) in tasks {
                    bytes.put_u32(task.subtopology);
                    bytes.put_i32(task.partition);
                }
            }
        }
        if version >= 2 {
            put_bytes(&mut bytes, self.endpoint.as_deref().unwrap_or_default());
        }
        match version {
            ..7 => {}
            7..NAMED_TOPOLOGIES => self.put_sums_by_subtopology(&mut bytes),
            NAMED_TOPOLOGIES.. => {
                bytes.put_i32(length(self.offset_sums.len()));
                for (task, sum) in &self.offset_sums {
                    bytes.put_u32(task.subtopology);
                    bytes.put_i32(task.partition);
                    bytes.put_i64(*sum);
                    bytes.put_i16(-1);
                }
            }
        }
        if version >= 8 {
            bytes.put_i8(self.unique);
        }
        if version >= 9 {
            bytes.put_i32(self.error);
        }
        if version >= 11 {
            bytes.put_i32(length(self.tags.len()));
            for text in self.tags.iter().flat_map(|(key, value)| [key, value]) {
                put_bytes(&mut bytes, text);
            }
        }
        bytes.freeze()
    }

    fn put_sums_by_subtopology(&self, bytes: &mut BytesMut) {
        let mut groups: BTreeMap<u32, Vec<(i32, i64)>> = BTreeMap::new();
        for (task, sum) in &self.offset_sums {
            groups.entry(task.subtopology).or_default().push((task.partition, *sum));
        }
        bytes.put_i32(length(groups.len()));
        for (subtopology, sums) in groups {
            bytes.put_u32(subtopology);
            bytes.put_i32(length(sums.len()));
            for (partition, sum) in sums {
                bytes.put_i32(partition);
                bytes.put_i64(sum);
            }
        }
    }

    /// Of a newer version than is known here only the versions are read; its process is the same for all such members.
    pub(in crate::runtime) fn decode(mut bytes: &[u8]) -> Result<Self> {
        let bytes = &mut bytes;
        let version = bytes.try_get_i32()?;
        if version < 1 {
            return Err(Malformed::Version(version));
        }
        let mut info = SubscriptionInfo {
            version,
            latest_supported: if version >= 3 { bytes.try_get_i32()? } else { UNKNOWN },
            process: Uuid::max(),
            endpoint: None,
            offset_sums: BTreeMap::new(),
            unique: 0,
            error: 0,
            tags: Vec::new(),
        };
        if version > LATEST {
            return Ok(info);
        }
        info.process = Uuid::from_u128(bytes.try_get_u128()?);
        if version < 7 {
            for sum in [LATEST_OFFSET, UNKNOWN_OFFSET_SUM] {
                for _ in 0..count(bytes, 8)? {
                    let task = task(bytes.try_get_i32()?, bytes.try_get_i32()?)?;
                    info.offset_sums.insert(task, sum);
                }
            }
        }
        if version >= 2 {
            info.endpoint = Some(take_bytes(bytes)?).filter(|endpoint| !endpoint.is_empty());
        }
        match version {
            ..7 => {}
            7..NAMED_TOPOLOGIES => {
                for _ in 0..count(bytes, 8)? {
                    let subtopology = bytes.try_get_i32()?;
                    for _ in 0..count(bytes, 12)? {
                        let task = task(subtopology, bytes.try_get_i32()?)?;
                        info.offset_sums.insert(task, bytes.try_get_i64()?);
                    }
                }
            }
            NAMED_TOPOLOGIES.. => {
                for _ in 0..count(bytes, 18)? {
                    let task = task(bytes.try_get_i32()?, bytes.try_get_i32()?)?;
                    info.offset_sums.insert(task, bytes.try_get_i64()?);
                    if bytes.try_get_i16()? > 0 {
                        return Err(Malformed::NamedTopology);
                    }
                }
            }
        }
        if version >= 8 {
            info.unique = bytes.try_get_i8()?;
        }
        if version >= 9 {
            info.error = bytes.try_get_i32()?;
        }
        if version >= 11 {
            for _ in 0..count(bytes, 8)? {
                info.tags.push((take_bytes(bytes)?, take_bytes(bytes)?));
            }
        }
        Ok(info)
    }
}

fn length(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

fn put_bytes(bytes: &mut BytesMut, text: &str) {
    bytes.put_i32(length(text.len()));
    bytes.put_slice(text.as_bytes());
}

fn take_bytes(bytes: &mut &[u8]) -> Result<String> {
    let length = count(bytes, 1)?;
    text(take(bytes, length)?)
}
