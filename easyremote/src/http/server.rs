//! The listener and its connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::error::{Error, ErrorKind};
use crate::gateway::Gateway;
use crate::http::callers::Callers;
use crate::http::guard::{Ends, Site};
use crate::http::options::HttpOptions;
use crate::http::routes::router;
use crate::transport::auth::https::HttpsAcceptor;
use crate::transport::auth::ticket::host_and_port;
use crate::transport::io::io_thread::IoThread;

/// A running HTTP server of a gateway. Dropping it stops the server; it ends with its gateway too.
///
/// It has a thread of its own, "easyremote-http", so that no request delays calls over QUIC.
///
/// ```
/// use easyremote::Gateway;
/// use easyremote::http::HttpOptions;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
///
/// let gateway = Gateway::serve("127.0.0.1:0").await?;
/// let http = gateway.serve_http(HttpOptions::new("127.0.0.1:0")).await?;
/// println!("http://{}/health", http.local_addr());
/// # gateway.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "rest")]
#[derive(Debug)]
#[must_use = "dropping the server stops it"]
pub struct HttpServer {
    thread: IoThread,
    local_addr: SocketAddr,
    https: Option<HttpsAcceptor>,
}

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Time for the header of a request to arrive, from the end of the request before it.
const HEADER: Duration = Duration::from_secs(10);

/// Maximum size of the header of a request, in bytes.
const MAX_HEADER: usize = 32 << 10;

/// Maximum number of fields in it.
const MAX_FIELDS: usize = 64;

/// Time after which a connection without a byte is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(30);

/// Time for requests to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

impl Gateway {
    /// Starts an HTTP server beside the gateway. The socket is bound and the server is running when
    /// this returns. What it serves is in [`easyremote::http`](crate::http).
    ///
    /// Every request but `GET /health` needs a [bearer](Self::bearer), also on loopback: any page in
    /// a browser can make requests there.
    ///
    /// ```
    /// use easyremote::http::HttpOptions;
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let http = gateway.serve_http(HttpOptions::new("127.0.0.1:0")).await?;
    /// let bearer = gateway.bearer(Role::Admin, "default")?;
    /// println!("curl -H 'Authorization: Bearer {bearer}' http://{}/nodes", http.local_addr());
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`InvalidInput`](ErrorKind::InvalidInput) if the address is not `host:port`, an option is
    ///   invalid, or bearers would travel in the clear: see [`HttpOptions::certificate`].
    /// - [`Unavailable`](ErrorKind::Unavailable) if the address cannot be bound, or a file of the
    ///   certificate cannot be used.
    ///
    /// # Cancel safety
    /// Dropping the future stops the server; nothing keeps running.
    #[doc(alias = "rest")]
    #[doc(alias = "dashboard")]
    pub async fn serve_http(&self, options: HttpOptions) -> Result<HttpServer, Error> {
        options.check()?;
        let (listener, local_addr) = bind(&options.address).await?;
        options.check_address(local_addr)?;
        let https = options.certificate.as_ref().map(HttpsAcceptor::new).transpose()?;
        let callers = Callers::new(self.local_addr());
        let site = Arc::new(Site::new(self.view(), callers, &options, local_addr));
        let connections = Arc::new(Semaphore::new(options.connections.min(Semaphore::MAX_PERMITS)));
        let stall_timeout = options.stall_timeout;
        let listening = Listening { site, https: https.clone(), connections, stall_timeout };
        let thread = IoThread::start("easyremote-http", move |stop, guard| async move {
            // No peer has to be notified of the end.
            drop(guard);
            listening.run(listener, stop).await;
        })?;
        tracing::info!(%local_addr, "HTTP server listening");
        Ok(HttpServer { thread, local_addr, https })
    }
}

