//! The processors of a foreign-key join, under the names of Kafka's suppliers.

use std::sync::Arc;

use super::{
    ForeignKeyExtractor, Joiner,
    wrapper::{Instruction, Subscription, SubscriptionResponseWrapper, SubscriptionWrapper, pseudo_topic},
};
use crate::{
    data::{Data, ErasedSerde},
    dsl::ktable::ValueGetter,
    error::{Error, Result, SerdeError, SerdeOrigin},
    murmur3,
    record::{Change, Record},
    serdes::{SerdeRef, length},
    store::{StoreHandle, SubscriptionStore},
    task::{Children, Process, TaskCtx},
    topology::Instantiation,
};

/// A serde, and the topic it is told.
pub(super) struct Side<T> {
    serde: SerdeRef<T>,
    topic: Arc<str>,
    node: String,
    origin: SerdeOrigin,
}

impl<T: Data> Side<T> {
    pub(super) fn new(
        making: &Instantiation<'_>,
        named: Option<&ErasedSerde>,
        topic: &str,
        origin: SerdeOrigin,
    ) -> Result<Self> {
        let serde = making.serde(named, matches!(origin, SerdeOrigin::Key))?;
        Ok(Side { serde, topic: pseudo_topic(making.config.application_id(), topic), node: making.node_name(), origin })
    }

    fn write(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        self.serde.serialize(&self.topic, value, out).map_err(|source| self.unwritable(source))
    }

    #[cold]
    fn unwritable(&self, source: SerdeError) -> Box<Error> {
        let (node, topic, origin) = (self.node.clone(), self.topic.to_string(), self.origin);
        Box::new(Error::Serialization { node, topic, origin, source })
    }

    fn read(&self, bytes: &[u8]) -> Result<T> {
        self.serde.deserialize(&self.topic, bytes).map_err(|source| self.unreadable(source))
    }

    #[cold]
    fn unreadable(&self, source: SerdeError) -> Box<Error> {
        let topic = self.topic.to_string();
        Box::new(Error::Deserialization { topic, partition: -1, offset: -1, origin: self.origin, source })
    }
}

/// `SubscriptionSendProcessor`: tells the other table of the keys that a row needs, and no longer needs.
pub(super) struct SendNode<K, V, KO> {
    pub(super) extractor: ForeignKeyExtractor<K, V, KO>,
    pub(super) left: bool,
    /// Whether the table above keeps versions; then out-of-order updates do not count.
    pub(super) versioned: bool,
    pub(super) foreign_key: Side<KO>,
    pub(super) value: Side<V>,
    pub(super) children: Children<Option<KO>, SubscriptionWrapper<K>>,
    pub(super) buffers: [Vec<u8>; 2],
    pub(super) id: u32,
}

