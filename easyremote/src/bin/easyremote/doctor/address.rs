//! Addresses: how they are shown, what they resolve to, whether a gateway may listen there; and the
//! clock of this machine.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use super::findings::{Cause, Finding, Findings};
use super::probe::{self, Heard};

/// The address in a text that may be a ticket, without its secrets.
pub(super) fn shown(gateway: &str) -> String {
    match gateway.strip_prefix("easyremote://") {
        Some(rest) => rest.split('?').next().unwrap_or_default().to_owned(),
        // A damaged ticket is not shown.
        None if ["token=", "ern_", "erc_", "era_"].iter().any(|part| gateway.contains(part)) => {
            "the gateway".to_owned()
        }
        None => gateway.to_owned(),
    }
}

/// Returns the addresses of a gateway, or adds why there are none.
pub(super) async fn resolve(gateway: &str, findings: &mut Findings) -> Option<Vec<SocketAddr>> {
    let host = shown(gateway);
    match tokio::net::lookup_host(&host).await {
        Ok(addresses) => {
            let addresses: Vec<SocketAddr> = addresses.map(reachable).collect();
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            findings.add(Finding::fine("name", format!("{host} is {}", texts.join(", "))));
            Some(addresses)
        }
        Err(error) => {
            let text = format!("`{host}` does not resolve: {error}");
            findings.add(Finding::failed("name", Cause::Name, text));
            None
        }
    }
}

/// An address to dial for one to listen on: `0.0.0.0` is reached over loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Compares the clock with the age of this program, which cannot be of tomorrow.
///
/// Tokens and pins know no time; certificates do.
pub(super) fn clock() -> Finding {
    /// Time zones of file systems, and archives.
    const TOLERANCE: Duration = Duration::from_secs(86_400);
    let built = std::env::current_exe().and_then(std::fs::metadata);
    let built = built.and_then(|metadata| metadata.modified());
    clock_at(SystemTime::now(), built.ok(), TOLERANCE)
}

fn clock_at(now: SystemTime, built: Option<SystemTime>, tolerance: Duration) -> Finding {
    match built.and_then(|built| built.duration_since(now).ok()) {
        Some(ahead) if ahead > tolerance => {
            let days = ahead.as_secs() / 86_400;
            let text = format!(
                "the clock is {days} days behind the file of this program, so certificates may \
                 seem not to be valid yet"
            );
            Finding::odd("clock", text)
        }
        _ => Finding::fine("clock", "not behind the file of this program"),
    }
}

/// Checks whether a gateway could listen at an address.
pub(super) async fn may_be_served(address: &str, findings: &mut Findings) {
    let resolved = match tokio::net::lookup_host(address).await.map(|mut found| found.next()) {
        Ok(Some(resolved)) => resolved,
        Ok(None) | Err(_) => {
            let text = format!("`{address}` is no address of the form `host:port`");
            findings.add(Finding::failed("name", Cause::Address, text));
            return;
        }
    };
    let Err(error) = UdpSocket::bind(resolved) else {
        findings.add(Finding::fine("port", format!("{resolved} is free")));
        return;
    };
    let (cause, text) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let there = match probe::ask(reachable(resolved), probe::FULL).await {
                Heard::Answer(_) => "a QUIC server, perhaps a gateway, has it",
                _ => "another program has it",
            };
            (Cause::PortTaken, format!("the UDP port {} is taken: {there}", resolved.port()))
        }
        io::ErrorKind::AddrNotAvailable => {
            (Cause::NotHere, format!("{} is no address of this machine", resolved.ip()))
        }
        io::ErrorKind::PermissionDenied => {
            (Cause::NotAllowed, format!("this user may not listen on port {}", resolved.port()))
        }
        _ => (Cause::Other, format!("cannot listen on {resolved}: {error}")),
    };
    findings.add(Finding::failed("port", cause, text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_shown() {
        assert_eq!(shown("easyremote://gw:80?pin=a&token=erc_secret"), "gw:80");
        assert_eq!(shown("gw:80"), "gw:80");
        assert_eq!(shown("easyremot://gw:80?token=erc_secret"), "the gateway");
        assert_eq!(shown("erc_secret"), "the gateway");
    }

    #[test]
    fn a_clock_before_the_program_is_odd() {
        let now = SystemTime::now();
        let day = Duration::from_secs(86_400);
        for (built, state) in [(now, "ok  "), (now - 9 * day, "ok  "), (now + 9 * day, "look")] {
            let mut findings = Findings::new("gw".to_owned());
            findings.add(clock_at(now, Some(built), day));
            assert!(findings.lines()[1].starts_with(&format!("  {state}")), "{findings:?}");
        }
    }
}
