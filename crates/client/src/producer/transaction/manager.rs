//! Where a producer's transactions stand, and what may be done next.
//!
//! A machine without socket and clock, shared by the application's calls and the sender. The states and what may follow
//! what are those of Kafka's `TransactionManager`: an application that calls in the wrong state is refused and nothing
//! changes; what fails later, at a broker, either fails the transaction, which then can only be aborted, or the producer.
//!
//! The requests to the coordinators are in [`calls`](super::calls), what their answers' codes mean in
//! [`verdict`](super::verdict).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::sync::watch;

use super::calls::{Calls, Offer, PartitionOfTransaction};
use super::verdict::ends_the_producer;
use crate::consumer::ConsumerGroupMetadata;
use crate::error::ClientError;
use crate::producer::sender::Identity;
use crate::{OffsetAndMetadata, TopicPartition};

/// What the manager needs of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct TransactionSettings {
    pub(crate) transactional_id: Arc<str>,
    pub(crate) retry_backoff: Duration,
    pub(crate) retry_backoff_max: Duration,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    Uninitialized,
    Initializing,
    Ready,
    InTransaction,
    Committing,
    Aborting,
    /// The transaction can only be aborted.
    AbortableError(ClientError),
    /// Nothing goes any more.
    FatalError(ClientError),
}

/// The level of the feature `transaction.version` that counts: whether a transaction's partitions are told to the coordinator
/// before their first batch (1 and below), or by that batch, and the epoch changes with every transaction (2, KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionVersion {
    One,
    Two,
}

/// A call that ends later, and whose end the application has to see before it calls anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Init,
    Commit,
    Abort,
}

impl Transition {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Init => "init_transactions",
            Self::Commit => "commit_transaction",
            Self::Abort => "abort_transaction",
        }
    }
}

/// The end of a call, once it is known.
pub(crate) type Outcome = Option<Result<(), ClientError>>;

#[derive(Debug)]
struct Pending {
    transition: Transition,
    end: watch::Sender<Outcome>,
}

/// Offsets on their way into the transaction.
#[derive(Debug)]
pub(super) struct Offsets {
    pub(super) group: ConsumerGroupMetadata,
    /// Those that the group's coordinator has not taken.
    pub(super) left: Vec<(TopicPartition, OffsetAndMetadata)>,
    end: watch::Sender<Outcome>,
}

/// What the sender has to know.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) phase: Phase,
    pub(crate) identity: Option<Identity>,
    /// How many transactions were begun.
    pub(crate) number: u64,
    pub(crate) version: TransactionVersion,
    /// When the end of the last one was answered.
    pub(crate) ended_at: Option<Instant>,
}

/// What the sender may do with batches.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// There is no transaction, and there are no batches.
    Idle,
    /// Send them.
    Open,
    /// Send them without waiting for more.
    Committing,
    /// Send no more than what was sent before; fail the others.
    Aborting,
    /// As `Aborting`, with this error.
    Failed(ClientError),
    /// Send nothing, fail all with this error.
    Dead(ClientError),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct TransactionManager {
    pub(super) settings: TransactionSettings,
    pub(super) state: State,
    pub(super) identity: Option<Identity>,
    pub(super) version: TransactionVersion,
    /// What the coordinator's broker offered last.
    pub(super) offered: Option<Offer>,
    number: u64,
    /// A new epoch is needed before the next transaction: sequence numbers were lost (KIP-360).
    pub(super) needs_new_epoch: bool,
    /// Whether a coordinator may know of the transaction.
    pub(super) is_started: bool,
    /// When the end of the last one was answered.
    pub(super) ended_at: Option<Instant>,
    /// Partitions of the transaction, by their queues, and whether the coordinator knows of them. Empty with version 2.
    pub(super) partitions: HashMap<u64, bool, RandomState>,
    /// Those that it was not asked to add.
    pub(super) to_add: Vec<PartitionOfTransaction>,
    /// Groups that were added to the transaction. Empty with version 2.
    pub(super) groups: BTreeSet<String>,
    pub(super) offsets: VecDeque<Offsets>,
    pub(crate) calls: Calls,
    pending: Option<Pending>,
    is_closed: bool,
    /// Told when the next transaction may begin, or there will be none.
    at_rest: watch::Sender<()>,
}

impl TransactionManager {
    pub(crate) fn new(settings: TransactionSettings) -> Self {
        Self {
            settings,
            state: State::Uninitialized,
            identity: None,
            version: TransactionVersion::One,
            offered: None,
            number: 0,
            needs_new_epoch: false,
            is_started: false,
            ended_at: None,
            partitions: HashMap::default(),
            to_add: Vec::new(),
            groups: BTreeSet::new(),
            offsets: VecDeque::new(),
            calls: Calls::default(),
            pending: None,
            is_closed: false,
            at_rest: watch::Sender::new(()),
        }
    }

