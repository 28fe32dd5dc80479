//! A console inside of a program: `cargo run -p vltava-console --example inside -- localhost:9092 [NAME=http://host:port …]`.
#![allow(clippy::print_stdout, reason = "it says where the page is")]

use vltava_console::{Console, ConsoleConfig, ConsoleError};

#[tokio::main]
async fn main() -> Result<(), ConsoleError> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().unwrap_or_else(|| "localhost:9092".to_owned());
    let mut config = ConsoleConfig::new([("bootstrap.servers", servers)]).address(([127, 0, 0, 1], 0).into());
    for application in arguments {
        let (name, address) = application.split_once('=').unwrap_or((&application, ""));
        config = config.application(name, address)?;
    }
    let console = Console::bind(config).await?;
    println!("http://{}/", console.local_addr());
    console.serve().await
}
