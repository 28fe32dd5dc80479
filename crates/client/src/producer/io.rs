//! The producer's task: does what the sender says, and tells it what came of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};
use vltava_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use vltava_protocol::messages::produce_response::PartitionProduceResponse;
use vltava_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use vltava_protocol::{ErrorCode, Uuid};

use super::accumulator::Accumulator;
use super::sender::{Effect, Identity, Part, PartitionOutcome, Sender};
use super::transaction::calls::{Answer, NoAnswer};
use super::transaction::coordinator::Coordinated;
use super::transaction::manager::TransactionVersion;
use crate::TopicPartition;
use crate::caught::caught;
use crate::config::{Acks, ProducerConfig};
use crate::error::ClientError;
use crate::net::{Cluster, Condition, Connection, ConnectionKey, LeaderUpdate, MetadataSnapshot, Node, sleep_until};

/// Since this version, topics are named by their ids (KIP-516).
const TOPIC_IDS_SINCE: i16 = 13;
/// Since this version, a batch adds its partition to the transaction (KIP-890).
const ADDS_PARTITIONS_SINCE: i16 = 12;

/// How the producer's task is told that there is something to do.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    notify: Notify,
    is_pending: AtomicBool,
    is_abandoned: AtomicBool,
    /// Becomes true when the task has ended.
    pub(crate) ended: watch::Sender<bool>,
}

impl Wake {
    /// Wakes the task, unless that was done since it last looked.
    #[inline]
    pub(crate) fn wake(&self) {
        if !self.is_pending.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Makes the task give up everything and end.
    pub(crate) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        self.wake();
    }
}

enum Event {
    Connected(i32, Result<Connection, ClientError>),
    Answered(u64, Result<Vec<PartitionOutcome>, ClientError>),
    Identified(Result<Identity, ClientError>),
    Coordinated(u64, Result<Answer, NoAnswer>),
}

/// What the task has besides the sender.
struct Shell {
    cluster: Cluster,
    accumulator: Arc<Accumulator>,
    acks: Acks,
    timeout_ms: i32,
    /// With `transactional.id`.
    coordinated: Option<Coordinated>,
    /// What the sender has taken is of this era or an earlier one.
    era: u64,
    connections: BTreeMap<i32, Connection>,
    events: mpsc::UnboundedSender<Event>,
}

/// However the task ends, by a panic or with its runtime, nobody waits for it any more.
struct Running {
    accumulator: Arc<Accumulator>,
    wake: Arc<Wake>,
    ends_by: ClientError,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accumulator.fail(&self.ends_by);
        self.wake.ended.send_replace(true);
    }
}

/// Runs until the accumulator is closed and everything in it is over, or it has to be abandoned.
pub(crate) async fn run(
    config: ProducerConfig,
    cluster: Cluster,
    accumulator: Arc<Accumulator>,
    sender: Sender,
    wake: Arc<Wake>,
) {
    let (at_work, told) = (Arc::clone(&accumulator), Arc::clone(&wake));
    let mut running = Running { accumulator, wake, ends_by: ClientError::Closed };
    if let Err(error) = caught(work(config, cluster, at_work, sender, told)).await.and_then(|ended| ended) {
        running.ends_by = error;
    }
}

async fn work(
    config: ProducerConfig,
    cluster: Cluster,
    accumulator: Arc<Accumulator>,
    mut sender: Sender,
    wake: Arc<Wake>,
) -> Result<(), ClientError> {
    let (events, mut inbox) = mpsc::unbounded_channel();
    let mut shell = Shell {
        acks: config.acks,
        timeout_ms: i32::try_from(config.common.request_timeout.as_millis()).unwrap_or(i32::MAX),
        coordinated: config.transactional_id.clone().map(|transactional_id| Coordinated {
            transactional_id,
            timeout_ms: i32::try_from(config.transaction_timeout.as_millis()).unwrap_or(i32::MAX),
        }),
        era: 0,
        connections: BTreeMap::new(),
        cluster,
        accumulator,
        events,
    };
    let mut metadata = shell.cluster.subscribe();
    loop {
        wake.is_pending.store(false, Ordering::Release);
        if wake.is_abandoned.load(Ordering::Acquire) {
            sender.abandon(&ClientError::Closed);
            return Ok(());
        }
        if let Some(error @ (ClientError::Panicked { .. } | ClientError::SaslAuthentication { .. })) =
            shell.cluster.fatal()
        {
            return Err(error);
        }
        let snapshot = shell.cluster.metadata();
        shell.era = shell.accumulator.permit.era();
        for effect in sender.poll(Instant::now(), &*snapshot) {
            shell.perform(effect, &snapshot);
        }
        if shell.accumulator.is_closed() && sender.is_idle() && shell.accumulator.pending.is_empty() {
            return Ok(());
        }
        let deadline = sender.deadline();
        tokio::select! {
            event = inbox.recv() => {
                let mut next = event;
                while let Some(event) = next {
                    shell.take_in(&mut sender, event);
                    next = inbox.try_recv().ok();
                }
            }
            () = wake.notify.notified() => {}
            _ = metadata.changed() => shell.adopt_partitions(),
            () = sleep_until(deadline) => {}
        }
    }
}

