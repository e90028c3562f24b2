//! Registers every `#[remote]` function with a body before `main`, so that `functions!()` finds the
//! functions of one crate.

use crate::function::local::Local;
use crate::function::registry::Functions;

/// One or more functions of one crate, built only when they are asked for.
#[derive(Debug)]
pub struct Registered {
    home: CrateId,
    functions: fn() -> Functions,
}

inventory::collect!(Registered);

impl Registered {
    /// Registers the functions that `functions` returns and that are defined in `home`.
    #[must_use]
    pub const fn new(home: CrateId, functions: fn() -> Functions) -> Self {
        Self { home, functions }
    }
}

/// Identifies the crate that code is compiled in, as far as the code can tell; written by `home!`.
///
/// A library and a binary of one package have the same crate name, and so may a library and an
/// integration test: the other fields distinguish them. Without cargo only the module is known.
#[derive(Clone, Copy, Debug)]
pub struct CrateId {
    /// The path of any module of the crate: it begins with the crate's name.
    pub module: &'static str,
    /// The package's name and version.
    pub package: [Option<&'static str>; 2],
    /// `CARGO_BIN_NAME`: set for binaries and examples.
    pub binary: Option<&'static str>,
    /// `CARGO_TARGET_TMPDIR`: set for integration tests and benches.
    pub scratch: Option<&'static str>,
}

impl CrateId {
    fn is(&self, other: &Self) -> bool {
        let root = |home: &Self| home.module.split("::").next();
        root(self) == root(other)
            && self.package == other.package
            && self.binary == other.binary
            && self.scratch.is_some() == other.scratch.is_some()
    }
}

/// Returns the functions of one crate, ordered by file and line.
#[must_use]
pub fn functions_of(home: CrateId) -> Functions {
    let entries = inventory::iter::<Registered>.into_iter().filter(|entry| entry.home.is(&home));
    let mut all = Functions::default();
    entries.for_each(|entry| all.extend((entry.functions)()));
    all.sort();
    all
}

/// Returns a list of one function.
#[must_use]
pub fn only<F: Local>() -> Functions {
    Functions::from([F::function()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_one_crate_of_one_package() {
        let home = |module, version, binary, scratch| CrateId {
            module,
            package: [Some("shop"), Some(version)],
            binary,
            scratch,
        };
        let library = home("shop::cart", "1.0.0", None, None);
        assert!(library.is(&home("shop", "1.0.0", None, None)));
        for other in [
            home("shop", "1.0.0", Some("shop"), None),
            home("shop", "1.0.0", None, Some("/target/tmp")),
            home("shop", "1.0.1", None, None),
            home("shopping::cart", "1.0.0", None, None),
        ] {
            assert!(!library.is(&other), "{other:?}");
        }
    }
}
