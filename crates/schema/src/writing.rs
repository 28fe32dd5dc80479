//! Which id a topic's records get: the part of a serde that talks to the registry, whatever the format.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

use crate::{
    error::{Result, SchemaError},
    registry::{Schema, SchemaRegistry},
};

/// The schema that a topic's records are written with, and its id.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) id: i32,
    #[cfg_attr(
        not(any(feature = "avro", feature = "protobuf")),
        expect(dead_code, reason = "JSON is written alike under all schemas")
    )]
    pub(crate) schema: Arc<Schema>,
}

/// One schema as it is written to topics: asks the registry once per topic.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) registry: SchemaRegistry,
    pub(crate) own: Arc<Schema>,
    /// The record's full name, where its format has one.
    record: Option<String>,
    is_key: bool,
    by_topic: RwLock<HashMap<String, Written>>,
}

impl Writing {
    pub(crate) fn new(registry: &SchemaRegistry, own: Schema, record: Option<String>) -> Self {
        let (registry, own) = (registry.clone(), Arc::new(own));
        Writing { registry, own, record, is_key: false, by_topic: RwLock::default() }
    }

    /// The same for keys.
    pub(crate) fn for_keys(&self) -> Self {
        let (registry, own, record) = (self.registry.clone(), self.own.clone(), self.record.clone());
        Writing { registry, own, record, is_key: true, by_topic: RwLock::default() }
    }

    /// What records of a topic are written with.
    pub(crate) fn written(&self, topic: &str) -> Result<Written> {
        if let Some(written) = self.by_topic.read().get(topic) {
            return Ok(written.clone());
        }
        let (config, format) = (self.registry.config(), self.own.schema_type.name());
        let subject = config.strategy(self.is_key).subject(topic, self.is_key, format, self.record.as_deref())?;
        let own = |id| Written { id, schema: self.own.clone() };
        let written = if config.auto_register_schemas {
            own(self.registry.register(&subject, &self.own)?)
        } else if config.use_latest_version {
            let latest = self.registry.latest(&subject)?;
            if latest.schema.schema_type != self.own.schema_type {
                let (id, found, expected) = (latest.id, latest.schema.schema_type.name().to_owned(), format.to_owned());
                return Err(SchemaError::OtherType { id, found, expected });
            }
            Written { id: latest.id, schema: latest.schema }
        } else {
            own(self.registry.id_of(&subject, &self.own)?)
        };
        tracing::debug!(subject, id = written.id, "schema of a topic");
        self.by_topic.write().insert(topic.to_owned(), written.clone());
        Ok(written)
    }
}
