//! The parties as processes: this program again, with a role, and what the system knows of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::allocations;
use crate::options::Runtime;
use crate::rival::ANYWHERE;

/// A process that plays a role until it is dropped.
pub struct Process {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it listens, if it does.
    pub address: SocketAddr,
}

const READY: &str = "ready ";
const FAILED: &str = "failed ";

/// In a role: says that it plays, and where it listens.
pub fn say_ready(address: SocketAddr) {
    say(format_args!("{READY}{address}"));
}

/// In a role: answers the question that was asked.
pub fn say_answer(answer: Result<String>) {
    match answer {
        Ok(answer) => say(answer),
        Err(error) => say(format_args!("{FAILED}{error:#}")),
    }
}

fn say(what: impl std::fmt::Display) {
    println!("{what}");
    // The driver is gone if this fails, and then nobody listens.
    let _ = std::io::stdout().flush();
}

/// In a role: waits for a question; `None` when the driver is gone. What every role answers alike is
/// answered here.
pub async fn next_question() -> Option<String> {
    let read = || {
        loop {
            let mut line = String::new();
            let n = std::io::stdin().read_line(&mut line).unwrap_or(0);
            match line.trim() {
                allocations::QUESTION => say(allocations::so_far()),
                question => return (n > 0).then(|| question.to_owned()),
            }
        }
    };
    tokio::task::spawn_blocking(read).await.ok().flatten()
}

/// Whom to start.
#[derive(Clone, Copy, Debug)]
pub struct Cast<'a> {
    /// Of the rival.
    pub name: &'a str,
    pub runtime: Runtime,
    /// Where its processes find what they need.
    pub directory: &'a Path,
}

impl Cast<'_> {
    /// This program in a role.
    fn command(&self, role: &str, targets: &[SocketAddr]) -> Result<Command> {
        let targets: Vec<_> = targets.iter().map(SocketAddr::to_string).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--role", role, "--only", self.name])
            .args(["--runtime", &self.runtime.to_string()])
            .args(["--targets", &targets.join(",")])
            .arg("--directory")
            .arg(self.directory);
        Ok(command)
    }

    /// Starts so many of a role, side by side, and waits until all play.
    pub fn start(&self, role: &str, targets: &[SocketAddr], n: u64) -> Result<Vec<Process>> {
        let spawned: Vec<_> =
            (0..n).map(|_| Process::spawn(self.command(role, targets)?)).collect::<Result<_>>()?;
        let ready = |process: Process| {
            process.ready().with_context(|| format!("starting the {role} of {}", self.name))
        };
        spawned.into_iter().map(ready).collect()
    }

    /// Runs a role that ends by itself; how long it lived.
    pub fn run(&self, role: &str, targets: &[SocketAddr]) -> Result<Duration> {
        let mut command = self.command(role, targets)?;
        let begun = Instant::now();
        let ended = command.status()?;
        let took = begun.elapsed();
        ensure!(ended.success(), "the {role} of {}: {ended}", self.name);
        Ok(took)
    }
}

impl Process {
    fn spawn(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take().context("piped above")?;
        let answers = BufReader::new(child.stdout.take().context("piped above")?);
        Ok(Self { child, questions, answers, address: ANYWHERE })
    }

    fn ready(mut self) -> Result<Self> {
        let said = self.answer()?;
        self.address = said.strip_prefix(READY).context("unexpected first line")?.parse()?;
        Ok(self)
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, question: &str) -> Result<String> {
        writeln!(self.questions, "{question}")?;
        self.answer().with_context(|| format!("asked `{question}`"))
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the process has ended");
        match line.trim().strip_prefix(FAILED) {
            Some(why) => bail!("{why}"),
            None => Ok(line.trim().to_owned()),
        }
    }

    /// Processor time so far, in seconds: user and system, of all threads, also those that have
    /// ended. In steps of 10 ms (proc(5), fields 14 and 15).
    pub fn cpu_seconds(&self) -> Result<f64> {
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, after_name) = stat.rsplit_once(')').context("no name in `stat`")?;
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Memory that is in use, in KiB.
    pub fn memory_kib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("VmRSS without value")?.parse()?)
    }

    /// Lets all its threads run on these processors only, `0` or `0-7`.
    pub fn pin(&self, processors: &str) -> Result<()> {
        let pinned = Command::new("taskset")
            .args(["-a", "-p", "-c", processors, &self.child.id().to_string()])
            .output()?;
        ensure!(pinned.status.success(), "taskset: {}", String::from_utf8_lossy(&pinned.stderr));
        Ok(())
    }
}

/// Lets this process, and those that it starts, open as many files as it may: a storm of clients needs
/// several each, and many systems allow 1,024 unless asked.
pub fn allow_files() -> Result<()> {
    let limits = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limits.maximum, ..limits };
    setrlimit(Resource::Nofile, most).context("raising the limit of open files")
}

/// Whether [`Process::pin`] works here.
pub fn can_pin() -> bool {
    Command::new("taskset").arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
