//! All clients at once over one listener, producing while their sessions end and the broker's certificate is renewed.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    LONG, Listeners,
    clients::{Client, Exchange, outcome},
};
use crate::shell::output;

/// A client that produces until its input ends.
struct Producing {
    name: &'static str,
    process: Child,
    told: Lines<BufReader<ChildStdout>>,
}

impl Producing {
    /// Returns when a first transaction is committed.
    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let told = BufReader::new(process.stdout.take().context("no output")?).lines();
        let mut producing = Self { name, process, told };
        let first = producing.told.next().transpose()?.unwrap_or_default();
        ensure!(first == format!("producing {}", LONG.name), "{name} told {first:?}");
        Ok(producing)
    }

    /// Lets it read what it has written.
    fn end(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let mut rest = String::new();
        for line in self.told.by_ref() {
            rest.push_str(&line?);
            rest.push('\n');
        }
        outcome(&LONG, Ok(&rest)).with_context(|| self.name).map(drop)
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Nobody fails. `look` has the broker look at its files, if it does not by itself.
pub(super) fn run(listeners: &Listeners, clients: &[Client], look: impl FnOnce() -> Result<()>) -> Result<()> {
    let programs = clients.iter().filter_map(|client| {
        Some((client.name, client.program(listeners, &format!("{}-long", client.name), &[LONG])?))
    });
    let producing = programs.map(|(name, command)| Producing::start(name, command)).collect::<Result<Vec<_>>>()?;
    let before = listeners.stores.certificate("broker")?;
    let shown = || {
        let mut look = Command::new("keytool");
        output(look.args(["-printcert", "-rfc", "-sslserver", &listeners.address("SSL")]))
    };
    ensure!(shown()?.contains(&before), "another certificate is shown than that in the store");
    listeners.stores.renew("broker")?;
    look()?;
    let renewed = listeners.stores.certificate("broker")?;
    ensure!(renewed != before && shown()?.contains(&renewed), "the renewed certificate is not shown");
    // Six seconds: three sessions.
    for client in clients {
        let Exchange::Tools(tools) = client.exchange else { continue };
        let mut perf = tools("kafka-producer-perf-test");
        perf.args(["--bootstrap-server", &listeners.address(LONG.listener), "--command-config"]);
        perf.arg(listeners.stores.path(&format!("{}.properties", LONG.name)));
        perf.args(["--topic", client.name, "--num-records", "600", "--record-size", "10", "--throughput", "100"]);
        let told = output(&mut perf)?;
        ensure!(told.contains("600 records sent"), "kafka-producer-perf-test printed {told:?}");
    }
    producing.into_iter().try_for_each(Producing::end)
}
