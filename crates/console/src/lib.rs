//! A page for operators of a cluster: its brokers, topics, records, groups and applications, in a browser.
//!
//! The crate serves one static page, which is compiled in, and a JSON API under `/api/` (`docs/console.md`). All that is
//! shown comes over Kafka's protocol, so it works with any broker. Nothing can be changed: who asks for anything but to
//! read is refused. Whoever opens the page sees what the console's own login may see; so it listens on this machine alone
//! unless there is a password or somebody says that none is needed.
//!
//! Reading order: [`ConsoleConfig`], [`Console`], `server.rs` (HTTP, and who is let in: `server/guard.rs`), `api.rs` (the
//! paths; a file each), `sampler.rs` (numbers that move), `decode.rs` (bytes as text), `application.rs`
//! (programs that serve their metrics).
//!
//! ```no_run
//! use vltava_console::{Console, ConsoleConfig};
//!
//! # async fn run() -> Result<(), vltava_console::ConsoleError> {
//! let config = ConsoleConfig::new([("bootstrap.servers", "localhost:9092")]);
//! let console = Console::bind(config).await?;
//! println!("http://{}/", console.local_addr());
//! console.serve().await
//! # }
//! ```

mod api;
mod application;
mod clock;
mod config;
mod console;
mod decode;
mod error;
mod page;
mod query;
mod sampler;
mod server;

pub use config::{ConsoleConfig, Login};
pub use console::Console;
pub use error::ConsoleError;
