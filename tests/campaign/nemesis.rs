//! What is done to the parties of a campaign, drawn by a seed.

use std::sync::Arc;
use std::time::Duration;

use common::proxy::{Faults, Way};
use fastrand::Rng;
use tokio::time::{sleep, timeout};

use crate::world::{Held, World};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A link is bad for a time.
    Noise {
        link: usize,
        faults: Faults,
        lasts: Duration,
    },
    /// Nothing gets through, in one direction or in both.
    Block {
        link: usize,
        way: Option<Way>,
        lasts: Duration,
    },
    /// A peer gets another address, several times.
    Rebind {
        link: usize,
        times: u32,
    },
    /// SIGKILL; and another process of the same id some time later.
    KillNode {
        node: usize,
        away: Duration,
    },
    /// SIGSTOP, and SIGCONT.
    StopNode {
        node: usize,
        lasts: Duration,
    },
    /// SIGTERM, on which a node drains; and another process when it has ended.
    DrainNode {
        node: usize,
    },
    KillGateway {
        away: Duration,
    },
    StopGateway {
        lasts: Duration,
    },
}

impl Fault {
    pub(crate) fn random(rng: &mut Rng, world: &World) -> Self {
        let link = rng.usize(..world.links.len());
        let node = rng.usize(..world.nodes.len());
        let away = Duration::from_millis(rng.u64(..2_000));
        let lasts = duration(rng);
        match rng.u32(..100) {
            0..25 => Self::Noise { link, faults: noise(rng), lasts },
            25..37 => Self::Block { link, way: None, lasts },
            37..49 => Self::Block { link, way: rng.choice(Way::BOTH), lasts },
            49..66 => Self::Rebind { link, times: rng.u32(1..5) },
            66..78 => Self::KillNode { node, away },
            78..86 => Self::StopNode { node, lasts },
            86..93 => Self::DrainNode { node },
            93..98 => Self::KillGateway { away },
            _ => Self::StopGateway { lasts },
        }
    }

    /// Name without figures, for a summary.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Noise { .. } => "noise",
            Self::Block { way: None, .. } => "partition",
            Self::Block { way: Some(_), .. } => "one-way block",
            Self::Rebind { .. } => "rebinding",
            Self::KillNode { .. } => "node killed",
            Self::StopNode { .. } => "node stopped",
            Self::DrainNode { .. } => "node drained",
            Self::KillGateway { .. } => "gateway killed",
            Self::StopGateway { .. } => "gateway stopped",
        }
    }

    /// Does it, waits for its time, and makes it good. One after the other for each party.
    pub(crate) async fn inject(self, world: Arc<World>) {
        match self {
            Self::Noise { link, faults, lasts } => {
                let link = world.links[link].lock().await;
                link.set_both(faults);
                sleep(lasts).await;
                link.heal();
            }
            Self::Block { link, way, lasts } => {
                let link = world.links[link].lock().await;
                let blocked = Faults { blocked: true, ..Faults::default() };
                match way {
                    Some(way) => link.set(way, blocked),
                    None => link.set_both(blocked),
                }
                sleep(lasts).await;
                link.heal();
            }
            Self::Rebind { link, times } => {
                let link = world.links[link].lock().await;
                for _ in 0..times {
                    link.rebind();
                    sleep(Duration::from_millis(300)).await;
                }
            }
            Self::KillNode { node, away } => {
                let mut process = world.nodes[node].lock().await;
                process.kill();
                sleep(away).await;
                *process = world.node_process(node);
            }
            Self::StopNode { node, lasts } => stop(&world.nodes[node], lasts).await,
            Self::DrainNode { node } => {
                let mut process = world.nodes[node].lock().await;
                process.signal("TERM");
                let ended = timeout(DRAIN_BOUND, async {
                    while !process.has_ended() {
                        sleep(Duration::from_millis(20)).await;
                    }
                });
                assert!(ended.await.is_ok(), "a node that drains did not end");
                *process = world.node_process(node);
            }
            Self::KillGateway { away } => {
                let mut process = world.gateway.lock().await;
                process.kill();
                sleep(away).await;
                *process = world.gateway_process();
            }
            Self::StopGateway { lasts } => stop(&world.gateway, lasts).await,
        }
    }
}

/// Longer than the grace of a node that drains, and the end of the process.
const DRAIN_BOUND: Duration = Duration::from_secs(30);

async fn stop(process: &Held, lasts: Duration) {
    let process = process.lock().await;
    process.signal("STOP");
    sleep(lasts).await;
    process.signal("CONT");
}

/// Mostly short; sometimes longer than it takes to give a silent peer up.
fn duration(rng: &mut Rng) -> Duration {
    let ms = if rng.u32(..5) == 0 { rng.u64(8_000..12_000) } else { rng.u64(50..2_500) };
    Duration::from_millis(ms)
}

/// A few things that go wrong at once.
fn noise(rng: &mut Rng) -> Faults {
    let mut faults = Faults::default();
    for _ in 0..2 {
        match rng.u32(..8) {
            0 => faults.loss = 0.2 * rng.f64(),
            1 => (faults.burst, faults.burst_length) = (0.01, rng.u32(2..20)),
            2 => faults.delay = Duration::from_millis(rng.u64(..100)),
            3 => faults.jitter = Duration::from_millis(rng.u64(..50)),
            4 => faults.reorder = 0.25 * rng.f64(),
            5 => faults.duplicate = 0.3 * rng.f64(),
            6 => faults.corrupt = 0.1 * rng.f64(),
            _ => faults.mtu = Some(1_300),
        }
    }
    faults
}
