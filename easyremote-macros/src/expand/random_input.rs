//! Tests that the macro returns tokens for valid input with random tokens removed, doubled, swapped
//! and inserted. `MACRO_SEED=.. MACRO_INPUTS=.. cargo test -p easyremote-macros random_input`
//! repeats a run, or tries more inputs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::expand::remote;

const ITEMS: &[&str] = &[
    "/// Doc.\npub async fn f(#[state] m: &Model, #[ctx] c: &Context, a: Vec<u8>, b: (u8, [u16; 3])) \
     -> Result<Option<String>, Box<Bad>> { m.f(a).await }",
    "pub fn f(a: impl Stream<Item = Result<u8, E>>) -> impl Stream<Item = u8> + Send + 'static { a }",
    "async fn f(path: std::path::PathBuf) -> Result<impl Iterator<Item = String>, NotFound>;",
    "impl a::Model { #[remote(stream, name = \"t\")] pub fn t(&self, p: String) -> impl Stream<Item = \
     String> { s(p) } pub async fn e(&self) -> Vec<f32> { v![] } #[remote(skip)] fn x(self) {} }",
    "pub trait T: Send + Sync { /// Doc.\n async fn e(&self, text: String) -> Result<u8, E>; \
     #[remote(stream)] fn s(&self, #[ctx] c: &Context) -> BoxStream<'static, u8> { todo() } }",
    "pub async fn f(#[ctx] c: &[Context], a: Vec<u8>, b: Vec<(u8, u8)>) -> io::Result<Vec<Vec<u8>>> { v }",
    "pub fn f(#[state] m: &Model, r: &a::Reading, #[ctx] c: &Context, limit: f64) -> bool { r.f(m) }",
    "fn f(r: Reading, limits: [f64; 2]) -> Option<Vec<u8>>;",
    "#[allow(x)] pub(crate) fn r#fn(r#type: [(u8, fn(u8) -> u8); N], mut b: dyn A<'static>) -> ! {}",
];

const OPTIONS: &[&str] = &[
    "stream, inline, name = \"a.b\", stub = F, timeout = \"30s\", idempotent, detached, resumable, tool",
    "implements = a::b::<u8>, needs = \"gpu, eu\", concurrency = 8, err = \"display\", crate = ::e",
    "batch(max = 32, wait = \"5ms\", weigh = a::b), concurrency = 1, needs = \"gpu\"",
    "stream",
    "operator, plain, name = \"a.b\"",
    "skew = \"by-name\", stream",
    "",
];

/// The tokens that the macro knows, and some that it does not.
const TOKENS: &str = "fn async impl trait pub crate self Self mut ref where for dyn const unsafe extern \
    static 'a 'static & * ! ? : :: ; , . .. ... = == => -> < > + - # $ @ _ 7 1.5 \"s\" b\"s\" 'c' \
    stream tool ctx state batch remote Result Option Box Pin Vec Stream Iterator Item Context String u8 m r#fn \
    () [] {} (u8) [u8; 3] {x} <u8> (a: u8) #[state] #[ctx] #[remote(stream)] impl Stream<Item = u8>";

/// Changes one place, at any depth.
fn mutate(tokens: TokenStream, pool: &[TokenTree], random: &mut fastrand::Rng) -> TokenStream {
    let mut trees: Vec<TokenTree> = tokens.into_iter().collect();
    if trees.is_empty() {
        return random.choice(pool).cloned().into_iter().collect();
    }
    let at = random.usize(..trees.len());
    if let TokenTree::Group(group) = &trees[at]
        && random.u8(..4) > 0
    {
        let inner = mutate(group.stream(), pool, random);
        let delimiter = match random.u8(..20) {
            0 => Delimiter::Brace,
            1 => Delimiter::Bracket,
            2 => Delimiter::Parenthesis,
            3 => Delimiter::None,
            _ => group.delimiter(),
        };
        trees[at] = Group::new(delimiter, inner).into();
        return trees.into_iter().collect();
    }
    let other = random.usize(..trees.len());
    // The pool is not empty.
    let new = pool[random.usize(..pool.len())].clone();
    match random.u8(..6) {
        0 => drop(trees.remove(at)),
        1 => trees.insert(at, trees[other].clone()),
        2 => trees.swap(at, other),
        3 => trees[at] = new,
        4 => trees.insert(at, new),
        _ => trees.truncate(at),
    }
    trees.into_iter().collect()
}

#[test]
fn random_input_never_panics() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("MACRO_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("MACRO_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pool: Vec<TokenTree> = TOKENS.parse::<TokenStream>().unwrap().into_iter().collect();
    for _ in 0..number("MACRO_INPUTS").unwrap_or(3_000) {
        let parse = |texts: &[&str], random: &mut fastrand::Rng| -> TokenStream {
            texts[random.usize(..texts.len())].parse().unwrap()
        };
        let (mut item, mut options) = (parse(ITEMS, &mut random), parse(OPTIONS, &mut random));
        for _ in 0..random.usize(1..12) {
            item = mutate(item, &pool, &mut random);
            if random.u8(..3) == 0 {
                options = mutate(options, &pool, &mut random);
            }
        }
        let text = format!("#[remote({options})] {item}");
        let expanded = catch_unwind(AssertUnwindSafe(|| remote(options, item)));
        // Without an item, the output is only the mistakes.
        assert!(expanded.is_ok_and(|tokens| !tokens.is_empty()), "MACRO_SEED={seed}: {text}");
    }
}
