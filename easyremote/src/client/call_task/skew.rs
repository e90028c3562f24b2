//! The second attempt, by name, of a call whose types no node has.

use crate::client::call_task::CallTask;
use crate::client::detour::is_waited_for;
use crate::error::{Error, ErrorKind, Executed};

impl CallTask {
    /// Prepares an attempt by name after one that failed with `error`, if the function says so and the
    /// call `may` be made again.
    ///
    /// # Errors
    /// `error` if the call is not made by name, or why it cannot be.
    pub(super) fn ask_by_name(&mut self, error: Error, may: bool) -> Result<(), Error> {
        let differs = error.kind() == ErrorKind::SignatureMismatch;
        let Some(skew) = &self.request.skew else { return Err(error) };
        // Whether there was no node at all is found out by the first attempt too, which does not wait.
        let follows = differs || (skew.waits && is_waited_for(error.kind()));
        if !may || !follows || error.executed() != Executed::No {
            return Err(error);
        }
        let waits = skew.waits;
        let limits = (self.link.limits.max_message, self.link.limits.max_decoded);
        skew.rewrite(&mut self.request.header, &mut self.request.body, limits)?;
        self.request.skew = None;
        if differs {
            let header = &self.request.header;
            self.link.mismatches.note(&header.function, header.fingerprint);
        }
        if let Some(resumption) = &mut self.resumption
            && !resumption.arguments.is_empty()
        {
            resumption.arguments.clone_from(&self.request.body);
        }
        // With several gateways no single one holds the call.
        self.request.header.routing.wait = waits && self.link.gateways.is_none();
        self.detour.begin_anew(waits && self.link.gateways.is_some());
        self.note_detour();
        Ok(())
    }
}
