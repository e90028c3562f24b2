//! The JSON Schemas of all types: a validator that is not ours accepts what serde accepts, and
//! refuses what serde refuses.
//!
//! Values are made by changing those of the zoo at random, and serde says which of them are
//! values of the type.

use fastrand::Rng;
use jsonschema::Validator;
use serde_json::{Map, Number, Value, json};

use crate::subject::{Outcome, Subject, World};
use crate::{REFUSED, attributes, crates};

/// Types whose schema accepts some of what serde refuses, by their names here, one a line: serde
/// does not tell what is in them, or they check their content.
const LENIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lenient.txt");

/// Types that have values which JSON cannot have.
const WITHOUT_JSON: &[&str] = &["crates/maps"];

/// A change of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Another text, which a type may check.
    Text,
    /// Another number, length, field or name.
    Within,
    /// A value of another kind, which serde may read although it never writes it.
    Kind,
}

/// The schemas of one type.
struct Validators {
    argument: Validator,
    upload: Validator,
    item: Validator,
    error: Validator,
}

impl Validators {
    async fn of(subject: &Subject, world: &World) -> Option<Self> {
        let schemas = match (subject.describe)(world).await {
            Ok(schemas) => schemas,
            Err(Outcome::Refused(_)) => return None,
            Err(other) => panic!("{}: {other:?}", subject.name),
        };
        let validator = |schema: Value| {
            let meta = jsonschema::draft202012::meta::validate(&schema);
            assert!(meta.is_ok(), "{}: {schema:#}", subject.name);
            jsonschema::draft202012::new(&schema).expect("a schema")
        };
        assert_eq!(schemas.result(), None);
        Some(Self {
            argument: validator(schemas.arguments()),
            upload: validator(schemas.upload().unwrap()),
            item: validator(schemas.item().unwrap()),
            error: validator(schemas.error().unwrap()),
        })
    }

