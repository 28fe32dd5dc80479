//! Opening what is on disk of a store: whether its rows are in the form in which they will be read, and whole.
//!
//! What cannot be used is restored anew where the store has a changelog: its directory is put aside and deleted, the store
//! begins empty, and since it covers no offset, all of the changelog is read. Where there is none, opening is refused,
//! for what is there may be all there is.
//!
//! A directory without a mark is that of an earlier version. Its rows may be in any form: with a changelog it is restored
//! anew, once; without one it is taken for what it is opened as, as the earlier version did it.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::Path,
};

use super::{EngineContext, StoreFormat, TaskDirectory, format::describe};
use crate::error::{Error, Result};

/// The file that says in which form a store's rows are.
const MARK: &str = "store-format";
/// What the name of a directory begins with that is being deleted.
const DELETED: &str = ".deleted-";

/// Where a store's content comes from if its files are of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestoredFrom {
    /// Nowhere.
    Nothing,
    /// Its changelog: what a store of its kind wrote.
    Changelog,
    /// The topic of a global store, or of a table's source: what an application wrote.
    Topic,
}

/// Why a store on disk cannot be used.
enum Unusable {
    /// Its mark says something else.
    Format(String),
    /// It has no mark.
    Unmarked,
    Damaged(Box<Error>),
}

impl EngineContext {
    /// Opens the store `name` in the task's directory, after a look at what is there.
    ///
    /// # Errors
    /// [`Error::Store`] where the files are of no use and the store cannot be restored, and any of `open`'s and of the
    /// file system.
    pub(crate) fn open_on_disk<T>(
        &self,
        name: &str,
        format: StoreFormat,
        open: impl Fn(&TaskDirectory, &Path) -> Result<T>,
    ) -> Result<T> {
        let Some(task) = &self.state_dir else { return Err(Error::internal("a store on disk without a directory")) };
        let path = task.path.join(name);
        let failed = |doing: &str, error: io::Error| {
            let message = format!("{doing} {}: {error}", path.display());
            Box::new(Error::Store { store: name.to_owned(), message })
        };
        let unusable = match look(&path, format).map_err(|error| failed("looking into", error))? {
            Some(Unusable::Unmarked) if self.restored_from == RestoredFrom::Nothing => {
                tracing::warn!(
                    task = self.task_id,
                    store = name,
                    "{} does not say in which form its rows are: they are taken for {}",
                    path.display(),
                    describe(&format.mark())
                );
                write_mark(&path, format).map_err(|error| failed("marking", error))?;
                None
            }
            unusable => unusable,
        };
        let unusable = match unusable {
            Some(unusable) => unusable,
            None => match open(task, &path) {
                Err(error) if error.is_corrupted_store() => Unusable::Damaged(error),
                opened => return opened,
            },
        };
        self.may_be_restored(name, &path, format, &unusable)?;
        tracing::warn!(task = self.task_id, store = name, "restored anew: {}", unusable.why(&path, format));
        discard(&task.path, name).map_err(|error| failed("deleting", error))?;
        write_mark(&path, format).map_err(|error| failed("marking", error))?;
        open(task, &path)
    }

    fn may_be_restored(&self, name: &str, path: &Path, format: StoreFormat, unusable: &Unusable) -> Result<()> {
        let remedy = match (self.restored_from, unusable) {
            (RestoredFrom::Topic, _) => return Ok(()),
            (RestoredFrom::Changelog, Unusable::Format(mark)) if !format.shares_changelog_with(mark) => {
                "the records of its changelog are of that other kind too: give the store another name, or reset the application"
            }
            (RestoredFrom::Changelog, _) => return Ok(()),
            (RestoredFrom::Nothing, Unusable::Format(_)) => {
                "it has no changelog to be restored from: open it as it was written, or delete the directory and with it its content"
            }
            (RestoredFrom::Nothing, _) => {
                "it has no changelog to be restored from: put a copy in its place, or delete the directory and with it its content"
            }
        };
        let message = format!("{}; {remedy}", unusable.why(path, format));
        Err(Box::new(Error::Store { store: name.to_owned(), message }))
    }
}

impl Unusable {
    fn why(&self, path: &Path, format: StoreFormat) -> String {
        let path = path.display();
        match self {
            Unusable::Format(mark) => {
                format!("{path} has {}, and the store is opened for {}", describe(mark), describe(&format.mark()))
            }
            Unusable::Unmarked => format!("{path} does not say in which form its rows are"),
            Unusable::Damaged(error) => error.to_string(),
        }
    }
}

/// What is wrong with a store's directory, if anything is; a new one gets its mark.
fn look(path: &Path, format: StoreFormat) -> io::Result<Option<Unusable>> {
    let expected = format.mark();
    match fs::read(path.join(MARK)) {
        Ok(mark) if mark == expected.as_bytes() => Ok(None),
        Ok(mark) => Ok(Some(Unusable::Format(String::from_utf8_lossy(&mark).into_owned()))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let entries = match fs::read_dir(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                entries => Some(entries?),
            };
            if entries.is_some_and(|mut entries| entries.next().is_some()) {
                return Ok(Some(Unusable::Unmarked));
            }
            write_mark(path, format).map(|()| None)
        }
        Err(error) => Err(error),
    }
}

/// Writes the mark as one step, so that a process that dies leaves none or all of it.
fn write_mark(path: &Path, format: StoreFormat) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let new = path.join(".store-format.new");
    let mut file = File::create(&new)?;
    file.write_all(format.mark().as_bytes())?;
    // A mark that is lost while its rows are not would say that they are of no use.
    file.sync_all()?;
    fs::rename(new, path.join(MARK))
}

/// Deletes the directory of the store `name`. It is put aside first, so that nothing half deleted is opened.
pub(crate) fn discard(task: &Path, name: &str) -> io::Result<()> {
    let aside = task.join(format!("{DELETED}{name}"));
    let gone = |done: io::Result<()>| match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    };
    gone(fs::remove_dir_all(&aside))?;
    gone(fs::rename(task.join(name), &aside))?;
    gone(fs::remove_dir_all(aside))
}
