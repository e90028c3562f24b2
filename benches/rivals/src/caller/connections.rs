//! Connections, each with a call: one after the other, all at once, and one in a process's life.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::Client;
use crate::rival::{Caller, Place, Rival};

async fn connect<R: Rival>(place: Place) -> Result<R::Caller> {
    let caller = R::connect(place).await?;
    caller.echo(Bytes::from_static(&[7; 64])).await?;
    Ok(caller)
}

/// All that a short process does; what it has opened ends with it.
pub async fn call_once<R: Rival>(place: Place) -> Result<()> {
    connect::<R>(place).await.map(drop)
}

impl<R: Rival> Client<R> {
    pub async fn open_connections(&mut self, n: u64) -> Result<String> {
        for _ in 0..n {
            self.connections.push(connect::<R>(self.place.clone()).await?);
        }
        Ok(self.connections.len().to_string())
    }

    /// Milliseconds until all have made their call.
    pub async fn storm(&mut self, n: u64) -> Result<String> {
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..n {
            tasks.spawn(connect::<R>(self.place.clone()));
        }
        while let Some(connected) = tasks.join_next().await {
            self.connections.push(connected??);
        }
        Ok((begun.elapsed().as_secs_f64() * 1e3).to_string())
    }
}
