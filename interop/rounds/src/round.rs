//! One round, from an empty broker to a verdict.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::task::{JoinHandle, JoinSet};
use vltava::client::{Admin, AdminConfig, admin::NewTopic, config::IsolationLevel};

use crate::{
    broker::Make,
    check::{Checker, Finding, Guarantee},
    failure::Failure,
    feed::Feed,
    hanging,
    journal::Journal,
    model::Model,
    names::{Input, Names, Output},
    outputs::Outputs,
    plan::{Frame, Plan},
    progress::{Progress, Watchdog, end_offsets},
    stage::{Programs, Stage},
};

/// How often the broker is asked how far the application is.
const LOOK: Duration = Duration::from_millis(250);
/// How often time is moved on by markers. The outer join looks for pairs that will not come once a second of the clock.
const MARK: Duration = Duration::from_millis(500);
/// How long results that are missing may stay away while everything moves, before they are lost.
const SETTLE: Duration = Duration::from_secs(20);
/// How long nothing may come any more, until nothing will: exactly once, where the end of a topic is a transaction's marker.
const QUIET: Duration = Duration::from_secs(2);
/// The records of a round take at least this long.
const SHORTEST: Duration = Duration::from_secs(3);

/// What a round that has passed has to tell.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// Records that were written.
    pub records: u64,
    /// Records that came out.
    pub results: u64,
}

/// Runs one round in a folder of its own.
///
/// # Errors
/// What is not as it must be, or why it could not be found out.
pub async fn run(
    programs: &Programs,
    frame: &Frame,
    (number, plan): (u32, &Plan),
    folder: &Path,
    patience: Duration,
) -> Result<Passed, Failure> {
    let journal = Journal::begin(Instant::now());
    let names = Names::new(format!("rounds-{}-{number}", frame.seed));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let model = Model::new(plan.model_seed, plan.steps, plan.partitions, i64::try_from(now)?, plan.set_back);
    let mut stage = Stage::set(programs, plan, folder, journal)?;
    let address = stage.address().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)])?)?;
    create_topics(&admin, &names, plan.partitions).await?;
    let feed = Feed::new(&address, names.clone())?;
    feed.write(&model.before).await?;
    stage.enter(programs, frame, plan, names.application_id())?;

    let over = (plan.length() + Duration::from_secs(1)).max(SHORTEST);
    let exactly_once = frame.exactly_once.is_some();
    let mut operator = JoinSet::new();
    if exactly_once && matches!(programs.broker, Make::Apache(_)) {
        operator.spawn(hanging::end_again_and_again(admin.clone(), journal));
    }
    let mut round =
        Round { journal, names, plan, model: &model, stage, admin, feed: feed.clone(), patience, exactly_once };
    if exactly_once {
        // What single orders are joined with is there before they are.
        round.until_worked_off(tokio::spawn(async { Ok(()) })).await?;
    }
    let steps = model.steps.clone();
    let fed = tokio::spawn(async move { feed.steps(&steps, over).await });
    round.until_it_works().await?;
    for (disturbance, of_run) in plan.disturbances.iter().zip(first_of_run(frame, number)..) {
        round.stage.wait(disturbance.pause).await?;
        if exactly_once {
            journal.tell(format_args!("round {of_run}"));
        }
        round.stage.act(&disturbance.act).await?;
    }
    round.until_worked_off(fed).await?;
    let passed = round.verdict().await?;
    round.clean_up(frame.own_broker).await;
    Ok(passed)
}

/// The number of a play's first round in the whole run.
fn first_of_run(frame: &Frame, play: u32) -> u32 {
    play.saturating_mul(frame.exactly_once.unwrap_or(0))
}

async fn create_topics(admin: &Admin, names: &Names, partitions: i32) -> Result<(), Failure> {
    let inputs = Input::ALL.map(|input| names.input(input));
    let outputs = Output::ALL.into_iter().filter(|output| output.is_created()).map(|output| names.output(output));
    let topics = inputs.into_iter().chain(outputs).map(|topic| NewTopic::new(topic).partitions(partitions));
    for (_, created) in admin.create_topics(topics).await {
        created?;
    }
    Ok(())
}

struct Round<'a> {
    journal: Journal,
    names: Names,
    plan: &'a Plan,
    model: &'a Model,
    stage: Stage,
    admin: Admin,
    feed: Feed,
    patience: Duration,
    exactly_once: bool,
}

