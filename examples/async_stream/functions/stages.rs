//! The stages of the pipeline, and the source of its values.

/// The operation of a stage on a series of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Values far from the median are moved closer to it.
    ClipOutliers,
    /// Shifted and scaled, so that the mean is 0 and the standard deviation 1.
    Normalize,
    /// Every value becomes the mean of itself and its neighbours.
    Smooth,
}

impl Stage {
    /// The stage of this number, from 1. After the last kind comes the first again.
    pub(super) fn of(number: u32) -> Self {
        match number % 3 {
            1 => Self::ClipOutliers,
            2 => Self::Normalize,
            _ => Self::Smooth,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ClipOutliers => "clip_outliers",
            Self::Normalize => "normalize",
            Self::Smooth => "smooth",
        }
    }

    pub(super) fn apply(self, values: &[f64]) -> Vec<f64> {
        match self {
            Self::ClipOutliers => clip_outliers(values),
            Self::Normalize => {
                let Spread { mean, deviation } = Spread::of(values);
                let scale = if deviation > 0.0 { deviation } else { 1.0 };
                values.iter().map(|value| (value - mean) / scale).collect()
            }
            Self::Smooth => (0..values.len())
                .map(|i| {
                    let end = values.len().min(i + 2);
                    Spread::of(&values[i.saturating_sub(1)..end]).mean
                })
                .collect(),
        }
    }
}

/// Limits values to three median deviations from the median. A deviation of 0 limits nothing: more
/// than half of the values are then equal, and carry no information about the others.
fn clip_outliers(values: &[f64]) -> Vec<f64> {
    const LIMIT: f64 = 3.0;
    let centre = median(values.to_vec());
    let deviation = median(values.iter().map(|value| (value - centre).abs()).collect());
    if deviation == 0.0 {
        return values.to_vec();
    }
    let (low, high) = (centre - LIMIT * deviation, centre + LIMIT * deviation);
    values.iter().map(|value| value.clamp(low, high)).collect()
}

/// The median; 0 without values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 0 => values[middle - 1].midpoint(values[middle]),
        _ => values[middle],
    }
}

/// Mean and standard deviation of values; both 0 without values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        Self { mean, deviation: variance.sqrt() }
    }

    /// From 1 for a value that is typical down to 0 for an outlier.
    pub(super) fn quality(self, value: f64) -> f64 {
        let oddity =
            if self.deviation > 0.0 { (value - self.mean).abs() / self.deviation } else { 0.0 };
        1.0 / (1.0 + oddity)
    }
}

/// Returns `n` values of a source: its numbers, repeated, or values from 10 to 100 that its letters
/// determine. The same source always has the same values.
pub(super) fn source_values(source: &str, n: usize) -> Vec<f64> {
    let words = source.split([',', ';', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    let numbers: Option<Vec<f64>> =
        words.map(|word| word.parse().ok().filter(|number: &f64| number.is_finite())).collect();
    match numbers {
        Some(numbers) if !numbers.is_empty() => numbers.into_iter().cycle().take(n).collect(),
        _ => (0..n).map(|i| 10.0 + (fingerprint(source, i) % 91) as f64).collect(),
    }
}

/// FNV-1a of the bytes of `source` and then of `i`.
fn fingerprint(source: &str, i: usize) -> u32 {
    let bytes = source.bytes().chain((i as u32).to_be_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_the_source_are_the_values() {
        assert_eq!(source_values("3 1, -4.5", 5), [3.0, 1.0, -4.5, 3.0, 1.0]);
    }

    #[test]
    fn any_other_source_determines_its_values() {
        let values = source_values("test_pipeline", 100);
        assert_eq!(values, source_values("test_pipeline", 100));
        assert_ne!(values, source_values("another_pipeline", 100));
        assert!(values.iter().all(|value| (10.0..=100.0).contains(value)));
        assert!(Spread::of(&values).deviation > 10.0);
        assert_eq!(source_values("", 3).len(), 3);
        assert_eq!(source_values("1 inf", 3).len(), 3);
    }

    #[test]
    fn stages_do_what_their_names_say() {
        let values = [1.0, 2.0, 3.0, 4.0, 100.0];
        assert_eq!(Stage::of(1).apply(&values), [1.0, 2.0, 3.0, 4.0, 6.0]);
        let Spread { mean, deviation } = Spread::of(&Stage::of(2).apply(&values));
        assert!(mean.abs() < 1e-9 && (deviation - 1.0).abs() < 1e-9);
        assert_eq!(Stage::of(3).apply(&[0.0, 3.0, 0.0, 6.0]), [1.5, 1.0, 3.0, 3.0]);
        assert_eq!(Stage::of(4), Stage::of(1));
        for number in 1..=3 {
            assert!(Stage::of(number).apply(&[]).is_empty());
            assert_eq!(Stage::of(number).apply(&[7.0, 7.0]).len(), 2);
        }
    }

    #[test]
    fn typical_values_have_quality() {
        let spread = Spread::of(&[1.0, 2.0, 3.0]);
        assert_eq!(spread.quality(2.0), 1.0);
        assert!(spread.quality(9.0) < spread.quality(3.0));
        assert_eq!(Spread::of(&[5.0]).quality(5.0), 1.0);
    }
}
