//! Sentiment of a text, by a small lexicon.
//!
//! The method is that of VADER (Hutto and Gilbert 2014), reduced to its core: words have weights,
//! degree words make them stronger or weaker, a negation up to three words before turns them
//! round, and the sum is squeezed into [-1, 1].

use std::time::Instant;

use easyremote::remote;
use serde::{Deserialize, Serialize};

use super::{rounded, seconds, timestamp};

/// The result of [`fn@async_ai_simulation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Analysis {
    pub(crate) input_text: String,
    pub(crate) sentiment: Sentiment,
    /// From -1, bad, to 1, good.
    pub(crate) sentiment_score: f64,
    /// From 0 (no evidence, or contradictory evidence) to 1.
    pub(crate) confidence: f64,
    pub(crate) word_count: usize,
    pub(crate) processing_time: f64,
    pub(crate) model: String,
    pub(crate) timestamp: f64,
}

/// The sentiment of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sentiment {
    Positive,
    Neutral,
    Negative,
}

/// Analyses `text`, after the `model_delay` seconds that a large model would take.
#[remote]
pub(crate) async fn async_ai_simulation(text: String, model_delay: f64) -> Analysis {
    let started = Instant::now();
    tokio::time::sleep(seconds(model_delay)).await;
    let evidence = Evidence::of(&text);
    Analysis {
        sentiment: evidence.sentiment(),
        sentiment_score: rounded(evidence.score(), 3),
        confidence: rounded(evidence.confidence(), 3),
        word_count: text.split_whitespace().count(),
        input_text: text,
        processing_time: started.elapsed().as_secs_f64(),
        model: "lexicon_v1.0".to_owned(),
        timestamp: timestamp(),
    }
}

/// The weights of a text's words, summed up.
#[derive(Debug, Default)]
struct Evidence {
    /// Sum of the weights.
    sum: f64,
    /// Sum of the weights without their signs.
    strength: f64,
    /// Number of words that have a weight.
    words: u32,
}

impl Evidence {
    fn of(text: &str) -> Self {
        let mut evidence = Self::default();
        let mut context = Context::default();
        // Also accept a typographic apostrophe.
        for word in text.to_lowercase().replace('’', "'").split_whitespace() {
            let (before, after) = (word.starts_with(ends_clause), word.ends_with(ends_clause));
            if before {
                context = Context::default();
            }
            for word in word.split(|c: char| !c.is_alphanumeric() && c != '\'') {
                evidence.add(word.trim_matches('\''), &mut context);
            }
            if after {
                context = Context::default();
            }
        }
        evidence
    }

    fn add(&mut self, word: &str, context: &mut Context) {
        if word.is_empty() {
            return;
        }
        if let Some(weight) = weight(word) {
            let weight = weight * context.factor();
            self.sum += weight;
            self.strength += weight.abs();
            self.words += 1;
            context.degree = None;
        }
        context.read(word);
    }

    /// VADER's normalisation: single words stay small, many approach 1.
    fn score(&self) -> f64 {
        const SOFTNESS: f64 = 15.0;
        self.sum / (self.sum * self.sum + SOFTNESS).sqrt()
    }

    fn sentiment(&self) -> Sentiment {
        /// VADER's limit of a neutral score.
        const NEUTRAL: f64 = 0.05;
        match self.score() {
            score if score >= NEUTRAL => Sentiment::Positive,
            score if score <= -NEUTRAL => Sentiment::Negative,
            _ => Sentiment::Neutral,
        }
    }

    /// How far the words agree, times how many there are: n / (n + 1).
    fn confidence(&self) -> f64 {
        if self.words == 0 {
            return 0.0;
        }
        let agreement = self.sum.abs() / self.strength;
        agreement * f64::from(self.words) / f64::from(self.words + 1)
    }
}

/// The effect of the preceding words on a word.
#[derive(Debug, Default)]
struct Context {
    /// Number of further words that a negation affects.
    negated: u8,
    /// How much stronger or weaker the next word is.
    degree: Option<f64>,
}

impl Context {
    /// "not good" is bad, but less so than "bad": VADER's -0.74.
    const NEGATION: f64 = -0.74;
    const REACH: u8 = 3;

    fn factor(&self) -> f64 {
        let sign = if self.negated > 0 { Self::NEGATION } else { 1.0 };
        sign * self.degree.unwrap_or(1.0)
    }

    fn read(&mut self, word: &str) {
        self.negated = self.negated.saturating_sub(1);
        if NEGATIONS.contains(&word) || word.ends_with("n't") {
            self.negated = Self::REACH;
        } else if word == "but" {
            *self = Self::default();
        } else if let Some((_, degree)) = DEGREES.iter().find(|(other, _)| *other == word) {
            self.degree = Some(*degree);
        } else if weight(word).is_none() {
            self.degree = None;
        }
    }
}

fn ends_clause(c: char) -> bool {
    matches!(c, ',' | ';' | ':' | '.' | '!' | '?' | '(' | ')')
}

