//! A value of any kind: `Any` in the original.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::untagged::untagged_for_people;

/// A value of any kind; in JSON only that value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub(crate) enum Datum {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Datum>),
    Map(BTreeMap<String, Datum>),
}

/// [`Datum`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Datum", untagged)]
enum Plain {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Datum>),
    Map(BTreeMap<String, Datum>),
}

untagged_for_people!(Datum as Plain);

impl Datum {
    /// A number twice; anything else as it is.
    pub(crate) fn doubled(self) -> Self {
        match self {
            Self::Integer(integer) => match integer.checked_mul(2) {
                Some(double) => Self::Integer(double),
                None => Self::Number(integer as f64 * 2.0),
            },
            Self::Number(number) => Self::Number(number * 2.0),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_plain_value() {
        let json = r#"{"a":1,"b":"x","c":[null,true,2.5,{"d":18446744073709551615}]}"#;
        let datum: Datum = serde_json::from_str(json).unwrap();
        let Datum::Map(map) = &datum else { panic!("{datum:?}") };
        assert_eq!(map["a"], Datum::Integer(1));
        assert_eq!(map["b"], Datum::Text("x".into()));
        let again = serde_json::to_string(&datum).unwrap();
        assert_eq!(again, json.replace("18446744073709551615", "1.8446744073709552e+19"));
    }

    #[test]
    fn only_numbers_are_doubled() {
        assert_eq!(Datum::Integer(21).doubled(), Datum::Integer(42));
        assert_eq!(Datum::Integer(i64::MAX).doubled(), Datum::Number(i64::MAX as f64 * 2.0));
        assert_eq!(Datum::Number(0.25).doubled(), Datum::Number(0.5));
        let list = Datum::List(vec![Datum::Integer(1)]);
        for other in [Datum::Null, Datum::Bool(true), Datum::Text("2".into()), list] {
            assert_eq!(other.clone().doubled(), other);
        }
    }
}
