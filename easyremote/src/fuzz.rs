//! What the fuzz targets of `fuzz/` run. The unit tests run it too, on the inputs that are kept in
//! `fuzz/corpus/`. It exists in no other build.
//!
//! Each function takes any bytes, and panics if something is wrong.

mod decode;
mod session;
mod wire;

pub use self::decode::{decode, json};
pub use self::session::session;
pub use self::wire::{control, frames, header, mux, ticket};

#[cfg(test)]
mod tests {
    /// Runs a target on all inputs that are kept for it.
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
