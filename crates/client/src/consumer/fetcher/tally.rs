//! How much of each answer was read, for metrics: an answer counts when all that it brought was read or given up.

use std::collections::HashMap;
use std::sync::Arc;

use crate::TopicPartition;
use crate::metrics::Amount;

/// Tells answers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AnswerId(u64);

/// One answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Parts that are not read to their end.
    open: usize,
    pub(crate) all: Amount,
    pub(crate) topics: Vec<(Arc<str>, Amount)>,
}

impl Answer {
    fn add(&mut self, topic: &Arc<str>, amount: Amount) {
        self.all += amount;
        match self.topics.iter_mut().find(|(known, _)| known == topic) {
            Some((_, sum)) => *sum += amount,
            None => self.topics.push((Arc::clone(topic), amount)),
        }
    }
}

/// The answers of which something is to be read, and what is to be recorded.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    last: u64,
    answers: HashMap<AnswerId, Answer>,
    done: Vec<Answer>,
    /// Partitions that were read.
    read: Vec<TopicPartition>,
}

impl Tally {
    /// An answer has come, with parts of these partitions.
    pub(crate) fn begin<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) -> AnswerId {
        self.last += 1;
        let id = AnswerId(self.last);
        let mut answer = Answer::default();
        for partition in partitions {
            answer.add(partition.topic_arc(), Amount::default());
        }
        self.answers.insert(id, answer);
        id
    }

    /// A part of it is to be read.
    pub(crate) fn expect(&mut self, id: AnswerId) {
        if let Some(answer) = self.answers.get_mut(&id) {
            answer.open += 1;
        }
    }

    /// All parts of it are known.
    pub(crate) fn arrived(&mut self, id: AnswerId) {
        if self.answers.get(&id).is_some_and(|answer| answer.open == 0) {
            self.end(id);
        }
    }

    /// A part is over, of which so much was read.
    pub(crate) fn over(&mut self, id: AnswerId, topic: &Arc<str>, amount: Amount) {
        let Some(answer) = self.answers.get_mut(&id) else { return };
        answer.add(topic, amount);
        answer.open = answer.open.saturating_sub(1);
        if answer.open == 0 {
            self.end(id);
        }
    }

    fn end(&mut self, id: AnswerId) {
        // One without partitions says nothing of how much there is to read.
        self.done.extend(self.answers.remove(&id).filter(|answer| !answer.topics.is_empty()));
    }

    /// Something of a partition was read.
    pub(crate) fn read(&mut self, partition: &TopicPartition) {
        self.read.push(partition.clone());
    }

    /// What is to be recorded since the last time.
    pub(crate) fn take(&mut self) -> (Vec<Answer>, Vec<TopicPartition>) {
        (std::mem::take(&mut self.done), std::mem::take(&mut self.read))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Tally;
    use crate::TopicPartition;
    use crate::metrics::Amount;

    #[test]
    fn an_answer_counts_when_all_of_it_is_over() {
        let mut tally = Tally::default();
        let (a, b) = (TopicPartition::new("a", 0), TopicPartition::new("b", 0));
        let id = tally.begin([&a, &b].into_iter());
        tally.expect(id);
        tally.expect(id);
        tally.arrived(id);
        let amount = |bytes, records| Amount { bytes, records };
        tally.over(id, a.topic_arc(), amount(10, 1));
        assert!(tally.take().0.is_empty());
        tally.over(id, a.topic_arc(), amount(20, 2));
        let (done, _) = tally.take();
        assert_eq!(done.len(), 1);
        assert_eq!(done[0].all, amount(30, 3));
        assert_eq!(done[0].topics, [(Arc::from("a"), amount(30, 3)), (Arc::from("b"), amount(0, 0))]);
    }

    #[test]
    fn an_answer_without_partitions_says_nothing() {
        let mut tally = Tally::default();
        let id = tally.begin(std::iter::empty());
        tally.arrived(id);
        assert!(tally.take().0.is_empty());
    }
}
