//! The two ways to call: with a recording, as fast as the node computes, or live.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use easyremote::{Client, Error};
use futures::{Stream, TryStreamExt, stream};
use tokio::time::interval;

use crate::network::{FRAME, Frame, SAMPLE_RATE, denoise};

/// Denoises a recording. Frames are sent ahead of the answers, as far as the node keeps up.
pub(crate) async fn recorded(client: &Client, samples: &[f32]) -> Result<Vec<f32>, Error> {
    let clean = denoise::call(client, stream::iter(frames(samples)));
    let mut clean = clean.try_concat().await?;
    clean.truncate(samples.len());
    Ok(clean)
}

/// Denoises what a microphone hears: sends a frame every 10 ms. Also returns how long each answer
/// took, from the frame that completes it.
pub(crate) async fn live(
    client: &Client,
    samples: &[f32],
) -> Result<(Vec<f32>, Vec<Duration>), Error> {
    let (sent, sent_at) = mpsc::channel();
    let answers = denoise::call(client, microphone(frames(samples), sent));
    let answers: Vec<_> = answers.map_ok(|frame| (frame, Instant::now())).try_collect().await?;
    // The answer to the first frame comes with the second one, as the next frame tells the network
    // how this one ends.
    let latencies = sent_at.try_iter().skip(1).zip(&answers);
    let latencies = latencies.map(|(sent, (_, arrived))| *arrived - sent).collect();
    let mut clean: Vec<_> = answers.into_iter().flat_map(|(frame, _)| frame).collect();
    clean.truncate(samples.len());
    Ok((clean, latencies))
}

/// Yields a frame every 10 ms. Tells `sent` the time of each, and of the end 10 ms after the last.
fn microphone(frames: Vec<Frame>, sent: mpsc::Sender<Instant>) -> impl Stream<Item = Frame> {
    let clock = interval(Duration::from_secs(1) * FRAME as u32 / SAMPLE_RATE);
    let start = (frames.into_iter(), clock, sent);
    stream::unfold(start, |(mut frames, mut clock, sent)| async move {
        clock.tick().await;
        // Nobody listens any more if the call is over.
        let _ = sent.send(Instant::now());
        Some((frames.next()?, (frames, clock, sent)))
    })
}

/// Cuts samples into frames of 10 ms.
pub(crate) fn frames(samples: &[f32]) -> Vec<Frame> {
    samples.chunks(FRAME).map(<[f32]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use easyremote::functions;
    use easyremote::testing::World;
    use futures::StreamExt;
    use futures::channel::mpsc::unbounded;
    use futures::future::try_join_all;
    use nnnoiseless::RnnModel;

    use crate::voice::Recording;

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("it takes too long")
    }

    async fn world() -> World {
        let functions = functions![denoise];
        let world = World::builder()
            .node(|node| node.functions(functions).state(RnnModel::default()))
            .serve();
        world.await.unwrap()
    }

    /// Four speakers, and what each of them sounds like without the noise when no one else calls.
    async fn speakers() -> Vec<(Vec<f32>, Vec<f32>)> {
        let mut speakers = Vec::new();
        for seed in 0..4 {
            let noisy = Recording::new(seed, 0.5).noisy;
            let alone = denoise(&RnnModel::default(), stream::iter(frames(&noisy))).concat().await;
            speakers.push((noisy, alone));
        }
        speakers
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn callers_at_once_hear_what_each_hears_alone() {
        let (world, speakers) = (world().await, speakers().await);
        let calls = speakers.iter().map(|(noisy, _)| recorded(world.client(), noisy));
        let together = soon(try_join_all(calls)).await.unwrap();
        let calls = speakers.iter().map(|(noisy, _)| live(world.client(), noisy));
        let lively = soon(try_join_all(calls)).await.unwrap();
        for (n, (noisy, alone)) in speakers.iter().enumerate() {
            assert!(together[n] == *alone, "speaker {n}");
            assert!(lively[n].0 == *alone, "speaker {n}, live");
            assert_eq!(lively[n].1.len(), frames(noisy).len(), "a time for each frame");
        }
    }

    #[tokio::test]
    async fn frames_in_turn_do_not_mix_the_speakers() {
        let (world, speakers) = (world().await, speakers().await);
        let mut calls = Vec::new();
        for (noisy, _) in &speakers {
            let (send, microphone) = unbounded();
            let clean = denoise::call(world.client(), microphone);
            calls.push((frames(noisy).into_iter(), send, clean, Vec::new()));
        }
        // A frame of each and the answer to it, before the next frame of anyone.
        for n in 0..frames(&speakers[0].0).len() {
            for (frames, send, clean, heard) in &mut calls {
                send.unbounded_send(frames.next().unwrap()).unwrap();
                // The first frame is answered with the second.
                if n > 0 {
                    heard.extend(soon(clean.next()).await.unwrap().unwrap());
                }
            }
        }
        for ((_, send, clean, mut heard), (_, alone)) in calls.into_iter().zip(&speakers) {
            drop(send);
            heard.extend(soon(clean.try_concat()).await.unwrap());
            assert!(heard == *alone);
        }
    }
}
