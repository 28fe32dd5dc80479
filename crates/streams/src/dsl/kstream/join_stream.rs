//! Joins of two streams: records of one key that are near in time.

mod build;
mod nodes;
mod stores;

use super::KStream;
use crate::{
    data::{Flow, Nullable},
    dsl::{JoinWindows, Options, StreamJoined, UserError, sure, user},
    error::{Error, Result},
};

/// Which side of a join goes on without a record of the other.
#[derive(Clone, Copy)]
struct Outer {
    left: bool,
    right: bool,
}

/// Kafka's `ValueJoinerWithKey` on both sides; what is missing is `None`.
trait Joiner<K, A, B, R>: Fn(&K, Option<&A>, Option<&B>) -> Result<R> + Send + Sync + 'static {}
impl<K, A, B, R, F: Fn(&K, Option<&A>, Option<&B>) -> Result<R> + Send + Sync + 'static> Joiner<K, A, B, R> for F {}

impl<K: Nullable, V: Nullable> KStream<K, V> {
    /// Joins each record with every record of the other stream that has the same key and is near in time: Kafka's
    /// `KStream.join` of two streams.
    ///
    /// Each side keeps its records in a window store with a changelog, for the length of the window and its grace
    /// period. A pair makes one result, when the later-arriving record of both comes; its timestamp is the greater of
    /// both. Records with a null key or value are dropped, and those that come later than the grace period allows. A
    /// stream whose key has changed is repartitioned first; topics of both sides must have equally many partitions.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vltava_streams::{JoinWindows, StreamsBuilder, TopologyTestDriver};
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks");
    /// let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(10));
    /// builder
    ///     .stream::<String, String>("views")
    ///     .join_stream(&clicks, windows, |view, click| format!("{view}, then {click}"))
    ///     .to("both");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let (views, clicks) = (driver.input_topic::<String, String>("views"), driver.input_topic("clicks"));
    /// views.pipe_at("ann".to_owned(), "page".to_owned(), 0)?;
    /// clicks.pipe_at("ann".to_owned(), "button".to_owned(), 10)?;
    /// clicks.pipe_at("ann".to_owned(), "link".to_owned(), 11)?;
    /// let both = driver.output_topic::<String, String>("both");
    /// assert_eq!(both.read_values()?, ["page, then button"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn join_stream<V2: Nullable, R: Flow>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(&V::Some, &V2::Some) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.join_stream_with((), other, windows, move |_, a, b| joiner(a, b))
    }

    /// [`join_stream`](Self::join_stream) with names, serdes or stores of one's own, and a joiner that sees the key.
    pub fn join_stream_with<V2: Nullable, R: Flow>(
        &self,
        options: impl Options<StreamJoined<K::Some, V::Some, V2::Some>>,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(&K, &V::Some, &V2::Some) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_join_stream(options, other, windows, move |k, a, b| sure(joiner(k, a, b)))
    }

    /// [`join_stream_with`](Self::join_stream_with) with a joiner that may fail; its error goes to the processing exception handler.
    pub fn try_join_stream<V2: Nullable, R: Flow, E: Into<UserError>>(
        &self,
        options: impl Options<StreamJoined<K::Some, V::Some, V2::Some>>,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(&K, &V::Some, &V2::Some) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, a: Option<&V::Some>, b: Option<&V2::Some>| match (a, b) {
            (Some(a), Some(b)) => joiner(key, a, b).map_err(user),
            _ => Err(Error::internal("an inner join with one side missing")),
        };
        self.join_windowed(
            other,
            windows,
            &options.chosen().unwrap_or_default(),
            Outer { left: false, right: false },
            join,
        )
    }

    /// [`join_stream`](Self::join_stream) in which a record of this stream that meets no other makes a result of its
    /// own, as soon as its window and the grace period are over: Kafka's `KStream.leftJoin` of two streams.
    ///
    /// Time is that of the records of both streams; nothing closes while none come. To save work, closed windows are
    /// looked for once per second of wall-clock time, when a record comes. A record with a null key makes its
    /// result at once (KIP-962). What waits is in a store that both sides share.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vltava_streams::{JoinWindows, StreamsBuilder, TopologyTestDriver};
    ///
    /// let builder = StreamsBuilder::new();
    /// let paid = builder.stream::<String, i64>("paid");
    /// let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(10));
    /// builder
    ///     .stream::<String, i64>("ordered")
    ///     .left_join_stream(&paid, windows, |ordered, paid| ordered - paid.unwrap_or(&0))
    ///     .to("owed");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let ordered = driver.input_topic::<String, i64>("ordered");
    /// ordered.pipe_at("ann".to_owned(), 7, 0)?;
    /// driver.advance_wall_clock_time(Duration::from_secs(1))?;
    /// ordered.pipe_at("bob".to_owned(), 9, 11)?;
    /// let owed = driver.output_topic::<String, i64>("owed");
    /// assert_eq!(owed.read_key_values()?, [("ann".to_owned(), 7)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn left_join_stream<V2: Nullable, R: Flow>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(&V::Some, Option<&V2::Some>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.left_join_stream_with((), other, windows, move |_, a, b| joiner(a, b))
    }

    /// [`left_join_stream`](Self::left_join_stream) with names, serdes or stores of one's own, and a joiner that sees the key.
    pub fn left_join_stream_with<V2: Nullable, R: Flow>(
        &self,
        options: impl Options<StreamJoined<K::Some, V::Some, V2::Some>>,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(&K, &V::Some, Option<&V2::Some>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_left_join_stream(options, other, windows, move |k, a, b| sure(joiner(k, a, b)))
    }

    /// [`left_join_stream_with`](Self::left_join_stream_with) with a joiner that may fail.
    pub fn try_left_join_stream<V2: Nullable, R: Flow, E: Into<UserError>>(
        &self,
        options: impl Options<StreamJoined<K::Some, V::Some, V2::Some>>,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(&K, &V::Some, Option<&V2::Some>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, a: Option<&V::Some>, b: Option<&V2::Some>| match a {
            Some(a) => joiner(key, a, b).map_err(user),
            None => Err(Error::internal("a left join without its left side")),
        };
        self.join_windowed(
            other,
            windows,
            &options.chosen().unwrap_or_default(),
            Outer { left: true, right: false },
            join,
        )
    }

    /// [`left_join_stream`](Self::left_join_stream) for both sides: Kafka's `KStream.outerJoin`.
    pub fn outer_join_stream<V2: Nullable, R: Flow>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(Option<&V::Some>, Option<&V2::Some>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.outer_join_stream_with((), other, windows, move |_, a, b| joiner(a, b))
    }

    /// [`outer_join_stream`](Self::outer_join_stream) with names, serdes or stores of one's own, and a joiner that sees the key.
    pub fn outer_join_stream_with<V2: Nullable, R: Flow>(
        &self,
        options: impl Options<StreamJoined<K::Some, V::Some, V2::Some>>,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(&K, Option<&V::Some>, Option<&V2::Some>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_outer_join_stream(options, other, windows, move |k, a, b| sure(joiner(k, a, b)))
    }

    /// [`outer_join_stream_with`](Self::outer_join_stream_with) with a joiner that may fail.
    pub fn try_outer_join_stream<V2: Nullable, R: Flow, E: Into<UserError>>(
        &self,
        options: impl Options<StreamJoined<K::Some, V::Some, V2::Some>>,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joiner: impl Fn(&K, Option<&V::Some>, Option<&V2::Some>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, a: Option<&V::Some>, b: Option<&V2::Some>| joiner(key, a, b).map_err(user);
        self.join_windowed(
            other,
            windows,
            &options.chosen().unwrap_or_default(),
            Outer { left: true, right: true },
            join,
        )
    }
}

#[cfg(test)]
mod tests;
