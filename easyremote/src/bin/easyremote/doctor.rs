//! `easyremote doctor`: why a gateway cannot be reached, or served.

mod address;
mod admission;
mod findings;
mod probe;

use easyremote::auth::IntoGateways;
use serde_json::json;

use crate::exit::Failure;
use crate::options::{CommonOptions, DoctorOptions};
use crate::output::Output;

use self::findings::{Cause, Finding, Findings};

/// Checks each gateway step by step, and stops at the first step that fails: its cause is what is
/// wrong. With an address to serve at, checks that instead.
pub(crate) async fn doctor(
    common: &CommonOptions,
    doctor: &DoctorOptions,
    output: &Output,
) -> Result<(), Failure> {
    let mut failed = None;
    let mut documents = Vec::new();
    let subjects: Vec<_> = match &doctor.serve {
        Some(address) => vec![address.as_str()],
        None => common.gateway.split(',').map(str::trim).collect(),
    };
    for subject in subjects {
        let mut findings = Findings::new(address::shown(subject));
        match &doctor.serve {
            Some(address) => address::may_be_served(address, &mut findings).await,
            None => gateway(common, subject, &mut findings).await,
        }
        if let Some(cause) = findings.cause() {
            failed.get_or_insert(Failure::Told(cause.code()));
        }
        match output.json {
            true => documents.push(findings.to_json()),
            false => output.line(findings.lines().join("\n")).await?,
        }
    }
    if output.json {
        let ok = failed.is_none();
        output.document(&json!({ "ok": ok, "subjects": documents })).await?;
    }
    failed.map_or(Ok(()), Err)
}

/// Checks one gateway, from its address to the functions that can be called.
async fn gateway(common: &CommonOptions, gateway: &str, findings: &mut Findings) {
    if let Err(error) = gateway.into_gateways() {
        findings.add(Finding::failed("address", Cause::Address, error.to_string()));
        return;
    }
    findings.add(address::clock());
    let Some(addresses) = address::resolve(gateway, findings).await else { return };
    if !probe::reaches_any(&addresses, findings).await {
        return;
    }
    admission::check(common, gateway, findings).await;
}
