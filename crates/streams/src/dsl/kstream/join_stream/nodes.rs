//! What the nodes of a join do with a record.

use std::{any::Any, marker::PhantomData, sync::Arc};

use super::Joiner;
use crate::{
    data::{Data, Flow, Nullable},
    dsl::JoinWindows,
    error::{Error, Result},
    record::{Record, ValueTimestampHeaders},
    state::Order,
    store::{LeftOrRight, OuterJoinStore, StoreHandle, TimestampedWindowStoreWithHeaders},
    task::{Children, Process, TaskCtx},
};

/// Keeps a side's records for the other side to find.
pub(super) struct WindowNode<K: Nullable, V: Nullable> {
    pub(super) store: StoreHandle<TimestampedWindowStoreWithHeaders<K::Some, V::Some>>,
    pub(super) children: Children<K, V>,
    pub(super) id: u32,
}

impl<K: Nullable, V: Nullable> Process<K, V> for WindowNode<K, V> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        // It joins before it is kept: so a stream that is joined with itself does not meet the record twice.
        self.children.forward(record.clone(), ctx)?;
        ctx.rt.enter(&record);
        let Record { key, value, timestamp, headers } = record;
        let Some(key) = key.as_some() else { return Ok(()) };
        let (store, rt) = ctx.store(self.store)?;
        let value = value.into_some().map(|value| ValueTimestampHeaders::new(value, timestamp, headers));
        let done = store.put(rt, key, value, timestamp);
        done.or_else(|error| ctx.rt.settle(error, self.id))
    }
}

/// A side of a join; `A` is the left side's value and `B` the right side's, whichever side it is.
pub(super) trait Side<A, B>: Send + 'static {
    type This: Data;
    type Other: Data;
    const LEFT: bool;
    fn pair<'a>(this: Option<&'a Self::This>, other: Option<&'a Self::Other>) -> (Option<&'a A>, Option<&'a B>);
    fn one(this: &Self::This) -> LeftOrRight<&A, &B>;
}

pub(super) enum Left {}
pub(super) enum Right {}

impl<A: Data, B: Data> Side<A, B> for Left {
    type This = A;
    type Other = B;
    const LEFT: bool = true;
    fn pair<'a>(this: Option<&'a A>, other: Option<&'a B>) -> (Option<&'a A>, Option<&'a B>) {
        (this, other)
    }
    fn one(this: &A) -> LeftOrRight<&A, &B> {
        LeftOrRight::Left(this)
    }
}

impl<A: Data, B: Data> Side<A, B> for Right {
    type This = B;
    type Other = A;
    const LEFT: bool = false;
    fn pair<'a>(this: Option<&'a B>, other: Option<&'a A>) -> (Option<&'a A>, Option<&'a B>) {
        (other, this)
    }
    fn one(this: &B) -> LeftOrRight<&A, &B> {
        LeftOrRight::Right(this)
    }
}

/// How far a side looks for the other's records, and how long records wait for one, all in ms.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    before: i64,
    after: i64,
    /// How long after its timestamp no record can meet one of the left side or of the right side any more.
    left_closes: i64,
    right_closes: i64,
    /// The same of the side that looks.
    closes: i64,
}

impl Reach {
    pub(super) fn new<A, B, S: Side<A, B>>(windows: &JoinWindows) -> Self {
        let (before, after, grace) = (windows.before_ms(), windows.after_ms(), windows.grace_ms());
        let (left_closes, right_closes) = (after.saturating_add(grace), before.saturating_add(grace));
        match S::LEFT {
            true => Reach { before, after, left_closes, right_closes, closes: left_closes },
            false => Reach { before: after, after: before, left_closes, right_closes, closes: right_closes },
        }
    }

    /// The other side's times that a record meets.
    fn around(self, timestamp: i64) -> (i64, i64) {
        (timestamp.saturating_sub(self.before).max(0), timestamp.saturating_add(self.after).max(0))
    }
}

/// Joins a side's records with the other side's.
pub(super) struct JoinSide<K: Nullable, A: Flow, B: Flow, R, F, S: Side<A, B>> {
    pub(super) join: Arc<F>,
    pub(super) other: StoreHandle<TimestampedWindowStoreWithHeaders<K::Some, S::Other>>,
    pub(super) unjoined: Option<StoreHandle<OuterJoinStore<K::Some, A, B>>>,
    pub(super) reach: Reach,
    /// Whether records of this side make results without one of the other.
    pub(super) outer: bool,
    pub(super) children: Children<K, R>,
    pub(super) id: u32,
}

