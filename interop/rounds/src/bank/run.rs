//! Rounds of kills, and a verdict at the end.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use tokio::task::{JoinHandle, JoinSet};
use vltava::client::{Admin, AdminConfig, admin::NewTopic};

use super::{
    ACCOUNT_PARTITIONS, ACCOUNTS, LEDGER,
    client::Client,
    reader::{Reader, Shared},
};
use crate::{
    broker::{Broker, Make},
    hanging,
    journal::Journal,
    process::Process,
    progress::Watchdog,
};

/// After so many rounds every client must have made a transfer since the last time.
const INTERVAL: u32 = 25;
const TICK: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 25;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The seed.
    pub seed: u64,
    /// How many kills.
    pub rounds: u32,
    /// How long nothing may move.
    pub patience: Duration,
}

/// Who is killed in a round, when, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// A client by its number; the broker if there is none.
    pub client: Option<usize>,
    /// What passes before.
    pub pause: Duration,
    /// How long it is away.
    pub away: Duration,
}

impl Kill {
    /// The kill of a round: one in four is the broker's.
    pub fn new(seed: u64, round: u32, clients: usize) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_add(u64::from(round).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let client = (rng.u8(0..4) != 0).then(|| rng.usize(0..clients.max(1)));
        let mut millis = |from: u64, to: u64| Duration::from_millis(rng.u64(from..=to));
        Self { client, pause: millis(50, 700), away: millis(0, 400) }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Transfers that are visible.
    pub transfers: u64,
    /// Looks at partitions as a whole.
    pub moments: u64,
}

/// The broker, the clients and the reader.
struct Bank<'a> {
    journal: Journal,
    frame: &'a Frame,
    clients: &'a [Client],
    processes: Vec<Process>,
    broker: Broker,
    ledger: Shared,
    reader: JoinHandle<Result<()>>,
}

impl Drop for Bank<'_> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Runs all rounds in a folder.
///
/// # Errors
/// Money that came or went, a client that ended or made no transfer, and what kept it from being found out.
pub async fn run(frame: &Frame, make: &Make, clients: &[Client], folder: &Path) -> Result<Passed> {
    let journal = Journal::begin(Instant::now());
    let broker = Broker::start(make, folder, &folder.join("data"), Vec::new())?;
    let address = broker.address().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)])?)?;
    let topics = [(LEDGER, i32::try_from(clients.len())?), (ACCOUNTS, ACCOUNT_PARTITIONS)];
    for (topic, created) in admin.create_topics(topics.map(|(name, count)| NewTopic::new(name).partitions(count))).await
    {
        created.with_context(|| format!("creating {topic}"))?;
    }
    let mut operator = JoinSet::new();
    if matches!(make, Make::Apache(_)) {
        operator.spawn(hanging::end_again_and_again(admin.clone(), journal));
    }
    let ledger = Shared::default();
    let reader = Reader::new(&address, clients.len(), ledger.clone(), frame.patience)?;
    let mut processes = Vec::new();
    for (partition, client) in clients.iter().enumerate() {
        processes.push(client.start(&address, partition, folder)?);
    }
    let reader = tokio::spawn(reader.run());
    let mut bank = Bank { journal, frame, clients, processes, broker, ledger, reader };
    bank.until_all_have_moved(&[]).await?;
    for round in 0..frame.rounds {
        bank.kill(round).await?;
        if (round + 1) % INTERVAL == 0 || round + 1 == frame.rounds {
            let before = bank.counts();
            bank.until_all_have_moved(&before).await?;
            let (moments, counts) = (bank.ledger.with(|ledger| ledger.moments()), bank.counts());
            bank.journal.tell(format_args!("round {}: transfers {counts:?}, {moments} moments", round + 1));
        }
    }
    bank.close(&address, folder).await
}

