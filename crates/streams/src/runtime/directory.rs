//! `state.dir`: where the stores of an application's tasks are, and who has them open.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    path::PathBuf,
};

use parking_lot::Mutex;

use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    task::TaskId,
};

/// The directory of one application, locked against other processes.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    /// Held as long as the directory is in use.
    lock: Mutex<Option<File>>,
    /// Which thread has which task's directory.
    owners: Mutex<HashMap<TaskId, usize>>,
}

impl StateDirectory {
    /// Makes and locks `<state.dir>/<application.id>`.
    pub(super) fn open(config: &StreamsConfig) -> Result<Self> {
        let base = config.get("state.dir").map_or_else(|| std::env::temp_dir().join("kafka-streams"), PathBuf::from);
        let path = base.join(config.application_id());
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Box::new(Error::Streams(format!("`state.dir` {}: {what}: {error}", path.display())))
        };
        fs::create_dir_all(&path).map_err(|error| failed("cannot be made", &error))?;
        let lock = File::create(path.join(".lock")).map_err(|error| failed("cannot be locked", &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(StateDirectory { path, lock: Mutex::new(Some(lock)), owners: Mutex::default() }),
            Err(TryLockError::WouldBlock) => {
                Err(failed("in use", &"another instance of this application has it; give each its own"))
            }
            Err(TryLockError::Error(error)) => Err(failed("cannot be locked", &error)),
        }
    }

    /// The directory of a task, if no other thread has it.
    pub(super) fn lock(&self, task: TaskId, thread: usize) -> Option<PathBuf> {
        let mut owners = self.owners.lock();
        let owner = *owners.entry(task).or_insert(thread);
        (owner == thread).then(|| self.path.join(task.to_string()))
    }

    /// Lets another instance have the directory: all tasks are closed.
    pub(super) fn release(&self) {
        *self.lock.lock() = None;
    }

    /// Lets another thread have it.
    pub(super) fn unlock(&self, task: TaskId, thread: usize) {
        let mut owners = self.owners.lock();
        if owners.get(&task) == Some(&thread) {
            owners.remove(&task);
        }
    }

    /// The tasks that have a directory here, whoever ran them last: they are cheapest to go on with.
    pub(super) fn tasks_on_disk(&self) -> Vec<TaskId> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| parse_task_id(&name)).collect()
    }
}

/// `subtopology_partition`.
pub(super) fn parse_task_id(text: &str) -> Option<TaskId> {
    let (subtopology, partition) = text.split_once('_')?;
    Some(TaskId { subtopology: subtopology.parse().ok()?, partition: partition.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::StateDirectory;
    use crate::{config::StreamsConfig, task::TaskId};

    fn config(folder: &std::path::Path) -> StreamsConfig {
        let folder = folder.display().to_string();
        StreamsConfig::from_properties([("application.id", "app"), ("state.dir", folder.as_str())]).unwrap()
    }

    #[test]
    fn one_process_and_one_thread_have_a_task() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(&config(folder.path())).unwrap();
        let second = StateDirectory::open(&config(folder.path())).unwrap_err().to_string();
        assert!(second.contains("another instance"), "{second}");
        let task = TaskId { subtopology: 0, partition: 1 };
        let path = directory.lock(task, 1).unwrap();
        assert!(path.ends_with("app/0_1"));
        assert_eq!(directory.lock(task, 2), None);
        directory.unlock(task, 2);
        assert_eq!(directory.lock(task, 2), None);
        directory.unlock(task, 1);
        assert!(directory.lock(task, 2).is_some());
        std::fs::create_dir(&path).unwrap();
        assert_eq!(directory.tasks_on_disk(), [task]);
    }
}
