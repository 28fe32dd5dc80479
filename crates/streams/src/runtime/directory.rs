//! `state.dir`: where the stores of an application's tasks are, and who has them open.

mod process_id;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use uuid::Uuid;
use vltava_config::ConfigError;

use super::offset_sum;
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    task::TaskId,
    topology::illegal_name,
};

/// The name of the global stores' directory; Kafka's.
const GLOBAL: &str = "global";

/// What the name of a directory begins with that is being deleted. It is no task's any more, so a half deleted store is
/// never opened.
const DELETED: &str = ".deleted-";

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
        check_application_id(config.application_id())?;
        let base = config.fields().state_dir.clone().unwrap_or_else(|| std::env::temp_dir().join("kafka-streams"));
        let path = base.join(config.application_id());
        let lock = Mutex::new(Some(lock_directory(&path)?));
        finish_deleting(&path);
        Ok(StateDirectory { path, lock, owners: Mutex::default() })
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

    /// Lets another thread have it. From now on it is unused.
    pub(super) fn unlock(&self, task: TaskId, thread: usize) {
        let mut owners = self.owners.lock();
        if owners.get(&task) == Some(&thread) {
            // A task without stores on disk has none.
            let _ = File::open(self.path.join(task.to_string())).and_then(|dir| dir.set_modified(SystemTime::now()));
            owners.remove(&task);
        }
    }

    /// Deletes the directories of tasks that no thread has and that have been unused for so long
    /// (`state.cleanup.delay.ms`).
    pub(super) fn delete_unused(&self, delay: Duration) {
        for task in self.tasks_on_disk() {
            // Held while it goes, so that no thread opens it meanwhile.
            let owners = self.owners.lock();
            let path = self.path.join(task.to_string());
            let unused = || fs::metadata(&path)?.modified()?.elapsed().map_err(io::Error::other);
            if owners.contains_key(&task) || !unused().is_ok_and(|unused| unused >= delay) {
                continue;
            }
            match self.delete(&path) {
                Ok(()) => tracing::info!("deleted the unused directory {} of task {task}", path.display()),
                Err(error) => tracing::warn!("cannot delete the unused directory {}: {error}", path.display()),
            }
        }
    }

    /// The id of the process whose directory it is; `fresh` if it has none yet.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(super) fn process_id(&self, fresh: Uuid) -> Result<Uuid> {
        process_id::process_id(&self.path, fresh)
    }

    /// The directory of the global stores.
    pub(super) fn global(&self) -> PathBuf {
        self.path.join(GLOBAL)
    }

    /// Deletes the global stores; they must be closed.
    pub(super) fn delete_global(&self) -> Result<()> {
        self.delete_store_directory(GLOBAL)
    }

    fn delete_store_directory(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        self.delete(&path).map_err(Error::io(format!("deleting the directory {}", path.display())))
    }

    /// Deletes all stores; no thread may be at work.
    pub(super) fn delete_all(&self) -> Result<()> {
        let held = self.lock.lock();
        let _again = if held.is_none() { Some(lock_directory(&self.path)?) } else { None };
        self.tasks_on_disk().into_iter().try_for_each(|task| self.delete_store_directory(&task.to_string()))?;
        self.delete_global()
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.path.join(format!("{DELETED}{name}"));
        match fs::rename(path, &aside) {
            Ok(()) => fs::remove_dir_all(aside),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How far the stores are of the tasks that no thread has.
    pub(super) fn unused_offset_sums(&self) -> BTreeMap<TaskId, i64> {
        let tasks = self.tasks_on_disk();
        let owners = self.owners.lock();
        let unused = tasks.into_iter().filter(|task| !owners.contains_key(task));
        unused.filter_map(|task| Some((task, offset_sum::read(&self.path_of(task))?))).collect()
    }

    /// The directory of a task.
    pub(super) fn path_of(&self, task: TaskId) -> PathBuf {
        self.path.join(task.to_string())
    }

    /// The tasks that have a directory here, whoever ran them last: they are cheapest to go on with.
    pub(super) fn tasks_on_disk(&self) -> Vec<TaskId> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| parse_task_id(&name)).collect()
    }
}

/// The application's id is a directory's name, and the beginning of the names of internal topics. Kafka checks the latter
/// when it makes them (`Topic.validate`), and nothing before; here it is the setting that is wrong, whatever the topology.
fn check_application_id(id: &str) -> Result<()> {
    match illegal_name(id) {
        Some(why) => Err(ConfigError::new("application.id", format!("{id:?}"), why).into()),
        None => Ok(()),
    }
}

/// Makes the directory and locks it.
fn lock_directory(path: &Path) -> Result<File> {
    let doing = |what: &str| format!("{what} `state.dir` {}", path.display());
    fs::create_dir_all(path).map_err(Error::io(doing("making")))?;
    let lock = File::create(path.join(".lock")).map_err(Error::io(doing("locking")))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::streams(doing("another instance of this application has"))),
        Err(TryLockError::Error(error)) => Err(Error::io(doing("locking"))(error)),
    }
}

/// Deletes what a process that was killed had begun to delete.
fn finish_deleting(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(DELETED)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!("cannot delete {}: {error}", entry.path().display());
        }
    }
}

/// `subtopology_partition`.
pub(super) fn parse_task_id(text: &str) -> Option<TaskId> {
    let (subtopology, partition) = text.split_once('_')?;
    Some(TaskId { subtopology: subtopology.parse().ok()?, partition: partition.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::StateDirectory;
    use crate::{config::StreamsConfig, error::Error, task::TaskId};

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

    #[test]
    fn an_application_that_would_leave_its_directory_is_refused_by_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("state");
        let long = "a".repeat(250);
        for id in ["..", ".", "../../x", "a/b", "a b", "/tmp/x", "ä", "a\0b", "a\\b", &long] {
            let base = base.display().to_string();
            let config =
                StreamsConfig::from_properties([("application.id", id), ("state.dir", base.as_str())]).unwrap();
            let error = StateDirectory::open(&config).unwrap_err();
            assert!(matches!(*error, Error::Config(_)), "{id:?}: {error}");
            assert!(error.to_string().contains("`application.id`"), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
        for id in ["a", "a.b-c_D9", "...", &long[1..]] {
            let base = base.display().to_string();
            let config =
                StreamsConfig::from_properties([("application.id", id), ("state.dir", base.as_str())]).unwrap();
            assert!(StateDirectory::open(&config).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn what_nobody_uses_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(&config(folder.path())).unwrap();
        let [used, unused] = [0, 1].map(|partition| TaskId { subtopology: 0, partition });
        for task in [used, unused] {
            let path = directory.lock(task, 0).unwrap();
            std::fs::create_dir_all(path.join("store")).unwrap();
        }
        directory.unlock(unused, 0);
        directory.delete_unused(Duration::from_secs(60));
        assert_eq!(directory.tasks_on_disk().len(), 2);
        directory.delete_unused(Duration::ZERO);
        assert_eq!(directory.tasks_on_disk(), [used]);
        directory.delete_all().unwrap();
        assert_eq!(directory.tasks_on_disk(), []);
    }

    #[test]
    fn what_was_half_deleted_goes() {
        let folder = tempfile::tempdir().unwrap();
        let half = folder.path().join("app/.deleted-0_1/store");
        std::fs::create_dir_all(&half).unwrap();
        drop(StateDirectory::open(&config(folder.path())).unwrap());
        assert!(!half.exists());
    }
}
