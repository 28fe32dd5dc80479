//! What a case computed against what the JVM did.

use serde_json::Value as Json;
use vltava_streams::{Error, task::TaskId};

/// What playing a case gave, in the shape of `expected`.
#[derive(Debug, Default)]
pub struct Actual {
    pub describe: Option<String>,
    pub internal_topics: Option<Json>,
    pub topics: serde_json::Map<String, Json>,
    pub observed: Vec<Json>,
    pub reads: Vec<Json>,
    pub stores: Option<serde_json::Map<String, Json>>,
    pub dropped_records: Option<u64>,
    pub error: Option<Failure>,
}

/// Where and how a case ended early.
#[derive(Debug)]
pub struct Failure {
    pub stage: &'static str,
    pub step: Option<String>,
    pub event: Option<usize>,
    pub error: Box<Error>,
}

/// The differences, none if the case passes.
pub fn differences(case: &Json, actual: &Actual) -> Vec<String> {
    let (expected, mut out) = (&case["expected"], Vec::new());
    let operators: Vec<_> =
        case["topology"].as_array().unwrap().iter().filter_map(|step| step["op"].as_str()).collect();
    error(expected.get("error"), actual.error.as_ref(), &operators, &mut out);
    if let Some(wanted) = expected.get("describe").and_then(Json::as_str)
        && let Some(got) = &actual.describe
        && wanted != got
    {
        out.push(text("describe", wanted, got));
    }
    if let (Some(wanted), Some(got)) = (expected.get("internalTopics"), &actual.internal_topics) {
        internal_topics(wanted, got, &mut out);
    }
    if let Some(Json::Object(wanted)) = expected.get("topics") {
        topics(wanted, &actual.topics, &mut out);
    }
    for (name, got) in [("observed", &actual.observed), ("reads", &actual.reads)] {
        let wanted = expected.get(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        records(name, wanted, got, &mut out);
    }
    if let (Some(Json::Object(wanted)), Some(got)) = (expected.get("stores"), &actual.stores) {
        stores(wanted, got, &mut out);
    }
    if let (Some(wanted), Some(got)) = (expected.get("droppedRecords").and_then(Json::as_u64), actual.dropped_records)
        && wanted != got
    {
        out.push(format!("droppedRecords: expected {wanted}, got {got}"));
    }
    out
}

fn text(what: &str, wanted: &str, got: &str) -> String {
    let different = wanted.lines().zip(got.lines()).find(|(wanted, got)| wanted != got);
    let (wanted, got) = different.unwrap_or(("(end of the shorter)", "(end of the shorter)"));
    format!("{what}: expected {wanted:?}, got {got:?}")
}

fn internal_topics(wanted: &Json, got: &Json, out: &mut Vec<String>) {
    let empty = serde_json::Map::new();
    let object = |json: &Json| json.as_object().unwrap_or(&empty).clone();
    let (wanted, got) = (object(wanted), object(got));
    for key in wanted.keys().chain(got.keys().filter(|key| !wanted.contains_key(*key))) {
        let (wanted, got) = (wanted.get(key), got.get(key));
        if wanted != got {
            let show = |json: Option<&Json>| json.map_or_else(|| "nothing".to_owned(), Json::to_string);
            out.push(format!("internalTopics {key}: expected {}, got {}", show(wanted), show(got)));
        }
    }
}

fn topics(wanted: &serde_json::Map<String, Json>, got: &serde_json::Map<String, Json>, out: &mut Vec<String>) {
    let none = Json::Array(Vec::new());
    let names = wanted.keys().chain(got.keys().filter(|name| !wanted.contains_key(*name)));
    for name in names {
        let list = |map: &serde_json::Map<String, Json>| map.get(name).unwrap_or(&none).as_array().unwrap().clone();
        records(name, &list(wanted), &list(got), out);
    }
}

/// Two lists; the first difference is shown.
fn records(what: &str, wanted: &[Json], got: &[Json], out: &mut Vec<String>) {
    let at = (0..wanted.len().max(got.len())).find(|at| wanted.get(*at) != got.get(*at));
    let Some(at) = at else { return };
    let show = |json: Option<&Json>| json.map_or_else(|| "nothing".to_owned(), Json::to_string);
    let counts = if wanted.len() == got.len() { String::new() } else { format!(" ({}/{})", wanted.len(), got.len()) };
    out.push(format!("{what}[{at}]{counts}: expected {}, got {}", show(wanted.get(at)), show(got.get(at))));
}

fn stores(wanted: &serde_json::Map<String, Json>, got: &serde_json::Map<String, Json>, out: &mut Vec<String>) {
    for (name, wanted) in wanted {
        let kind = wanted["kind"].as_str().unwrap();
        match got.get(name) {
            // An implementation may keep another form inside; what the changelog says is compared.
            None if matches!(kind, "raw" | "buffer") => {}
            Some(got) if kind == "buffer" && got["kind"] != "buffer" => {
                let records = got["entries"].as_array().map_or(0, Vec::len);
                if wanted["records"] != records {
                    out.push(format!("store {name}: expected {} records, got {records}", wanted["records"]));
                }
            }
            None => out.push(format!("store {name}: expected, not there")),
            Some(got) if got["kind"] != wanted["kind"] => {
                out.push(format!("store {name}: expected {}, got {}", wanted["kind"], got["kind"]));
            }
            // The JVM's driver looks versions up by the keys that it saw in topics; without a changelog it saw none.
            Some(_) if kind == "versioned" && wanted["entries"].as_array().is_some_and(Vec::is_empty) => {}
            Some(got) => {
                let entries = |json: &Json| json["entries"].as_array().cloned().unwrap_or_default();
                records(&format!("store {name}"), &entries(wanted), &entries(got), out);
            }
        }
    }
    for name in got.keys().filter(|name| !wanted.contains_key(*name)) {
        out.push(format!("store {name}: not expected"));
    }
}

// ---- errors ------------------------------------------------------------------------------------

/// The simple names of the JVM's exceptions that such an error stands for, outermost first.
fn chain(error: &Error) -> Vec<String> {
    let names: &[&str] = match error {
        Error::Topology(_) | Error::EdgeType { .. } => &["TopologyException"],
        Error::Config(_) => &["ConfigException"],
        Error::IllegalArgument(_) => &["IllegalArgumentException"],
        Error::NullKey { .. } => &["NullPointerException"],
        Error::MissingSerde { .. } => &["StreamsException", "ConfigException"],
        Error::Serialization { .. } | Error::Deserialization { .. } => &["StreamsException", "SerializationException"],
        Error::User { type_name, .. } => return vec![(*type_name).to_owned()],
        // Of a global processor the JVM gives the error itself, without node and record.
        Error::Processing { source, task, .. } if *task == TaskId::GLOBAL.to_string() => return chain(source),
        Error::Processing { source, .. } | Error::Flush { source, .. } => {
            return std::iter::once("StreamsException".to_owned()).chain(chain(source)).collect();
        }
        Error::Panic(_) => &["panic"],
        Error::Internal(_) => &["internal"],
        _ => &["StreamsException"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The JVM wraps what one variant says at once; a store's exception is a StreamsException too.
fn shortened(names: Vec<String>) -> Vec<String> {
    let mut names: Vec<_> = names
        .into_iter()
        .map(|name| if name == "ProcessorStateException" { "StreamsException".to_owned() } else { name })
        .collect();
    names.dedup();
    names
}

/// The stages at which no record has been read.
const EARLY: [&str; 4] = ["config", "build", "start", "topics"];

/// Whether a mistake was found where it should be, or earlier than that: before the first record, sooner is better.
fn in_time(wanted: &Json, got: &Failure) -> bool {
    let rank = |stage: &str| EARLY.iter().position(|early| *early == stage);
    let stage = wanted["stage"].as_str().unwrap();
    if let (Some(wanted), Some(got)) = (rank(stage), rank(got.stage))
        && got < wanted
    {
        return true;
    }
    let step = wanted["step"].as_str();
    let same_step = step == got.step.as_deref() || step == Some("build");
    stage == got.stage && same_step && wanted["event"].as_u64() == got.event.map(|event| event as u64)
}

/// `operators` are methods of Java, which messages here need not mention.
fn error(wanted: Option<&Json>, got: Option<&Failure>, operators: &[&str], out: &mut Vec<String>) {
    let (wanted, got) = match (wanted, got) {
        (None, None) => return,
        (None, Some(got)) => {
            let place = got.step.clone().or(got.event.map(|event| event.to_string())).unwrap_or_default();
            out.push(format!("error at {} {place}: {}", got.stage, got.error));
            return;
        }
        (Some(wanted), None) => {
            out.push(format!("error expected, none got: {wanted}"));
            return;
        }
        (Some(wanted), Some(got)) => (wanted, got),
    };
    let message = got.error.to_string();
    if !in_time(wanted, got) {
        let (stage, step, event) = (&wanted["stage"], &wanted["step"], &wanted["event"]);
        let (got_stage, got_step, got_event) = (got.stage, &got.step, got.event);
        out.push(format!(
            "error: expected at {stage} {step} {event}, got at {got_stage} {got_step:?} {got_event:?}: {message}"
        ));
    }
    let links = wanted["chain"].as_array().unwrap();
    let classes = links.iter().map(|link| link["class"].as_str().unwrap().rsplit('.').next().unwrap().to_owned());
    let (wanted_chain, got_chain) = (shortened(classes.collect()), shortened(chain(&got.error)));
    if wanted_chain != got_chain {
        out.push(format!("error: expected {wanted_chain:?}, got {got_chain:?}: {message}"));
    }
    for link in links {
        let mentions = link["mentions"].as_array().into_iter().flatten().chain(link.get("message"));
        for mention in mentions.map(|mention| mention.as_str().unwrap()) {
            if !message.contains(mention) && !operators.contains(&mention) {
                out.push(format!("error: does not mention {mention}: {message}"));
            }
        }
    }
}
