//! Producers, and what they send.

use std::collections::BTreeSet;

use bytes::Bytes;
use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Compression, ProducerState, RecordBatchBuilder};

use super::broker::{DATA_PARTITIONS, OFFSETS_PARTITION};
use super::truth::Truth;

/// The ids that producers share.
pub(super) const IDS: [&str; 2] = ["id-0", "id-1"];
/// How long transactions may take, ms.
pub(super) const TIMEOUT_MS: i32 = 20_000;

/// What is on its way.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    Request(Request),
    /// A batch whose transaction was found open, on its way into the partition with the guard it was given.
    Append(Request, Option<u64>),
    Answer(Answer),
}

impl Packet {
    /// Whether it may come twice. In the protocol before KIP-890 nothing tells an end of one transaction, or offsets of it,
    /// from those of the next, at the same epoch: a late one ends, or comes into, that. The schedules spare old clients this.
    pub(super) fn may_be_doubled(&self) -> bool {
        match self {
            Self::Request(request) | Self::Append(request, _) => request.may_be_doubled(),
            Self::Answer(_) => true,
        }
    }

    pub(super) fn is_request(&self) -> bool {
        matches!(self, Self::Request(_))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) client: usize,
    /// Of this client's requests; one that is sent again has the same.
    pub(super) number: u64,
    pub(super) id: &'static str,
    pub(super) producer: (i64, i16),
    /// Whether the client is of the generation that bumps epochs.
    pub(super) bumps: bool,
    /// The fence behind which it is sent.
    pub(super) generation: u64,
    pub(super) ask: Ask,
}

impl Request {
    fn may_be_doubled(&self) -> bool {
        self.bumps || !matches!(self.ask, Ask::CommitOffset { .. } | Ask::End { .. })
    }
}

#[derive(Clone, Debug)]
pub(super) enum Ask {
    Init {
        had: Option<(i64, i16)>,
    },
    Add(TopicPartition),
    Produce {
        partition: i32,
        batch: Bytes,
        transaction: u64,
        value: u64,
    },
    /// The offset of a partition that nobody else has.
    CommitOffset {
        transaction: u64,
    },
    End {
        committed: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) request: Request,
    /// A producer id and epoch where there is one to tell.
    pub(super) result: Result<(i64, i16), ErrorCode>,
}

/// A transaction under way.
#[derive(Clone, Debug)]
struct Open {
    number: u64,
    added: BTreeSet<TopicPartition>,
    /// What is still to be sent: a partition, or the offset.
    plan: Vec<Option<i32>>,
    commits: bool,
    /// Something of it is lost, or the broker said that it has to be aborted.
    is_broken: bool,
    any_acknowledged: bool,
}

/// A producer's process; there is another one when it dies.
#[derive(Debug)]
pub(super) struct Client {
    index: usize,
    bumps: bool,
    producer: Option<(i64, i16)>,
    /// The producer that it was, and goes on from.
    had: Option<(i64, i16)>,
    generation: u64,
    sequences: [i32; DATA_PARTITIONS as usize],
    open: Option<Open>,
    outstanding: Option<Request>,
    /// The outstanding request was refused, and may be sent again.
    is_refused: bool,
    /// Nobody starts it again for a while: it and the other of its id would but fence each other.
    is_asleep: bool,
    next_number: u64,
}

impl Client {
    pub(super) fn new(index: usize, bumps: bool) -> Self {
        Self {
            index,
            bumps,
            producer: None,
            had: None,
            generation: 0,
            sequences: [0; DATA_PARTITIONS as usize],
            open: None,
            outstanding: None,
            is_refused: false,
            is_asleep: index >= IDS.len(),
            next_number: 0,
        }
    }

    /// The process dies, and another begins.
    pub(super) fn die(&mut self) {
        self.producer = None;
        self.had = None;
        self.open = None;
        self.outstanding = None;
    }

    /// Sends what is outstanding once more; or gives up, where it may not come twice.
    pub(super) fn repeat(&mut self) -> Option<Packet> {
        let request = self.outstanding.clone()?;
        if !std::mem::take(&mut self.is_refused) && !request.may_be_doubled() {
            self.die();
            return None;
        }
        Some(Packet::Request(request))
    }

    /// Sends the next request, if it waits for nothing.
    pub(super) fn act(&mut self, random: &mut fastrand::Rng, truth: &mut Truth) -> Option<Packet> {
        if self.outstanding.is_some() || (self.is_asleep && random.u32(..40) > 0) {
            return None;
        }
        self.is_asleep = false;
        let ask = self.next_ask(random, truth)?;
        self.next_number += 1;
        let request = Request {
            client: self.index,
            number: self.next_number,
            id: IDS[self.index % IDS.len()],
            producer: self.producer.unwrap_or((-1, -1)),
            bumps: self.bumps,
            generation: self.generation,
            ask,
        };
        self.outstanding = Some(request.clone());
        self.is_refused = false;
        Some(Packet::Request(request))
    }

