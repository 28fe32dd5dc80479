//! A topology, and what is piped into it, from any bytes: what the random test and the fuzz target share.
//!
//! Every stream is one of `Option<String>` and `Option<i64>`, so that nulls go everywhere and any two streams can meet.

use std::time::Duration;

use vltava_streams::{
    BufferConfig, JoinWindows, KStream, KTable, Record, Result, SentRecord, SessionWindows, SlidingWindows,
    StreamsBuilder, StreamsConfig, Suppressed, TimeWindows, TopologyTestDriver, Windowed,
};

type Stream = KStream<Option<String>, Option<i64>>;
type Table = KTable<String, i64>;

const INPUTS: usize = 3;
const TABLES: usize = 2;
const OPERATORS: usize = 26;

/// The bytes that decide; zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % bound.max(1)
    }

    fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn millis(&mut self) -> Duration {
        Duration::from_millis([1, 2, 5, 10, 100, 86_400_000][self.below(6)])
    }

    /// Small ones that meet in windows, and the greatest there are.
    fn timestamp(&mut self) -> i64 {
        match self.below(20) {
            0 => i64::MAX - self.below(3) as i64,
            1 => 1_700_000_000_000 + self.below(200) as i64,
            _ => self.below(50) as i64,
        }
    }
}

/// What the bytes came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    description: String,
    sent: Vec<SentRecord>,
    dropped: u64,
    stream_time: i64,
}

/// The failures that the JVM has, too: no window ends after the greatest timestamp, and the optimiser gives up on
/// repartitions that a merge separates from what changed the key. Nothing else may fail.
const AS_ON_THE_JVM: [&str; 2] =
    ["Window endMs time must be greater than window startMs time", "no key-changing node above the repartition"];

/// Builds the topology of these bytes, pipes their records into it, twice, and panics if anything is wrong.
pub fn check(bytes: &[u8]) {
    let outcome = || play(bytes).map_err(|error| error.to_string());
    let first = outcome();
    if let Err(error) = &first {
        assert!(AS_ON_THE_JVM.iter().any(|known| error.contains(known)), "{error}");
    }
    assert_eq!(first, outcome(), "the same bytes come to the same records");
}

fn play(bytes: &[u8]) -> Result<Outcome> {
    let mut choices = Choices(bytes);
    let optimize = ["none", "all"][choices.below(2)];
    let cache = ["0", "10485760"][choices.below(2)];
    let config = StreamsConfig::from_properties([
        ("application.id", "random"),
        ("topology.optimization", optimize),
        ("statestore.cache.max.bytes", cache),
        ("dsl.store.suppliers.class", "in_memory"),
    ])?;
    let builder = StreamsBuilder::with_config(&config);
    describe(&builder, &mut choices);
    let topology = builder.build_with(&config)?;
    let description = format!("{}{}{}", topology.describe(), topology.to_graphviz(), topology.to_mermaid());
    let driver = TopologyTestDriver::with_config(&topology, &config, 0)?;
    while !choices.0.is_empty() {
        pipe(&driver, &mut choices)?;
    }
    let (sent, dropped, stream_time) = (driver.history(), driver.dropped_records(), driver.stream_time());
    driver.metrics()?;
    driver.close()?;
    Ok(Outcome { description, sent, dropped, stream_time })
}

fn pipe(driver: &TopologyTestDriver, choices: &mut Choices<'_>) -> Result<()> {
    let topic = match choices.below(INPUTS + TABLES + 1) {
        at if at < INPUTS => format!("in-{at}"),
        at if at < INPUTS + TABLES => format!("table-{}", at - INPUTS),
        _ => return driver.advance_wall_clock_time(choices.millis()),
    };
    let key = ["a", "b", "", "\u{e9}"].get(choices.below(5)).map(|key| (*key).to_owned());
    let value = [0, 1, -1, 7, i64::MAX, i64::MIN].get(choices.below(7)).copied();
    driver.input_topic(&topic).pipe_record(Record::new(key, value, choices.timestamp()))
}

