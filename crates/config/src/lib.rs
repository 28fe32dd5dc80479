//! Settings by Kafka's keys, for every crate that has some: what a key is, whether a value is allowed, what is told about
//! a key that is unknown or has no effect, and how a `.properties` file is read.
//!
//! A crate keeps two things of its own: its tables of [`Definition`]s, and a struct with a typed field for every key that
//! acts. [`Settings::parse`] checks what a user gave against the tables, once; a [`Reader`] fills the struct from them and
//! remembers which keys were read, so that a test can hold the tables against the code ([`Reader::unread`],
//! [`Reader::read_without_support`]). After that nobody looks up a setting by its name.
//!
//! This crate reads no file, no environment and no clock, and knows no key.

mod definition;
mod error;
mod nearest;
mod properties;
mod reader;
mod reference;
mod settings;
mod value;

pub use definition::{Definition, Importance, Kind, Range, Support, Tables, Update, find};
pub use error::ConfigError;
pub use nearest::nearest;
pub use properties::parse_properties;
pub use reader::Reader;
pub use reference::{constants, reference};
pub use settings::{ConfigWarning, Foreign, Settings};
pub use value::{class_name, split_list};
