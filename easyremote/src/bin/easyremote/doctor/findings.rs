//! What the doctor has found, step by step.

use serde_json::{Value, json};

use crate::exit;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The text is no address and no ticket, or the ticket does not fit.
    Address,
    /// The host name does not resolve.
    Name,
    /// The host answers, and nothing listens at the port.
    NothingThere,
    /// Packets get no answer of any kind.
    UdpDropped,
    /// This machine has no way there, or does not let the packets out.
    NoRoute,
    /// Short packets pass, and those of full length do not.
    Mtu,
    /// A QUIC server answers, and the handshake does not end.
    Handshake,
    /// Something else than a gateway of this version answers.
    Version,
    /// The gateway's key is not the pinned one.
    WrongPin,
    /// The gateway's certificate is not valid for its name, or not issued by a trusted authority.
    WrongCertificate,
    /// The gateway does not know the token.
    WrongToken,
    /// The gateway knows the peer, and does not let it in.
    Denied,
    /// A certificate is not valid at the time that this machine's clock shows.
    Clock,
    /// Another program has the port.
    PortTaken,
    /// The address is none of this machine.
    NotHere,
    /// This user may not listen there.
    NotAllowed,
    /// The library's error says what.
    Other,
}

impl Cause {
    /// The name in JSON.
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
            Self::NothingThere => "nothing-there",
            Self::UdpDropped => "udp-dropped",
            Self::NoRoute => "no-route",
            Self::Mtu => "mtu",
            Self::Handshake => "handshake",
            Self::Version => "version",
            Self::WrongPin => "wrong-pin",
            Self::WrongCertificate => "wrong-certificate",
            Self::WrongToken => "wrong-token",
            Self::Denied => "denied",
            Self::Clock => "clock",
            Self::PortTaken => "port-taken",
            Self::NotHere => "not-here",
            Self::NotAllowed => "not-allowed",
            Self::Other => "other",
        }
    }

    /// What to do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Address => "write `host:port`, or a ticket as the gateway prints it",
            Self::Name => "check the host name, and the name server of this machine",
            Self::NothingThere => "start the gateway, or correct the port",
            Self::UdpDropped => {
                "open the UDP port in the firewalls of both hosts and between them, and check that \
                 the host is up"
            }
            Self::NoRoute => "check the network and the firewall of this machine",
            Self::Mtu => "QUIC needs paths for 1,200 bytes of UDP: raise the MTU of the tunnel",
            Self::Handshake => {
                "a tunnel with a small MTU drops long packets, or the gateway is overloaded"
            }
            Self::Version => "check that a gateway of this version of easyremote listens there",
            Self::WrongPin => {
                "use a new ticket of this gateway, or start it with its old state directory; on \
                 loopback, run both as one user"
            }
            Self::WrongCertificate => {
                "dial by the name in the certificate, and name its authority with `--authority`"
            }
            Self::WrongToken => "use a ticket that this gateway has issued and not revoked",
            Self::Denied => "let an admin change the rules of the gateway",
            Self::Clock => "set the clock of this machine, or renew the certificate",
            Self::PortTaken => "end the other program, or choose another port",
            Self::NotHere => "listen on an address of this machine, or on `0.0.0.0` for all",
            Self::NotAllowed => "choose a port from 1,024 upwards",
            Self::Other => "see the text",
        }
    }

    /// The exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Address => exit::USAGE,
            Self::Name
            | Self::NothingThere
            | Self::UdpDropped
            | Self::NoRoute
            | Self::Mtu
            | Self::Handshake => exit::UNREACHABLE,
            Self::WrongPin
            | Self::WrongCertificate
            | Self::WrongToken
            | Self::Denied
            | Self::Clock => exit::REFUSED,
            Self::Version | Self::PortTaken | Self::NotHere | Self::NotAllowed | Self::Other => {
                exit::FAILED
            }
        }
    }
}

/// The outcome of one step.
#[derive(Debug)]
pub(super) struct Finding {
    step: &'static str,
    state: State,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fine,
    Odd,
    Failed(Cause),
}

impl Finding {
    /// All is well.
    pub(super) fn fine(step: &'static str, text: impl Into<String>) -> Self {
        Self { step, state: State::Fine, text: text.into() }
    }

    /// Something to look at, which does not keep anyone from calling.
    pub(super) fn odd(step: &'static str, text: impl Into<String>) -> Self {
        Self { step, state: State::Odd, text: text.into() }
    }

    /// The reason why nothing works.
    pub(super) fn failed(step: &'static str, cause: Cause, text: impl Into<String>) -> Self {
        Self { step, state: State::Failed(cause), text: text.into() }
    }
}

/// All that was found about one address.
#[derive(Debug)]
pub(super) struct Findings {
    subject: String,
    list: Vec<Finding>,
}

impl Findings {
    pub(super) fn new(subject: String) -> Self {
        Self { subject, list: Vec::new() }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// What is wrong; `None` if nothing is.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.list.iter().find_map(|finding| match finding.state {
            State::Failed(cause) => Some(cause),
            _ => None,
        })
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.subject.clone()];
        for Finding { step, state, text } in &self.list {
            let mark = match state {
                State::Fine => "ok  ",
                State::Odd => "look",
                State::Failed(_) => "FAIL",
            };
            lines.push(format!("  {mark}  {step:<9}  {text}"));
        }
        if let Some(cause) = self.cause() {
            lines.push(format!("cause: {}; {}", cause.name(), cause.advice()));
        }
        lines
    }

    pub(super) fn to_json(&self) -> Value {
        let steps = self.list.iter().map(|Finding { step, state, text }| {
            let state = match state {
                State::Fine => "ok",
                State::Odd => "look",
                State::Failed(_) => "failed",
            };
            json!({ "step": step, "state": state, "text": text })
        });
        json!({
            "subject": self.subject,
            "cause": self.cause().map(Cause::name),
            "advice": self.cause().map(Cause::advice),
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_the_cause() {
        let mut findings = Findings::new("gw:1".to_owned());
        findings.add(Finding::fine("name", "gw is 10.0.0.1"));
        assert_eq!(findings.cause(), None);
        findings.add(Finding::odd("clock", "odd"));
        findings.add(Finding::failed("udp", Cause::NothingThere, "refused"));
        assert_eq!(findings.cause(), Some(Cause::NothingThere));
        let lines = findings.lines();
        assert_eq!(lines[3], "  FAIL  udp        refused");
        assert!(lines[4].starts_with("cause: nothing-there; start the gateway"));
        let document = findings.to_json();
        assert_eq!(document["cause"], "nothing-there");
        assert_eq!(document["steps"][1]["state"], "look");
    }
}
