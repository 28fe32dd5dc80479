//! All sessions of a broker, at most `max.incremental.fetch.session.cache.slots` of them.

use std::collections::HashMap;

use vltava_protocol::ErrorCode;

use super::session::{Answered, FetchKey, FetchTarget, Session};

/// A session unused for as long may be given up for a new one (Kafka's
/// `min.incremental.fetch.session.eviction.ms`, fixed there too).
const EVICTION_MS: i64 = 120_000;

/// The epoch of a request that wants a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants none, or gives its session up.
const FINAL_EPOCH: i32 = -1;

#[derive(Debug)]
struct Entry {
    session: Session,
    next_epoch: i32,
    uses_topic_ids: bool,
    last_used_ms: i64,
}

/// The sessions by id.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    entries: HashMap<i32, Entry>,
    slots: usize,
    /// How many were given up for others.
    evictions: u64,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) sessions: usize,
    pub(crate) partitions: usize,
    pub(crate) evictions: u64,
}

/// How a request is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// Everything is answered, nothing remembered.
    Sessionless,
    /// Everything is answered, and remembered if there is a slot.
    Full,
    /// Only what is new is answered.
    Incremental(i32),
}

impl FetchSessions {
    pub(crate) fn new(slots: usize) -> Self {
        Self { entries: HashMap::new(), slots, evictions: 0 }
    }

    pub(crate) fn size(&self) -> Size {
        let partitions = self.entries.values().map(|entry| entry.session.len()).sum();
        Size { sessions: self.entries.len(), partitions, evictions: self.evictions }
    }

    /// Opens the session that the request's id and epoch speak of, changes it as the request says,
    /// and gives the partitions to fetch.
    ///
    /// # Errors
    ///
    /// The code for the whole answer, when the session is not known or out of step.
    pub(crate) fn open(
        &mut self,
        session: SessionRef,
        changed: Vec<(FetchKey, FetchTarget)>,
        forgotten: &[FetchKey],
        now_ms: i64,
    ) -> Result<(Opened, Vec<(FetchKey, FetchTarget)>), ErrorCode> {
        let SessionRef { id, epoch, uses_topic_ids } = session;
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            if id != 0 {
                self.entries.remove(&id);
            }
            let opened = if epoch == FINAL_EPOCH { Opened::Sessionless } else { Opened::Full };
            return Ok((opened, changed));
        }
        let entry = self.entries.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if entry.uses_topic_ids != uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if entry.next_epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        for (key, target) in changed {
            entry.session.set(key, target);
        }
        for key in forgotten {
            entry.session.forget(key);
        }
        if entry.session.len() == 0 {
            self.entries.remove(&id);
            return Ok((Opened::Sessionless, Vec::new()));
        }
        entry.next_epoch = following(epoch);
        entry.last_used_ms = now_ms;
        Ok((Opened::Incremental(id), entry.session.targets()))
    }

    /// Remembers a full answer as a new session; 0 if there is no slot for it.
    pub(crate) fn create(
        &mut self,
        uses_topic_ids: bool,
        partitions: &[(FetchKey, FetchTarget, Answered)],
        now_ms: i64,
    ) -> i32 {
        if partitions.is_empty() || !self.make_room(partitions.len(), now_ms) {
            return 0;
        }
        let mut session = Session::default();
        for (key, target, answered) in partitions {
            session.set(key.clone(), *target);
            session.answer(key, *answered);
        }
        let id = loop {
            let id = fastrand::i32(1..);
            if !self.entries.contains_key(&id) {
                break id;
            }
        };
        self.entries.insert(id, Entry { session, next_epoch: 1, uses_topic_ids, last_used_ms: now_ms });
        id
    }

    /// Notes what an incremental answer says of a partition; false if it need not be said.
    pub(crate) fn answer(&mut self, id: i32, key: &FetchKey, answered: Answered) -> bool {
        // A session that was given up meanwhile leaves its answer complete.
        self.entries.get_mut(&id).is_none_or(|entry| entry.session.answer(key, answered))
    }

    /// What [`Self::answer`] would say, without noting it.
    pub(crate) fn would_answer(&self, id: i32, key: &FetchKey, answered: Answered) -> bool {
        self.entries.get(&id).is_none_or(|entry| entry.session.would_answer(key, answered))
    }

    fn make_room(&mut self, partitions: usize, now_ms: i64) -> bool {
        if self.entries.len() < self.slots {
            return true;
        }
        let idle = |entry: &Entry| now_ms - entry.last_used_ms > EVICTION_MS;
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_used_ms);
        let victim = match oldest {
            Some((id, entry)) if idle(entry) => Some(*id),
            // A session of fewer partitions saves less than the new one would.
            _ => {
                let smallest = self.entries.iter().min_by_key(|(_, entry)| entry.session.len());
                smallest.filter(|(_, entry)| entry.session.len() < partitions && idle(entry)).map(|(id, _)| *id)
            }
        };
        let evicted = victim.is_some_and(|id| self.entries.remove(&id).is_some());
        self.evictions += u64::from(evicted);
        evicted
    }
}

