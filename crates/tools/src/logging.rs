//! The log, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::LevelFilter;

/// Sends everything up to `level` to standard error, coloured on a terminal.
///
/// The first call decides; a later one changes nothing.
pub(crate) fn init(level: LevelFilter) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // What cannot be written, to a full disk, is not a reason to panic.
        .log_internal_errors(false)
        .finish();
    // Only a second call fails, and then there is a log already.
    tracing::subscriber::set_global_default(subscriber).ok();
}
