//! Makes the calls that applications make of a registry, of the one in memory and of a real one, and holds every answer
//! against what it should be: the same from both but where this program says what differs, and why.
//!
//! `calls_of_a_registry http://localhost:8081` wants a registry without subjects, for it registers, changes rules and
//! deletes. The differences that it names are those of Apicurio Registry 3.0. It ends with 1 if an answer is another.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it is for")]

mod addresses;
mod compatibility;
mod deletion;
mod schemas;
mod serdes;
mod tried;

use std::{error::Error, process::ExitCode};

use tried::{Registry, Tried};
use vltava_schema::MockRegistry;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: calls_of_a_registry URL\n\nURL is the base address of a schema registry without subjects.");
        return ExitCode::from(2);
    };
    match run(&url) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("calls_of_a_registry: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many answers were others than they should be.
fn run(url: &str) -> Result<usize, Box<dyn Error>> {
    let real = Registry::Real(url.to_owned());
    let subjects = real.client(&[])?.subjects()?;
    if !subjects.is_empty() {
        return Err(format!("{url} has subjects already: {}", subjects.join(", ")).into());
    }
    let mock = Registry::Mock(MockRegistry::new());
    let mut wrong = 0;
    for (name, registry) in [("in memory", &mock), (url, &real)] {
        let mut tried = Tried::new(registry);
        schemas::try_all(&mut tried)?;
        compatibility::try_all(&mut tried)?;
        deletion::try_all(&mut tried)?;
        serdes::try_all(&mut tried)?;
        wrong += report(name, &tried);
    }
    let mut tried = Tried::new(&real);
    addresses::try_all(&mut tried, url)?;
    Ok(wrong + report("addresses", &tried))
}

/// Says what came of the calls; gives how many answers were others than they should be.
fn report(name: &str, tried: &Tried<'_>) -> usize {
    println!("{name}: {} calls, {} answers that should be others", tried.calls, tried.wrong.len());
    tried.wrong.iter().for_each(|line| println!("{line}"));
    if !tried.differences.is_empty() {
        println!("{name}: {} answers that differ from those in memory", tried.differences.len());
        tried.differences.iter().for_each(|line| println!("{line}"));
    }
    tried.wrong.len()
}
