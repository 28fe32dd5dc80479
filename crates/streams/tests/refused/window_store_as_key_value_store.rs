//! A window store is asked for a key and a time.

use vltava_streams::{Context, Processor, Record, Result, WindowStore, store::StoreHandle};

struct Looks {
    store: StoreHandle<WindowStore<String, i64>>,
}

impl Processor for Looks {
    type KIn = String;
    type VIn = i64;
    type KOut = String;
    type VOut = i64;

    fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let mut store = ctx.store(self.store)?;
        let sum = store.get(&record.key)?.unwrap_or(0);
        ctx.forward(record.with_value(sum))
    }
}

fn main() {}
