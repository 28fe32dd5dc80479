//! Processors and fixed-key processors by the `type` that cases name.

use std::time::Duration;

use serde_json::Value as Json;
use vltava_streams::{
    Cancellable, Context, Error, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Headers, Processor,
    PunctuationType, Record, Result, dsl::RecordMetadata,
};

use super::{
    functions::{self, Flat, Mapper, Predicate},
    stores::{Stores, show_headers},
    value::{Maybe, Val, number, text},
};
use crate::context_stores;

/// Any canned processor of the Processor API.
pub struct Canned {
    action: Action,
    schedules: Vec<Json>,
    handles: Vec<Option<Cancellable>>,
}

/// Any canned processor that keeps keys.
pub struct CannedFixed {
    action: Action,
}

/// What a processor does with a record.
enum Action {
    Forward,
    Drop,
    Map(Mapper, Mapper),
    Flat(Flat),
    Route(Vec<(Predicate, String)>, Option<String>),
    Info,
    Headers(Json),
    SetTimestamp(i64),
    AddTimestamp(i64),
    Count(String),
    Command(String),
    Put(String),
    Lookup(String),
    Commit,
    ScheduleOn(String, Json),
}

impl Action {
    fn of(spec: &Json) -> Self {
        let field = |name: &str| spec[name].as_str().unwrap().to_owned();
        let or = |name: &str, default: &str| spec[name].as_str().unwrap_or(default).to_owned();
        match spec["type"].as_str().unwrap() {
            "forward" => Action::Forward,
            "drop" => Action::Drop,
            "map" => {
                Action::Map(functions::key_selector(&or("key", "key")), functions::mapper(&or("value", "identity")))
            }
            "flat" => Action::Flat(functions::flat(&field("fn"))),
            "route" => {
                let rules = spec["rules"].as_array().unwrap().iter().map(|rule| {
                    (functions::predicate(rule["if"].as_str().unwrap()), rule["to"].as_str().unwrap().to_owned())
                });
                Action::Route(rules.collect(), spec["else"].as_str().map(str::to_owned))
            }
            "info" => Action::Info,
            "headers" => Action::Headers(spec.clone()),
            "timestamp" => match spec["set"].as_i64() {
                Some(timestamp) => Action::SetTimestamp(timestamp),
                None => Action::AddTimestamp(spec["add"].as_i64().unwrap()),
            },
            "count" => Action::Count(field("store")),
            "cmd" => Action::Command(field("store")),
            "put" => Action::Put(field("store")),
            "lookup" => Action::Lookup(field("store")),
            "fail" => {
                let throw = format!("throw_if:{}", field("on"));
                Action::Map(functions::key_selector("key"), functions::mapper(&throw))
            }
            "commit" => Action::Commit,
            "schedule_on" => Action::ScheduleOn(field("on"), spec["late"].clone()),
            other => panic!("unknown processor type {other}"),
        }
    }
}

impl Canned {
    pub fn new(spec: &Json) -> Self {
        let schedules = spec["schedules"].as_array().cloned().unwrap_or_default();
        Canned { action: Action::of(spec), schedules, handles: Vec::new() }
    }
}

impl CannedFixed {
    pub fn new(spec: &Json) -> Self {
        CannedFixed { action: Action::of(spec) }
    }
}

fn boom(error: functions::Boom) -> Box<Error> {
    Error::user(error)
}

/// What both kinds of context can say about a record.
trait Task: Stores {
    fn ids(&self) -> (String, String);
    fn metadata(&self) -> Option<RecordMetadata<'_>>;
    fn times(&self) -> (i64, i64);

    fn info(&self, timestamp: i64, headers: &Headers) -> Maybe {
        let (app, task) = self.ids();
        // A punctuation has metadata without a topic in the JVM, and none here.
        let place = self.metadata().map_or_else(
            || "topic=null partition=-1 offset=-1".to_owned(),
            |m| format!("topic={} partition={} offset={}", m.topic.unwrap_or("null"), m.partition, m.offset),
        );
        let (stream, wall) = self.times();
        let headers = show_headers(headers);
        Val::text(format!("app={app} task={task} {place} ts={timestamp} stream={stream} wall={wall} headers={headers}"))
    }

