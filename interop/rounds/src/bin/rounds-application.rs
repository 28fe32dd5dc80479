//! The application of the rounds as a process. It ends when it fails, and by nothing else.
#![allow(clippy::print_stderr, reason = "its log is its standard error")]

use std::{io, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use tracing_subscriber::filter::LevelFilter;
use vltava::streams::{KafkaStreams, State};
use vltava_rounds::{instance::Instance, names::Names, topology};

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .with_ansi(false)
        .log_internal_errors(false)
        .init();
    match run(&Instance::parse()) {
        Ok(failure) => eprintln!("the application ended: {}", failure.as_deref().unwrap_or("without a failure")),
        Err(error) => eprintln!("the application cannot run: {error:#}"),
    }
    ExitCode::FAILURE
}

fn run(instance: &Instance) -> Result<Option<String>> {
    let topology = topology::build(&Names::new(&instance.application_id))?;
    let streams = KafkaStreams::new(topology, instance.config()?)?;
    streams.start()?;
    streams.wait_for_state(State::has_completed_shutdown, Duration::MAX);
    Ok(streams.failure().map(|failure| failure.to_string()))
}