/// What a request says about its session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionRef {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    pub(crate) uses_topic_ids: bool,
}

/// After the highest epoch comes 1: 0 would begin a new session.
fn following(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use vltava_protocol::Uuid;

    use super::*;

    fn key(partition: i32) -> FetchKey {
        FetchKey { topic: "t".to_owned(), topic_id: Uuid::default(), partition }
    }

    fn target(fetch_offset: i64) -> FetchTarget {
        FetchTarget { fetch_offset, max_bytes: 1000, current_leader_epoch: -1, last_fetched_epoch: -1 }
    }

    fn answered(records_bytes: usize, high_watermark: i64) -> Answered {
        Answered { records_bytes, high_watermark, log_start_offset: 0, failed: false, diverging: false }
    }

    fn at(id: i32, epoch: i32) -> SessionRef {
        SessionRef { id, epoch, uses_topic_ids: false }
    }

    fn partitions(targets: &[(FetchKey, FetchTarget)]) -> Vec<i32> {
        targets.iter().map(|(key, _)| key.partition).collect()
    }

    #[test]
    fn an_incremental_fetch_tells_only_what_is_new() {
        let mut sessions = FetchSessions::new(10);
        let all: Vec<_> = (0..3).map(|p| (key(p), target(0))).collect();
        let (opened, targets) = sessions.open(at(0, 0), all, &[], 0).unwrap();
        assert_eq!((opened, targets.len()), (Opened::Full, 3));
        let told: Vec<_> = targets.into_iter().map(|(k, t)| (k, t, answered(0, 5))).collect();
        let id = sessions.create(false, &told, 0);
        assert_ne!(id, 0);

        let (opened, targets) = sessions.open(at(id, 1), vec![(key(1), target(7))], &[key(2)], 1).unwrap();
        assert_eq!(opened, Opened::Incremental(id));
        assert_eq!(partitions(&targets), [0, 1]);
        assert_eq!(targets[1].1.fetch_offset, 7);
        assert!(!sessions.answer(id, &key(1), answered(0, 5)));
        assert!(sessions.answer(id, &key(1), answered(0, 6)));
        assert!(sessions.answer(id, &key(0), answered(100, 5)));
        let failed = Answered { failed: true, ..answered(0, 6) };
        assert!(sessions.answer(id, &key(1), failed));
        assert!(sessions.answer(id, &key(1), answered(0, 6)), "told again after an error");

        let (_, targets) = sessions.open(at(id, 2), vec![], &[], 1).unwrap();
        assert_eq!(partitions(&targets), [1, 0], "what gave records goes last");
    }

    #[test]
    fn sessions_out_of_step_are_refused() {
        let mut sessions = FetchSessions::new(10);
        assert_eq!(sessions.open(at(9, 1), vec![], &[], 0), Err(ErrorCode::FetchSessionIdNotFound));
        let id = sessions.create(false, &[(key(0), target(0), answered(0, 0))], 0);
        assert_eq!(sessions.open(at(id, 2), vec![], &[], 0), Err(ErrorCode::InvalidFetchSessionEpoch));
        let by_id = SessionRef { uses_topic_ids: true, ..at(id, 1) };
        assert_eq!(sessions.open(by_id, vec![], &[], 0), Err(ErrorCode::FetchSessionTopicIdError));
        let (opened, _) = sessions.open(at(id, 1), vec![], &[key(0)], 0).unwrap();
        assert_eq!(opened, Opened::Sessionless, "nothing left to remember");
        assert_eq!(sessions.open(at(id, 2), vec![], &[], 0), Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn a_full_cache_gives_up_only_what_is_idle() {
        let mut sessions = FetchSessions::new(1);
        let one = [(key(0), target(0), answered(0, 0))];
        let first = sessions.create(false, &one, 0);
        assert_ne!(first, 0);
        assert_eq!(sessions.create(false, &one, 1000), 0);
        let second = sessions.create(false, &one, EVICTION_MS + 1);
        assert_ne!(second, 0);
        assert_eq!(sessions.size(), Size { sessions: 1, partitions: 1, evictions: 1 });
        assert_eq!(sessions.open(at(first, 1), vec![], &[], 0), Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn after_the_highest_epoch_comes_one() {
        assert_eq!((following(1), following(i32::MAX)), (2, 1));
    }
}
