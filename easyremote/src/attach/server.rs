//! Which server is attached, and how.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::attach::allowed::AllowedRequests;
use crate::attach::attached::AttachedServer;
use crate::attach::exchange::Forwarder;
use crate::attach::models::{follow, tags_with};
use crate::attach::origin::ServerOrigin;
use crate::error::{Error, ErrorKind};
use crate::function::forward::ForwardRequest;
use crate::function::handler;
use crate::function::local::Local;
use crate::function::registry::Functions;
use crate::node::NodeBuilder;

/// A local HTTP server, and the requests that it gets: to be [attached](Self::attach) to a gateway.
///
/// Requests go to this one origin: scheme, host and port are fixed, and the host is looked up once,
/// at the start. Redirects are not followed. TLS is version 1.3.
///
/// The server gets the requests that clients of OpenAI-compatible servers make: `GET /v1/models`,
/// `GET /v1/models/*`, and `POST` to `/v1/audio/*`, `/v1/chat/completions`, `/v1/completions`,
/// `/v1/embeddings`, `/v1/images/edits`, `/v1/images/generations`, `/v1/images/variations`,
/// `/v1/messages`, `/v1/moderations`, `/v1/rerank`, `/v1/responses`, `/v1/score`;
/// [`allow`](Self::allow) adds others. Paths are compared as they are written. Those that servers
/// read differently, with `..`, `//`, a backslash, or an encoded dot, slash or backslash, are refused.
///
/// ```no_run
/// use easyremote::Node;
/// use easyremote::attach::LocalServer;
///
/// # async fn example() -> Result<(), easyremote::Error> {
/// let server = LocalServer::new("http://127.0.0.1:11434").allow("POST /api/chat");
/// let attached = server.attach("gpu-1", Node::builder(easyremote::from_env()?)).await?;
/// println!("{:?}", attached.models());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a server does nothing until it is attached"]
#[doc(alias = "tunnel")]
#[doc(alias = "reverse proxy")]
#[doc(alias = "ollama")]
pub struct LocalServer {
    url: String,
    allow: Vec<String>,
    /// The values are marked as sensitive, so that none is shown.
    headers: Vec<Result<(HeaderName, HeaderValue), String>>,
    authority: Option<PathBuf>,
    head_timeout: Duration,
}

/// Time for the head of an answer: a model may have to be loaded, and an answer that is not streamed
/// has no head before it is complete.
const HEAD_TIMEOUT: Duration = Duration::from_secs(600);

