//! A cluster in memory: logs that check producers as Kafka's do, one transaction coordinator of either version, one group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Decompressor, RecordBatch, increment_sequence};

use crate::producer::sender::{Identity, Part, PartitionOutcome};
use crate::producer::transaction::calls::{Answer, Offer, Request};
use crate::producer::transaction::manager::TransactionVersion;

/// What lies in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Data { producer: i64, value: String },
    Marker { producer: i64, commit: bool },
}

/// What a partition remembers of a producer.
#[derive(Debug, Default)]
struct Known {
    epoch: i16,
    /// First and last sequence and offset of the last five batches.
    batches: VecDeque<(i32, i32, i64)>,
    is_open: bool,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    known: BTreeMap<i64, Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing,
    Prepared { commit: bool },
    Complete { commit: bool },
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) version: TransactionVersion,
    pub(super) logs: Vec<Log>,
    /// Who may go on, and the epoch before, of who may repeat its request for this one.
    current: Option<Identity>,
    before: Option<Identity>,
    state: State,
    partitions: BTreeSet<usize>,
    has_group: bool,
    /// Offsets that the group has for the transaction, and those that count.
    pending_offset: Option<i64>,
    pub(super) offset: Option<i64>,
    /// What a transaction has to have when it is committed.
    pub(super) given: BTreeSet<String>,
    pub(super) complaints: Vec<String>,
}

impl Model {
    pub(super) fn new(partitions: usize, version: TransactionVersion) -> Self {
        Self {
            version,
            logs: (0..partitions).map(|_| Log::default()).collect(),
            current: None,
            before: None,
            state: State::Empty,
            partitions: BTreeSet::new(),
            has_group: false,
            pending_offset: None,
            offset: None,
            given: BTreeSet::new(),
            complaints: Vec::new(),
        }
    }

    /// A batch arrives at its leader.
    pub(super) fn write(&mut self, part: &Part, version: TransactionVersion) -> PartitionOutcome {
        let outcome = |code, base_offset| PartitionOutcome { code, base_offset, ..PartitionOutcome::UNKNOWN };
        match self.append(part, version) {
            Ok(offset) => outcome(ErrorCode::None, offset),
            Err(code) => outcome(code, -1),
        }
    }

