//! How records are put into windows, under Kafka's names. What is wrong with a window is an error of `build()`.

use std::time::Duration;

use crate::{
    error::{Error, Result},
    state::millis,
};

#[cold]
fn wrong<T>(message: String) -> Result<T> {
    Err(Box::new(Error::IllegalArgument(message)))
}

/// Windows of a fixed size that begin every `advance`: tumbling where that is the size, hopping where it is less.
///
/// A window holds its first millisecond and not its last; the first begins at 0. A record that comes after the end of a
/// window and the grace, by the stream's time, is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    pub(crate) size: i64,
    pub(crate) advance: i64,
    pub(crate) grace: i64,
}

impl TimeWindows {
    /// Tumbling windows for which nothing may come late.
    #[must_use]
    pub fn of_size_with_no_grace(size: Duration) -> Self {
        Self::of_size_and_grace(size, Duration::ZERO)
    }

    /// Tumbling windows that take records until `after_window_end` after their end.
    #[must_use]
    pub fn of_size_and_grace(size: Duration, after_window_end: Duration) -> Self {
        let size = millis(size);
        TimeWindows { size, advance: size, grace: millis(after_window_end) }
    }

    /// Hopping windows: one begins every `advance`, which is at most the size.
    #[must_use]
    pub fn advance_by(self, advance: Duration) -> Self {
        TimeWindows { advance: millis(advance), ..self }
    }

    /// How long a window is, in ms.
    #[must_use]
    pub fn size(&self) -> i64 {
        self.size
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.size <= 0 {
            return wrong("Window size (sizeMs) must be larger than zero.".to_owned());
        }
        if self.advance <= 0 || self.advance > self.size {
            let (advance, size) = (self.advance, self.size);
            return wrong(format!(
                "Window advancement interval should be more than zero and less than window duration which is {size} ms, but given advancement interval is: {advance} ms"
            ));
        }
        Ok(())
    }

    /// The starts of the windows that a time is in, the first first.
    pub(crate) fn starts(&self, timestamp: i64) -> impl Iterator<Item = i64> + use<> {
        let advance = self.advance;
        let first = timestamp.saturating_sub(self.size).saturating_add(advance).max(0) / advance * advance;
        std::iter::successors(Some(first), move |start| start.checked_add(advance))
            .take_while(move |start| *start <= timestamp)
    }
}

/// Windows that slide over the records: one for every set of records that are at most `time_difference` apart.
///
/// A window holds both its first and its last millisecond; one ends at each record, and one begins right after it if
/// records follow there.
///
/// ```
/// # use std::time::Duration;
/// # use vltava_streams::{Produced, SlidingWindows, StreamsBuilder, TopologyTestDriver, Windowed};
/// # use vltava_streams::serdes::{StringSerde, TimeWindowedSerde, serde_of};
/// let windows = SlidingWindows::of_time_difference_and_grace(Duration::from_secs(10), Duration::from_secs(60));
/// let builder = StreamsBuilder::new();
/// let payments = builder.stream::<String, i64>("payments").group_by_key();
/// payments.windowed_by(windows).count().to_stream().to_with(Produced::new(), "payments-in-reach");
/// let driver = TopologyTestDriver::new(&builder.build()?)?;
/// let payments = driver.input_topic::<String, i64>("payments");
/// payments.pipe_at("card".to_owned(), 20, 20_000)?;
/// payments.pipe_at("card".to_owned(), 30, 25_000)?;
/// let keys = std::sync::Arc::new(TimeWindowedSerde::new(StringSerde, Duration::from_secs(10)));
/// let out = driver.output_topic_with("payments-in-reach", keys, serde_of::<i64>());
/// let shown = |(key, count): (Windowed<String>, i64)| (key.to_string(), count);
/// let counts: Vec<_> = out.read_key_values()?.into_iter().map(shown).collect();
/// let expected = [("[card@10000/20000]", 1), ("[card@20001/30001]", 1), ("[card@15000/25000]", 2)];
/// assert_eq!(counts, expected.map(|(key, n)| (key.to_owned(), n)));
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindows {
    pub(crate) difference: i64,
    pub(crate) grace: i64,
}

impl SlidingWindows {
    /// Windows for which nothing may come late.
    #[must_use]
    pub fn of_time_difference_with_no_grace(time_difference: Duration) -> Self {
        Self::of_time_difference_and_grace(time_difference, Duration::ZERO)
    }

    /// Windows that take records until `after_window_end` after their end.
    #[must_use]
    pub fn of_time_difference_and_grace(time_difference: Duration, after_window_end: Duration) -> Self {
        SlidingWindows { difference: millis(time_difference), grace: millis(after_window_end) }
    }

    /// The most that two records of a window are apart, in ms.
    #[must_use]
    pub fn time_difference(&self) -> i64 {
        self.difference
    }
}

/// Sessions: windows that grow as long as a record of their key follows within the gap, and merge where they touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWindows {
    pub(crate) gap: i64,
    pub(crate) grace: i64,
}

impl SessionWindows {
    /// Sessions for which nothing may come late.
    #[must_use]
    pub fn of_inactivity_gap_with_no_grace(gap: Duration) -> Self {
        Self::of_inactivity_gap_and_grace(gap, Duration::ZERO)
    }

    /// Sessions that take records until `after_window_end` after they have closed.
    #[must_use]
    pub fn of_inactivity_gap_and_grace(gap: Duration, after_window_end: Duration) -> Self {
        SessionWindows { gap: millis(gap), grace: millis(after_window_end) }
    }

    /// The time without a record after which a session is over, in ms.
    #[must_use]
    pub fn inactivity_gap(&self) -> i64 {
        self.gap
    }
}

/// One window without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnlimitedWindows {
    pub(crate) start: i64,
}

impl UnlimitedWindows {
    /// From time 0.
    #[must_use]
    pub fn of() -> Self {
        Self::default()
    }

    /// From this time, in ms since the epoch; earlier records are in no window.
    #[must_use]
    pub fn start_on(self, start: i64) -> Self {
        UnlimitedWindows { start }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.start {
            ..0 => wrong("Window start time (startMs) cannot be negative.".to_owned()),
            _ => Ok(()),
        }
    }
}

/// When a windowed aggregation sends its results on (KIP-825).
///
/// ```
/// # use std::time::Duration;
/// # use vltava_streams::{EmitStrategy, StreamsBuilder, TimeWindows, TopologyTestDriver};
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, i64>("readings")
///     .group_by_key()
///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
///     .emit_strategy(EmitStrategy::OnWindowClose)
///     .reduce(i64::max)
///     .to_stream()
///     .map(|sensor, greatest| (sensor.key, greatest))
///     .to("greatest-per-minute");
/// let driver = TopologyTestDriver::new(&builder.build()?)?;
/// let readings = driver.input_topic::<String, i64>("readings");
/// for (second, reading) in [(0, 3), (30, 5), (59, 4)] {
///     readings.pipe_at("cellar".to_owned(), reading, second * 1000)?;
/// }
/// let greatest = driver.output_topic::<String, i64>("greatest-per-minute");
/// assert!(greatest.is_empty());
/// // Windows that have closed are looked for once a second.
/// driver.advance_wall_clock_time(Duration::from_secs(1))?;
/// readings.pipe_at("cellar".to_owned(), 1, 60_000)?;
/// assert_eq!(greatest.read_key_values()?, [("cellar".to_owned(), 5)]);
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmitStrategy {
    /// With every update (or commit, where the store has a cache).
    #[default]
    OnWindowUpdate,
    /// Once, when the window and its grace are over.
    OnWindowClose,
}
