//! Authentication: identities, tickets, tokens, certificates, and TLS.

pub(crate) mod address;
pub(crate) mod authorities;
#[cfg(feature = "http")]
pub(crate) mod bearer;
pub(crate) mod certificates;
pub(crate) mod credentials;
pub(crate) mod dial_options;
#[cfg(feature = "http")]
pub(crate) mod https;
#[cfg(feature = "attach")]
pub(crate) mod https_dialler;
pub(crate) mod identity;
pub(crate) mod private_file;
mod provider;
pub(crate) mod ticket;
pub(crate) mod tls;
