//! The application: seven parts of one topology, each with another kind of state.

use std::time::Duration;

use vltava::streams::{
    BufferConfig, Context, Grouped, JoinWindows, KStream, KeyValueStore, Materialized, Processor, Record, Result,
    StoreBuilder, StreamJoined, StreamsBuilder, Suppressed, TableJoined, TimeWindows, Topology, store::StoreHandle,
};

use crate::{
    ids::Ids,
    names::{Input, Names, Output, SEEN_STORE, WORDS_STORE},
};

/// How long a window of visits is, in the time of the records.
pub const WINDOW: Duration = Duration::from_secs(5);
/// How far apart two records may be to be joined.
pub const DIFFERENCE: Duration = Duration::from_secs(1);
/// How long windows and joins wait for what is late. The inputs are written so evenly that nothing is later than this.
pub const GRACE: Duration = Duration::from_secs(30);
/// What stands for a missing side of a join.
pub const NOTHING: &str = "-";

/// All seven parts.
///
/// # Errors
/// None that these parts give; those of building a topology.
pub fn build(names: &Names) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    word_count(&builder, names);
    windowed_count(&builder, names);
    outer_join(&builder, names);
    foreign_key_join(&builder, names);
    table_join(&builder, names);
    global_table_join(&builder, names);
    deduplication(&builder, names);
    builder.build()
}

/// A count, and beside it the ids of what was counted, behind one repartition topic.
fn word_count(builder: &StreamsBuilder, names: &Names) {
    let words = builder
        .stream::<Option<String>, String>(&names.input(Input::Lines))
        .flat_map(|_, line| {
            let (id, words) = line.split_once(' ').unwrap_or((&line, ""));
            words.split(' ').map(|word| (word.to_owned(), id.to_owned())).collect::<Vec<_>>()
        })
        .group_by_key_with(Grouped::named("words"));
    words
        .count_with(Materialized::named("counts"))
        .to_stream()
        .map_values(|count| count.map(|count| count.to_string()))
        .to(&names.output(Output::Counts));
    words
        .aggregate_with(Materialized::named(WORDS_STORE), Ids::default, |_, id, ids: Ids| ids.with(number(&id)))
        .to_stream()
        .to(&names.output(Output::Words));
}

/// An id; what is none becomes one that no record has, and so a finding.
fn number(id: &str) -> u32 {
    id.parse().unwrap_or(u32::MAX)
}

/// The visits of a window, told once it has closed.
fn windowed_count(builder: &StreamsBuilder, names: &Names) {
    builder
        .stream::<String, String>(&names.input(Input::Visits))
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(WINDOW, GRACE))
        .aggregate_with(Materialized::named("visits"), Ids::default, |_, id, ids: Ids| ids.with(number(&id)))
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("closed"))
        .to_stream()
        .map(|user, ids| (format!("{}@{}", user.key, user.window.start()), ids))
        .to(&names.output(Output::Windows));
}

/// Both sides, or one of them when the other has not come.
fn outer_join(builder: &StreamsBuilder, names: &Names) {
    let side = |input| -> KStream<String, String> { builder.stream(names.input(input)) };
    let windows = JoinWindows::of_time_difference_and_grace(DIFFERENCE, GRACE);
    let joined = StreamJoined::new().with_name("pairs").with_store_name("pairs");
    side(Input::Left)
        .outer_join_stream_with(joined, &side(Input::Right), windows, |_, left, right| {
            let or_nothing = |side: Option<&String>| side.map_or(NOTHING.to_owned(), String::clone);
            format!("{}+{}", or_nothing(left), or_nothing(right))
        })
        .to(&names.output(Output::Joined));
}

/// Orders with their customers; an order is `CUSTOMER|VERSION`.
fn foreign_key_join(builder: &StreamsBuilder, names: &Names) {
    let orders = builder.table_with::<String, String>(Materialized::named("orders"), &names.input(Input::Orders));
    let customers =
        builder.table_with::<String, String>(Materialized::named("customers"), &names.input(Input::Customers));
    orders
        .left_join_by_foreign_key_with(
            (TableJoined::named("bills"), Materialized::named("bills")),
            &customers,
            |_, order| order.split_once('|').map(|(customer, _)| customer.to_owned()),
            |order, customer| format!("{order}|{}", customer.map_or(NOTHING, String::as_str)),
        )
        .to_stream()
        .to(&names.output(Output::Bills));
}

/// Profiles with their addresses. Without caches, each row of either side is joined when it comes, and a pair comes once.
fn table_join(builder: &StreamsBuilder, names: &Names) {
    let side = |input: Input| {
        let store = Materialized::named(input.name()).with_caching_disabled();
        builder.table_with::<String, String>(store, &names.input(input))
    };
    side(Input::Profiles)
        .join(&side(Input::Addresses), |profile, address| format!("{profile}+{address}"))
        .to_stream()
        .to(&names.output(Output::Cards));
}

/// Payments, each with the row of the rate that it names.
fn global_table_join(builder: &StreamsBuilder, names: &Names) {
    let rates = builder.global_table_with::<String, String>(Materialized::named("rates"), &names.input(Input::Rates));
    builder
        .stream::<String, String>(&names.input(Input::Payments))
        .map_values(|rate| (rate.clone(), rate))
        .join_global(&rates, |_, (rate, _)| rate.clone(), |(_, rate), row| format!("{rate}={row}"))
        .to(&names.output(Output::Priced));
}

/// Puts, then forwards: what is lost between the two is lost for ever.
fn deduplication(builder: &StreamsBuilder, names: &Names) {
    let seen = builder.add_state_store(StoreBuilder::<KeyValueStore<String, String>>::persistent(SEEN_STORE));
    builder
        .stream::<String, String>(&names.input(Input::Events))
        .process_with(seen, |seen| Once { seen })
        .to(&names.output(Output::Unique));
}

struct Once {
    seen: StoreHandle<KeyValueStore<String, String>>,
}

impl Processor for Once {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let mut seen = ctx.store(self.seen)?;
        if seen.get(&record.key)?.is_some() {
            return Ok(());
        }
        seen.put(&record.key, Some(record.value.clone()))?;
        ctx.forward(record)
    }
}
