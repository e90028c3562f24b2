//! `easyremote open`: the page of a gateway, in the browser.

use std::net::IpAddr;

use easyremote::Role;
use serde_json::json;

use crate::exit::Failure;
use crate::options::{CommonOptions, OpenOptions};
use crate::output::Output;
use crate::token::of_this_user;

/// Opens the page with the bearer of this user, or writes its address.
pub(crate) async fn open(
    common: &CommonOptions,
    open: &OpenOptions,
    output: &Output,
) -> Result<(), Failure> {
    let page = page_at(&open.url)?;
    let bearer = of_this_user(common, Role::Admin)?;
    // A fragment stays in the browser: it is in no request, and in no log of a server.
    let address = format!("{page}#bearer={bearer}");
    let opened = !open.print
        && match launch(&address).await {
            Ok(()) => true,
            Err(why) => {
                output.remark(&format!("{why}; open this address, and keep it like a password:"));
                false
            }
        };
    match (output.json, opened) {
        (true, _) => {
            let address = (!opened).then_some(address);
            output.document(&json!({ "page": page, "opened": opened, "address": address })).await
        }
        (false, true) => output.line(format!("opened {page}")).await,
        (false, false) => output.line(address).await,
    }
}

/// Returns the address of the page without a fragment.
fn page_at(url: &str) -> Result<String, Failure> {
    let wrong = |text: &str| Failure::Usage(format!("{text}: write `http://127.0.0.1:8080`"));
    let lower = url.to_ascii_lowercase();
    let secure = lower.starts_with("https://");
    if !secure && !lower.starts_with("http://") {
        return Err(wrong("the address of a page begins with `http://` or `https://`"));
    }
    let is_plain = |c: char| c.is_ascii_graphic() && !r#""'`<>\^{|}"#.contains(c);
    if url.contains(['#', '?', '@']) || !url.chars().all(is_plain) {
        return Err(wrong("the address of a page has a host, a port and a path only"));
    }
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() {
        return Err(wrong("the address of a page has a host"));
    }
    if !secure && !is_loopback(authority) {
        let text = "a bearer must not travel in the clear: use `https://`, or an address on this \
                    machine";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(format!("{scheme}://{authority}/{path}"))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let ip = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Starts the browser.
///
/// # Errors
/// Why there is none.
async fn launch(address: &str) -> Result<(), String> {
    if cfg!(all(unix, not(target_os = "macos"))) {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        // Under WSL, the browser is that of Windows.
        if !["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].iter().any(is_set) {
            return Err("there is no display".to_owned());
        }
    }
    let address = address.to_owned();
    let opening = tokio::task::spawn_blocking(move || open::that_detached(address));
    match opening.await {
        Ok(Ok(())) => Ok(()),
        // The error quotes the command, with the bearer.
        _ => Err("no browser can be started".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_that_nothing_can_read_on_its_way_gets_a_bearer() {
        for (url, page) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://localhost:1/", "http://localhost:1/"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
            ("https://gw.example.com", "https://gw.example.com/"),
            ("HTTPS://gw.example.com:8443/a/b", "HTTPS://gw.example.com:8443/a/b"),
        ] {
            assert_eq!(page_at(url).unwrap(), page);
        }
        for url in [
            "",
            "gw",
            "file:///etc/passwd",
            "http://gw.example.com",
            "http://10.0.0.1/",
            "http://127.0.0.1@evil.example/",
            "http://localhost.evil.example/",
            "https://",
            "http://127.0.0.1:1/#bearer=x",
            "http://127.0.0.1:1/?a=b",
            "http://127.0.0.1:1/ -x",
            "javascript:alert(1)",
            "http://127.0.0.1\\@evil.example/",
            "http://[::2]/",
        ] {
            assert!(matches!(page_at(url), Err(Failure::Usage(_))), "{url}");
        }
    }
}
