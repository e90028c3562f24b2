//! A stream of sensor readings.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::time::Instant;

use easyremote::remote;
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

use super::{rounded, seconds, timestamp};

/// Which sensors to read, how often, and for how long. Missing fields have the defaults of the
/// original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SensorConfig {
    pub(crate) sensors: Vec<String>,
    /// Samples per second.
    pub(crate) sample_rate: f64,
    /// Seconds.
    pub(crate) duration: f64,
}

impl Default for SensorConfig {
    fn default() -> Self {
        let sensors = vec!["temperature".to_owned(), "humidity".to_owned()];
        Self { sensors, sample_rate: 1.0, duration: 10.0 }
    }
}

/// An item of [`fn@async_data_stream`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SensorSample {
    /// From 1.
    pub(crate) sample_id: u64,
    pub(crate) readings: BTreeMap<String, f64>,
    pub(crate) timestamp: f64,
    /// Seconds since the stream began.
    pub(crate) elapsed_time: f64,
    /// Such as `2/5`.
    pub(crate) progress: String,
}

/// Readings of some sensors: `duration x sample_rate` of them, at that rate.
///
/// `temperature` is around 25, `humidity` around 60 and `pressure` around 1013.25; any other sensor
/// is around 0.
#[remote(stream)]
pub(crate) fn async_data_stream(config: SensorConfig) -> impl Stream<Item = SensorSample> {
    stream::unfold(Sampler::new(config), |mut sampler| async move {
        Some((sampler.next().await?, sampler))
    })
}

struct Sampler {
    config: SensorConfig,
    samples: u64,
    taken: u64,
    started: Instant,
}

impl Sampler {
    fn new(config: SensorConfig) -> Self {
        // Negative or NaN: no samples. The cast truncates fractions, as in the original.
        let samples = (config.duration.max(0.0) * config.sample_rate.max(0.0)) as u64;
        Self { config, samples, taken: 0, started: Instant::now() }
    }

    async fn next(&mut self) -> Option<SensorSample> {
        if self.taken == self.samples {
            return None;
        }
        if self.taken > 0 {
            tokio::time::sleep(seconds(1.0 / self.config.sample_rate)).await;
        }
        self.taken += 1;
        let elapsed_time = self.started.elapsed().as_secs_f64();
        let read = |name: &String| (name.clone(), reading(name, self.taken));
        Some(SensorSample {
            sample_id: self.taken,
            readings: self.config.sensors.iter().map(read).collect(),
            timestamp: timestamp(),
            elapsed_time,
            progress: format!("{}/{}", self.taken, self.samples),
        })
    }
}

/// The value of a simulated sensor: its usual value, and a wave around it.
///
/// Sensors have different phases. The same sample of the same
/// sensor has the same value in every run.
fn reading(sensor: &str, sample: u64) -> f64 {
    /// Samples in a wave.
    const PERIOD: f64 = 24.0;
    let usual = match sensor {
        "temperature" => 25.0,
        "humidity" => 60.0,
        "pressure" => 1013.25,
        _ => 0.0,
    };
    let phase = sensor.bytes().map(f64::from).sum::<f64>() / f64::from(u8::MAX);
    rounded(usual + (TAU * (sample as f64 / PERIOD + phase)).sin(), 2)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn there_are_duration_times_rate_samples_around_the_usual_values() {
        let sensors = ["temperature", "humidity", "pressure", "other"].map(String::from).to_vec();
        let config = SensorConfig { sensors, sample_rate: 1000.0, duration: 0.0209 };
        let samples: Vec<_> = async_data_stream(config).collect().await;
        assert_eq!(samples.len(), 20);
        assert_eq!(samples[19].progress, "20/20");
        for (sensor, usual) in
            [("temperature", 25.0), ("humidity", 60.0), ("pressure", 1013.25), ("other", 0.0)]
        {
            assert!(samples.iter().all(|it| (it.readings[sensor] - usual).abs() <= 1.0));
            assert!(samples.iter().any(|it| it.readings[sensor] != samples[0].readings[sensor]));
        }
    }

    #[tokio::test]
    async fn odd_configurations_give_no_samples() {
        for (sample_rate, duration) in
            [(0.0, 1.0), (-1.0, -1.0), (f64::NAN, 1.0), (1.0, f64::NEG_INFINITY), (0.4, 2.0)]
        {
            let config = SensorConfig { sample_rate, duration, ..SensorConfig::default() };
            assert_eq!(async_data_stream(config).count().await, 0, "{sample_rate} {duration}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let config: SensorConfig = serde_json::from_str(r#"{"duration": 3}"#).unwrap();
        assert_eq!(config, SensorConfig { duration: 3.0, ..SensorConfig::default() });
    }
}
