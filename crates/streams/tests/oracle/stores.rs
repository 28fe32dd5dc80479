//! Stores: as steps describe them, the command language over them, and their content as JSON.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value as Json, json};
use vltava_streams::{
    AggregationWithHeaders, KeyValueStore, Materialized, Result, SessionStore, SessionStoreWithHeaders, StoreBuilder,
    TimestampedKeyValueStore, TimestampedKeyValueStoreWithHeaders, TimestampedWindowStore,
    TimestampedWindowStoreWithHeaders, TopologyTestDriver, ValueAndTimestamp, ValueTimestampHeaders,
    VersionedKeyValueStore, VersionedPut, VersionedRecord, WindowStore,
    dsl::{KeyValueStores, SessionStores, StoreFamily, StoreType, WindowStores},
    record::Headers,
    state::{KeyValueSupplier, SessionSupplier, WindowSupplier},
    store::StoreAccess,
};

mod timed;

use super::{
    payload, serdes,
    topology::{Step, Stop},
    value::{Maybe, Val, text},
};

type Plain = KeyValueStore<Val, Val>;
type Timestamped = TimestampedKeyValueStore<Val, Val>;
type Windows = WindowStore<Val, Val>;
type TimestampedWindows = TimestampedWindowStore<Val, Val>;
type Sessions = SessionStore<Val, Val>;
type Versions = VersionedKeyValueStore<Val, Val>;
type Headed = TimestampedKeyValueStoreWithHeaders<Val, Val>;
type HeadedWindows = TimestampedWindowStoreWithHeaders<Val, Val>;
type HeadedSessions = SessionStoreWithHeaders<Val, Val>;

// ---- stores as steps describe them -------------------------------------------------------------

/// The engine of a supplier's specification, for a store of this name.
pub fn key_value_supplier(spec: &str, name: &str) -> Step<KeyValueSupplier> {
    match spec.split(':').next().unwrap() {
        "persistent" => Ok(KeyValueSupplier::persistent(name)),
        "persistent_timestamped" => Ok(KeyValueSupplier::persistent_timestamped(name)),
        "persistent_timestamped_with_headers" => Ok(KeyValueSupplier::persistent_timestamped_with_headers(name)),
        "lru" => {
            let max = spec.split(':').nth(1).unwrap().parse::<i64>().unwrap();
            let max = usize::try_from(max).map_err(|_| Stop::Unsayable("a negative number of entries"))?;
            Ok(KeyValueSupplier::lru_map(name, max))
        }
        "versioned" => {
            let ms = |at: usize| spec.split(':').nth(at).map(|ms| duration(&json!(ms.parse::<i64>().unwrap())));
            let history = ms(1).unwrap()?;
            Ok(match ms(2) {
                Some(segment) => KeyValueSupplier::persistent_versioned_in_segments(name, history, segment?),
                None => KeyValueSupplier::persistent_versioned(name, history),
            })
        }
        "in_memory" => Ok(KeyValueSupplier::in_memory(name)),
        other => Err(Stop::Unsupported(format!("supplier {other}"))),
    }
}

/// The engine of a window supplier's specification, for a store of this name.
pub fn window_supplier(spec: &str, name: &str) -> Step<WindowSupplier> {
    let words: Vec<_> = spec.split(':').collect();
    let ms = |at: usize| duration(&json!(words[at].parse::<i64>().unwrap()));
    let make: fn(String, Duration, Duration, bool) -> Result<WindowSupplier> = match words[0] {
        "persistent_window" => WindowSupplier::persistent,
        "persistent_timestamped_window" => WindowSupplier::persistent_timestamped,
        "persistent_timestamped_window_with_headers" => WindowSupplier::persistent_timestamped_with_headers,
        "in_memory_window" => WindowSupplier::in_memory,
        other => return Err(Stop::Unsupported(format!("supplier {other}"))),
    };
    Ok(make(name.to_owned(), ms(1)?, ms(2)?, words.get(3).is_some())?)
}

/// The engine of a session supplier's specification, for a store of this name.
pub fn session_supplier(spec: &str, name: &str) -> Step<SessionSupplier> {
    let (kind, retention) = spec.split_once(':').unwrap();
    let retention = duration(&json!(retention.parse::<i64>().unwrap()))?;
    match kind {
        "persistent_session" => Ok(SessionSupplier::persistent(name, retention)),
        "persistent_session_with_headers" => Ok(SessionSupplier::persistent_with_headers(name, retention)),
        "in_memory_session" => Ok(SessionSupplier::in_memory(name, retention)),
        other => Err(Stop::Unsupported(format!("supplier {other}"))),
    }
}

