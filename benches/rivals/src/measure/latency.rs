//! How long a call takes.

use anyhow::Result;

use super::Party;
use crate::process::can_pin;
use crate::table::Table;

pub fn alone(party: &Party<'_>, table: &mut Table) -> Result<()> {
    let mut processes = party.start_warm()?;
    let question = format!("latency {}", party.options.ms(2_000));
    let times = processes.ask::<2>(&question)?;
    party.add(table, "p50 at 1 in flight, us", times.map(|times| times[0]));
    party.add(table, "p99 at 1 in flight, us", times.map(|times| times[1]));
    if can_pin() {
        processes.pin("0")?;
        let times = processes.ask::<2>(&question)?;
        party.add(table, "p50, all on one core, us", times.map(|times| times[0]));
        party.add(table, "p99, all on one core, us", times.map(|times| times[1]));
    }
    Ok(())
}

pub fn open(party: &Party<'_>, table: &mut Table) -> Result<()> {
    for (rate, median, tail) in [
        (1_000, "p50 at 1,000 calls/s, us", "p99 at 1,000 calls/s, us"),
        (5_000, "p50 at 5,000 calls/s, us", "p99 at 5,000 calls/s, us"),
        (20_000, "p50 at 20,000 calls/s, us", "p99 at 20,000 calls/s, us"),
    ] {
        // Whoever cannot keep up leaves the next rate with nothing of what it still owes.
        let mut processes = party.start_warm()?;
        let times = processes.ask::<3>(&format!("open {} {rate}", party.options.ms(5_000)))?;
        party.add(table, median, times.map(|times| times[0]));
        party.add(table, tail, times.map(|times| times[1]));
        if let Some([_, _, late]) = times {
            eprintln!("    at {rate} calls/s, p99 of how late calls were begun: {late:.0} us");
        }
    }
    Ok(())
}

pub fn beside(party: &Party<'_>, table: &mut Table) -> Result<()> {
    for (question, length, tail, rate) in [
        ("beside-items", 64 << 10, "p99 of calls beside 64 KiB items, us", "MB/s of these items"),
        ("beside-calls", 8 << 20, "p99 of calls beside 8 MiB calls, us", "MB/s of these calls"),
    ] {
        let mut processes = party.start_warm()?;
        let question = format!("{question} {} {length}", party.options.ms(4_000));
        let measured = processes.ask::<2>(&question)?;
        party.add(table, tail, measured.map(|measured| measured[0]));
        party.add(table, rate, measured.map(|measured| measured[1] / 1e6));
    }
    Ok(())
}
