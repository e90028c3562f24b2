//! Calls that a node keeps while their caller is away, as an attacker writes them.

use common::hostile::wire;

/// The frame with which a node says that it has the call.
pub(super) const ATTACHED: u8 = 16;

/// Starts the call.
pub(super) const START: u8 = 0;
/// Continues a call that its node keeps.
pub(super) const CONTINUE: u8 = 1;

/// A call that its node keeps, or that continues one.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) id: [u8; 16],
    pub(super) secret: [u8; 16],
    /// The number of items that the caller claims to have taken.
    pub(super) taken: u64,
}

impl Kept {
    pub(super) fn new() -> Self {
        let random = || std::array::from_fn(|_| fastrand::u8(..));
        Self { id: random(), secret: random(), taken: 0 }
    }

    /// Returns the frames that begin a call of `function`, at the node "honest". The `options` have
    /// greater tags than those of a kept call.
    pub(super) fn call(&self, function: &str, kind: u8, step: u8, options: &[u8]) -> Vec<u8> {
        let resume = [&self.secret[..], &[step], &wire::varint(self.taken), &[0]].concat();
        let on = [&[1][..], &wire::string("honest")].concat();
        let options = [&on[..], &[15], &wire::string(&resume), options].concat();
        // The id is the first field.
        let rest = &wire::call(function, kind)[5 + 16..];
        let header = wire::frame(wire::HEADER, &[&self.id, rest, &options].concat());
        let body: &[u8] = if step == START { b"[]" } else { b"" };
        [header, wire::frame(wire::BODY, body)].concat()
    }
}
