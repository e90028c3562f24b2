//! The model that a request names, in its body: all that the gateway reads of it.

use std::borrow::Cow;

use serde::Deserialize;

/// The part of a JSON body that counts.
#[derive(Deserialize)]
struct NamesModel<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
}

/// Returns the model that a body names; `None` if it names none.
///
/// # Errors
/// If the body is not what its type says, so that its server could read another model in it.
pub(super) fn model_in(content_type: &str, body: &[u8]) -> Result<Option<String>, String> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        return match boundary(content_type) {
            Some(boundary) => in_form(&boundary, body),
            None => Err("the body has no valid `boundary`".to_owned()),
        };
    }
    let essence = essence.to_ascii_lowercase();
    let may_be_json = ["", "text/plain"].contains(&&*essence) || essence.ends_with("json");
    if !may_be_json || body.trim_ascii().is_empty() {
        return Ok(None);
    }
    // An array would be read as a list of fields.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err("the body is no JSON object".to_owned());
    }
    let named: NamesModel<'_> =
        serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    Ok(named.model.map(Cow::into_owned))
}

/// Longest boundary, by RFC 2046, section 5.1.1.
const MAX_BOUNDARY: usize = 70;

/// Longest name of a model, in bytes; it is part of a tag.
const MAX_MODEL: usize = 128;

fn boundary(content_type: &str) -> Option<String> {
    let mut parameters = content_type.split(';').skip(1).filter_map(|it| it.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    let value = value.trim().trim_matches('"');
    let fits = (1..=MAX_BOUNDARY).contains(&value.len()) && value.is_ascii();
    fits.then(|| value.to_owned())
}

/// Finds the field `model` of a form.
fn in_form(boundary: &str, body: &[u8]) -> Result<Option<String>, String> {
    let line = format!("\r\n--{boundary}");
    let first = line.trim_start().as_bytes();
    let mut rest = match body.strip_prefix(first) {
        Some(rest) => rest,
        None => after(body, line.as_bytes()).ok_or("the body is no form")?,
    };
    let mut found = None;
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let end = position(part, line.as_bytes()).ok_or("the form has no end")?;
        let (part, next) = part.split_at(end);
        rest = &next[line.len()..];
        let (head, value) = match position(part, b"\r\n\r\n") {
            Some(at) => (&part[..at], &part[at + 4..]),
            None => return Err("a field of the form has no name".to_owned()),
        };
        if !names_model(head) {
            continue;
        }
        let value = std::str::from_utf8(value).ok().filter(|value| value.len() <= MAX_MODEL);
        let value = value.ok_or("the field `model` of the form is no name")?;
        if found.replace(value.to_owned()).is_some() {
            return Err("the form has two fields `model`".to_owned());
        }
    }
    if rest.starts_with(b"--") { Ok(found) } else { Err("the form has no end".to_owned()) }
}

/// Returns whether a part of a form is the field `model`.
fn names_model(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let disposition =
        head.split("\r\n").find_map(|line| line.trim().strip_prefix("content-disposition:"));
    let mut parameters = disposition.unwrap_or_default().split(';').skip(1);
    parameters.any(|parameter| match parameter.split_once('=') {
        Some((name, value)) => name.trim() == "name" && value.trim().trim_matches('"') == "model",
        None => false,
    })
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, mut from) = (*wanted.first()?, 0);
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn after<'a>(bytes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    position(bytes, wanted).map(|at| &bytes[at + wanted.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_json_is_found_wherever_it_is() {
        for (body, model) in [
            (r#"{"model":"tiny"}"#, Some("tiny")),
            (
                r#"{"messages":[{"model":"no"}],"stream":true,"model":"org/big:7b"}"#,
                Some("org/big:7b"),
            ),
            (r#"{"model":"t\u0069ny","x":{"model":1}}"#, Some("tiny")),
            (r#"{"model":null}"#, None),
            (r#"{"input":1}"#, None),
            ("", None),
            (" \n", None),
        ] {
            assert_eq!(
                model_in("application/json", body.as_bytes()).unwrap().as_deref(),
                model,
                "{body}"
            );
        }
        assert_eq!(model_in("audio/wav", b"RIFF"), Ok(None));
        for odd in [
            r#"{"model":1}"#,
            r#"{"model":"a","model":"b"}"#,
            "{",
            "[]",
            "x",
            r#"{"model":"a"} {}"#,
        ] {
            assert!(model_in("application/json", odd.as_bytes()).is_err(), "{odd}");
        }
    }

    fn form(parts: &[(&str, &str)]) -> String {
        let parts = parts.iter().map(|(head, value)| format!("--b-1\r\n{head}\r\n\r\n{value}\r\n"));
        parts.collect::<String>() + "--b-1--\r\n"
    }

    #[test]
    fn the_model_of_a_form_is_found_wherever_it_is() {
        let file = (
            "Content-Disposition: form-data; name=\"file\"; filename=\"model\"",
            "\r\n--b-2\r\n\0",
        );
        let model = ("content-disposition: form-data; name=\"model\"", "whisper");
        for parts in [vec![file, model], vec![model, file], vec![model]] {
            let body = form(&parts);
            for kind in
                ["multipart/form-data; boundary=b-1", "Multipart/Form-Data; Boundary=\"b-1\""]
            {
                assert_eq!(model_in(kind, body.as_bytes()), Ok(Some("whisper".to_owned())));
            }
        }
        let kind = "multipart/form-data; boundary=b-1";
        assert_eq!(model_in(kind, form(&[file]).as_bytes()), Ok(None));
        assert!(model_in(kind, form(&[model, model]).as_bytes()).is_err());
        let body = form(&[file, model]);
        for cut in 0..body.len() - 6 {
            assert!(model_in(kind, &body.as_bytes()[..cut]).is_err(), "{cut}");
        }
        assert!(model_in("multipart/form-data", body.as_bytes()).is_err());
    }
}