    /// Whether a caller may send `value`; the two ways to do so must agree.
    fn accept(&self, value: &Value) -> bool {
        let accepted = self.upload.is_valid(value);
        let argument = json!({ "first": value });
        assert_eq!(self.argument.is_valid(&argument), accepted, "{value}");
        accepted
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_accept_what_serde_accepts_and_refuse_what_it_refuses() {
    let world = World::start().await;
    let mut lenient = Vec::new();
    let mut n = (0, 0, 0);
    for subject in attributes::all().into_iter().chain(crates::all()) {
        let Some(validators) = Validators::of(&subject, &world).await else {
            assert!(REFUSED.contains(&&*subject.name), "{}", subject.name);
            continue;
        };
        let name = &subject.name;
        if (subject.values)().is_empty() {
            assert!(WITHOUT_JSON.contains(&&**name), "{name}");
            continue;
        }
        let (accepted, refused, passed) = compare(&subject, &validators);
        assert!(accepted >= 1_000, "{name}: {accepted}");
        n = (n.0 + accepted, n.1 + refused, n.2 + passed);
        if passed > 0 {
            lenient.push(name.clone());
        }
    }
    println!("{} accepted, {} refused, {} refused by serde only", n.0, n.1, n.2);
    lenient.sort();
    let expected = std::fs::read_to_string(LENIENT).unwrap();
    let mut expected: Vec<_> = expected.lines().collect();
    expected.sort_unstable();
    assert_eq!(lenient, expected, "see {LENIENT}");
}

/// Tries changed values until serde has accepted a thousand. Returns how many it has accepted, how
/// many both have refused, and how many only serde has refused.
fn compare(subject: &Subject, validators: &Validators) -> (usize, usize, usize) {
    let name = &subject.name;
    let mut random = Rng::with_seed(7);
    let mut pool = (subject.values)();
    let (mut accepted, mut refused, mut passed) = (0, 0, 0);
    while accepted < 1_000 || (refused + passed < 1_000 && accepted < 5_000) {
        let mut value = pool[random.usize(..pool.len())].clone();
        let change = change(&mut value, &mut random);
        let accepts = validators.accept(&value);
        match (subject.read)(&value) {
            Some((written, nest)) => {
                accepted += 1;
                let is_usual = change != Change::Kind || written == value;
                assert!(accepts || !is_usual, "{name} refuses {value} after {change:?}");
                assert!(validators.accept(&written), "{name} refuses {written}");
                assert!(validators.error.is_valid(&written), "{name} as an error: {written}");
                assert!(validators.item.is_valid(&nest), "{name} as an item: {nest}");
                if pool.len() < 200 && written.to_string().len() < 1_000 {
                    pool.push(written);
                }
            }
            // A text that is refused says nothing: a type may check it.
            None if change == Change::Text => {}
            None if accepts => passed += 1,
            None => refused += 1,
        }
    }
    (accepted, refused, passed)
}

/// Changes a value somewhere.
pub(crate) fn change(value: &mut Value, random: &mut Rng) -> Change {
    if random.u8(..8) == 0 {
        return Change::None;
    }
    let inside = match value {
        Value::Array(items) if !items.is_empty() => items.len(),
        Value::Object(fields) if !fields.is_empty() => fields.len(),
        _ => 0,
    };
    if inside > 0 && random.u8(..4) > 0 {
        let at = random.usize(..inside);
        return match value {
            Value::Array(items) => change(&mut items[at], random),
            Value::Object(fields) => change(fields.values_mut().nth(at).unwrap(), random),
            _ => Change::None,
        };
    }
    if random.u8(..4) == 0 {
        let other = other_kind(value, random);
        *value = other;
        return Change::Kind;
    }
    match value {
        Value::Null => return Change::None,
        Value::Bool(bool) => *bool = !*bool,
        Value::Number(number) => *number = other_number(number, random),
        Value::String(text) => {
            *text = ["", "x", "é", "7", "-1", "true", "a b"][random.usize(..7)].to_owned();
            return Change::Text;
        }
        Value::Array(items) if items.is_empty() || random.bool() => {
            let item = items.first().cloned().unwrap_or(Value::Null);
            items.push(item);
        }
        Value::Array(items) => drop(items.pop()),
        Value::Object(fields) => change_fields(fields, random),
    }
    Change::Within
}

fn change_fields(fields: &mut Map<String, Value>, random: &mut Rng) {
    let some = fields.keys().nth(random.usize(..fields.len().max(1))).cloned();
    match (some, random.u8(..3)) {
        (Some(name), 0) => drop(fields.remove(&name)),
        (Some(name), 1) => {
            let field = fields.remove(&name).unwrap();
            fields.insert(format!("{name}x"), field);
        }
        _ => drop(fields.insert("another".to_owned(), Value::Null)),
    }
}

fn other_number(number: &Number, random: &mut Rng) -> Number {
    if number.is_f64() {
        let numbers = [0.0, -0.5, 1e-7, 3.5e38, f64::MAX, f64::from(random.i32(..)) + 0.5];
        return Number::from_f64(numbers[random.usize(..numbers.len())]).unwrap();
    }
    let bits = random.u32(0..=64);
    let near = (1_i128 << bits) + i128::from(random.i8(-2..=1));
    let near = if random.bool() { near } else { -near };
    u64::try_from(near)
        .map(Number::from)
        .unwrap_or_else(|_| Number::from(i64::try_from(near).unwrap_or(i64::MIN)))
}

/// A value of another kind.
fn other_kind(value: &Value, random: &mut Rng) -> Value {
    let kind = |value: &Value| std::mem::discriminant(value);
    let all = [
        Value::Null,
        json!(true),
        json!(3),
        json!(0.5),
        json!("x"),
        json!([]),
        json!([1, "x"]),
        json!({}),
        json!({ "a": 1 }),
    ];
    loop {
        let other = &all[random.usize(..all.len())];
        if kind(other) != kind(value) || (other.is_f64() && !value.is_f64()) {
            return other.clone();
        }
    }
}
