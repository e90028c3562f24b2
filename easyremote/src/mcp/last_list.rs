//! The tools of one identity, as they were asked for last.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::Error;
use crate::mcp::listed::{ListedTool, ToolList};

/// Time for which a call of a tool relies on the last list.
const LISTED_FOR: Duration = Duration::from_secs(2);

/// The last list, and when it was asked for. Calls that come together ask once: the gateway makes a
/// peer wait that asks for much.
#[derive(Debug, Default)]
pub(super) struct LastList {
    last: Mutex<Option<(Instant, Arc<ToolList>)>>,
}

impl LastList {
    /// Returns the tools that there are now. Cancel safe.
    ///
    /// # Errors
    /// Those of [`Client::functions`].
    pub(super) async fn renewed(&self, client: &Client) -> Result<Arc<ToolList>, Error> {
        Self::renew(&mut *self.last.lock().await, client).await
    }

    /// Returns a tool. One that is not in a list of the last seconds is looked for in a new one. Cancel
    /// safe.
    ///
    /// # Errors
    /// Those of [`Client::functions`].
    pub(super) async fn tool(
        &self,
        client: &Client,
        name: &str,
    ) -> Result<Option<ListedTool>, Error> {
        let mut last = self.last.lock().await;
        let known = last.as_ref().filter(|(asked, _)| asked.elapsed() < LISTED_FOR);
        if let Some(tool) = known.and_then(|(_, list)| list.get(name)) {
            return Ok(Some(tool.clone()));
        }
        Ok(Self::renew(&mut last, client).await?.get(name).cloned())
    }

    async fn renew(
        last: &mut Option<(Instant, Arc<ToolList>)>,
        client: &Client,
    ) -> Result<Arc<ToolList>, Error> {
        let asked = Instant::now();
        let list = Arc::new(ToolList::new(client.functions().await?));
        *last = Some((asked, list.clone()));
        Ok(list)
    }
}
