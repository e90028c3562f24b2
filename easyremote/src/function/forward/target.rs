//! Which methods and targets of requests may be forwarded at all.
//!
//! What one server reads as one path, another may read as a different one. So a target is refused
//! if servers could differ about it, instead of being put into some normal form.

/// Checks the method and the target of a request.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check(method: &str, target: &str) -> Result<(), String> {
    check_method(method)?;
    if target.len() > MAX_TARGET {
        return Err(format!("the path is longer than {MAX_TARGET} bytes"));
    }
    if !target.starts_with('/') {
        return Err("the path does not begin with `/`".to_owned());
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err("the path has characters that must be percent-encoded".to_owned());
    }
    check_path(path(target))
}

/// Returns the path of a target, without its query.
pub(crate) fn path(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// Longest target, in bytes.
const MAX_TARGET: usize = 8 << 10;

/// Longest method, in bytes.
const MAX_METHOD: usize = 16;

/// Checks that a method is one that may be forwarded: `CONNECT` would open a tunnel, and `TRACE`
/// returns the headers that the node adds.
///
/// # Errors
/// Why it may not.
pub(crate) fn check_method(method: &str) -> Result<(), String> {
    let is_name = (1..=MAX_METHOD).contains(&method.len())
        && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if !is_name || ["CONNECT", "TRACE", "TRACK"].contains(&method) {
        return Err(format!("the method `{}` is not forwarded", method.escape_debug()));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), String> {
    if path.contains("//") {
        return Err("the path has an empty part: `//`".to_owned());
    }
    if path.contains('\\') {
        return Err("the path has a `\\`".to_owned());
    }
    // What follows a `;` is a parameter of its part for some servers, and text for others.
    let parts = path.split('/').map(|part| part.split_once(';').map_or(part, |(part, _)| part));
    if parts.into_iter().any(|part| part == "." || part == "..") {
        return Err("the path has a part `.` or `..`".to_owned());
    }
    check_encoded(path)
}

/// Checks that what is percent-encoded means the same to a server that decodes it once, twice or
/// not at all.
fn check_encoded(path: &str) -> Result<(), String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(), digit());
        let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match value {
            None => return Err("the path has a `%` without two hexadecimal digits".to_owned()),
            Some(value) if value.is_ascii_control() || b"./\\%;?#".contains(&value) => {
                return Err(format!("the path has an encoded character: `%{value:02X}`"));
            }
            Some(value) => decoded.push(value),
        }
    }
    // Longer forms of a character are no UTF-8, and decode to it in lax decoders.
    std::str::from_utf8(&decoded).map_err(|_| "the path does not decode to UTF-8".to_owned())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_targets_pass() {
        for target in [
            "/",
            "/v1/models",
            "/v1/models/org/name:7b",
            "/v1/chat/completions?a=../..&b=%2e%2e//",
            "/a.b/..c/d..",
            "/a%20b/%C3%BC",
            "/a;b=c",
            "/~user/@x/(y)",
        ] {
            assert_eq!(check("GET", target), Ok(()), "{target}");
        }
        for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "M-SEARCH"] {
            assert_eq!(check(method, "/"), Ok(()), "{method}");
        }
    }

    #[test]
    fn targets_that_servers_read_differently_are_refused() {
        let tricks = [
            "..",
            ".",
            "%2e%2e",
            "%2E.",
            ".%2e",
            "%2e",
            "%252e%252e",
            "..;",
            "..;a=b",
            ".;",
            "a%2fb",
            "a%2Fb",
            "a%5cb",
            "a\\b",
            "..\\b",
            "%c0%ae%c0%ae",
            "%e0%80%ae",
            "%00",
            "%0d%0a",
            "%7f",
            "%",
            "%2",
            "%zz",
            "a%3fb",
            "a%23b",
            "a%3bb",
            "%25",
            "",
            "#a",
            " ",
            "\t",
            "ä",
            "\u{7f}",
        ];
        let around = ["/{}/x", "/v1/{}/x", "/v1/models/{}/x"];
        for (trick, around) in tricks.iter().flat_map(|it| around.map(|around| (it, around))) {
            let target = around.replace("{}", trick);
            assert!(check("GET", &target).is_err(), "{target}");
        }
        for trick in tricks.iter().filter(|trick| !trick.is_empty()) {
            let target = format!("/v1/models/{trick}");
            assert!(check("GET", &target).is_err(), "{target}");
        }
        for target in ["", "v1", "*", "http://a/", "//a/v1", "/a\r\nb", &"/a".repeat(5_000)] {
            assert!(check("GET", target).is_err(), "{target}");
        }
    }

    #[test]
    fn methods_that_open_tunnels_or_echo_are_refused() {
        for method in
            ["CONNECT", "TRACE", "TRACK", "get", "", "G ET", "GET\r\n", "A23456789012345678"]
        {
            assert!(check(method, "/").is_err(), "{method}");
        }
    }
}
