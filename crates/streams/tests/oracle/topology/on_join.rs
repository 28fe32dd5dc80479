//! Joins of two streams.

use serde_json::Value as Json;
use vltava_streams::{JoinWindows, KStream, StreamJoined, dsl::StoreType, state::WindowSupplier};

use super::{Step, only, options, required, text};
use crate::{
    serdes::serde,
    stores::{self, duration},
    value::{Maybe, Val},
};

type Stream = KStream<Maybe, Maybe>;

pub(super) fn join_stream(left: &Stream, right: &Stream, step: &Json) -> Step<Stream> {
    let known = ["other", "joiner", "withKey", "windows", "key", "value", "otherValue"];
    let stores = ["storeName", "storeType", "thisSupplier", "otherSupplier", "logging"];
    only(step, "KStream", &[&known[..], &stores[..]].concat())?;
    let (windows, joined, joiner) = (windows(&step["windows"])?, joined(step)?, options::joiner(step));
    Ok(match required(step, "op") {
        "join" => left
            .try_join_stream(joined, right, windows, move |key, l, r| joiner(key, &Some(l.clone()), &Some(r.clone()))),
        "leftJoin" => left
            .try_left_join_stream(joined, right, windows, move |key, l, r| joiner(key, &Some(l.clone()), &r.cloned())),
        _ => left.try_outer_join_stream(joined, right, windows, move |key, l, r| joiner(key, &l.cloned(), &r.cloned())),
    })
}

fn windows(spec: &Json) -> Step<JoinWindows> {
    let legacy = spec.get("legacy").and_then(Json::as_bool).unwrap_or(false);
    let (difference, grace) = (duration(&spec["difference"])?, spec.get("grace").map(duration).transpose()?);
    let mut windows = match (legacy, grace) {
        (true, None) => JoinWindows::of_time_difference_eager(difference),
        (true, Some(grace)) => JoinWindows::of_time_difference_eager(difference).grace(grace),
        (false, Some(grace)) => JoinWindows::of_time_difference_and_grace(difference, grace),
        (false, None) => JoinWindows::of_time_difference_with_no_grace(difference),
    };
    if let Some(before) = spec.get("before").and_then(Json::as_i64) {
        windows = windows.with_before_ms(before);
    }
    if let Some(after) = spec.get("after").and_then(Json::as_i64) {
        windows = windows.with_after_ms(after);
    }
    Ok(windows)
}

fn joined(step: &Json) -> Step<StreamJoined<Val, Val, Val>> {
    let mut joined = StreamJoined::new();
    if let Some(serde) = serde(step, "key") {
        joined = joined.with_key_serde(serde);
    }
    if let Some(serde) = serde(step, "value") {
        joined = joined.with_value_serde(serde);
    }
    if let Some(serde) = serde(step, "otherValue") {
        joined = joined.with_other_value_serde(serde);
    }
    match text(step, "storeType") {
        Some("rocksdb") => joined = joined.with_store_type(StoreType::Persistent),
        Some("in_memory") => joined = joined.with_store_type(StoreType::InMemory),
        Some(other) => panic!("unknown store type {other}"),
        None => {}
    }
    if let Some(supplier) = supplier(step, "thisSupplier")? {
        joined = joined.with_this_store_supplier(supplier);
    }
    if let Some(supplier) = supplier(step, "otherSupplier")? {
        joined = joined.with_other_store_supplier(supplier);
    }
    if let Some(name) = text(step, "name") {
        joined = joined.with_name(name);
    }
    if let Some(name) = text(step, "storeName") {
        joined = joined.with_store_name(name);
    }
    Ok(match step.get("logging").map(stores::logging) {
        Some(Some(config)) => joined.with_logging_enabled(config),
        Some(None) => joined.with_logging_disabled(),
        None => joined,
    })
}

fn supplier(step: &Json, field: &str) -> Step<Option<WindowSupplier>> {
    match step.get(field) {
        Some(spec) => stores::window_supplier(required(spec, "supplier"), required(spec, "store")).map(Some),
        None => Ok(None),
    }
}