impl<K, V, A, B, R, F, S> Process<K, V> for JoinSide<K, A, B, R, F, S>
where
    K: Nullable,
    V: Nullable,
    A: Flow,
    B: Flow,
    R: Flow,
    F: Joiner<K, A, B, R>,
    S: Side<A, B, This = V::Some>,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        let (key, value, rest) = record.split();
        self.join_one(key, value.into_some(), &rest, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

impl<K, A, B, R, F, S> JoinSide<K, A, B, R, F, S>
where
    K: Nullable,
    A: Flow,
    B: Flow,
    R: Flow,
    F: Joiner<K, A, B, R>,
    S: Side<A, B>,
{
    fn join_one(&mut self, key: K, value: Option<S::This>, rest: &Record<(), ()>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(rest);
        let mut stream_time = i64::MIN;
        if let Some(handle) = self.unjoined {
            let time = &mut ctx.store(handle)?.0.time;
            time.advance(rest.timestamp);
            stream_time = time.stream_time;
        }
        let (some, value) = match (key.as_some(), value) {
            (Some(some), Some(value)) => (some, value),
            // KIP-962: without a key there is none to meet.
            (None, Some(value)) if self.outer => return self.result(key, (Some(&value), None), rest, ctx),
            _ => return ctx.drop_record("its join key or value is null"),
        };
        if rest.timestamp == stream_time {
            self.emit_closed(rest, ctx)?;
        }
        let (from, to) = self.reach.around(rest.timestamp);
        let (store, _) = ctx.store(self.other)?;
        let others = store.fetch_range(some, from, to, Order::Forward)?;
        if others.is_empty() && self.outer {
            return match self.unjoined {
                Some(handle) if to >= stream_time => {
                    let (store, rt) = ctx.store(handle)?;
                    store.time.min_time = store.time.min_time.min(rest.timestamp);
                    store.add(rt, (rest.timestamp, some), S::one(&value))
                }
                // Its window is over, so there will be none: nothing to wait for.
                _ => self.result(key, (Some(&value), None), rest, ctx),
            };
        }
        for (timestamp, ValueTimestampHeaders { value: other, .. }) in others {
            if let Some(handle) = self.unjoined {
                ctx.rt.enter(rest);
                let (store, rt) = ctx.store(handle)?;
                store.remove(rt, timestamp, !S::LEFT, some)?;
            }
            let at = Record { timestamp: rest.timestamp.max(timestamp), ..rest.clone() };
            self.result(key.clone(), (Some(&value), Some(&other)), &at, ctx)?;
        }
        Ok(())
    }

    fn result(
        &mut self,
        key: K,
        (this, other): (Option<&S::This>, Option<&S::Other>),
        rest: &Record<(), ()>,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        let (left, right) = S::pair(this, other);
        let joined = (self.join)(&key, left, right)?;
        self.children.forward(rest.clone().with_key(key).with_value(joined), ctx)
    }

    /// Makes the results of records that have met none and whose windows are over, of both sides.
    fn emit_closed(&mut self, rest: &Record<(), ()>, ctx: &mut TaskCtx) -> Result<()> {
        let Some(handle) = self.unjoined else { return Ok(()) };
        let (store, rt) = ctx.store(handle)?;
        if !store.time.due(self.reach.closes, rt.wall_clock) {
            return Ok(());
        }
        let stream_time = store.time.stream_time;
        let (mut left_open, mut right_open) = (false, false);
        // An entry goes when the next one has been sent on: what fails in between is sent again, not lost.
        let mut sent = None;
        for entry in store.unjoined()? {
            let entry = entry?;
            let (store, _) = ctx.store(handle)?;
            store.time.min_time = entry.timestamp;
            if left_open && right_open {
                break;
            }
            let closes = if entry.left { self.reach.left_closes } else { self.reach.right_closes };
            if entry.timestamp.saturating_add(closes) >= stream_time {
                *(if entry.left { &mut left_open } else { &mut right_open }) = true;
                continue;
            }
            let (key, values) = (K::from_some(store.key(&entry)?), store.values(&entry)?);
            for value in values {
                let pair = match &value {
                    LeftOrRight::Left(left) => (Some(left), None),
                    LeftOrRight::Right(right) => (None, Some(right)),
                };
                let joined = (self.join)(&key, pair.0, pair.1)?;
                let at = Record { timestamp: entry.timestamp, ..rest.clone() };
                self.children.forward(at.with_key(key.clone()).with_value(joined), ctx)?;
                forget(handle, sent.take(), rest, ctx)?;
            }
            sent = Some(entry.bytes);
        }
        forget(handle, sent, rest, ctx)
    }
}

fn forget<K: Flow, A: Flow, B: Flow>(
    handle: StoreHandle<OuterJoinStore<K, A, B>>,
    entry: Option<bytes::Bytes>,
    rest: &Record<(), ()>,
    ctx: &mut TaskCtx,
) -> Result<()> {
    ctx.rt.enter(rest);
    let Some(key) = entry else { return Ok(()) };
    let (store, rt) = ctx.store(handle)?;
    store.remove_bytes(rt, &key)
}

/// Joins a stream with itself, by one store and one node, in the order in which two would do it.
pub(super) struct SelfJoin<K: Nullable, A, B, R, F> {
    pub(super) join: Arc<F>,
    pub(super) store: StoreHandle<TimestampedWindowStoreWithHeaders<K::Some, A>>,
    pub(super) windows: JoinWindows,
    pub(super) stream_time: i64,
    pub(super) children: Children<K, R>,
    pub(super) id: u32,
    pub(super) types: PhantomData<fn(B)>,
}

impl<K, V, B, R, F> Process<K, V> for SelfJoin<K, V::Some, B, R, F>
where
    K: Nullable,
    V: Nullable,
    B: Flow,
    R: Flow,
    F: Joiner<K, V::Some, B, R>,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        let (key, value, rest) = record.split();
        self.join_one(&key, value.into_some(), &rest, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

impl<K, A, B, R, F> SelfJoin<K, A, B, R, F>
where
    K: Nullable,
    A: Flow,
    B: Flow,
    R: Flow,
    F: Joiner<K, A, B, R>,
{
    fn join_one(&mut self, key: &K, value: Option<A>, rest: &Record<(), ()>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(rest);
        let (Some(some), Some(value)) = (key.as_some(), value) else {
            return ctx.drop_record("its join key or value is null");
        };
        let timestamp = rest.timestamp;
        let send = |joined: R, at: i64, out: &mut Children<K, R>, ctx: &mut TaskCtx| {
            out.forward(rest.clone().with_timestamp(at).with_key(key.clone()).with_value(joined), ctx)
        };
        let mut with_itself = Some((self.join)(key, Some(&value), Some(right(&value)?))?);
        self.stream_time = self.stream_time.max(timestamp);
        if timestamp <= self.stream_time.saturating_sub(self.windows.retention()).saturating_add(1) {
            with_itself = None;
        }
        let (before, after) = (self.windows.before_ms(), self.windows.after_ms());
        let around =
            |before: i64, after: i64| (timestamp.saturating_sub(before).max(0), timestamp.saturating_add(after).max(0));
        let (from, to) = around(before, after);
        for (other_time, ValueTimestampHeaders { value: other, .. }) in
            ctx.store(self.store)?.0.fetch_range(some, from, to, Order::Forward)?
        {
            let joined = (self.join)(key, Some(&value), Some(right(&other)?))?;
            send(joined, timestamp.max(other_time), &mut self.children, ctx)?;
        }
        let (from, to) = around(after, before);
        for (other_time, ValueTimestampHeaders { value: other, .. }) in
            ctx.store(self.store)?.0.fetch_range(some, from, to, Order::Forward)?
        {
            // Results go out in the order of their timestamps.
            if timestamp < other_time
                && let Some(joined) = with_itself.take()
            {
                send(joined, timestamp, &mut self.children, ctx)?;
            }
            let joined = (self.join)(key, Some(&other), Some(right(&value)?))?;
            send(joined, timestamp.max(other_time), &mut self.children, ctx)?;
        }
        match with_itself {
            Some(joined) => send(joined, timestamp, &mut self.children, ctx),
            None => Ok(()),
        }
    }
}

/// A left value as the right value that it is too: both sides are one stream. Decided when this is compiled.
fn right<A: 'static, B: 'static>(value: &A) -> Result<&B> {
    (value as &dyn Any).downcast_ref().ok_or_else(|| Error::internal("a self join of two types"))
}