    /// Increments the number that a store holds for the key.
    fn count(&mut self, store: &str, key: &Maybe, timestamp: i64, headers: &Headers) -> Result<i64> {
        let key = key.clone().expect("a key is not null");
        self.with_store(store, |mut store| {
            let count = number(&store.value(&key)?).wrapping_add(1);
            store.put(&key, Some(Val::Long(count)), timestamp, headers)?;
            Ok(count)
        })
    }

    fn lookup(&mut self, store: &str, key: &Maybe, value: &Maybe) -> Result<Maybe> {
        let stored = match key {
            Some(key) => self.with_store(store, |mut store| store.value(key))?,
            None => None,
        };
        Ok(Val::text(format!("{}+{}", text(value), text(&stored))))
    }
}

macro_rules! task {
    ($context:ty) => {
        context_stores!($context);
        impl Task for $context {
            fn ids(&self) -> (String, String) {
                (self.application_id().to_owned(), self.task_id().to_string())
            }
            fn metadata(&self) -> Option<RecordMetadata<'_>> {
                self.record_metadata()
            }
            fn times(&self) -> (i64, i64) {
                (self.current_stream_time_ms(), self.current_system_time_ms())
            }
        }
    };
}
task!(Context<'_, Canned>);
task!(FixedKeyContext<'_, '_, CannedFixed>);

fn edit_headers(headers: &Headers, spec: &Json) -> Headers {
    let mut edited = headers.clone();
    for name in spec["remove"].as_array().into_iter().flatten() {
        edited.remove(name.as_str().unwrap());
    }
    for pair in spec["add"].as_array().into_iter().flatten() {
        edited.add(pair[0].as_str().unwrap(), Some(pair[1].as_str().unwrap().to_owned().into()));
    }
    edited
}

impl Processor for Canned {
    type KIn = Maybe;
    type VIn = Maybe;
    type KOut = Maybe;
    type VOut = Maybe;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        for spec in std::mem::take(&mut self.schedules) {
            self.schedule(&spec, ctx)?;
        }
        Ok(())
    }

    fn process(&mut self, record: Record<Maybe, Maybe>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let timestamp = record.timestamp;
        match &self.action {
            Action::Forward => ctx.forward(record),
            Action::Drop => Ok(()),
            Action::Map(key, value) => {
                let key = key(&record.key, &record.value).map_err(boom)?;
                let value = value(&record.key, &record.value).map_err(boom)?;
                ctx.forward(record.with_key(key).with_value(value))
            }
            Action::Flat(flat) => {
                let values = flat(&record.key, &record.value).map_err(boom)?;
                values.into_iter().try_for_each(|value| ctx.forward(record.clone().with_value(value)))
            }
            Action::Route(rules, otherwise) => {
                for (predicate, child) in rules {
                    if predicate(&record.key, &record.value).map_err(boom)? {
                        return ctx.forward_to(child, record);
                    }
                }
                match otherwise {
                    Some(child) => ctx.forward_to(child, record),
                    None => Ok(()),
                }
            }
            Action::Info => {
                let info = ctx.info(timestamp, &record.headers);
                ctx.forward(record.with_value(info))
            }
            Action::Headers(spec) => {
                let headers = edit_headers(&record.headers, spec);
                ctx.forward(record.with_headers(headers))
            }
            Action::SetTimestamp(timestamp) => ctx.forward(record.with_timestamp(*timestamp)),
            Action::AddTimestamp(by) => ctx.forward(record.with_timestamp(timestamp + by)),
            Action::Count(store) => {
                let count = ctx.count(store, &record.key, timestamp, &record.headers)?;
                ctx.forward(record.with_value(Some(Val::Long(count))))
            }
            Action::Command(store) => {
                let command = text(&record.value);
                let result = ctx.with_store(store, |mut store| store.run(&command, timestamp, &record.headers))?;
                ctx.forward(record.with_value(Val::text(result)))
            }
            Action::Put(store) => {
                let command = match &record.value {
                    None => format!("delete {}", text(&record.key)),
                    value => format!("put {} {}", text(&record.key), text(value)),
                };
                ctx.with_store(store, |mut store| store.run(&command, timestamp, &record.headers)).map(drop)
            }
            Action::Lookup(store) => {
                let found = ctx.lookup(store, &record.key, &record.value)?;
                ctx.forward(record.with_value(found))
            }
            Action::Commit => {
                ctx.commit();
                ctx.forward(record)
            }
            Action::ScheduleOn(on, late) => {
                let late = (record.value == Val::text(on.as_str())).then(|| late.clone());
                late.map_or(Ok(()), |late| self.schedule(&late, ctx))
            }
        }
    }
}

