//! Operators on a stream.

use serde_json::Value as Json;
use vltava_streams::{Branched, KStream, KTable};

use super::{Interpreter, Made, Step, named, on_global, on_join, only, options, required, text, texts, unsupported};
use crate::{
    canned::TopicExtractor,
    functions::{self, Boom},
    processors::{Canned, CannedFixed},
    stores::{AnyBuilder, materialized},
    value::{Maybe, Val},
};

type Stream = KStream<Maybe, Maybe>;

impl Interpreter<'_> {
    pub(super) fn on_stream(&mut self, stream: &Stream, step: &Json) -> Step<Made> {
        let name = named(step);
        Ok(Made::Stream(match required(step, "op") {
            "filter" => {
                only(step, "KStream", &["predicate"])?;
                stream.try_filter(name, functions::predicate(required(step, "predicate")))
            }
            "filterNot" => {
                only(step, "KStream", &["predicate"])?;
                stream.try_filter_not(name, functions::predicate(required(step, "predicate")))
            }
            "mapValues" => {
                only(step, "KStream", &["mapper", "withKey"])?;
                let mapper = options::value_mapper(step);
                stream.try_map_values(name, move |key, value| mapper(key, &value))
            }
            "flatMapValues" => {
                only(step, "KStream", &["flat", "withKey"])?;
                let (flat, with_key) = (functions::flat(required(step, "flat")), options::with_key(step));
                stream.try_flat_map_values(
                    name,
                    move |key, value| {
                        if with_key { flat(key, &value) } else { flat(&None, &value) }
                    },
                )
            }
            "map" => {
                only(step, "KStream", &["selector", "mapper"])?;
                let (selector, mapper) = options::pair_mapper(step);
                stream.try_map(name, move |key, value| Ok::<_, Boom>((selector(&key, &value)?, mapper(&key, &value)?)))
            }
            "flatMap" => {
                only(step, "KStream", &["flat", "selector", "mapper"])?;
                let flat = functions::flat(required(step, "flat"));
                let (selector, mapper) = options::pair_mapper(step);
                stream.try_flat_map(name, move |key, value| {
                    let pair = |element| Ok((selector(&key, &element)?, mapper(&key, &element)?));
                    flat(&key, &value)?.into_iter().map(pair).collect::<Result<Vec<_>, Boom>>()
                })
            }
            "selectKey" => {
                only(step, "KStream", &["selector"])?;
                stream.try_select_key(name, functions::key_selector(required(step, "selector")))
            }
            "peek" => {
                only(step, "KStream", &[])?;
                let (observer, id) = (self.observer.clone(), required(step, "id").to_owned());
                stream.try_peek(name, move |key, value| {
                    observer.observe(&id, key, value);
                    Ok::<_, Boom>(())
                })
            }
            "foreach" => {
                only(step, "KStream", &[])?;
                let (observer, id) = (self.observer.clone(), required(step, "id").to_owned());
                stream.try_for_each(name, move |key, value| {
                    observer.observe(&id, &key, &value);
                    Ok::<_, Boom>(())
                });
                return Ok(Made::Nothing);
            }
            "merge" => {
                only(step, "KStream", &["other"])?;
                let Made::Stream(other) = self.made(step, "other") else { panic!("merge with no stream") };
                stream.merge_with(name, &other)
            }
            "split" => return split(stream, step),
            "repartition" => {
                only(step, "KStream", &["partitions", "key", "value", "partitioner"])?;
                stream.repartition_with(options::repartitioned(step))
            }
            "to" => {
                only(step, "KStream", &["topic", "extractor", "key", "value", "partitioner"])?;
                let produced = options::produced(step);
                match text(step, "topic") {
                    Some(topic) => stream.to_with(produced, topic),
                    None => stream.to_dynamic_with(produced, TopicExtractor(required(step, "extractor").to_owned())),
                }
                return Ok(Made::Nothing);
            }
            "toTable" => {
                only(step, "KStream", &["materialized"])?;
                return Ok(Made::Table(stream.to_table_with((name, materialized(step)?))));
            }
            "groupByKey" => {
                only(step, "KStream", &["key", "value"])?;
                return Ok(Made::Grouped(match options::grouped(step) {
                    Some(grouped) => stream.group_by_key_with(grouped),
                    None => stream.group_by_key(),
                }));
            }
            "groupBy" => {
                only(step, "KStream", &["selector", "key", "value"])?;
                let selector = functions::key_selector(required(step, "selector"));
                return Ok(Made::Grouped(stream.try_group_by(options::grouped(step), selector)));
            }
            "process" => {
                only(step, "KStream", &["processor", "stores"])?;
                let (spec, stores) = (step["processor"].clone(), self.connected(step)?);
                let stores: Vec<_> = stores.iter().map(String::as_str).collect();
                stream.process_by_name(name, &stores, move || Canned::new(&spec))
            }
            "processValues" => {
                only(step, "KStream", &["processor", "stores"])?;
                let (spec, stores) = (step["processor"].clone(), self.connected(step)?);
                let stores: Vec<_> = stores.iter().map(String::as_str).collect();
                stream.process_values_by_name(name, &stores, move || CannedFixed::new(&spec))
            }
            op @ ("join" | "leftJoin" | "outerJoin") => match self.made(step, "other") {
                Made::Table(table) => join_table(stream, &table, step)?,
                Made::Stream(other) => on_join::join_stream(stream, &other, step)?,
                Made::Global(table) => on_global::join_global(stream, &table, step)?,
                other => panic!("KStream {op} {other:?}"),
            },
            op => return unsupported(format!("KStream {op}")),
        }))
    }

    /// The names of a processor's stores, those it brings along being added.
    pub(super) fn connected(&mut self, step: &Json) -> Step<Vec<String>> {
        let supplied = self.supplied(&step["processor"])?;
        let dsl = self.dsl();
        supplied.iter().for_each(|store| store.add_to_builder(&dsl));
        let named = texts(step, "stores").into_iter().map(str::to_owned);
        Ok(named.chain(supplied.iter().map(AnyBuilder::name).map(str::to_owned)).collect())
    }
}