/// Streams and tables of the inputs, and operators over whatever there is by then; every stream ends in a topic.
fn describe(builder: &StreamsBuilder, choices: &mut Choices<'_>) {
    let mut streams: Vec<Stream> = (0..INPUTS).map(|at| builder.stream(format!("in-{at}"))).collect();
    let mut tables: Vec<Table> = (0..TABLES).map(|at| builder.table(&format!("table-{at}"))).collect();
    // Operators that make more records of few: several of them in a row make more than anybody waits for.
    let mut multiplying = 2;
    for _ in 0..=choices.below(8) {
        let (stream, table) = (choices.of(&streams), choices.of(&tables));
        let mut operator = choices.below(OPERATORS);
        if matches!(operator, 5 | 7 | 15 | 16 | 20 | 21) {
            operator = if multiplying == 0 { 0 } else { operator };
            multiplying -= usize::from(operator != 0);
        }
        match operator {
            at if at < 10 => streams.push(of_stream(at, &stream, &streams, choices)),
            at if at < 14 => tables.push(aggregated(at, &stream)),
            at if at < 18 => streams.push(windowed(at, &stream, choices)),
            at if at < 22 => streams.push(joined(at, &stream, &streams, &table, choices)),
            at => tables.push(of_table(at, &table, &tables, choices)),
        }
    }
    for table in tables.iter().skip(TABLES) {
        streams.push(table.to_nullable_stream(()));
    }
    for (at, stream) in streams.iter().enumerate() {
        stream.to(&format!("out-{at}"));
    }
}

fn of_stream(operator: usize, stream: &Stream, streams: &[Stream], choices: &mut Choices<'_>) -> Stream {
    match operator {
        0 => stream.filter(|_, value| value.is_some_and(|value| value % 2 == 0)),
        1 => stream.filter_not(|key, _| key.is_none()),
        2 => stream.map_values(|value| value.map(|value| value.wrapping_add(1))),
        3 => stream.map(|key, value| (key.map(|key| key + "x"), value)),
        4 => stream.select_key(|_, value| value.map(|value| (value % 3).to_string())),
        5 => stream.flat_map(|key, value| [(key.clone(), value), (None, None), (key, value)]),
        6 => stream.flat_map_values(|value| value.into_iter().map(Some)),
        7 => stream.merge(&choices.of(streams)),
        8 => stream.repartition(),
        _ => {
            let branches = stream.split().branch(|key, _| key.is_some()).default_branch();
            let all: Vec<_> = branches.into_values().collect();
            choices.of(&all)
        }
    }
}

fn aggregated(operator: usize, stream: &Stream) -> Table {
    match operator {
        10 => stream.group_by_key().count(),
        11 => stream.group_by(|key, _| key.clone()).count(),
        12 => stream.group_by_key().reduce(i64::wrapping_add),
        _ => stream
            .group_by(|_, value| value.map(|value| (value % 2).to_string()))
            .aggregate(|| 0_i64, |key, value, sum| Some(sum.wrapping_add(value) ^ key.len() as i64)),
    }
}

fn windowed(operator: usize, stream: &Stream, choices: &mut Choices<'_>) -> Stream {
    let (size, grace, suppressed) = (choices.millis(), choices.millis(), choices.below(3) == 0);
    let grouped = stream.group_by_key();
    let table = match operator {
        14 => grouped.windowed_by(TimeWindows::of_size_and_grace(size, grace)).count(),
        15 => grouped
            .windowed_by(
                TimeWindows::of_size_and_grace(size, grace).advance_by((size / 2).max(Duration::from_millis(1))),
            )
            .reduce(i64::wrapping_add),
        16 => grouped.windowed_by(SlidingWindows::of_time_difference_and_grace(size, grace)).count(),
        _ => grouped.windowed_by_sessions(SessionWindows::of_inactivity_gap_and_grace(size, grace)).count(),
    };
    let table = match suppressed {
        true => table.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())),
        false => table,
    };
    let name = |key: Windowed<String>| Some(format!("{}@{}", key.key, key.window.start()));
    table.to_stream().map(move |key, count| (name(key), count))
}

fn joined(operator: usize, stream: &Stream, streams: &[Stream], table: &Table, choices: &mut Choices<'_>) -> Stream {
    let (difference, grace) = (choices.millis(), choices.millis());
    let windows = JoinWindows::of_time_difference_and_grace(difference, grace);
    let other = choices.of(streams);
    match operator {
        18 => stream.join(table, |a, b| Some(a.wrapping_sub(*b))),
        19 => stream.left_join(table, |a, b| b.map(|b| a.wrapping_sub(*b))),
        20 => stream.join_stream(&other, windows, |a, b| Some(a.wrapping_mul(*b))),
        _ => stream.outer_join_stream(&other, windows, |a, b| a.copied().or(b.copied())),
    }
}

fn of_table(operator: usize, table: &Table, tables: &[Table], choices: &mut Choices<'_>) -> Table {
    match operator {
        22 => table.filter(|_, value| value % 2 == 0),
        23 => table.map_values(|value| (value != 0).then_some(value)),
        24 => table.outer_join(&choices.of(tables), |a, b| a.copied().unwrap_or(0) ^ b.copied().unwrap_or(0)),
        _ => table.group_by(|key, value| (key.len().to_string(), *value)).reduce(i64::wrapping_add, i64::wrapping_sub),
    }
}
