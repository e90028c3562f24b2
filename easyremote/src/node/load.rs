//! Measures the load of the node and of its machine.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use sysinfo::{IS_SUPPORTED_SYSTEM, System};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::node::state::NodeState;
use crate::wire::limits::HEARTBEAT;
use crate::wire::load::NodeLoad;

/// Measures and publishes the load once per heartbeat, while it is polled.
pub(super) async fn measure(shared: &NodeState) -> Infallible {
    let mut machine = IS_SUPPORTED_SYSTEM.then(Machine::default);
    let mut ticks = interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut figures = Figures::default();
        if let Some(machine_before) = machine.take() {
            // It reads files or makes system calls, which must not block the I/O tasks.
            match spawn_blocking(|| machine_before.look()).await {
                Ok((machine_after, found)) => (machine, figures) = (Some(machine_after), found),
                Err(error) => warn!(%error, "the load of this machine is not reported"),
            }
        }
        let counters = &shared.counters;
        let in_flight = counters.in_flight.load(Ordering::Relaxed);
        let waiting = counters.waiting.load(Ordering::Relaxed);
        let Figures { cpu_percent, memory } = figures;
        let (live, kept) = shared.runs.n_jobs();
        let load = NodeLoad::new((in_flight, waiting), cpu_percent, memory);
        shared.load.send_replace(Some(load.with_jobs(live + kept)));
    }
}

/// Samples the machine's processors and memory.
#[derive(Debug, Default)]
struct Machine {
    /// `None` before the first sample. Boxed: it moves between threads.
    system: Option<Box<System>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    cpu_percent: Option<u8>,
    /// Used and total, in bytes.
    memory: (u64, u64),
}

impl Machine {
    /// Takes a sample. CPU usage is measured since the previous sample, so the first has none.
    fn look(mut self) -> (Self, Figures) {
        let first = self.system.is_none();
        let system = self.system.get_or_insert_with(|| Box::new(System::new()));
        system.refresh_cpu_usage();
        system.refresh_memory();
        let cpu = system.global_cpu_usage().round().clamp(0.0, 100.0);
        let memory = (system.used_memory(), system.total_memory());
        (self, Figures { cpu_percent: (!first).then_some(cpu as u8), memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_knows_memory_and_the_second_processors_too() {
        if !IS_SUPPORTED_SYSTEM {
            return;
        }
        let (machine, first) = Machine::default().look();
        let (used, total) = first.memory;
        assert!(used > 0 && used < total, "{first:?}");
        assert_eq!(first.cpu_percent, None);
        let (_, second) = machine.look();
        assert!(second.cpu_percent.is_some_and(|percent| percent <= 100), "{second:?}");
    }
}
