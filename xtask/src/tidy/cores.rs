//! What a core does not do itself: read a clock, open sockets and files, start threads, draw by chance.
//!
//! A core takes events and `now` and says what is to be done; the shells around it do it. The table says of which paths
//! that holds, and which words may nevertheless stand where, and why. Tests may do what they like.

use super::sources::{Source, has_word};

type Words = &'static [&'static str];

const CLOCK: Words = &["Instant::now", "SystemTime::now"];
const SOCKETS: Words = &["std::net", "TcpStream", "TcpListener", "UdpSocket"];
const FILES: Words = &["std::fs", "fs::", "File::open", "File::create"];
const THREADS: Words = &["std::thread", "thread::spawn", "thread::Builder"];
const TOKIO: Words = &["tokio::"];
/// By chance, without a seed that was passed in.
const CHANCE: Words =
    &["fastrand::u", "fastrand::i", "fastrand::f", "fastrand::bool", "fastrand::shuffle", "Rng::new()", "thread_rng"];

const EVERYTHING: &[Words] = &[CLOCK, SOCKETS, FILES, THREADS, TOKIO, CHANCE];
const ALL_BUT_FILES: &[Words] = &[CLOCK, SOCKETS, THREADS, TOKIO, CHANCE];

/// What the sources under these paths do not do.
const CORES: &[(&[Words], &[&str])] = &[
    (EVERYTHING, &["crates/config/src/", "crates/metrics/src/", "crates/protocol/src/", "crates/serde/src/"]),
    (ALL_BUT_FILES, &["crates/log/src/"]),
    (EVERYTHING, &["crates/log/src/append.rs", "crates/log/src/cleaner/", "crates/log/src/producer_state/entry.rs"]),
    (
        EVERYTHING,
        &[
            "crates/client/src/consumer/assignor",
            "crates/client/src/consumer/core",
            "crates/client/src/consumer/fetcher",
            "crates/client/src/consumer/membership",
            "crates/client/src/consumer/position.rs",
            "crates/client/src/consumer/subscription",
            "crates/client/src/producer/accumulator",
            "crates/client/src/producer/lane",
            "crates/client/src/producer/pending",
            "crates/client/src/producer/sender",
            "crates/client/src/producer/sticky",
            "crates/client/src/producer/tags",
            "crates/client/src/producer/transaction/calls.rs",
            "crates/client/src/producer/transaction/manager.rs",
            "crates/client/src/producer/transaction/verdict.rs",
        ],
    ),
    (
        EVERYTHING,
        &[
            "crates/broker/src/coordinator/group",
            "crates/broker/src/coordinator/record",
            "crates/broker/src/coordinator/shard",
            "crates/broker/src/coordinator/timers",
            "crates/broker/src/quota/client_quotas.rs",
            "crates/broker/src/quota/limits.rs",
            "crates/broker/src/quota/rate.rs",
            "crates/broker/src/quota/sensors.rs",
            "crates/broker/src/quota/token_bucket.rs",
            "crates/broker/src/security/acls.rs",
        ],
    ),
    (
        EVERYTHING,
        &[
            "crates/streams/src/builder",
            "crates/streams/src/dsl",
            "crates/streams/src/handler",
            "crates/streams/src/processing",
            "crates/streams/src/processor",
            "crates/streams/src/runtime/assignor.rs",
            "crates/streams/src/runtime/task_manager/machine",
            "crates/streams/src/runtime/verdict.rs",
            "crates/streams/src/serdes",
            "crates/streams/src/store",
            "crates/streams/src/task",
            "crates/streams/src/topology",
        ],
    ),
    (ALL_BUT_FILES, &["crates/streams/src/state"]),
];

/// What stands there nevertheless: the shell that lies within a core, or what decides nothing.
const EXCEPT: &[(&str, Words, &str)] = &[
    ("crates/metrics/src/http.rs", TOKIO, "the server, a feature, which knows nothing of how metrics come about"),
    ("crates/metrics/src/http.rs", SOCKETS, "as before"),
    ("crates/metrics/src/http/pace.rs", TOKIO, "as before: who asks too much waits"),
    ("crates/metrics/src/http/pace.rs", CLOCK, "as before"),
    ("crates/metrics/src/http/text.rs", TOKIO, "as before: pieces come from a task"),
    ("crates/protocol/src/wire/records.rs", FILES, "records may be a range of a file that is open"),
    ("crates/log/src/manager/stop.rs", THREADS, "logs are closed side by side"),
    ("crates/broker/src/security/acls.rs", SOCKETS, "addresses are compared, and no socket is opened"),
    ("crates/client/src/consumer/core/commits.rs", TOKIO, "who commits is answered"),
    ("crates/client/src/producer/accumulator.rs", TOKIO, "a sender waits for room, and for nothing else"),
    ("crates/client/src/producer/pending.rs", TOKIO, "who sent is woken"),
    ("crates/client/src/producer/transaction/manager.rs", TOKIO, "who called is answered"),
    ("crates/client/src/producer/sticky.rs", CHANCE, "the next partition is any"),
    ("crates/streams/src/state/lsm/engine.rs", THREADS, "the engine's own thread, which flushes and compacts"),
    ("crates/streams/src/dsl/printed.rs", FILES, "`print` into a file is what was asked for"),
];

pub(super) fn check(sources: &[Source], findings: &mut Vec<String>) {
    let mut needed = Vec::new();
    for (kinds, paths) in CORES {
        for path in *paths {
            let mut under = sources.iter().filter(|source| source.name.starts_with(path) && !source.is_test).peekable();
            if under.peek().is_none() {
                findings.push(format!("xtask/src/tidy/cores.rs: nothing is under {path}"));
            }
            for source in under {
                for (number, line) in source.code() {
                    for words in kinds.iter().filter(|words| words.iter().any(|word| has_word(line, word))) {
                        match EXCEPT.iter().position(|(name, allowed, _)| *name == source.name && *allowed == *words) {
                            Some(exception) => needed.push(exception),
                            None => findings.push(format!("{}:{number}: not for a core: {}", source.name, line.trim())),
                        }
                    }
                }
            }
        }
    }
    for (at, (name, words, why)) in EXCEPT.iter().enumerate() {
        if !needed.contains(&at) {
            findings.push(format!("xtask/src/tidy/cores.rs: {name} has none of {words:?} any more ({why})"));
        }
    }
    findings.dedup();
}
