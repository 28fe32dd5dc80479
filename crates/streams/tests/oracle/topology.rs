//! Executes the steps of a case against the builders.
//!
//! Every operator and every option is asked for by name: what has no arm here is unsupported, and a field that no arm
//! knows makes its case unsupported instead of being passed over.

mod on_foreign_key;
mod on_global;
mod on_grouped;
mod on_join;
mod on_stream;
mod on_table;
mod on_windowed;
mod options;
mod topology_api;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;
use vltava_streams::{
    CogroupedKStream, Error, GlobalKTable, KGroupedStream, KGroupedTable, KStream, KTable, Named,
    SessionWindowedCogroupedKStream, SessionWindowedKStream, StreamsBuilder, StreamsConfig,
    TimeWindowedCogroupedKStream, TimeWindowedKStream, Topology,
};

use super::{
    runner::Observer,
    stores::{AnyBuilder, materialized},
    value::{Maybe, Val},
};

/// Why a step was not executed.
#[derive(Debug)]
pub enum Stop {
    /// It needs what is not there yet.
    Unsupported(String),
    /// It makes a mistake that the types leave no way to make.
    Unsayable(&'static str),
    /// It was refused.
    Failed(Box<Error>),
}

impl From<Box<Error>> for Stop {
    fn from(error: Box<Error>) -> Self {
        match *error {
            Error::Unsupported(what) => Stop::Unsupported(what),
            _ => Stop::Failed(error),
        }
    }
}

/// The result of a step.
pub type Step<T> = Result<T, Stop>;

fn unsupported<T>(what: impl Into<String>) -> Step<T> {
    Err(Stop::Unsupported(what.into()))
}

/// What a step made.
#[derive(Clone, Debug)]
pub enum Made {
    Nothing,
    Stream(KStream<Maybe, Maybe>),
    Branches(BTreeMap<String, KStream<Maybe, Maybe>>),
    Table(KTable<Val, Val>),
    Global(GlobalKTable<Val, Val>),
    Grouped(KGroupedStream<Maybe, Maybe>),
    GroupedTable(KGroupedTable<Val, Val>),
    Cogrouped(CogroupedKStream<Val, Val>),
    TimeWindowed(TimeWindowedKStream<Maybe, Maybe>),
    SessionWindowed(SessionWindowedKStream<Maybe, Maybe>),
    TimeWindowedCogrouped(TimeWindowedCogroupedKStream<Val, Val>),
    SessionWindowedCogrouped(SessionWindowedCogroupedKStream<Val, Val>),
}

/// Turns the steps of a case into a topology.
pub struct Interpreter<'a> {
    config: &'a StreamsConfig,
    case: &'a Json,
    observer: Observer,
    builder: Option<StreamsBuilder>,
    topology: Option<Topology>,
    made: HashMap<String, Made>,
    /// Equal store objects of a case are one builder.
    stores: HashMap<String, AnyBuilder>,
}

/// A field of a step as text.
fn text<'s>(step: &'s Json, field: &str) -> Option<&'s str> {
    step.get(field).and_then(Json::as_str)
}

/// The name of a step's node, if it has one.
fn named(step: &Json) -> Option<Named> {
    text(step, "name").map(Named::new)
}

fn required<'s>(step: &'s Json, field: &str) -> &'s str {
    text(step, field).unwrap_or_else(|| panic!("no {field} in {step}"))
}

fn texts<'s>(step: &'s Json, field: &str) -> Vec<&'s str> {
    step.get(field).and_then(Json::as_array).into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// Refuses fields that the arm of this operator does not know.
fn only(step: &Json, on: &str, known: &[&str]) -> Step<()> {
    let common = ["op", "id", "from", "name"];
    let field =
        step.as_object().unwrap().keys().find(|key| !common.contains(&key.as_str()) && !known.contains(&key.as_str()));
    match field {
        Some(field) => unsupported(format!("{on} {}: option {field}", required(step, "op"))),
        None => Ok(()),
    }
}

impl<'a> Interpreter<'a> {
    pub fn new(config: &'a StreamsConfig, case: &'a Json, observer: Observer) -> Self {
        let (made, stores) = (HashMap::new(), HashMap::new());
        Interpreter { config, case, observer, builder: None, topology: None, made, stores }
    }

    /// The topology, or the step at which it ended and why.
    pub fn build(mut self) -> Result<Topology, (String, Stop)> {
        let case = self.case;
        for step in case["topology"].as_array().unwrap() {
            let name = text(step, "id").or_else(|| text(step, "op")).unwrap().to_owned();
            match self.execute(step).and_then(|made| self.mistake().map(|()| made)) {
                Ok(made) => {
                    if let Some(id) = text(step, "id") {
                        self.made.insert(id.to_owned(), made);
                    }
                }
                Err(stop) => return Err((name, stop)),
            }
        }
        let build = |stop| ("build".to_owned(), stop);
        self.end_dsl().map_err(build)?;
        Ok(self.topology.unwrap())
    }

