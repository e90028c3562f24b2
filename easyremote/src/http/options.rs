//! Where an HTTP server listens, and whom it answers.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, not_zero};

/// Options of an [`HttpServer`](crate::http::HttpServer).
///
/// Each setter that takes a list adds to it.
///
/// ```
/// use easyremote::http::HttpOptions;
///
/// let options = HttpOptions::new("0.0.0.0:8443")
///     .certificate("/etc/letsencrypt/fullchain.pem", "/etc/letsencrypt/privkey.pem")
///     .hosts(["gw.example.com:8443"])
///     .origins(["https://app.example.com"]);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are passed to `serve_http`"]
pub struct HttpOptions {
    pub(super) address: String,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) hosts: Vec<String>,
    pub(super) origins: Vec<String>,
    pub(super) proxies: Vec<IpAddr>,
    pub(super) connections: usize,
    pub(super) max_body: usize,
    pub(super) rate: u32,
    pub(super) stall_timeout: Duration,
}

impl HttpOptions {
    /// Creates options for a server at `address`, which is `host:port`. Port 0 selects a free port.
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    ///
    /// let options = HttpOptions::new("127.0.0.1:8080");
    /// # let _ = options;
    /// ```
    pub fn new(address: impl ToString) -> Self {
        Self {
            address: address.to_string(),
            certificate: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            proxies: Vec::new(),
            connections: 1_024,
            max_body: 16 << 20,
            rate: 1_000,
            stall_timeout: Duration::from_secs(60),
        }
    }

    /// Serves HTTPS with the certificate chain and the private key in two PEM files. They are read
    /// at the start, and again by
    /// [`HttpServer::reload_certificate`](crate::http::HttpServer::reload_certificate).
    ///
    /// Without a certificate the server listens on loopback addresses only, unless it is
    /// [behind a proxy](Self::behind_proxy).
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    ///
    /// let options = HttpOptions::new("0.0.0.0:443").certificate("chain.pem", "key.pem");
    /// # let _ = options;
    /// ```
    #[doc(alias = "tls")]
    #[doc(alias = "https")]
    pub fn certificate(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.certificate = Some((chain.as_ref().to_owned(), key.as_ref().to_owned()));
        self
    }

