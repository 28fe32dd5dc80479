//! Sessions have a method of their own.

use std::time::Duration;

use vltava_streams::{SessionWindows, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let clicks = builder.stream::<String, String>("clicks").group_by_key();
    clicks.windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(60))).count();
}
