//! Which stores on disk were open when their process died.
//!
//! The stores on disk that are ours are as of their last commit whenever they are opened. An engine of the application's own
//! need not be: what it has may be of a transaction that came to nothing. Such a store has a mark beside its directory for
//! as long as it is open, and under exactly-once one that is found marked is emptied and restored from its changelog.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// What the name of a mark begins with.
const OPEN: &str = ".open-";

/// The mark of a store that is open. It stays if it is dropped.
#[derive(Debug)]
pub(crate) struct OpenMark(PathBuf);

impl OpenMark {
    /// Marks the store `name` in a task's directory. Whether it was marked before: nobody has closed it.
    pub(crate) fn set(task: &Path, name: &str) -> io::Result<(Self, bool)> {
        fs::create_dir_all(task)?;
        let path = task.join(format!("{OPEN}{name}"));
        match File::create_new(&path) {
            Ok(_) => Ok((OpenMark(path), false)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok((OpenMark(path), true)),
            Err(error) => Err(error),
        }
    }

    /// The store is closed, and as of its last commit.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::OpenMark;

    #[test]
    fn a_mark_stays_until_the_store_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let set = || OpenMark::set(&folder.path().join("0_0"), "store").unwrap();
        let (mark, was_open) = set();
        assert!(!was_open);
        drop(mark);
        let (mark, was_open) = set();
        assert!(was_open);
        mark.remove().unwrap();
        assert!(!set().1);
    }
}
