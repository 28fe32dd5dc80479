//! Whose directories these are: `meta.properties`.
//!
//! An empty directory is formatted when it is first used, with the files that Kafka writes there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use vltava_protocol::Uuid;

use crate::config::{BrokerConfig, parse_properties};
use crate::error::BrokerError;

const META_PROPERTIES: &str = "meta.properties";

/// The directories of a broker, which it has locked.
#[derive(Debug)]
pub(crate) struct LogDirs {
    dirs: Vec<LogDir>,
    cluster_id: String,
}

/// One directory.
#[derive(Debug)]
pub(crate) struct LogDir {
    pub(crate) path: PathBuf,
    pub(crate) id: Uuid,
}

/// What `meta.properties` says.
struct Identity {
    cluster_id: Option<String>,
    node_id: Option<i32>,
    directory_id: Option<Uuid>,
}

impl LogDirs {
    /// Reads the identity of the directories, and gives one to those that have none.
    pub(crate) fn open<'a>(config: &BrokerConfig, paths: impl Iterator<Item = &'a Path>) -> Result<Self, BrokerError> {
        let mut found = Vec::new();
        for path in paths {
            let identity = read_identity(&path.join(META_PROPERTIES))?;
            found.push((path.to_owned(), identity));
        }
        let mut cluster_id: Option<String> = config.cluster_id().map(str::to_owned);
        for (path, identity) in &found {
            let file = path.join(META_PROPERTIES);
            check_node(&file, identity.node_id, config.node_id)?;
            match (&cluster_id, &identity.cluster_id) {
                (Some(ours), Some(theirs)) if ours != theirs => {
                    let reason = format!("belongs to cluster {theirs}, this broker is of cluster {ours}");
                    return Err(BrokerError::MetaProperties { path: file, reason });
                }
                (None, Some(theirs)) => cluster_id = Some(theirs.clone()),
                _ => {}
            }
        }
        let cluster_id = cluster_id.unwrap_or_else(|| random_id().to_string());
        let mut dirs = Vec::new();
        for (path, identity) in found {
            let id = match (identity.directory_id, &identity.cluster_id) {
                (Some(id), Some(_)) => id,
                (id, _) => {
                    let id = id.unwrap_or_else(random_id);
                    write_identity(&path, &cluster_id, config.node_id, id)?;
                    id
                }
            };
            dirs.push(LogDir { path, id });
        }
        Ok(Self { dirs, cluster_id })
    }

    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, LogDir> {
        self.dirs.iter()
    }
}

/// Draws an id that, like all of Kafka's, does not begin with a dash.
pub(crate) fn random_id() -> Uuid {
    loop {
        let id = Uuid::from_bytes(fastrand::u128(..).to_be_bytes());
        if !id.to_string().starts_with('-') && !is_reserved(id) {
            return id;
        }
    }
}

/// The ids below 100 have meanings of their own.
fn is_reserved(id: Uuid) -> bool {
    u128::from_be_bytes(*id.as_bytes()) < 100
}

fn check_node(file: &Path, found: Option<i32>, configured: i32) -> Result<(), BrokerError> {
    match found {
        Some(found) if found != configured => {
            let reason = format!("belongs to node.id {found}, the configuration says {configured}");
            Err(BrokerError::MetaProperties { path: file.to_owned(), reason })
        }
        _ => Ok(()),
    }
}

fn read_identity(file: &Path) -> Result<Identity, BrokerError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Identity { cluster_id: None, node_id: None, directory_id: None });
        }
        Err(source) => return Err(BrokerError::io("read", file, source)),
    };
    let wrong = |reason: String| BrokerError::MetaProperties { path: file.to_owned(), reason };
    let mut identity = Identity { cluster_id: None, node_id: None, directory_id: None };
    for (key, value) in parse_properties(&text) {
        match key.as_str() {
            "version" if value != "1" => return Err(wrong(format!("has version {value}, known is 1"))),
            "cluster.id" => identity.cluster_id = Some(value),
            "node.id" => {
                let id = value.parse().map_err(|_| wrong(format!("has node.id {value}, which is no number")))?;
                identity.node_id = Some(id);
            }
            "directory.id" => {
                let id = value.parse().map_err(|_| wrong(format!("has directory.id {value}, which is no id")))?;
                identity.directory_id = Some(id);
            }
            _ => {}
        }
    }
    Ok(identity)
}

/// Writes `meta.properties` whole or not at all.
fn write_identity(dir: &Path, cluster_id: &str, node_id: i32, directory_id: Uuid) -> Result<(), BrokerError> {
    let path = dir.join(META_PROPERTIES);
    let new = dir.join(format!("{META_PROPERTIES}.tmp"));
    let text = format!("#\ncluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={node_id}\nversion=1\n");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| BrokerError::io("write", &path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> BrokerConfig {
        BrokerConfig::from_properties([("log.dirs", dir.to_str().unwrap())]).unwrap()
    }

    fn open(config: &BrokerConfig, dir: &Path) -> Result<LogDirs, BrokerError> {
        LogDirs::open(config, [dir].into_iter())
    }

    #[test]
    fn an_empty_directory_is_formatted_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(&config(dir.path()), dir.path()).unwrap();
        let (cluster, id) = (first.cluster_id().to_owned(), first.dirs[0].id);
        let text = fs::read_to_string(dir.path().join("meta.properties")).unwrap();
        assert_eq!(text, format!("#\ncluster.id={cluster}\ndirectory.id={id}\nnode.id=1\nversion=1\n"));
        let again = open(&config(dir.path()), dir.path()).unwrap();
        assert_eq!((again.cluster_id(), again.dirs[0].id), (cluster.as_str(), id));
    }

    #[test]
    fn a_directory_of_another_node_or_cluster_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(&config(dir.path()).with_cluster_id("abc"), dir.path()).unwrap();
        let other_node = config(dir.path()).with("node.id", "9").unwrap();
        let other_cluster = config(dir.path()).with_cluster_id("xyz");
        for other in [other_node, other_cluster] {
            assert!(matches!(open(&other, dir.path()), Err(BrokerError::MetaProperties { .. })));
        }
        assert_eq!(open(&config(dir.path()), dir.path()).unwrap().cluster_id(), "abc");
    }
}
