//! What can be known of a broker from outside of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod health;
mod http;
mod names;
mod values;

/// The samples of a text: name and labels, and the value.
fn samples(text: &str) -> std::collections::BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').map(|(name, value)| (name, value.parse().unwrap())).unwrap()).collect()
}
