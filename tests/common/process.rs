//! Parts of a test that run as processes, so that they can be killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// This program again, running one of its tests, which finds its part in the environment.
#[derive(Debug)]
pub struct Process {
    child: Child,
    questions: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Runs the test `part`, which finds `environment`.
    pub fn start<const N: usize>(part: &str, environment: [(&str, &str); N]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", part, "--nocapture"])
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, output }
    }

    /// Waits for the line that begins with `prefix`, and gives the rest of it.
    ///
    /// # Panics
    /// If the process ends before.
    pub fn line(&mut self, prefix: &str) -> String {
        let mut lines = self.output.by_ref().lines().map(Result::unwrap);
        let line = lines.find_map(|line| line.strip_prefix(prefix).map(str::to_owned));
        line.unwrap_or_else(|| panic!("a process ended without a line `{prefix}`"))
    }

    /// Sends a line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.questions, "{line}").unwrap();
    }

    /// Sends a line and waits for one that begins with it; gives the rest of that.
    pub fn ask(&mut self, question: &str) -> String {
        self.tell(question);
        self.line(&format!("{question} "))
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, `STOP` for example.
    pub fn signal(&self, signal: &str) {
        // The shell has `kill` built in, and needs no unsafe code.
        let command = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has ended with; `None` if that was a signal, or it has not.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap()?.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a process: the next line that its parent sends; `None` if that is gone.
pub async fn question() -> Option<String> {
    let read = || {
        let mut line = String::new();
        let n = std::io::stdin().read_line(&mut line).unwrap_or(0);
        (n > 0).then(|| line.trim().to_owned())
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// In a process: tells its parent something. The test harness may have begun the line.
pub fn tell(what: impl std::fmt::Display) {
    println!("\n{what}");
    std::io::stdout().flush().unwrap();
}
