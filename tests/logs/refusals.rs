//! What is written in logs, at every level, of tokens and of those who do not have one.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, Once};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use common::offered::add;
use common::{found_in, soon, until};
use easyremote::auth::IntoGateways;
use easyremote::{Client, ErrorKind, Gateway, Node, Options, Role, Ticket, functions};
use futures::future::join_all;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::TURN;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Writes down everything, of spans too.
struct Everything;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

fn lines() -> MutexGuard<'static, Vec<String>> {
    LINES.lock().unwrap()
}

fn line(metadata: &Metadata<'_>) -> Line {
    Line(format!("{} {} {}", metadata.level(), metadata.target(), metadata.name()))
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut line = line(attributes.metadata());
        attributes.record(&mut line);
        lines().push(line.0);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line("recorded".to_owned());
        values.record(&mut line);
        lines().push(line.0);
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = line(event.metadata());
        event.record(&mut line);
        lines().push(line.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// rustls writes to `log`.
impl log::Log for Everything {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        lines().push(format!("{} {} {}", record.level(), record.target(), record.args()));
    }

    fn flush(&self) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Everything).unwrap();
        log::set_logger(&Everything).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    lines().clear();
}

async fn gateway() -> (Gateway, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let builder = Gateway::builder("127.0.0.1:0").state_dir(state.path());
    (soon(builder.token(Role::Client, "ci#1").serve()).await.unwrap(), state)
}

/// All that somebody could write for these bytes.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{bytes:?}");
    let list = list.trim_matches(['[', ']']).to_owned();
    let (safe, standard) = (URL_SAFE_NO_PAD.encode(bytes), STANDARD_NO_PAD.encode(bytes));
    vec![hex.to_uppercase(), hex, list, safe, standard]
}

/// The ticket up to its token, and the token.
fn split(ticket: &Ticket) -> (String, String) {
    let text = ticket.to_string();
    let (rest, token) = text.split_at(text.find("token=").unwrap() + "token=er?_".len());
    (rest.to_owned(), token.to_owned())
}

fn token_of(ticket: &Ticket) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(split(ticket).1).unwrap()
}

/// The gateway's lines about peers that it did not let in.
fn refusals() -> Vec<String> {
    let of_gateway = |line: &&String| line.starts_with("WARN easyremote::gateway");
    lines().iter().filter(of_gateway).cloned().collect()
}

fn forged(ticket: &Ticket) -> String {
    split(ticket).0 + &"A".repeat(43)
}

/// A ticket with a typo of each kind at each place.
fn typos(good: &str) -> Vec<String> {
    let mut typos = vec![format!("{good}A"), good.replace("easyremote:", "https:")];
    for at in 0..good.len() {
        let (before, after) = good.split_at(at);
        typos.extend([before.to_owned(), after.to_owned(), format!("{before}{}", &after[1..])]);
        typos.extend(
            [" ", ",", ":", "?", "/", "=", "."].map(|typo| format!("{before}{typo}{after}")),
        );
        typos.extend(["_", "&", "%"].map(|typo| format!("{before}{typo}{}", &after[1..])));
    }
    typos
}