    /// What the builder has refused, which it reports at the end unless it is asked.
    fn mistake(&self) -> Step<()> {
        match self.builder.as_ref().and_then(StreamsBuilder::take_error) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn dsl(&mut self) -> StreamsBuilder {
        assert!(self.topology.is_none(), "a DSL step after a Topology step");
        self.builder.get_or_insert_with(|| StreamsBuilder::with_config(self.config)).clone()
    }

    /// Ends the DSL part, if there is one.
    fn end_dsl(&mut self) -> Step<&mut Topology> {
        if self.topology.is_none() {
            self.topology = Some(match &self.builder {
                Some(builder) => builder.build_with(self.config)?,
                None => Topology::new(),
            });
        }
        Ok(self.topology.as_mut().unwrap())
    }

    fn store(&mut self, spec: &Json) -> Step<AnyBuilder> {
        if let Some(builder) = self.stores.get(&spec.to_string()) {
            return Ok(builder.clone());
        }
        let builder = AnyBuilder::of(spec)?;
        self.stores.insert(spec.to_string(), builder.clone());
        Ok(builder)
    }

    /// The stores that a processor brings along.
    fn supplied(&mut self, processor: &Json) -> Step<Vec<AnyBuilder>> {
        let specs = processor.get("supplies").and_then(Json::as_array).cloned().unwrap_or_default();
        specs.iter().map(|spec| self.store(spec)).collect()
    }

    fn made(&self, step: &Json, field: &str) -> Made {
        let id = required(step, field);
        if let Some(made) = self.made.get(id) {
            return made.clone();
        }
        if let Some((split, branch)) = id.split_once('/')
            && let Some(Made::Branches(branches)) = self.made.get(split)
            && let Some(stream) = branches.get(branch)
        {
            return Made::Stream(stream.clone());
        }
        panic!("no step result {id}")
    }

    fn execute(&mut self, step: &Json) -> Step<Made> {
        match required(step, "op") {
            "stream" => {
                only(step, "builder", &["topics", "pattern", "key", "value", "extractor", "offsetReset"])?;
                let (builder, consumed) = (self.dsl(), self.consumed(step));
                Ok(Made::Stream(match text(step, "pattern") {
                    Some(pattern) => builder.stream_pattern_with(consumed, pattern),
                    None => builder.stream_with(consumed, texts(step, "topics")),
                }))
            }
            "table" => {
                only(step, "builder", &["topic", "key", "value", "extractor", "offsetReset", "materialized"])?;
                let options = (Some(self.consumed(step)), materialized(step)?);
                Ok(Made::Table(self.dsl().table_with(options, required(step, "topic"))))
            }
            "globalTable" => self.global_table(step),
            "addGlobalStore" => self.add_global_store(step),
            "addReadOnlyStateStore" => self.add_read_only_state_store(step),
            "addStateStore" => {
                let store = self.store(&step["store"])?;
                if self.topology.is_none() && step.get("processors").is_none() {
                    store.add_to_builder(&self.dsl());
                } else {
                    store.add_to_topology(self.end_dsl()?, &texts(step, "processors"))?;
                }
                Ok(Made::Nothing)
            }
            "addSource" => self.add_source(step),
            "addProcessor" => self.add_processor(step),
            "addSink" => self.add_sink(step),
            "connectProcessorAndStateStores" => {
                let (processor, stores) = (required(step, "processor"), texts(step, "stores"));
                self.end_dsl()?.connect_processor_and_state_stores(processor, &stores)?;
                Ok(Made::Nothing)
            }
            _ if step.get("from").is_some() => match self.made(step, "from") {
                Made::Stream(stream) => self.on_stream(&stream, step),
                Made::Table(table) => self.on_table(&table, step),
                Made::Grouped(grouped) => self.on_grouped(&grouped, step),
                Made::GroupedTable(grouped) => self.on_grouped_table(&grouped, step),
                Made::Cogrouped(cogrouped) => self.on_cogrouped(&cogrouped, step),
                Made::TimeWindowed(windowed) => self.on_time_windowed(windowed, step),
                Made::SessionWindowed(windowed) => self.on_session_windowed(windowed, step),
                Made::TimeWindowedCogrouped(windowed) => self.on_time_windowed_cogrouped(&windowed, step),
                Made::SessionWindowedCogrouped(windowed) => self.on_session_windowed_cogrouped(&windowed, step),
                other => panic!("{step} on {other:?}"),
            },
            op => unsupported(op),
        }
    }
}
