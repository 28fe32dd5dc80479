//! What a topology is put together from: each part holds something back, in its own way.

use std::time::Duration;

use super::stores::{Counter, Enter, MapEngine};
use crate::{
    BufferConfig, Context, EmitStrategy, JoinWindows, Joined, KeyValueStore, Materialized, Processor, PunctuationType,
    Record, Result, SessionWindows, SlidingWindows, StoreBuilder, StreamsBuilder, Suppressed, TimeWindows, WindowStore,
    Windowed,
    state::{KeyValueSupplier, WindowSupplier},
    store::StoreHandle,
};

/// What is seen of a task that begins anew from its last commit, beside one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Restart {
    /// Nothing.
    Unseen,
    /// The same results, some of them later.
    Delays,
    /// Other results, as in Kafka.
    Differs,
}

/// A part of a topology.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Adds it.
    pub(super) describe: fn(&StreamsBuilder),
    /// The topics that it reads from outside. Those of tables end with `-rows`, and may have nulls.
    pub(super) topics: &'static [&'static str],
    pub(super) restart: Restart,
}

const fn part(describe: fn(&StreamsBuilder), topics: &'static [&'static str]) -> Part {
    Part { describe, topics, restart: Restart::Unseen }
}

pub(super) const PARTS: [Part; 19] = [
    part(counted, &["counted"]),
    part(grouped, &["grouped-rows"]),
    part(joined_tables, &["joined-left-rows", "joined-right-rows"]),
    part(foreign, &["foreign-left-rows", "foreign-right-rows"]),
    part(versioned, &["priced", "prices-rows"]),
    part(graceful, &["waiting", "awaited-rows"]),
    // When it looks for what has met none depends on what it saw the last time.
    Part { describe: outer, topics: &["outer-left", "outer-right"], restart: Restart::Delays },
    part(closed, &["closed"]),
    part(emitted_on_close, &["emitted"]),
    part(late, &["late-rows"]),
    part(crowded, &["crowded-rows"]),
    part(sliding, &["sliding"]),
    part(sessions, &["sessions"]),
    // What was only read is not told by the changelog, and a cache has what the engine has evicted.
    Part { describe: least_recently_used, topics: &["used"], restart: Restart::Differs },
    part(own_engine, &["own-engine"]),
    part(own_stores, &["own-stores"]),
    part(first_seen, &["first-seen"]),
    // Schedules begin anew.
    Part { describe: by_stream_time, topics: &["by-stream-time"], restart: Restart::Differs },
    Part { describe: by_wall_clock, topics: &["by-wall-clock"], restart: Restart::Differs },
];

const SECOND: Duration = Duration::from_secs(1);

fn shown(side: Option<&String>) -> String {
    side.map_or("-".to_owned(), String::clone)
}

fn of_window(windowed: &Windowed<String>) -> String {
    format!("{}@{}-{}", windowed.key, windowed.window.start(), windowed.window.end())
}

fn counted(builder: &StreamsBuilder) {
    let counted = builder.stream::<String, String>("counted").group_by_key();
    counted.count_with(Materialized::named("counts")).to_stream().to("counts");
}

/// Each change of a row takes it out of one count and puts it into another, through a topic.
fn grouped(builder: &StreamsBuilder) {
    let rows = builder.table_with::<String, String>(Materialized::named("grouped"), "grouped-rows");
    rows.group_by(|_, value| (value.clone(), 1_i64)).count().to_stream().to("groups");
}

fn joined_tables(builder: &StreamsBuilder) {
    let left = builder.table::<String, String>("joined-left-rows");
    let right = builder.table::<String, String>("joined-right-rows");
    let joined = left.outer_join(&right, |left, right| format!("{}+{}", shown(left), shown(right)));
    joined.filter(|_, value| value.len() > 2).to_stream().to("joined-tables");
}

/// What the rows on the left have as their first letter are keys on the right.
fn foreign(builder: &StreamsBuilder) {
    let left = builder.table::<String, String>("foreign-left-rows");
    let right = builder.table::<String, String>("foreign-right-rows");
    let of = |value: &String| value.get(..1).map(str::to_owned);
    let inner = left.join_by_foreign_key(&right, of, |left: &String, right: &String| format!("{left}+{right}"));
    inner.to_stream().to("foreign-inner");
    let outer = left.left_join_by_foreign_key(&right, of, |left: &String, right| format!("{left}+{}", shown(right)));
    outer.to_stream().to("foreign-left");
}

fn versioned(builder: &StreamsBuilder) {
    let history = KeyValueSupplier::persistent_versioned_in_segments("prices", 20 * SECOND, 2 * SECOND);
    let prices = builder.table_with::<String, String>(Materialized::supplied(history), "prices-rows");
    let orders = builder.stream::<String, String>("priced");
    orders.left_join(&prices, |order, price| format!("{order} for {}", shown(price))).to("with-prices");
}

fn graceful(builder: &StreamsBuilder) {
    let history = KeyValueSupplier::persistent_versioned("awaited", 60 * SECOND);
    let rows = builder.table_with::<String, String>(Materialized::supplied(history), "awaited-rows");
    let waiting = builder.stream::<String, String>("waiting");
    let joined = Joined::named("graceful").with_grace_period(3 * SECOND);
    let joined = waiting.left_join_with(joined, &rows, |_, waiting: String, row: Option<&String>| {
        format!("{waiting} with {}", shown(row))
    });
    joined.to("with-rows");
}

fn outer(builder: &StreamsBuilder) {
    let windows = JoinWindows::of_time_difference_and_grace(2 * SECOND, 3 * SECOND);
    let (left, right) =
        (builder.stream::<String, String>("outer-left"), builder.stream::<String, String>("outer-right"));
    left.outer_join_stream(&right, windows, |left: Option<&String>, right: Option<&String>| {
        format!("{}+{}", shown(left), shown(right))
    })
    .to("outer-joined");
}

