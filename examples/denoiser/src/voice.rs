//! Speech that needs no recording: a voice made of glottal pulses and formants, and the noise of
//! a fan. The same seed makes the same samples.

use std::f32::consts::TAU;

use crate::network::SAMPLE_RATE;

/// What one person says, alone and as a microphone hears it.
pub(crate) struct Recording {
    /// The voice. Exactly zero in the pauses between phrases.
    pub(crate) clean: Vec<f32>,
    /// The voice and the noise of the room.
    pub(crate) noisy: Vec<f32>,
}

impl Recording {
    /// Makes a recording of `seconds`. Each `seed` is another person, who says something else.
    pub(crate) fn new(seed: u64, seconds: f32) -> Self {
        let n_samples = (seconds * SAMPLE_RATE as f32) as usize;
        let mut random = fastrand::Rng::with_seed(seed);
        let clean = speech(&mut random, n_samples);
        let mut fan = Fan::default();
        let noisy = clean.iter().map(|sample| sample + fan.next(&mut random)).collect();
        Self { clean, noisy }
    }
}

/// The first three formants of vowels, in hertz (Peterson and Barney, 1952).
const VOWELS: [[f32; 3]; 6] = [
    [730.0, 1090.0, 2440.0], // as in "father"
    [270.0, 2290.0, 3010.0], // "see"
    [300.0, 870.0, 2240.0],  // "boot"
    [530.0, 1840.0, 2480.0], // "bed"
    [570.0, 840.0, 2410.0],  // "law"
    [660.0, 1720.0, 2410.0], // "cat"
];

/// The root mean square of all samples of a voice, where 1 is the loudest that there is.
const LOUDNESS: f32 = 0.08;

/// Phrases of three to six syllables, with pauses between them.
fn speech(random: &mut fastrand::Rng, n_samples: usize) -> Vec<f32> {
    let pitch = 95.0 + 125.0 * random.f32();
    let mut voice = Voice::default();
    let mut samples = vec![0.0; samples_in(0.15)];
    while samples.len() < n_samples {
        let n_syllables = random.u32(3..=6);
        for syllable in 0..n_syllables {
            if random.bool() {
                voice.hiss(random, &mut samples);
            }
            // The pitch falls towards the end of a phrase.
            let fall = 1.15 - 0.3 * syllable as f32 / n_syllables as f32;
            let seconds = 0.12 + 0.12 * random.f32();
            let [from, to] = [(); 2].map(|()| VOWELS[random.usize(..VOWELS.len())]);
            voice.vowel(pitch * fall, seconds, from, to, &mut samples);
        }
        samples.resize(samples.len() + samples_in(0.25 + 0.2 * random.f32()), 0.0);
    }
    samples.truncate(n_samples);
    let power = samples.iter().map(|sample| sample * sample).sum::<f32>() / n_samples as f32;
    let gain = LOUDNESS / power.sqrt();
    samples.iter().map(|sample| gain * sample).collect()
}

/// A larynx and the mouth above it.
#[derive(Default)]
struct Voice {
    /// Where the vocal folds are in their cycle, from 0 to 1.
    phase: f32,
    formants: [Resonator; 3],
    hiss: Resonator,
}

impl Voice {
    /// A consonant: 60 ms of breath between the teeth.
    fn hiss(&mut self, random: &mut fastrand::Rng, samples: &mut Vec<f32>) {
        self.hiss.tune(5_500.0, 1_800.0);
        let n_samples = samples_in(0.06);
        samples.extend((0..n_samples).map(|n| {
            let breath = random.f32() - 0.5;
            0.25 * swell(n, n_samples) * self.hiss.next(breath)
        }));
    }

    /// A vowel that becomes another one.
    fn vowel(
        &mut self,
        pitch: f32,
        seconds: f32,
        from: [f32; 3],
        to: [f32; 3],
        samples: &mut Vec<f32>,
    ) {
        let n_samples = samples_in(seconds);
        for n in 0..n_samples {
            // Once a millisecond: the mouth moves slowly.
            if n % 48 == 0 {
                let done = n as f32 / n_samples as f32;
                for (formant, (from, to)) in self.formants.iter_mut().zip(from.iter().zip(to)) {
                    let frequency = from + (to - from) * done;
                    formant.tune(frequency, 50.0 + 0.03 * frequency);
                }
            }
            let vibrato = 1.0 + 0.02 * (TAU * 5.0 * n as f32 / SAMPLE_RATE as f32).sin();
            self.phase = (self.phase + pitch * vibrato / SAMPLE_RATE as f32).fract();
            let air = flow(self.phase);
            let [low, middle, high] = &mut self.formants;
            let mouth = low.next(air) + 0.5 * middle.next(air) + 0.25 * high.next(air);
            samples.push(0.35 * swell(n, n_samples) * mouth);
        }
    }
}

/// The air that flows through the vocal folds at `phase` of their cycle, less its mean: it swells
/// while they are open, and is cut off when they shut.
fn flow(phase: f32) -> f32 {
    let open = if phase < 0.6 { (TAU * phase / 1.2).sin() * (0.6 - phase) } else { 0.0 };
    open - 0.115
}

/// A syllable's loudness at sample `n` of `of`: it rises within 20 ms, and falls as fast.
fn swell(n: usize, of: usize) -> f32 {
    let edge = n.min(of - 1 - n) as f32 / samples_in(0.02) as f32;
    0.5 - 0.5 * (0.5 * TAU * edge.min(1.0)).cos()
}

/// A resonance: a filter with two poles.
#[derive(Default)]
struct Resonator {
    gain: f32,
    feedback: [f32; 2],
    memory: [f32; 2],
}

impl Resonator {
    /// Sets the resonance's frequency and bandwidth, in hertz.
    fn tune(&mut self, frequency: f32, bandwidth: f32) {
        let radius = (-0.5 * TAU * bandwidth / SAMPLE_RATE as f32).exp();
        let angle = TAU * frequency / SAMPLE_RATE as f32;
        self.feedback = [2.0 * radius * angle.cos(), -radius * radius];
        self.gain = (1.0 - radius) * 8.0;
    }

    fn next(&mut self, input: f32) -> f32 {
        let [last, before] = self.memory;
        let output = self.gain * input + self.feedback[0] * last + self.feedback[1] * before;
        self.memory = [output, last];
        output
    }
}

/// A fan: a steady rumble and some hiss.
#[derive(Default)]
struct Fan {
    rumble: f32,
}

impl Fan {
    fn next(&mut self, random: &mut fastrand::Rng) -> f32 {
        let white = random.f32() - 0.5;
        self.rumble += 0.04 * (white - self.rumble);
        0.7 * self.rumble + 0.04 * white
    }
}

fn samples_in(seconds: f32) -> usize {
    (seconds * SAMPLE_RATE as f32) as usize
}
