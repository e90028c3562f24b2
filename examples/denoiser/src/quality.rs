//! How much noise there is, where the voice alone is known.

/// How a recording compares to the voice in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// The power of the voice, divided by that of everything else, in decibels.
    pub(crate) signal_to_noise: f64,
    /// How loud the pauses of the voice are, in decibels below the loudest sound that there is.
    pub(crate) pauses: f64,
}

impl Quality {
    /// Compares `heard` to the `voice` in it.
    pub(crate) fn of(heard: &[f32], voice: &[f32]) -> Self {
        let pairs = || heard.iter().copied().zip(voice.iter().copied());
        let noise = power(pairs().map(|(heard, voice)| heard - voice));
        let pauses = power(pairs().filter(|&(_, voice)| voice == 0.0).map(|(heard, _)| heard));
        let signal = power(voice.iter().copied());
        Self { signal_to_noise: decibels(signal / noise), pauses: decibels(pauses) }
    }
}

/// The mean of the squares.
fn power(samples: impl Iterator<Item = f32>) -> f64 {
    let (sum, n) =
        samples.fold((0.0, 0.0), |(sum, n), sample| (sum + f64::from(sample).powi(2), n + 1.0));
    sum / n
}

fn decibels(ratio: f64) -> f64 {
    10.0 * ratio.log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_amplitude_is_20_decibels() {
        let voice = [1.0, -1.0, 0.0, 1.0];
        let quality = Quality::of(&[1.1, -1.1, 0.1, 1.1], &voice);
        assert!((quality.pauses + 20.0).abs() < 0.01, "{quality:?}");
        // Three of four samples are the voice.
        assert!((quality.signal_to_noise - 20.0 - decibels(0.75)).abs() < 0.01, "{quality:?}");
    }
}
