//! All that runs in a round, and what is done to it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    broker::{Broker, Make},
    clock::FakeClock,
    disk::{SlowDisk, SmallDisk},
    failure::Failure,
    instance::Instance,
    journal::Journal,
    plan::{Act, Disk, Frame, Plan},
    process::{Process, Spec},
};

/// The size of a disk that will be full, in MiB: a round's records take a tenth of it.
const DISK_MIB: u32 = 256;
/// How long after a disk has room again a process may still end because of it, if its log says so.
const AFTERMATH: Duration = Duration::from_secs(10);
/// How often it is looked whether everything runs.
const TICK: Duration = Duration::from_millis(50);
const LOG_LINES: usize = 25;
/// Why the JVM ends may stand before a long stack.
const CAUSE_LINES: usize = 300;
/// What the operating system says, in the words of Rust and of the JVM, which may halt in the midst of them.
const NO_SPACE: &str = "No space";

/// The programs that are run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The broker.
    pub broker: Make,
    /// The application, `rounds-application`.
    pub application: PathBuf,
}

/// An instance of the application.
#[derive(Debug)]
struct Actor {
    process: Process,
    state: PathBuf,
    /// It ended while its disk was full, and waits for room.
    waits: bool,
}

/// Broker and instances, with the disk and the clock that they share. What is dropped first is declared first: no
/// process is left when the disk goes.
#[derive(Debug)]
pub struct Stage {
    journal: Journal,
    instances: Vec<Actor>,
    broker: Broker,
    broker_waits: bool,
    disk: Option<(Disk, SmallDisk)>,
    slow_disk: Option<SlowDisk>,
    is_full: bool,
    excused_until: Option<Instant>,
    clock: Option<FakeClock>,
    folder: PathBuf,
}

impl Stage {
    /// A broker, and no instance yet.
    ///
    /// # Errors
    /// The broker does not start, the disk cannot be mounted.
    pub fn set(programs: &Programs, plan: &Plan, folder: &Path, journal: Journal) -> Result<Self> {
        let clock = plan.fakes_clock.then(|| FakeClock::new(folder)).transpose()?;
        let mounted =
            plan.disk.map(|disk| Ok::<_, anyhow::Error>((disk, SmallDisk::mount(&folder.join("disk"), DISK_MIB)?)));
        let disk = mounted.transpose()?;
        let slow_disk = plan.delays_disk.then(|| SlowDisk::mount(folder, "slow-disk")).transpose()?;
        let data = match (&disk, &slow_disk) {
            (Some((Disk::Broker, disk)), _) => disk.path().join("data"),
            (_, Some(disk)) => disk.path().join("data"),
            _ => folder.join("data"),
        };
        let environment = clock.as_ref().map(FakeClock::environment).unwrap_or_default();
        let broker = Broker::start(&programs.broker, folder, &data, environment)?;
        journal.tell(format_args!("broker on {}", broker.address()));
        Ok(Self {
            journal,
            instances: Vec::new(),
            broker,
            broker_waits: false,
            disk,
            slow_disk,
            is_full: false,
            excused_until: None,
            clock,
            folder: folder.to_owned(),
        })
    }

    /// The broker's address.
    pub fn address(&self) -> &str {
        self.broker.address()
    }

