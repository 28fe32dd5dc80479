//! Steps of the Topology API.

use serde_json::Value as Json;

use super::{Interpreter, Made, Step, only, options, required, text, texts};
use crate::{canned::TopicExtractor, processors::Canned, value::Maybe};

impl Interpreter<'_> {
    pub(super) fn add_source(&mut self, step: &Json) -> Step<Made> {
        only(step, "Topology", &["topics", "pattern", "key", "value", "extractor", "offsetReset"])?;
        let (name, consumed) = (required(step, "name"), self.consumed(step));
        let topology = self.end_dsl()?;
        match text(step, "pattern") {
            Some(pattern) => topology.add_pattern_source_node::<Maybe, Maybe>(name, pattern, consumed)?,
            None => topology.add_source_node::<Maybe, Maybe>(name, &texts(step, "topics"), consumed)?,
        };
        Ok(Made::Nothing)
    }

    pub(super) fn add_processor(&mut self, step: &Json) -> Step<Made> {
        only(step, "Topology", &["processor", "parents"])?;
        let (name, spec) = (required(step, "name"), step["processor"].clone());
        let supplied = self.supplied(&spec)?;
        let topology = self.end_dsl()?;
        topology.add_processor(name, &texts(step, "parents"), (), move |()| Canned::new(&spec))?;
        for store in supplied {
            store.add_to_topology(topology, &[name])?;
        }
        Ok(Made::Nothing)
    }

    pub(super) fn add_sink(&mut self, step: &Json) -> Step<Made> {
        only(step, "Topology", &["topic", "extractor", "key", "value", "partitioner", "parents"])?;
        let (name, parents, produced) = (required(step, "name"), texts(step, "parents"), options::produced(step));
        let topology = self.end_dsl()?;
        match text(step, "topic") {
            Some(topic) => topology.add_sink::<Maybe, Maybe>(name, topic, produced, &parents)?,
            None => {
                let extractor = TopicExtractor(required(step, "extractor").to_owned());
                topology.add_dynamic_sink::<Maybe, Maybe>(name, extractor, produced, &parents)?
            }
        };
        Ok(Made::Nothing)
    }
}
