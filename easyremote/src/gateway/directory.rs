//! Questions that the gateway answers itself: calls to functions with reserved names.

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::gateway::state::GatewayState;
use crate::wire::codec::Codec;
use crate::wire::directory::{FUNCTIONS, FunctionInfo, NODES, NodeInfo, RESERVED, STATS};
use crate::wire::error::put_error;
use crate::wire::frame::{self, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;

/// The frames that answer `header`, if its function is the gateway's own.
pub(super) fn answer(header: &CallHeader, shared: &GatewayState) -> Option<Vec<u8>> {
    if !header.function.starts_with(RESERVED) {
        return None;
    }
    let caller = header.caller.as_deref();
    let may_call = |name: &str| caller.is_some_and(|caller| shared.access.may_call(caller, name));
    let allowed = shared.access.check_call(caller, &header.function);
    let answered = allowed.and_then(|()| match header.function.as_str() {
        _ if header.kind != Kind::Unary => {
            let text = format!("`{}` gives one result", header.function);
            Err(Error::new(ErrorKind::BadArguments, text))
        }
        FUNCTIONS => body(&functions(shared, may_call), shared.max_message),
        NODES => body(&nodes(shared, may_call), shared.max_message),
        STATS => body(&shared.stats(), shared.max_message),
        unknown => {
            let text = format!("this gateway does not know `{unknown}`; is it an older one?");
            Err(Error::new(ErrorKind::NoSuchFunction, text))
        }
    });
    Some(answered.unwrap_or_else(|error| {
        let mut frames = Vec::new();
        put_error(&mut frames, &error);
        frames
    }))
}

fn body<T: Serialize + 'static>(value: &T, max_message: usize) -> Result<Vec<u8>, Error> {
    let mut frames = Vec::new();
    let start = frame::begin(&mut frames, FrameKind::Body);
    Codec::Json.encode(value, &mut frames).map_err(|text| Error::new(ErrorKind::Protocol, text))?;
    frame::finish(&mut frames, start, max_message).map_err(|length| {
        Error::new(ErrorKind::TooLarge, format!("the list has {length} bytes"))
    })?;
    Ok(frames)
}

/// The nodes that offer what the caller may call, and that of it.
fn nodes(shared: &GatewayState, may_call: impl Fn(&str) -> bool) -> Vec<NodeInfo> {
    let mut infos = shared.dispatcher.router.nodes();
    for info in &mut infos {
        info.functions.retain(|name| may_call(name));
        info.avoided_for.retain(|name| may_call(name));
    }
    infos.retain(|info| !info.functions.is_empty());
    infos
}

/// Those that the caller may call: one entry per function; where nodes differ in its types or in
/// what it needs, one for each.
fn functions(shared: &GatewayState, may_call: impl Fn(&str) -> bool) -> Vec<FunctionInfo> {
    let mut infos: Vec<FunctionInfo> = Vec::new();
    let table = shared.dispatcher.router.table();
    for (name, offers) in table.offers() {
        if !may_call(name) {
            continue;
        }
        let first = infos.len();
        for (node, offer, can_run) in offers {
            let node = can_run.then(|| node.to_owned());
            let same = infos[first..].iter_mut().find(|info| {
                info.signature == offer.signature
                    && info.kind == offer.kind
                    && info.needs == offer.needs
            });
            match same {
                Some(info) => info.nodes.extend(node),
                None => infos.push(FunctionInfo {
                    name: name.to_owned(),
                    kind: offer.kind,
                    parameters: offer.parameters.clone(),
                    signature: offer.signature.clone(),
                    doc: offer.doc.clone(),
                    needs: offer.needs.clone(),
                    nodes: node.into_iter().collect(),
                }),
            }
        }
    }
    infos
}
