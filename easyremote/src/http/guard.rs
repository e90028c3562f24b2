//! Who may ask: the checks that every request passes before a route sees it.
//!
//! Any web page can make a browser send requests here, also to loopback, and a name that its owner
//! controls can lead here too. So the order is: `Host`, then `Origin`, then the bearer.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN,
    REFERRER_POLICY, TRANSFER_ENCODING, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::client::Client;
use crate::error::printable::one_line;
use crate::error::{Error, ErrorKind};
use crate::gateway::{Admitted, GatewayView};
use crate::http::answer::segment;
use crate::http::asked::PREFIX;
use crate::http::asker::{Asker, PageOrigin};
use crate::http::body::BodyLimits;
use crate::http::callers::Callers;
use crate::http::openapi::OpenApi;
use crate::http::options::HttpOptions;
use crate::http::problem::Problem;
use crate::http::rates::RequestRates;
use crate::http::stream_ids::{IdOwner, SpentTicket, StreamIds, TicketReader, last_event_id};
use crate::http::stream_readers::StreamReaders;
use crate::http::ticket_list::{StreamTicket, TicketList};
use crate::transport::auth::bearer::Bearer;
use crate::transport::auth::credentials::Token;
use crate::wire::caller::Caller;
use crate::wire::control::Role;

/// What all requests of a server are checked against.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) gateway: GatewayView,
    callers: Callers,
    pub(super) bodies: BodyLimits,
    pub(super) tickets: TicketList,
    rates: RequestRates,
    pub(super) openapi: OpenApi,
    pub(super) stream_ids: StreamIds,
    pub(super) readers: Arc<StreamReaders>,
    hosts: HashSet<String>,
    origins: HashSet<String>,
    proxies: Vec<IpAddr>,
    scheme: &'static str,
    port: u16,
}

/// The ends of the connection that a request came on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Bytes of a path that the access log shows.
const MAX_PATH: usize = 256;

/// Requests that need no bearer: the page has no data of its own.
const OPEN: &[&str] = &["/", "/health"];

impl Site {
    pub(super) fn new(
        gateway: GatewayView,
        callers: Callers,
        options: &HttpOptions,
        local: SocketAddr,
    ) -> Self {
        let scheme = if options.certificate.is_some() { "https" } else { "http" };
        let stream_ids = StreamIds::new(&gateway.derive("http stream ids"));
        Self {
            gateway,
            callers,
            stream_ids,
            readers: Arc::default(),
            bodies: BodyLimits::new(options.max_body),
            tickets: TicketList::default(),
            rates: RequestRates::new(options.rate),
            openapi: OpenApi::default(),
            hosts: options.hosts.iter().cloned().collect(),
            origins: options.origins.iter().cloned().collect(),
            proxies: options.proxies.clone(),
            scheme,
            port: local.port(),
        }
    }

    /// Returns the client that makes the calls of `asker`. Cancel safe.
    ///
    /// # Errors
    /// Those of connecting to the gateway.
    pub(super) async fn client(&self, asker: &Asker) -> Result<Client, Error> {
        self.callers.client(self.gateway.pin(), asker).await
    }

    /// Whether connections from this address are accepted.
    pub(super) fn accepts(&self, remote: IpAddr) -> bool {
        self.proxies.is_empty() || self.proxies.contains(&remote.to_canonical())
    }

    /// Returns the address of this server for those who have reached it as `host`.
    pub(super) fn url(&self, host: &str) -> String {
        // A proxy ends TLS.
        let scheme = if self.proxies.is_empty() { self.scheme } else { "https" };
        format!("{scheme}://{host}")
    }

    /// Checks that the request is meant for this server.
    fn check_host(&self, request: &Request, ends: Ends) -> Result<String, Problem> {
        let named = single(request.headers(), &HOST).map(str::to_ascii_lowercase);
        let authority = request.uri().authority().map(|it| it.as_str().to_ascii_lowercase());
        let named = named.filter(|host| authority.as_ref().is_none_or(|same| same == host));
        let known = |host: &String| self.hosts.contains(host) || self.is_own(host, ends.local.ip());
        named.filter(known).ok_or_else(|| {
            let text = "the header `Host` names no host of this server: add it with \
                        `HttpOptions::hosts`";
            Problem::new(StatusCode::MISDIRECTED_REQUEST, ErrorKind::PermissionDenied, text)
        })
    }

