//! The whole run: gateway, node and client as three processes on this machine.

use std::net::{SocketAddr, UdpSocket};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::cli::GATEWAY;

/// Pause between the starts, so that they have a defined order.
const GAP: Duration = Duration::from_millis(200);
/// Upper bound of the run time of all scenarios on a busy machine.
const LONGEST_RUN: Duration = Duration::from_secs(90);
/// Upper bound of the time that a role needs to shut down.
const LONGEST_FAREWELL: Duration = Duration::from_secs(10);

/// Starts node, client and gateway, in this order, and waits for the verdict of the client.
pub(crate) async fn run(jsonl: bool) -> Result<bool, Failure> {
    let address = free_address()?;
    // In reverse order: node and client must wait for the gateway.
    let mut node = Process::start("node", address, false)?;
    sleep(GAP).await;
    let mut client = Process::start("scenarios", address, jsonl)?;
    sleep(GAP).await;
    let mut gateway = Process::start("gateway", address, false)?;
    let passed = tokio::select! {
        status = client.ended() => status?.success(),
        status = node.ended() => return Err(format!("the node ended early: {}", status?).into()),
        status = gateway.ended() => {
            return Err(format!("the gateway ended early: {}", status?).into());
        }
        () = sleep(LONGEST_RUN) => return Err(format!("not done in {LONGEST_RUN:?}").into()),
    };
    node.stop().await?;
    gateway.stop().await?;
    Ok(passed)
}

/// Returns an address of this machine that no one listens on.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?)
}

/// A role in a separate process.
///
/// Dropping it kills the process. The process also ends when this one is gone, because its standard
/// input closes then.
struct Process {
    role: &'static str,
    child: Child,
    input: Option<ChildStdin>,
}

impl Process {
    fn start(role: &'static str, gateway: SocketAddr, jsonl: bool) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([role, "--attached"])
            .args(jsonl.then_some("--jsonl"))
            .env(GATEWAY, gateway.to_string())
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        // Taken out, because waiting for the child would close it.
        let input = child.stdin.take();
        Ok(Self { role, child, input })
    }

    async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        Ok(self.child.wait().await?)
    }

    /// Ends the role, and checks its exit status.
    async fn stop(mut self) -> Result<(), Failure> {
        drop(self.input.take());
        match timeout(LONGEST_FAREWELL, self.ended()).await {
            Ok(status) if status.as_ref().is_ok_and(ExitStatus::success) => Ok(()),
            Ok(status) => Err(format!("the {} ended badly: {}", self.role, status?).into()),
            Err(_) => Err(format!("the {} did not end in {LONGEST_FAREWELL:?}", self.role).into()),
        }
    }
}
