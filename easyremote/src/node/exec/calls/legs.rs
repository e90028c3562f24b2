//! A session as the legs of resumable streams use it.

use futures::future::BoxFuture;

use crate::node::exec::calls::NodeCalls;
use crate::node::exec::resumable::leg::LegSession;

impl LegSession for NodeCalls {
    fn add_leg(&self, stream: u64) {
        self.table.lock().add_leg(stream);
    }

    fn forget_leg(&self, stream: u64) {
        self.table.lock().remove_leg(stream);
    }

    fn end_leg(&self, stream: u64) {
        let wanted = self.table.lock().remove_leg(stream);
        if wanted {
            self.release(stream);
        }
    }

    fn is_open(&self) -> bool {
        self.session.connection.close_reason().is_none()
    }

    fn max_message(&self) -> usize {
        self.session.limits.max_message
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.session.link.spawn(task).detach();
    }
}
