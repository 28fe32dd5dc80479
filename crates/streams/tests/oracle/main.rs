//! The golden test: every case of the oracle, played into this crate's public API and compared with what the JVM computed.
//!
//! `FORMAT.md` says what a case is. A case whose operators, options or stores do not exist here yet is counted as
//! unsupported, by name. One that differs from the JVM by decision is a deviation: the committed cases stand in
//! `deviations.txt` with their reasons, others are known by what they are (`runner::Deviation`).
//!
//! `ORACLE_CASES` names a directory of plain `*.jsonl` files to read instead of the packed copy, `ORACLE_ONLY` (or an
//! argument) is a regular expression over `file/case name`, `ORACLE_VERBOSE` shows every difference. With the argument
//! `--bench` (`cargo test --release --test oracle -- --bench`) it times the events of the cases instead,
//! `ORACLE_ROUNDS` rounds of each (20).
//!
//! Reading order: `cases` (loading), `runner` (one case), `topology` (its steps), `compare` (the verdict).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a broken case file is a broken test"
)]

mod bench;
mod canned;
mod cases;
mod compare;
mod functions;
mod payload;
mod processors;
mod report;
mod runner;
mod serdes;
mod stores;
mod topology;
mod value;

use std::{process::ExitCode, time::Instant};

fn main() -> ExitCode {
    let (mut filters, mut timed) = (Vec::new(), false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--list" => return ExitCode::SUCCESS,
            "--bench" => timed = true,
            flag if flag.starts_with('-') => {}
            "oracle" => {}
            filter => filters.push(filter.to_owned()),
        }
    }
    filters.extend(std::env::var("ORACLE_ONLY").ok().filter(|only| !only.is_empty()));
    let started = Instant::now();
    let cases = cases::load(&filters);
    if timed {
        let rounds = std::env::var("ORACLE_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
        bench::run(&cases, rounds);
        return ExitCode::SUCCESS;
    }
    let results = runner::run_all(&cases);
    report::print(&results, filters.is_empty(), started.elapsed())
}
