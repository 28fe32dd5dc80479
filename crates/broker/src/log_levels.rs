//! The levels of what the broker's process logs, by logger (KIP-412).
//!
//! A logger is a target of `tracing`, with all that begins with it and `::`; what has no level of its own has that of the
//! nearest one above it. Who installs the log says how levels are changed ([`crate::BrokerConfig::with_log_levels`]); where
//! nobody does, they are told and not altered. As in Kafka they are not stored: a restart begins with the first ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;

/// Kafka's name for what all loggers inherit from.
pub(crate) const ROOT: &str = "root";

/// The loggers: the root, the audit log of the authorizer, the broker and its parts, and the logs of partitions.
pub(crate) const LOGGERS: [&str; 11] = [
    ROOT,
    "kafka.authorizer.logger",
    "vltava_broker",
    "vltava_broker::cleaner",
    "vltava_broker::controller",
    "vltava_broker::coordinator",
    "vltava_broker::handlers",
    "vltava_broker::network",
    "vltava_broker::partitions",
    "vltava_broker::security",
    "vltava_log",
];

/// Kafka's levels, in the order in which it tells them. Nothing here is logged as fatal: that level silences a logger.
pub(crate) const LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/// Brings levels into force (KIP-412): the level of each target that has one, and of all others under the empty target,
/// which is the first.
pub type ApplyLogLevels = dyn Fn(&[(&str, LevelFilter)]) + Send + Sync;

/// The loggers of a process, and how their levels are changed.
#[derive(Clone, Default)]
pub(crate) struct LogLevels(Option<Arc<Control>>);

struct Control {
    apply: Box<ApplyLogLevels>,
    levels: Mutex<Levels>,
}

#[derive(Debug, Clone)]
struct Levels {
    root: LevelFilter,
    /// Of the loggers that have one of their own.
    own: BTreeMap<&'static str, LevelFilter>,
}

impl Levels {
    /// The level of a logger: its own, or that of the nearest one above it.
    fn of(&self, logger: &str) -> LevelFilter {
        let mut above = logger;
        loop {
            if let Some(level) = self.own.get(above) {
                return *level;
            }
            match above.rsplit_once("::") {
                Some((next, _)) => above = next,
                None => return self.root,
            }
        }
    }
}

impl LogLevels {
    /// Levels that `apply` changes, of which all are `level` now.
    pub(crate) fn new(level: LevelFilter, apply: Box<ApplyLogLevels>) -> Self {
        let levels = Mutex::new(Levels { root: level, own: BTreeMap::new() });
        Self(Some(Arc::new(Control { apply, levels })))
    }

    /// Whether levels can be changed.
    pub(crate) fn is_controlled(&self) -> bool {
        self.0.is_some()
    }

    /// The level of a logger in Kafka's word.
    pub(crate) fn of(&self, logger: &str) -> &'static str {
        match &self.0 {
            Some(control) => word(control.levels.lock().of(logger)),
            None => word(LevelFilter::current()),
        }
    }

    /// Gives loggers these levels at once, all together; with `None` a logger has that of the one above it again. Nothing
    /// happens where nobody said how.
    pub(crate) fn set<'a>(&self, changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        let Some(control) = &self.0 else { return };
        let mut levels = control.levels.lock();
        for (logger, level) in changes {
            let Some(logger) = LOGGERS.into_iter().find(|known| *known == logger) else { continue };
            match level.map(filter) {
                Some(level) if logger == ROOT => levels.root = level,
                Some(level) => drop(levels.own.insert(logger, level)),
                None => drop(levels.own.remove(logger)),
            }
        }
        let root = [("", levels.root)];
        let all: Vec<(&str, LevelFilter)> =
            root.into_iter().chain(levels.own.iter().map(|(logger, level)| (*logger, *level))).collect();
        (control.apply)(&all);
    }
}

impl fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevels").field(&self.0.as_ref().map(|control| control.levels.lock().clone())).finish()
    }
}

/// Kafka's word for a level.
fn word(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::TRACE => "TRACE",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::INFO => "INFO",
        LevelFilter::WARN => "WARN",
        LevelFilter::ERROR => "ERROR",
        // Kafka's highest level: it has no word for nothing at all.
        _ => "FATAL",
    }
}

/// The level of one of Kafka's words.
fn filter(word: &str) -> LevelFilter {
    match word {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARN" => LevelFilter::WARN,
        "ERROR" => LevelFilter::ERROR,
        _ => LevelFilter::OFF,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_has_its_own_level_or_that_of_the_one_above_it() {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&applied);
        let apply = move |levels: &[(&str, LevelFilter)]| {
            *told.lock() = levels.iter().map(|(target, level)| format!("{target}={}", word(*level))).collect();
        };
        let levels = LogLevels::new(LevelFilter::INFO, Box::new(apply));
        let of = |loggers: [&str; 4]| loggers.map(|logger| levels.of(logger));
        let loggers = [ROOT, "vltava_broker", "vltava_broker::network", "vltava_log"];
        assert_eq!(of(loggers), ["INFO"; 4]);
        type Change = (&'static str, Option<&'static str>);
        let steps: &[(&[Change], [&str; 4], &[&str])] = &[
            (
                &[("vltava_broker", Some("DEBUG"))],
                ["INFO", "DEBUG", "DEBUG", "INFO"],
                &["=INFO", "vltava_broker=DEBUG"],
            ),
            (
                &[("vltava_broker::network", Some("FATAL")), (ROOT, Some("ERROR"))],
                ["ERROR", "DEBUG", "FATAL", "ERROR"],
                &["=ERROR", "vltava_broker=DEBUG", "vltava_broker::network=FATAL"],
            ),
            (
                &[("vltava_broker", None)],
                ["ERROR", "ERROR", "FATAL", "ERROR"],
                &["=ERROR", "vltava_broker::network=FATAL"],
            ),
            (&[("vltava_broker::network", None)], ["ERROR"; 4], &["=ERROR"]),
        ];
        for (changes, expected, told) in steps {
            levels.set(changes.iter().copied());
            assert_eq!(of(loggers), *expected, "{changes:?}");
            assert_eq!(*applied.lock(), *told, "{changes:?}");
        }
    }

    #[test]
    fn each_part_of_the_broker_that_is_a_logger_is_there() {
        let modules = include_str!("lib.rs");
        for part in LOGGERS.iter().filter_map(|logger| logger.strip_prefix("vltava_broker::")) {
            assert!(modules.contains(&format!("\nmod {part};\n")), "{part}");
        }
    }
}
