//! Enums that are plain values in JSON.
//!
//! `#[serde(untagged)]` reads `1` as a number and `"x"` as a text, which is what people write in
//! JSON. bincode cannot do it: its bytes do not say what they are, so it needs the number of the
//! variant. [`untagged_for_people`] has both, by asking the codec whether people read it.

/// Implements serde for the enum `$enum`, as `$untagged` where people read it, and otherwise as it
/// is derived.
///
/// `$enum` derives both traits with `#[serde(remote = "Self")]`, which makes them functions of its
/// own; `$untagged` has the same variants and derives with `#[serde(remote = "..", untagged)]`.
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