/// Changelog settings: `None` for no changelog.
pub fn logging(spec: &Json) -> Option<BTreeMap<String, String>> {
    match spec {
        Json::Bool(on) => on.then(BTreeMap::new),
        Json::Object(map) => {
            Some(map.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect())
        }
        _ => panic!("not a logging option: {spec}"),
    }
}

/// A family of stores whose suppliers a `materialized` object may name.
pub trait Family: StoreFamily {
    fn supplier(spec: &str, name: &str) -> Step<Self::Supplier>;
}
impl Family for KeyValueStores {
    fn supplier(spec: &str, name: &str) -> Step<KeyValueSupplier> {
        key_value_supplier(spec, name)
    }
}
impl Family for WindowStores {
    fn supplier(spec: &str, name: &str) -> Step<WindowSupplier> {
        window_supplier(spec, name)
    }
}
impl Family for SessionStores {
    fn supplier(spec: &str, name: &str) -> Step<SessionSupplier> {
        session_supplier(spec, name)
    }
}

/// The step's `materialized` object, if it has one.
pub fn materialized<S: Family>(step: &Json) -> Step<Option<Materialized<Val, Val, S>>> {
    let Some(spec) = step.get("materialized") else { return Ok(None) };
    let name = spec.get("store").and_then(Json::as_str);
    let mut m = match (spec.get("supplier").and_then(Json::as_str), name) {
        (Some(supplier), Some(name)) => Materialized::supplied(S::supplier(supplier, name)?),
        (None, Some(name)) => Materialized::named(name),
        _ => Materialized::new(),
    };
    match spec.get("storeType").and_then(Json::as_str) {
        Some("rocksdb") => m = m.with_store_type(StoreType::Persistent),
        Some("in_memory") => m = m.with_store_type(StoreType::InMemory),
        Some(other) => panic!("unknown store type {other}"),
        None => {}
    }
    if let Some(serde) = serdes::serde(spec, "key") {
        m = m.with_key_serde(serde);
    }
    if let Some(serde) = serdes::serde(spec, "value") {
        m = m.with_value_serde(serde);
    }
    if let Some(spec) = spec.get("logging") {
        m = match logging(spec) {
            Some(config) => m.with_logging_enabled(config),
            None => m.with_logging_disabled(),
        };
    }
    match spec.get("caching").and_then(Json::as_bool) {
        Some(true) => m = m.with_caching_enabled(),
        Some(false) => m = m.with_caching_disabled(),
        None => {}
    }
    if let Some(ms) = spec.get("retention") {
        m = m.with_retention(duration(ms)?);
    }
    Ok(Some(m))
}

/// A number of milliseconds; a negative one cannot be said in Rust.
pub fn duration(ms: &Json) -> Step<Duration> {
    let ms = ms.as_i64().unwrap();
    u64::try_from(ms).map(Duration::from_millis).map_err(|_| Stop::Unsayable("a negative Duration"))
}

/// A store builder of a case.
#[derive(Clone, Debug)]
pub enum AnyBuilder {
    Plain(StoreBuilder<Plain>),
    Timestamped(StoreBuilder<Timestamped>),
    Window(StoreBuilder<Windows>),
    TimestampedWindow(StoreBuilder<TimestampedWindows>),
    Session(StoreBuilder<Sessions>),
    Headed(StoreBuilder<Headed>),
    HeadedWindow(StoreBuilder<HeadedWindows>),
    HeadedSession(StoreBuilder<HeadedSessions>),
    Versioned(StoreBuilder<Versions>),
}

/// Does the same with a builder of any kind.
#[macro_export]
macro_rules! each_builder {
    ($any:expr, $builder:ident => $do:expr) => {
        match $any {
            $crate::stores::AnyBuilder::Plain($builder) => $do,
            $crate::stores::AnyBuilder::Timestamped($builder) => $do,
            $crate::stores::AnyBuilder::Window($builder) => $do,
            $crate::stores::AnyBuilder::TimestampedWindow($builder) => $do,
            $crate::stores::AnyBuilder::Session($builder) => $do,
            $crate::stores::AnyBuilder::Headed($builder) => $do,
            $crate::stores::AnyBuilder::HeadedWindow($builder) => $do,
            $crate::stores::AnyBuilder::HeadedSession($builder) => $do,
            $crate::stores::AnyBuilder::Versioned($builder) => $do,
        }
    };
}