impl Round<'_> {
    /// Disturbances are for an application that works: until it has committed something.
    async fn until_it_works(&mut self) -> Result<(), Failure> {
        let mut watchdog = Watchdog::new(Instant::now(), self.patience);
        loop {
            let committed = self.progress().await.map_or(0, |progress| progress.committed());
            if committed > 0 {
                self.journal.tell("the application works");
                return Ok(());
            }
            if let Some(still) = watchdog.see(Instant::now(), ()) {
                return Err(self.stands_still(still, "nothing was ever committed", None));
            }
            self.stage.wait(LOOK).await?;
        }
    }

    /// Until all records are written, and all that the application reads is committed.
    async fn until_worked_off(&mut self, fed: JoinHandle<anyhow::Result<()>>) -> Result<(), Failure> {
        let mut watchdog = Watchdog::new(Instant::now(), self.patience);
        let mut fed = Some(fed);
        loop {
            if let Some(task) = fed.take_if(|task| task.is_finished()) {
                task.await??;
                self.journal.tell(format_args!("all {} records are written", self.feed.acknowledged()));
            }
            let progress = self.progress().await;
            if fed.is_none() && progress.as_ref().is_some_and(|progress| self.lag(progress) == 0) {
                self.journal.tell("all is worked off");
                return Ok(());
            }
            let committed = progress.as_ref().map(Progress::committed);
            if let Some(still) = watchdog.see(Instant::now(), (self.feed.acknowledged(), committed)) {
                return Err(self.stands_still(still, "what was written is not worked off", progress));
            }
            self.stage.wait(LOOK).await?;
        }
    }

    /// Moves time on until all windows have closed, reads the outputs, and holds them against the model.
    async fn verdict(&mut self) -> Result<Passed, Failure> {
        let model = self.model;
        let guarantee = match self.exactly_once {
            true => Guarantee::ExactlyOnce { cached: self.plan.cache_bytes > 0 },
            false => Guarantee::AtLeastOnce,
        };
        let mut checker = Checker::new(&model.expected, guarantee);
        let (partitions, isolation) = (self.plan.partitions, self.isolation());
        let mut outputs = Outputs::new(self.stage.address(), &self.names, partitions, isolation)?;
        let mut watch_findings = Watchdog::new(Instant::now(), SETTLE);
        let mut watch_progress = Watchdog::new(Instant::now(), self.patience);
        for mark in 0.. {
            self.feed_markers(mark).await?;
            let end = Instant::now() + MARK;
            while Instant::now() < end {
                outputs.read(&mut checker, LOOK).await?;
            }
            self.stage.wait(Duration::ZERO).await?;
            let findings = checker.findings();
            if findings.is_empty() {
                break;
            }
            let progress = self.progress().await;
            let committed = progress.as_ref().map(Progress::committed);
            if let Some(still) = watch_progress.see(Instant::now(), committed) {
                let what = format!("{} results are to come", findings.len());
                return Err(self.stands_still(still, &what, progress));
            }
            if watch_findings.see(Instant::now(), findings.clone()).is_some() {
                return Err(Failure::Findings(findings));
            }
        }
        self.last_look(&mut checker, &mut outputs).await
    }

    /// When the markers are worked off too nothing more may come, and what came must still be right.
    async fn last_look(&mut self, checker: &mut Checker<'_>, outputs: &mut Outputs) -> Result<Passed, Failure> {
        let mut watchdog = Watchdog::new(Instant::now(), self.patience);
        let mut quiet = Watchdog::new(Instant::now(), if self.exactly_once { QUIET } else { Duration::ZERO });
        loop {
            let progress = self.progress().await;
            let ends = end_offsets(&self.admin, outputs.partitions(), self.isolation()).await;
            outputs.read(checker, LOOK).await?;
            let committed = progress.as_ref().map(Progress::committed);
            let is_quiet = quiet.see(Instant::now(), (ends.clone(), committed)).is_some();
            let worked_off = progress.as_ref().is_some_and(|progress| self.lag(progress) == 0);
            if is_quiet
                && worked_off
                && let Some(ends) = ends
                && outputs.is_at(&ends).await?
            {
                break;
            }
            if let Some(still) = watchdog.see(Instant::now(), (committed, checker.results())) {
                return Err(self.stands_still(still, "the last markers are not worked off", progress));
            }
            self.stage.wait(LOOK).await?;
        }
        let findings: Vec<Finding> = checker.findings();
        if findings.is_empty() {
            return Ok(Passed { records: self.feed.acknowledged(), results: checker.results() });
        }
        Err(Failure::Findings(findings))
    }

    /// A broker that takes nothing any more is said to stand still too.
    async fn feed_markers(&mut self, mark: u32) -> Result<(), Failure> {
        let markers = self.model.markers(mark, self.plan.partitions);
        match tokio::time::timeout(self.patience, self.feed.write(&markers)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(self.stands_still(self.patience, "the broker takes no records", None)),
        }
    }

    /// Records that are still to be worked off.
    fn lag(&self, progress: &Progress) -> i64 {
        if self.exactly_once { progress.lag_of_inputs(&self.names) } else { progress.lag() }
    }

    /// How the outputs are read.
    fn isolation(&self) -> IsolationLevel {
        if self.exactly_once { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted }
    }

    async fn progress(&self) -> Option<Progress> {
        tokio::time::timeout(self.patience, Progress::ask(&self.admin, &self.names)).await.ok().flatten()
    }

    fn stands_still(&self, still: Duration, what: &str, progress: Option<Progress>) -> Failure {
        let what = format!("nothing has moved for {} s, and {what}", still.as_secs());
        let lagging = progress.map(|progress| progress.describe()).unwrap_or_default();
        Failure::StandsStill { what, logs: format!("{lagging}{}", self.stage.logs()) }
    }

    /// What a broker that stays would keep of the round.
    async fn clean_up(self, own_broker: bool) {
        let Self { stage, admin, names, .. } = self;
        let address = stage.address().to_owned();
        drop(stage);
        if !own_broker && let Ok(topics) = admin.list_topics().await {
            let ours: Vec<String> = topics.into_keys().filter(|topic| names.owns(topic)).collect();
            let refused =
                admin.delete_topics(ours).await.into_iter().filter_map(|(topic, gone)| Some((topic, gone.err()?)));
            for (topic, why) in refused {
                self.journal.tell(format_args!("{topic} stays on {address}: {why}"));
            }
        }
    }
}
