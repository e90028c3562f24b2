//! Checks of the checker: each rule sees what breaks it, and nothing else.

use std::collections::BTreeMap;

use crate::facts::Facts;
use crate::{circles, manifests, rules, secrets};

/// Reads a crate of files by their paths within `src`. `lib.rs` has the modules that have no parent.
fn read(files: &[(&str, &str)]) -> Facts {
    let texts: BTreeMap<String, String> =
        files.iter().map(|(path, text)| (format!("a/src/{path}"), (*text).to_owned())).collect();
    Facts::read("a/src/lib.rs", &texts)
}

/// The imports of code that is not a test, as `file:line -> file`.
fn imports(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    for reference in facts.references.iter().filter(|other| !other.test && !other.reexport) {
        for to in reference.files.iter().filter(|to| **to != reference.place.file) {
            let to = &facts.files[*to].path;
            found.push(format!("{} -> {to}", facts.show(&reference.place)).replace("a/src/", ""));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The imports of `text` in the module `m`, beside a module `far` with children `deep` and `user`.
fn imports_of(text: &str) -> Vec<String> {
    let facts = read(&[
        ("lib.rs", "mod far; mod m;"),
        ("far/mod.rs", "mod deep; mod user; pub(crate) use self::deep::Deep; pub fn near() {}"),
        ("far/deep.rs", "pub struct Deep; pub enum Kind { A } pub(crate) fn run() {}"),
        ("far/user.rs", "pub(crate) use crate::far::deep::{Kind as Sort, run};"),
        ("m/mod.rs", "pub(crate) mod own; pub struct M;"),
        ("m/own.rs", text),
    ]);
    let found = imports(&facts);
    found.into_iter().filter_map(|import| Some(import.strip_prefix("m/own.rs:")?.into())).collect()
}

#[test]
fn imports_lead_to_the_file_that_defines_the_item() {
    for text in [
        "use crate::far::deep::Deep;",
        "use crate::far::Deep;",
        "use super::super::far::Deep;",
        "use crate::far::{deep::{Deep as D}};",
        "use crate::far::user::Sort;",
        "use crate::far::user::{self, Sort::A};",
        "use crate::far; fn f(_: far::Deep) {}",
        "use crate::far as other; fn f() { other::user::run() }",
        "use crate::far::deep; fn f() { m!(a, deep::run()) }",
        "fn f() { crate::far::user::run(); }",
        "fn f() { use crate::far::user; user::run(); }",
        "fn f() -> Vec<crate::far::Deep> { todo() }",
        "fn f() { println!(\"{:?}\", crate::far::Deep) }",
        "macro_rules! m { () => { $crate::far::Deep } }",
        "macro_rules! m { () => { use $crate::far::{Deep, user::Sort}; } }",
        "#[serde(with = \"crate::far::Deep\")] struct S;",
    ] {
        assert_eq!(imports_of(text), ["1 -> far/deep.rs"], "{text}");
    }
}

#[test]
fn a_parents_item_is_in_the_parents_file() {
    assert_eq!(imports_of("use super::M;"), ["1 -> m/mod.rs"]);
    assert_eq!(imports_of("use crate::m::M;"), ["1 -> m/mod.rs"]);
    assert_eq!(imports_of("fn f() {\n    super::M;\n}"), ["2 -> m/mod.rs"]);
    assert_eq!(imports_of("mod inner { use super::super::M; }"), ["1 -> m/mod.rs"]);
    assert_eq!(imports_of("use super::*;"), ["1 -> m/mod.rs"]);
}

#[test]
fn what_uses_nothing_is_no_import() {
    for text in [
        "",
        "/// [`Deep`](crate::far::Deep)\nstruct S;",
        "// crate::far::Deep\nconst S: &str = \"crate::far::Deep\";",
        "pub(in crate::m) struct S;",
        "pub(crate) use crate::far::Deep;",
        "#[cfg(test)] mod tests { use crate::far::Deep; }",
        "#[cfg(all(test, unix))] use crate::far::Deep;",
        "#[test] fn f() { crate::far::Deep; }",
        "struct S; impl S { #[cfg(test)] fn f() { crate::far::Deep; } }",
        "struct S; mod inner { use super::S; } fn f() { self::inner::g() }",
        "fn f() { quote! { crate::far::Deep } }",
        "use std::far::Deep; use ::far::user; fn f(_: user::Sort) {}",
    ] {
        assert_eq!(imports_of(text), Vec::<String>::new(), "{text}");
    }
    for text in ["#[cfg(any(test, unix))]", "#[cfg(not(test))]"] {
        let text = format!("{text} use crate::far::Deep;");
        assert_eq!(imports_of(&text), ["1 -> far/deep.rs"], "{text}");
    }
}

#[test]
fn a_variable_is_not_what_is_passed_on_under_its_name() {
    let variable = "pub use crate::far::user::run; fn f(run: fn()) { run() }";
    assert_eq!(imports_of(variable), Vec::<String>::new());
    let function = "pub use crate::far::user::run; fn f() { run() }";
    assert_eq!(imports_of(function), ["1 -> far/deep.rs"]);
}

#[test]
fn a_path_that_leads_nowhere_is_noticed() {
    let facts = read(&[("lib.rs", "mod a; use crate::a::{B, C};"), ("a.rs", "struct B;")]);
    assert_eq!(rules::unresolved(&facts), ["a/src/lib.rs:1: `crate::a::C`"]);
    let facts = read(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "macro_rules! m { ($n:ident) => { struct Made; enum $n {} } } m! { N }"),
        ("b.rs", "use crate::a::Made; use crate::a::m; pub use b; use x::x;"),
    ]);
    assert_eq!(rules::unresolved(&facts), Vec::<String>::new());
}

#[test]
fn a_source_that_is_shown_is_seen() {
    let found = |text: &str| rules::repeated_sources(&read(&[("lib.rs", text)])).len();
    for text in [
        "fn f(error: E) -> E {\n    let text = format!(\"no: {error}\");\n    E::new(text).with_source(error)\n}",
        "fn f() {\n    let g = |cause: E| E::new(format!(\"{cause:?}\")).with_source(cause);\n}",
    ] {
        assert_eq!(found(text), 1, "{text}");
    }
    for text in [
        "fn g(error: E) { print!(\"{error}\") }\nfn f(error: E) -> E {\n    E::new(\"no\").with_source(error)\n}",
        "fn f() {\n    print!(\"{cause}\");\n    let g = |cause| E::new(\"no\").with_source(cause);\n}",
        "fn f(error: E, name: &str) -> E { E::new(format!(\"{name}\")).with_source(error) }",
    ] {
        assert_eq!(found(text), 0, "{text}");
    }
}

#[test]
fn a_name_is_given_once() {
    let twice = |files: &[(&str, &str)]| rules::types_defined_twice(&read(files));
    for text in [
        "enum A {}",
        "trait A {}",
        "union A { a: u8 }",
        "type A = u8;",
        "fn f() { struct A; }",
        "mod b { struct A; }",
        "macro_rules! m { () => { struct A; } }",
        "m! { pub enum A {} }",
        "impl B { fn f() { g(|| { struct A; }) } }",
        "#[cfg(unix)] struct A;",
    ] {
        let found = twice(&[("lib.rs", "mod x;\nstruct A;"), ("x.rs", text)]);
        assert_eq!(found, ["`A`: a/src/lib.rs:2, a/src/x.rs:1"], "{text}");
    }
    for text in [
        "struct B;",
        "impl I for B { type A = u8; }",
        "trait B { type A; }",
        "mod tests { struct A; }",
        "#[cfg(test)] struct A;",
        "#[test] fn f() { struct A; }",
        "fn f() { quote! { struct A; } }",
        "fn A() {}",
    ] {
        let found = twice(&[("lib.rs", "mod x;\nstruct A;"), ("x.rs", text)]);
        assert_eq!(found, Vec::<String>::new(), "{text}");
    }
    let platforms = "#[cfg(unix)] struct A; #[cfg(not(unix))] struct A;";
    assert_eq!(twice(&[("lib.rs", platforms)]), Vec::<String>::new());
}

#[test]
fn lengths_are_counted() {
    let lines = "\n".repeat(59);
    for (head, tail) in [
        ("fn f() {", "}"),
        ("#[a]\n#[b]\nfn f() {", "}"),
        ("impl A { fn f() { g(|| {", "}) } }"),
        ("trait A { fn f() {", "} }"),
        ("mod tests { fn f() { fn g() {", "} } }"),
        ("macro_rules! m { () => { fn f() {", "} }; }"),
    ] {
        let fits = read(&[("lib.rs", &format!("{head}{lines}{tail}"))]);
        assert_eq!(rules::long_functions(&fits, 60), Vec::<String>::new(), "{head}");
        let long = read(&[("lib.rs", &format!("{head}{lines}\n{tail}"))]);
        let found = rules::long_functions(&long, 60);
        assert!(found[0].contains("`f` has 61 lines"), "{head}: {found:?}");
    }
    let facts = read(&[("lib.rs", &"\n".repeat(3))]);
    assert_eq!(rules::long_files(&facts, 2), ["a/src/lib.rs: 3 lines"]);
    assert_eq!(rules::long_files(&facts, 3), Vec::<String>::new());
}

#[test]
fn layers_look_down() {
    const LAYERS: &[&[&str]] = &[&["low"], &["left", "right"], &["fuzz", "lib", "private"]];
    let check = |low: &str, left: &str| {
        let facts = read(&[
            (
                "lib.rs",
                "mod left; mod low; #[path = \"private.rs\"] mod __private; mod right;
                 pub use crate::low::Low; #[macro_export] macro_rules! listed { () => {} }",
            ),
            ("low.rs", low),
            ("left/mod.rs", "mod child;"),
            ("left/child.rs", left),
            ("right.rs", "pub struct Right;"),
            ("private.rs", "use crate::left::child; use crate::listed;"),
        ]);
        rules::upward_imports(&facts, LAYERS)
    };
    for fine in [
        "use crate::low::Low; use super::super::low; use crate::left::other;",
        "/// [`A`](crate::right::Right)\nuse self::left;",
        "#[cfg(test)] fn f() { crate::listed!() }",
    ] {
        assert_eq!(check("pub struct Low;", fine), Vec::<String>::new(), "{fine}");
    }
    for wrong in [
        "use crate::right::Right;",
        "use crate::{low, right};",
        "use super::super::right;",
        "#[cfg(test)] mod tests { use crate::right::Right; }",
        "fn f() { m!(a, $crate::right::Right) }",
        "fn f() -> crate::right::Right { loop {} }",
        "use crate::Low;",
        "use crate::__private::argument;",
        "fn f() { crate::listed!() }",
    ] {
        assert_eq!(check("pub struct Low;", wrong).len(), 1, "{wrong}");
    }
    assert_eq!(
        check("use crate::left::A;", ""),
        ["a/src/low.rs:1: `low` uses `crate::left::A` of `left`"]
    );
    let facts = read(&[("lib.rs", "mod odd;"), ("odd.rs", "")]);
    assert_eq!(rules::upward_imports(&facts, LAYERS), ["`odd` is in no layer"]);
}

/// A crate of one top-level module `r`, whose files import what they are given.
fn room(files: &[(&str, &str)]) -> Facts {
    let mut all = vec![("lib.rs".to_owned(), "mod r;".to_owned())];
    for (path, imported) in files {
        let imports =
            imported.split_whitespace().map(|path| format!("use crate::r::{path} as _; "));
        let folder = path.strip_suffix("mod.rs").map(|folder| format!("r/{folder}"));
        let children = files.iter().filter_map(|(other, _)| {
            let child = format!("r/{other}");
            let name = child.strip_prefix(folder.as_deref()?)?.trim_end_matches("/mod.rs");
            let name = name.trim_end_matches(".rs");
            (name != "mod" && !name.contains('/')).then(|| format!("pub(crate) mod {name}; "))
        });
        let text: String = children.chain(imports).chain(["pub struct T;".to_owned()]).collect();
        all.push((format!("r/{path}"), text));
    }
    let all: Vec<_> = all.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    read(&all)
}

#[test]
fn circles_of_files_are_found() {
    let two = room(&[("mod.rs", "a::T"), ("a.rs", "T"), ("b.rs", "a::T T")]);
    assert_eq!(circles::between_files(&two), Vec::<String>::new());
    let three = room(&[("mod.rs", "a::T"), ("a.rs", "b::T"), ("b.rs", "T"), ("c.rs", "a::T")]);
    let found = circles::between_files(&three);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("3 in a circle: a/src/r/mod.rs, a/src/r/a.rs, a/src/r/b.rs"));
    assert!(found[0].contains("a/src/r/a.rs:1 imports a/src/r/b.rs"), "{found:?}");
    let passed_on = read(&[
        ("lib.rs", "mod r;"),
        ("r/mod.rs", "mod a; mod b; pub use crate::r::a::A; pub use crate::r::b::B;"),
        ("r/a.rs", "use crate::r::B; pub struct A;"),
        ("r/b.rs", "#[cfg(test)] use crate::r::A; pub struct B;"),
    ]);
    assert_eq!(circles::between_files(&passed_on), Vec::<String>::new());
}

