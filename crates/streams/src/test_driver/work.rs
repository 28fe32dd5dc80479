//! What a driver does: a record goes in, and everything that follows from it is done.

use std::sync::Arc;

use super::{Driver, SentRecord};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    handler::LogAndContinue,
    record::Headers,
    state::GlobalStores,
    task::{InputBatch, TaskCtx},
    topology::{GlobalTask, GlobalTaskOptions, Topology},
};

/// The global stores of a topology and what fills them, if it has any. As in Kafka's driver, records that cannot be read are
/// skipped, whatever the settings say.
pub(super) fn open_global(
    topology: &Topology,
    config: &Arc<StreamsConfig>,
    stores: &GlobalStores,
    now: i64,
) -> Result<Option<GlobalTask>> {
    if topology.global_stores.is_empty() {
        return Ok(None);
    }
    let mut handlers = GlobalTaskOptions::handlers(config);
    handlers.deserialization = Arc::new(LogAndContinue::default());
    let (config, stores) = (config.clone(), stores.clone());
    let options = GlobalTaskOptions { config, handlers, stores, state_dir: None, now };
    let mut global = GlobalTask::open(topology, options)?;
    global.initialize(topology)?;
    Ok(Some(global))
}

impl Driver {
    /// The number of a store.
    pub(super) fn store_id(&self, name: &str) -> Result<usize> {
        self.store_names.iter().position(|known| known == name).ok_or_else(|| {
            let known = self.store_names.iter().filter(|name| !name.is_empty()).map(String::as_str);
            let known = known.collect::<Vec<_>>().join(", ");
            Box::new(Error::UnknownStateStore(format!("there is no store {name}; the topology has: {known}")))
        })
    }

    /// The context of the task that a store belongs to.
    pub(super) fn ctx_of(&mut self, store: &str) -> &mut TaskCtx {
        match &mut self.global {
            Some(global) if self.global_stores.iter().any(|name| name == store) => global.ctx_mut(),
            _ => self.task.ctx_mut(),
        }
    }

    pub(super) fn dropped_records(&self) -> u64 {
        self.task.dropped_records() + self.global.as_ref().map_or(0, GlobalTask::dropped_records)
    }

    /// False if no source reads the topic.
    pub(super) fn enqueue(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
        headers: Headers,
    ) -> Result<bool> {
        let batch = |offset: &mut i64, headers| {
            *offset += 1;
            InputBatch::single(*offset - 1, timestamp, key, value, headers)
        };
        if let Some(global) = self.global.as_mut().filter(|global| global.reads(topic)) {
            let batch = batch(self.offsets.entry(topic.to_owned()).or_default(), headers);
            global.update(topic, 0, batch, self.now)?;
            global.commit()?;
            global.record_metrics(self.now);
            return Ok(true);
        }
        let Some(queue) = self.task.queue(topic) else { return Ok(false) };
        // As in Kafka's driver, the topics of a pattern count their offsets together.
        let counted = self.task.pattern_of(topic).unwrap_or_else(|| topic.to_owned());
        let batch = batch(self.offsets.entry(counted).or_default(), headers);
        self.task.add_records(queue, batch)?;
        Ok(true)
    }

    /// Processes what is queued, with a commit after every record; what is sent to source topics is queued at once.
    pub(super) fn run(&mut self) -> Result<()> {
        self.reenqueue()?;
        while self.task.process(self.now)? {
            self.commit()?;
            self.reenqueue()?;
        }
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        self.task.flush()?;
        self.task.commit_stores(|_| None)?;
        self.task.record_metrics(self.now);
        Ok(())
    }

    fn reenqueue(&mut self) -> Result<()> {
        let sent = self.sent.take_from(self.captured);
        self.captured += sent.len();
        for SentRecord { topic, key, value, timestamp, headers, .. } in sent {
            let timestamp = timestamp.unwrap_or(self.now);
            self.enqueue(&topic, key.as_deref(), value.as_deref(), timestamp, headers)?;
        }
        Ok(())
    }
}
