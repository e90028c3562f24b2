//! Names that no two things in a document share, whatever a generator makes of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The names of one kind that are taken.
///
/// Generators write a name as `add_one`, `addOne` or `AddOne`, and some file systems ignore case. So
/// two names are the same here if their letters and digits are.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// With the last number that was added to each.
    taken: HashMap<String, usize>,
}

impl Names {
    /// Returns the first of `wanted` that is free, or the last one with a number, and takes it.
    pub(super) fn claim(&mut self, wanted: &[&str]) -> String {
        if let Some(free) = wanted.iter().find(|name| !self.taken.contains_key(&folded(name))) {
            self.taken.insert(folded(free), 1);
            return (*free).to_owned();
        }
        let name = wanted.last().copied().unwrap_or_default();
        loop {
            let number = self.taken.entry(folded(name)).or_insert(1);
            *number += 1;
            let numbered = format!("{name}_{number}");
            if let Entry::Vacant(free) = self.taken.entry(folded(&numbered)) {
                free.insert(1);
                return numbered;
            }
        }
    }
}

/// What is left of a name in all spellings.
fn folded(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns `name` as the end of an identifier: `Model_embed` for `Model.embed`.
pub(super) fn identifier(name: &str) -> String {
    words(name).join("_")
}

/// Returns `name` as the name of a type: `ModelEmbed` for `Model.embed`. It begins with a letter.
pub(super) fn type_name(name: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    let parts = name.split('_').flat_map(words);
    let name: String = parts.map(capital).collect();
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => name,
        _ => format!("Type{name}"),
    }
}

/// Returns the parts of a name that consist of ASCII letters, digits and inner `_`.
fn words(name: &str) -> Vec<&str> {
    let parts = name.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    parts.map(|part| part.trim_matches('_')).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_in_every_spelling() {
        let mut names = Names::default();
        let wanted =
            ["add_one", "addOne", "AddOne", "add_one_2", "add_one", "", "_", "é", "addone2"];
        let claimed: Vec<_> = wanted.iter().map(|name| names.claim(&[name])).collect();
        let mut spelled: Vec<_> = claimed.iter().map(|name| folded(name)).collect();
        assert_eq!(&claimed[..3], ["add_one", "addOne_2", "AddOne_3"]);
        spelled.sort();
        spelled.dedup();
        assert_eq!(spelled.len(), wanted.len(), "{claimed:?}");
        assert_eq!(names.claim(&["add_one", "other"]), "other");
    }

    #[test]
    fn names_are_made_of_letters_and_digits() {
        for (name, as_identifier, as_type) in [
            ("add", "add", "Add"),
            ("sync_add", "sync_add", "SyncAdd"),
            ("Model:small.embed", "Model_small_embed", "ModelSmallEmbed"),
            ("a/b-c", "a_b_c", "ABC"),
            ("..", "", "Type"),
            ("2nd", "2nd", "Type2nd"),
            ("__x__", "x", "X"),
            ("größe", "gr_e", "GrE"),
        ] {
            assert_eq!((&*identifier(name), &*type_name(name)), (as_identifier, as_type), "{name}");
        }
    }
}
