//! The `vltava` program: the broker, and Kafka's command-line tools with Kafka's options and output.
//!
//! `vltava TOOL …` runs a tool, and so does the program under the tool's own name (a link
//! `kafka-topics` or `kafka-topics.sh`). Here are printing, exit statuses and the log, which no
//! crate below this one has.

use std::process::ExitCode;

mod acls;
mod argparse;
mod broker;
mod broker_api_versions;
mod clock;
mod cluster;
mod configs;
mod console;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod consumer_perf_test;
mod delete_records;
mod dump_log;
mod e2e_latency;
mod failure;
mod features;
mod get_offsets;
mod groups;
mod java;
mod json;
mod log_dirs;
mod logging;
mod options;
mod producer_perf_test;
mod program;
mod properties;
mod signals;
mod streams_groups;
mod streams_reset;
mod throttle;
mod tool;
mod topics;
mod transactions;
mod verifiable_consumer;
mod verifiable_producer;

// Less memory and less time than the system's allocator under a broker's load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    program::run(std::env::args_os().collect())
}