impl AnyBuilder {
    pub fn of(spec: &Json) -> Step<Self> {
        let field = |name: &str| spec[name].as_str().unwrap();
        let (key, value) = (
            serdes::serde(spec, "key").unwrap_or_else(serdes::null),
            serdes::serde(spec, "value").unwrap_or_else(serdes::null),
        );
        let supplier = || key_value_supplier(field("supplier"), field("name"));
        let windows = || window_supplier(field("supplier"), field("name"));
        Ok(match field("kind") {
            "key_value" => AnyBuilder::Plain(with_options(StoreBuilder::key_value_with(supplier()?, key, value), spec)),
            "timestamped_key_value" => AnyBuilder::Timestamped(with_options(
                StoreBuilder::timestamped_key_value_with(supplier()?, key, value),
                spec,
            )),
            "window" => AnyBuilder::Window(with_options(StoreBuilder::window_with(windows()?, key, value), spec)),
            "timestamped_window" => AnyBuilder::TimestampedWindow(with_options(
                StoreBuilder::timestamped_window_with(windows()?, key, value),
                spec,
            )),
            "session" => {
                let supplier = session_supplier(field("supplier"), field("name"))?;
                AnyBuilder::Session(with_options(StoreBuilder::session_with(supplier, key, value), spec))
            }
            "timestamped_key_value_with_headers" => AnyBuilder::Headed(with_options(
                StoreBuilder::timestamped_key_value_with_headers_with(supplier()?, key, value),
                spec,
            )),
            "timestamped_window_with_headers" => AnyBuilder::HeadedWindow(with_options(
                StoreBuilder::timestamped_window_with_headers_with(windows()?, key, value),
                spec,
            )),
            "session_with_headers" => {
                let supplier = session_supplier(field("supplier"), field("name"))?;
                AnyBuilder::HeadedSession(with_options(
                    StoreBuilder::session_with_headers_with(supplier, key, value),
                    spec,
                ))
            }
            "versioned" => {
                AnyBuilder::Versioned(with_options(StoreBuilder::versioned_with(supplier()?, key, value), spec))
            }
            other => return Err(Stop::Unsupported(format!("store kind {other}"))),
        })
    }

    pub fn name(&self) -> &str {
        each_builder!(self, builder => builder.name())
    }

    pub fn add_to_builder(&self, dsl: &vltava_streams::StreamsBuilder) {
        each_builder!(self, builder => drop(dsl.add_state_store(builder.clone())));
    }

    pub fn add_to_topology(&self, topology: &mut vltava_streams::Topology, processors: &[&str]) -> Result<()> {
        each_builder!(self, builder => topology.add_store(builder, processors).map(drop))
    }
}

fn with_options<S>(mut builder: StoreBuilder<S>, spec: &Json) -> StoreBuilder<S> {
    if let Some(spec) = spec.get("logging") {
        builder = match logging(spec) {
            Some(config) => builder.with_logging_enabled(config),
            None => builder.with_logging_disabled(),
        };
    }
    match spec.get("caching").and_then(Json::as_bool) {
        Some(true) => builder.with_caching_enabled(),
        Some(false) => builder.with_caching_disabled(),
        None => builder,
    }
}

// ---- a store at work ---------------------------------------------------------------------------

/// A store that was looked up by its name alone.
pub enum AnyStore<'a, 'b> {
    Plain(&'a mut StoreAccess<'b, Plain>),
    Timestamped(&'a mut StoreAccess<'b, Timestamped>),
    Window(&'a mut StoreAccess<'b, Windows>),
    TimestampedWindow(&'a mut StoreAccess<'b, TimestampedWindows>),
    Session(&'a mut StoreAccess<'b, Sessions>),
    Headed(&'a mut StoreAccess<'b, Headed>),
    HeadedWindow(&'a mut StoreAccess<'b, HeadedWindows>),
    HeadedSession(&'a mut StoreAccess<'b, HeadedSessions>),
    Versioned(&'a mut StoreAccess<'b, Versions>),
}

