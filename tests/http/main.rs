//! The gateway's HTTP server, asked as any program or page may ask it.

mod attach;
mod attacks;
mod calls;
mod exchange;
mod feed;
mod guard;
mod limits;
mod lists;
mod resumed;
mod secure;
mod tickets;

use std::net::SocketAddr;

use common::soon;
use easyremote::gateway::GatewayBuilder;
use easyremote::http::{HttpOptions, HttpServer};
use easyremote::{Gateway, Role};

/// A gateway with an HTTP server on loopback.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) http: HttpServer,
    pub(crate) state: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(|gateway| gateway, |options| options).await
    }

    pub(crate) async fn with(
        gateway: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
        options: impl FnOnce(HttpOptions) -> HttpOptions,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let builder = common::gateway_at("127.0.0.1:0").state_dir(state.path());
        let gateway = soon(gateway(builder).serve()).await.unwrap();
        let options = options(HttpOptions::new("127.0.0.1:0"));
        let http = soon(gateway.serve_http(options)).await.unwrap();
        Self { gateway, http, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// The header of a request by the default client or admin.
    pub(crate) fn bearer(&self, role: Role) -> String {
        self.bearer_of(role, "default")
    }

    pub(crate) fn bearer_of(&self, role: Role, name: &str) -> String {
        format!("Authorization: Bearer {}", self.gateway.bearer(role, name).unwrap())
    }
}