    fn append(&mut self, part: &Part, version: TransactionVersion) -> Result<i64, ErrorCode> {
        let batch = RecordBatch::parse(part.bytes.clone()).unwrap();
        batch.verify_crc().unwrap();
        if !batch.is_transactional() {
            self.complaints.push("a batch outside of a transaction".to_owned());
        }
        let header = *batch.header();
        let sender = Identity { id: header.producer_id(), epoch: header.producer_epoch() };
        let index = part.partition as usize;
        let known = self.logs[index].known.get(&sender.id);
        if known.is_some_and(|known| sender.epoch < known.epoch) {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if !known.is_some_and(|known| known.is_open && known.epoch == sender.epoch) {
            self.verify(sender, index, version)?;
        }
        let log = &mut self.logs[index];
        let first = header.base_sequence();
        let last = increment_sequence(first, header.count() - 1);
        let base_offset = log.entries.len() as i64;
        if let Some(known) = log.known.get(&sender.id) {
            if known.epoch == sender.epoch {
                if let Some((_, _, offset)) = known.batches.iter().find(|one| (one.0, one.1) == (first, last)) {
                    return Ok(*offset);
                }
                let expected = known.batches.back().map_or(0, |one| increment_sequence(one.1, 1));
                if first != expected {
                    return Err(ErrorCode::OutOfOrderSequenceNumber);
                }
            } else if first != 0 {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
        }
        // A producer that is not known begins with any number, as at Kafka's.
        let known = log.known.entry(sender.id).or_default();
        if known.epoch != sender.epoch {
            *known = Known { epoch: sender.epoch, ..Known::default() };
        }
        known.is_open = true;
        known.batches.push_back((first, last, base_offset));
        if known.batches.len() > 5 {
            known.batches.pop_front();
        }
        for record in batch.records(&mut Decompressor::new()).unwrap() {
            let value = String::from_utf8(record.unwrap().value().unwrap().to_vec()).unwrap();
            log.entries.push(Entry::Data { producer: sender.id, value });
        }
        Ok(base_offset)
    }

    /// The leader asks whether the partition is in the transaction; since version 2 the batch itself puts it there.
    fn verify(&mut self, sender: Identity, index: usize, version: TransactionVersion) -> Result<(), ErrorCode> {
        self.check(sender).map_err(|_| ErrorCode::InvalidProducerEpoch)?;
        match (version, self.state) {
            (_, State::Prepared { .. }) => Err(ErrorCode::ConcurrentTransactions),
            (TransactionVersion::One, State::Ongoing) if self.partitions.contains(&index) => Ok(()),
            (TransactionVersion::One, _) => Err(ErrorCode::InvalidTxnState),
            (TransactionVersion::Two, _) => {
                self.state = State::Ongoing;
                self.partitions.insert(index);
                Ok(())
            }
        }
    }

    fn check(&self, sender: Identity) -> Result<(), ErrorCode> {
        match self.current {
            Some(current) if current == sender => Ok(()),
            Some(current) if current.id == sender.id => Err(ErrorCode::ProducerFenced),
            _ => Err(ErrorCode::InvalidProducerIdMapping),
        }
    }

    /// A request arrives at its coordinator.
    pub(super) fn handle(&mut self, request: &Request) -> Answer {
        let result = match request {
            Request::InitProducerId { identity } => self.init(*identity).map(Some),
            Request::AddPartitions { identity, partitions } => self.begin(*identity).map(|()| {
                self.partitions.extend(partitions.iter().map(|one| one.partition as usize));
                None
            }),
            Request::AddOffsets { identity, .. } => self.begin(*identity).map(|()| {
                self.has_group = true;
                None
            }),
            Request::CommitOffsets { identity, version, offsets, .. } => {
                self.take_offsets(*identity, *version, offsets[0].1.offset).map(|()| None)
            }
            Request::End { identity, version, commit } => self.end(*identity, *version, *commit),
        };
        let offer = request.group().is_none().then_some(Offer { version: self.version, has_new_epochs: true });
        let count = match request {
            Request::AddPartitions { partitions, .. } => partitions.len(),
            _ => 1,
        };
        match result {
            Ok(identity) => Answer { codes: vec![ErrorCode::None; count], identity, offer },
            Err(code) => Answer { codes: vec![code; count], identity: None, offer },
        }
    }

    fn init(&mut self, asks: Option<Identity>) -> Result<Identity, ErrorCode> {
        match self.state {
            State::Prepared { .. } => return Err(ErrorCode::ConcurrentTransactions),
            State::Ongoing if asks.is_none_or(|asks| self.check(asks).is_ok()) => {
                self.next_epoch();
                self.state = State::Prepared { commit: false };
                return Err(ErrorCode::ConcurrentTransactions);
            }
            _ => {}
        }
        if let Some(asks) = asks {
            if self.before == Some(asks) {
                return Ok(self.current.unwrap());
            }
            self.check(asks)?;
        }
        Ok(self.next_epoch())
    }

    fn next_epoch(&mut self) -> Identity {
        let next = match self.current {
            Some(current) => Identity { epoch: current.epoch + 1, ..current },
            None => Identity { id: 7, epoch: 0 },
        };
        self.before = self.current;
        self.current = Some(next);
        next
    }

    fn begin(&mut self, sender: Identity) -> Result<(), ErrorCode> {
        self.check(sender)?;
        match self.state {
            State::Prepared { .. } => Err(ErrorCode::ConcurrentTransactions),
            _ => {
                self.state = State::Ongoing;
                Ok(())
            }
        }
    }

    fn take_offsets(&mut self, sender: Identity, version: TransactionVersion, offset: i64) -> Result<(), ErrorCode> {
        match version {
            TransactionVersion::Two => {
                self.begin(sender)?;
                self.has_group = true;
            }
            TransactionVersion::One => {
                self.check(sender)?;
                if self.state != State::Ongoing || !self.has_group {
                    return Err(ErrorCode::InvalidTxnState);
                }
            }
        }
        self.pending_offset = Some(offset);
        Ok(())
    }

    fn end(
        &mut self,
        sender: Identity,
        version: TransactionVersion,
        commit: bool,
    ) -> Result<Option<Identity>, ErrorCode> {
        let bumps = version == TransactionVersion::Two;
        if bumps && self.before == Some(sender) && self.state == (State::Complete { commit }) {
            return Ok(self.current);
        }
        if matches!(self.state, State::Prepared { .. }) {
            // The markers are on their way: Kafka says so before it looks at who asks.
            return Err(ErrorCode::ConcurrentTransactions);
        }
        self.check(sender)?;
        match self.state {
            State::Ongoing => {
                if commit {
                    self.check_complete(sender);
                }
                self.state = State::Prepared { commit };
                Ok(bumps.then(|| self.next_epoch()))
            }
            State::Complete { commit: other } if other == commit && !bumps => Ok(None),
            State::Empty | State::Complete { .. } if bumps && !commit => {
                self.state = State::Complete { commit };
                Ok(Some(self.next_epoch()))
            }
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// A transaction is committed only with everything that was given for it.
    fn check_complete(&mut self, sender: Identity) {
        let mut open = BTreeSet::new();
        for log in &self.logs {
            for entry in &log.entries {
                match entry {
                    Entry::Data { producer, value } if *producer == sender.id => {
                        open.insert(value.clone());
                    }
                    Entry::Marker { .. } | Entry::Data { .. } => {}
                }
            }
        }
        let missing: Vec<&String> = self.given.iter().filter(|value| !open.contains(*value)).collect();
        if !missing.is_empty() {
            self.complaints.push(format!("it is committed without {missing:?}"));
        }
    }

    /// The markers of a transaction that is ending are written.
    pub(super) fn complete(&mut self) {
        let (State::Prepared { commit }, Some(current)) = (self.state, self.current) else { return };
        for index in std::mem::take(&mut self.partitions) {
            let log = &mut self.logs[index];
            log.entries.push(Entry::Marker { producer: current.id, commit });
            let known = log.known.entry(current.id).or_default();
            known.is_open = false;
            if known.epoch != current.epoch {
                *known = Known { epoch: current.epoch, ..Known::default() };
            }
        }
        self.has_group = false;
        if let Some(offset) = self.pending_offset.take()
            && commit
        {
            self.offset = Some(offset);
        }
        self.state = State::Complete { commit };
    }

    /// Another producer takes the place, or the transaction was open for too long.
    pub(super) fn fence(&mut self) {
        self.complete();
        if self.state == State::Ongoing {
            self.next_epoch();
            self.state = State::Prepared { commit: false };
            self.complete();
        }
        self.next_epoch();
        self.before = None;
    }

    /// What a reader of committed records sees of a partition. Notes transactions that are mixed or never end.
    pub(super) fn committed(&mut self, index: usize) -> Vec<String> {
        let mut open: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        let mut seen = Vec::new();
        for entry in &self.logs[index].entries {
            match entry {
                Entry::Data { producer, value } => open.entry(*producer).or_default().push(value.clone()),
                Entry::Marker { producer, commit } => {
                    let values = open.remove(producer).unwrap_or_default();
                    let of = |value: &String| value.split('/').next().unwrap().to_owned();
                    if values.iter().any(|value| of(value) != of(&values[0])) {
                        self.complaints.push(format!("one end for several transactions: {values:?}"));
                    }
                    if *commit {
                        seen.extend(values);
                    }
                }
            }
        }
        if !open.is_empty() {
            self.complaints.push(format!("a transaction that never ends: {open:?}"));
        }
        seen
    }

    pub(super) fn has(&self, index: usize, value: &str) -> bool {
        self.logs[index].entries.iter().any(|entry| matches!(entry, Entry::Data { value: one, .. } if one == value))
    }
}
