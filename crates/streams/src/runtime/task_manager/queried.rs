//! What queries see of a thread's tasks.

use vltava_client::TopicPartition;

use super::{ActiveTask, TaskManager, standbys::StandbyTask};
use crate::{
    error::Result,
    query::{Position, QueriedStore, TaskMetadata},
    task::{Task, TaskId},
};

impl TaskManager {
    /// The active tasks, for queries, and then, if they are wanted, the standbys.
    pub(in crate::runtime) fn queried_tasks(&mut self, standbys: bool) -> impl Iterator<Item = QueriedTask<'_>> {
        let standbys = self.standbys.values_mut().filter(move |_| standbys).map(QueriedTask::Standby);
        self.tasks.values_mut().map(QueriedTask::Active).chain(standbys)
    }

    /// Of every store that has a changelog how far it is in it: `None` for those of a task that writes it.
    pub(in crate::runtime) fn store_positions(&mut self) -> Result<Vec<StorePosition>> {
        let mut positions = Vec::new();
        for active in self.tasks.values() {
            let id = active.task.id();
            let is_at_work = active.task.is_initialized();
            for (store, covered) in active.task.store_offsets()? {
                let Some(changelog) = self.maker.changelog_of(&store, id) else { continue };
                let complete = active.covered.get(&store).map(|(_, offset)| *offset);
                // As in Kafka, what has nothing counts from 0, wherever the changelog begins.
                let position = match (is_at_work, complete.or(covered)) {
                    (true, _) => None,
                    (false, Some(offset)) => Some(offset),
                    (false, None) => Some(0),
                };
                positions.push(StorePosition { store, changelog, position });
            }
        }
        for id in self.standbys.keys() {
            for followed in self.restorer.followed(*id) {
                let (store, changelog) = (followed.store, followed.changelog);
                positions.push(StorePosition { store, changelog, position: Some(followed.next) });
            }
        }
        Ok(positions)
    }
}

/// How far a store is in its changelog.
pub(in crate::runtime) struct StorePosition {
    pub(in crate::runtime) store: String,
    pub(in crate::runtime) changelog: TopicPartition,
    /// The store has what is before this offset; `None` if it has all.
    pub(in crate::runtime) position: Option<i64>,
}

/// A task, for a query.
pub(in crate::runtime) enum QueriedTask<'a> {
    Active(&'a mut ActiveTask),
    Standby(&'a mut StandbyTask),
}

impl QueriedTask<'_> {
    fn task(&self) -> &Task {
        match self {
            QueriedTask::Active(active) => &active.task,
            QueriedTask::Standby(standby) => &standby.task,
        }
    }

    pub(in crate::runtime) fn id(&self) -> TaskId {
        self.task().id()
    }

    pub(in crate::runtime) fn is_active(&self) -> bool {
        matches!(self, QueriedTask::Active(_))
    }

    /// A store by its number, if it is one of this task's.
    pub(in crate::runtime) fn store(&mut self, id: usize) -> Option<QueriedStore<'_>> {
        let task = match self {
            QueriedTask::Active(active) => &mut active.task,
            QueriedTask::Standby(standby) => &mut standby.task,
        };
        QueriedStore::of(task.ctx_mut(), id)
    }

    /// The last offsets that the stores cover, with what is in the record caches or without it. Nothing is said of
    /// stores that are being restored, and of a standby what it is known to cover.
    pub(in crate::runtime) fn position(&self, with_cache: bool) -> Position {
        let ActiveTask { task, committed, .. } = match self {
            QueriedTask::Active(active) => &**active,
            QueriedTask::Standby(standby) => return standby.position().clone(),
        };
        let mut position = Position::empty();
        if !task.is_initialized() {
            return position;
        }
        let partition = task.id().partition;
        let committed = committed.iter().map(|(partition, offset)| (partition.topic().to_owned(), *offset));
        let consumed = task.consumed_offsets().map(|(topic, consumed)| (topic.to_owned(), consumed.offset));
        for (topic, next) in committed.chain(consumed.filter(|_| with_cache)) {
            if next > 0 {
                position.advance(topic, partition, next - 1);
            }
        }
        position
    }

    pub(in crate::runtime) fn metadata(&self) -> TaskMetadata {
        let inputs = match self {
            QueriedTask::Active(active) => {
                let committed = |partition: &TopicPartition| active.committed.get(partition).copied();
                active.inputs.keys().map(|partition| (partition.clone(), committed(partition))).collect()
            }
            // As in Kafka it has committed nothing.
            QueriedTask::Standby(standby) => standby.inputs().map(|partition| (partition.clone(), None)).collect(),
        };
        TaskMetadata { task_id: self.id(), inputs }
    }
}
