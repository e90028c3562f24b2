//! The methods of the stubs.

use easyremote::client::FunctionInfo;
use serde_json::{Map, Value};

use super::names::{Names, camel, identifier};
use super::schema_types::{Place, SchemaTypes};
use super::text::{docstring, literal};

/// For which client a class is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Threads,
    Asyncio,
}

impl Flavour {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Threads => "Functions",
            Self::Asyncio => "AsyncFunctions",
        }
    }

    pub(super) fn client(self) -> &'static str {
        match self {
            Self::Threads => "Client",
            Self::Asyncio => "AsyncClient",
        }
    }

    pub(super) fn remark(self) -> &'static str {
        match self {
            Self::Threads => "",
            Self::Asyncio => ", for asyncio",
        }
    }
}

/// A parameter of a method.
struct Parameter {
    /// Its name for the function.
    own: String,
    name: String,
    of: String,
    doc: String,
}

/// The method for a function.
pub(super) struct Method<'a> {
    info: &'a FunctionInfo,
    pub(super) name: String,
    parameters: Vec<Parameter>,
    /// The items of the client stream, and the parameter for it.
    upload: Option<(String, String)>,
    returned: String,
    /// What is known of the errors of the function.
    errors: Vec<(&'static str, String)>,
}

impl<'a> Method<'a> {
    /// Returns the method with its parameters; `None` for an operator, which is not called.
    pub(super) fn new(info: &'a FunctionInfo, types: &mut SchemaTypes) -> Option<Self> {
        let kind = info.kind.to_string();
        if kind == "operator" {
            return None;
        }
        let schema = info.schemas.as_ref().map(|schemas| schemas.arguments()).unwrap_or_default();
        let definitions = definitions(&schema);
        let mut parameters = Vec::new();
        for own in &info.parameters {
            let schema = schema.get("properties").and_then(|all| all.get(own));
            let schema = schema.unwrap_or(&Value::Null);
            let name = format!("{}{}", camel(&info.name), camel(own));
            let place = argument(definitions, &name);
            let of = types.expression(schema, place);
            let doc = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            parameters.push(Parameter {
                own: own.clone(),
                name: String::new(),
                of,
                doc: doc.trim().to_owned(),
            });
        }
        let upload = ["upload", "duplex"].contains(&&*kind).then(|| {
            let schema = info.schemas.as_ref().and_then(|schemas| schemas.upload());
            let schema = schema.unwrap_or_default();
            let name = format!("{}Upload", camel(&info.name));
            let of = types.expression(&schema, argument(self::definitions(&schema), &name));
            (of, String::new())
        });
        let (name, errors) = (String::new(), Vec::new());
        Some(Self { info, name, parameters, upload, returned: "Any".to_owned(), errors })
    }