impl<K: Data, V: Data, KO: Data> Process<K, Change<V>> for SendNode<K, V, KO> {
    fn process(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.send(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

impl<K: Data, V: Data, KO: Data> SendNode<K, V, KO> {
    fn send(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        let (key, change, rest) = record.split();
        if self.versioned && !change.is_latest {
            return ctx.drop_record("it is out of order in a versioned table");
        }
        if change.new.is_none() && change.old.is_none() {
            return Ok(());
        }
        let extract = |value: &Option<V>| value.as_ref().map_or(Ok(None), |value| (self.extractor)(&key, value));
        let (old, new) = (extract(&change.old)?, extract(&change.new)?);
        let changed = match (&old, &new) {
            (Some(old), Some(new)) => self.differ(old, new)?,
            _ => true,
        };
        if !self.left && change.new.is_some() && new.is_none() {
            ctx.rt.drop_record("its foreign key is null");
        }
        let subscriptions = subscriptions(self.left, change.new.is_some(), (old, new), changed);
        let mut hash = None;
        if let (Some(value), Some(_)) = (&change.new, subscriptions.iter().flatten().next()) {
            let [buffer, _] = &mut self.buffers;
            buffer.clear();
            self.value.write(value, buffer)?;
            hash = Some(murmur3::hash128(buffer));
        }
        let primary_partition = Some(ctx.rt.context.partition);
        for (foreign_key, instruction) in subscriptions.into_iter().flatten() {
            let subscription = Subscription { hash, instruction, primary_partition };
            let wrapper = SubscriptionWrapper { subscription, primary_key: key.clone() };
            self.children.forward(rest.clone().with_key(foreign_key).with_value(wrapper), ctx)?;
        }
        Ok(())
    }

    /// Whether two keys have different bytes: keys need no `Eq`.
    fn differ(&mut self, old: &KO, new: &KO) -> Result<bool> {
        let [a, b] = &mut self.buffers;
        a.clear();
        b.clear();
        self.foreign_key.write(new, a)?;
        self.foreign_key.write(old, b)?;
        Ok(a != b)
    }
}

/// What a change of a row tells the other table: of the old foreign key, and of the new one.
fn subscriptions<KO>(
    left: bool,
    has_value: bool,
    keys: (Option<KO>, Option<KO>),
    changed: bool,
) -> [Option<(Option<KO>, Instruction)>; 2] {
    use Instruction::*;
    match (left, keys) {
        // The old row gets no answer, as the new one always does. It may be on another partition.
        (true, (old, new)) => [
            old.filter(|_| changed).map(|old| (Some(old), DeleteKeyNoPropagate)),
            // Null is nobody's key: nobody remembers it, but it has its answer.
            Some((new, PropagateNullIfNoFkValAvailable)),
        ],
        (false, (Some(old), Some(new))) if changed => [
            Some((Some(old), DeleteKeyNoPropagate)),
            // Whatever the old key has joined must go.
            Some((Some(new), PropagateNullIfNoFkValAvailable)),
        ],
        // If the row is not there now, it was not there before either.
        (false, (_, Some(new))) if has_value => [None, Some((Some(new), PropagateOnlyIfFkValAvailable))],
        (false, (old, _)) => [old.map(|old| (Some(old), DeleteKeyAndPropagate)), None],
    }
}

/// Foreign key and primary key: what a subscription is known by.
pub(super) type CombinedKey<KO, K> = (Option<KO>, K);

/// `SubscriptionReceiveProcessor`: remembers who needs which row.
pub(super) struct ReceiveNode<K, KO> {
    pub(super) store: StoreHandle<SubscriptionStore>,
    pub(super) foreign_key: Side<KO>,
    pub(super) primary_key: Side<K>,
    pub(super) wrapper: SerdeRef<SubscriptionWrapper<K>>,
    pub(super) children: Children<CombinedKey<KO, K>, Subscription>,
    pub(super) buffers: [Vec<u8>; 2],
    pub(super) id: u32,
}

impl<K: Data, KO: Data> Process<Option<KO>, SubscriptionWrapper<K>> for ReceiveNode<K, KO> {
    fn process(&mut self, record: Record<Option<KO>, SubscriptionWrapper<K>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.receive(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

impl<K: Data, KO: Data> ReceiveNode<K, KO> {
    fn receive(&mut self, record: Record<Option<KO>, SubscriptionWrapper<K>>, ctx: &mut TaskCtx) -> Result<()> {
        let (foreign_key, wrapper, rest) = record.split();
        let subscription = wrapper.subscription;
        match &foreign_key {
            Some(foreign_key) => self.remember(foreign_key, &wrapper, ctx)?,
            None if subscription.instruction == Instruction::PropagateNullIfNoFkValAvailable => {}
            None => return ctx.drop_record("its foreign key is null"),
        }
        self.children.forward(rest.with_key((foreign_key, wrapper.primary_key)).with_value(subscription), ctx)
    }

    fn remember(&mut self, foreign_key: &KO, wrapper: &SubscriptionWrapper<K>, ctx: &mut TaskCtx) -> Result<()> {
        let [key, value] = &mut self.buffers;
        write_prefix(&self.foreign_key, foreign_key, key)?;
        self.primary_key.write(&wrapper.primary_key, key)?;
        let (store, rt) = ctx.store(self.store)?;
        if wrapper.subscription.instruction.deletes() {
            return store.delete(rt, key);
        }
        value.clear();
        let topic = self.primary_key.topic.clone();
        self.wrapper.serialize(&topic, wrapper, value).map_err(|source| {
            let (node, topic) = (self.primary_key.node.clone(), topic.to_string());
            Box::new(Error::Serialization { node, topic, origin: SerdeOrigin::Value, source })
        })?;
        store.put(rt, key, value)
    }
}

/// A foreign key behind its length, with which all combined keys of it begin.
fn write_prefix<KO: Data>(side: &Side<KO>, foreign_key: &KO, out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    out.extend_from_slice(&[0; 4]);
    side.write(foreign_key, out)?;
    let len = length(out.len() - 4).map_err(|source| side.unwritable(source))?;
    if let Some(place) = out.first_chunk_mut::<4>() {
        *place = len.to_be_bytes();
    }
    Ok(())
}

type Responses<K, VO> = Children<K, SubscriptionResponseWrapper<VO>>;

/// `SubscriptionJoinProcessor`: answers a subscription by what the other table has now.
pub(super) struct SubscriptionJoinNode<K, KO, VO> {
    pub(super) getter: Arc<dyn ValueGetter<KO, VO>>,
    pub(super) children: Responses<K, VO>,
    pub(super) id: u32,
}

impl<K: Data, KO: Data, VO: Data> Process<CombinedKey<KO, K>, Subscription> for SubscriptionJoinNode<K, KO, VO> {
    fn process(&mut self, record: Record<CombinedKey<KO, K>, Subscription>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.answer(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

impl<K: Data, KO: Data, VO: Data> SubscriptionJoinNode<K, KO, VO> {
    fn answer(&mut self, record: Record<CombinedKey<KO, K>, Subscription>, ctx: &mut TaskCtx) -> Result<()> {
        let ((foreign_key, primary_key), subscription, rest) = record.split();
        let row = match &foreign_key {
            Some(foreign_key) => self.getter.get(ctx, foreign_key)?,
            None => None,
        };
        let timestamp = row.as_ref().map_or(rest.timestamp, |row| row.timestamp.max(rest.timestamp));
        let foreign_value = match subscription.instruction {
            Instruction::DeleteKeyNoPropagate => return Ok(()),
            Instruction::PropagateOnlyIfFkValAvailable if row.is_none() => return Ok(()),
            Instruction::DeleteKeyAndPropagate => None,
            Instruction::PropagateNullIfNoFkValAvailable | Instruction::PropagateOnlyIfFkValAvailable => {
                row.map(|row| row.value)
            }
        };
        let Subscription { hash, primary_partition, .. } = subscription;
        let response = SubscriptionResponseWrapper { hash, foreign_value, primary_partition };
        self.children.forward(rest.with_timestamp(timestamp).with_key(primary_key).with_value(response), ctx)
    }
}

/// `ForeignTableJoinProcessor`: tells all subscribers of a row that it has changed.
pub(super) struct ForeignTableJoinNode<K, KO, VO> {
    pub(super) store: StoreHandle<SubscriptionStore>,
    /// Whether the other table keeps versions; then out-of-order updates do not count.
    pub(super) versioned: bool,
    pub(super) foreign_key: Side<KO>,
    pub(super) primary_key: Side<K>,
    pub(super) children: Responses<K, VO>,
    pub(super) prefix: Vec<u8>,
    pub(super) id: u32,
}

impl<K: Data, KO: Data, VO: Data> Process<KO, Change<VO>> for ForeignTableJoinNode<K, KO, VO> {
    fn process(&mut self, record: Record<KO, Change<VO>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.tell(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

impl<K: Data, KO: Data, VO: Data> ForeignTableJoinNode<K, KO, VO> {
    fn tell(&mut self, record: Record<KO, Change<VO>>, ctx: &mut TaskCtx) -> Result<()> {
        let (foreign_key, change, rest) = record.split();
        if self.versioned && !change.is_latest {
            return ctx.drop_record("it is out of order in a versioned table");
        }
        write_prefix(&self.foreign_key, &foreign_key, &mut self.prefix)?;
        let subscribers = ctx.store(self.store)?.0.below(&self.prefix)?;
        for subscriber in subscribers {
            let (key, value) = subscriber?;
            let (subscription, _) = Subscription::read(&value).map_err(|source| self.primary_key.unreadable(source))?;
            let primary_key = self.primary_key.read(key.get(self.prefix.len()..).unwrap_or_default())?;
            let Subscription { hash, primary_partition, .. } = subscription;
            let foreign_value = change.new.clone();
            let response = SubscriptionResponseWrapper { hash, foreign_value, primary_partition };
            self.children.forward(rest.clone().with_key(primary_key).with_value(response), ctx)?;
        }
        Ok(())
    }
}

/// `ResponseJoinProcessor`: joins a row with an answer, unless the row has changed since it asked.
pub(super) struct ResponseJoinNode<K, V, VO, R> {
    pub(super) getter: Arc<dyn ValueGetter<K, V>>,
    pub(super) value: Side<V>,
    pub(super) joiner: Joiner<V, VO, R>,
    pub(super) left: bool,
    pub(super) children: Children<K, Option<R>>,
    pub(super) buffer: Vec<u8>,
    pub(super) id: u32,
}

impl<K: Data, V: Data, VO: Data, R: Data> Process<K, SubscriptionResponseWrapper<VO>>
    for ResponseJoinNode<K, V, VO, R>
{
    fn process(&mut self, record: Record<K, SubscriptionResponseWrapper<VO>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.join(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

impl<K: Data, V: Data, VO: Data, R: Data> ResponseJoinNode<K, V, VO, R> {
    fn join(&mut self, record: Record<K, SubscriptionResponseWrapper<VO>>, ctx: &mut TaskCtx) -> Result<()> {
        let (key, response, rest) = record.split();
        let row = self.getter.get(ctx, &key)?;
        let mut hash = None;
        if let Some(row) = &row {
            self.buffer.clear();
            self.value.write(&row.value, &mut self.buffer)?;
            hash = Some(murmur3::hash128(&self.buffer));
        }
        if hash != response.hash {
            return ctx.drop_record("it answers an earlier value of the row");
        }
        let joined = match (&row, &response.foreign_value) {
            (Some(row), other) if self.left || other.is_some() => (self.joiner)(&row.value, other.as_ref())?,
            _ => None,
        };
        self.children.forward(rest.with_key(key).with_value(joined), ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::{Instruction::*, subscriptions};

    #[test]
    fn an_inner_join_asks_for_no_more_answers_than_it_needs() {
        let keys = |old: &'static str, new: &'static str| {
            let key = |key: &'static str| (!key.is_empty()).then_some(key);
            (key(old), key(new))
        };
        let of = |has_value, old, new| subscriptions(false, has_value, keys(old, new), old != new);
        assert_eq!(of(true, "", "a"), [None, Some((Some("a"), PropagateOnlyIfFkValAvailable))]);
        assert_eq!(of(true, "a", "a"), [None, Some((Some("a"), PropagateOnlyIfFkValAvailable))]);
        let moved = [Some((Some("a"), DeleteKeyNoPropagate)), Some((Some("b"), PropagateNullIfNoFkValAvailable))];
        assert_eq!(of(true, "a", "b"), moved);
        assert_eq!(of(true, "a", ""), [Some((Some("a"), DeleteKeyAndPropagate)), None]);
        assert_eq!(of(false, "a", ""), [Some((Some("a"), DeleteKeyAndPropagate)), None]);
        assert_eq!(of(true, "", ""), [None, None]);
        assert_eq!(of(false, "", ""), [None, None]);
    }

    #[test]
    fn a_left_join_always_has_an_answer() {
        let of =
            |old: Option<&'static str>, new: Option<&'static str>| subscriptions(true, true, (old, new), old != new);
        let asked = |key| Some((key, PropagateNullIfNoFkValAvailable));
        let deleted = |key| Some((Some(key), DeleteKeyNoPropagate));
        assert_eq!(of(None, Some("a")), [None, asked(Some("a"))]);
        assert_eq!(of(Some("a"), Some("a")), [None, asked(Some("a"))]);
        assert_eq!(of(Some("a"), Some("b")), [deleted("a"), asked(Some("b"))]);
        assert_eq!(of(Some("a"), None), [deleted("a"), asked(None)]);
        assert_eq!(of(None, None), [None, asked(None)]);
    }
}
