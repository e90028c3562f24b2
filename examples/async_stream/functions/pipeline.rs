//! A pipeline that works on a series of numbers in stages, and reports every value as it goes.

use easyremote::remote;
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

use super::stages::{Spread, Stage, source_values};
use super::untagged::untagged_for_people;
use super::{rounded, seconds, timestamp};

/// The size and pace of a pipeline. Missing fields have the defaults of the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PipelineConfig {
    pub(crate) stages: u16,
    pub(crate) items_per_stage: u16,
    /// Seconds for all items of a stage.
    pub(crate) stage_delay: f64,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self { stages: 3, items_per_stage: 5, stage_delay: 1.0 }
    }
}

impl PipelineConfig {
    fn total_items(&self) -> u32 {
        u32::from(self.stages) * u32::from(self.items_per_stage)
    }
}

/// An item of [`fn@async_complex_pipeline`]; in JSON only the content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub(crate) enum PipelineUpdate {
    /// One value has passed a stage.
    Item(PipelineItem),
    /// All have passed all stages: the last item.
    Summary(PipelineSummary),
}

/// [`PipelineUpdate`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "PipelineUpdate", untagged)]
enum Plain {
    Item(PipelineItem),
    Summary(PipelineSummary),
}

untagged_for_people!(PipelineUpdate as Plain);

/// A value that has passed a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PipelineItem {
    pub(crate) pipeline: String,
    /// From 1.
    pub(crate) stage: u32,
    /// From 1, in every stage.
    pub(crate) item: u32,
    pub(crate) data: ItemData,
    pub(crate) progress: Progress,
    pub(crate) timestamp: f64,
}

/// The result for a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ItemData {
    pub(crate) processed_value: f64,
    /// From 1 for a value that is typical of its stage down to 0 for an outlier.
    pub(crate) quality_score: f64,
    pub(crate) metadata: Metadata,
}

/// The work of the stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) stage_name: String,
    pub(crate) complexity: Complexity,
}

/// The amount of work of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Complexity {
    Medium,
    High,
}

/// How far the pipeline is, such as `2/5` and `7/15`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) stage_progress: String,
    pub(crate) total_progress: String,
}

/// The end of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PipelineSummary {
    pub(crate) pipeline: String,
    pub(crate) status: String,
    pub(crate) total_stages: u32,
    pub(crate) total_items: u32,
    pub(crate) completion_time: f64,
}

/// Works on the values of `data_source` in stages: clips outliers, normalizes, smooths, and again.
///
/// A `data_source` of numbers, such as `3 1 4` or `3, 1, 4`, is repeated as often as needed. The
/// letters of any other source determine the values.
#[remote(stream)]
pub(crate) fn async_complex_pipeline(
    data_source: String,
    config: PipelineConfig,
) -> impl Stream<Item = PipelineUpdate> {
    stream::unfold(Pipeline::new(data_source, config), |mut pipeline| async move {
        Some((pipeline.next().await?, pipeline))
    })
}

struct Pipeline {
    source: String,
    config: PipelineConfig,
    /// After the current stage; before the first one, as they come from the source.
    values: Vec<f64>,
    spread: Spread,
    /// The current one; beyond the last after the summary.
    stage: u32,
    /// Number of items of the current stage that were produced.
    reported: u16,
}

impl Pipeline {
    fn new(source: String, config: PipelineConfig) -> Self {
        let values = source_values(&source, config.items_per_stage.into());
        // As if a stage before the first one were done.
        let (stage, reported) = (0, config.items_per_stage);
        Self { source, config, values, spread: Spread::default(), stage, reported }
    }

    async fn next(&mut self) -> Option<PipelineUpdate> {
        let PipelineConfig { stages, items_per_stage, stage_delay } = self.config;
        while self.reported == items_per_stage && self.stage < stages.into() {
            self.stage += 1;
            self.values = Stage::of(self.stage).apply(&self.values);
            self.spread = Spread::of(&self.values);
            self.reported = 0;
        }
        if self.reported < items_per_stage {
            tokio::time::sleep(seconds(stage_delay / f64::from(items_per_stage))).await;
            self.reported += 1;
            return Some(PipelineUpdate::Item(self.item()));
        }
        if self.stage > stages.into() {
            return None;
        }
        self.stage = u32::from(stages) + 1;
        Some(PipelineUpdate::Summary(self.summary()))
    }

    fn item(&self) -> PipelineItem {
        let (item, per_stage) = (u32::from(self.reported), u32::from(self.config.items_per_stage));
        let done = (self.stage - 1) * per_stage + item;
        let value = self.values[usize::from(self.reported) - 1];
        PipelineItem {
            pipeline: self.source.clone(),
            stage: self.stage,
            item,
            data: ItemData {
                processed_value: rounded(value, 6),
                quality_score: rounded(self.spread.quality(value), 3),
                metadata: Metadata {
                    stage_name: Stage::of(self.stage).name().to_owned(),
                    complexity: if self.stage > 2 { Complexity::High } else { Complexity::Medium },
                },
            },
            progress: Progress {
                stage_progress: format!("{item}/{per_stage}"),
                total_progress: format!("{done}/{}", self.config.total_items()),
            },
            timestamp: timestamp(),
        }
    }

    fn summary(&self) -> PipelineSummary {
        PipelineSummary {
            pipeline: self.source.clone(),
            status: "completed".to_owned(),
            total_stages: self.config.stages.into(),
            total_items: self.config.total_items(),
            completion_time: timestamp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    async fn run(source: &str, stages: u16, items_per_stage: u16) -> Vec<PipelineUpdate> {
        let config = PipelineConfig { stages, items_per_stage, stage_delay: 0.0 };
        async_complex_pipeline(source.to_owned(), config).collect().await
    }

    #[tokio::test]
    async fn every_value_is_reported_in_every_stage_and_then_the_summary() {
        let updates = run("1 2 3 4 100", 4, 5).await;
        assert_eq!(updates.len(), 21);
        let PipelineUpdate::Item(item) = &updates[4] else { panic!("{:?}", updates[4]) };
        assert_eq!((item.stage, item.item, item.data.processed_value), (1, 5, 6.0));
        assert_eq!(item.progress.total_progress, "5/20");
        assert_eq!(item.data.metadata.complexity, Complexity::Medium);
        let PipelineUpdate::Summary(summary) = &updates[20] else { panic!("{:?}", updates[20]) };
        assert_eq!((summary.total_stages, summary.total_items), (4, 20));
    }

    #[tokio::test]
    async fn an_empty_pipeline_is_a_summary() {
        assert_eq!(run("x", 0, 5).await.len(), 1);
        assert_eq!(run("x", 5, 0).await.len(), 1);
    }

    #[tokio::test]
    async fn json_has_no_variants() {
        let json = serde_json::to_value(run("x", 1, 1).await).unwrap();
        assert_eq!(json[0]["progress"]["stage_progress"], "1/1");
        assert_eq!(json[1]["status"], "completed");
    }
}
