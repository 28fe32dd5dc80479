//! Incremental fetch sessions with one broker (KIP-227).
//!
//! The broker remembers the partitions of a session, so that a request names only those that are
//! new, changed or gone.

use std::collections::{HashMap, HashSet};

use vltava_protocol::messages::FetchRequest;
use vltava_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use vltava_protocol::{ErrorCode, Uuid};

use crate::TopicPartition;

/// The epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that closes a session, or does without one.
const FINAL_EPOCH: i32 = -1;
/// The id of no session.
const NO_SESSION: i32 = 0;

/// Highest version of `Fetch` that names topics instead of giving their ids.
pub(crate) const LAST_VERSION_WITH_NAMES: i16 = 12;

/// What to fetch of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchTarget {
    pub(crate) topic_id: Uuid,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
    /// -1 if it is not known.
    pub(crate) leader_epoch: i32,
}

/// The session with one broker.
#[derive(Debug)]
pub(crate) struct FetchSession {
    id: i32,
    epoch: i32,
    partitions: HashMap<TopicPartition, FetchTarget>,
    names: HashMap<Uuid, TopicPartition>,
}

impl Default for FetchSession {
    fn default() -> Self {
        Self { id: NO_SESSION, epoch: INITIAL_EPOCH, partitions: HashMap::new(), names: HashMap::new() }
    }
}

impl FetchSession {
    fn is_full(&self) -> bool {
        self.epoch == INITIAL_EPOCH || self.epoch == FINAL_EPOCH
    }

    /// Fills in a request for exactly these partitions, in this order. Returns whether all topics
    /// have ids; otherwise [`LAST_VERSION_WITH_NAMES`] is the highest version that can be sent.
    pub(crate) fn build(&mut self, wanted: &[(TopicPartition, FetchTarget)], request: &mut FetchRequest) -> bool {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        let mut ids = wanted.iter().all(|(_, target)| target.topic_id != Uuid::default());
        let full = self.is_full();
        let mut forgotten: Vec<(TopicPartition, Uuid)> = Vec::new();
        if full {
            self.partitions.clear();
        } else {
            let keep: HashSet<&TopicPartition> = wanted.iter().map(|(tp, _)| tp).collect();
            self.partitions.retain(|tp, target| {
                let kept = keep.contains(tp);
                if !kept {
                    forgotten.push((tp.clone(), target.topic_id));
                }
                kept
            });
            ids = ids && forgotten.iter().all(|(_, id)| *id != Uuid::default());
        }
        for (tp, target) in wanted {
            let known = self.partitions.insert(tp.clone(), *target);
            if known == Some(*target) {
                continue;
            }
            if let Some(known) = known
                && known.topic_id != target.topic_id
                && known.topic_id != Uuid::default()
                && target.topic_id != Uuid::default()
            {
                // The topic was deleted and created anew.
                forgotten.push((tp.clone(), known.topic_id));
            }
            add_target(&mut request.topics, tp, target);
        }
        forgotten.sort();
        for (tp, id) in forgotten {
            add_forgotten(&mut request.forgotten_topics_data, &tp, id);
        }
        self.names = if ids {
            self.partitions.iter().map(|(tp, target)| (target.topic_id, tp.clone())).collect()
        } else {
            HashMap::new()
        };
        ids
    }

    /// The topic with the given id, as this session knows it. The partition is any of the topic's.
    pub(crate) fn topic_of(&self, id: Uuid) -> Option<&TopicPartition> {
        self.names.get(&id)
    }

    /// Judges an answer; `partitions` are those in it, `None` for one of an unknown topic. Returns
    /// whether the answer's data may be used.
    pub(crate) fn on_response(
        &mut self,
        code: ErrorCode,
        session_id: i32,
        throttled: bool,
        partitions: &[Option<TopicPartition>],
    ) -> bool {
        if code != ErrorCode::None {
            tracing::info!(%code, session = self.id, "the broker did not process the fetch");
            if code == ErrorCode::FetchSessionIdNotFound {
                self.reopen();
            } else {
                self.close_and_reopen();
            }
            return false;
        }
        let known = partitions.iter().all(|tp| tp.as_ref().is_some_and(|tp| self.partitions.contains_key(tp)));
        if self.is_full() {
            if partitions.is_empty() && throttled {
                self.reopen();
                return false;
            }
            let all = partitions.iter().flatten().collect::<HashSet<_>>().len() == self.partitions.len();
            if !known || !all {
                tracing::info!("the broker sent an invalid full fetch answer");
                self.reopen();
                return false;
            }
            self.id = session_id;
            self.epoch = if session_id == NO_SESSION { INITIAL_EPOCH } else { INITIAL_EPOCH + 1 };
            return true;
        }
        if !known {
            tracing::info!(session = self.id, "the broker sent an invalid incremental fetch answer");
            self.close_and_reopen();
            return false;
        }
        if session_id == NO_SESSION {
            self.reopen();
        } else {
            self.epoch = next_epoch(self.epoch);
        }
        true
    }

    /// A request got no answer: what the broker remembers is not known.
    pub(crate) fn on_failure(&mut self) {
        self.close_and_reopen();
    }

    /// Fills in the request that closes the session; `false` if there is none.
    pub(crate) fn close(&mut self, request: &mut FetchRequest) -> bool {
        request.session_id = self.id;
        request.session_epoch = FINAL_EPOCH;
        self.id != NO_SESSION
    }

    fn reopen(&mut self) {
        self.id = NO_SESSION;
        self.epoch = INITIAL_EPOCH;
    }

    /// The next request closes this session, by naming it, and opens another.
    fn close_and_reopen(&mut self) {
        self.epoch = INITIAL_EPOCH;
    }
}

/// The epoch after `epoch`, which is never one of the special ones.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

fn add_target(topics: &mut Vec<FetchTopic>, tp: &TopicPartition, target: &FetchTarget) {
    let partition = FetchPartition {
        partition: tp.partition(),
        current_leader_epoch: target.leader_epoch,
        fetch_offset: target.offset,
        partition_max_bytes: target.max_bytes,
        ..Default::default()
    };
    match topics.last_mut() {
        // Only neighbours share an entry, so that the order of partitions is kept.
        Some(last) if last.topic == tp.topic() && last.topic_id == target.topic_id => last.partitions.push(partition),
        _ => topics.push(FetchTopic {
            topic: tp.topic().to_owned(),
            topic_id: target.topic_id,
            partitions: vec![partition],
            ..Default::default()
        }),
    }
}

fn add_forgotten(topics: &mut Vec<ForgottenTopic>, tp: &TopicPartition, id: Uuid) {
    match topics.last_mut() {
        Some(last) if last.topic == tp.topic() && last.topic_id == id => last.partitions.push(tp.partition()),
        _ => topics.push(ForgottenTopic {
            topic: tp.topic().to_owned(),
            topic_id: id,
            partitions: vec![tp.partition()],
            ..Default::default()
        }),
    }
}
