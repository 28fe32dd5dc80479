//! Whose directories these are: `meta.properties`, checked as Kafka checks them before it starts.
//!
//! A directory that is gone, empty or of somebody else must not be taken for a new one: the topics in it would be made
//! again, empty, and clients would be told that their records were never there. So nothing is formatted unless all
//! directories are empty, or a further one is and none that this broker had is missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vltava_log::checkpoint::MetaProperties;
use vltava_protocol::Uuid;

use crate::error::BrokerError;

pub(crate) const META_PROPERTIES: &str = "meta.properties";

/// A replica whose directory was never recorded (Kafka's `DirectoryId.MIGRATING`).
pub(crate) const MIGRATING: Uuid = Uuid::from_u128(0);
/// A replica that its broker has not assigned to a directory yet (Kafka's `DirectoryId.UNASSIGNED`).
pub(crate) const UNASSIGNED: Uuid = Uuid::from_u128(1);
/// The ids below have meanings of their own.
const FIRST_ORDINARY_ID: u128 = 100;

/// One of the configured directories, as it was found.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// Whether the metadata log belongs here: `metadata.log.dir`, or else the first of `log.dirs`.
    pub(crate) is_metadata: bool,
    /// Whether there is a metadata log in it.
    pub(crate) holds_metadata: bool,
    /// Whether there are directories of other partitions in it.
    pub(crate) holds_partitions: bool,
}

/// What `meta.properties` says.
#[derive(Debug)]
pub(crate) enum Identity {
    Known(MetaProperties),
    /// There is no such file.
    Blank,
    /// The directory or its file cannot be read.
    Failed(String),
}

impl Candidate {
    fn known(&self) -> Option<&MetaProperties> {
        match &self.identity {
            Identity::Known(properties) => Some(properties),
            _ => None,
        }
    }

    fn refused(&self, reason: String) -> BrokerError {
        BrokerError::LogDir { path: self.path.clone(), reason }
    }

    fn refused_identity(&self, reason: String) -> BrokerError {
        BrokerError::MetaProperties { path: self.path.join(META_PROPERTIES), reason }
    }
}

/// Checks the directories against each other and against the configuration. Gives the cluster that they belong to;
/// `None` where all are new.
pub(crate) fn verify(
    candidates: &[Candidate],
    node_id: i32,
    cluster_id: Option<&str>,
) -> Result<Option<String>, BrokerError> {
    let found = verify_identities(candidates, node_id, cluster_id)?;
    let metadata = candidates.iter().find(|dir| dir.is_metadata);
    let in_use = candidates.iter().find(|dir| dir.holds_metadata || dir.holds_partitions);
    let Some(cluster_id) = found else {
        return match in_use {
            None => Ok(None),
            Some(dir) => Err(dir
                .refused(format!("holds partitions, but there is no readable {META_PROPERTIES} in any log directory"))),
        };
    };
    for dir in candidates {
        if let (Identity::Blank, true) = (&dir.identity, dir.is_metadata || dir.holds_metadata || dir.holds_partitions)
        {
            let found = if dir.is_metadata { "the metadata log belongs here" } else { "it holds partitions" };
            let reason = format!(
                "has no {META_PROPERTIES}, although {found} and other log directories are of cluster {cluster_id}: \
                 is it mounted, and is `log.dirs` in its old order?"
            );
            return Err(dir.refused(reason));
        }
    }
    let Some(metadata) = metadata else { return Ok(Some(cluster_id)) };
    if let Some(other) = candidates.iter().find(|dir| dir.holds_metadata && !dir.is_metadata) {
        return Err(other.refused(format!(
            "holds the metadata log, which is looked for in `{}`: that is `metadata.log.dir`, or else the first of \
             `log.dirs`",
            metadata.path.display()
        )));
    }
    if let (false, Some(other)) = (metadata.holds_metadata, in_use) {
        return Err(metadata.refused(format!(
            "holds no metadata log, although there are partitions in `{}`: the directory that it was in is missing",
            other.path.display()
        )));
    }
    Ok(Some(cluster_id))
}

/// The checks of Kafka's `MetaPropertiesEnsemble.verify`.
fn verify_identities(
    candidates: &[Candidate],
    node_id: i32,
    cluster_id: Option<&str>,
) -> Result<Option<String>, BrokerError> {
    let mut expected = cluster_id.map(str::to_owned);
    let mut found = None;
    let mut seen: BTreeMap<u128, &Path> = BTreeMap::new();
    for dir in candidates {
        if let (Identity::Failed(reason), true) = (&dir.identity, dir.is_metadata) {
            return Err(dir.refused(format!("belongs to the metadata log and cannot be read: {reason}")));
        }
        let Some(properties) = dir.known() else { continue };
        let theirs = &properties.cluster_id;
        match &expected {
            Some(ours) if ours != theirs => {
                return Err(
                    dir.refused_identity(format!("belongs to cluster {theirs}, this broker is of cluster {ours}"))
                );
            }
            _ => expected = Some(theirs.clone()),
        }
        found = Some(theirs.clone());
        if properties.node_id != node_id {
            let reason = format!("belongs to node.id {}, the configuration says {node_id}", properties.node_id);
            return Err(dir.refused_identity(reason));
        }
        let Some(id) = properties.directory_id else { continue };
        if is_reserved(id) {
            return Err(dir.refused_identity(format!("has the reserved directory.id {id}")));
        }
        if let Some(other) = seen.insert(id.as_u128(), &dir.path) {
            let reason = format!("has directory.id {id}, as `{}` has: one is a copy of the other", other.display());
            return Err(dir.refused_identity(reason));
        }
    }
    Ok(found)
}

