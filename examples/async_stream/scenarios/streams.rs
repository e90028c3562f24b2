//! Live streams: each function that is one, with its content and its pace.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use easyremote::Client;

use crate::functions::images::{Image, Shape};
use crate::functions::inference::async_ml_inference_stream;
use crate::functions::numbers::sync_number_stream;
use crate::functions::pipeline::{
    Complexity, PipelineConfig, PipelineItem, PipelineUpdate, async_complex_pipeline,
};
use crate::functions::sensors::{SensorConfig, async_data_stream};
use crate::scenarios::received::Received;
use crate::scenarios::{Outcome, Seen, ensure};

/// Seconds between items.
const INTERVAL: f64 = 0.1;

/// An iterator that sleeps between its items.
pub(super) async fn numbers(client: Client) -> Outcome {
    let stream = sync_number_stream::call(&client, -2, 8, INTERVAL);
    let received = Received::all(stream).await.ok()?;
    ensure!(received.items.len() == 8, "{} items instead of 8", received.items.len());
    for (i, item) in (-2_i64..).zip(&received.items) {
        let n = i128::from(i);
        ensure!(item.number == i, "{} instead of {i}", item.number);
        ensure!((item.square, item.cube) == (n * n, n * n * n), "powers are wrong: {item:?}");
        ensure!(item.progress == format!("{}/8", i + 3), "progress is wrong: {item:?}");
        ensure!(item.stream_type == "sync_generator", "the type is wrong: {item:?}");
    }
    received.ensure_live(|item| item.timestamp)?;
    Ok(received.seen(|item| (item.number + 3).unsigned_abs()))
}

/// An async stream at a given rate.
pub(super) async fn sensors(client: Client) -> Outcome {
    let sensors = ["temperature", "humidity", "pressure"].map(ToOwned::to_owned).to_vec();
    let sample_rate = 1.0 / INTERVAL;
    let config = SensorConfig { sensors, sample_rate, duration: 0.8 };
    let received = Received::all(async_data_stream::call(&client, config)).await.ok()?;
    ensure!(received.items.len() == 8, "{} items instead of 8", received.items.len());
    for sample in &received.items {
        for (sensor, usual) in [("temperature", 25.0), ("humidity", 60.0), ("pressure", 1013.25)] {
            let value = sample.readings.get(sensor).copied();
            let near = value.is_some_and(|value| (value - usual).abs() < 5.0);
            ensure!(near, "{sensor} is {value:?}");
        }
        ensure!(sample.progress == format!("{}/8", sample.sample_id), "{}", sample.progress);
    }
    let elapsed = received.items.iter().map(|sample| sample.elapsed_time);
    ensure!(elapsed.is_sorted(), "time goes backwards");
    received.ensure_live(|sample| sample.timestamp)?;
    Ok(received.seen(|sample| sample.sample_id))
}

/// Batches, each sent as soon as it is classified.
pub(super) async fn inference(client: Client) -> Outcome {
    let expected: Vec<_> = Shape::ALL.into_iter().cycle().take(7).collect();
    let images: Vec<_> = (0..).zip(&expected).map(|(i, shape)| Image::draw(*shape, i)).collect();
    let names: Vec<_> = images.iter().map(|image| image.name.clone()).collect();
    let batch_size = NonZeroUsize::new(3).ok_or("3 is 0")?;
    let stream = async_ml_inference_stream::call(&client, images, batch_size);
    let received = Received::all(stream).await.ok()?;
    let batches = &received.items;
    let sizes: Vec<_> = batches.iter().map(|batch| batch.batch_size).collect();
    ensure!(sizes == [3, 3, 1], "7 images came in batches of {sizes:?}");
    let processed: Vec<_> = batches.iter().map(|batch| batch.total_processed).collect();
    ensure!(processed == [3, 6, 7], "the totals are {processed:?}");
    let results: Vec<_> = batches.iter().flat_map(|batch| &batch.results).collect();
    ensure!(results.iter().map(|result| &result.image).eq(&names), "images are lost or mixed up");
    for (result, shape) in results.iter().zip(expected) {
        let found = &result.prediction;
        ensure!(found.class == shape, "{} is a {}?", result.image, found.class);
        ensure!((0.25..=1.0).contains(&found.confidence), "{} is no probability", found.confidence);
    }
    Ok(received.seen(|batch| batch.batch_id as u64))
}

/// Items of several stages, and a summary at the end.
pub(super) async fn pipeline(client: Client) -> Outcome {
    let config = PipelineConfig { stages: 3, items_per_stage: 4, stage_delay: 4.0 * INTERVAL };
    let stream = async_complex_pipeline::call(&client, "3 1 4 100".to_owned(), config);
    let received = Received::all(stream).await.ok()?;
    received.ensure_live(|update| match update {
        PipelineUpdate::Item(item) => item.timestamp,
        PipelineUpdate::Summary(summary) => summary.completion_time,
    })?;
    let (last, before) = received.items.split_last().ok_or("no item has come")?;
    let items: Vec<&PipelineItem> = before
        .iter()
        .filter_map(|update| match update {
            PipelineUpdate::Item(item) => Some(item),
            PipelineUpdate::Summary(_) => None,
        })
        .collect();
    ensure!(items.len() == 12, "{} items instead of 12", items.len());
    let PipelineUpdate::Summary(summary) = last else {
        return Err(format!("the last item is no summary: {last:?}").into());
    };
    ensure!(summary.status == "completed", "the pipeline has {}", summary.status);
    ensure!((summary.total_stages, summary.total_items) == (3, 12), "totals: {summary:?}");
    let clipped = items[3].data.processed_value;
    ensure!(clipped > 4.0 && clipped < 100.0, "the outlier became {clipped}");
    let stages: BTreeSet<_> = items.iter().map(|item| &item.data.metadata.stage_name).collect();
    ensure!(stages.len() == 3, "the stages are {stages:?}");
    for item in &items {
        let high = item.data.metadata.complexity == Complexity::High;
        ensure!(high == (item.stage > 2), "the complexity is wrong: {item:?}");
        ensure!((0.0..=1.0).contains(&item.data.quality_score), "the quality is wrong: {item:?}");
    }
    let places = items.iter().map(|item| (item.stage, item.item));
    let order_kept = places.eq((1..=3).flat_map(|stage| (1..=4).map(move |item| (stage, item))));
    let note = format!("{} items", received.items.len());
    Ok(Seen { first_item: received.first_arrival(), order_kept: Some(order_kept), note })
}