    pub(super) fn function(&self) -> &'a str {
        &self.info.name
    }

    /// Adds the types of what the function returns.
    pub(super) fn add_results(&mut self, types: &mut SchemaTypes) {
        let Some(schemas) = &self.info.schemas else { return };
        let camel = camel(&self.info.name);
        if let Some(schema) = schemas.result().or_else(|| schemas.item()) {
            let part = if self.is_stream() { "Item" } else { "Result" };
            self.returned = types.expression(&schema, result(&schema, &format!("{camel}{part}")));
        }
        let parts = [
            ("Error", "`FunctionError`, whose `error` is", schemas.error()),
            (
                "SetupError",
                "`FunctionError` before the first item, whose `error` is",
                schemas.setup_error(),
            ),
        ];
        for (part, text, schema) in parts {
            if let Some(schema) = schema {
                let name = format!("{camel}{part}");
                let of = types.expression(&schema, result(&schema, &name));
                let of = if of == name { of } else { types.alias(&name, &of) };
                self.errors.push((text, of));
            }
        }
    }

    fn is_stream(&self) -> bool {
        ["stream", "duplex"].contains(&&*self.info.kind.to_string())
    }

    /// Gives the parameters names that nothing else in the method has.
    pub(super) fn name_parameters(&mut self, types: &Names) {
        let mut names = types.clone();
        names.reserve("self");
        for parameter in &mut self.parameters {
            let name = identifier(&parameter.own);
            // Inside of a class, Python changes names that begin with two.
            let name = if name.starts_with("__") { format!("p{name}") } else { name };
            parameter.name = names.take(&name);
        }
        if let Some((_, name)) = &mut self.upload {
            *name = names.take("items");
        }
    }

    /// Returns the definition of the method.
    pub(super) fn definition(&self, flavour: Flavour) -> String {
        let mut signature = vec!["self".to_owned(), "/".to_owned()];
        // All arguments are required: one that may be null is null if it is left out at the end.
        let with_default = self.parameters.iter().rev();
        let with_default = with_default.take_while(|it| it.of.starts_with("Optional[")).count();
        let first_default = self.parameters.len() - with_default;
        for (n, parameter) in self.parameters.iter().enumerate() {
            let default = if n < first_default { "" } else { " = None" };
            signature.push(format!("{}: {}{default}", parameter.name, parameter.of));
        }
        if let Some((of, name)) = &self.upload {
            signature.push("*".to_owned());
            signature.push(match flavour {
                Flavour::Threads => format!("{name}: Iterable[{of}]"),
                Flavour::Asyncio => format!("{name}: Union[Iterable[{of}], AsyncIterable[{of}]]"),
            });
        }
        let keyword = match flavour {
            Flavour::Asyncio if !self.is_stream() => "async def",
            _ => "def",
        };
        let returned = self.returned_by(flavour);
        format!(
            "    {keyword} {}({}) -> {returned}:\n{}        {}\n",
            self.name,
            signature.join(", "),
            docstring(&self.doc(), "        "),
            self.body(flavour),
        )
    }

    fn returned_by(&self, flavour: Flavour) -> String {
        match flavour {
            _ if !self.is_stream() => self.returned.clone(),
            Flavour::Threads => format!("Stream[{}]", self.returned),
            Flavour::Asyncio => format!("AsyncStream[{}]", self.returned),
        }
    }

    fn body(&self, flavour: Flavour) -> String {
        let given = self.parameters.iter().map(|it| format!("{}: {}", literal(&it.own), it.name));
        let given = format!("{{{}}}", given.collect::<Vec<_>>().join(", "));
        let name = literal(&self.info.name);
        let call = match (&self.upload, self.is_stream()) {
            (None, false) => format!("self._client.call({name}, arguments={given})"),
            (None, true) => format!("self._client.stream({name}, arguments={given})"),
            (Some((_, items)), false) => {
                format!("self._client.upload({name}, {given}, items={items})")
            }
            (Some((_, items)), true) => {
                format!("self._client.duplex({name}, {given}, items={items})")
            }
        };
        if self.is_stream() {
            return format!("return {call}");
        }
        let call = if flavour == Flavour::Asyncio { format!("await {call}") } else { call };
        match &*self.returned {
            "None" | "NoReturn" => call,
            "Any" => format!("return {call}"),
            of => format!("return cast({}, {call})", literal(of)),
        }
    }

    fn doc(&self) -> String {
        let mut doc = self.info.doc.trim().to_owned();
        let mut add = |text: String| {
            if !doc.is_empty() {
                doc.push_str("\n\n");
            }
            doc.push_str(&text);
        };
        let described = self.parameters.iter().filter(|it| !it.doc.is_empty());
        let described: Vec<_> = described
            .map(|it| format!("- `{}`: {}", it.name, it.doc.replace('\n', "\n  ")))
            .collect();
        if !described.is_empty() {
            add(described.join("\n"));
        }
        for (text, of) in &self.errors {
            add(format!("Raises {text} `{of}`."));
        }
        doc
    }
}

fn definitions(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("$defs").and_then(Value::as_object)
}

fn argument<'a>(definitions: Option<&'a Map<String, Value>>, name: &'a str) -> Place<'a> {
    Place { definitions, name, is_argument: true, suffix: "_" }
}

fn result<'a>(schema: &'a Value, name: &'a str) -> Place<'a> {
    Place { definitions: definitions(schema), name, is_argument: false, suffix: "Result" }
}
