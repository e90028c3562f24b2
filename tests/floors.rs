//! Versions below which dependencies have known flaws; see `SECURITY.md`. Works without a network.

use std::path::Path;

/// The least fixed versions of the advisories of 2023 to 2026 that concern this library.
const FLOORS: &[(&str, [u64; 3])] = &[
    ("quinn", [0, 11, 12]),
    // RUSTSEC-2026-0037, -0185, -0338 to -0343.
    ("quinn-proto", [0, 11, 19]),
    // RUSTSEC-2026-0285, -0346 to -0349.
    ("rustls", [0, 23, 46]),
    // RUSTSEC-2026-0049, -0098, -0099, -0104.
    ("rustls-webpki", [0, 103, 13]),
    // RUSTSEC-2025-0009.
    ("ring", [0, 17, 12]),
    // RUSTSEC-2025-0023.
    ("tokio", [1, 44, 2]),
    // RUSTSEC-2026-0007.
    ("bytes", [1, 11, 1]),
    // RUSTSEC-2025-0047.
    ("slab", [0, 4, 11]),
    // RUSTSEC-2023-0058.
    ("inventory", [0, 2, 0]),
];

/// Not to be there at all.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "rustls-pemfile", "aws-lc-rs"];

/// Names and versions of all packages in a lock file.
fn packages(lock: &str) -> Vec<(String, [u64; 3])> {
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(['"', ' ', '=']).to_owned()
    };
    let packages = lock.split("[[package]]").skip(1).map(|package| {
        let version = field(package, "version");
        let numbers = version.split(['-', '+']).next().unwrap().split('.');
        let numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
        (field(package, "name"), numbers.try_into().unwrap())
    });
    packages.collect()
}

fn lock() -> Vec<(String, [u64; 3])> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    packages(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn no_dependency_is_older_than_its_last_flaw() {
    let packages = lock();
    for (name, floor) in FLOORS {
        let mut versions = packages.iter().filter(|(package, _)| package == name).peekable();
        assert!(versions.peek().is_some(), "`{name}` is not in the lock file");
        for (_, version) in versions {
            assert!(version >= floor, "`{name}` {version:?} is below {floor:?}");
        }
    }
}

#[test]
fn bincode_is_the_one_that_is_pinned() {
    let packages = lock();
    let versions: Vec<_> = packages.iter().filter(|(name, _)| name == "bincode").collect();
    assert_eq!(versions, [&("bincode".to_owned(), [2, 0, 1])]);
}

#[test]
fn no_other_tls_is_there() {
    for (name, _) in lock() {
        assert!(!BANNED.contains(&&*name), "`{name}` is in the lock file");
    }
}

#[test]
fn an_old_version_is_noticed() {
    let lock = "[[package]]\nname = \"quinn-proto\"\nversion = \"0.11.18+x\"\n";
    assert_eq!(packages(lock), [("quinn-proto".to_owned(), [0, 11, 18])]);
    assert!(packages(lock)[0].1 < FLOORS[1].1);
}
