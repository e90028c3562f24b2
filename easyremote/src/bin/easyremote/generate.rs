//! `easyremote gen`: source in other languages, from the schemas of functions.

mod python;

use std::path::Path;

use easyremote::client::FunctionInfo;
use easyremote::{Error, ErrorKind};
use serde_json::Value;

use crate::connect::connect;
use crate::exit::Failure;
use crate::options::{CommonOptions, GenerateLanguage, GenerateOptions, PythonOptions};
use crate::output::Output;

/// Writes source.
pub(crate) async fn generate(
    common: &CommonOptions,
    generate: &GenerateOptions,
    output: &Output,
) -> Result<(), Failure> {
    let GenerateLanguage::Python(python) = &generate.language;
    let mut functions = chosen(listed(common, python).await?, &python.functions)?;
    // Nodes may offer functions of one name with different types.
    functions.dedup_by(|later, first| {
        let is_same = later.name == first.name;
        if is_same {
            let (name, signature) = (&first.name, &first.signature);
            output.remark(&format!("`{name}` has several types: its stub is that of {signature}"));
        }
        is_same
    });
    for function in functions.iter().filter(|function| function.schemas.is_none()) {
        output.remark(&format!("`{}` has no schemas: its stub takes anything", function.name));
    }
    let text = python::stubs(&functions, python.finite);
    match &python.out {
        None => output.text(text).await,
        Some(file) => std::fs::write(file, text)
            .map_err(|error| Failure::Local(format!("cannot write `{}`: {error}", file.display()))),
    }
}

/// Returns the functions of a gateway, or of a file.
async fn listed(
    common: &CommonOptions,
    options: &PythonOptions,
) -> Result<Vec<FunctionInfo>, Failure> {
    match &options.schemas {
        Some(file) => read(file),
        None => Ok(connect(common).await?.functions().await?),
    }
}

/// Reads functions as `ls --json`, `describe --json` and `GET /functions` write them.
fn read(file: &Path) -> Result<Vec<FunctionInfo>, Failure> {
    let wrong = |why: String| Failure::Usage(format!("`{}`: {why}", file.display()));
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let mut value: Value =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    for member in ["functions", "variants"] {
        if let Some(list) = value.get_mut(member) {
            value = list.take();
        }
    }
    serde_json::from_value(value)
        .map_err(|error| wrong(format!("not a list of functions: {error}")))
}

/// Returns the functions with these names, or all, by name.
fn chosen(mut listed: Vec<FunctionInfo>, names: &[String]) -> Result<Vec<FunctionInfo>, Failure> {
    for name in names {
        if !listed.iter().any(|function| function.name == *name) {
            let text = format!("no node offers `{name}`, or this identity may not call it");
            return Err(Error::new(ErrorKind::NoSuchFunction, text).into());
        }
    }
    listed.retain(|function| names.is_empty() || names.contains(&function.name));
    listed.sort_by(|a, b| (&a.name, &a.signature).cmp(&(&b.name, &b.signature)));
    Ok(listed)
}
