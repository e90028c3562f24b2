//! The fuzz targets of `fuzz/`. The unit tests run them too, on the inputs in `fuzz/corpus/`. No
//! other build contains them.
//!
//! Each function takes arbitrary bytes, and panics on a violated invariant.

mod decode;
mod session;
mod wire;

pub use self::decode::{decode, json};
pub use self::session::session;
pub use self::wire::{control, frames, header, mux, ticket};

#[cfg(test)]
mod tests {
    /// Runs a target on all inputs of its corpus.
    fn replay(name: &str, target: fn(&[u8])) {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
        let inputs = std::fs::read_dir(format!("{corpus}/{name}")).unwrap();
        let mut n = 0;
        for input in inputs {
            let path = input.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let run = std::panic::catch_unwind(|| target(&bytes));
            assert!(run.is_ok(), "{}", path.display());
            n += 1;
        }
        assert!(n > 0, "no input for {name}");
    }

    macro_rules! replays {
        ($($target:ident)*) => {$(
            #[test]
            fn $target() {
                replay(stringify!($target), super::$target);
            }
        )*};
    }

    replays! { control decode frames header json mux session ticket }
}
