//! What the longer forms of an operator take: nothing, one object, or several as a tuple.

#![allow(clippy::unwrap_used, reason = "a broken test fails loudly")]

use vltava_streams::{
    Consumed, Context, KGroupedStream, KStream, KTable, KeyValueStore, Materialized, Named, Processor, Record, Result,
    StoreBuilder, StoreRef, StreamsBuilder,
    dsl::{TransformerContext, ValueTransformerWithKey},
};

/// The topology that `describe` adds to a builder.
fn described<T>(describe: impl Fn(&StreamsBuilder) -> T) -> String {
    let builder = StreamsBuilder::new();
    describe(&builder);
    builder.build().unwrap().describe().to_string()
}

/// Which of some names a topology has.
fn named<'a, T>(wanted: &[&'a str], describe: impl Fn(&StreamsBuilder) -> T) -> Vec<&'a str> {
    let described = described(describe);
    wanted.iter().copied().filter(|name| described.contains(name)).collect()
}

fn words(builder: &StreamsBuilder) -> KStream<String, String> {
    builder.stream("words")
}

#[test]
fn nothing_chosen_is_the_plain_form() {
    let pairs = [
        [
            described(|b| words(b).filter(|_, word| word.len() > 1).group_by_key().count()),
            described(|b| words(b).filter_with((), |_, word| word.len() > 1).group_by_key_with(()).count_with(())),
        ],
        [
            described(|b| words(b).map_values(|word| word.len() as i64).to("lengths")),
            described(|b| words(b).map_values_with((), |_, word| word.len() as i64).to_with((), "lengths")),
        ],
        [
            described(|b| b.table::<String, String>("words").map_values(|word| word.len() as i64)),
            described(|b| b.table_with::<String, String>((), "words").map_values_with((), |_, w| w.len() as i64)),
        ],
        [
            described(|b| words(b).process(|| Pass).repartition()),
            described(|b| words(b).process_with((), |()| Pass).repartition_with(())),
        ],
    ];
    for [plain, longer] in pairs {
        assert_eq!(plain, longer);
    }
}

#[test]
fn a_table_is_named_and_materialized() {
    fn count(count: fn(KGroupedStream<String, String>) -> KTable<String, i64>) -> Vec<&'static str> {
        named(&["counting", "counts"], |builder| count(words(builder).group_by_key()))
    }
    assert_eq!(count(|words| words.count_with(Named::new("counting"))), ["counting"]);
    assert_eq!(count(|words| words.count_with(Materialized::named("counts"))), ["counts"]);
    let both = count(|words| words.count_with((Named::new("counting"), Materialized::named("counts"))));
    assert_eq!(both, ["counting", "counts"]);
}

#[test]
fn the_source_of_a_table_is_consumed_and_materialized() {
    fn table(table: fn(&StreamsBuilder) -> KTable<String, String>) -> Vec<&'static str> {
        named(&["read-source", "rows"], table)
    }
    assert_eq!(table(|b| b.table_with(Consumed::named("read"), "words")), ["read-source"]);
    assert_eq!(table(|b| b.table_with(Materialized::named("rows"), "words")), ["rows"]);
    let both = table(|b| b.table_with((Consumed::named("read"), Materialized::named("rows")), "words"));
    assert_eq!(both, ["read-source", "rows"]);
}

#[test]
fn a_stream_reads_one_topic_or_several() {
    fn topics(stream: fn(&StreamsBuilder) -> KStream<String, String>) -> Vec<&'static str> {
        named(&["[a]", "[a, b]"], stream)
    }
    assert_eq!(topics(|b| b.stream("a")), ["[a]"]);
    assert_eq!(topics(|b| b.stream(["a", "b"])), ["[a, b]"]);
    assert_eq!(topics(|b| b.stream(vec!["a".to_owned(), "b".to_owned()])), ["[a, b]"]);
}

type Lengths = KeyValueStore<String, i64>;

fn lengths(builder: &StreamsBuilder) -> StoreRef<Lengths> {
    builder.add_state_store(StoreBuilder::<Lengths>::in_memory("lengths"))
}

struct Pass;

impl Processor for Pass {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.forward(record)
    }
}

impl ValueTransformerWithKey<String, String> for Pass {
    type Out = String;

    fn transform(&mut self, _: &String, new: Option<String>, _: &mut TransformerContext<'_>) -> Result<Option<String>> {
        Ok(new)
    }
}

#[test]
fn a_processor_has_stores_and_a_name() {
    fn processor(process: fn(&StreamsBuilder) -> KStream<String, String>) -> Vec<&'static str> {
        named(&["passing", "lengths"], process)
    }
    assert_eq!(processor(|b| words(b).process_with(lengths(b), |_| Pass)), ["lengths"]);
    assert_eq!(processor(|b| words(b).process_with(Named::new("passing"), |()| Pass)), ["passing"]);
    let both = processor(|b| words(b).process_with((Named::new("passing"), lengths(b)), |_| Pass));
    assert_eq!(both, ["passing", "lengths"]);
}

#[test]
fn a_transformer_has_stores_a_name_and_a_store_for_its_table() {
    type Words = KTable<String, String>;
    fn transformed(transform: fn(&StreamsBuilder, Words) -> Words) -> Vec<&'static str> {
        named(&["passing", "lengths", "rows"], |builder| transform(builder, builder.table("words")))
    }
    assert_eq!(transformed(|b, words| words.transform_values_with(lengths(b), |_| Pass)), ["lengths"]);
    assert_eq!(transformed(|_, words| words.transform_values_with(Named::new("passing"), |()| Pass)), ["passing"]);
    assert_eq!(transformed(|_, words| words.transform_values_with(Materialized::named("rows"), |()| Pass)), ["rows"]);
    let stores =
        transformed(|b, words| words.transform_values_with((lengths(b), Materialized::named("rows")), |_| Pass));
    assert_eq!(stores, ["lengths", "rows"]);
    let name = transformed(|_, words| {
        words.transform_values_with((Named::new("passing"), Materialized::named("rows")), |()| Pass)
    });
    assert_eq!(name, ["passing", "rows"]);
    let all = transformed(|b, words| {
        words.transform_values_with((Named::new("passing"), lengths(b), Materialized::named("rows")), |_| Pass)
    });
    assert_eq!(all, ["passing", "lengths", "rows"]);
}
