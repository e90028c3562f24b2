//! The gateway's own functions: calls to reserved names, which list functions, nodes and
//! statistics.
//!
//! Building a list takes longer the more nodes and functions exist. Lists are built on another
//! thread, one at a time, and callers with the same permissions share the encoded bytes:
//!
//! - The list of functions is reused until a function changes.
//! - The list of nodes, which includes their load, is shared by callers who asked before it was
//!   started; so are the figures of functions and streams.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, ErrorKind};
use crate::gateway::policy::access::{Access, CallScope};
use crate::gateway::relay::node_link::NodeLink;
use crate::gateway::routing::RoutingTable;
use crate::gateway::state::GatewayState;
use crate::transport::stream_table::StreamStats;
use crate::wire::codec::Codec;
use crate::wire::control::Offer;
use crate::wire::directory::{
    FUNCTION_STATS, FUNCTIONS, FunctionInfo, JOBS, NODES, NodeInfo, RESERVED, STATS, STREAM_STATS,
    is_offered_by_nodes,
};
use crate::wire::frame::{self, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::schemas::FunctionSchemas;

/// A request that the gateway answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Statistics,
    List(ListKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ListKind {
    Functions,
    Nodes,
    FunctionStats,
    StreamStats,
}

impl Question {
    /// Returns the request in `header`; `None` if the call is for a node.
    ///
    /// # Errors
    /// `PermissionDenied` if the caller is not allowed to ask; `BadArguments` if the call is not
    /// unary; `NoSuchFunction` if this gateway does not know the reserved name.
    pub(super) fn of(header: &CallHeader, access: &Access) -> Option<Result<Self, Error>> {
        let for_a_node = header.function == JOBS && header.job_request().is_some();
        if for_a_node || !header.function.starts_with(RESERVED) {
            return None;
        }
        if is_offered_by_nodes(&header.function) {
            return None;
        }
        let allowed = access.check_call(header.caller.as_deref(), &header.function);
        Some(allowed.and_then(|()| match &*header.function {
            _ if header.kind != Kind::Unary => {
                let text = format!("`{}` returns one result", header.function);
                Err(Error::new(ErrorKind::BadArguments, text))
            }
            FUNCTIONS => Ok(Self::List(ListKind::Functions)),
            NODES => Ok(Self::List(ListKind::Nodes)),
            STATS => Ok(Self::Statistics),
            FUNCTION_STATS => Ok(Self::List(ListKind::FunctionStats)),
            STREAM_STATS => Ok(Self::List(ListKind::StreamStats)),
            unknown => {
                let text = format!("this gateway does not know `{unknown}`; is it an older one?");
                Err(Error::new(ErrorKind::NoSuchFunction, text))
            }
        }))
    }
}

/// The lists that were built last, encoded as the frames of an answer.
#[derive(Debug, Default)]
pub(super) struct Directory {
    lists: Mutex<Lists>,
    /// Held while a list is built; contains the time at which the next one may start.
    making: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// Keyed by what they list, and for which callers.
type Lists = HashMap<(ListKind, CallScope), MadeList>;

#[derive(Clone, Debug)]
struct MadeList {
    frames: Result<Bytes, Error>,
    begun: Instant,
    /// Version of the routing table that the list was built from.
    version: u64,
}

/// Maximum number of lists kept, one per kind of list and scope of callers.
const MAX_LISTS: usize = 32;

/// Maximum size of the lists kept, in bytes; the latest one is kept even if it is larger.
const MAX_BYTES: usize = 64 << 20;

impl Directory {
    /// Returns the frames that answer `question` for a caller that may call the functions in
    /// `scope`.
    ///
    /// # Errors
    /// `TooLarge` if the list exceeds the message limit.
    ///
    /// # Cancel safety
    /// A list whose construction has started is completed, because others may wait for it.
    pub(super) async fn answer(
        question: Question,
        scope: &CallScope,
        state: &Arc<GatewayState>,
    ) -> Result<Bytes, Error> {
        let kind = match question {
            Question::Statistics => return body(&state.stats(), state.limits.max_message),
            Question::List(kind) => kind,
        };
        let (key, asked, directory) = ((kind, scope.clone()), Instant::now(), &state.directory);
        if let Some(frames) = directory.made(&key, asked, state) {
            return frames;
        }
        let mut making = directory.making.clone().lock_owned().await;
        // The previous holder of the lock may have built the list meanwhile.
        if let Some(frames) = directory.made(&key, asked, state) {
            return frames;
        }
        if let Some(rested) = *making {
            sleep_until(rested).await;
        }
        let state = state.clone();
        let making = spawn_blocking(move || {
            let list = MadeList::make(&key, &state);
            let frames = list.frames.clone();
            // The pause is as long as the work was: lists take at most half of a processor, however
            // many callers ask.
            *making = Some(Instant::now() + list.begun.elapsed());
            state.directory.keep(key, list);
            frames
        });
        let ended = |_| Error::new(ErrorKind::Unavailable, "the list could not be built");
        making.await.map_err(ended)?
    }

    /// Returns the list if it exists and is fresh enough for a caller who asked at `asked`.
    fn made(
        &self,
        key: &(ListKind, CallScope),
        asked: Instant,
        state: &GatewayState,
    ) -> Option<Result<Bytes, Error>> {
        let lists = self.lists.lock();
        let list = lists.get(key)?;
        let is_right = match key.0 {
            ListKind::Functions => list.version == state.dispatcher.router.table().version(),
            ListKind::Nodes | ListKind::FunctionStats | ListKind::StreamStats => {
                list.begun >= asked
            }
        };
        is_right.then(|| list.frames.clone())
    }

    fn keep(&self, key: (ListKind, CallScope), list: MadeList) {
        let mut lists = self.lists.lock();
        lists.remove(&key);
        let room = MAX_BYTES.saturating_sub(list.len());
        while lists.len() >= MAX_LISTS || lists.values().map(MadeList::len).sum::<usize>() > room {
            let oldest = lists.iter().min_by_key(|(_, list)| list.begun);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            lists.remove(&oldest);
        }
        lists.insert(key, list);
    }
}

impl MadeList {
    fn make((kind, scope): &(ListKind, CallScope), state: &GatewayState) -> Self {
        let begun = Instant::now();
        let table = state.dispatcher.router.table();
        let may_call = |name: &str| state.access.is_within(scope, name);
        let frames = match kind {
            ListKind::Functions => functions(&table, may_call, state.limits.max_message)
                .and_then(|infos| body(&infos, state.limits.max_message)),
            ListKind::Nodes => nodes(&table, may_call, state.limits.max_message)
                .and_then(|infos| body(&infos, state.limits.max_message)),
            // Of at most 1,025 functions, so that it needs no budget.
            ListKind::FunctionStats => {
                body(&state.dispatcher.router.functions(), state.limits.max_message)
            }
            ListKind::StreamStats => {
                streams(state).and_then(|streams| body(&streams, state.limits.max_message))
            }
        };
        Self { frames, begun, version: table.version() }
    }

    fn len(&self) -> usize {
        self.frames.as_ref().map_or(0, Bytes::len)
    }
}

fn body<T: Serialize + 'static>(value: &T, max_message: usize) -> Result<Bytes, Error> {
    let mut frames = Vec::new();
    let start = frame::begin(&mut frames, FrameKind::Body);
    Codec::Json.encode(value, &mut frames).map_err(|text| Error::new(ErrorKind::Protocol, text))?;
    frame::finish(&mut frames, start, max_message).map_err(|_| too_long(max_message))?;
    frames.shrink_to_fit();
    Ok(frames.into())
}

fn too_long(max_message: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("the list is longer than {max_message} bytes"))
}

/// Counts the bytes of the texts in a list while it is built, so that building it does not take
/// more memory than a message may have.
struct ListBudget {
    left: usize,
    max_message: usize,
}

impl ListBudget {
    fn new(max_message: usize) -> Self {
        Self { left: max_message, max_message }
    }

    /// # Errors
    /// `TooLarge` if less than `bytes` bytes are left.
    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| too_long(self.max_message))?;
        Ok(())
    }
}

