//! What a `read_committed` reader may see of the transfers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ABORTED;

/// A change of an account: `ACCOUNT:CHANGE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    account: u32,
    change: i64,
}

/// The first half of a transfer whose second one has not been read.
#[derive(Clone, Debug)]
struct Half {
    id: String,
    offset: i64,
    entry: Entry,
}

/// A transfer's entries, in the ledger and in the accounts' topic.
#[derive(Clone, Debug, Default)]
struct Transfer {
    ledger: Vec<Entry>,
    accounts: Vec<Entry>,
}

/// All that has been read.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By partition of the ledger.
    halves: BTreeMap<i32, Half>,
    transfers: HashMap<String, Transfer>,
    /// By client the transfers that are whole in its partition.
    complete: BTreeMap<String, u64>,
    balances: BTreeMap<u32, i64>,
    faults: Vec<String>,
    moments: u64,
}

impl Ledger {
    /// Takes a record of the ledger, in the order of its partition.
    pub fn take_ledger(&mut self, partition: i32, offset: i64, id: &str, value: &str) {
        let Some(entry) = self.entry("ledger", id, value) else { return };
        let transfer = self.transfers.entry(id.to_owned()).or_default();
        transfer.ledger.push(entry);
        let entries = transfer.ledger.len();
        match self.halves.remove(&partition) {
            Some(half) if half.id == id && half.entry.change == -entry.change => {
                let client = id.split('-').next().unwrap_or_default();
                *self.complete.entry(client.to_owned()).or_default() += 1;
            }
            Some(half) => self.faults.push(format!(
                "ledger-{partition}: of transfer {} only {:?} at offset {} is visible, behind it comes {id} with {entry:?} at {offset}",
                half.id, half.entry, half.offset
            )),
            None if entries > 1 => {
                self.faults.push(format!("ledger-{partition}: transfer {id} comes again at offset {offset}"));
            }
            None => drop(self.halves.insert(partition, Half { id: id.to_owned(), offset, entry })),
        }
    }

    /// Takes a record of the accounts' topic.
    pub fn take_account(&mut self, id: &str, value: &str) {
        let Some(entry) = self.entry("accounts", id, value) else { return };
        *self.balances.entry(entry.account).or_default() += entry.change;
        self.transfers.entry(id.to_owned()).or_default().accounts.push(entry);
    }

    fn entry(&mut self, topic: &str, id: &str, value: &str) -> Option<Entry> {
        if id.ends_with(ABORTED) {
            self.faults.push(format!("{topic}: transfer {id} was aborted, and is visible"));
        }
        let parsed = value
            .split_once(':')
            .and_then(|(account, change)| Some(Entry { account: account.parse().ok()?, change: change.parse().ok()? }));
        if parsed.is_none() {
            self.faults.push(format!("{topic}: transfer {id} is {value:?}"));
        }
        parsed
    }

    /// A moment: a partition of the ledger has been read up to its last stable offset, or further. What lies before it is whole.
    pub fn moment(&mut self, partition: i32, last_stable_offset: i64) {
        self.moments += 1;
        if let Some(half) = self.halves.get(&partition).filter(|half| half.offset < last_stable_offset) {
            self.faults.push(format!(
                "ledger-{partition}: below the last stable offset {last_stable_offset} of transfer {} only {:?} is visible",
                half.id, half.entry
            ));
        }
    }

    /// How often a partition was looked at as a whole.
    pub fn moments(&self) -> u64 {
        self.moments
    }

    /// Transfers that are whole, by client.
    pub fn complete(&self) -> &BTreeMap<String, u64> {
        &self.complete
    }

    /// What is wrong so far.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// What is wrong when all is read: also what of a transfer is missing, and what a client was told is committed and is not.
    pub fn final_faults<'a>(&self, committed: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut faults = self.faults.clone();
        for (partition, half) in &self.halves {
            faults.push(format!("ledger-{partition}: of transfer {} only {:?} is there", half.id, half.entry));
        }
        let sorted = |entries: &[Entry]| entries.iter().copied().collect::<BTreeSet<_>>();
        for (id, transfer) in &self.transfers {
            let Transfer { ledger, accounts } = transfer;
            if ledger.len() != 2 || accounts.len() != 2 || sorted(ledger) != sorted(accounts) {
                faults.push(format!("transfer {id}: {ledger:?} in the ledger, {accounts:?} in the accounts"));
            }
        }
        let lost = committed.filter(|id| !self.transfers.contains_key(*id));
        faults.extend(lost.map(|id| format!("transfer {id} was committed, and is not there")));
        let sum: i64 = self.balances.values().sum();
        if sum != 0 {
            faults.push(format!("the accounts have {sum} more than they had"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(ledger: &mut Ledger, offset: i64, id: &str) {
        for (at, value) in [(offset, "1:-5"), (offset + 1, "2:5")] {
            ledger.take_ledger(0, at, id, value);
            ledger.take_account(id, value);
        }
    }

    #[test]
    fn whole_transfers_are_right() {
        let mut ledger = Ledger::default();
        transfer(&mut ledger, 0, "ours-1-0");
        ledger.moment(0, 3);
        transfer(&mut ledger, 3, "ours-1-1");
        ledger.moment(0, 6);
        assert_eq!(ledger.final_faults(["ours-1-0"].into_iter()), Vec::<String>::new());
        assert_eq!((ledger.moments(), ledger.complete().get("ours")), (2, Some(&2)));
    }

    #[test]
    fn half_a_transfer_is_found_below_the_last_stable_offset_only() {
        let mut ledger = Ledger::default();
        ledger.take_ledger(0, 5, "a-1-0", "1:-5");
        ledger.moment(0, 5);
        assert!(ledger.faults().is_empty());
        ledger.moment(0, 6);
        assert_eq!(ledger.faults().len(), 1);
        let mut ledger = Ledger::default();
        ledger.take_ledger(0, 5, "a-1-0", "1:-5");
        ledger.take_ledger(0, 9, "a-1-1", "1:-7");
        assert_eq!(ledger.faults().len(), 1, "{:?}", ledger.faults());
    }

    #[test]
    fn what_comes_twice_is_aborted_or_lost_is_found() {
        let mut ledger = Ledger::default();
        transfer(&mut ledger, 0, "a-1-0");
        transfer(&mut ledger, 3, "a-1-0");
        assert!(ledger.faults().iter().any(|fault| fault.contains("comes again")), "{:?}", ledger.faults());
        let mut ledger = Ledger::default();
        transfer(&mut ledger, 0, "a-1-0-aborted");
        assert!(ledger.faults().iter().any(|fault| fault.contains("was aborted")), "{:?}", ledger.faults());
        let ledger = Ledger::default();
        assert_eq!(ledger.final_faults(["a-1-0"].into_iter()).len(), 1);
    }

    #[test]
    fn accounts_that_differ_from_the_ledger_are_found() {
        let mut ledger = Ledger::default();
        transfer(&mut ledger, 0, "a-1-0");
        ledger.take_account("a-1-0", "2:5");
        let faults = ledger.final_faults([].into_iter());
        assert!(faults.iter().any(|fault| fault.contains("5 more than they had")), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.starts_with("transfer a-1-0:")), "{faults:?}");
    }
}