#[test]
fn circles_of_rooms_are_found() {
    let rooms =
        [("mod.rs", "x::T y::T"), ("x/mod.rs", ""), ("x/a.rs", "y::b::T"), ("y/mod.rs", "")];
    let fine = room(&[&rooms[..], &[("y/b.rs", "")]].concat());
    assert_eq!(circles::between_rooms(&fine), Vec::<String>::new());
    let circle = room(&[&rooms[..], &[("y/b.rs", "x::T")]].concat());
    assert_eq!(circles::between_files(&circle), Vec::<String>::new());
    let found = circles::between_rooms(&circle);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("2 in a circle: r::x, r::y"), "{found:?}");
    // The parent's files are no child room.
    let parent = room(&[&rooms[..], &[("y/b.rs", "T")]].concat());
    assert_eq!(circles::between_rooms(&parent), Vec::<String>::new());
    let top = read(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "fn f() { crate::a::A; } pub struct B;"),
    ]);
    assert!(circles::between_rooms(&top)[0].starts_with("2 in a circle: a, b"));
}

#[test]
fn names_of_other_crates_are_found() {
    for text in [
        "use rustls::ServerConfig;",
        "use ::rustls::ServerConfig;",
        "use {std::fmt, rustls as tls};",
        "fn f() { rustls::run() }",
        "fn f() { m!(rustls::run()) }",
    ] {
        let facts = read(&[("lib.rs", "mod x; mod y;"), ("x.rs", text), ("y.rs", "")]);
        assert_eq!(rules::names_outside(&facts, "rustls", &["y"]).len(), 1, "{text}");
        assert_eq!(rules::names_outside(&facts, "rustls", &["x"]), Vec::<String>::new(), "{text}");
    }
    for text in ["/// rustls::A\nfn rustls() { rustls() }", "#[test] fn f() { rustls::run() }"] {
        let facts = read(&[("lib.rs", text)]);
        assert_eq!(rules::names_outside(&facts, "rustls", &["y"]), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn public_signatures_are_searched() {
    let exposed = |text: &str| rules::exposed(&read(&[("lib.rs", text)]), &["quinn"]).len();
    for text in [
        "pub fn f(_: quinn::A) {}",
        "pub fn f() -> Vec<quinn::A> { loop {} }",
        "use quinn::A; pub fn f(_: &A) {}",
        "use quinn as q; pub struct S { pub a: Option<q::A> }",
        "pub struct S(u8, pub quinn::A);",
        "pub enum S { A(quinn::A) }",
        "pub trait T { fn f(&self, a: quinn::A); }",
        "pub type T = quinn::A;",
        "pub struct S; impl From<quinn::A> for S {}",
        "pub struct S; impl S { pub async fn f<A: Into<quinn::A>>(_: A) {} }",
    ] {
        assert_eq!(exposed(text), 1, "{text}");
    }
    for text in [
        "pub(crate) fn f(_: quinn::A) {}",
        "pub struct S { a: quinn::A }",
        "pub struct S(quinn::A);",
        "pub fn f() { let a: quinn::A; }",
        "struct S; impl From<quinn::A> for S {}",
        "pub struct S; impl S { fn f(_: quinn::A) {} }",
        "pub trait T { fn f(&self) { quinn::f() } }",
    ] {
        assert_eq!(exposed(text), 0, "{text}");
    }
}

#[test]
fn early_data_and_what_is_left_for_later_are_found() {
    for text in [
        "a.into_0rtt()",
        "m!(a.into_0rtt())",
        "a.max_early_data_size = 1",
        "a.b.enable_early_data = c",
    ] {
        let facts = read(&[("lib.rs", &format!("fn f() {{ {text}; }}"))]);
        assert_eq!(rules::early_data(&facts), ["a/src/lib.rs:1"], "{text}");
    }
    let off = "fn f() { a.max_early_data_size = 0; a.enable_early_data = false; \"into_0rtt\" }";
    assert_eq!(rules::early_data(&read(&[("lib.rs", off)])), Vec::<String>::new());
    // In two pieces, so that this file has none of them.
    for text in
        [["todo", "!()"], ["unimplemented", "! {}"], ["m!(todo", "![])"], ["{} // TO", "DO"]]
    {
        let facts = read(&[("lib.rs", &format!("fn f() {{ {} \n}}", text.concat()))]);
        assert_eq!(rules::unfinished(&facts).len(), 1, "{text:?}");
    }
    assert!(read(&[("lib.rs", "#![forbid(unsafe_code)]")]).safe);
    assert!(!read(&[("lib.rs", "#![deny(unsafe_code)]")]).safe);
}

#[test]
fn secrets_are_looked_into() {
    let check = |text: &str| secrets::violations(&syn::parse_file(text).unwrap());
    let good = "#[derive(Clone)] struct Secret([u8; 32]);
        impl fmt::Debug for Secret { fn fmt(&self, f: &mut F) -> R { f.write_str(\"Secret(..)\") } }
        impl PartialEq for Secret { fn eq(&self, o: &Self) -> bool { self.0.ct_eq(&o.0).into() } }
        fn f() { hmac::verify(a, b, c) }";
    assert_eq!(check(good), Some(Vec::new()));
    assert_eq!(check("struct Other;"), None);
    for (from, to) in [
        ("(Clone)", "(Clone, Debug)"),
        ("(Clone)", "(Clone, Hash)"),
        ("(Clone)", "(Clone, PartialEq)"),
        ("([u8", "(pub [u8"),
        ("f.write_str(\"Secret(..)\")", "write!(f, \"{:?}\", self.0)"),
        ("self.0.ct_eq(&o.0).into()", "self.0 == o.0"),
        ("hmac::verify(a, b, c)", "a == b"),
        ("fn f()", "impl fmt::Display for Secret {} fn f()"),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good);
        assert!(!check(&text).unwrap().is_empty(), "{to}");
    }
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let check = |text: &str| manifests::unexplained("m", text).len();
    for text in [
        "[dependencies]\na = \"1\"",
        "[dependencies]\n# One.\na = \"1\"\nb.workspace = true",
        "[dev-dependencies]\n# One.\n\na = \"1\"",
        "[target.'cfg(unix)'.dependencies]\na = \"1\"",
        "[dependencies.a]\nversion = \"1\"",
        "[dependencies]\n# One.\na = { version = \"1\", features = [\n\"a\",\n] }\nb = \"1\"",
    ] {
        assert_eq!(check(text), 1, "{text}");
    }
    for text in [
        "[dependencies]\n# One.\na = \"1\"\n# Two,\n# and more.\nb.workspace = true",
        "[package]\na = \"1\"",
        "[workspace.dependencies]\na = \"1\"",
        "# One.\n[dependencies.a]\nversion = \"1\"",
    ] {
        assert_eq!(check(text), 0, "{text}");
    }
}
