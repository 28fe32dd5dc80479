//! The id of the process that a state directory belongs to, in Kafka's file.
//!
//! It is part of the transactional ids of the process's threads: a process that starts again over its directory ends the
//! transactions that it had left open. A directory that was *copied* would make two processes end each other's for ever,
//! which Kafka does not notice; so the file says which file it is (its number and birth, which no copy has), and in
//! another one the id is no longer believed.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::UNIX_EPOCH,
};

use regex_lite::Regex;
use uuid::Uuid;

use crate::error::{Error, Result};

/// Kafka's name of the file.
const FILE: &str = "kafka-streams-process-metadata";

/// The id that is kept in a directory; if it keeps none, `fresh` from now on.
///
/// # Errors
/// If it cannot be read or written.
pub(super) fn process_id(directory: &Path, fresh: Uuid) -> Result<Uuid> {
    let failed = |error| Error::io(format!("keeping the process's id in {}", directory.join(FILE).display()))(error);
    match read(directory).map_err(failed)? {
        Kept::Here(id) => return Ok(id),
        // As the JVM's library leaves it.
        Kept::Unmarked(id) => write(directory, id).map(|()| id),
        Kept::Copied(id) => {
            tracing::warn!(
                %id, %fresh,
                "the directory {} was copied: the id of the process that it was copied from is replaced",
                directory.display()
            );
            write(directory, fresh).map(|()| fresh)
        }
        Kept::Nothing => write(directory, fresh).map(|()| fresh),
    }
    .map_err(failed)
}

enum Kept {
    Here(Uuid),
    Unmarked(Uuid),
    Copied(Uuid),
    Nothing,
}

fn read(directory: &Path) -> io::Result<Kept> {
    let path = directory.join(FILE);
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Nothing),
        Err(error) => return Err(error),
    };
    let Some(id) = field(&text, "processId").and_then(|id| Uuid::parse_str(&id).ok()) else {
        tracing::warn!("{} has no process id and is written anew", path.display());
        return Ok(Kept::Nothing);
    };
    Ok(match field(&text, "file") {
        None => Kept::Unmarked(id),
        Some(mark) if mark == mark_of(&File::open(&path)?)? => Kept::Here(id),
        Some(_) => Kept::Copied(id),
    })
}

/// A field of the file's one object. What is not found is not there.
fn field(text: &str, name: &str) -> Option<String> {
    let field = Regex::new(&format!(r#""{name}"\s*:\s*"([^"\\]*)""#)).ok()?;
    Some(field.captures(text)?.get(1)?.as_str().to_owned())
}

fn write(directory: &Path, id: Uuid) -> io::Result<()> {
    let new = directory.join(format!("{FILE}.tmp"));
    // A file of its own: one that is there keeps its number and birth when it is written again.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create(&new)?;
    let mark = mark_of(&file)?;
    writeln!(file, r#"{{"processId":"{id}","file":"{mark}"}}"#)?;
    fs::rename(new, directory.join(FILE))
}

/// What tells a file from its copies; the birth where the file system knows it.
fn mark_of(file: &File) -> io::Result<String> {
    let metadata = file.metadata()?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{}-{}", metadata.ino(), born.map_or(0, |born| born.as_nanos())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use uuid::Uuid;

    use super::{FILE, process_id};

    const A: Uuid = Uuid::from_u128(0xA);
    const B: Uuid = Uuid::from_u128(0xB);
    const C: Uuid = Uuid::from_u128(0xC);

    #[test]
    fn a_directory_keeps_its_process_and_a_copy_of_it_is_another_one() {
        let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        assert_eq!(process_id(first.path(), A).unwrap(), A);
        assert_eq!(process_id(first.path(), B).unwrap(), A, "a second start");
        fs::copy(first.path().join(FILE), second.path().join(FILE)).unwrap();
        assert_eq!(process_id(second.path(), B).unwrap(), B, "a copy");
        assert_eq!(process_id(second.path(), C).unwrap(), B);
        assert_eq!(process_id(first.path(), C).unwrap(), A, "what was copied from");
    }

    #[test]
    fn a_directory_that_was_moved_stays_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let [before, after] = ["before", "after"].map(|name| folder.path().join(name));
        fs::create_dir(&before).unwrap();
        assert_eq!(process_id(&before, A).unwrap(), A);
        fs::rename(&before, &after).unwrap();
        assert_eq!(process_id(&after, B).unwrap(), A);
    }

    #[test]
    fn the_file_of_the_jvm_is_taken_over_and_a_broken_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, format!(r#"{{"processId" : "{A}"}}"#)).unwrap();
        assert_eq!(process_id(folder.path(), B).unwrap(), A);
        assert!(fs::read_to_string(&file).unwrap().contains("\"file\""), "marked from now on");
        for broken in ["", "{", r#"{"processId":null}"#, r#"{"processId":"no"}"#, "\u{1F}\0"] {
            fs::write(&file, broken).unwrap();
            assert_eq!(process_id(folder.path(), B).unwrap(), B, "{broken:?}");
            assert_eq!(process_id(folder.path(), C).unwrap(), B, "{broken:?}");
        }
    }
}
