//! What the compiler says about each misuse of `#[remote]` and `functions!`, word for word, and what
//! compiles although one might not expect it to.
//!
//! `tests/ui/fail/*.stderr` hold the messages. After a change run the test with
//! `TRYBUILD=overwrite`, and read the difference before accepting it.

use std::env;
use std::io::{self, Write};
use std::process::Command;

use trybuild::TestCases;

/// The compiler whose messages the snapshots hold. Others word and draw theirs differently, so on
/// them the messages are not compared.
const TOOLCHAIN: &str = "1.95";

#[test]
fn misuse_is_explained_and_surprising_uses_compile() {
    let cases = TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    let compiler = compiler();
    if compiler.starts_with(&format!("rustc {TOOLCHAIN}.")) {
        cases.compile_fail("tests/ui/fail/*.rs");
    } else {
        skipped(&compiler);
    }
}

/// Says that the messages are not compared; past the test harness, which hides what it captures.
fn skipped(compiler: &str) {
    let line = format!(
        "skipped tests/ui/fail: the snapshots are for rustc {TOOLCHAIN}, this is {compiler}\n"
    );
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// `rustc 1.95.0 (59807616e 2026-04-14)`
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