impl Canned {
    fn schedule(&mut self, spec: &Json, ctx: &mut Context<'_, Self>) -> Result<()> {
        // A Duration has no negative values; zero is refused in the same way.
        let interval = Duration::from_millis(spec["interval"].as_i64().unwrap().try_into().unwrap_or(0));
        let kind = match spec["type"].as_str().unwrap() {
            "stream_time" => PunctuationType::StreamTime,
            _ => PunctuationType::WallClockTime,
        };
        let slot = self.handles.len();
        self.handles.push(None);
        let (start, spec) = (spec["start"].as_i64(), spec.clone());
        let mut fired = 0;
        let action = move |this: &mut Canned, now: i64, ctx: &mut Context<'_, Canned>| {
            fired += 1;
            if spec["cancelAfter"].as_i64() == Some(fired) {
                ctx.cancel(this.handles[slot].unwrap());
            }
            punctuate(&spec, now, fired, ctx)
        };
        let handle = match start {
            Some(start) => ctx.schedule_from(start, interval, kind, action)?,
            None => ctx.schedule(interval, kind, action)?,
        };
        self.handles[slot] = Some(handle);
        Ok(())
    }
}

fn punctuate(spec: &Json, now: i64, run: i64, ctx: &mut Context<'_, Canned>) -> Result<()> {
    let tag = spec["tag"].as_str().unwrap_or("p");
    let tick = || Record::new(Val::text(tag), Val::text(format!("{tag}#{run}@{now}")), now);
    match spec["do"].as_str().unwrap() {
        "tick" => ctx.forward(tick()),
        "tick_to" => ctx.forward_to(spec["to"].as_str().unwrap(), tick()),
        "info" => {
            let info = ctx.info(now, &Headers::new());
            ctx.forward(Record::new(Val::text(tag), info, now))
        }
        action @ ("dump" | "drain") => {
            let store = spec["store"].as_str().unwrap();
            for (key, value) in ctx.with_store(store, |mut store| store.entries())? {
                ctx.forward(Record::new(Some(key.clone()), Some(value), now))?;
                if action == "drain" {
                    ctx.with_store(store, |mut store| store.delete(&key))?;
                }
            }
            Ok(())
        }
        "fail" => Err(boom(functions::Boom("boom in punctuator".to_owned()))),
        other => panic!("unknown punctuation {other}"),
    }
}

impl FixedKeyProcessor for CannedFixed {
    type K = Maybe;
    type VIn = Maybe;
    type VOut = Maybe;

    fn process(&mut self, record: FixedKeyRecord<Maybe, Maybe>, ctx: &mut FixedKeyContext<'_, '_, Self>) -> Result<()> {
        let timestamp = record.timestamp;
        match &self.action {
            Action::Forward => ctx.forward(record),
            Action::Drop => Ok(()),
            Action::Map(_, value) => {
                let value = value(record.key(), &record.value).map_err(boom)?;
                ctx.forward(record.with_value(value))
            }
            Action::Flat(flat) => {
                let values = flat(record.key(), &record.value).map_err(boom)?;
                values.into_iter().try_for_each(|value| ctx.forward(record.clone().with_value(value)))
            }
            Action::Info => {
                let info = ctx.info(timestamp, &record.headers);
                ctx.forward(record.with_value(info))
            }
            Action::Headers(spec) => {
                let headers = edit_headers(&record.headers, spec);
                ctx.forward(record.with_headers(headers))
            }
            Action::SetTimestamp(timestamp) => ctx.forward(record.with_timestamp(*timestamp)),
            Action::AddTimestamp(by) => ctx.forward(record.with_timestamp(timestamp + by)),
            Action::Count(store) => {
                let count = ctx.count(store, record.key(), timestamp, &record.headers)?;
                ctx.forward(record.with_value(Some(Val::Long(count))))
            }
            Action::Command(store) => {
                let command = text(&record.value);
                let result = ctx.with_store(store, |mut store| store.run(&command, timestamp, &record.headers))?;
                ctx.forward(record.with_value(Val::text(result)))
            }
            Action::Lookup(store) => {
                let found = ctx.lookup(store, record.key(), &record.value)?;
                ctx.forward(record.with_value(found))
            }
            Action::Route(..) | Action::Put(_) | Action::Commit | Action::ScheduleOn(..) => {
                panic!("not a fixed-key processor")
            }
        }
    }
}
