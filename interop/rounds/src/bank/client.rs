//! The clients: which there are, and how they are started.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{ACCOUNT_PARTITIONS, NUMBER_OF_ACCOUNTS};
use crate::process::{Process, Spec};

/// A make of clients: its name, and the command that its arguments follow.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name, which the ids of its transfers begin with.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// What stands before the arguments of `interop/bank/README.md`.
    pub before: Vec<OsString>,
}

impl Client {
    /// Starts it, with a partition of the ledger of its own.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start(&self, address: &str, partition: usize, folder: &Path) -> Result<Process> {
        let mut arguments = self.before.clone();
        let numbers = [partition.to_string(), ACCOUNT_PARTITIONS.to_string(), NUMBER_OF_ACCOUNTS.to_string()];
        arguments.extend([address, self.name].map(OsString::from));
        arguments.extend(numbers.map(OsString::from));
        let spec =
            Spec { name: self.name.to_owned(), program: self.program.clone(), arguments, environment: Vec::new() };
        Process::start(spec, folder)
    }

    /// The transfers that it was told are committed. A line that a kill has cut off is none.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn committed(&self, folder: &Path) -> Result<Vec<String>> {
        let log = fs::read(folder.join(format!("{}.log", self.name)))?;
        let text = String::from_utf8_lossy(&log);
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Ok(lines.filter_map(|line| line.strip_prefix("committed ")).map(str::to_owned).collect())
    }
}