fn join_table(stream: &Stream, table: &KTable<Val, Val>, step: &Json) -> Step<Stream> {
    only(step, "KStream", &["other", "joiner", "withKey", "key", "value", "otherValue", "grace"])?;
    let (joiner, joined) = (options::joiner(step), options::joined(step)?);
    Ok(match required(step, "op") {
        "join" => {
            stream.try_join(joined, table, move |key, left, right| joiner(key, &Some(left), &Some(right.clone())))
        }
        "leftJoin" => {
            stream.try_left_join(joined, table, move |key, left, right| joiner(key, &Some(left), &right.cloned()))
        }
        op => panic!("no {op} of a stream with a table"),
    })
}

fn split(stream: &Stream, step: &Json) -> Step<Made> {
    only(step, "KStream", &["branches", "default"])?;
    let mut branched = stream.split_with(named(step));
    for branch in step["branches"].as_array().unwrap() {
        branched = branched.try_branch(options_of(branch), functions::predicate(required(branch, "predicate")));
    }
    Ok(Made::Branches(match step.get("default") {
        Some(branch) => branched.default_branch_with(options_of(branch)),
        None => branched.no_default_branch(),
    }))
}

fn options_of(branch: &Json) -> Branched<Maybe, Maybe> {
    let branched = match text(branch, "as") {
        Some(name) => Branched::named(name),
        None => Branched::default(),
    };
    if let Some(mapper) = text(branch, "mapper") {
        let mapper = functions::mapper(mapper);
        return branched.with_function(|branch| Some(branch.try_map_values((), move |key, value| mapper(key, &value))));
    }
    if let Some(topic) = text(branch, "consumerTo") {
        let topic = topic.to_owned();
        return branched.with_consumer(move |branch: Stream| branch.to_with((), &topic));
    }
    match branch.get("functionReturnsNull").and_then(Json::as_bool) {
        Some(true) => branched.with_function(|_| None),
        _ => branched,
    }
}
