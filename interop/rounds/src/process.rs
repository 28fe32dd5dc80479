//! A process that is killed, stopped and started again, and whose log is kept.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How a process is started.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What people call it, and the name of its log.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables over the environment's own.
    pub environment: Vec<(OsString, OsString)>,
}

/// A process of one [`Spec`]; killed when dropped.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    log: PathBuf,
    child: Child,
    starts: u32,
}

impl Process {
    /// Starts it; its log lies in the folder.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start(spec: Spec, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{}.log", spec.name));
        let child = spawn(&spec, &log, 1)?;
        Ok(Self { spec, log, child, starts: 1 })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// SIGKILL; it is gone when this returns.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; it has ended when this returns.
    ///
    /// # Errors
    /// Those of the operating system; it does not end in time.
    pub fn terminate(&mut self, patience: Duration) -> Result<()> {
        signal(self.child.id(), Signal::TERM)?;
        let end = Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                bail!("{} does not end after {} s", self.spec.name, patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Starts another one of its kind; the one before has ended.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start_again(&mut self) -> Result<()> {
        self.starts += 1;
        self.child = spawn(&self.spec, &self.log, self.starts)?;
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn stop(&self) -> Result<()> {
        signal(self.child.id(), Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn go_on(&self) -> Result<()> {
        signal(self.child.id(), Signal::CONT)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.kill();
    }
}

fn spawn(spec: &Spec, log: &Path, start: u32) -> Result<Child> {
    let mut out: File = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(out, "---- start {start} of {}", spec.name)?;
    Command::new(&spec.program)
        .args(&spec.arguments)
        .envs(spec.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .with_context(|| format!("starting {}", spec.program.display()))
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}

/// The last lines of a file, indented; what cannot be read says so.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("{}: {error}", path.display()),
    };
    let all: Vec<&str> = text.lines().collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    last.iter().map(|line| format!("    {line}\n")).collect()
}
