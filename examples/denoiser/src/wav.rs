//! Sound in files.

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::Failure;
use crate::network::SAMPLE_RATE;

/// Reads all channels of a file, each as samples from -1 to 1.
///
/// # Errors
/// If the file is no WAV file, or has another sample rate than the network.
pub(crate) fn read(path: &str) -> Result<Vec<Vec<f32>>, Failure> {
    let named = |error| format!("{path}: {error}");
    let mut file = WavReader::open(path).map_err(named)?;
    let spec = file.spec();
    if spec.sample_rate != SAMPLE_RATE {
        let rate = spec.sample_rate;
        return Err(format!(
            "{path} has {rate} samples a second, and the network takes {SAMPLE_RATE}: convert it, \
             as with `sox {path} -r {SAMPLE_RATE} converted.wav`"
        )
        .into());
    }
    let samples: Result<Vec<f32>, _> = match spec.sample_format {
        SampleFormat::Float => file.samples().collect(),
        SampleFormat::Int => {
            let loudest = 2_f32.powi(i32::from(spec.bits_per_sample) - 1);
            file.samples::<i32>().map(|sample| Ok(sample? as f32 / loudest)).collect()
        }
    };
    let (samples, n_channels) = (samples.map_err(named)?, usize::from(spec.channels));
    let channel = |n| samples.iter().skip(n).step_by(n_channels).copied().collect();
    Ok((0..n_channels).map(channel).collect())
}

/// Writes a file of 16 bits a sample. All `channels` have the same number of samples.
pub(crate) fn write(path: &str, channels: &[Vec<f32>]) -> Result<(), Failure> {
    let spec = WavSpec {
        channels: channels.len().try_into()?,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let named = |error| format!("{path}: {error}");
    let mut file = WavWriter::create(path, spec).map_err(named)?;
    for n in 0..channels.first().map_or(0, Vec::len) {
        for channel in channels {
            // Louder than the loudest becomes the loudest.
            file.write_sample((channel[n] * 32_768.0).round() as i16).map_err(named)?;
        }
    }
    Ok(file.finalize().map_err(named)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_back_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("two channels.wav");
        let path = path.to_str().unwrap();
        let channels = vec![vec![0.0, 0.5, -1.0], vec![0.25, -0.125, 2.0]];
        write(path, &channels).unwrap();
        let read = read(path).unwrap();
        assert_eq!(read[0], channels[0]);
        assert_eq!(read[1], [0.25, -0.125, 32_767.0 / 32_768.0], "the last one was too loud");
    }

    #[test]
    fn another_sample_rate_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("telephone.wav");
        let path = path.to_str().unwrap();
        let spec = WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
        };
        WavWriter::create(path, spec).unwrap().finalize().unwrap();
        let error = read(path).unwrap_err().to_string();
        assert!(error.contains("8000") && error.contains("sox"), "{error}");
        let error = read("nothing.wav").unwrap_err().to_string();
        assert!(error.starts_with("nothing.wav: "), "{error}");
    }
}
