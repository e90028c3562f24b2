//! Reads the text formats of Prometheus, and checks that they keep their rules.

use std::collections::{BTreeMap, BTreeSet};

pub type Labels = BTreeMap<String, String>;

/// What a text says: the types of families, and the values of series.
#[derive(Debug, Default)]
pub struct Exposition {
    /// By name, as the text has it.
    pub types: BTreeMap<String, String>,
    pub units: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a text in either format. Panics where it breaks a rule: a family without a help or a type,
    /// in two pieces or without samples, a series that comes twice, or a line that is none.
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        let (mut helped, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut family = String::new();
        for line in text.lines() {
            if line == "# EOF" {
                break;
            }
            if let Some(comment) = line.strip_prefix("# ") {
                let (kind, rest) = comment.split_once(' ').unwrap();
                let (name, said) = rest.split_once(' ').unwrap();
                match kind {
                    "HELP" => {
                        assert!(helped.insert(name.to_owned()) && said.ends_with('.'), "{line}")
                    }
                    "TYPE" => {
                        assert!(helped.contains(name), "{line}");
                        family = name.to_owned();
                        assert!(read.types.insert(family.clone(), said.to_owned()).is_none());
                    }
                    "UNIT" => {
                        assert!(name.ends_with(&format!("_{said}")), "{line}");
                        read.units.insert(name.to_owned(), said.to_owned());
                    }
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (name, labels, value) = sample(line);
            assert!(read.belongs(&name, &family), "{line} in {family}");
            seen.insert(family.clone());
            assert!(read.samples.insert((name, labels), value).is_none(), "twice: {line}");
        }
        assert_eq!(seen, helped, "each family has samples");
        assert!(text.ends_with('\n'));
        read
    }

    /// Whether a sample of this name is one of `family`.
    fn belongs(&self, name: &str, family: &str) -> bool {
        let suffixes: &[&str] = match &*self.types[family] {
            "histogram" => &["_bucket", "_count", "_sum"],
            // The older format has it in the name of the family.
            "counter" => &["_total", ""],
            "gauge" => &[""],
            other => panic!("{family} is a {other}"),
        };
        suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(family))
    }

    /// Returns the value of a series; `None` if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// Returns all series of a name.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Labels, f64)> + 'a {
        self.samples
            .iter()
            .filter(move |((it, _), _)| it == name)
            .map(|((_, it), value)| (it, *value))
    }

    /// Returns the names of all series.
    pub fn names(&self) -> BTreeSet<String> {
        self.samples.keys().map(|(name, _)| name.clone()).collect()
    }
}

/// Splits `name{label="value",..} 1`.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(name.chars().all(fine) && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(label.chars().all(fine), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            match after.split_at(1) {
                (",", after) => rest = after,
                ("}", after) => {
                    rest = after;
                    break;
                }
                _ => panic!("{line}"),
            }
        }
    }
    let value = match rest.strip_prefix(' ').unwrap() {
        "+Inf" => f64::INFINITY,
        number => number.parse().unwrap(),
    };
    (name.to_owned(), labels, value)
}

/// Reads up to the quote that ends a value; returns what follows it.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                other => panic!("\\{other}"),
            }),
            '\n' => panic!("a line feed"),
            c => value.push(c),
        }
    }
    panic!("no end: {text}")
}
