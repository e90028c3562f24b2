//! Converts arguments as a person writes them to those that a function takes.

use easyremote::client::FunctionInfo;
use serde_json::{Map, Value};

use crate::Failure;
use crate::functions::default_argument;
use crate::functions::images::Image;

/// Parses `text`, names the arguments, and adds the defaults of those that are missing.
///
/// `text` is an array, by position, or an object, by name. The only argument of a function may be
/// written as it is.
pub(crate) fn complete(function: &FunctionInfo, text: Option<&str>) -> Result<Value, Failure> {
    let parameters = function.parameters.as_slice();
    let mut arguments = match text.map(parse).transpose()? {
        None => Map::new(),
        Some(Value::Array(values)) => by_position(function, values)?,
        Some(Value::Object(named)) if !is_the_only_argument(&named, parameters) => named,
        Some(value) => by_position(function, vec![value])?,
    };
    for parameter in parameters {
        if !arguments.contains_key(parameter)
            && let Some(default) = default_argument(&function.name, parameter)
        {
            arguments.insert(parameter.clone(), default);
        }
    }
    if let Some(images) = arguments.get_mut("images") {
        draw(images)?;
    }
    Ok(Value::Object(arguments))
}

fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        format!(
            "the arguments `{text}` are not valid JSON ({error}); write `[1, 2]` or `{{\"a\": 1}}`"
        )
        .into()
    })
}

fn by_position(function: &FunctionInfo, values: Vec<Value>) -> Result<Map<String, Value>, Failure> {
    let FunctionInfo { name, parameters, .. } = function;
    if values.len() > parameters.len() {
        let (given, takes) = (values.len(), parameters.join(", "));
        return Err(format!("{given} arguments were given; `{name}` takes ({takes})").into());
    }
    Ok(parameters.iter().cloned().zip(values).collect())
}

/// Whether an object is itself an argument, and not a list of arguments by name: none of its keys
/// is the name of an argument.
fn is_the_only_argument(object: &Map<String, Value>, parameters: &[String]) -> bool {
    matches!(parameters, [only] if !object.is_empty() && !object.contains_key(only))
}

/// Replaces names of images, such as `disc-7`, by the images.
fn draw(images: &mut Value) -> Result<(), Failure> {
    for image in images.as_array_mut().into_iter().flatten() {
        if let Value::String(name) = image {
            *image = serde_json::to_value(name.parse::<Image>()?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complete_text(name: &str, parameters: &[&str], text: Option<&str>) -> Result<Value, String> {
        // The type has no public constructor.
        let function = serde_json::from_value(json!({
            "name": name, "kind": "unary", "parameters": parameters,
            "signature": "", "doc": "", "nodes": [],
        }));
        complete(&function.unwrap(), text).map_err(|failure| failure.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        let number_stream =
            |text| complete_text("sync_number_stream", &["start", "count", "interval"], Some(text));
        let expected = json!({"start": 1, "count": 3, "interval": 0.5});
        assert_eq!(number_stream("[1, 3]").as_ref(), Ok(&expected));
        assert_eq!(number_stream(r#"{"start": 1, "count": 3}"#), Ok(expected));
        let data_stream = complete_text("async_data_stream", &["config"], None);
        assert_eq!(data_stream, Ok(json!({"config": {}})));
    }

    #[test]
    fn the_only_argument_may_be_written_as_it_is() {
        let process = |text| complete_text("sync_process_data", &["data"], Some(text));
        let expected = Ok(json!({"data": {"a": 1}}));
        assert_eq!(process(r#"{"a": 1}"#), expected);
        assert_eq!(process(r#"{"data": {"a": 1}}"#), expected);
        assert_eq!(process(r#"[{"a": 1}]"#), expected);
        let analyse =
            complete_text("async_ai_simulation", &["text", "model_delay"], Some(r#""x""#));
        assert_eq!(analyse, Ok(json!({"text": "x", "model_delay": 2.0})));
    }

    #[test]
    fn images_are_drawn_from_their_names() {
        let infer = |text| {
            complete_text("async_ml_inference_stream", &["images", "batch_size"], Some(text))
        };
        let drawn = infer(r#"[["disc-1", {"name": "mine", "pixels": [0]}]]"#).unwrap();
        assert_eq!(drawn["images"][0]["pixels"].as_array().unwrap().len(), 256);
        assert_eq!(drawn["images"][1]["name"], "mine");
        assert_eq!(drawn["batch_size"], 2);
        assert!(infer(r#"[["cat"]]"#).unwrap_err().contains("cannot draw `cat`"));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let add = |text| complete_text("sync_add", &["a", "b"], Some(text)).unwrap_err();
        assert!(add("1 2").contains("are not valid JSON"));
        assert!(add("[1, 2, 3]").contains("3 arguments were given; `sync_add` takes (a, b)"));
    }
}