    /// Begins to get an identity, which fences those before.
    pub(crate) fn init(&mut self) -> Result<watch::Receiver<Outcome>, ClientError> {
        if let Some(end) = self.join(Transition::Init)? {
            return Ok(end);
        }
        self.check_error()?;
        match self.state {
            State::Uninitialized => {
                self.identity = None;
                self.needs_new_epoch = false;
                Ok(self.start(Transition::Init, State::Initializing))
            }
            _ => Err(self.wrong("init_transactions", "transactions are initialized already")),
        }
    }

    /// Begins a transaction, and gives its number. `None` if one that nobody waits for has to end first.
    pub(crate) fn begin(&mut self) -> Result<Option<u64>, ClientError> {
        const CALL: &str = "begin_transaction";
        self.check_pending(CALL)?;
        self.check_error()?;
        match self.state {
            State::Ready => {
                self.state = State::InTransaction;
                self.number += 1;
                Ok(Some(self.number))
            }
            State::Uninitialized => Err(self.wrong(CALL, "call init_transactions first")),
            State::InTransaction => Err(self.wrong(CALL, "the one before is neither committed nor aborted")),
            _ => Ok(None),
        }
    }

    /// Tells when [`begin`](Self::begin) may succeed.
    pub(crate) fn at_rest(&self) -> watch::Receiver<()> {
        self.at_rest.subscribe()
    }

    /// Ends the transaction well: from now on no record is taken into it, and when all are acknowledged it is committed.
    pub(crate) fn commit(&mut self) -> Result<watch::Receiver<Outcome>, ClientError> {
        if let Some(end) = self.join(Transition::Commit)? {
            return Ok(end);
        }
        self.check_error()?;
        match self.state {
            State::InTransaction => Ok(self.start(Transition::Commit, State::Committing)),
            _ => Err(self.wrong("commit_transaction", "no transaction is open")),
        }
    }

    /// Ends the transaction as if it had not been.
    pub(crate) fn abort(&mut self) -> Result<watch::Receiver<Outcome>, ClientError> {
        if let Some(end) = self.join(Transition::Abort)? {
            return Ok(end);
        }
        match self.state {
            _ if self.is_closed => Err(ClientError::Closed),
            State::InTransaction | State::AbortableError(_) => {
                self.begin_abort();
                Ok(self.start(Transition::Abort, State::Aborting))
            }
            State::FatalError(_) => self.check_error().and_then(|()| Err(ClientError::Closed)),
            _ => Err(self.wrong("abort_transaction", "no transaction is open")),
        }
    }

    /// As [`abort`](Self::abort) for a transaction that nobody ends any more, unless it has ended already.
    pub(crate) fn abandon(&mut self, number: u64) {
        if self.number == number && self.pending.is_none() && self.has_open_transaction() {
            self.begin_abort();
        }
    }