    /// Starts the plan's instances.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn enter(&mut self, programs: &Programs, frame: &Frame, plan: &Plan, application_id: &str) -> Result<()> {
        for (number, threads) in plan.instances.iter().enumerate() {
            let root = match &self.disk {
                Some((Disk::State, disk)) => disk.path(),
                _ => &self.folder,
            };
            let state = root.join(format!("state-{number}"));
            let instance = Instance {
                bootstrap_server: self.broker.address().to_owned(),
                application_id: application_id.to_owned(),
                state_dir: state.clone(),
                threads: *threads,
                commit_interval_ms: plan.commit_interval_ms,
                linger_ms: plan.linger_ms,
                cache_bytes: plan.cache_bytes,
                session_timeout_ms: u64::try_from(frame.session.as_millis()).unwrap_or(u64::MAX),
                exactly_once: frame.exactly_once.is_some(),
                in_memory: !plan.on_disk,
            };
            let spec = Spec {
                name: format!("instance-{number}"),
                program: programs.application.clone(),
                arguments: instance.arguments(),
                environment: self.clock.as_ref().map(FakeClock::environment).unwrap_or_default(),
            };
            self.instances.push(Actor { process: Process::start(spec, &self.folder)?, state, waits: false });
        }
        Ok(())
    }

    /// Lets time pass and sees to it that everything runs.
    ///
    /// # Errors
    /// A process has ended by itself.
    pub async fn wait(&mut self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        loop {
            self.look()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(TICK)).await;
        }
    }

    /// Does one thing, until it is over.
    ///
    /// # Errors
    /// A process has ended by itself, or cannot be started.
    pub async fn act(&mut self, act: &Act) -> Result<(), Failure> {
        self.journal.tell(act);
        match *act {
            Act::Kill { instance, away } => self.kill(instance, away, false).await?,
            Act::Wipe { instance, away } => self.kill(instance, away, true).await?,
            Act::Stop { instance, away } => {
                self.instance(instance)?.process.stop()?;
                self.wait(away).await?;
                self.instance(instance)?.process.go_on()?;
                self.journal.tell(format_args!("instance {instance} goes on"));
            }
            Act::BrokerKill { away } => {
                self.broker.kill()?;
                tokio::time::sleep(away).await;
                self.broker.start_again()?;
                self.journal.tell("the broker is back");
            }
            Act::BrokerRestart { away } => {
                self.broker.terminate()?;
                tokio::time::sleep(away).await;
                self.broker.start_again()?;
                self.journal.tell("the broker is back");
            }
            Act::DiskDelay { frozen } => {
                if let Some(disk) = &mut self.slow_disk {
                    disk.freeze()?;
                    // Nobody is looked at: who asks a process in a frozen write waits too.
                    tokio::time::sleep(frozen).await;
                    disk.thaw()?;
                }
                self.journal.tell("the broker's disk goes on");
            }
            Act::BrokerStop { away } => {
                self.broker.stand(true)?;
                self.wait(away).await?;
                self.broker.stand(false)?;
                self.journal.tell("the broker goes on");
            }
            Act::FullDisk { full, .. } => self.fill(full).await?,
            Act::ClockBack { by } => {
                if let Some(clock) = &self.clock {
                    clock.set_back(by)?;
                }
            }
        }
        Ok(())
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        let mut logs = format!("  the broker's log:\n{}", self.broker.tail(LOG_LINES));
        for actor in &self.instances {
            logs += &format!("  the log of {}:\n{}", actor.process.name(), actor.process.tail(LOG_LINES));
        }
        logs
    }

    fn instance(&mut self, number: usize) -> Result<&mut Actor> {
        self.instances.get_mut(number).ok_or_else(|| anyhow::anyhow!("there is no instance {number}"))
    }

    async fn kill(&mut self, number: usize, away: Duration, wipe: bool) -> Result<(), Failure> {
        self.look()?;
        let actor = self.instance(number)?;
        actor.process.kill()?;
        if wipe && actor.state.exists() {
            fs::remove_dir_all(&actor.state)?;
        }
        // The others are looked at again when it is back.
        tokio::time::sleep(away).await;
        let actor = self.instance(number)?;
        actor.waits = false;
        actor.process.start_again()?;
        self.journal.tell(format_args!("instance {number} is back"));
        Ok(())
    }

    async fn fill(&mut self, full: Duration) -> Result<(), Failure> {
        self.is_full = true;
        self.wait(full).await?;
        self.is_full = false;
        self.excused_until = Some(Instant::now() + AFTERMATH);
        if let Some((_, disk)) = &self.disk {
            disk.free()?;
        }
        self.journal.tell("there is room again");
        Ok(())
    }

    /// Whether everything runs; who ended for want of room is started when there is some.
    fn look(&mut self) -> Result<(), Failure> {
        let whose = self.disk.as_ref().map(|(whose, _)| *whose);
        if self.is_full
            && let Some((_, disk)) = &self.disk
        {
            disk.fill()?;
        }
        let excused = self.is_full || self.excused_until.is_some_and(|until| Instant::now() < until);
        self.look_at_the_broker(excused && whose == Some(Disk::Broker))?;
        for number in 0..self.instances.len() {
            self.look_at(number, excused && whose == Some(Disk::State))?;
        }
        Ok(())
    }

    fn look_at_the_broker(&mut self, excused: bool) -> Result<(), Failure> {
        if let Some(status) = self.broker.ended()?
            && !self.broker_waits
        {
            let log = self.broker.tail(LOG_LINES);
            if !excused || !self.broker.tail(CAUSE_LINES).contains(NO_SPACE) {
                return Err(Failure::Ended { name: "the broker".to_owned(), status, log });
            }
            self.journal.tell(format_args!("the broker has ended, its disk was full: {status}"));
            self.broker_waits = true;
        }
        if self.broker_waits && !self.is_full {
            self.broker.start_again()?;
            self.broker_waits = false;
            self.journal.tell("the broker is back");
        }
        Ok(())
    }

    fn look_at(&mut self, number: usize, excused: bool) -> Result<(), Failure> {
        let (is_full, journal) = (self.is_full, self.journal);
        let actor = self.instance(number)?;
        if let Some(status) = actor.process.ended()?
            && !actor.waits
        {
            let (name, log) = (actor.process.name().to_owned(), actor.process.tail(LOG_LINES));
            if !excused || !log.contains(NO_SPACE) {
                return Err(Failure::Ended { name, status: status.to_string(), log });
            }
            journal.tell(format_args!("{name} has ended, its disk was full: {status}"));
            actor.waits = true;
        }
        if actor.waits && !is_full {
            actor.waits = false;
            actor.process.start_again()?;
            journal.tell(format_args!("{} is back", actor.process.name()));
        }
        Ok(())
    }
}