fn closed(builder: &StreamsBuilder) {
    let windows = TimeWindows::of_size_and_grace(2 * SECOND, 3 * SECOND);
    let counts = builder.stream::<String, String>("closed").group_by_key().windowed_by(windows).count();
    let closed = counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded()));
    closed.to_stream().map(|windowed, count| (of_window(&windowed), count)).to("closed-windows");
}

fn emitted_on_close(builder: &StreamsBuilder) {
    let windows = TimeWindows::of_size_and_grace(2 * SECOND, 3 * SECOND).advance_by(SECOND);
    let counts = builder.stream::<String, String>("emitted").group_by_key().windowed_by(windows);
    let counts = counts.emit_strategy(EmitStrategy::OnWindowClose).count();
    counts.to_stream().map(|windowed, count| (of_window(&windowed), count)).to("emitted-windows");
}

fn late(builder: &StreamsBuilder) {
    let rows = builder.table::<String, String>("late-rows");
    let late = rows.suppress(Suppressed::until_time_limit(4 * SECOND, BufferConfig::unbounded()));
    late.to_stream().to("late");
}

fn crowded(builder: &StreamsBuilder) {
    let rows = builder.table::<String, String>("crowded-rows");
    let two = BufferConfig::max_records(2).emit_early_when_full();
    rows.suppress(Suppressed::until_time_limit(60 * SECOND, two)).to_stream().to("crowded");
}

fn sliding(builder: &StreamsBuilder) {
    let windows = SlidingWindows::of_time_difference_and_grace(2 * SECOND, 3 * SECOND);
    let counts = builder.stream::<String, String>("sliding").group_by_key().windowed_by(windows).count();
    counts.to_stream().map(|windowed, count| (of_window(&windowed), count)).to("sliding-windows");
}

fn sessions(builder: &StreamsBuilder) {
    let windows = SessionWindows::of_inactivity_gap_and_grace(2 * SECOND, 3 * SECOND);
    let counts = builder.stream::<String, String>("sessions").group_by_key().windowed_by_sessions(windows).count();
    counts.to_stream().map(|windowed, count| (of_window(&windowed), count)).to("closed-sessions");
}

fn least_recently_used(builder: &StreamsBuilder) {
    let used = builder.stream::<String, String>("used").group_by_key();
    used.count_with(Materialized::supplied(KeyValueSupplier::lru_map("used", 2))).to_stream().to("uses");
}

/// An engine of the application's own, which cannot forget.
fn own_engine(builder: &StreamsBuilder) {
    let counted = builder.stream::<String, String>("own-engine").group_by_key();
    let engine = KeyValueSupplier::custom("own-engine", |context| Ok(MapEngine::open(context)));
    counted.count_with(Materialized::supplied(engine)).to_stream().to("own-engine-counts");
}

/// Stores of the application's own: in memory and on disk, with and without `forget`.
fn own_stores(builder: &StreamsBuilder) {
    let records = builder.stream::<String, String>("own-stores");
    for persistent in [false, true] {
        for forgets in [false, true] {
            let name = format!("own-{persistent}-{forgets}");
            let of = name.clone();
            let store =
                StoreBuilder::own(name.clone(), move |context| Ok(Counter::open(context, &of, persistent, forgets)));
            let store = builder.add_state_store(store);
            records.process_with(store, Enter).to(&format!("{name}-counts"));
        }
    }
}

/// Lets the first record of a key within its time through.
struct First(StoreHandle<WindowStore<String, String>>);

impl Processor for First {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let mut seen = ctx.store(self.0)?;
        let from = record.timestamp - 5000;
        let is_again = !seen.fetch_range(&record.key, from, record.timestamp)?.is_empty();
        seen.put(&record.key, Some(record.value.clone()), record.timestamp)?;
        if is_again { Ok(()) } else { ctx.forward(record) }
    }
}

fn first_seen(builder: &StreamsBuilder) {
    let store = WindowSupplier::persistent("seen", 10 * SECOND, SECOND, false).unwrap();
    let store = builder.add_state_store(StoreBuilder::<WindowStore<String, String>>::window(store));
    builder.stream::<String, String>("first-seen").process_with(store, First).to("firsts");
}

/// Holds counts until it is time to send them on.
struct Punctual {
    held: StoreHandle<KeyValueStore<String, i64>>,
    by: PunctuationType,
}

impl Processor for Punctual {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = i64;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        let send = |this: &mut Self, now: i64, ctx: &mut Context<'_, Self>| {
            let held: Vec<_> = ctx.store(this.held)?.all()?;
            for (key, count) in held {
                ctx.store(this.held)?.delete(&key)?;
                ctx.forward(Record::new(key, count, now))?;
            }
            Ok(())
        };
        ctx.schedule(3 * SECOND, self.by, send).map(drop)
    }

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let mut held = ctx.store(self.held)?;
        let count = held.get(&record.key)?.unwrap_or(0) + 1;
        held.put(&record.key, Some(count))
    }
}

fn by_stream_time(builder: &StreamsBuilder) {
    punctual(builder, "by-stream-time", PunctuationType::StreamTime);
}

fn by_wall_clock(builder: &StreamsBuilder) {
    punctual(builder, "by-wall-clock", PunctuationType::WallClockTime);
}

fn punctual(builder: &StreamsBuilder, name: &str, by: PunctuationType) {
    let held = StoreBuilder::<KeyValueStore<String, i64>>::persistent(name).with_caching_enabled();
    let held = builder.add_state_store(held);
    let records = builder.stream::<String, String>(name);
    records.process_with(held, move |held| Punctual { held, by }).to(&format!("{name}-counts"));
}
