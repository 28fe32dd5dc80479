//! A leaderboard: the best players of every game, kept up to date by each result, and asked for while it runs.
//!
//! ```text
//! results ── key (game, player) ── best of each player ── group by game ── the first ten ──► leaders
//!                                  (a table)                               (a table, the store `boards`)
//! ```
//!
//! The second table aggregates the first: when a player's best result changes, the `subtractor` takes out the old one and
//! the `adder` puts in the new one. Only the first ten are kept. That is right as long as results only get better: who has
//! dropped out of the ten comes back by a result of his own, never because another one's got worse.
//!
//! The board is printed from the state store itself, by an interactive query: no database, no consumer of the output.
//!
//! ```text
//! cargo run --release --example leaderboard
//! cargo run --release --example leaderboard -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'leaderboard.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize};
use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::TypedProducer},
    embedded,
    serdes::{JsonSerde, StringSerde},
    streams::{
        DefaultSerde, KafkaStreams, Materialized, StreamsBuilder, StreamsConfig, Topology,
        query::{QueryableStoreTypes, ReadOnlyKeyValueStore, StoreQueryParameters},
    },
};

const APPLICATION: &str = "leaderboard";
const RESULTS: &str = "leaderboard-results";
const LEADERS: &str = "leaderboard-leaders";
/// The store of the boards, by the name of the game.
const BOARDS: &str = "boards";
const PARTITIONS: i32 = 3;
/// How many a board shows.
const TOP: usize = 10;

/// The end of one game of one player; the key is the player.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct GameOver {
    game: String,
    points: i64,
}

/// The key of the table of players: a player may be good at several games.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct PlayerInGame {
    game: String,
    player: String,
}

/// A line of a board. The order of the fields is that of the lines: most points first, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Line {
    points: Reverse<i64>,
    player: String,
}

/// The best players of a game.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Board(BTreeSet<Line>);

impl Board {
    fn with(mut self, line: Line) -> Self {
        self.0.insert(line);
        if self.0.len() > TOP {
            self.0.pop_last();
        }
        self
    }

    fn without(mut self, line: &Line) -> Self {
        self.0.remove(line);
        self
    }
}

// One line for each type says what its bytes are.
impl DefaultSerde for GameOver {
    type Serde = JsonSerde;
}
impl DefaultSerde for PlayerInGame {
    type Serde = JsonSerde;
}
impl DefaultSerde for Line {
    type Serde = JsonSerde;
}
impl DefaultSerde for Board {
    type Serde = JsonSerde;
}

/// The application.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, GameOver>(RESULTS)
        .map(|player, over| (PlayerInGame { game: over.game, player }, over.points))
        .group_by_key()
        .reduce(i64::max)
        .group_by(|key, points| (key.game.clone(), Line { points: Reverse(*points), player: key.player.clone() }))
        .aggregate_with(
            Materialized::named(BOARDS),
            Board::default,
            |_, line, board| board.with(line),
            |_, line, board| board.without(&line),
        )
        .to_stream()
        .to(LEADERS);
    Ok(builder.build()?)
}

/// An evening in the arcade, the same every time: (player, result).
fn results() -> Vec<(String, GameOver)> {
    const GAMES: [&str; 4] = ["asteroids", "breakout", "pong", "tetris"];
    let mut random = fastrand::Rng::with_seed(1);
    let mut results = Vec::new();
    for _ in 0..20_000 {
        let player = random.usize(0..500);
        // Some are better than others, and everybody has good days.
        let points = (random.usize(0..1000) * (500 + player) / 500) as i64;
        let game = random.choice(GAMES).unwrap_or_default().to_owned();
        results.push((format!("player-{player:03}"), GameOver { game, points }));
    }
    results
}

