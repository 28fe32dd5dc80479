//! Topics that come into being because somebody asked for them (Kafka's `AutoTopicCreationManager`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use vltava_protocol::ErrorCode;

use super::Controller;
use super::recent_errors::RecentErrors;
use super::topics::{self, NewTopic};
use crate::clock;
use crate::config::BrokerConfig;
use crate::metadata::topic_name;
use crate::quota::MutationQuota;

/// Creates topics with the broker's defaults.
#[derive(Debug)]
pub(crate) struct AutoTopicCreation {
    controller: Arc<Controller>,
    /// Topics that are being created.
    creating: Mutex<BTreeSet<String>>,
    /// Why internal topics of streams groups are not there.
    errors: Mutex<RecentErrors>,
}

impl AutoTopicCreation {
    pub(crate) fn new(controller: Arc<Controller>) -> Self {
        Self { controller, creating: Mutex::default(), errors: Mutex::default() }
    }

    /// Whether `auto.create.topics.enable` lets clients ask for topics.
    pub(crate) fn is_enabled(&self) -> bool {
        self.controller.config.auto_create_topics
    }

    /// Creates those of `names` that can be created, by a quota; tells what keeps the others from being.
    pub(crate) async fn create(&self, names: &[&str], quota: &MutationQuota) -> BTreeMap<String, ErrorCode> {
        let mut failures = BTreeMap::new();
        for name in names {
            let config = &self.controller.config;
            let topic = if topic_name::is_internal(name) { internal(config, name) } else { by_default(name) };
            if let Err(error) = topics::create(&self.controller, topic, quota.clone()).await
                && error.code != ErrorCode::TopicAlreadyExists
            {
                failures.insert((*name).to_owned(), error.code);
            }
        }
        failures
    }

    /// Creates topics while the caller goes on, where `auto.create.topics.enable` lets clients ask for that. One that is
    /// being created already is left to that.
    pub(crate) fn begin(self: &Arc<Self>, names: Vec<String>, quota: MutationQuota) {
        if !self.is_enabled() {
            return;
        }
        let begun = {
            let mut creating = self.creating.lock();
            names.into_iter().filter(|name| creating.insert(name.clone())).collect::<Vec<_>>()
        };
        if begun.is_empty() {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let names: Vec<&str> = begun.iter().map(String::as_str).collect();
            for (name, code) in this.create(&names, &quota).await {
                tracing::warn!(topic = name, error = code.name(), "a topic could not be created");
            }
            let mut creating = this.creating.lock();
            for name in &begun {
                creating.remove(name);
            }
        });
    }
}

impl AutoTopicCreation {
    /// Creates the internal topics of a streams group while the caller goes on. One that is being created already is left
    /// to that, and one whose creation failed waits until that is forgotten, after `keep_ms`.
    pub(crate) fn begin_internal(self: &Arc<Self>, topics: Vec<NewTopic>, quota: MutationQuota, keep_ms: i64) {
        let now_ms = clock::wall_clock_ms();
        let begun: Vec<NewTopic> = {
            let errors = self.errors.lock();
            let mut creating = self.creating.lock();
            let is_due = |topic: &NewTopic| errors.get(&topic.name, now_ms).is_none();
            topics.into_iter().filter(|topic| is_due(topic) && creating.insert(topic.name.clone())).collect()
        };
        if begun.is_empty() {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            for topic in begun {
                let name = topic.name.clone();
                match topics::create(&this.controller, topic, quota.clone()).await {
                    Err(error) if error.code != ErrorCode::TopicAlreadyExists => {
                        let text = error.text().unwrap_or_else(|| error.code.message().to_owned());
                        tracing::warn!(topic = name, error = text, "an internal topic could not be created");
                        this.errors.lock().put(&name, text, clock::wall_clock_ms(), keep_ms);
                    }
                    _ => {}
                }
                this.creating.lock().remove(&name);
            }
        });
    }

    /// Why topics could not be created lately, by name in their order.
    pub(crate) fn recent_errors<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<(&'a str, String)> {
        let now_ms = clock::wall_clock_ms();
        let errors = self.errors.lock();
        names.filter_map(|name| Some((name, errors.get(name, now_ms)?.to_owned()))).collect()
    }
}

fn by_default(name: &str) -> NewTopic {
    NewTopic { name: name.to_owned(), num_partitions: -1, replication_factor: -1, ..NewTopic::default() }
}

/// A coordinator's topic, with the settings that Kafka gives it.
fn internal(config: &BrokerConfig, name: &str) -> NewTopic {
    let replication_factor = config.internal_replication_factor();
    let (num_partitions, configs) = match name {
        topic_name::CONSUMER_OFFSETS => (
            config.offsets_topic_num_partitions,
            vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
            ],
        ),
        topic_name::TRANSACTION_STATE => (
            config.transaction_topic.num_partitions,
            vec![
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "uncompressed".to_owned()),
                // No more than there are replicas: nothing could be written.
                ("min.insync.replicas", replication_factor.to_string()),
                ("segment.bytes", config.transaction_topic.segment_bytes.to_string()),
                ("unclean.leader.election.enable", "false".to_owned()),
            ],
        ),
        _ => return by_default(name),
    };
    NewTopic {
        num_partitions,
        replication_factor,
        configs: configs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..by_default(name)
    }
}
