//! One log directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::error;
use vltava_log::checkpoint::MetaProperties;
use vltava_log::manager::{LogManager, LogManagerConfig};
use vltava_log::{LogError, Now};
use vltava_protocol::Uuid;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::log_dirs::{Candidate, Identity, META_PROPERTIES, random_id};
use crate::metadata::topic_name::CLUSTER_METADATA;
use crate::metrics::FlushTimes;

/// Takes the paths of directories that fail.
pub(crate) type DirFailures = mpsc::UnboundedSender<PathBuf>;

#[derive(Debug)]
pub(super) struct StorageDir {
    pub(super) path: PathBuf,
    /// Whether partitions are in it; `metadata.log.dir` may be for the metadata log alone.
    pub(super) is_data: bool,
    pub(super) is_metadata: bool,
    /// Known once the directory has its identity.
    id: Mutex<Option<Uuid>>,
    /// Or why the directory cannot be used at all.
    manager: Result<LogManager, String>,
}

/// A directory as it is described.
#[derive(Debug)]
pub(crate) struct DirView<'a> {
    pub(crate) path: &'a Path,
    /// `None` where it could not be read.
    pub(crate) id: Option<Uuid>,
    pub(crate) is_online: bool,
    /// Why it is offline.
    pub(crate) failure: Option<String>,
}

impl StorageDir {
    /// Creates and locks a directory. One that cannot be used is offline, and one in use by another broker refused.
    pub(super) fn open(
        config: &BrokerConfig,
        path: &Path,
        failures: &DirFailures,
        flushes: &Arc<FlushTimes>,
        now: Now,
    ) -> Result<Self, BrokerError> {
        let made = fs::create_dir_all(path).and_then(|()| fs::canonicalize(path));
        let canonical = made.as_ref().map_or_else(|_| path.to_owned(), Clone::clone);
        let failures = failures.clone();
        let told = canonical.clone();
        // Nobody listens any more while the broker stops.
        let listener: vltava_log::FailureListener = Arc::new(move |_| drop(failures.send(told.clone())));
        let opened = match made {
            Ok(path) => match LogManager::open(manager_config(config, &path), Some(listener), now) {
                Err(LogError::DirectoryInUse { dir }) => return Err(BrokerError::DirectoryLocked { path: dir }),
                opened => opened.map_err(|error| error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        };
        if let Ok(manager) = &opened {
            let flushes: Arc<FlushTimes> = Arc::clone(flushes);
            manager.log_dir().listen_to_flushes(flushes);
        }
        if let Err(reason) = &opened {
            error!(dir = %path.display(), reason, "a log directory cannot be used and is offline");
        }
        Ok(Self { path: canonical, is_data: true, is_metadata: false, id: Mutex::new(None), manager: opened })
    }

    pub(super) fn for_partitions(self, is_data: bool) -> Self {
        Self { is_data, ..self }
    }

    /// What there is in the directory, to be checked against the others.
    pub(super) fn candidate(&self, is_metadata: bool) -> Candidate {
        let identity = match &self.manager {
            Err(reason) => Identity::Failed(reason.clone()),
            Ok(_) => match MetaProperties::read(&self.path) {
                Ok(Some(properties)) => Identity::Known(properties),
                Ok(None) => Identity::Blank,
                Err(error) => Identity::Failed(error.to_string()),
            },
        };
        let holds_metadata = self.path.join(format!("{CLUSTER_METADATA}-0")).is_dir();
        let dirs = self.manager.as_ref().ok().and_then(|manager| manager.dir_count().ok()).unwrap_or(0);
        let holds_partitions = dirs > usize::from(holds_metadata);
        Candidate { path: self.path.clone(), identity, is_metadata, holds_metadata, holds_partitions }
    }

    pub(super) fn id(&self) -> Option<Uuid> {
        *self.id.lock()
    }

    pub(super) fn set_id(&self, id: Option<Uuid>) {
        *self.id.lock() = id;
    }

    pub(super) fn set_failed(&mut self, reason: String) {
        if self.manager.is_ok() {
            error!(dir = %self.path.display(), reason, "a log directory cannot be used and is offline");
            self.manager = Err(reason);
        }
    }

    pub(super) fn manager(&self) -> Option<&LogManager> {
        self.manager.as_ref().ok()
    }

    pub(super) fn is_online(&self) -> bool {
        self.manager.as_ref().is_ok_and(|manager| !manager.log_dir().is_offline())
    }

    /// Why it is offline.
    pub(super) fn failure(&self) -> Option<String> {
        match &self.manager {
            Ok(manager) => manager.log_dir().offline_reason(),
            Err(reason) => Some(reason.clone()),
        }
    }

    pub(super) fn view(&self) -> DirView<'_> {
        DirView { path: &self.path, id: self.id(), is_online: self.is_online(), failure: self.failure() }
    }

    /// Gives the directory an id, in `meta.properties`.
    pub(super) fn format(&self, cluster_id: &str, node_id: i32) -> Result<(), BrokerError> {
        let id = random_id();
        let properties = MetaProperties { cluster_id: cluster_id.to_owned(), node_id, directory_id: Some(id) };
        properties.write(&self.path).map_err(|error| BrokerError::MetaProperties {
            path: self.path.join(META_PROPERTIES),
            reason: format!("cannot be written: {error}"),
        })?;
        self.set_id(Some(id));
        Ok(())
    }
}

fn manager_config(config: &BrokerConfig, path: &Path) -> LogManagerConfig {
    let upkeep = &config.upkeep;
    LogManagerConfig {
        retention_check_interval_ms: upkeep.retention_check_interval_ms,
        flush_scheduler_interval_ms: upkeep.flush_scheduler_interval_ms,
        recovery_point_checkpoint_interval_ms: upkeep.recovery_point_checkpoint_interval_ms,
        log_start_offset_checkpoint_interval_ms: upkeep.log_start_offset_checkpoint_interval_ms,
        high_watermark_checkpoint_interval_ms: upkeep.high_watermark_checkpoint_interval_ms,
        initial_task_delay_ms: upkeep.initial_task_delay_ms,
        producer_id_expiration_check_interval_ms: upkeep.producer_id_expiration_check_interval_ms,
        dynamic: Arc::clone(&upkeep.dynamic),
        max_decompressed_batch_bytes: config.max_decompressed_batch_bytes,
        ..LogManagerConfig::new(path, fastrand::u64(..))
    }
}
