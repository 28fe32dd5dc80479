//! How far the stores on disk of a task are, for who has not opened them: the offsets of their changelogs together.
//!
//! A member of the group tells its leader of the tasks of which there are stores on its disk. The file is a hint: it may be
//! older than the stores by so many records as are written to it at a time, as Kafka's checkpoints may be.

use std::{fs, io, path::Path};

/// The file in a task's directory.
const FILE: &str = "offset-sum";

/// While a task works it is written when the stores are so much further; Kafka's `OFFSET_DELTA_THRESHOLD_FOR_CHECKPOINT`.
pub(super) const STEP: i64 = 10_000;

/// What was written last; nothing where that was by an earlier version, or is no number.
pub(super) fn read(task: &Path) -> Option<i64> {
    fs::read_to_string(task.join(FILE)).ok()?.trim().parse().ok().filter(|sum| *sum >= 0)
}

/// # Errors
/// Those of the file system.
pub(super) fn write(task: &Path, sum: i64) -> io::Result<()> {
    let new = task.join(".offset-sum.new");
    fs::create_dir_all(task)?;
    fs::write(&new, format!("{sum}\n"))?;
    fs::rename(new, task.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let task = folder.path().join("0_0");
        assert_eq!(read(&task), None);
        for sum in [0, 12, 7] {
            write(&task, sum).unwrap();
            assert_eq!(read(&task), Some(sum));
        }
        fs::write(task.join(FILE), "twelve").unwrap();
        assert_eq!(read(&task), None);
    }
}