impl LocalServer {
    /// Creates the description of the server at `url`, which is `http://host:port` or
    /// `https://host:port`, without a path.
    ///
    /// ```
    /// use easyremote::attach::LocalServer;
    ///
    /// let server = LocalServer::new("http://127.0.0.1:8000");
    /// # let _ = server;
    /// ```
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            allow: Vec::new(),
            headers: Vec::new(),
            authority: None,
            head_timeout: HEAD_TIMEOUT,
        }
    }

    /// Lets the server get further requests: `GET /api/tags`, or `POST /api/*` for all paths that begin
    /// with `/api/`.
    ///
    /// `CONNECT` and `TRACE` are never forwarded, and neither is a request that asks for another
    /// protocol with `Upgrade`.
    ///
    /// ```
    /// use easyremote::attach::LocalServer;
    ///
    /// let server = LocalServer::new("http://127.0.0.1:11434").allow("GET /api/tags");
    /// # let _ = server;
    /// ```
    pub fn allow(mut self, rule: impl Into<String>) -> Self {
        self.allow.push(rule.into());
        self
    }

    /// Adds a header to each request, in place of the caller's: the server's own key, for example. The
    /// value is neither logged nor shown.
    ///
    /// ```
    /// use easyremote::attach::LocalServer;
    ///
    /// let key = "Bearer abc"; // from the environment
    /// let server = LocalServer::new("http://127.0.0.1:8000").header("Authorization", key);
    /// assert!(!format!("{server:?}").contains("abc"));
    /// ```
    #[doc(alias = "api_key")]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let refused =
            |what| format!("the {what} of the header `{}` is invalid", name.escape_debug());
        let read = HeaderName::try_from(name).map_err(|_| refused("name")).and_then(|name| {
            let mut value = HeaderValue::try_from(value).map_err(|_| refused("value"))?;
            value.set_sensitive(true);
            Ok((name, value))
        });
        self.headers.push(read);
        self
    }

    /// Names the PEM file of the authorities that verify the server, if its address begins with
    /// `https://`. Without one, the public authorities do (feature `public-ca`).
    ///
    /// ```
    /// use easyremote::attach::LocalServer;
    ///
    /// let server = LocalServer::new("https://box.local:8443").authority("/etc/ssl/box.pem");
    /// # let _ = server;
    /// ```
    #[doc(alias = "ca")]
    pub fn authority(mut self, file: impl AsRef<Path>) -> Self {
        self.authority = Some(file.as_ref().to_owned());
        self
    }

    /// Sets how long the server may take until the head of its answer arrives; 10 minutes by default. A
    /// request that takes longer ends with
    /// [`DeadlineExceeded`](ErrorKind::DeadlineExceeded), [`Maybe`](crate::Executed::Maybe). The body
    /// of an answer has no limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::attach::LocalServer;
    ///
    /// let server = LocalServer::new("http://127.0.0.1:8000").head_timeout(Duration::from_secs(60));
    /// # let _ = server;
    /// ```
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// Starts a node that offers the server under `name`, which is also the id of the node: 1 to 64 of
    /// `A-Z a-z 0-9 _ -`. The node is registered when this returns.
    ///
    /// `node` has the gateways, further tags, and how many requests run at a time
    /// ([`concurrency`](NodeBuilder::concurrency)): others wait at the gateway. It may offer functions
    /// too.
    ///
    /// The node reads `GET /v1/models` at the start and every 30 s, and has a tag `model:NAME` for each
    /// model. It has at most 64 tags; further models are left out, with a warning. A server that is
    /// not there, or has no such list, has no models; while it is not there, the node looks for it
    /// every 2 s.
    ///
    /// ```no_run
    /// use easyremote::Node;
    /// use easyremote::attach::LocalServer;
    ///
    /// # async fn example() -> Result<(), easyremote::Error> {
    /// let node = Node::builder(easyremote::from_env()?).tag("gpu").concurrency(4);
    /// let attached = LocalServer::new("http://127.0.0.1:8000").attach("gpu-1", node).await?;
    /// # let _ = attached;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`InvalidInput`](ErrorKind::InvalidInput) if the address, the name, a rule or a header is
    ///   invalid, or the address begins with `https://` and there are no authorities.
    /// - [`Unavailable`](ErrorKind::Unavailable) if the server's host cannot be found, or the file of
    ///   authorities cannot be read.
    /// - Those of [`NodeBuilder::serve`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    pub async fn attach(self, name: &str, node: NodeBuilder) -> Result<AttachedServer, Error> {
        check_name(name)?;
        let forwarder = Arc::new(self.forwarder().await?);
        let look = forwarder.look().await;
        let node = node
            .id(name)
            .functions(Functions::from([ForwardRequest::function()]))
            .shared_state(forwarder.clone())
            .shared_instance(name, forwarder.clone());
        let node = Arc::new(node.serve().await?);
        let own = node.tags();
        node.set_tags(tags_with(&own, &look)).await?;
        let models = tokio::spawn(follow(forwarder, Arc::downgrade(&node), own, look));
        Ok(AttachedServer { node, _models: AbortOnDropHandle::new(models) })
    }

    async fn forwarder(&self) -> Result<Forwarder, Error> {
        let origin = ServerOrigin::read(&self.url)?;
        let invalid = |text: &String| Error::new(ErrorKind::InvalidInput, text.clone());
        let own = self.headers.iter().map(|header| header.as_ref().cloned().map_err(invalid));
        let own = own.collect::<Result<_, _>>()?;
        let allowed = AllowedRequests::new(&self.allow)?;
        let (addresses, tls) = Forwarder::reach(&origin, self.authority.as_deref()).await?;
        Ok(Forwarder {
            origin,
            addresses,
            tls,
            allowed,
            own,
            head_timeout: self.head_timeout,
            unreachable: Notify::new(),
        })
    }
}

impl Local for ForwardRequest {
    fn handler() -> handler::Handler {
        let handler = handler::stream::<Self, _>(|mut inputs, (head,), sink| async move {
            let body = inputs.upload::<bytes::Bytes>();
            let parts = inputs.receiver::<Forwarder>().forward(head, body).await;
            sink.forward(parts).await;
        });
        handler.needs_receiver::<Forwarder>()
    }
}

/// Checks the name of a server, which is a part of a path and of the name of a function.
fn check_name(name: &str) -> Result<(), Error> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !(1..=MAX_SERVER_NAME).contains(&name.len()) || !name.bytes().all(is_fine) {
        let text = format!(
            "`{}` cannot be the name of an attached server: use 1 to {MAX_SERVER_NAME} of \
             `A-Z a-z 0-9 _ -`",
            name.escape_debug()
        );
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(())
}

/// Longest name of a server, in bytes.
const MAX_SERVER_NAME: usize = 64;
