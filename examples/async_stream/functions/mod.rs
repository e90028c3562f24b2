//! The functions of the node: the eight of the original, and three to observe the clean-up.
//!
//! Delays, intervals and durations are seconds, as in the original; timestamps are seconds since
//! the Unix epoch.

pub(crate) mod datum;
pub(crate) mod endless;
pub(crate) mod images;
pub(crate) mod inference;
pub(crate) mod numbers;
pub(crate) mod pipeline;
pub(crate) mod sensors;
mod stages;
pub(crate) mod text;
mod untagged;

use std::time::{Duration, SystemTime};

use easyremote::functions;
use easyremote::node::Functions;
use serde_json::{Value, json};

use self::endless::{endless_alive, endless_iterator, endless_stream};
use self::inference::async_ml_inference_stream;
use self::numbers::{async_computation, sync_add, sync_number_stream, sync_process_data};
use self::pipeline::async_complex_pipeline;
use self::sensors::async_data_stream;
use self::text::async_ai_simulation;

/// All functions, for a node.
pub(crate) fn all() -> Functions {
    functions![
        sync_add,
        sync_process_data,
        async_computation,
        async_ai_simulation,
        sync_number_stream,
        async_data_stream,
        async_ml_inference_stream,
        async_complex_pipeline,
        endless_stream,
        endless_iterator,
        endless_alive,
    ]
}

/// Returns the default of an argument in the original, for callers by name. serde fills in the
/// missing fields of a `config` at the node.
pub(crate) fn default_argument(function: &str, parameter: &str) -> Option<Value> {
    Some(match (function, parameter) {
        ("async_computation", "delay") => json!(1.0),
        ("async_ai_simulation", "model_delay") => json!(2.0),
        ("sync_number_stream", "interval") => json!(0.5),
        ("async_ml_inference_stream", "batch_size") => json!(2),
        ("async_data_stream" | "async_complex_pipeline", "config") => json!({}),
        ("endless_stream" | "endless_iterator", "interval") => json!(0.5),
        _ => return None,
    })
}

/// Converts seconds to a duration. Invalid values, such as -1, become zero.
fn seconds(seconds: f64) -> Duration {
    if seconds > 0.0 {
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    } else {
        Duration::ZERO
    }
}

/// Seconds since the Unix epoch.
fn timestamp() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // 0 if the clock is set to a time before 1970.
    now.unwrap_or_default().as_secs_f64()
}

/// Rounds `value` to a number of decimals.
fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10_f64.powi(decimals);
    (value * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_durations_are_no_time_or_all_the_time() {
        for none in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(seconds(none), Duration::ZERO);
        }
        assert_eq!(seconds(0.25), Duration::from_millis(250));
        assert_eq!(seconds(f64::INFINITY), Duration::MAX);
    }
}