/// Keeps the leaders of every game.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let broker;
    let server = match &options.bootstrap_server {
        Some(server) => server,
        None => {
            broker = embedded::Broker::start(embedded::Config::default())?;
            broker.bootstrap_servers()
        }
    };
    create_topics(server).await?;

    let state = tempfile::tempdir()?;
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", server),
        ("commit.interval.ms", "100"),
        ("num.stream.threads", "2"),
        ("state.dir", &state.path().display().to_string()),
    ])?;
    let streams = KafkaStreams::new(topology()?, config)?;
    streams.start()?;

    // Half of the evening, a look at the boards, and the other half.
    let boards = StoreQueryParameters::from_name_and_type(BOARDS, QueryableStoreTypes::key_value_store());
    let results = results();
    let (early, late) = results.split_at(results.len() / 2);
    for (when, results) in [("half-time", early), ("the end", late)] {
        produce(server, results).await?;
        ensure!(
            streams.wait_until_caught_up_async(Duration::from_secs(60)).await?,
            "the results did not get through in time"
        );
        println!("The leaders at {when}:");
        print(&streams.store(&boards)?)?;
    }
    streams.close_async(Duration::from_secs(30)).await?;
    Ok(())
}

async fn create_topics(server: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", server)])?)?;
    let topics = [RESULTS, LEADERS].map(|topic| NewTopic::new(topic).partitions(PARTITIONS));
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

async fn produce(server: &str, results: &[(String, GameOver)]) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", server)])?)?;
    let arcade = TypedProducer::<String, GameOver>::new(producer, RESULTS, StringSerde, JsonSerde);
    let mut deliveries = Vec::new();
    for (player, over) in results {
        deliveries.push(arcade.send(Some(player), Some(over)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// The boards of all games, side by side. Each game is in the store of one task; the view is over all of this instance.
fn print(leaders: &ReadOnlyKeyValueStore<String, Board>) -> Result<()> {
    let mut boards = leaders.all()?;
    boards.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["rank".to_owned()].into_iter().chain(boards.iter().map(|(game, _)| game.clone())));
    let mut columns: Vec<_> = boards.iter().map(|(_, board)| board.0.iter()).collect();
    for rank in 1..=TOP {
        let lines = columns.iter_mut().map(|lines| match lines.next() {
            Some(line) => format!("{:>4} {}", line.points.0, line.player),
            None => String::new(),
        });
        table.add_row([rank.to_string()].into_iter().chain(lines));
    }
    println!("{table}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vltava::streams::{TimestampedKeyValueStore, TopologyTestDriver};

    use super::*;

    fn lines(board: &Board) -> Vec<(&str, i64)> {
        board.0.iter().map(|line| (line.player.as_str(), line.points.0)).collect()
    }

    #[test]
    fn a_better_result_moves_a_player_up_and_a_worse_one_does_not_move_him() {
        let driver = TopologyTestDriver::new(&topology().unwrap()).unwrap();
        let results = driver.input_topic::<String, GameOver>(RESULTS);
        for (player, points) in [("ada", 10), ("bob", 20), ("ada", 30), ("bob", 5), ("cyd", 30)] {
            results.pipe(player.to_owned(), GameOver { game: "pong".to_owned(), points }).unwrap();
        }
        let boards = driver.output_topic::<String, Board>(LEADERS).read_key_values_to_map().unwrap();
        assert_eq!(lines(&boards["pong"]), [("ada", 30), ("cyd", 30), ("bob", 20)]);
    }

    #[test]
    fn the_boards_are_those_of_all_results_sorted() {
        let driver = TopologyTestDriver::new(&topology().unwrap()).unwrap();
        let mut best = BTreeMap::<(String, String), i64>::new();
        for (player, over) in results() {
            let known = best.entry((over.game.clone(), player)).or_insert(0);
            *known = (*known).max(over.points);
        }
        let input = driver.input_topic::<String, GameOver>(RESULTS);
        input.pipe_key_values(results()).unwrap();
        for game in ["asteroids", "breakout", "pong", "tetris"] {
            let mut all: Vec<_> = best.iter().filter(|((of, _), _)| of == game).collect();
            all.sort_by_key(|((_, player), points)| (Reverse(**points), player.clone()));
            let expected: Vec<_> =
                all.iter().map(|((_, player), points)| (player.as_str(), **points)).take(TOP).collect();
            let game = game.to_owned();
            let row = driver.store::<TimestampedKeyValueStore<String, Board>, _>(BOARDS, |store| store.get(&game));
            assert_eq!(lines(&row.unwrap().unwrap().value), expected);
        }
    }
}
