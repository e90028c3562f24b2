//! What it takes to come and go.

use anyhow::Result;

use super::Party;
use crate::table::Table;

pub fn connect(party: &Party<'_>, table: &mut Table) -> Result<()> {
    storm(party, table)?;
    start(party, table)
}

/// Many clients of one process at once, in processes that have done nothing else.
fn storm(party: &Party<'_>, table: &mut Table) -> Result<()> {
    let clients = party.options.peers(500);
    let mut processes = party.start()?;
    let measured = processes.ask_cost::<1>(&format!("storm {clients}"))?;
    party.add(table, "500 clients at once, until all have called, ms", measured.map(|m| m.0[0]));
    let each = measured.map(|(_, used)| used.map(|used| used / clients as f64 * 1e3));
    party.add(table, "CPU-ms per connect and call: client", each.map(|each| each[0]));
    let middle = processes.middle.as_ref().and(each).map(|each| each[1]);
    party.add(table, "CPU-ms per connect and call: middle", middle);
    Ok(())
}

/// A process that makes one call.
fn start(party: &Party<'_>, table: &mut Table) -> Result<()> {
    let processes = party.start_warm()?;
    let cast = party.cast(&processes.directory);
    let target = [processes.front().address];
    let once = |_| cast.run("once", &target);
    let mut times: Vec<_> = (0..party.options.peers(20)).map(once).collect::<Result<_>>()?;
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64() * 1e3;
    party.add(table, "a process from start through one call to exit, ms", Some(median));
    Ok(())
}
