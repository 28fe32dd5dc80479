//! Plays one case: configuration, topology, events, results.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use serde_json::{Map, Value as Json, json};
use vltava_streams::{Error, Headers, Result, StreamsConfig, Topology, TopologyTestDriver};

use super::{
    canned,
    cases::Case,
    compare::{self, Actual, Failure},
    payload, serdes,
    stores::{self, Stores},
    topology::{Interpreter, Stop},
    value::{Maybe, Val, hex},
};

/// How a case ended.
pub enum Outcome {
    Passed,
    /// The differences.
    Failed(Vec<String>),
    /// What may be so by decision, and the differences.
    Deviates(Deviation, Vec<String>),
    /// What is missing.
    Unsupported(String),
}

/// A difference that is known by what a case is, without its name on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deviation {
    /// The JVM may have lost results that it should have emitted on a window's close.
    MoreThanJvm,
    /// The JVM refuses an argument that cannot be written down in Rust.
    Unsayable,
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Deviation::MoreThanJvm => "results that the JVM lost on a window's close",
            Deviation::Unsayable => "mistakes that the types leave no way to make",
        })
    }
}

/// Case ids and how they ended.
pub type Outcomes = Vec<(String, Outcome)>;

/// Runs the cases on every core.
pub fn run_all(cases: &[Case]) -> Outcomes {
    // What a panicking case says is shown with its failure.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let chunk = cases.len().div_ceil(threads).max(1);
    let outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = cases.chunks(chunk).map(|cases| scope.spawn(|| run_some(cases))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    std::panic::set_hook(hook);
    outcomes
}

fn run_some(cases: &[Case]) -> Outcomes {
    cases.iter().map(|case| (case.id.clone(), run(case))).collect()
}

fn run(case: &Case) -> Outcome {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut player = Player::new(&case.spec);
        let done = player.play();
        (player.finish(), done)
    }));
    match played {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::Failed(vec![format!("panic: {}", text.unwrap_or_default())])
        }
        Ok((_, Err(Missing::Unsupported(what)))) => Outcome::Unsupported(what),
        Ok((_, Err(Missing::Unsayable(step, what)))) if is_refused(&case.spec, &step) => {
            Outcome::Deviates(Deviation::Unsayable, vec![format!("{what} cannot be said at {step}")])
        }
        Ok((_, Err(Missing::Unsayable(step, what)))) => {
            Outcome::Failed(vec![format!("{what} cannot be said at {step}, where the JVM does not refuse it")])
        }
        Ok((actual, Ok(()))) => match compare::differences(&case.spec, &actual) {
            differences if differences.is_empty() => Outcome::Passed,
            differences if emits_more(&case.spec, &actual) => Outcome::Deviates(Deviation::MoreThanJvm, differences),
            differences => Outcome::Failed(differences),
        },
    }
}

/// Whether a case emits on window close and has all that the JVM has, in its order, and more: there a window that has
/// closed may expire in the store before its result is read from it. What is aggregated of such results has all the
/// JVM's records with other values.
fn emits_more(spec: &Json, actual: &Actual) -> bool {
    let steps = || spec["topology"].as_array().unwrap().iter();
    let on_close = |step: &Json| step.get("strategy").is_some_and(|strategy| strategy == "window_close");
    let aggregations =
        steps().filter(|step| ["count", "reduce", "aggregate"].iter().any(|op| step["op"] == *op)).count();
    let same = |wanted: &Json, got: &Json| {
        wanted == got || aggregations > 1 && ["at", "key"].iter().all(|field| wanted[*field] == got[*field])
    };
    let expected = spec["expected"]["topics"].as_object().unwrap();
    let records = |of: Option<&Json>| of.and_then(Json::as_array).cloned().unwrap_or_default();
    let all_in_order = |(topic, wanted): (&String, &Json)| {
        let got = records(actual.topics.get(topic));
        let mut got = got.iter();
        records(Some(wanted)).iter().all(|wanted| got.any(|got| same(wanted, got)))
    };
    steps().any(on_close)
        && actual.error.is_none()
        && expected.iter().all(all_in_order)
        && actual.topics.iter().any(|(topic, got)| records(Some(got)).len() > records(expected.get(topic)).len())
}

/// Whether the JVM refuses an argument of this step.
fn is_refused(spec: &Json, step: &str) -> bool {
    let error = &spec["expected"]["error"];
    let outermost = &error["chain"][0]["class"];
    error["stage"] == "build" && error["step"] == step && outermost == "java.lang.IllegalArgumentException"
}

