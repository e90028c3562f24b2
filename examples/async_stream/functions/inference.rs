//! Classification of images, batch by batch.
//!
//! The classifier is small but real: three features of the pixels, and the nearest of the classes'
//! centroids, which are learned from images that this program draws.

use std::array;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::time::Instant;

use easyremote::remote;
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

use super::images::{Image, PIXELS, SIDE, Shape};
use super::{rounded, timestamp};

/// An item of [`fn@async_ml_inference_stream`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InferenceBatch {
    /// From 1.
    pub(crate) batch_id: usize,
    /// Images in this batch.
    pub(crate) batch_size: usize,
    pub(crate) results: Vec<ImageResult>,
    pub(crate) processing_time: f64,
    /// Number of images processed so far, including this batch and refused batches.
    pub(crate) total_processed: usize,
    pub(crate) total_images: usize,
    pub(crate) timestamp: f64,
}

/// The classification of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageResult {
    pub(crate) image: String,
    pub(crate) prediction: Prediction,
}

/// The classifier's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    pub(crate) class: Shape,
    /// The probability of the class, from 0.25 to 1.
    pub(crate) confidence: f64,
    pub(crate) inference_time: f64,
}

/// A broken image: its batch has no results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrokenImage {
    pub(crate) batch_id: usize,
    pub(crate) image: String,
    pub(crate) pixels: usize,
    pub(crate) expected_pixels: usize,
}

impl fmt::Display for BrokenImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch_id, image, pixels, expected_pixels } = self;
        write!(f, "`{image}` in batch {batch_id} has {pixels} pixels instead of {expected_pixels}")
    }
}

impl std::error::Error for BrokenImage {}

/// Classifies `images`, `batch_size` at a time. A batch with a broken image is an error; the stream
/// continues with the next one.
#[remote(stream)]
pub(crate) fn async_ml_inference_stream(
    images: Vec<Image>,
    batch_size: NonZeroUsize,
) -> impl Stream<Item = Result<InferenceBatch, BrokenImage>> {
    // Train before the clock starts: training at the first use is not part of an inference.
    LazyLock::force(&CLASSIFIER);
    stream::unfold((images, 0_usize), move |(images, done)| async move {
        let end = images.len().min(done.saturating_add(batch_size.get()));
        let images_of_batch = images.get(done..end).filter(|batch| !batch.is_empty())?;
        let item = infer(done / batch_size + 1, images_of_batch).map(|batch| InferenceBatch {
            total_processed: end,
            total_images: images.len(),
            ..batch
        });
        // A batch computes without an await: yield to other tasks between two batches.
        tokio::task::yield_now().await;
        Some((item, (images, end)))
    })
}

fn infer(batch_id: usize, images: &[Image]) -> Result<InferenceBatch, BrokenImage> {
    let started = Instant::now();
    let classify = |image: &Image| {
        let started = Instant::now();
        let (class, confidence) = CLASSIFIER.classify(image).ok_or_else(|| BrokenImage {
            batch_id,
            image: image.name.clone(),
            pixels: image.pixels.len(),
            expected_pixels: PIXELS,
        })?;
        let inference_time = started.elapsed().as_secs_f64();
        let prediction = Prediction { class, confidence: rounded(confidence, 3), inference_time };
        Ok(ImageResult { image: image.name.clone(), prediction })
    };
    let results = images.iter().map(classify).collect::<Result<Vec<_>, _>>()?;
    Ok(InferenceBatch {
        batch_id,
        batch_size: images.len(),
        results,
        processing_time: started.elapsed().as_secs_f64(),
        total_processed: images.len(),
        total_images: images.len(),
        timestamp: timestamp(),
    })
}

/// The features of an image, relative to its contrast: the mean step from a pixel to the one to its
/// right, the mean step to the one below, and how much lighter the middle is than the rim.
type Features = [f64; 3];

