//! The log, on standard error.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::{Registry, fmt};

/// What of the log may be changed while the process runs.
#[derive(Clone)]
pub(crate) struct Levels(Handle<Targets, Registry>);

impl Levels {
    /// From now on events of these targets, and of what lies within them, are logged up to these levels; the empty target
    /// stands for all others.
    pub(crate) fn set(&self, levels: &[(&str, LevelFilter)]) {
        let mut targets = Targets::new();
        for (target, level) in levels {
            targets = match target.is_empty() {
                true => targets.with_default(*level),
                false => targets.with_target(*target, *level),
            };
        }
        // It fails where the log is gone, at the end of the process.
        self.0.reload(targets).ok();
    }
}

/// Sends everything up to `level` to standard error, coloured on a terminal.
///
/// The first call decides; a later one changes nothing.
pub(crate) fn init(level: LevelFilter) -> Levels {
    let (subscriber, levels) = subscriber(level, io::stderr, io::stderr().is_terminal());
    // Only a second call fails, and then there is a log already.
    tracing::subscriber::set_global_default(subscriber).ok();
    levels
}

fn subscriber<W>(level: LevelFilter, writer: W, is_coloured: bool) -> (impl Subscriber + Send + Sync, Levels)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(Targets::new().with_default(level));
    let layer = fmt::layer()
        .with_writer(writer)
        .with_ansi(is_coloured)
        .with_target(false)
        // What cannot be written, to a full disk, is not a reason to panic.
        .log_internal_errors(false);
    (Registry::default().with(filter).with(layer), Levels(handle))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn levels_change_by_target_while_the_log_is_in_use() {
        let memory = Memory::default();
        let writer = memory.clone();
        let (subscriber, levels) = subscriber(LevelFilter::INFO, move || writer.clone(), false);
        let told = || {
            tracing::debug!(target: "vltava_broker::network", "of the network");
            tracing::debug!(target: "vltava_broker::controller", "of the controller");
            tracing::info!(target: "vltava_log", "of a log");
            let text = String::from_utf8(std::mem::take(&mut *memory.0.lock().unwrap())).unwrap();
            text.lines().filter_map(|line| Some(line.rsplit_once("of ")?.1.to_owned())).collect::<Vec<_>>()
        };
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(told(), ["a log"]);
            levels.set(&[("", LevelFilter::WARN), ("vltava_broker", LevelFilter::DEBUG)]);
            assert_eq!(told(), ["the network", "the controller"]);
            levels.set(&[("", LevelFilter::INFO), ("vltava_broker::network", LevelFilter::DEBUG)]);
            assert_eq!(told(), ["the network", "a log"]);
            levels.set(&[("", LevelFilter::OFF)]);
            assert_eq!(told(), [""; 0]);
        });
    }
}