/// Why a case cannot be played.
enum Missing {
    /// What is not there yet.
    Unsupported(String),
    /// A step, and what cannot be said of it.
    Unsayable(String, &'static str),
}

/// A driver with the topology of a case, for events of one's own; `None` if something is missing for it.
pub fn driver(spec: &Json) -> Option<TopologyTestDriver> {
    let player = Player::new(spec);
    let config = player.config().ok()?;
    let observer = Observer { silent: true, ..Observer::default() };
    let topology = Interpreter::new(&config, spec, observer).build().ok()?;
    TopologyTestDriver::with_config(&topology, &config, spec["wallClock"].as_i64().unwrap_or(0)).ok()
}

/// What `peek` and `foreach` report to.
#[derive(Clone, Default)]
pub struct Observer {
    event: Arc<AtomicI64>,
    seen: Arc<Mutex<Vec<Json>>>,
    silent: bool,
}

impl Observer {
    pub fn observe(&self, step: &str, key: &Maybe, value: &Maybe) {
        if self.silent {
            return;
        }
        let at = self.event.load(Ordering::Relaxed);
        let seen = json!({ "at": at, "step": step, "key": Val::typed(key), "value": Val::typed(value) });
        self.seen.lock().unwrap().push(seen);
    }
}

struct Player<'a> {
    spec: &'a Json,
    observer: Observer,
    actual: Actual,
    /// How much of the driver's history has been looked at.
    captured: usize,
}

impl<'a> Player<'a> {
    fn new(spec: &'a Json) -> Self {
        Player { spec, observer: Observer::default(), actual: Actual::default(), captured: 0 }
    }

    fn finish(mut self) -> Actual {
        self.actual.observed = std::mem::take(&mut *self.observer.seen.lock().unwrap());
        self.actual
    }

    /// Ends the case with an error, unless it only says that something is missing.
    fn fail(
        &mut self,
        stage: &'static str,
        step: Option<String>,
        event: Option<usize>,
        error: Box<Error>,
    ) -> std::result::Result<(), Missing> {
        let mut root = &*error;
        while let Error::Processing { source, .. } | Error::Flush { source, .. } = root {
            root = source;
        }
        if let Error::Unsupported(what) = root {
            return Err(Missing::Unsupported(what.clone()));
        }
        self.actual.error = Some(Failure { stage, step, event, error });
        Ok(())
    }

    fn play(&mut self) -> std::result::Result<(), Missing> {
        let config = match self.config() {
            Ok(config) => config,
            Err(Stop::Unsupported(what)) => return Err(Missing::Unsupported(what)),
            Err(Stop::Unsayable(what)) => return Err(Missing::Unsayable("config".to_owned(), what)),
            Err(Stop::Failed(error)) => return self.fail("config", None, None, error),
        };
        let topology = match Interpreter::new(&config, self.spec, self.observer.clone()).build() {
            Ok(topology) => topology,
            Err((_, Stop::Unsupported(what))) => return Err(Missing::Unsupported(what)),
            Err((step, Stop::Unsayable(what))) => return Err(Missing::Unsayable(step, what)),
            Err((step, Stop::Failed(error))) => return self.fail("build", Some(step), None, error),
        };
        self.actual.describe = Some(topology.describe().to_string());
        let wall_clock = self.spec["wallClock"].as_i64().unwrap_or(0);
        let driver = match TopologyTestDriver::with_config(&topology, &config, wall_clock) {
            Ok(driver) => driver,
            Err(error) => return self.fail("start", None, None, error),
        };
        self.actual.internal_topics = Some(internal_topics(&topology, &config));
        self.observer.event.store(-1, Ordering::Relaxed);
        self.capture(&driver, -1);
        let spec = self.spec;
        for (at, event) in spec["events"].as_array().unwrap().iter().enumerate() {
            self.observer.event.store(at as i64, Ordering::Relaxed);
            if let Err(error) = self.play_event(&driver, event, at) {
                return self.fail("event", None, Some(at), error);
            }
            self.capture(&driver, at as i64);
        }
        match self.read_stores(&driver) {
            Ok(stores) => self.actual.stores = Some(stores),
            Err(error) => return self.fail("stores", None, None, error),
        }
        self.actual.dropped_records = Some(driver.dropped_records());
        match driver.close() {
            Ok(()) => Ok(()),
            Err(error) => self.fail("close", None, None, error),
        }
    }

