//! Who makes a request.

use std::sync::Arc;

use axum::Extension;
use tokio_util::sync::CancellationToken;

use crate::transport::auth::credentials::Token;
use crate::wire::caller::Caller;

/// Who makes a request: an extension of each request that needs a bearer, added by the guard.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) caller: Caller,
    /// The token that the bearer is derived from.
    pub(super) token: Token,
    /// Cancelled when the token is revoked.
    pub(super) revoked: CancellationToken,
}

/// The extension, as routes take it.
pub(super) type AskedBy = Extension<Arc<Asker>>;

/// The origin of the page that makes a request, if it is one of another site: an extension of each
/// request, added by the guard.
#[derive(Clone, Debug)]
pub(super) struct PageOrigin(pub(super) Option<String>);
