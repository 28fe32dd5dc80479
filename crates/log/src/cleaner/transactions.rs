//! Which batches belong to aborted transactions, and which markers still have something to say.

use std::collections::{HashMap, HashSet};

use crate::batch::BatchHeader;
use crate::producer_state::EndTxnMarker;
use crate::transaction_index::AbortedTransaction;

/// The transactions that a walk through the log is in.
#[derive(Debug)]
pub(super) struct CleanedTransactions<'a> {
    /// Those that did not begin yet, by first offset.
    aborted: &'a [AbortedTransaction],
    ongoing_committed: HashSet<i64>,
    /// By producer, and whether a batch of it was met.
    ongoing_aborted: HashMap<i64, (AbortedTransaction, bool)>,
    /// Aborted transactions whose marker stays, for the index of the new segment.
    retained: Vec<AbortedTransaction>,
}

impl<'a> CleanedTransactions<'a> {
    pub(super) fn new(aborted: &'a [AbortedTransaction]) -> Self {
        Self { aborted, ongoing_committed: HashSet::new(), ongoing_aborted: HashMap::new(), retained: Vec::new() }
    }

    /// Goes on to a batch. Whether it can be discarded: a data batch because its transaction was aborted, a marker
    /// because nothing is left of its transaction.
    pub(super) fn on_batch(&mut self, header: &BatchHeader, marker: Option<EndTxnMarker>) -> bool {
        while let Some((first, rest)) = self.aborted.split_first()
            && first.first_offset <= header.last_offset()
        {
            self.ongoing_aborted.entry(first.producer_id).or_insert((*first, false));
            self.aborted = rest;
        }
        let producer_id = header.producer_id();
        if header.is_control() {
            return match marker {
                // An empty one was cleaned before; one of another kind stays.
                None => header.count() == 0,
                Some(EndTxnMarker { is_abort: true, .. }) => match self.ongoing_aborted.remove(&producer_id) {
                    Some((transaction, true)) => {
                        self.retained.push(transaction);
                        false
                    }
                    _ => true,
                },
                Some(_) => !self.ongoing_committed.remove(&producer_id),
            };
        }
        if !header.is_transactional() {
            return false;
        }
        match self.ongoing_aborted.get_mut(&producer_id) {
            Some((_, was_met)) => {
                *was_met = true;
                true
            }
            None => {
                self.ongoing_committed.insert(producer_id);
                false
            }
        }
    }

    pub(super) fn take_retained_aborted(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.retained)
    }
}
