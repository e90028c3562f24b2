//! What the node offers: speech comes in, speech without noise goes out, 10 ms at a time.

use std::future::ready;

use easyremote::remote;
use futures::{Stream, StreamExt, stream};
use nnnoiseless::{DenoiseState, RnnModel};

/// One channel of sound: samples from -1 to 1, 48,000 a second.
pub(crate) type Frame = Vec<f32>;

/// Samples in a second, as the network has learned it.
pub(crate) const SAMPLE_RATE: u32 = 48_000;

/// Samples in 10 ms, which the network takes at a time.
pub(crate) const FRAME: usize = DenoiseState::FRAME_SIZE;

/// The network takes samples of 16 bits.
const SCALE: f32 = 32_768.0;

/// Removes the noise from speech while it is spoken.
///
/// Each frame that is returned has 10 ms, and leaves as soon as the 10 ms after it have arrived.
/// Frames of any length may be sent; the last one is filled up with silence.
#[remote(stream)]
pub(crate) fn denoise(
    // Loaded once by the node. All calls read it.
    #[state] weights: &RnnModel,
    frames: impl Stream<Item = Frame>,
) -> impl Stream<Item = Frame> {
    // What the network remembers of one speaker. It belongs to this call, and is dropped with it.
    let mut memory = DenoiseState::with_model(weights);
    let frames = frames.flat_map(stream::iter).chunks(FRAME);
    // The network's windows overlap: each frame completes the one before it, and silence the last.
    let frames = frames.chain(stream::once(ready(Frame::new())));
    let clean = frames.map(move |mut frame| {
        frame.resize(FRAME, 0.0);
        frame.iter_mut().for_each(|sample| *sample *= SCALE);
        let mut clean = vec![0.0; FRAME];
        // Takes some 0.1 ms, so it may run where the frame arrives. A function that computes for
        // longer returns an iterator, which has a thread.
        memory.process_frame(&mut clean, &frame);
        clean.iter_mut().for_each(|sample| *sample /= SCALE);
        clean
    });
    clean.skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::Quality;
    use crate::voice::Recording;

    async fn denoised(frames: Vec<Frame>) -> Vec<Frame> {
        denoise(&RnnModel::default(), stream::iter(frames)).collect().await
    }

    /// Cuts `samples` into frames of random lengths, some of them empty.
    fn cut(random: &mut fastrand::Rng, mut samples: &[f32]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !samples.is_empty() {
            let (frame, rest) = samples.split_at(random.usize(0..=samples.len().min(1_500)));
            frames.push(frame.to_vec());
            samples = rest;
        }
        frames
    }

    #[tokio::test]
    async fn how_the_samples_are_cut_does_not_matter() {
        let mut random = fastrand::Rng::with_seed(1);
        let recording = Recording::new(1, 0.5).noisy;
        for n_samples in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3_000, recording.len()] {
            let samples = &recording[..n_samples];
            let expected = denoised(samples.chunks(FRAME).map(<[f32]>::to_vec).collect()).await;
            assert_eq!(expected.len(), n_samples.div_ceil(FRAME));
            assert!(expected.iter().all(|frame| frame.len() == FRAME));
            assert!(denoised(cut(&mut random, samples)).await == expected, "{n_samples} samples");
        }
    }

    #[tokio::test]
    async fn the_noise_is_quieter_and_the_voice_is_clearer() {
        let recording = Recording::new(0, 2.0);
        let clean = denoised(vec![recording.noisy.clone()]).await.concat();
        let (before, after) = (
            Quality::of(&recording.noisy, &recording.clean),
            Quality::of(&clean, &recording.clean),
        );
        assert!(after.signal_to_noise > before.signal_to_noise + 1.0, "{before:?} {after:?}");
        assert!(after.pauses < before.pauses - 10.0, "{before:?} {after:?}");
    }
}
