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
    ("rustls-webpki", [0, 103, 14]),
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

/// The versions that a manifest asks for, of what it calls by name.
fn asked_for(manifest: &str) -> Vec<(String, [u64; 3])> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
    let text = std::fs::read_to_string(path).unwrap();
    let value = |text: &str, key: &str| {
        let (_, rest) = text.split_once(&format!("{key} = \""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let dependencies = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" = ")?;
        let version = value(rest, "version").or_else(|| {
            rest.strip_prefix('"').and_then(|rest| Some(rest.split('"').next()?.to_owned()))
        })?;
        let mut numbers = version.trim_start_matches('=').split('.').map(str::parse);
        let mut next = || numbers.next().unwrap_or(Ok(0)).ok();
        let version = [next()?, next()?, next()?];
        Some((value(rest, "package").unwrap_or_else(|| name.to_owned()), version))
    });
    dependencies.collect()
}

/// Whoever resolves to the least versions gets none with a known flaw.
#[test]
fn the_manifests_ask_for_no_less() {
    let manifests = ["Cargo.toml", "easyremote/Cargo.toml", "easyremote-macros/Cargo.toml"];
    let asked: Vec<_> = manifests.iter().flat_map(|manifest| asked_for(manifest)).collect();
    for (name, floor) in FLOORS {
        let of_it: Vec<_> = asked.iter().filter(|(asked, _)| asked == name).collect();
        assert!(!of_it.is_empty(), "no manifest asks for `{name}`");
        for (_, version) in of_it {
            assert!(version >= floor, "a manifest asks for `{name}` {version:?}, below {floor:?}");
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