/// Lists the nodes that offer at least one function that the caller may call, with those functions.
fn nodes(
    table: &RoutingTable<NodeLink>,
    may_call: impl Fn(&str) -> bool,
    max_message: usize,
) -> Result<Vec<NodeInfo>, Error> {
    let mut budget = ListBudget::new(max_message);
    let mut infos = Vec::new();
    for node in table.nodes() {
        let mut info = node.info();
        info.functions.retain(|name| may_call(name));
        info.avoided_for.retain(|name| may_call(name));
        if !info.functions.is_empty() {
            budget.take(info.functions.iter().chain(info.gauges.keys()).map(String::len).sum())?;
            infos.push(info);
        }
    }
    Ok(infos)
}

/// Adds what one more node says of a function.
fn add_marks(info: &mut FunctionInfo, offer: &Offer) {
    let timeout = Duration::from_millis(offer.timeout_ms);
    if !timeout.is_zero() {
        info.timeout = Some(info.timeout.map_or(timeout, |other| other.min(timeout)));
    }
    info.idempotent &= offer.idempotent;
    info.tool |= offer.tool;
}

/// Lists the open streams.
fn streams(state: &GatewayState) -> Result<Vec<StreamStats>, Error> {
    let mut budget = ListBudget::new(state.limits.max_message);
    let streams = state.streams.stats();
    for stream in &streams {
        let StreamStats { function, node, caller, .. } = stream;
        let texts = [function, node, &caller.id, &caller.identity];
        budget.take(texts.iter().map(|text| text.len()).sum())?;
    }
    Ok(streams)
}

