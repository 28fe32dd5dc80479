//! A broker from a `server.properties` file: `cargo run --example broker -- server.properties key=value…`.
#![allow(clippy::print_stdout)]
//! Stops at the end of its standard input.

use std::error::Error;
use std::io::Read;

use vltava_broker::{Broker, BrokerConfig, parse_properties};

fn main() -> Result<(), Box<dyn Error>> {
    let mut properties = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some((key, value)) => properties.push((key.to_owned(), value.to_owned())),
            None => properties.extend(parse_properties(&std::fs::read_to_string(&argument)?)),
        }
    }
    let broker = Broker::start(BrokerConfig::from_properties(properties)?)?;
    println!("{}", broker.bootstrap_servers());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(broker);
    Ok(())
}