    /// Whether `host` is the address that the connection arrived at.
    fn is_own(&self, host: &str, local: IpAddr) -> bool {
        let standard = if self.scheme == "https" { 443 } else { 80 };
        let bare = match host.rsplit_once(':') {
            Some((bare, port)) if port.parse() == Ok(self.port) => bare,
            // Without a port, it is that of the scheme.
            _ if self.port == standard => host,
            _ => return false,
        };
        let local = local.to_canonical();
        let named = match bare.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            Some(v6) => v6.parse().ok().map(IpAddr::V6),
            None => bare.parse().ok().map(IpAddr::V4),
        };
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        match named {
            Some(named) => named == local || (local.is_loopback() && loopback.contains(&named)),
            None => local.is_loopback() && bare == "localhost",
        }
    }

    /// Returns the `Origin` of a page elsewhere that may ask; `None` if the request comes from no
    /// other page.
    fn check_origin(&self, request: &Request, host: &str) -> Result<Option<String>, Problem> {
        if !request.headers().contains_key(ORIGIN) {
            return Ok(None);
        }
        let origin = single(request.headers(), &ORIGIN).map(str::to_ascii_lowercase);
        let own = |origin: &str| match origin.split_once("://") {
            // A proxy may end TLS.
            Some((scheme, at)) => at == host && (scheme == self.scheme || !self.proxies.is_empty()),
            None => false,
        };
        match origin {
            Some(origin) if own(&origin) => Ok(None),
            Some(origin) if self.origins.contains(&origin) => Ok(Some(origin)),
            _ => {
                let text = "pages of this origin may not make requests: add it with \
                            `HttpOptions::origins`";
                Err(Problem::new(StatusCode::FORBIDDEN, ErrorKind::PermissionDenied, text))
            }
        }
    }

    /// Returns who makes the request, and adds what its ticket opens if it shows one.
    fn asker(
        &self,
        request: &mut Request,
        ends: Ends,
        origin: Option<&str>,
    ) -> Result<Arc<Asker>, Problem> {
        let headers = request.headers();
        if !headers.contains_key(AUTHORIZATION)
            && let Some(secret) = shown_ticket(request)
        {
            let (path, origin) = (request.uri().path().to_owned(), origin.map(str::to_owned));
            return self.asker_of_ticket(request, ends, SpentTicket { secret, path, origin });
        }
        let bearer = bearer_of(headers)?;
        let (token, admitted) = self.gateway.admit(&bearer)?;
        self.counted(headers, ends, bearer.role(), (token, admitted))
    }

    /// Returns who reads a stream by its ticket: opens it, or continues it with `Last-Event-ID`.
    fn asker_of_ticket(
        &self,
        request: &mut Request,
        ends: Ends,
        shown: SpentTicket,
    ) -> Result<Arc<Asker>, Problem> {
        let headers = request.headers();
        let Some(id) = last_event_id(headers)? else {
            let ticket = self.redeem(&shown)?;
            let asker = ticket.asker.clone();
            self.count(&asker.caller)?;
            let grant = self.gateway.grant(&ticket.bearer)?;
            let reader = TicketReader { ticket: shown, grant, opened: None };
            request.extensions_mut().insert(reader);
            request.extensions_mut().insert(ticket);
            return Ok(asker);
        };
        let opened = self.stream_ids.open(id, IdOwner::Ticket(&shown));
        let opened = opened.ok_or_else(refused_ticket)?;
        let grant = opened.grant.clone().ok_or_else(refused_ticket)?;
        // It may have been replaced or revoked since.
        let admitted = self.gateway.readmit(&grant)?;
        let asker = self.counted(headers, ends, grant.role, admitted)?;
        let reader = TicketReader { ticket: shown, grant, opened: Some(opened) };
        request.extensions_mut().insert(reader);
        Ok(asker)
    }

    /// Returns who makes a request with an identity, and counts it.
    fn counted(
        &self,
        headers: &HeaderMap,
        ends: Ends,
        role: Role,
        (token, admitted): (Token, Admitted),
    ) -> Result<Arc<Asker>, Problem> {
        let address = self.client_address(headers, ends.remote);
        let id = format!("http-{address}");
        let identity = admitted.identity.to_string();
        let caller = Caller { role, id, identity, address };
        self.count(&caller)?;
        Ok(Arc::new(Asker { caller, token, revoked: admitted.revoked }))
    }

    /// Counts a request of an identity.
    fn count(&self, caller: &Caller) -> Result<(), Problem> {
        self.rates.count(caller).map_err(|wait| {
            let text = "this identity makes too many requests: see `HttpOptions::rate`";
            Error::new(ErrorKind::Overloaded, text).with_retry_after(wait).into()
        })
    }

    /// Takes the ticket with this secret, if the request is the one that it was made for.
    fn redeem(&self, shown: &SpentTicket) -> Result<StreamTicket, Problem> {
        let ticket = self.tickets.take(&shown.secret).ok_or_else(refused_ticket)?;
        let own = format!("/stream/{}", segment(&ticket.function));
        if own != shown.path || ticket.origin != shown.origin {
            return Err(refused_ticket());
        }
        // It may have been replaced or revoked since.
        self.gateway.admit(&ticket.bearer)?;
        Ok(ticket)
    }

    /// Returns the address of the client, behind whatever proxies.
    fn client_address(&self, headers: &HeaderMap, remote: SocketAddr) -> SocketAddr {
        if self.proxies.is_empty() {
            return remote;
        }
        // What came before the last entry has been written by the client.
        let last = headers.get_all("x-forwarded-for").into_iter().next_back();
        let last = last.and_then(|it| it.to_str().ok()).and_then(|it| it.rsplit(',').next());
        let client = last.and_then(|it| it.trim().parse().ok());
        client.map_or(remote, |ip| SocketAddr::new(ip, 0))
    }
}