impl Shell {
    fn take_in(&mut self, sender: &mut Sender, event: Event) {
        let now = Instant::now();
        match event {
            Event::Connected(node, Ok(connection)) => {
                self.connections.insert(node, connection);
                sender.connected(node);
            }
            Event::Connected(node, Err(error)) => {
                tracing::debug!(node, "cannot connect: {error}");
                self.cluster.request_update();
                sender.disconnected(node);
            }
            Event::Answered(request, result) => sender.answered(now, request, result),
            Event::Identified(result) => sender.identified(now, result),
            Event::Coordinated(call, result) => sender.coordinated(now, call, result),
        }
    }

    /// Topics may have got more partitions, and partitions other leaders.
    fn adopt_partitions(&self) {
        let snapshot = self.cluster.metadata();
        self.accumulator.metrics.forget_topics(|topic| snapshot.topic(topic).is_some());
        for name in self.accumulator.topic_names() {
            if let Some(topic) = snapshot.topic(&name) {
                self.accumulator.adopt(topic);
            }
        }
    }

    fn perform(&mut self, effect: Effect, snapshot: &Arc<MetadataSnapshot>) {
        match effect {
            Effect::Connect(node) => {
                let (cluster, events) = (self.cluster.clone(), self.events.clone());
                self.cluster.spawn(async move {
                    let result = caught(cluster.connection(ConnectionKey::data(node))).await.and_then(|done| done);
                    // Without a receiver the producer is gone.
                    let _ = events.send(Event::Connected(node, result));
                });
            }
            Effect::Produce { request, node, parts, version } => self.produce(request, node, parts, version, snapshot),
            Effect::InitProducerId => {
                let (cluster, events) = (self.cluster.clone(), self.events.clone());
                self.cluster.spawn(async move {
                    let result = caught(init_producer_id(&cluster)).await.and_then(|done| done);
                    let _ = events.send(Event::Identified(result));
                });
            }
            Effect::Coordinate(call) => {
                let Some(coordinated) = self.coordinated.clone() else { return };
                let (cluster, events) = (self.cluster.clone(), self.events.clone());
                tokio::spawn(async move {
                    let result = coordinated.send(&cluster, &call).await;
                    let _ = events.send(Event::Coordinated(call.number, result));
                });
            }
            Effect::RefreshMetadata(topic) => {
                self.cluster.track_used(&topic);
                self.cluster.request_update();
            }
        }
    }

    fn produce(
        &mut self,
        request: u64,
        node: i32,
        parts: Vec<Part>,
        version: Option<TransactionVersion>,
        snapshot: &Arc<MetadataSnapshot>,
    ) {
        let names: Vec<(Arc<str>, i32)> = parts.iter().map(|part| (Arc::clone(&part.topic), part.partition)).collect();
        let events = self.events.clone();
        let failed = |error| {
            // Without a receiver the producer is gone.
            let _ = self.events.send(Event::Answered(request, Err(error)));
        };
        let Some(connection) = self.connections.get(&node) else {
            failed(ClientError::NodeNotAvailable { node, reason: "it is not connected".into() });
            return;
        };
        let (message, has_ids) = self.produce_request(parts, snapshot);
        for (topic, _) in &names {
            self.cluster.track_used(topic);
        }
        let (accumulator, era) = (Arc::clone(&self.accumulator), self.era);
        let condition: Condition = Arc::new(move || accumulator.permit.may_send_of(era));
        if self.acks == Acks::None {
            match connection.start_unanswered(&message, condition) {
                Ok(written) => {
                    let address = Arc::clone(connection.address());
                    self.cluster.spawn(async move {
                        let lost = || ClientError::connection(&address, std::io::ErrorKind::BrokenPipe.into());
                        let result = written.await.map_err(|_| lost());
                        let outcomes = result.map(|()| vec![PartitionOutcome::UNKNOWN; names.len()]);
                        let _ = events.send(Event::Answered(request, outcomes));
                    });
                }
                Err(error) => failed(error),
            }
            return;
        }
        let cap = match version {
            Some(TransactionVersion::One) => Some(ADDS_PARTITIONS_SINCE - 1),
            _ => (!has_ids).then_some(TOPIC_IDS_SINCE - 1),
        };
        match connection.start_request_while(&message, cap, condition) {
            Ok(pending) => {
                let (cluster, snapshot) = (self.cluster.clone(), Arc::clone(snapshot));
                let accumulator = Arc::clone(&self.accumulator);
                self.cluster.spawn(async move {
                    let answer = async {
                        let response = pending.await?;
                        accumulator.metrics.throttled(response.throttle_time_ms, Instant::now());
                        Ok(outcomes(&cluster, &snapshot, &names, &response))
                    };
                    let result = caught(answer).await.and_then(|done| done);
                    let _ = events.send(Event::Answered(request, result));
                });
            }
            Err(error) => failed(error),
        }
    }

