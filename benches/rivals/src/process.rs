//! The parties as processes: this program again, with a role, and what the system knows of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

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

/// In a role: waits for a question; `None` when the driver is gone.
pub async fn next_question() -> Option<String> {
    let read = || {
        let mut line = String::new();
        let n = std::io::stdin().read_line(&mut line).unwrap_or(0);
        (n > 0).then(|| line.trim().to_owned())
    };
    tokio::task::spawn_blocking(read).await.ok().flatten()
}

impl Process {
    /// Starts `role` of the rival `name`, which finds what it needs in `directory`.
    pub fn start(
        role: &str,
        name: &str,
        target: SocketAddr,
        directory: &Path,
        runtime: &str,
    ) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--role", role, "--only", name, "--runtime", runtime])
            .args(["--target", &target.to_string()])
            .arg("--directory")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let questions = child.stdin.take().context("piped above")?;
        let answers = BufReader::new(child.stdout.take().context("piped above")?);
        let mut process = Self { child, questions, answers, address: target };
        let said = process.answer().with_context(|| format!("starting the {role} of {name}"))?;
        process.address = said.strip_prefix(READY).context("unexpected first line")?.parse()?;
        Ok(process)
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