/// Lists the functions that the caller may call: one entry per function, or several if nodes differ
/// in its types or in the tags that it needs.
fn functions(
    table: &RoutingTable<NodeLink>,
    may_call: impl Fn(&str) -> bool,
    max_message: usize,
) -> Result<Vec<FunctionInfo>, Error> {
    let mut budget = ListBudget::new(max_message);
    let mut infos: Vec<FunctionInfo> = Vec::new();
    // For each of them.
    let mut schemas: Vec<&Arc<str>> = Vec::new();
    for (name, offers) in table.offers() {
        if !may_call(name) {
            continue;
        }
        let mut same = HashMap::new();
        for (node, offer, can_run) in offers {
            let index =
                *same.entry((&offer.signature, offer.kind, &offer.needs)).or_insert_with(|| {
                    infos.push(FunctionInfo {
                        name: name.to_owned(),
                        kind: offer.kind,
                        parameters: offer.parameters.clone(),
                        signature: offer.signature.clone(),
                        doc: offer.doc.clone(),
                        needs: offer.needs.clone(),
                        timeout: None,
                        idempotent: true,
                        tool: false,
                        nodes: Vec::new(),
                        schemas: None,
                    });
                    schemas.push(&offer.schemas);
                    infos.len() - 1
                });
            let info = &mut infos[index];
            if info.nodes.is_empty() {
                budget.take(name.len() + offer.signature.len() + offer.doc.len())?;
            }
            add_marks(info, offer);
            if schemas[index].is_empty() {
                schemas[index] = &offer.schemas;
            }
            if can_run {
                budget.take(node.len())?;
                info.nodes.push(node.to_owned());
            }
        }
    }
    // The list is complete without schemas: those that it has no room for are left out. The other
    // half of the room is for what is written around all of the texts.
    budget.left /= 2;
    for (info, schemas) in infos.iter_mut().zip(schemas) {
        if !schemas.is_empty() && budget.take(schemas.len()).is_ok() {
            info.schemas = Some(FunctionSchemas::checked(schemas.clone()));
        }
    }
    Ok(infos)
}
