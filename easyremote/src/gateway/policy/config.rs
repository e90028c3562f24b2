//! The builder's options for authentication and authorization.

use std::path::PathBuf;

use crate::gateway::policy::access::Access;
use crate::transport::auth::certificates::KeyFiles;
use crate::wire::control::Role;

/// What a gateway trusts and allows.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyOptions {
    pub(crate) tokens: Vec<(Role, String)>,
    pub(crate) certificate: Option<KeyFiles>,
    pub(crate) authorities: Vec<(Role, PathBuf)>,
    pub(crate) access: Access,
}
