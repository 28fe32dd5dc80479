//! How a round fails.

use std::{collections::BTreeMap, fmt};

use crate::check::Finding;

/// Findings of one part beyond this number are counted only.
const SHOWN: usize = 8;

/// Why a round has failed.
#[derive(Debug)]
pub enum Failure {
    /// A process that nobody ended has ended.
    Ended {
        /// Its name.
        name: String,
        /// Its status.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// Nothing moves although everything runs.
    StandsStill {
        /// Since how many seconds, and what is waited for.
        what: String,
        /// The ends of all logs.
        logs: String,
    },
    /// All is worked off, and results are not as they must be.
    Findings(Vec<Finding>),
    /// The round itself could not go on.
    Trouble(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Trouble(error.into())
    }
}

impl Failure {
    /// A few words for a summary.
    pub fn in_short(&self) -> String {
        match self {
            Failure::Ended { name, status, .. } => format!("{name} ended by itself: {status}"),
            Failure::StandsStill { what, .. } => what.clone(),
            Failure::Findings(findings) => {
                let mut parts: BTreeMap<_, usize> = BTreeMap::new();
                for finding in findings {
                    *parts.entry((finding.output, finding.fault)).or_default() += 1;
                }
                let parts = parts.into_iter().map(|((output, fault), n)| format!("{n} {fault} in {}", output.part()));
                parts.collect::<Vec<_>>().join(", ")
            }
            Failure::Trouble(error) => format!("{error:#}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.in_short())?;
        match self {
            Failure::Ended { log, .. } => f.write_str(log),
            Failure::StandsStill { logs, .. } => f.write_str(logs),
            Failure::Findings(findings) => {
                let mut shown: BTreeMap<_, usize> = BTreeMap::new();
                for finding in findings {
                    let shown = shown.entry((finding.output, finding.fault)).or_default();
                    *shown += 1;
                    if *shown <= SHOWN {
                        writeln!(f, "    {finding}")?;
                    }
                }
                Ok(())
            }
            Failure::Trouble(_) => Ok(()),
        }
    }
}
