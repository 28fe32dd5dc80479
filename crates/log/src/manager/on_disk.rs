//! What lies in a log directory, before any of it is opened.

use std::fs;
use std::path::{Path, PathBuf};

use vltava_protocol::Uuid;

use super::LogManager;
use crate::checkpoint::PartitionMetadata;
use crate::error::Result;
use crate::file;
use crate::file_names::{self, DELETE_DIR, LOG, PartitionDir, STRAY_DIR};
use crate::now::Now;
use crate::topic_partition::TopicPartition;

/// What a partition's directory is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirKind {
    /// `topic-0`: a log.
    Current,
    /// `topic-0.<id>-stray`: set aside, because no topic had it.
    Stray,
}

/// A partition's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOnDisk {
    /// The partition, by the directory's name.
    pub topic_partition: TopicPartition,
    /// The topic's id by `partition.metadata`; `None` where there is none.
    pub topic_id: Option<Uuid>,
    /// Whether it is a log or was set aside.
    pub kind: DirKind,
    path: PathBuf,
}

impl PartitionOnDisk {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is no record in it: a partition that was never written to.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage).
    pub fn is_empty(&self) -> Result<bool> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_log = entry.file_name().to_str().is_some_and(|name| name.ends_with(LOG));
            if is_log && entry.metadata()?.len() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl LogManager {
    /// The partitions that have a directory here, open or not, and those that were set aside, in order. What is being
    /// deleted or moved is not among them.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage), and [`LogError::Malformed`](crate::LogError::Malformed) for a directory that is none of a partition.
    pub fn partitions_on_disk(&self) -> Result<Vec<PartitionOnDisk>> {
        let mut partitions = Vec::new();
        for (path, dir) in self.partition_dirs()? {
            let (topic_partition, kind) = match dir {
                PartitionDir::Current(tp) => (tp, DirKind::Current),
                PartitionDir::Stray(tp) => (tp, DirKind::Stray),
                PartitionDir::Deleted(_) | PartitionDir::Future(_) => continue,
            };
            let topic_id = PartitionMetadata::read(&path)?.map(|metadata| metadata.topic_id);
            partitions.push(PartitionOnDisk { topic_partition, topic_id, kind, path });
        }
        partitions.sort_by(|a, b| a.topic_partition.cmp(&b.topic_partition));
        Ok(partitions)
    }

    /// Renames a log that no topic has, so that it is out of the way and can be looked at. Gives the new path.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage).
    pub fn set_aside(&self, partition: &PartitionOnDisk) -> Result<PathBuf> {
        self.rename_dir(partition, STRAY_DIR)
    }

    /// Finishes a deletion that was interrupted: renames the directory and removes it after the default of
    /// `file.delete.delay.ms`.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage).
    pub fn finish_deletion(&self, partition: &PartitionOnDisk, now: Now) -> Result<()> {
        let renamed = self.rename_dir(partition, DELETE_DIR)?;
        self.delete_dir_later(renamed, now);
        Ok(())
    }

    fn rename_dir(&self, partition: &PartitionOnDisk, suffix: &str) -> Result<PathBuf> {
        let rename = || -> Result<PathBuf> {
            self.begin()?;
            let unique = self.creation.lock().u128(..);
            let to = self.path(&file_names::renamed_dir(&partition.topic_partition, unique, suffix));
            fs::rename(&partition.path, &to)?;
            file::sync_dir(&self.config.dir)?;
            self.forgotten.lock().insert(partition.topic_partition.clone());
            Ok(to)
        };
        self.log_dir.guard(rename(), || format!("error while renaming {}", partition.path.display()))
    }

    /// Number of partitions' directories, whatever they are kept for.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage).
    pub fn dir_count(&self) -> Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(&self.config.dir)? {
            let entry = entry?;
            let is_partition = entry.file_name().to_str().is_some_and(|name| PartitionDir::parse(name).is_some());
            count += usize::from(is_partition && entry.file_type()?.is_dir());
        }
        Ok(count)
    }
}