/// Computes the features of an image; `None` if it is broken.
fn features(image: &Image) -> Option<Features> {
    if image.pixels.len() != PIXELS {
        return None;
    }
    let pixel = |x: usize, y: usize| f64::from(image.pixels[y * SIDE + x]);
    let (darkest, lightest) = (image.pixels.iter().min()?, image.pixels.iter().max()?);
    // A uniform image has no contrast to divide by, and no steps either.
    let contrast = f64::from(lightest - darkest).max(1.0);
    let places = || (0..PIXELS).map(|i| (i % SIDE, i / SIDE));
    let across = mean(
        places().filter(|(x, _)| x + 1 < SIDE).map(|(x, y)| (pixel(x + 1, y) - pixel(x, y)).abs()),
    );
    let down = mean(
        places().filter(|(_, y)| y + 1 < SIDE).map(|(x, y)| (pixel(x, y + 1) - pixel(x, y)).abs()),
    );
    let to_edge = |x: usize, y: usize| x.min(y).min(SIDE - 1 - x).min(SIDE - 1 - y);
    let ring = |from: usize, to: usize| {
        let inside = places().filter(move |(x, y)| (from..to).contains(&to_edge(*x, *y)));
        mean(inside.map(|(x, y)| pixel(x, y)))
    };
    Some([across, down, ring(5, 8) - ring(0, 2)].map(|feature| feature / contrast))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0_u32), |(sum, n), value| (sum + value, n + 1));
    sum / f64::from(n)
}

/// A nearest-centroid classifier.
struct Classifier {
    /// In the order of [`Shape::ALL`].
    centroids: [Features; 4],
    /// The variance of one feature around the centroids of the classes, over all training images.
    variance: f64,
}

static CLASSIFIER: LazyLock<Classifier> = LazyLock::new(Classifier::train);

impl Classifier {
    fn train() -> Self {
        /// Number of training images per class. Callers' images usually have other variants.
        const VARIANTS: std::ops::Range<u64> = 1_000_000..1_000_048;
        let examples = Shape::ALL.map(|shape| {
            let images = VARIANTS.map(|variant| Image::draw(shape, variant));
            images.filter_map(|image| features(&image)).collect::<Vec<_>>()
        });
        let centroids = array::from_fn(|class| {
            array::from_fn(|i| mean(examples[class].iter().map(|features| features[i])))
        });
        let distances = examples.iter().zip(&centroids).flat_map(|(examples, centroid)| {
            examples.iter().map(|features| distance_squared(features, centroid))
        });
        let variance = mean(distances) / 3.0;
        Self { centroids, variance }
    }

    /// Returns the most probable class and its probability, assuming that all classes are equally
    /// frequent and their features normally distributed around the centroids. `None` for a broken
    /// image.
    fn classify(&self, image: &Image) -> Option<(Shape, f64)> {
        let features = features(image)?;
        let distances =
            self.centroids.map(|centroid| distance_squared(&features, &centroid) / self.variance);
        let nearest = distances.into_iter().fold(f64::INFINITY, f64::min);
        // Relative to the nearest, so that not all of them round to zero.
        let likelihoods = distances.map(|distance| ((nearest - distance) / 2.0).exp());
        let class = distances.iter().position(|distance| *distance == nearest)?;
        Some((Shape::ALL[class], likelihoods[class] / likelihoods.iter().sum::<f64>()))
    }
}

fn distance_squared(a: &Features, b: &Features) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[test]
    fn images_that_it_was_not_trained_on_are_classified() {
        for shape in Shape::ALL {
            for variant in 0..250 {
                let (class, confidence) =
                    CLASSIFIER.classify(&Image::draw(shape, variant)).unwrap();
                assert_eq!(class, shape, "variant {variant}, confidence {confidence}");
                assert!((0.25..=1.0).contains(&confidence));
            }
        }
    }

    #[test]
    fn confidence_is_low_where_nothing_can_be_seen() {
        let blank = Image { name: "blank".into(), pixels: vec![128; PIXELS] };
        let (_, confidence) = CLASSIFIER.classify(&blank).unwrap();
        assert!(confidence < 0.7, "{confidence}");
    }

    #[tokio::test]
    async fn a_broken_image_costs_its_batch_only() {
        let mut images: Vec<_> = (0..7).map(|i| Image::draw(Shape::Disc, i)).collect();
        images[2] = Image::broken(2);
        let batch_size = NonZeroUsize::new(2).unwrap();
        let items: Vec<_> = async_ml_inference_stream(images, batch_size).collect().await;
        let sizes: Vec<_> =
            items.iter().map(|item| item.as_ref().map(|batch| batch.batch_size)).collect();
        let broken = BrokenImage {
            batch_id: 2,
            image: "broken-2".into(),
            pixels: 128,
            expected_pixels: 256,
        };
        assert_eq!(sizes, [Ok(2), Err(&broken), Ok(2), Ok(1)]);
        let last = items[3].as_ref().unwrap();
        assert_eq!((last.batch_id, last.total_processed, last.total_images), (4, 7, 7));
    }
}