impl HttpServer {
    /// Returns the address that the server listens on.
    ///
    /// ```
    /// # use easyremote::http::HttpOptions;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// let http = gateway.serve_http(HttpOptions::new("127.0.0.1:0")).await?;
    /// assert_ne!(http.local_addr().port(), 0);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "port")]
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Reads the files of [`HttpOptions::certificate`] again, for example after a renewal. New
    /// connections use the new files. Without such files this does nothing.
    ///
    /// ```
    /// # use easyremote::http::HttpOptions;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// let http = gateway.serve_http(HttpOptions::new("127.0.0.1:0")).await?;
    /// http.reload_certificate()?;
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) if a file cannot be used; the message names it. The
    /// previous certificate stays in use.
    #[doc(alias = "renew")]
    pub fn reload_certificate(&self) -> Result<(), Error> {
        self.https.as_ref().map_or(Ok(()), HttpsAcceptor::reload)
    }

    /// Stops accepting connections, lets requests end, for 5 s at most, and waits until the port is
    /// free.
    ///
    /// ```
    /// # use easyremote::http::HttpOptions;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// let http = gateway.serve_http(HttpOptions::new("127.0.0.1:0")).await?;
    /// http.shutdown().await;
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Once polled, the server ends even if the future is dropped.
    #[doc(alias = "stop")]
    #[doc(alias = "close")]
    pub async fn shutdown(&self) {
        self.thread.stop();
        self.thread.ended().await;
    }
}

/// Binds the address. The listener is the standard library's, so that another runtime can have it.
async fn bind(address: &str) -> Result<(std::net::TcpListener, SocketAddr), Error> {
    if host_and_port(address).is_none() {
        // The address is not quoted: it may be a ticket, which contains a secret.
        let text = "the address to listen on for HTTP is invalid; write `host:port`";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    let failed = |error: io::Error| {
        let text = format!("cannot listen on `{}` for HTTP", address.escape_debug());
        Error::new(ErrorKind::Unavailable, text).with_source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener.into_std().map_err(failed)?, local))
}

/// What all connections share.
#[derive(Clone, Debug)]
struct Listening {
    site: Arc<Site>,
    https: Option<HttpsAcceptor>,
    connections: Arc<Semaphore>,
    stall_timeout: Duration,
}

impl Listening {
    /// Serves connections until `stop` is cancelled or the gateway ends.
    async fn run(self, listener: std::net::TcpListener, stop: CancellationToken) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the HTTP server cannot listen"),
        };
        let (tracker, router) = (TaskTracker::new(), router(self.site.clone()));
        tokio::select! {
            () = self.accept(&listener, &tracker, &router, &stop) => {}
            () = stop.cancelled() => {}
            () = self.site.gateway.ends() => {}
        }
        drop(listener);
        stop.cancel();
        tracker.close();
        let _ = timeout(GRACE, tracker.wait()).await;
    }

    async fn accept(
        &self,
        listener: &TcpListener,
        tracker: &TaskTracker,
        router: &Router,
        stop: &CancellationToken,
    ) {
        // Closed only with the server.
        while let Ok(permit) = self.connections.clone().acquire_owned().await {
            let (stream, remote) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    // Out of descriptors, for example: connections that end free some.
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !self.site.accepts(remote.ip()) {
                continue;
            }
            let (this, router, stop) = (self.clone(), router.clone(), stop.clone());
            tracker.spawn(async move {
                let _permit = permit;
                if let Err(error) = this.serve(stream, remote, router, stop).await {
                    tracing::debug!(%remote, %error, "an HTTP connection has ended");
                }
            });
        }
    }

    async fn serve(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        router: Router,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let ends = Ends { remote, local: stream.local_addr()? };
        let stall_timeout = self.stall_timeout;
        stream.set_nodelay(true)?;
        // A caller that has gone without a word is noticed, also while its function is quiet.
        let keep_alive = TcpKeepalive::new().with_time(QUIET).with_interval(QUIET / 3);
        SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
        match &self.https {
            None => converse(stream, stall_timeout, router, ends, stop).await,
            Some(https) => {
                let stream = timeout(HANDSHAKE, https.accept(stream)).await??;
                converse(stream, stall_timeout, router, ends, stop).await
            }
        }
    }
}

/// Serves the requests of one connection. Ends after the current one when `stop` is cancelled.
async fn converse(
    stream: impl AsyncRead + AsyncWrite,
    stall_timeout: Duration,
    router: Router,
    ends: Ends,
    stop: CancellationToken,
) -> io::Result<()> {
    let stop_of_answers = stop.clone();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stall_timeout));
    let stream = Box::pin(stream);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        request.extensions_mut().insert(stop_of_answers.clone());
        let answer = router.clone().oneshot(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(MAX_HEADER)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    served.map_err(io::Error::other)
}
