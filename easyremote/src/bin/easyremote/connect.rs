//! Clients of the gateway that the options name.

use easyremote::Client;
use easyremote::auth::DialOptions;

use crate::exit::Failure;
use crate::options::CommonOptions;

/// Connects to the gateway.
pub(crate) async fn connect(common: &CommonOptions) -> Result<Client, Failure> {
    Ok(Client::builder(&common.gateway).dial(dial_options(common)).connect().await?)
}

/// Returns how to reach a gateway.
pub(crate) fn dial_options(common: &CommonOptions) -> DialOptions {
    let mut dial = DialOptions::new().connect_timeout(common.connect_timeout);
    if let Some(directory) = &common.state_dir {
        dial = dial.state_dir(directory);
    }
    if let Some(file) = &common.authority {
        dial = dial.authority(file);
    }
    if let (Some(chain), Some(key)) = (&common.cert, &common.cert_key) {
        dial = dial.certificate(chain, key);
    }
    dial
}