/// What holds stores: a processor's context, or the test driver.
pub trait Stores {
    fn with_store<R>(&mut self, name: &str, f: impl FnOnce(AnyStore<'_, '_>) -> Result<R>) -> Result<R>;
}

impl Stores for &TopologyTestDriver {
    fn with_store<R>(&mut self, name: &str, f: impl FnOnce(AnyStore<'_, '_>) -> Result<R>) -> Result<R> {
        // The driver answers a wrong type with an error before it calls the function.
        let mut f = Some(f);
        macro_rules! try_as {
            ($($store:ty => $kind:ident),*) => {$(
                let done = self.store::<$store, _>(name, |store| f.take().unwrap()(AnyStore::$kind(store)));
                if f.is_none() {
                    return done;
                }
            )*};
        }
        try_as!(Plain => Plain, Timestamped => Timestamped, Windows => Window, TimestampedWindows => TimestampedWindow);
        try_as!(Headed => Headed, HeadedWindows => HeadedWindow, HeadedSessions => HeadedSession);
        try_as!(Versions => Versioned);
        self.store::<Sessions, _>(name, |store| f.take().unwrap()(AnyStore::Session(store)))
    }
}

/// Looks a store up in a context that knows `state_store`.
#[macro_export]
macro_rules! context_stores {
    ($context:ty) => {
        impl $crate::stores::Stores for $context {
            fn with_store<R>(
                &mut self,
                name: &str,
                f: impl FnOnce($crate::stores::AnyStore<'_, '_>) -> vltava_streams::Result<R>,
            ) -> vltava_streams::Result<R> {
                use vltava_streams as lib;
                use $crate::{stores::AnyStore, value::Val};
                if let Ok(mut store) = self.state_store::<lib::KeyValueStore<Val, Val>>(name) {
                    return f(AnyStore::Plain(&mut store));
                }
                if let Ok(mut store) = self.state_store::<lib::WindowStore<Val, Val>>(name) {
                    return f(AnyStore::Window(&mut store));
                }
                if let Ok(mut store) = self.state_store::<lib::TimestampedWindowStore<Val, Val>>(name) {
                    return f(AnyStore::TimestampedWindow(&mut store));
                }
                if let Ok(mut store) = self.state_store::<lib::SessionStore<Val, Val>>(name) {
                    return f(AnyStore::Session(&mut store));
                }
                if let Ok(mut store) = self.state_store::<lib::TimestampedKeyValueStoreWithHeaders<Val, Val>>(name) {
                    return f(AnyStore::Headed(&mut store));
                }
                if let Ok(mut store) = self.state_store::<lib::TimestampedWindowStoreWithHeaders<Val, Val>>(name) {
                    return f(AnyStore::HeadedWindow(&mut store));
                }
                if let Ok(mut store) = self.state_store::<lib::SessionStoreWithHeaders<Val, Val>>(name) {
                    return f(AnyStore::HeadedSession(&mut store));
                }
                if let Ok(mut store) = self.state_store::<lib::VersionedKeyValueStore<Val, Val>>(name) {
                    return f(AnyStore::Versioned(&mut store));
                }
                let mut store = self.state_store::<lib::TimestampedKeyValueStore<Val, Val>>(name)?;
                f(AnyStore::Timestamped(&mut store))
            }
        }
    };
}

impl AnyStore<'_, '_> {
    /// The value of a key, without its timestamp.
    pub fn value(&mut self, key: &Val) -> Result<Maybe> {
        match self {
            AnyStore::Plain(store) => store.get(key),
            AnyStore::Timestamped(store) => Ok(store.get(key)?.map(|row| row.value)),
            AnyStore::Headed(store) => Ok(store.get(key)?.map(|row| row.value)),
            AnyStore::Versioned(store) => Ok(store.get(key)?.map(|version| version.value)),
            _ => panic!("not a key-value store"),
        }
    }

    pub fn put(&mut self, key: &Val, value: Maybe, timestamp: i64, headers: &Headers) -> Result<()> {
        match self {
            AnyStore::Plain(store) => store.put(key, value),
            AnyStore::Timestamped(store) => store.put(key, value.map(|value| ValueAndTimestamp::new(value, timestamp))),
            AnyStore::Versioned(store) => store.put(key, value, timestamp).map(drop),
            AnyStore::Headed(store) => {
                store.put(key, value.map(|value| ValueTimestampHeaders::new(value, timestamp, headers.clone())))
            }
            _ => panic!("not a key-value store"),
        }
    }

