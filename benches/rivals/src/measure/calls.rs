//! Many calls of one client at a time, and what they cost.

use anyhow::{Context, Result};

use super::{Party, Processes};
use crate::process::Process;
use crate::table::Table;

pub fn in_flight(party: &Party<'_>, table: &mut Table) -> Result<()> {
    let mut processes = party.start_warm()?;
    for (in_flight, row) in [
        (16, "calls/s, 16 in flight"),
        (64, "calls/s, 64 in flight"),
        (256, "calls/s, 256 in flight"),
    ] {
        let question = format!("calls {} {in_flight} 64", party.options.ms(2_500));
        let measured = processes.ask_cost::<2>(&question)?;
        party.add(table, row, measured.map(|([calls, seconds], _)| calls / seconds));
        if in_flight == 64 {
            let each = measured.map(|([calls, _], used)| used.map(|used| used / calls * 1e5));
            let sum = each.map(|each| each.iter().sum());
            party.add(table, "CPU-s per 100,000 calls, 64 in flight", sum);
            party.add(table, "of these the client", each.map(|each| each[0]));
            let middle = processes.middle.as_ref().and(each).map(|each| each[1]);
            party.add(table, "of these the middle", middle);
            party.add(table, "of these the node", each.map(|each| each[2]));
        }
    }
    let question = format!("calls {} 4 1048576", party.options.ms(2_500));
    let rate = processes.ask::<2>(&question)?.map(|[calls, seconds]| calls / seconds * 1.048_576);
    party.add(table, "1 MiB calls, 4 in flight, MB/s each way", rate);
    Ok(())
}

/// How the function is written that is called.
pub fn functions(party: &Party<'_>, table: &mut Table) -> Result<()> {
    let mut processes = party.start_warm()?;
    for (kind, row) in [
        ("async", "CPU-s per 100,000 calls, async function"),
        ("sync", "CPU-s per 100,000 calls, sync function"),
        ("inline", "CPU-s per 100,000 calls, inline function"),
    ] {
        // The first calls start what runs such functions.
        processes.ask::<2>(&format!("{kind} {} 64", party.options.ms(500)))?;
        let question = format!("{kind} {} 64", party.options.ms(2_500));
        let measured = processes.ask_cost::<2>(&question)?;
        let cost = measured.map(|([calls, _], used)| used.iter().sum::<f64>() / calls * 100_000.0);
        party.add(table, row, cost);
    }
    Ok(())
}

/// Of a build that counts them.
pub fn allocations(party: &Party<'_>, table: &mut Table) -> Result<()> {
    if !crate::allocations::ARE_COUNTED {
        return Ok(());
    }
    let mut processes = party.start_warm()?;
    let own_middle = party.known.own_middle;
    let before = allocated(&mut processes, own_middle)?;
    let question = format!("calls {} 64 64", party.options.ms(1_000));
    let measured = processes.ask::<2>(&question)?;
    let after = allocated(&mut processes, own_middle)?;
    for (i, row) in [
        "allocations per call, 64 in flight: client",
        "allocations per call, 64 in flight: middle",
        "allocations per call, 64 in flight: node",
    ]
    .into_iter()
    .enumerate()
    {
        let during = after[i].zip(before[i]).map(|(after, before)| after - before);
        let each = during.zip(measured).map(|(during, [calls, _])| during / calls);
        party.add(table, row, each);
    }
    Ok(())
}

/// So far, of client, middle and node.
fn allocated(processes: &mut Processes, own_middle: bool) -> Result<[Option<f64>; 3]> {
    let ask = |process: &mut Process| -> Result<f64> {
        Ok(process.ask(crate::allocations::QUESTION)?.parse()?)
    };
    let middle = processes.middle.as_mut().filter(|_| own_middle).map(ask).transpose()?;
    let node = processes.nodes.first_mut().context("there is a node")?;
    Ok([Some(ask(&mut processes.client)?), middle, Some(ask(node)?)])
}
