//! What is wanted of transactions, in order.
//!
//! A shard that is loaded again asks for markers that somebody may be writing already. Two who write the markers of one
//! transaction would be told apart by nothing once it is complete and the producer's next one has begun, at an epoch that
//! clients before KIP-890 keep: a late marker would end that one. So there is one at a time for a transactional id, and each
//! begins by asking whether the decision stands.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::shard::TransactionEffect;

/// What a shard wants, in the leader epoch of its partition.
pub(super) type Job = (i32, TransactionEffect);

/// The jobs of transactional ids of which one is being done.
#[derive(Debug, Default)]
pub(super) struct Jobs(HashMap<Arc<str>, VecDeque<Job>>);

impl Jobs {
    /// Takes a job; gives it back if it can begin.
    pub(super) fn arrive(&mut self, job: Job) -> Option<Job> {
        match self.0.get_mut(job.1.transactional_id()) {
            Some(waiting) => {
                waiting.push_back(job);
                None
            }
            None => {
                self.0.insert(Arc::clone(job.1.transactional_id()), VecDeque::new());
                Some(job)
            }
        }
    }

    /// Notes that the job of an id is done; gives the next one.
    pub(super) fn finish(&mut self, transactional_id: &Arc<str>) -> Option<Job> {
        let next = self.0.get_mut(transactional_id)?.pop_front();
        if next.is_none() {
            self.0.remove(transactional_id);
        }
        next
    }
}