    pub fn delete(&mut self, key: &Val) -> Result<()> {
        match self {
            AnyStore::Plain(store) => store.delete(key).map(drop),
            AnyStore::Timestamped(store) => store.delete(key).map(drop),
            AnyStore::Headed(store) => store.delete(key).map(drop),
            _ => panic!("not a key-value store"),
        }
    }

    /// Every entry of a key-value store, without timestamps.
    pub fn entries(&mut self) -> Result<Vec<(Val, Val)>> {
        match self {
            AnyStore::Plain(store) => store.all(),
            AnyStore::Timestamped(store) => Ok(store.all()?.into_iter().map(|(key, row)| (key, row.value)).collect()),
            AnyStore::Headed(store) => Ok(store.all()?.into_iter().map(|(key, row)| (key, row.value)).collect()),
            _ => panic!("not a key-value store"),
        }
    }

    /// Runs a command line; `timestamp` and `headers` are what writes use that name none.
    pub fn run(&mut self, command: &str, timestamp: i64, headers: &Headers) -> Result<String> {
        let words: Vec<_> = command.split(' ').collect();
        let result = match self {
            AnyStore::Plain(store) => key_value(store, &words, |value, _| value)?,
            AnyStore::Timestamped(store) => {
                key_value(store, &words, |value, ts| ValueAndTimestamp::new(value, ts.unwrap_or(timestamp)))?
            }
            AnyStore::Window(store) => timed::window(store, &words, |value, _| value)?,
            AnyStore::TimestampedWindow(store) => {
                timed::window(store, &words, |value, ts| ValueAndTimestamp::new(value, ts.unwrap_or(timestamp)))?
            }
            AnyStore::Versioned(store) => versioned(store, &words, timestamp)?,
            AnyStore::Session(store) => timed::session(store, &words, |value| value)?,
            AnyStore::Headed(store) => key_value(store, &words, |value, ts| {
                ValueTimestampHeaders::new(value, ts.unwrap_or(timestamp), headers.clone())
            })?,
            AnyStore::HeadedWindow(store) => timed::window(store, &words, |value, ts| {
                ValueTimestampHeaders::new(value, ts.unwrap_or(timestamp), headers.clone())
            })?,
            AnyStore::HeadedSession(store) => {
                timed::session(store, &words, |value| AggregationWithHeaders::new(value, headers.clone()))?
            }
        };
        let bare = match self {
            AnyStore::Timestamped(store) => store.has_headers_format(),
            AnyStore::TimestampedWindow(store) => store.has_headers_format(),
            AnyStore::Session(store) => store.has_headers_format(),
            _ => false,
        };
        let result = if bare { with_no_headers(&result) } else { result };
        Ok(format!("{command} -> {result}"))
    }

