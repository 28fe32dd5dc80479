//! `meta.properties`: which cluster and node a log directory belongs to.

use std::path::Path;
use std::{fs, io};

use vltava_protocol::Uuid;

use crate::error::{LogError, Result};
use crate::file;

const FILE_NAME: &str = "meta.properties";

/// The contents of the file, version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster's id.
    pub cluster_id: String,
    /// The node's id.
    pub node_id: i32,
    /// The directory's own id (KIP-858).
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// Reads the file of a log directory; `None` where it is not formatted.
    ///
    /// # Errors
    /// [`LogError::Malformed`], [`LogError::Storage`].
    pub fn read(log_dir: &Path) -> Result<Option<Self>> {
        let path = log_dir.join(FILE_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let lines = text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with(['#', '!']));
        let properties: Vec<(String, String)> = lines.map(split).collect();
        let get = |key: &str| properties.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let require = |key: &str| get(key).ok_or_else(|| LogError::malformed(&path, format!("failed to find {key}")));
        let version = require("version")?;
        if version != "1" {
            return Err(LogError::malformed(&path, format!("unsupported version {version}, expected 1")));
        }
        let node_id = require("node.id")?;
        let node_id = node_id
            .parse()
            .map_err(|_| LogError::malformed(&path, format!("unable to read node.id {node_id} as a number")))?;
        let directory_id = match get("directory.id") {
            None => None,
            Some(id) => {
                Some(id.parse().map_err(|_| LogError::malformed(&path, format!("unable to read directory.id {id}")))?)
            }
        };
        Ok(Some(Self { cluster_id: require("cluster.id")?.to_owned(), node_id, directory_id }))
    }

    /// Writes the file, on disk when this returns.
    ///
    /// # Errors
    /// [`LogError::Storage`].
    pub fn write(&self, log_dir: &Path) -> Result<()> {
        let mut text = format!("#\nnode.id={}\n", self.node_id);
        if let Some(directory_id) = self.directory_id {
            text += &format!("directory.id={directory_id}\n");
        }
        text += &format!("version=1\ncluster.id={}\n", escape(&self.cluster_id));
        Ok(file::write_atomically(&log_dir.join(FILE_NAME), text.as_bytes())?)
    }
}

/// Key and value of a line of a Java properties file. Ids need none of the escapes but a backslash.
fn split(line: &str) -> (String, String) {
    let end = line.find(['=', ':']).unwrap_or(line.len());
    let (key, value) = line.split_at(end);
    let value = value.get(1..).unwrap_or_default();
    (unescape(key.trim_end()), unescape(value.trim_start()))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '=' | ':' | '#' | '!') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(MetaProperties::read(dir.path()).unwrap(), None);
        for directory_id in [None, Some(Uuid::from_u128(7))] {
            let cluster_id = "5L6g3nShT-eMCtK--X86sw".to_owned();
            let properties = MetaProperties { cluster_id, node_id: 3, directory_id };
            properties.write(dir.path()).unwrap();
            assert_eq!(MetaProperties::read(dir.path()).unwrap(), Some(properties));
        }
    }

    #[test]
    fn reads_what_java_writes_and_refuses_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(dir.path().join(FILE_NAME), text).unwrap();
        write("#\n#Sat Nov 21 00:00:00 UTC 2026\ncluster.id=a\\:b\nversion=1\nnode.id = 1\n");
        let read = MetaProperties::read(dir.path()).unwrap().unwrap();
        assert_eq!(read, MetaProperties { cluster_id: "a:b".to_owned(), node_id: 1, directory_id: None });
        for text in ["", "version=1\nnode.id=1\n", "version=0\nnode.id=1\ncluster.id=a\n", "version=1\nnode.id=x\n"] {
            write(text);
            assert!(matches!(MetaProperties::read(dir.path()), Err(LogError::Malformed { .. })), "{text:?}");
        }
    }
}