impl Bank<'_> {
    async fn kill(&mut self, round: u32) -> Result<()> {
        let Kill { client, pause, away } = Kill::new(self.frame.seed, round, self.clients.len());
        self.wait(pause).await?;
        match client {
            None => {
                self.broker.kill()?;
                tokio::time::sleep(away).await;
                self.broker.start_again()?;
            }
            Some(number) => {
                let process = self.processes.get_mut(number).context("no such client")?;
                process.kill()?;
                tokio::time::sleep(away).await;
                process.start_again()?;
            }
        }
        self.look().await
    }

    /// Transfers by client, in the clients' order.
    fn counts(&self) -> Vec<u64> {
        let count =
            |client: &Client| self.ledger.with(|ledger| ledger.complete().get(client.name).copied().unwrap_or(0));
        self.clients.iter().map(count).collect()
    }

    /// Until every client has made a transfer more than before.
    async fn until_all_have_moved(&mut self, before: &[u64]) -> Result<()> {
        let mut watchdog = Watchdog::new(Instant::now(), self.frame.patience);
        loop {
            let counts = self.counts();
            let before = before.iter().copied().chain(std::iter::repeat(0));
            let waiting: Vec<&str> = self
                .clients
                .iter()
                .zip(counts.iter().zip(before))
                .filter(|(_, (now, before))| **now <= *before)
                .map(|(client, _)| client.name)
                .collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if let Some(still) = watchdog.see(Instant::now(), waiting.clone()) {
                bail!("no transfer of {waiting:?} for {} s\n{}", still.as_secs(), self.logs());
            }
            self.wait(TICK).await?;
        }
    }

    async fn wait(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.look().await?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(TICK)).await;
        }
    }

    /// Whether everything runs and nothing is wrong.
    async fn look(&mut self) -> Result<()> {
        if let Some(status) = self.broker.ended()? {
            bail!("the broker ended by itself: {status}\n{}", self.broker.tail(LOG_LINES));
        }
        for process in &mut self.processes {
            if let Some(status) = process.ended()? {
                bail!("{} ended by itself: {status}\n{}", process.name(), process.tail(LOG_LINES));
            }
        }
        if self.reader.is_finished() {
            (&mut self.reader).await??;
        }
        let faults = self.ledger.with(|ledger| ledger.faults().to_vec());
        if faults.is_empty() { Ok(()) } else { bail!("{}\n{}", shown(&faults), self.logs()) }
    }

    /// Kills the clients, lets the coordinator end what they have left open, and looks at everything once more.
    async fn close(mut self, address: &str, folder: &Path) -> Result<Passed> {
        for process in &mut self.processes {
            process.kill()?;
        }
        self.reader.abort();
        // From the beginning once more: what has been seen is seen again, and no other.
        let ledger = Shared::default();
        let mut reader = Reader::new(address, self.clients.len(), ledger.clone(), self.frame.patience)?;
        reader.read_to_the_end().await?;
        let mut committed = Vec::new();
        for client in self.clients {
            committed.extend(client.committed(folder)?);
        }
        let faults = ledger.with(|ledger| ledger.final_faults(committed.iter().map(String::as_str)));
        if !faults.is_empty() {
            bail!("{}\n{}", shown(&faults), self.logs());
        }
        let transfers = ledger.with(|ledger| ledger.complete().values().sum());
        Ok(Passed { transfers, moments: self.ledger.with(|ledger| ledger.moments()) })
    }

    fn logs(&self) -> String {
        let mut logs = format!("  the broker's log:\n{}", self.broker.tail(LOG_LINES));
        for process in &self.processes {
            logs += &format!("  the log of {}:\n{}", process.name(), process.tail(LOG_LINES));
        }
        logs
    }
}

/// The first faults, and how many there are.
fn shown(faults: &[String]) -> String {
    const SHOWN: usize = 10;
    let first: Vec<String> = faults.iter().take(SHOWN).map(|fault| format!("  {fault}")).collect();
    format!("{} faults:\n{}", faults.len(), first.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_the_same_again_and_all_are_killed_in_turn() {
        assert_eq!(Kill::new(3, 7, 4), Kill::new(3, 7, 4));
        let kills: Vec<Kill> = (0..100).map(|round| Kill::new(3, round, 4)).collect();
        for client in [None, Some(0), Some(1), Some(2), Some(3)] {
            assert!(kills.iter().any(|kill| kill.client == client), "{client:?}");
        }
    }
}