    /// The content, as the expectation of a case shows it.
    pub fn dump(&mut self) -> Result<Json> {
        // A store that the DSL made in the format with headers shows as one: without any.
        let bare = || Some(Headers::new());
        Ok(match self {
            AnyStore::Plain(store) => {
                let entries = store.all()?.into_iter().map(|(key, value)| json!([typed(key), typed(value)]));
                json!({ "kind": "keyValue", "entries": entries.collect::<Vec<_>>() })
            }
            AnyStore::Timestamped(store) => {
                let headers = store.has_headers_format().then(bare).flatten();
                let entry = |(key, row): (Val, ValueAndTimestamp<Val>)| {
                    (vec![typed(key), typed(row.value), json!(row.timestamp)], headers.clone())
                };
                shown("timestampedKeyValue", headers.is_some(), store.all()?.into_iter().map(entry))
            }
            AnyStore::Headed(store) => {
                let entry = |(key, row): (Val, ValueTimestampHeaders<Val>)| {
                    (vec![typed(key), typed(row.value), json!(row.timestamp)], Some(row.headers))
                };
                shown("timestampedKeyValue", true, store.all()?.into_iter().map(entry))
            }
            AnyStore::Window(store) => {
                let entry = |(key, value)| (timed::entry(key, [typed(value)]), None);
                shown("window", false, store.all()?.into_iter().map(entry))
            }
            AnyStore::TimestampedWindow(store) => {
                let headers = store.has_headers_format().then(bare).flatten();
                let entry = |(key, row): (_, ValueAndTimestamp<Val>)| {
                    (timed::entry(key, [typed(row.value), json!(row.timestamp)]), headers.clone())
                };
                shown("timestampedWindow", headers.is_some(), store.all()?.into_iter().map(entry))
            }
            // The DSL's stores of joins forget what comes with the value, unless the format is that with headers.
            AnyStore::HeadedWindow(store) if store.is_of_join() && !store.has_headers_format() => {
                let entry = |(key, row): (_, ValueTimestampHeaders<Val>)| (timed::entry(key, [typed(row.value)]), None);
                shown("window", false, store.all()?.into_iter().map(entry))
            }
            AnyStore::HeadedWindow(store) => {
                let entry = |(key, row): (_, ValueTimestampHeaders<Val>)| {
                    (timed::entry(key, [typed(row.value), json!(row.timestamp)]), Some(row.headers))
                };
                shown("timestampedWindow", true, store.all()?.into_iter().map(entry))
            }
            AnyStore::Session(store) => {
                let headers = store.has_headers_format().then(bare).flatten();
                let entry = |(key, value)| (timed::entry(key, [typed(value)]), headers.clone());
                shown("session", headers.is_some(), store.fetch_keys(None, None)?.into_iter().map(entry))
            }
            AnyStore::Versioned(store) => {
                let mut keys: Vec<(Json, Vec<Json>)> = Vec::new();
                for (key, version) in store.all_versions()? {
                    let (key, version) =
                        (typed(key), json!([raw(&version.value), version.timestamp, version.valid_to]));
                    match keys.last_mut().filter(|(last, _)| *last == key) {
                        Some((_, versions)) => versions.push(version),
                        None => keys.push((key, vec![version])),
                    }
                }
                json!({ "kind": "versioned", "entries": keys })
            }
            AnyStore::HeadedSession(store) => {
                let entry = |(key, row): (_, AggregationWithHeaders<Val>)| {
                    (timed::entry(key, [typed(row.aggregation)]), Some(row.headers))
                };
                shown("session", true, store.fetch_keys(None, None)?.into_iter().map(entry))
            }
        })
    }
}

fn shown(kind: &str, with_headers: bool, entries: impl Iterator<Item = (Vec<Json>, Option<Headers>)>) -> Json {
    let entry = |(mut entry, headers): (Vec<Json>, Option<Headers>)| {
        entry.extend(headers.map(|headers| {
            let pairs = headers.iter().map(|h| (h.key.clone(), h.value.as_ref().map(|value| value.to_vec())));
            payload::headers_json(&pairs.collect())
        }));
        json!(entry)
    };
    let kind = format!("{kind}{}", if with_headers { "WithHeaders" } else { "" });
    json!({ "kind": kind, "entries": entries.map(entry).collect::<Vec<_>>() })
}

/// Values of a store that keeps headers, of which these have none.
fn with_no_headers(result: &str) -> String {
    let part = |part: &str| match part {
        "" | "ok" | "null" => part.to_owned(),
        value => format!("{value}{{}}"),
    };
    result.split(';').map(part).collect::<Vec<_>>().join(";")
}

/// A value's bytes as payloads show them: the JVM's driver reads versions without their type.
fn raw(value: &Val) -> Json {
    match value {
        Val::Text(text) => payload::json(Some(text.as_bytes())),
        Val::Long(number) => payload::json(Some(&number.to_be_bytes())),
        Val::Int(number) => payload::json(Some(&number.to_be_bytes())),
        Val::Double(number) => payload::json(Some(&number.to_be_bytes())),
        Val::Bytes(bytes) => payload::json(Some(bytes)),
        Val::Windowed { .. } => typed(value.clone()),
    }
}

fn typed(value: Val) -> Json {
    Val::typed(&Some(value))
}

// ---- commands ----------------------------------------------------------------------------------

/// How a stored value shows.
trait Show {
    fn show(&self) -> String;
}
impl Show for Val {
    fn show(&self) -> String {
        text(&Some(self.clone()))
    }
}
impl Show for ValueAndTimestamp<Val> {
    fn show(&self) -> String {
        format!("{}@{}", self.value.show(), self.timestamp)
    }
}

