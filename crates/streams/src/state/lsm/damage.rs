//! What is damage to a store's files, and how it is remembered.
//!
//! A store that was found damaged while it was at work is left as it is, with a note in its directory: whoever opens it
//! next, in this process or a later one, knows that it is of no use before any row is read.

use std::{
    fmt, fs,
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use lsm_tree::file::CURRENT_VERSION_FILE;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    error::{Error, Result},
    guard::panic_message,
};

/// The note in the directory of a damaged store; it says how the damage showed.
const NOTE: &str = "damaged";
const TABLES: &str = "tables";

/// Why the tree could not do something.
pub(super) enum Failure {
    Tree(lsm_tree::Error),
    /// It met what it takes for impossible.
    Panic(String),
}

impl From<lsm_tree::Error> for Failure {
    fn from(error: lsm_tree::Error) -> Self {
        Failure::Tree(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Tree(lsm_tree::Error::Io(error)) => write!(f, "{error}"),
            Failure::Tree(error) => write!(f, "{error:?}"),
            Failure::Panic(message) => write!(f, "the tree panicked: {message}"),
        }
    }
}

impl Failure {
    /// Whether the files are not what was written. A disk that is full, or no descriptor left, is no damage.
    fn is_damage(&self) -> bool {
        match self {
            Failure::Tree(lsm_tree::Error::Io(error)) => matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
            ),
            // Everything else that the tree says is about bytes that it could not make sense of.
            Failure::Tree(_) | Failure::Panic(_) => true,
        }
    }
}

/// Has the tree do something; its assertions are failures as others.
pub(super) fn guarded<T>(work: impl FnOnce() -> lsm_tree::Result<T>) -> std::result::Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(Failure::Tree),
        Err(panic) => Err(Failure::Panic(panic_message(&*panic))),
    }
}

/// The error of a failure, and the note about it if it is damage.
#[cold]
pub(super) fn failed(store: &str, path: &Path, doing: &str, failure: Failure) -> Box<Error> {
    let message = format!("{doing}: {failure}");
    if !failure.is_damage() {
        return Box::new(Error::Store { store: store.to_owned(), message });
    }
    // Without the note it will be found damaged again.
    let _ = fs::write(path.join(NOTE), &message);
    corrupted(store, path, message)
}

fn corrupted(store: &str, path: &Path, message: String) -> Box<Error> {
    Box::new(Error::CorruptedStore { store: store.to_owned(), path: path.to_owned(), message })
}

/// Looks for what the tree itself would not see when it is opened.
pub(super) fn check(store: &str, path: &Path) -> Result<()> {
    match damage(path) {
        Some(message) => Err(corrupted(store, path, message)),
        None => Ok(()),
    }
}

fn damage(path: &Path) -> Option<String> {
    if let Ok(note) = fs::read_to_string(path.join(NOTE)) {
        return Some(format!("found before, {note}"));
    }
    let Ok(current) = fs::read(path.join(CURRENT_VERSION_FILE)) else {
        // The tree would begin a new one over what is there.
        let mut tables = fs::read_dir(path.join(TABLES)).into_iter().flatten();
        return tables.next().map(|_| format!("there are tables, and no file {CURRENT_VERSION_FILE}"));
    };
    // The number of the version, the checksum of its file, and the checksum's kind.
    let parts = current.split_first_chunk::<8>().and_then(|(id, rest)| Some((id, rest.split_first_chunk::<16>()?)));
    let Some((id, (checksum, _))) = parts else { return Some(format!("{CURRENT_VERSION_FILE} is cut off")) };
    let version = format!("v{}", u64::from_le_bytes(*id));
    match fs::read(path.join(&version)) {
        Ok(bytes) if xxh3_128(&bytes) == u128::from_le_bytes(*checksum) => None,
        Ok(_) => Some(format!("the checksum of {version} does not match")),
        Err(error) if error.kind() == ErrorKind::NotFound => Some(format!("{version} is missing")),
        // No damage; the tree will meet it too.
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
