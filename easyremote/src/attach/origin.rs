//! The one origin that a node forwards to.

use std::net::SocketAddr;

use hyper::Uri;
use tokio::net::lookup_host;

use crate::error::{Error, ErrorKind};

/// Scheme, host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerOrigin {
    pub(super) is_https: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    port: u16,
    /// The value of the header `Host`.
    pub(super) authority: String,
}

impl ServerOrigin {
    /// Reads `http://host`, `http://host:port`, or the same with `https`.
    ///
    /// # Errors
    /// `InvalidInput` if it is something else.
    pub(super) fn read(url: &str) -> Result<Self, Error> {
        // The address is not quoted: it may have a password.
        let wrong = |why: &str| {
            let text = format!("the address of the local server {why}; write `http://host:port`");
            Error::new(ErrorKind::InvalidInput, text)
        };
        let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("begins with neither `http://` nor `https://`")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a user: pass a key as a header"));
        }
        if !["", "/"].contains(&uri.path()) || uri.query().is_some() {
            return Err(wrong("has a path: that of a request is appended to the origin"));
        }
        let host = authority.host();
        if host.is_empty() || authority.as_str().ends_with(':') {
            return Err(wrong("has no host, or no port behind its `:`"));
        }
        let named = authority.as_str().len() > host.len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if named => return Err(wrong("has no valid port")),
            None if is_https => 443,
            None => 80,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let authority = authority.as_str().to_ascii_lowercase();
        Ok(Self { is_https, host: bare.to_ascii_lowercase(), port, authority })
    }

    /// Looks up the addresses of the host. Done once, at the start: later answers of DNS lead nowhere
    /// else.
    ///
    /// # Errors
    /// `Unavailable` if there is none.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let none = || format!("the host of `{}` cannot be found", self.authority);
        let found = lookup_host((&*self.host, self.port))
            .await
            .map_err(|error| Error::new(ErrorKind::Unavailable, none()).with_source(error))?;
        let found: Vec<_> = found.collect();
        if found.is_empty() { Err(Error::new(ErrorKind::Unavailable, none())) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read() {
        for (url, is_https, host, port) in [
            ("http://127.0.0.1:11434", false, "127.0.0.1", 11_434),
            ("http://localhost/", false, "localhost", 80),
            ("https://Box.local", true, "box.local", 443),
            ("http://[::1]:8000", false, "::1", 8_000),
            ("HTTP://a:1", false, "a", 1),
        ] {
            let origin = ServerOrigin::read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let found = (origin.is_https, &*origin.host, origin.port);
            assert_eq!(found, (is_https, host, port), "{url}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for url in [
            "",
            "127.0.0.1:8000",
            "localhost",
            "ftp://a",
            "unix:/x",
            "http://",
            "http://a/v1",
            "http://a?b",
            "http://u:p@a",
            "http://a:99999",
            "http://a:",
            "http://a b",
            "//a",
            "/a",
            "http://:80",
        ] {
            let refused = ServerOrigin::read(url).map_err(|error| error.kind());
            assert_eq!(refused, Err(ErrorKind::InvalidInput), "{url}");
        }
        let told = ServerOrigin::read("http://u:secret@a").unwrap_err().to_string();
        assert!(!told.contains("secret"), "{told}");
    }
}