    /// Answers requests whose header `Host` is one of these: `name`, or `name:port` if the port is
    /// not the default of the scheme. Case does not matter.
    ///
    /// The address that the server listens on is always answered, and on loopback also `localhost`
    /// with its port. Requests with any other `Host` get 421: they come from a page whose name was
    /// made to lead here (DNS rebinding).
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    ///
    /// let options = HttpOptions::new("127.0.0.1:8080").hosts(["gw.example.com"]);
    /// # let _ = options;
    /// ```
    #[doc(alias = "virtual_host")]
    pub fn hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.hosts.extend(hosts.into_iter().map(|host| host.into().to_ascii_lowercase()));
        self
    }

    /// Lets pages of these origins, such as `https://app.example.com`, make requests and read the
    /// answers (CORS). They need a bearer as all others.
    ///
    /// Requests with a header `Origin` that is neither listed nor of the server itself get 403.
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    ///
    /// let options = HttpOptions::new("127.0.0.1:8080").origins(["https://app.example.com"]);
    /// # let _ = options;
    /// ```
    #[doc(alias = "cors")]
    pub fn origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.origins.extend(origins.into_iter().map(|origin| origin.into().to_ascii_lowercase()));
        self
    }

    /// Accepts connections of these proxies only, which end TLS and pass requests on. The client's
    /// address is then the last one in `X-Forwarded-For`.
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    ///
    /// let proxy = "10.0.0.2".parse().unwrap();
    /// let options = HttpOptions::new("10.0.0.3:8080").behind_proxy([proxy]);
    /// # let _ = options;
    /// ```
    #[doc(alias = "trusted_proxy")]
    pub fn behind_proxy(mut self, proxies: impl IntoIterator<Item = IpAddr>) -> Self {
        self.proxies.extend(proxies);
        self
    }

    /// Sets how many connections may be open at a time; 1,024 by default. Others wait to be
    /// accepted.
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    ///
    /// let options = HttpOptions::new("127.0.0.1:8080").connections(100);
    /// # let _ = options;
    /// ```
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets the maximum size of the body of a request, or of one line of a body of JSON lines, in
    /// bytes; 16 MiB by default. All requests together hold at most 16 such bodies at a time; arguments
    /// count until their call has ended, or its stream is open.
    ///
    /// Arguments also have to keep to the limit of the gateway for one message, 64 MiB by default.
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    ///
    /// let options = HttpOptions::new("127.0.0.1:8080").max_body(1 << 20);
    /// # let _ = options;
    /// ```
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets how many requests per second one identity may make; 1,000 by default. As many may come at
    /// once after a quiet second. Further ones get 429 with `Retry-After`.
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    ///
    /// let options = HttpOptions::new("127.0.0.1:8080").rate(50);
    /// # let _ = options;
    /// ```
    #[doc(alias = "rate_limit")]
    #[doc(alias = "throttle")]
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = per_second;
        self
    }

    /// Sets how long an answer may wait for its reader to take more of it; 60 s by default. After that
    /// the connection is closed, and the function cancelled.
    ///
    /// Until then a stream whose reader does not read makes its function wait.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::http::HttpOptions;
    ///
    /// let options = HttpOptions::new("127.0.0.1:8080").stall_timeout(Duration::from_secs(10));
    /// # let _ = options;
    /// ```
    #[doc(alias = "write_timeout")]
    #[doc(alias = "slow_reader")]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout;
        self
    }

    /// # Errors
    /// `InvalidInput` if something is not as it has to be.
    pub(super) fn check(&self) -> Result<(), Error> {
        not_zero("connections", self.connections as u64)?;
        not_zero("max_body", self.max_body as u64)?;
        not_zero("rate", u64::from(self.rate))?;
        not_zero("stall_timeout", self.stall_timeout.as_nanos() as u64)?;
        let is_origin = |origin: &&String| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            !host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ', '@']))
        };
        if let Some(odd) = self.origins.iter().find(is_origin) {
            let text = format!(
                "`{}` is not an origin: write `https://host` or `https://host:port`",
                odd.escape_debug()
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(())
    }

    /// Checks that nothing secret travels in the clear.
    ///
    /// # Errors
    /// `InvalidInput` if it would.
    pub(super) fn check_address(&self, address: SocketAddr) -> Result<(), Error> {
        let safe =
            self.certificate.is_some() || !self.proxies.is_empty() || address.ip().is_loopback();
        if safe {
            return Ok(());
        }
        let text = format!(
            "bearers would travel in the clear at {address}: pass `certificate` to the options, \
             listen on a loopback address, or name the proxies in front with `behind_proxy`"
        );
        Err(Error::new(ErrorKind::InvalidInput, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_are_origins() {
        let checked = |origin: &str| HttpOptions::new("x").origins([origin]).check().is_ok();
        for fine in ["https://a.b", "http://localhost:3000", "https://[::1]:8080"] {
            assert!(checked(fine), "{fine}");
        }
        for odd in ["", "*", "a.b", "https://", "https://a.b/", "https://*.b", "ftp://a", "null"] {
            assert!(!checked(odd), "{odd}");
        }
    }

    #[test]
    fn secrets_do_not_travel_in_the_clear() {
        let proxy: IpAddr = "10.0.0.2".parse().unwrap();
        for (address, plain) in [
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("127.9.9.9:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("192.168.1.2:80", false),
        ] {
            let (options, at) = (HttpOptions::new(address), address.parse().unwrap());
            assert_eq!(options.check_address(at).is_ok(), plain, "{address}");
            options.clone().certificate("a", "b").check_address(at).unwrap();
            options.behind_proxy([proxy]).check_address(at).unwrap();
        }
    }
}
