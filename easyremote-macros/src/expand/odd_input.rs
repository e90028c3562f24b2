//! Whatever stands under the attribute, the macro answers with tokens.

use proc_macro2::TokenStream;

use crate::expand::remote;

#[test]
fn odd_input_never_panics() {
    let odd = [
        "",
        ";",
        "fn",
        "fn f",
        "fn f(",
        "fn f()",
        "fn f() ->",
        "fn f() -> {}",
        "pub",
        "pub(crate)",
        "#[x]",
        "#[doc] fn f() {}",
        "#[doc = 7] fn f() {}",
        "#[doc = concat!(\"a\")] fn f() {}",
        "#[doc()] fn f() {}",
        "fn f() {} fn g() {}",
        "fn f() [ ]",
        "fn f() ( )",
        "fn f(self) {}",
        "fn f(a) {}",
        "fn f(a: ) {}",
        "fn f(a: !) -> ! {}",
        "fn f(a: _) -> _ {}",
        "fn f() -> Result {}",
        "fn f() -> Result<> {}",
        "fn f() -> Result<'static> {}",
        "fn f() -> Box {}",
        "fn f() -> Pin<> {}",
        "fn f() -> Box<Box<Box<dyn Iterator>>> {}",
        "fn f() -> BoxStream {}",
        "fn f() -> impl Sized {}",
        "fn f() -> impl ?Sized + 'static {}",
        "fn f() -> impl for<'a> Fn(&'a str) -> &'a str {}",
        "fn f() -> <T as Iterator>::Item {}",
        "fn f() -> (Result<(impl Stream<Item = (u8)>), E>) {}",
        "fn f() -> m!() {}",
        "fn f(m!(): u8) {}",
        "fn f(A { b, .. }: A, [c, ..]: [u8; 3]) {}",
        "fn f(...) {}",
        "fn f(a: u8, ...);",
        "async gen fn f() {}",
        "default fn f() {}",
        "safe fn f() {}",
        "extern fn f() {}",
        "impl",
        "trait",
        "unsafe",
        "unsafe impl",
        "async { }",
        "macro_rules! m { () => {} }",
        "\"text\"",
        "7",
        "fn r#fn(r#fn: r#fn) -> r#fn {}",
        "fn f(r#type: impl Stream) -> dyn Stream {}",
        "fn _f(_: _) {}",
    ];
    let options = [
        "",
        "stream",
        "plain, stream, inline",
        "=",
        ",,",
        "= =",
        "name = = \"x\"",
        "name = b\"x\"",
        "name = \"\u{0}\"",
        "crate = ::",
        "crate = a::<u8>",
        "stub = r#fn",
        "timeout = \"\"",
        "timeout = \"ß\"",
        "timeout = \"18446744073709551615ms\"",
        "r#stream",
        "stream()",
        "[x]",
        "a::b = 7",
        "'x",
        "-1",
    ];
    for item in odd.iter().filter_map(|item| item.parse::<TokenStream>().ok()) {
        for options in options.iter().filter_map(|text| text.parse::<TokenStream>().ok()) {
            let output = remote(options, item.clone()).to_string();
            assert!(!output.is_empty());
        }
    }
}