    fn config(&self) -> std::result::Result<StreamsConfig, Stop> {
        let mut config = vltava_streams::StreamsConfigBuilder::default();
        for (key, value) in self.spec["config"].as_object().unwrap() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            config = canned::configure(config, key, &value)?;
        }
        serdes::set_has_defaults(self.spec["config"].get("default.key.serde").is_some());
        config.build().map_err(Stop::Failed)
    }

    fn play_event(&mut self, driver: &TopologyTestDriver, event: &Json, at: usize) -> Result<()> {
        if let Some(ms) = event.get("advance") {
            return driver.advance_wall_clock_time(std::time::Duration::from_millis(ms.as_u64().unwrap()));
        }
        if let Some(store) = event.get("read").and_then(Json::as_str) {
            let command = event["command"].as_str().unwrap();
            let result = (&mut &*driver).with_store(store, |mut store| store.run(command, 0, &Headers::new()))?;
            self.actual.reads.push(json!({ "at": at, "result": result }));
            return Ok(());
        }
        let (key, value) = (payload::bytes(event.get("key")), payload::bytes(event.get("value")));
        let (topic, ts) = (event["topic"].as_str().unwrap(), event["ts"].as_i64().unwrap());
        driver.pipe_bytes(topic, key.as_deref(), value.as_deref(), ts, stores::headers_of(event.get("headers")))
    }

    /// Files what was sent since the last look.
    fn capture(&mut self, driver: &TopologyTestDriver, at: i64) {
        let sent = driver.history_from(self.captured);
        self.captured += sent.len();
        for record in sent {
            let (key, value) = (payload::json(record.key.as_deref()), payload::json(record.value.as_deref()));
            let mut json = json!({ "at": at, "key": key, "value": value, "ts": record.timestamp });
            if !record.headers.is_empty() {
                let headers = record.headers.iter().map(|h| (h.key.clone(), h.value.as_ref().map(|v| v.to_vec())));
                json["headers"] = payload::headers_json(&headers.collect());
            }
            let list = self.actual.topics.entry(record.topic.to_string()).or_insert_with(|| json!([]));
            list.as_array_mut().unwrap().push(json);
        }
    }

    fn read_stores(&self, driver: &TopologyTestDriver) -> Result<Map<String, Json>> {
        let mut stores = Map::new();
        for name in driver.store_names()? {
            if let Some(entries) = driver.raw_entries(&name)? {
                let entries = entries.iter().map(|(key, value)| json!([hex(key), hex(value)]));
                // The JVM's driver tells the kind by the entries, so an empty store looks like any other.
                let kind = match entries.len() {
                    0 if is_subscription_store(&name) => "timestampedKeyValueWithHeaders",
                    0 => "keyValue",
                    _ => "raw",
                };
                stores.insert(name, json!({ "kind": kind, "entries": entries.collect::<Vec<_>>() }));
                continue;
            }
            let dump = (&mut &*driver).with_store(&name, |mut store| store.dump())?;
            stores.insert(name, dump);
        }
        Ok(stores)
    }
}

fn is_subscription_store(name: &str) -> bool {
    name.contains("KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-") || name.ends_with("-subscription-store")
}

fn internal_topics(topology: &Topology, config: &StreamsConfig) -> Json {
    let configs = |topics: &std::collections::BTreeMap<String, vltava_streams::topology::InternalTopicConfig>| {
        let one = |(name, topic): (&String, &vltava_streams::topology::InternalTopicConfig)| {
            let mut json = json!(topic.config);
            if let Some(partitions) = topic.partitions {
                json["partitions"] = json!(partitions);
            }
            (name.clone(), json)
        };
        topics.iter().map(one).collect::<Map<_, _>>()
    };
    let mut all = Map::new();
    for (number, info) in topology.subtopologies(config) {
        let group = json!({
            "sources": info.source_topics,
            "sinks": info.sink_topics,
            "repartition": configs(&info.repartition_topics),
            "changelog": configs(&info.changelog_topics),
        });
        all.insert(number.to_string(), group);
    }
    let groups = topology.copartition_groups(config.application_id()).into_iter();
    let mut joined: Vec<_> = groups.map(|group| group.into_iter().collect::<Vec<_>>().join(",")).collect();
    joined.sort();
    joined.dedup();
    all.insert("copartitioned".to_owned(), json!(joined));
    Json::Object(all)
}
