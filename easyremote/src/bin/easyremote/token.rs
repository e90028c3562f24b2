//! `easyremote token`: the bearer of this user, for requests over HTTP.

use easyremote::auth::Bearer;
use easyremote::{Gateway, Role};
use serde_json::json;

use crate::exit::Failure;
use crate::options::{CommonOptions, TokenOptions, any_port};
use crate::output::Output;

/// Writes the bearer, or replaces it and writes the new one.
pub(crate) async fn token(
    common: &CommonOptions,
    token: &TokenOptions,
    output: &Output,
) -> Result<(), Failure> {
    if token.rotate {
        rotate(common, token.role).await?;
    }
    let bearer = of_this_user(common, token.role)?.to_string();
    match output.json {
        true => {
            let role = format!("{:?}", token.role).to_lowercase();
            output.document(&json!({ "bearer": bearer, "role": role })).await
        }
        false => output.line(bearer).await,
    }
}

/// The bearer of this user at gateways that have this user's identity.
pub(crate) fn of_this_user(common: &CommonOptions, role: Role) -> Result<Bearer, Failure> {
    Ok(Bearer::of_this_user(role, common.state_dir.as_deref())?)
}

/// Replaces the bearer. All gateways with this user's identity read how often that was done, so that
/// one that only exists for this moment, on a port of its own, can do it.
async fn rotate(common: &CommonOptions, role: Role) -> Result<(), Failure> {
    let mut builder = Gateway::builder(any_port());
    if let Some(directory) = &common.state_dir {
        builder = builder.state_dir(directory);
    }
    let gateway = builder.serve().await?;
    let rotated = gateway.rotate_bearer(role, "default");
    gateway.shutdown().await;
    rotated?;
    Ok(())
}
