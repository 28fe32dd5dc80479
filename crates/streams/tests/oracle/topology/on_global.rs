//! Global tables, global stores and read-only stores.

use serde_json::Value as Json;
use vltava_streams::{Consumed, GlobalKTable, KStream, StoreInput};

use super::{Interpreter, Made, Step, named, only, options, required, text};
use crate::{
    functions,
    processors::Canned,
    stores::materialized,
    value::{Maybe, Val},
};

type Stream = KStream<Maybe, Maybe>;

impl Interpreter<'_> {
    pub(super) fn global_table(&mut self, step: &Json) -> Step<Made> {
        only(step, "builder", &["topic", "key", "value", "extractor", "offsetReset", "materialized"])?;
        let options = (Some(self.consumed(step)), materialized(step)?);
        Ok(Made::Global(self.dsl().global_table_with(options, required(step, "topic"))))
    }

    /// The StreamsBuilder's where it has no names for its nodes.
    pub(super) fn add_global_store(&mut self, step: &Json) -> Step<Made> {
        let known = ["store", "sourceName", "extractor", "key", "value", "topic", "processorName", "processor"];
        only(step, "builder", &known)?;
        let (store, consumed) = (self.store(&step["store"])?, self.consumed(step));
        let (topic, spec) = (required(step, "topic"), step["processor"].clone());
        match input(step) {
            Some(input) => store.add_global_to_topology(self.end_dsl()?, input, &consumed, &spec)?,
            None => store.add_global_to_builder(&self.dsl(), topic, consumed, &spec),
        }
        Ok(Made::Nothing)
    }

    pub(super) fn add_read_only_state_store(&mut self, step: &Json) -> Step<Made> {
        let known = ["store", "sourceName", "extractor", "key", "value", "topic", "processorName", "processor"];
        only(step, "Topology", &known)?;
        let (store, consumed): (_, Consumed<Val, Val>) = (self.store(&step["store"])?, self.consumed(step));
        let Some(input) = input(step) else { panic!("a read-only store without names: {step}") };
        store.add_read_only_to_topology(self.end_dsl()?, input, &consumed, &step["processor"])?;
        Ok(Made::Nothing)
    }
}

fn input(step: &Json) -> Option<StoreInput<'_>> {
    let (source, processor) = (text(step, "sourceName")?, required(step, "processorName"));
    Some(StoreInput { topic: required(step, "topic"), source, processor })
}

pub(super) fn join_global(stream: &Stream, table: &GlobalKTable<Val, Val>, step: &Json) -> Step<Stream> {
    only(step, "KStream", &["other", "selector", "joiner", "withKey"])?;
    let (name, joiner) = (named(step), options::joiner(step));
    let selector = functions::key_selector(required(step, "selector"));
    let selector = move |key: &Maybe, value: &Val| selector(key, &Some(value.clone()));
    Ok(match required(step, "op") {
        "join" => stream.try_join_global(name, table, selector, move |key, left, right| {
            joiner(key, &Some(left), &Some(right.clone()))
        }),
        "leftJoin" => stream.try_left_join_global(name, table, selector, move |key, left, right| {
            joiner(key, &Some(left), &right.cloned())
        }),
        op => panic!("no {op} of a stream with a global table"),
    })
}

/// Adds builders of any kind.
mod any {
    use serde_json::Value as Json;
    use vltava_streams::{Consumed, Result, StoreInput, StreamsBuilder, Topology};

    use super::Canned;
    use crate::{each_builder, stores::AnyBuilder, value::Val};

    impl AnyBuilder {
        pub fn add_global_to_builder(
            &self,
            dsl: &StreamsBuilder,
            topic: &str,
            consumed: Consumed<Val, Val>,
            spec: &Json,
        ) {
            let spec = spec.clone();
            let make = move || Canned::new(&spec);
            each_builder!(self, builder => drop(dsl.add_global_store_with(consumed, builder.clone(), topic, move |_| make())));
        }

        pub fn add_global_to_topology(
            &self,
            topology: &mut Topology,
            input: StoreInput<'_>,
            consumed: &Consumed<Val, Val>,
            spec: &Json,
        ) -> Result<()> {
            let spec = spec.clone();
            let make = move || Canned::new(&spec);
            each_builder!(self, builder => topology.add_global_store(builder, input, consumed, move |_| make()).map(drop))
        }

        pub fn add_read_only_to_topology(
            &self,
            topology: &mut Topology,
            input: StoreInput<'_>,
            consumed: &Consumed<Val, Val>,
            spec: &Json,
        ) -> Result<()> {
            let spec = spec.clone();
            let make = move || Canned::new(&spec);
            each_builder!(self, builder => {
                topology.add_read_only_state_store(builder, input, consumed, move |_| make()).map(drop)
            })
        }
    }
}
