//! What does not fit, told at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Pairs of numbers by the file that they were found in.
type Pairs = BTreeMap<PathBuf, Vec<(i64, i64)>>;

/// All findings of a run.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Entries of an offset index, with the last offset of the batch that they point at.
    mismatches: BTreeMap<PathBuf, BTreeMap<i64, i64>>,
    timestamps: Pairs,
    out_of_order: Pairs,
    not_found: Pairs,
    /// Offsets with those that follow them.
    gaps: BTreeMap<PathBuf, BTreeMap<i64, i64>>,
}

impl Findings {
    /// An entry of an offset index points at a batch that ends with another offset.
    pub(super) fn mismatch(&mut self, file: &Path, index_offset: i64, log_offset: i64) {
        self.mismatches.entry(absolute(file)).or_default().insert(index_offset, log_offset);
    }

    /// An entry of a time index has another timestamp than its batch.
    pub(super) fn timestamp(&mut self, file: &Path, index_timestamp: i64, log_timestamp: i64) {
        self.timestamps.entry(absolute(file)).or_default().push((index_timestamp, log_timestamp));
    }

    /// An entry of a time index is not later than the one before it.
    pub(super) fn out_of_order(&mut self, file: &Path, timestamp: i64, previous: i64) {
        self.out_of_order.entry(absolute(file)).or_default().push((timestamp, previous));
    }

    /// An entry of a time index names an offset at which no batch ends.
    pub(super) fn not_found(&mut self, file: &Path, index_offset: i64, log_offset: i64) {
        self.not_found.entry(absolute(file)).or_default().push((index_offset, log_offset));
    }

    /// An offset is not followed by the next one.
    pub(super) fn gap(&mut self, file: &Path, offset: i64, next: i64) {
        self.gaps.entry(absolute(file)).or_default().insert(offset, next);
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for (file, pairs) in &self.mismatches {
            writeln!(out, "Mismatches in :{}", file.display())?;
            for (index, log) in pairs.iter().rev() {
                writeln!(out, "  Index offset: {index}, log offset: {log}")?;
            }
        }
        let lists: [(&Pairs, _, _, _); 3] = [
            (&self.timestamps, "Found timestamp mismatch in :", "  Index timestamp", "log timestamp"),
            (
                &self.out_of_order,
                "Found out of order timestamp in :",
                "  Index timestamp",
                "Previously indexed timestamp",
            ),
            (&self.not_found, "The following indexed offsets are not found in :", "Indexed offset", "found log offset"),
        ];
        for (files, title, first_name, second_name) in lists {
            for (file, pairs) in files {
                writeln!(out, "{title}{}", file.display())?;
                for (first, second) in pairs {
                    writeln!(out, "{first_name}: {first}, {second_name}: {second}")?;
                }
            }
        }
        for (file, pairs) in &self.gaps {
            writeln!(out, "Non-consecutive offsets in {}", file.display())?;
            for (offset, next) in pairs {
                writeln!(out, "  {offset} is followed by {next}")?;
            }
        }
        Ok(())
    }
}

fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}
