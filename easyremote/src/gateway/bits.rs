//! Sets of places as bits, so that what nodes have in common is found for 64 of them at a time.

use std::ops::Range;

/// A set of small numbers. Takes a bit for each number from about its least to its greatest.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    /// The number of the first word.
    first: usize,
    /// No zeros at either end.
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn insert(&mut self, n: usize) {
        let (word, bit) = split(n);
        if self.words.is_empty() {
            self.first = word;
        }
        if word < self.first {
            self.words.splice(..0, std::iter::repeat_n(0, self.first - word));
            self.first = word;
        }
        let i = word - self.first;
        if i >= self.words.len() {
            self.words.resize(i + 1, 0);
        }
        self.words[i] |= bit;
    }

    pub(super) fn remove(&mut self, n: usize) {
        let (word, bit) = split(n);
        if let Some(word) = word.checked_sub(self.first).and_then(|i| self.words.get_mut(i)) {
            *word &= !bit;
            self.trim();
        }
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
        let zeros = self.words.iter().take_while(|word| **word == 0).count();
        self.words.drain(..zeros);
        self.first += zeros;
    }

    pub(super) fn contains(&self, n: usize) -> bool {
        let (word, bit) = split(n);
        self.word(word) & bit != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Becomes what all of `sets`, of which there is one at least, have in common.
    pub(super) fn set_to_common(&mut self, sets: &[&Self]) {
        let start = sets.iter().map(|set| set.range().start).max().unwrap_or(0);
        let end = sets.iter().map(|set| set.range().end).min().unwrap_or(0);
        self.first = start;
        self.words.clear();
        let common = |word| sets.iter().fold(u64::MAX, |all, set| all & set.word(word));
        self.words.extend((start..end).map(common));
        self.trim();
    }

    /// Takes out what is in `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        for (i, word) in self.words.iter_mut().enumerate() {
            *word &= !other.word(self.first + i);
        }
        self.trim();
    }

    /// The number of which `n` others are less.
    pub(super) fn nth(&self, mut n: usize) -> Option<usize> {
        for (i, &word) in self.words.iter().enumerate() {
            let ones = word.count_ones() as usize;
            if n < ones {
                let word = (0..n).fold(word, |word, _| word & (word - 1));
                return Some((self.first + i) * 64 + word.trailing_zeros() as usize);
            }
            n -= ones;
        }
        None
    }

    /// All of them, from the least to the greatest.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let bits = |mut word: u64| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize);
                word &= word.wrapping_sub(1);
                bit
            })
        };
        let words = self.words.iter().zip(self.range());
        words.flat_map(move |(&word, number)| bits(word).map(move |bit| number * 64 + bit))
    }

    /// Those words that there are.
    fn range(&self) -> Range<usize> {
        self.first..self.first + self.words.len()
    }

    fn word(&self, word: usize) -> u64 {
        let i = word.checked_sub(self.first);
        i.and_then(|i| self.words.get(i)).copied().unwrap_or(0)
    }
}

/// The word and the bit of a number.
fn split(n: usize) -> (usize, u64) {
    (n / 64, 1 << (n % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn random(rng: &mut fastrand::Rng) -> (Bits, BTreeSet<usize>) {
        let (mut bits, mut set) = (Bits::default(), BTreeSet::new());
        let range = rng.usize(0..500)..rng.usize(501..700);
        for _ in 0..rng.usize(..200) {
            let n = rng.usize(range.clone());
            if rng.u8(..3) == 0 {
                bits.remove(n);
                set.remove(&n);
            } else {
                bits.insert(n);
                set.insert(n);
            }
        }
        (bits, set)
    }

    #[test]
    fn they_are_sets() {
        for seed in 0..500 {
            let rng = &mut fastrand::Rng::with_seed(seed);
            let ((a, in_a), (b, in_b)) = (random(rng), random(rng));
            assert!(a.iter().eq(in_a.iter().copied()), "seed {seed}");
            assert_eq!((a.count(), a.is_empty()), (in_a.len(), in_a.is_empty()));
            assert!((0..700).all(|n| a.contains(n) == in_a.contains(&n)));
            assert!((0..=in_a.len()).all(|n| a.nth(n) == in_a.iter().nth(n).copied()));
            let mut both = Bits::default();
            both.set_to_common(&[&a, &b]);
            assert!(both.iter().eq(in_a.intersection(&in_b).copied()), "seed {seed}");
            let mut rest = a.clone();
            rest.subtract(&b);
            assert!(rest.iter().eq(in_a.difference(&in_b).copied()), "seed {seed}");
            assert_eq!(rest.is_empty(), in_a.is_subset(&in_b));
        }
    }
}