/// Checks that the empty directories among `blank` are new ones: that none of the directories which this broker had
/// when it last registered is missing.
pub(crate) fn verify_new(blank: &Path, registered: &[Uuid], present: &[Uuid]) -> Result<(), BrokerError> {
    let Some(missing) = registered.iter().find(|id| !present.contains(id)) else { return Ok(()) };
    let reason = format!(
        "has no {META_PROPERTIES}, and the directory with id {missing}, which this broker had before, is in none of \
         `log.dirs`: is it mounted? To go on without it, start once without the empty directory"
    );
    Err(BrokerError::LogDir { path: blank.to_owned(), reason })
}

/// Draws an id as Kafka does: of version 4, and none that begins with a dash.
pub(crate) fn random_id() -> Uuid {
    loop {
        if let Some(id) = Uuid::random_from(fastrand::u128(..).to_be_bytes()) {
            return id;
        }
    }
}

fn is_reserved(id: Uuid) -> bool {
    id.as_u128() < FIRST_ORDINARY_ID
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(directory: u128) -> Identity {
        let directory_id = Some(Uuid::from_u128(directory));
        Identity::Known(MetaProperties { cluster_id: "abc".to_owned(), node_id: 1, directory_id })
    }

    #[test]
    fn ids_are_drawn_as_kafka_draws_them() {
        for _ in 0..300 {
            let id = random_id();
            assert_eq!(id.as_bytes()[6] >> 4, 4, "{id} is not of version 4");
            assert!(!id.to_string().starts_with('-'), "{id}");
        }
    }

    /// Two directories, the first with the metadata log, both with partitions.
    fn in_use() -> Vec<Candidate> {
        let dir = |path: &str, id, is_metadata| Candidate {
            path: path.into(),
            identity: known(id),
            is_metadata,
            holds_metadata: is_metadata,
            holds_partitions: true,
        };
        vec![dir("/a", 1001, true), dir("/b", 1002, false)]
    }

    fn emptied(dir: &mut Candidate) {
        dir.identity = Identity::Blank;
        dir.holds_metadata = false;
        dir.holds_partitions = false;
    }

    #[test]
    fn directories_that_fit_together_give_their_cluster() {
        assert_eq!(verify(&in_use(), 1, None).unwrap().as_deref(), Some("abc"));
        assert_eq!(verify(&in_use(), 1, Some("abc")).unwrap().as_deref(), Some("abc"));
        let mut new = in_use();
        new.iter_mut().for_each(emptied);
        assert_eq!(verify(&new, 1, None).unwrap(), None);
        let mut formatted_only = in_use();
        for dir in &mut formatted_only {
            (dir.holds_metadata, dir.holds_partitions) = (false, false);
        }
        assert_eq!(verify(&formatted_only, 1, None).unwrap().as_deref(), Some("abc"));
        let mut one_more = in_use();
        emptied(&mut one_more[1]);
        assert_eq!(verify(&one_more, 1, None).unwrap().as_deref(), Some("abc"));
        let mut one_failed = in_use();
        one_failed[1].identity = Identity::Failed("input/output error".to_owned());
        assert_eq!(verify(&one_failed, 1, None).unwrap().as_deref(), Some("abc"));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_its_directory() {
        type Change = fn(&mut Vec<Candidate>);
        let cases: [(&str, Change, &[&str]); 9] = [
            (
                "another order",
                |dirs| {
                    dirs[0].is_metadata = false;
                    dirs[1].is_metadata = true;
                },
                &["/a", "holds the metadata log", "/b", "metadata.log.dir"],
            ),
            (
                "the first removed",
                |dirs| {
                    dirs.remove(0);
                    dirs[0].is_metadata = true;
                },
                &["/b", "holds no metadata log"],
            ),
            ("the first emptied", |dirs| emptied(&mut dirs[0]), &["/a", "meta.properties", "mounted"]),
            ("copied twice", |dirs| dirs[1].identity = known(1001), &["/b", "/a", "copy"]),
            ("a reserved id", |dirs| dirs[1].identity = known(7), &["/b", "reserved"]),
            ("the file gone from the first", |dirs| dirs[0].identity = Identity::Blank, &["/a", "meta.properties"]),
            ("the file gone from the second", |dirs| dirs[1].identity = Identity::Blank, &["/b", "holds partitions"]),
            (
                "the file gone from both",
                |dirs| dirs.iter_mut().for_each(|dir| dir.identity = Identity::Blank),
                &["/a", "no readable meta.properties"],
            ),
            (
                "the first cannot be read",
                |dirs| dirs[0].identity = Identity::Failed("permission denied".to_owned()),
                &["/a", "permission denied"],
            ),
        ];
        for (name, change, words) in cases {
            let mut dirs = in_use();
            change(&mut dirs);
            let error = verify(&dirs, 1, None).expect_err(name).to_string();
            for word in words {
                assert!(error.contains(word), "{name}: {error}");
            }
        }
    }

    #[test]
    fn a_directory_of_another_node_or_cluster_is_refused() {
        for (node_id, cluster_id) in [(9, None), (1, Some("xyz"))] {
            let refused = verify(&in_use(), node_id, cluster_id);
            assert!(matches!(refused, Err(BrokerError::MetaProperties { .. })), "{refused:?}");
        }
    }

    #[test]
    fn an_empty_directory_is_a_new_one_only_if_none_is_missing() {
        let (a, b) = (Uuid::from_u128(1001), Uuid::from_u128(1002));
        verify_new(Path::new("/c"), &[a, b], &[b, a]).unwrap();
        let error = verify_new(Path::new("/b"), &[a, b], &[a]).unwrap_err().to_string();
        assert!(error.contains("/b") && error.contains(&b.to_string()), "{error}");
    }
}
