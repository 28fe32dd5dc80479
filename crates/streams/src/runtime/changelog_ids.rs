//! Which changelogs the stores of a task's directory are from.
//!
//! A changelog's name and the offset that a store covers do not say that they belong together: the topic may have been deleted
//! and made again, or the directory may be that of an application of the same name in another cluster. So the ids of the
//! topics (KIP-516) are kept beside the stores, and a store of another topic is restored anew.

use std::{collections::BTreeMap, fs, io, path::Path};

use vltava_client::{Admin, ClientError};
use vltava_protocol::Uuid;

use crate::error::{Error, Result};

/// The file in a task's directory: a store and a topic's id a line.
const FILE: &str = "store-changelogs";

/// Ids by the names of stores.
pub(super) type ChangelogIds = BTreeMap<String, Uuid>;

/// What is known of the stores in a task's directory; nothing of those of an earlier version.
pub(super) fn read(task: &Path) -> Result<ChangelogIds> {
    let content = match fs::read_to_string(task.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ChangelogIds::new()),
        content => content.map_err(|error| failed("reading", task, &error))?,
    };
    let line = |line: &str| {
        let (store, id) = line.rsplit_once(' ')?;
        Some((store.to_owned(), id.parse().ok()?))
    };
    Ok(content.lines().filter_map(line).collect())
}

/// Keeps them, once the stores have nothing of other topics any more.
pub(super) fn write(task: &Path, ids: &ChangelogIds) -> Result<()> {
    if read(task)? == *ids {
        return Ok(());
    }
    let content: String = ids.iter().map(|(store, id)| format!("{store} {id}\n")).collect();
    let new = task.join(".store-changelogs.new");
    let written = fs::create_dir_all(task).and_then(|()| fs::write(&new, content));
    let written = written.and_then(|()| fs::rename(new, task.join(FILE)));
    written.map_err(|error| failed("writing", task, &error))
}

fn failed(doing: &str, task: &Path, error: &io::Error) -> Box<Error> {
    Error::streams(format!("{doing} {}: {error}", task.join(FILE).display()))
}

/// The ids of topics by their names; a broker of before KIP-516 tells none.
pub(super) async fn of_topics(
    admin: &Admin,
    topics: impl IntoIterator<Item = String>,
) -> Result<BTreeMap<String, Uuid>, ClientError> {
    let described = admin.describe_topics(topics).await.into_iter();
    let ids = described.map(|(topic, described)| described.map(|described| (topic, described.topic_id)));
    Ok(ids.collect::<Result<BTreeMap<_, _>, _>>()?.into_iter().filter(|(_, id)| !id.is_zero()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let task = folder.path().join("0_0");
        assert_eq!(read(&task).unwrap(), ChangelogIds::new());
        let mut ids = ChangelogIds::from([("a store".to_owned(), Uuid::from_u128(7))]);
        for id in [8, 9] {
            ids.insert("b".to_owned(), Uuid::from_u128(id));
            write(&task, &ids).unwrap();
            assert_eq!(read(&task).unwrap(), ids);
        }
    }
}
