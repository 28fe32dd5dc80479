//! Nobody can guess with which serde the window of a key is written.

use std::time::Duration;

use vltava_streams::{StreamsBuilder, TimeWindows};

fn main() {
    let builder = StreamsBuilder::new();
    let clicks = builder.stream::<String, String>("clicks").group_by_key();
    let minutes = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
    clicks.windowed_by(minutes).count().to_stream().to("clicks-per-minute");
}