fn refused_ticket() -> Problem {
    let text = "the ticket is not valid for this request, or no longer: each opens one stream";
    Error::new(ErrorKind::Unauthenticated, text).into()
}

/// Returns the ticket that a request shows: the only parameter of a stream.
fn shown_ticket(request: &Request) -> Option<String> {
    let is_stream = request.method() == Method::GET && request.uri().path().starts_with("/stream/");
    let secret = request.uri().query()?.strip_prefix("ticket=")?;
    is_stream.then(|| secret.to_owned())
}

/// Returns the bearer that a request shows.
pub(super) fn bearer_of(headers: &HeaderMap) -> Result<Bearer, Problem> {
    let refused = |text: String| Problem::from(Error::new(ErrorKind::Unauthenticated, text));
    let credentials = single(headers, &AUTHORIZATION).and_then(|it| it.split_once(' '));
    let shown = match credentials {
        Some((scheme, shown)) if scheme.eq_ignore_ascii_case("bearer") => shown.trim(),
        _ => return Err(refused("this needs a header `Authorization: Bearer ..`".to_owned())),
    };
    shown.parse().map_err(|error: Error| refused(error.to_string()))
}

/// Returns the value of a header that occurs once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Passes a request on if its sender may make it, makes the answer safe to show, and writes a line of
/// the access log. The line has no query: a ticket may be in it.
pub(super) async fn guard(
    State(site): State<Arc<Site>>,
    Extension(ends): Extension<Ends>,
    mut request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut elsewhere = None;
    let mut identity = None;
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let checked = site.check_host(&request, ends).and_then(|host| {
        let origin = site.check_origin(&request, &host)?;
        elsewhere = origin.map(|origin| Elsewhere { origin, may_send: may_send(&request) });
        Ok(())
    });
    let mut response = match checked {
        Err(problem) => problem.into_response(),
        // The browser asks whether the page may make the request that follows.
        Ok(()) if elsewhere.is_some() && request.method() == Method::OPTIONS => {
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(()) if OPEN.contains(&request.uri().path()) => next.run(request).await,
        Ok(()) => {
            let origin = elsewhere.as_ref().map(|page| page.origin.clone());
            match site.asker(&mut request, ends, origin.as_deref()) {
                Err(problem) => problem.into_response(),
                Ok(asker) => {
                    identity = Some(asker.clone());
                    request.extensions_mut().insert(asker);
                    request.extensions_mut().insert(PageOrigin(origin));
                    next.run(request).await
                }
            }
        }
    };
    add_headers(response.headers_mut(), elsewhere.as_ref());
    if is_chunked {
        // A proxy that saw a length may take what follows for the body: RFC 9112, section 6.1.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    tracing::info!(
        target: "easyremote::http::access",
        %method,
        path = %one_line(&path, MAX_PATH),
        status = response.status().as_u16(),
        identity = identity.as_ref().map(|asker| asker.caller.identity.as_str()),
        address = %ends.remote,
        ms = start.elapsed().as_millis() as u64,
        "request"
    );
    response
}

/// A page of another origin that may make requests.
struct Elsewhere {
    origin: String,
    /// Those of the headers that the browser asks for which it may send.
    may_send: String,
}

fn may_send(request: &Request) -> String {
    const HEADERS: &[&str] =
        &["authorization", "content-type", "last-event-id", "traceparent", "tracestate"];
    // Of calls, of agents, and of the official clients of the OpenAI API, which run in browsers too.
    const PREFIXES: &[&str] = &[PREFIX, "mcp-", "openai-", "x-stainless-"];
    let begins = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let asked = request.headers().get_all(ACCESS_CONTROL_REQUEST_HEADERS).into_iter();
    let asked = asked.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let asked = asked.map(|name| name.trim().to_ascii_lowercase());
    let allowed = asked.filter(|name| HEADERS.contains(&name.as_str()) || begins(name));
    allowed.collect::<Vec<_>>().join(", ")
}

/// Adds what browsers need to keep an answer to those whom it is for.
fn add_headers(headers: &mut HeaderMap, elsewhere: Option<&Elsewhere>) {
    let fixed = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        // What is no page runs no script and loads nothing.
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(CONTENT_SECURITY_POLICY, nothing);
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(Elsewhere { origin, may_send }) = elsewhere else { return };
    let allowed = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, origin.as_str()),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
        // Not `*`, which leaves `Authorization` out: Fetch standard, section 3.3.
        (ACCESS_CONTROL_ALLOW_HEADERS, may_send),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "Location, Retry-After, Mcp-Session-Id"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    for (name, value) in allowed {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
}
