//! A processor forwards what it declares, and its children take that.

use vltava_streams::{Context, Processor, Record, Result, StreamsBuilder};

struct Length;

impl Processor for Length {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = i64;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.forward(record)
    }
}

fn main() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, i64>("numbers").process(|| Length).to("lengths");
}