impl Show for ValueTimestampHeaders<Val> {
    fn show(&self) -> String {
        format!("{}@{}{}", self.value.show(), self.timestamp, show_headers(&self.headers))
    }
}
impl Show for AggregationWithHeaders<Val> {
    fn show(&self) -> String {
        format!("{}{}", self.aggregation.show(), show_headers(&self.headers))
    }
}

fn show<V: Show>(value: Option<V>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.show())
}

fn list<V: Show>(entries: Vec<(Val, V)>) -> String {
    let parts: Vec<_> = entries.iter().map(|(key, value)| format!("{}={}", key.show(), value.show())).collect();
    parts.join(";")
}

fn argument(word: &str) -> Maybe {
    if word == "-" {
        return None;
    }
    if let Some(number) = word.strip_prefix("long:") {
        return Some(Val::Long(number.parse().unwrap()));
    }
    if let Some(number) = word.strip_prefix("int:") {
        return Some(Val::Int(number.parse().unwrap()));
    }
    Val::text(word)
}

fn key_value<V: vltava_streams::Flow + Show>(
    store: &mut StoreAccess<'_, KeyValueStore<Val, V>>,
    words: &[&str],
    wrap: impl Fn(Val, Option<i64>) -> V,
) -> Result<String> {
    let key = |at: usize| argument(words[at]).expect("a key is not null");
    let bound = |at: usize| argument(words[at]);
    let value = |at: usize, ts: Option<i64>| argument(words[at]).map(|value| wrap(value, ts));
    let ts = words.get(3).and_then(|word| word.parse().ok());
    Ok(match words[0] {
        "put" => {
            store.put(&key(1), value(2, ts))?;
            "ok".to_owned()
        }
        "putIfAbsent" => show(store.put_if_absent(&key(1), value(2, ts))?),
        "putAll" => {
            let pairs = (1..words.len() - 1).step_by(2);
            store.put_all(pairs.map(|at| (key(at), value(at + 1, None))).collect::<Vec<_>>())?;
            "ok".to_owned()
        }
        "delete" => show(store.delete(&key(1))?),
        "get" => show(store.get(&key(1))?),
        "range" => list(store.range(bound(1).as_ref(), bound(2).as_ref())?),
        "reverseRange" => list(store.reverse_range(bound(1).as_ref(), bound(2).as_ref())?),
        "all" => list(store.all()?),
        "reverseAll" => list(store.reverse_all()?),
        "prefixScan" => list(store.prefix_scan(words[1].as_bytes())?),
        other => panic!("unknown key-value store command {other}"),
    })
}

fn versioned(store: &mut StoreAccess<'_, Versions>, words: &[&str], timestamp: i64) -> Result<String> {
    let key = argument(words[1]).expect("a key is not null");
    let time = |at: usize| words.get(at).map(|word| word.parse::<i64>().unwrap());
    // The JVM's typed store keeps to itself until when a version is valid.
    let shown = |version: Option<VersionedRecord<Val>>| {
        version.map_or_else(|| "null".to_owned(), |version| format!("{}@{}", version.value.show(), version.timestamp))
    };
    Ok(match words[0] {
        "put" => match store.put(&key, argument(words[2]), time(3).unwrap_or(timestamp))? {
            VersionedPut::Latest => "-1".to_owned(),
            VersionedPut::ValidTo(time) => time.to_string(),
            VersionedPut::NotPut => i64::MIN.to_string(),
        },
        "delete" => shown(store.delete(&key, time(2).unwrap())?),
        "get" => shown(match time(2) {
            Some(as_of) => store.get_as_of(&key, as_of)?,
            None => store.get(&key)?,
        }),
        other => panic!("unknown versioned store command {other}"),
    })
}

/// Headers as store commands show them.
pub fn show_headers(headers: &Headers) -> String {
    let part = |header: &vltava_streams::Header| {
        let value = header.value.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        format!("{}={}", header.key, value.as_deref().unwrap_or("null"))
    };
    format!("{{{}}}", headers.iter().map(part).collect::<Vec<_>>().join(","))
}

/// Headers as the engine has them.
pub fn headers_of(node: Option<&Json>) -> Headers {
    let pairs = payload::headers(node).into_iter();
    pairs.map(|(key, value)| vltava_streams::Header { key, value: value.map(Into::into) }).collect()
}