    /// The request, and whether every topic's id is known.
    fn produce_request(&self, parts: Vec<Part>, snapshot: &MetadataSnapshot) -> (ProduceRequest, bool) {
        let mut topics: Vec<TopicProduceData> = Vec::new();
        let mut index: HashMap<Arc<str>, usize> = HashMap::new();
        let mut has_ids = true;
        for part in parts {
            let position = *index.entry(Arc::clone(&part.topic)).or_insert_with(|| {
                let topic_id = snapshot.topic(&part.topic).map(|topic| topic.topic_id).unwrap_or_default();
                has_ids &= topic_id != Uuid::default();
                topics.push(TopicProduceData { name: part.topic.to_string(), topic_id, ..TopicProduceData::default() });
                topics.len() - 1
            });
            if let Some(topic) = topics.get_mut(position) {
                topic.partition_data.push(PartitionProduceData {
                    index: part.partition,
                    records: Some(part.bytes.into()),
                    ..PartitionProduceData::default()
                });
            }
        }
        let request = ProduceRequest {
            transactional_id: self.coordinated.as_ref().map(|own| own.transactional_id.to_string()),
            acks: self.acks.code(),
            timeout_ms: self.timeout_ms,
            topic_data: topics,
            ..ProduceRequest::default()
        };
        (request, has_ids)
    }
}

/// The answer, in the order of the request.
fn outcomes(
    cluster: &Cluster,
    snapshot: &MetadataSnapshot,
    names: &[(Arc<str>, i32)],
    response: &ProduceResponse,
) -> Vec<PartitionOutcome> {
    let mut by_partition: HashMap<(&str, i32), &PartitionProduceResponse> = HashMap::new();
    for topic in &response.responses {
        let by_id = snapshot.topic_name(topic.topic_id).map(|name| &**name);
        let name = if topic.name.is_empty() { by_id.unwrap_or_default() } else { topic.name.as_str() };
        for partition in &topic.partition_responses {
            by_partition.insert((name, partition.index), partition);
        }
    }
    let has_new_leaders = adopt_leaders(cluster, names, &by_partition, response);
    names
        .iter()
        .map(|(topic, partition)| match by_partition.get(&(&**topic, *partition)) {
            Some(answer) => PartitionOutcome {
                code: ErrorCode::from(answer.error_code),
                message: answer.error_message.as_deref().map(Arc::from),
                base_offset: answer.base_offset,
                log_append_time: answer.log_append_time_ms,
                has_new_leader: has_new_leaders && answer.current_leader.leader_id >= 0,
            },
            None => PartitionOutcome {
                code: ErrorCode::UnknownServerError,
                message: Some("the broker did not answer for this partition".into()),
                ..PartitionOutcome::UNKNOWN
            },
        })
        .collect()
}

/// KIP-951: the answer names the leader where the request went to a broker that is not.
fn adopt_leaders(
    cluster: &Cluster,
    names: &[(Arc<str>, i32)],
    answers: &HashMap<(&str, i32), &PartitionProduceResponse>,
    response: &ProduceResponse,
) -> bool {
    let leaders: Vec<LeaderUpdate> = names
        .iter()
        .filter_map(|(topic, partition)| {
            let told = &answers.get(&(&**topic, *partition))?.current_leader;
            let is_known = told.leader_id >= 0 && told.leader_epoch >= 0;
            let partition = TopicPartition::new(Arc::clone(topic), *partition);
            is_known.then_some(LeaderUpdate { partition, leader: told.leader_id, leader_epoch: told.leader_epoch })
        })
        .collect();
    if leaders.is_empty() {
        return false;
    }
    let endpoints = response.node_endpoints.iter();
    let nodes: Vec<Node> =
        endpoints.filter_map(|node| Node::new(node.node_id, &node.host, node.port, node.rack.as_deref())).collect();
    cluster.update_leaders(&leaders, &nodes)
}

async fn init_producer_id(cluster: &Cluster) -> Result<Identity, ClientError> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let response = cluster.send_any(&request).await?;
    ClientError::check(response.error_code, None)?;
    Ok(Identity { id: response.producer_id, epoch: response.producer_epoch })
}