    fn next_ask(&mut self, random: &mut fastrand::Rng, truth: &mut Truth) -> Option<Ask> {
        let Some((producer_id, epoch)) = self.producer else { return Some(Ask::Init { had: self.had }) };
        let open = self.open.get_or_insert_with(|| {
            let plan = (0..random.usize(1..5)).map(|_| (random.u32(..4) > 0).then(|| random.i32(0..DATA_PARTITIONS)));
            Open {
                number: truth.begin(),
                added: BTreeSet::new(),
                plan: plan.collect(),
                commits: random.u32(..3) > 0,
                is_broken: false,
                any_acknowledged: false,
            }
        });
        let next = open.plan.last().copied().filter(|_| !open.is_broken);
        let Some(next) = next else {
            let committed = open.commits && !open.is_broken;
            if open.added.is_empty() && !self.bumps {
                // Nothing to end: the client knows that, in its generation.
                self.open = None;
                return None;
            }
            return Some(Ask::End { committed });
        };
        let partition = match next {
            Some(partition) => TopicPartition::new("t", partition),
            None => TopicPartition::new(OFFSETS_PARTITION.0, OFFSETS_PARTITION.1),
        };
        if !self.bumps && !open.added.contains(&partition) {
            return Some(Ask::Add(partition));
        }
        let transaction = open.number;
        let Some(partition) = next else { return Some(Ask::CommitOffset { transaction }) };
        let value = truth.send(transaction, partition);
        let sequence = self.sequences[partition as usize];
        Some(Ask::Produce { partition, batch: batch((producer_id, epoch), sequence, value), transaction, value })
    }

    /// Takes an answer, if it waits for it; tells of what is worth it.
    pub(super) fn take(&mut self, answer: Answer, truth: &mut Truth) -> Option<&'static str> {
        if self.outstanding.as_ref().is_none_or(|request| request.number != answer.request.number) {
            return None;
        }
        self.outstanding = None;
        match answer.result {
            Ok(told) => self.succeed(&answer.request, told, truth),
            Err(error) => self.fail(answer.request, error),
        }
    }

    fn succeed(&mut self, request: &Request, told: (i64, i16), truth: &mut Truth) -> Option<&'static str> {
        match &request.ask {
            Ask::Init { .. } => {
                self.become_producer(told);
                self.had = None;
                self.generation = truth.generation_of(told);
            }
            Ask::Add(partition) => {
                let open = self.open.as_mut()?;
                open.added.insert(partition.clone());
            }
            Ask::Produce { partition, transaction, value, .. } => {
                truth.acknowledge(*transaction, *value);
                self.sequences[*partition as usize] += 1;
                let open = self.open.as_mut()?;
                open.plan.pop();
                open.any_acknowledged = true;
            }
            Ask::CommitOffset { transaction } => {
                truth.acknowledge_offset(*transaction);
                let open = self.open.as_mut()?;
                open.plan.pop();
                open.any_acknowledged = true;
            }
            Ask::End { committed } => {
                let open = self.open.take()?;
                truth.tell(open.number, *committed);
                if self.bumps {
                    self.become_producer(told);
                } else if open.is_broken {
                    // What was not acknowledged may still come: it goes on with another epoch.
                    (self.had, self.producer) = (self.producer, None);
                }
                return Some(if *committed { "told committed" } else { "told aborted" });
            }
        }
        None
    }

    fn become_producer(&mut self, producer: (i64, i16)) {
        if self.producer != Some(producer) {
            self.sequences = [0; DATA_PARTITIONS as usize];
        }
        self.producer = Some(producer);
    }

    fn fail(&mut self, request: Request, error: ErrorCode) -> Option<&'static str> {
        match error {
            // It is sent again as it is.
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::NotEnoughReplicas => {
                self.outstanding = Some(request);
                self.is_refused = true;
                None
            }
            // The transaction has to be aborted.
            ErrorCode::TransactionAbortable | ErrorCode::OutOfOrderSequenceNumber => {
                self.open.as_mut()?.is_broken = true;
                None
            }
            ErrorCode::InvalidTxnState if !matches!(request.ask, Ask::End { .. }) => {
                self.open.as_mut()?.is_broken = true;
                None
            }
            // It cannot go on.
            ErrorCode::ProducerFenced
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::InvalidTxnState => {
                self.die();
                self.is_asleep = true;
                Some("fenced")
            }
            other => panic!("{request:?} is answered by {other:?}"),
        }
    }
}

fn batch(producer: (i64, i16), sequence: i32, value: u64) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    builder.append(0, None, Some(&value.to_be_bytes()), []).unwrap();
    builder.set_producer_state(ProducerState::transactional(producer.0, producer.1, sequence));
    builder.build().unwrap()
}
