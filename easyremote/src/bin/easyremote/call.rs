//! `easyremote call`: one call, or a job.

use easyremote::client::{JsonCall, Trace};
use serde_json::{Value, json};

use crate::arguments;
use crate::connect::connect;
use crate::exit::Failure;
use crate::options::{CallOptions, CommonOptions};
use crate::output::Output;
use crate::units::show_duration;

/// Calls a function and writes its result, or spawns a job and writes its id.
pub(crate) async fn call(
    common: &CommonOptions,
    call: CallOptions,
    output: &Output,
) -> Result<(), Failure> {
    let CallOptions { target, key, traced, job } = call;
    let options = target.options();
    let arguments = arguments::read(target.arguments).await?;
    let client = connect(common).await?.with(options);
    let mut call: JsonCall = client.call_json(target.function, arguments);
    if let Some(key) = key {
        call = call.key(key);
    }
    if job {
        let job = call.spawn().await?;
        return match output.json {
            true => output.document(&json!({ "job": job.id() })).await,
            false => output.line(job.id().to_string()).await,
        };
    }
    if !traced {
        return output.value(&call.await?).await;
    }
    let (result, trace) = call.traced().await?;
    if output.json {
        return output.document(&json!({ "result": result, "trace": as_json(&trace) })).await;
    }
    output.value(&result).await?;
    let (ran, queued) = (show_duration(trace.ran), show_duration(trace.queued));
    let attempts = match trace.attempts {
        1 => String::new(),
        attempts => format!(", in attempt {attempts}"),
    };
    output.remark(&format!("{} ran it in {ran}, after {queued} of waiting{attempts}", trace.node));
    Ok(())
}

fn as_json(trace: &Trace) -> Value {
    json!({
        "node": trace.node,
        "attempts": trace.attempts,
        "queued_us": trace.queued.as_micros() as u64,
        "ran_us": trace.ran.as_micros() as u64,
        "batch": trace.batch.map(|batch| batch.size),
    })
}