#[tokio::test]
async fn tokens_and_keys_are_in_no_log_and_in_no_debug_output() {
    let _turn = TURN.lock().await;
    listen();
    let (gateway, state) = gateway().await;
    let tickets = [Role::Node, Role::Client, Role::Admin].map(|role| gateway.ticket(role));
    let [for_node, for_client, for_admin] = tickets.clone();
    let node = Node::builder(for_node.clone()).functions(functions![add]);
    let mut shown = format!("{gateway:?} {node:?} {tickets:?}");
    let node = soon(node.serve()).await.unwrap();
    let builder = Client::builder([for_client.to_string()]);
    write!(shown, "{builder:?}").unwrap();
    let client = soon(builder.connect()).await.unwrap();
    let admin = soon(Client::connect(for_admin)).await.unwrap();
    let local = Client::builder(gateway.local_addr()).dial(found_in(state.path())).connect();
    let local = soon(local).await.unwrap();
    assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
    let error = soon(Client::connect(forged(&for_client))).await.unwrap_err();
    write!(shown, "{error:?} {node:?} {client:?} {admin:?} {local:?}").unwrap();
    // Damaged tickets, too, and tickets in the place of something else.
    let good = for_client.to_string();
    let mut read = String::new();
    for typo in typos(&good) {
        write!(read, "{:?} {:?}", typo.as_str().into_gateways(), typo.parse::<Ticket>()).unwrap();
        write!(read, "{:?}", for_node.clone().at(&typo)).unwrap();
    }
    let error = soon(Gateway::serve(&good)).await.unwrap_err();
    let options = Options::new().metadata("authorization", &good);
    let with_secrets = client.with(options.clone());
    let calls = (add::call(&with_secrets, 1, 2), with_secrets.call_json("add", json!([good])));
    write!(read, "{error:?} {error} {options:?} {with_secrets:?} {calls:?}").unwrap();
    let token = split(&for_client).1;
    for part in token.as_bytes().windows(8).map(|part| std::str::from_utf8(part).unwrap()) {
        assert!(!read.contains(part), "a part of the token: {part}");
    }
    gateway.revoke(Role::Client, "ci#1");
    let error = soon(async {
        loop {
            if let Err(error) = add::call(&client, 1, 2).await {
                break error;
            }
        }
    });
    write!(shown, "{:?}", error.await).unwrap();
    soon(node.shutdown()).await;
    soon(gateway.shutdown()).await;

    let mut secrets: Vec<Vec<u8>> = tickets.iter().map(token_of).collect();
    let file = std::fs::read_to_string(state.path().join("identity")).unwrap();
    for (name, header) in [("key ", 16), ("secret ", 0)] {
        let secret = file.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        // An Ed25519 key in PKCS #8 is 32 bytes after a header of 16.
        secrets.push(STANDARD_NO_PAD.decode(secret).unwrap()[header..][..32].to_vec());
    }
    let lines = std::mem::take(&mut *lines());
    let of = |target: &str| lines.iter().any(|line| line.starts_with(target));
    assert!(
        of("TRACE quinn_proto") && of("DEBUG rustls") && of("INFO easyremote"),
        "all listened to"
    );
    for spelling in secrets.iter().flat_map(|secret| spellings(secret)) {
        assert!(!shown.contains(&spelling), "in `Debug`: {spelling}");
        let line = lines.iter().find(|line| line.contains(&spelling));
        assert_eq!(line, None, "{spelling}");
    }
}

#[tokio::test]
async fn who_is_refused_hears_it_at_once_and_the_gateway_says_so_once() {
    let _turn = TURN.lock().await;
    listen();
    let (gateway, _state) = gateway().await;
    let forged = forged(&gateway.ticket(Role::Client));
    // Its first attempt says so; there is no second.
    let error = soon(Client::connect(forged)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("the token is not valid for a client"), "{error}");
    until(|| gateway.stats().connections == 0).await;
    let lines = refusals();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("peer=127.0.0.1:") && lines[0].contains("token"), "{lines:?}");
}

#[tokio::test]
async fn many_who_are_refused_do_not_fill_the_log() {
    const PEERS: usize = 60;
    let _turn = TURN.lock().await;
    listen();
    let (gateway, _state) = gateway().await;
    let forged = forged(&gateway.ticket(Role::Client));
    let begun = Instant::now();
    let peers = (0..PEERS).map(|_| Client::connect(forged.as_str()));
    for refused in soon(join_all(peers)).await {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthenticated);
    }
    assert_eq!(gateway.stats().refused, PEERS as u64);
    // Ten in a second.
    let most = 10 * (1 + begun.elapsed().as_secs() as usize);
    let n = refusals().len();
    assert!(n <= most, "{n} lines in {:?}", begun.elapsed());
}