fn weight(word: &str) -> Option<f64> {
    let found = LEXICON.binary_search_by_key(&word, |(word, _)| word).ok()?;
    Some(f64::from(LEXICON[found].1))
}

const NEGATIONS: [&str; 10] =
    ["cannot", "hardly", "neither", "never", "no", "nobody", "nor", "not", "nothing", "without"];

const DEGREES: [(&str, f64); 14] = [
    ("absolutely", 1.5),
    ("barely", 0.5),
    ("completely", 1.5),
    ("extremely", 1.7),
    ("fairly", 0.8),
    ("incredibly", 1.7),
    ("pretty", 1.1),
    ("quite", 1.1),
    ("rather", 0.9),
    ("really", 1.4),
    ("slightly", 0.5),
    ("so", 1.3),
    ("somewhat", 0.6),
    ("very", 1.5),
];

/// Words and their weights from -4 to 4, by word.
#[rustfmt::skip]
const LEXICON: [(&str, i8); 104] = [
    ("amazing", 3), ("angry", -2), ("annoying", -2), ("awesome", 3), ("awful", -3),
    ("bad", -2), ("beautiful", 3), ("best", 3), ("better", 2), ("boring", -2),
    ("brilliant", 3), ("broke", -2), ("broken", -2), ("bug", -1), ("buggy", -2),
    ("calm", 1), ("charming", 3), ("clean", 1), ("clear", 1), ("clumsy", -1),
    ("comfortable", 2), ("confusing", -2), ("crash", -2), ("crashes", -2), ("dead", -3),
    ("delicious", 3), ("delight", 3), ("delightful", 3), ("difficult", -1), ("dirty", -2),
    ("disappointed", -2), ("disappointing", -2), ("disaster", -3), ("dull", -2), ("easy", 2),
    ("elegant", 2), ("enjoy", 2), ("enjoyed", 2), ("error", -1), ("excellent", 3),
    ("excited", 2), ("exciting", 2), ("fail", -2), ("failed", -2), ("fails", -2),
    ("fantastic", 3), ("fast", 1), ("fine", 1), ("friendly", 2), ("fun", 2),
    ("glad", 2), ("good", 2), ("great", 3), ("happy", 3), ("hate", -3),
    ("hated", -3), ("helpful", 2), ("helpless", -2), ("horrible", -3), ("hurt", -2),
    ("impressive", 2), ("joy", 3), ("kind", 2), ("lost", -1), ("love", 3),
    ("loved", 3), ("lovely", 3), ("mess", -2), ("nasty", -3), ("nice", 2),
    ("outstanding", 3), ("pain", -2), ("painful", -2), ("perfect", 3), ("pleasant", 2),
    ("pleased", 2), ("poor", -2), ("problem", -1), ("problems", -1), ("reliable", 2),
    ("rude", -2), ("sad", -2), ("scary", -2), ("slow", -1), ("smooth", 1),
    ("solid", 1), ("stupid", -3), ("success", 2), ("superb", 3), ("terrible", -3),
    ("thank", 2), ("thanks", 2), ("tired", -1), ("ugly", -2), ("unhappy", -2),
    ("unreliable", -2), ("useful", 2), ("useless", -2), ("waste", -2), ("wonderful", 3),
    ("worried", -1), ("worse", -2), ("worst", -3), ("wrong", -2),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lexicon_is_sorted() {
        assert!(LEXICON.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn sentiment_follows_from_the_words() {
        for (text, expected) in [
            ("I love this wonderful library!", Sentiment::Positive),
            ("What a terrible, useless mess.", Sentiment::Negative),
            ("The gateway listens on port 8080.", Sentiment::Neutral),
            ("This is not good.", Sentiment::Negative),
            ("It isn’t a bad idea", Sentiment::Positive),
            ("Not bad at all", Sentiment::Positive),
            ("No problems, everything is perfect", Sentiment::Positive),
            ("No, it is good", Sentiment::Positive),
            ("It is not slow but terrible", Sentiment::Negative),
            ("Never a dull moment", Sentiment::Positive),
            ("", Sentiment::Neutral),
        ] {
            let evidence = Evidence::of(text);
            assert_eq!(evidence.sentiment(), expected, "{text}: {evidence:?}");
        }
    }

    #[test]
    fn degree_words_change_the_strength() {
        let score = |text| Evidence::of(text).score();
        assert!(score("very good") > score("good"));
        assert!(score("slightly good") < score("good"));
        assert!(score("not very good") < score("not good"));
        assert!(score("good, very") == score("good"));
    }

    #[test]
    fn confidence_grows_with_evidence_and_falls_with_contradiction() {
        let confidence = |text| Evidence::of(text).confidence();
        assert_eq!(confidence("a stone"), 0.0);
        assert!(confidence("good, great and reliable") > confidence("good"));
        assert!(confidence("good but bad") < confidence("good"));
        let long = Evidence::of(&"wonderful ".repeat(1_000));
        assert!(long.score() <= 1.0 && long.confidence() <= 1.0);
    }
}