    /// The producer takes no more: what is open is aborted.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        // A commit that has failed is told to who waits for it; the abort has nobody.
        if self.has_open_transaction() {
            self.begin_abort();
        }
    }

    fn begin_abort(&mut self) {
        self.state = State::Aborting;
        self.to_add.clear();
        self.give_up_offsets(&ClientError::state("the transaction was aborted"));
    }

    fn has_open_transaction(&self) -> bool {
        matches!(self.state, State::InTransaction | State::AbortableError(_))
    }

    /// Takes offsets into the transaction.
    pub(crate) fn send_offsets(
        &mut self,
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
        group: ConsumerGroupMetadata,
    ) -> Result<watch::Receiver<Outcome>, ClientError> {
        const CALL: &str = "send_offsets_to_transaction";
        self.check_pending(CALL)?;
        self.check_error()?;
        if !self.is_open() {
            return Err(self.wrong(CALL, "no transaction is open"));
        }
        let (end, receiver) = watch::channel(None);
        self.offsets.push_back(Offsets { group, left: offsets, end });
        Ok(receiver)
    }

    /// The application has seen the end of its call.
    pub(crate) fn acknowledge(&mut self, end: &watch::Receiver<Outcome>) {
        if self.pending.as_ref().is_some_and(|pending| pending.end.subscribe().same_channel(end)) {
            self.pending = None;
        }
    }

    /// Whether records are taken into a transaction now.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::InTransaction)
    }

    /// Whether the number is that of the last transaction that was begun.
    pub(crate) fn is_last(&self, number: u64) -> bool {
        self.number == number
    }

    /// Why records are not taken.
    pub(crate) fn refusal(&self) -> ClientError {
        let checked = self.check_error().and_then(|()| self.check_pending("send"));
        let reason = match self.state {
            State::Uninitialized | State::Initializing => "call init_transactions, then begin_transaction first",
            _ => "no transaction is open",
        };
        checked.err().unwrap_or_else(|| self.wrong("send", reason))
    }

    /// A batch was given up. `was_sent` is whether its numbers may be known to a broker.
    pub(crate) fn batch_failed(&mut self, error: &ClientError, was_sent: bool) {
        if was_sent && !self.can_begin_anew() {
            return self.die(error.clone());
        }
        self.needs_new_epoch |= was_sent && self.version == TransactionVersion::One;
        self.record_failed(error);
    }

    /// A record was not taken.
    pub(crate) fn record_refused(&mut self, error: &ClientError) {
        let is_told = matches!(error, ClientError::TransactionFailed { .. } | ClientError::ProducerFailed { .. });
        if !is_told && !matches!(error, ClientError::Closed) {
            self.record_failed(error);
        }
    }

    fn record_failed(&mut self, error: &ClientError) {
        match ends_the_producer(error) {
            true => self.die(error.clone()),
            false => self.fail_transaction(error.clone()),
        }
    }

    /// A batch with the producer's identity goes on the wire: since version 2 that alone begins the transaction.
    pub(crate) fn note_sent(&mut self) {
        self.is_started = true;
    }

    pub(crate) fn view(&self) -> View {
        let phase = match &self.state {
            State::Uninitialized | State::Initializing | State::Ready => Phase::Idle,
            State::InTransaction => Phase::Open,
            State::Committing => Phase::Committing,
            State::Aborting => Phase::Aborting,
            State::AbortableError(error) => Phase::Failed(failed(error)),
            State::FatalError(error) => Phase::Dead(self.dead(error)),
        };
        let Self { identity, number, version, ended_at, .. } = *self;
        View { phase, identity, number, version, ended_at }
    }

    /// Whether batches of a partition may be sent; has it added to the transaction if not. Nothing is added to one that is
    /// aborted: the sender may not know of that yet.
    pub(crate) fn add(&mut self, partition: PartitionOfTransaction) -> bool {
        if !matches!(self.state, State::InTransaction | State::Committing) {
            return false;
        }
        let id = partition.id;
        let is_added = *self.partitions.entry(id).or_insert_with(|| {
            self.to_add.push(partition);
            false
        });
        is_added || self.version == TransactionVersion::Two
    }

    /// Whether nothing has to be waited for before the producer may end.
    pub(crate) fn is_at_rest(&self) -> bool {
        match self.state {
            State::InTransaction | State::AbortableError(_) | State::Committing | State::Aborting => false,
            State::Initializing => self.pending.is_none(),
            State::Uninitialized | State::Ready | State::FatalError(_) => true,
        }
    }

    /// The transaction cannot be committed any more.
    pub(super) fn fail_transaction(&mut self, error: ClientError) {
        if !matches!(self.state, State::InTransaction | State::Committing) {
            return;
        }
        tracing::info!(transactional_id = %self.settings.transactional_id, "the transaction has failed: {error}");
        let told = failed(&error);
        self.state = State::AbortableError(error);
        self.give_up_offsets(&told);
        self.end(Err(told));
    }

    /// The producer cannot go on.
    pub(crate) fn die(&mut self, error: ClientError) {
        if matches!(self.state, State::FatalError(_)) {
            return;
        }
        tracing::info!(transactional_id = %self.settings.transactional_id, "the producer has failed: {error}");
        let told = self.dead(&error);
        self.state = State::FatalError(error);
        self.calls.clear();
        self.give_up_offsets(&told);
        self.end(Err(told));
        self.at_rest.send_replace(());
    }

    /// An identity could not be got; it may be tried again.
    pub(super) fn uninitialize(&mut self, error: ClientError) {
        self.state = State::Uninitialized;
        self.end(Err(error));
        self.at_rest.send_replace(());
    }

    /// There is an identity: a transaction may begin.
    pub(super) fn initialized(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.needs_new_epoch = false;
        self.version = self.offered_version();
        self.state = State::Ready;
        self.end(Ok(()));
        self.at_rest.send_replace(());
    }

    /// The transaction is over.
    pub(super) fn finish(&mut self) {
        let next = self.offered_version();
        // KIP-890: what a transaction of the version before may still have on its way is fenced.
        self.needs_new_epoch |= self.version == TransactionVersion::One && next == TransactionVersion::Two;
        self.version = next;
        self.is_started = false;
        self.partitions.clear();
        self.to_add.clear();
        self.groups.clear();
        self.state = if self.needs_new_epoch { State::Initializing } else { State::Ready };
        self.end(Ok(()));
        self.at_rest.send_replace(());
    }

    fn offered_version(&self) -> TransactionVersion {
        self.offered.map_or(self.version, |offer| offer.version)
    }

    /// Offsets were taken.
    pub(super) fn offsets_taken(&mut self) {
        if let Some(offsets) = self.offsets.pop_front() {
            offsets.end.send_replace(Some(Ok(())));
        }
    }

    fn give_up_offsets(&mut self, error: &ClientError) {
        for offsets in self.offsets.drain(..) {
            offsets.end.send_replace(Some(Err(error.clone())));
        }
    }

    /// Tells the end of the call that is under way, if there is one.
    fn end(&self, result: Result<(), ClientError>) {
        if let Some(pending) = &self.pending {
            pending.end.send_if_modified(|end| {
                let is_first = end.is_none();
                if is_first {
                    *end = Some(result);
                }
                is_first
            });
        }
    }

    fn start(&mut self, transition: Transition, state: State) -> watch::Receiver<Outcome> {
        let (end, receiver) = watch::channel(None);
        self.pending = Some(Pending { transition, end });
        self.state = state;
        receiver
    }

    /// The end of the same call, if it was made before and its end was not seen.
    fn join(&self, transition: Transition) -> Result<Option<watch::Receiver<Outcome>>, ClientError> {
        match &self.pending {
            Some(pending) if pending.transition == transition => Ok(Some(pending.end.subscribe())),
            Some(_) => self.check_pending(transition.name()).map(|()| None),
            None => Ok(None),
        }
    }

    fn check_pending(&self, call: &str) -> Result<(), ClientError> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let before = pending.transition.name();
        Err(ClientError::state(format!(
            "cannot {call}: the end of {before}, which was called before, is not known; call {before} again"
        )))
    }

    fn check_error(&self) -> Result<(), ClientError> {
        match &self.state {
            State::AbortableError(error) => Err(failed(error)),
            State::FatalError(error) => Err(self.dead(error)),
            _ if self.is_closed => Err(ClientError::Closed),
            _ => Ok(()),
        }
    }

    fn wrong(&self, call: &str, reason: &str) -> ClientError {
        let state = match self.state {
            State::Uninitialized => "uninitialized",
            State::Initializing => "initializing",
            State::Ready => "ready",
            State::InTransaction => "in transaction",
            State::Committing => "committing transaction",
            State::Aborting => "aborting transaction",
            State::AbortableError(_) => "abortable error",
            State::FatalError(_) => "fatal error",
        };
        ClientError::state(format!("cannot {call} in state \"{state}\": {reason}"))
    }

    fn dead(&self, error: &ClientError) -> ClientError {
        match error {
            ClientError::Closed => ClientError::Closed,
            error => ClientError::ProducerFailed {
                transactional_id: Arc::clone(&self.settings.transactional_id),
                source: Box::new(error.clone()),
            },
        }
    }
}

