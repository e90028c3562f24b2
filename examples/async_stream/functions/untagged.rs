//! Enums that are plain values in JSON.
//!
//! `#[serde(untagged)]` reads `1` as a number and `"x"` as a text, as people write them in JSON.
//! bincode is not self-describing, so it needs the number of the variant. [`untagged_for_people`]
//! supports both: it asks the codec whether it is human-readable.

/// Implements serde for the enum `$enum`: like `$untagged` in human-readable codecs, and as derived
/// in others.
///
/// `$enum` derives both traits with `#[serde(remote = "Self")]`, which makes them inherent
/// functions; `$untagged` has the same variants and derives with `#[serde(remote = "..",
/// untagged)]`.
macro_rules! untagged_for_people {
    ($enum:ident as $untagged:ident) => {
        impl ::serde::Serialize for $enum {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    $untagged::serialize(self, serializer)
                } else {
                    $enum::serialize(self, serializer)
                }
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $enum {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    $untagged::deserialize(deserializer)
                } else {
                    $enum::deserialize(deserializer)
                }
            }
        }
    };
}

pub(super) use untagged_for_people;
