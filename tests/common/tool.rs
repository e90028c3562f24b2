//! The command-line tool, for tests that run it as a process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The tool with these features, as `cargo install` would build it, beside the tests. Built once: a
/// test binary asks for one set of features.
pub fn binary(features: &str) -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let tests = std::env::current_exe().unwrap();
        let profile = tests.ancestors().nth(2).unwrap();
        let mut build = std::process::Command::new(env!("CARGO"));
        build.args(["build", "-p", "easyremote", "--bin", "easyremote", "--features", features]);
        build.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        build.arg("--target-dir").arg(profile.parent().unwrap());
        // What cargo says of the tests would make it build what looks at that, such as ring, again.
        let of_tests = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if of_tests.iter().any(|prefix| name.starts_with(prefix)) {
                build.env_remove(&*name);
            }
        }
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the tool does not build");
        profile.join("easyremote").with_extension(std::env::consts::EXE_EXTENSION)
    })
}