fn failed(error: &ClientError) -> ClientError {
    ClientError::TransactionFailed { source: Box::new(error.clone()) }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::calls::Answer;
    use super::*;

    /// One with an identity, and no transaction yet.
    fn ready(now: Instant) -> TransactionManager {
        let (retry_backoff, retry_backoff_max) = (Duration::from_millis(100), Duration::from_secs(1));
        let settings = TransactionSettings { transactional_id: "t".into(), retry_backoff, retry_backoff_max };
        let mut manager = TransactionManager::new(settings);
        let end = manager.init().unwrap();
        let call = manager.next_call(now, false).unwrap();
        let offer = Some(Offer { version: TransactionVersion::One, has_new_epochs: true });
        let identity = Some(Identity { id: 1, epoch: 0 });
        let answer = Answer { codes: vec![vltava_protocol::ErrorCode::None], identity, offer };
        manager.answered(now, call.number, Ok(answer));
        manager.acknowledge(&end);
        manager
    }

    #[test]
    fn a_closed_producer_says_so_whatever_is_asked_of_it() {
        let mut manager = ready(Instant::now());
        manager.begin().unwrap().unwrap();
        manager.close();
        assert!(matches!(manager.commit(), Err(ClientError::Closed)));
        assert!(matches!(manager.abort(), Err(ClientError::Closed)));
        assert!(matches!(manager.begin(), Err(ClientError::Closed)));
        assert!(matches!(manager.init(), Err(ClientError::Closed)));
    }

    /// The sender finds the transaction open, and the application aborts it before the sender has a partition added.
    #[test]
    fn a_coordinator_is_not_asked_to_abort_what_it_does_not_know() {
        let now = Instant::now();
        let mut manager = ready(now);
        manager.begin().unwrap().unwrap();
        manager.abort().unwrap();
        let is_added = manager.add(PartitionOfTransaction { id: 1, topic: "a".into(), partition: 0 });
        assert!(!is_added, "it is not part of a transaction that can be committed");
        assert!(manager.next_call(now, true).is_none());
        assert!(manager.is_at_rest() && matches!(manager.state, State::Ready));
    }
}
