//! `easyremote jobs`: calls that run without their caller.

use std::time::Duration;

use easyremote::client::{JobId, JobStatus, JsonJob};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::connect::connect;
use crate::exit::Failure;
use crate::options::{CommonOptions, JobAction, JobsOptions};
use crate::output::Output;
use crate::table::Table;
use crate::units::show_duration;

/// Lists jobs, or asks about one.
pub(crate) async fn jobs(
    common: &CommonOptions,
    jobs: JobsOptions,
    output: &Output,
) -> Result<(), Failure> {
    let client = connect(common).await?;
    match jobs.action.unwrap_or(JobAction::List) {
        JobAction::List => {
            let jobs: Vec<_> =
                client.jobs().await?.into_iter().map(|job| (job.id, job.status)).collect();
            write_list(&jobs, output).await
        }
        JobAction::Status { id } => {
            let status = client.job_json(&id).status().await?;
            match output.json {
                true => output.document(&as_json(&id, &status)).await,
                false => output.table(&table(&[(id, status)])).await,
            }
        }
        JobAction::Result { id } => {
            let job = client.job_json(&id);
            let result = match output.shows_progress() {
                true => tokio::select! {
                    result = job.result() => result,
                    never = show_progress(&job) => match never {},
                },
                false => job.result().await,
            };
            output.value(&result?).await
        }
        JobAction::Cancel { id } => Ok(client.job_json(&id).cancel().await?),
    }
}

async fn write_list(jobs: &[(JobId, JobStatus)], output: &Output) -> Result<(), Failure> {
    if output.json {
        let jobs: Vec<_> = jobs.iter().map(|(id, status)| as_json(id, status)).collect();
        return output.document(&json!({ "jobs": jobs })).await;
    }
    output.table(&table(jobs)).await
}

fn table(jobs: &[(JobId, JobStatus)]) -> Table {
    let mut table = Table::new(["JOB", "FUNCTION", "NODE", "STATE", "FOR", "PROGRESS"]);
    for (id, status) in jobs {
        let progress = status.progress.as_ref().map(|progress| {
            format!("{:.0} % {}", 100.0 * progress.fraction, progress.text).trim_end().to_owned()
        });
        table.row([
            id.to_string(),
            id.function().to_owned(),
            id.node().to_owned(),
            format!("{:?}", status.state),
            show_duration(status.since),
            progress.unwrap_or_default(),
        ]);
    }
    table
}

fn as_json(id: &JobId, status: &JobStatus) -> Value {
    let progress = status.progress.as_ref().map(|progress| {
        json!({
            "fraction": progress.fraction,
            "text": progress.text,
            "since_ms": progress.since.as_millis() as u64,
        })
    });
    json!({
        "id": id,
        "function": id.function(),
        "node": id.node(),
        "state": format!("{:?}", status.state),
        "since_ms": status.since.as_millis() as u64,
        "progress": progress,
    })
}

/// Shows the progress of a job on standard error, until it is dropped.
async fn show_progress(job: &JsonJob) -> std::convert::Infallible {
    /// How often the job is asked.
    const INTERVAL: Duration = Duration::from_millis(250);
    const STEPS: u64 = 1_000;
    let bar = ProgressBar::new(STEPS);
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  ({elapsed})");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    let bar = ClearOnDrop(bar);
    let mut looks = tokio::time::interval(INTERVAL);
    loop {
        looks.tick().await;
        // What fails is told by the wait for the result.
        let Ok(status) = job.status().await else { continue };
        let text = match status.progress {
            Some(progress) => {
                bar.0.set_position((progress.fraction * STEPS as f64) as u64);
                progress.text
            }
            None => format!("{:?}", status.state),
        };
        bar.0.set_message(text);
    }
}

/// Leaves nothing of a bar behind.
struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
