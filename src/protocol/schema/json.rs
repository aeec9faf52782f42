//! The JSON Schema bundle, draft 7.

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{Files, Shape, calls, folder, tidy};
use crate::{
    message::{ErrorObject, Id},
    served::{Call, NOTIFICATIONS, QUESTIONS},
};

const DIALECT: &str = "http://json-schema.org/draft-07/schema#";
const DEFINITIONS: &str = "#/definitions/";

/// Descriptions by the type's name; they refer to each other as `#/definitions/NAME`.
type Definitions = BTreeMap<String, Value>;

/// Who reads the type. A field that may be left out for a reader may always be there in what is written.
#[derive(Clone, Copy)]
enum Direction {
    /// To the server, which reads leniently.
    In,
    /// From the server.
    Out,
}

impl Direction {
    fn settings(self) -> SchemaSettings {
        match self {
            Direction::In => SchemaSettings::draft07().for_deserialize(),
            Direction::Out => SchemaSettings::draft07().for_serialize(),
        }
    }
}

pub(super) fn root<T: JsonSchema>(settings: SchemaSettings) -> Value {
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Some types, and all that they need.
#[derive(Clone, Default)]
struct Described(Definitions);

impl Described {
    fn add(&mut self, name: &str, shape: Shape, direction: Direction) {
        self.add_root(name, (shape.json)(direction.settings()));
    }

    fn add_root(&mut self, name: &str, mut root: Value) {
        if let Some(object) = root.as_object_mut() {
            object.remove("$schema");
            if let Some(Value::Object(needed)) = object.remove("definitions") {
                self.0.extend(needed);
            }
            object.insert("title".to_owned(), name.into());
        }
        self.0.insert(name.to_owned(), root);
    }

    /// One type as a document of its own.
    fn document(mut self, name: &str) -> Value {
        let mut root = self.0.remove(name).unwrap_or_else(|| json!({}));
        if let Some(object) = root.as_object_mut() {
            object.insert("$schema".to_owned(), DIALECT.into());
            if !self.0.is_empty() {
                object.insert("definitions".to_owned(), json!(self.0));
            }
        }
        root
    }
}

/// Everything that our server answers, asks and tells. Without `experimental`, calls that may still change are
/// left out.
pub fn json_schema(experimental: bool) -> Files {
    let mut files = BTreeMap::new();
    let mut bundle = Described::default();
    for (name, place, described) in types(experimental) {
        bundle_up(&mut bundle, &described);
        files.insert(format!("{place}{name}.json"), described.document(&name));
    }
    for (name, described) in envelopes(experimental) {
        bundle_up(&mut bundle, &described);
        files.insert(format!("{name}.json"), described.document(name));
    }
    let merged = "codex_app_server_protocol";
    files.insert(
        format!("{merged}.v2.schemas.json"),
        json!({ "$schema": DIALECT, "title": "CodexAppServerProtocolV2", "type": "object", "definitions": bundle.0 }),
    );
    files.insert(format!("{merged}.schemas.json"), nested(bundle.0));
    let text = |value: &Value| tidy(&format!("{value:#}"));
    files.iter().map(|(name, it)| (name.clone(), text(it))).collect()
}

/// Adds to the merged bundle. Of a type that goes both ways the bundle has the description for the one who
/// reads: it holds for everything that is written, too.
fn bundle_up(bundle: &mut Described, described: &Described) {
    for (name, schema) in &described.0 {
        let is_laxer = |known: &Value| required(schema) < required(known);
        if bundle.0.get(name).is_none_or(is_laxer) {
            bundle.0.insert(name.clone(), schema.clone());
        }
    }
}

/// How many fields must be there, at all depths.
fn required(schema: &Value) -> usize {
    match schema {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("required", Value::Array(names)) => names.len(),
                _ => required(value),
            })
            .sum(),
        Value::Array(values) => values.iter().map(required).sum(),
        _ => 0,
    }
}

/// One document for each type that a message carries, with its folder.
fn types(experimental: bool) -> Vec<(String, &'static str, Described)> {
    let mut types = Vec::new();
    let mut add = |name: &str, place: &'static str, shape: Shape, direction: Direction| {
        let mut described = Described::default();
        described.add(name, shape, direction);
        types.push((name.to_owned(), place, described));
    };
    let place = |name: &str| match name.starts_with("Initialize") {
        true => "v1/",
        false => folder(name),
    };
    for call in calls(experimental) {
        if let Some(name) = call.params {
            add(name, place(name), call.params_shape, Direction::In);
        }
        add(call.answer, place(call.answer), call.answer_shape, Direction::Out);
    }
    for question in QUESTIONS {
        if let Some(name) = question.params {
            add(name, "", question.params_shape, Direction::Out);
        }
        add(question.answer, "", question.answer_shape, Direction::In);
    }
    for told in NOTIFICATIONS {
        add(told.params, folder(told.params), told.shape, Direction::Out);
    }
    types
}

/// The messages themselves.
fn envelopes(experimental: bool) -> Vec<(&'static str, Described)> {
    let mut asked = Described::default();
    asked.add_root("RequestId", root::<Id>(Direction::In.settings()));
    let mut questions = asked.clone();
    let branches = calls(experimental)
        .map(|it| request(&mut asked, it, Direction::In))
        .collect();
    asked
        .0
        .insert("ClientRequest".to_owned(), one_of("ClientRequest", branches));
    let branches = QUESTIONS
        .iter()
        .map(|it| request(&mut questions, it, Direction::Out))
        .collect();
    questions
        .0
        .insert("ServerRequest".to_owned(), one_of("ServerRequest", branches));

    let mut told = Described::default();
    let notification = |it: &crate::served::Told| {
        told.add(it.params, it.shape, Direction::Out);
        branch(
            it.method,
            json!({ "emittedAtMs": emitted_at(), "params": reference(it.params) }),
            &["params"],
        )
    };
    let branches = NOTIFICATIONS.iter().map(notification).collect();
    told.0.insert(
        "ServerNotification".to_owned(),
        one_of("ServerNotification", branches),
    );

    let mut said = Described::default();
    let initialized = branch("initialized", json!({}), &[]);
    said.0.insert(
        "ClientNotification".to_owned(),
        one_of("ClientNotification", vec![initialized]),
    );

    let mut all = vec![
        ("ClientRequest", asked),
        ("ServerRequest", questions),
        ("ServerNotification", told),
        ("ClientNotification", said),
    ];
    all.extend(json_rpc());
    all
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{DEFINITIONS}{name}") })
}

fn emitted_at() -> Value {
    json!({ "description": "Unix time in milliseconds.", "type": "integer", "format": "int64" })
}

fn one_of(title: &str, branches: Vec<Value>) -> Value {
    json!({ "title": title, "oneOf": branches })
}

/// One method of a union.
fn branch(method: &str, mut properties: Value, required: &[&str]) -> Value {
    properties["method"] = json!({ "type": "string", "enum": [method] });
    let required: Vec<_> = ["method"].iter().chain(required).collect();
    json!({ "title": method, "type": "object", "properties": properties, "required": required })
}

fn request(described: &mut Described, call: &Call, direction: Direction) -> Value {
    let id = reference("RequestId");
    let Some(name) = call.params else {
        let nothing = json!({ "type": ["object", "null"] });
        return branch(call.method, json!({ "id": id, "params": nothing }), &["id"]);
    };
    described.add(name, call.params_shape, direction);
    match is_optional(call) {
        true => {
            let params = json!({ "anyOf": [reference(name), { "type": "null" }] });
            branch(call.method, json!({ "id": id, "params": params }), &["id"])
        }
        false => branch(
            call.method,
            json!({ "id": id, "params": reference(name) }),
            &["id", "params"],
        ),
    }
}

/// Whether a call may come without parameters: our server reads missing ones as `{}`.
pub(super) fn is_optional(call: &Call) -> bool {
    let params = (call.params_shape.json)(Direction::In.settings());
    params["type"] == "object" && params.get("required").is_none() && params.get("allOf").is_none()
}

/// The shapes under the methods.
fn json_rpc() -> Vec<(&'static str, Described)> {
    let id = || reference("RequestId");
    let object = |title: &str, properties: Value, required: Value| json!({ "title": title, "type": "object", "properties": properties, "required": required });
    let method = json!({ "type": "string" });
    let mut ids = Described::default();
    ids.add_root("RequestId", root::<Id>(Direction::In.settings()));
    let mut errors = Described::default();
    errors.add_root("JSONRPCErrorError", root::<ErrorObject>(Direction::In.settings()));
    let mut message = ids.clone();
    message.0.extend(errors.0.clone());
    let shapes = [
        (
            "JSONRPCRequest",
            object(
                "JSONRPCRequest",
                json!({ "id": id(), "method": method, "params": true }),
                json!(["id", "method"]),
            ),
        ),
        (
            "JSONRPCNotification",
            object(
                "JSONRPCNotification",
                json!({ "method": method, "params": true, "emittedAtMs": emitted_at() }),
                json!(["method"]),
            ),
        ),
        (
            "JSONRPCResponse",
            object(
                "JSONRPCResponse",
                json!({ "id": id(), "result": true }),
                json!(["id", "result"]),
            ),
        ),
        (
            "JSONRPCError",
            object(
                "JSONRPCError",
                json!({ "id": id(), "error": reference("JSONRPCErrorError") }),
                json!(["error", "id"]),
            ),
        ),
    ];
    let any: Vec<_> = shapes.iter().map(|(name, _)| reference(name)).collect();
    let mut all = vec![("RequestId", ids.clone()), ("JSONRPCErrorError", errors.clone())];
    for (name, schema) in shapes {
        message.0.insert(name.to_owned(), schema.clone());
        let mut described = match name {
            "JSONRPCNotification" => Described::default(),
            "JSONRPCError" => Described(
                ids.0
                    .iter()
                    .chain(&errors.0)
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect(),
            ),
            _ => ids.clone(),
        };
        described.0.insert(name.to_owned(), schema);
        all.push((name, described));
    }
    message.0.insert(
        "JSONRPCMessage".to_owned(),
        json!({ "title": "JSONRPCMessage", "anyOf": any }),
    );
    all.push(("JSONRPCMessage", message));
    all
}

/// The merged bundle in the official form: what is in the folder `v2` stands in `definitions.v2`.
fn nested(definitions: Definitions) -> Value {
    let questions: Vec<&str> = QUESTIONS
        .iter()
        .flat_map(|it| it.params.into_iter().chain([it.answer]))
        .collect();
    let is_nested = |name: &str| folder(name) == "v2/" && !questions.contains(&name);
    let (mut top, mut inner) = (Map::new(), Map::new());
    for (name, mut schema) in definitions {
        move_references(&mut schema, &is_nested);
        match is_nested(&name) {
            true => inner.insert(name, schema),
            false => top.insert(name, schema),
        };
    }
    top.insert("v2".to_owned(), Value::Object(inner));
    json!({ "$schema": DIALECT, "title": "CodexAppServerProtocol", "type": "object", "definitions": top })
}

fn move_references(schema: &mut Value, is_nested: &impl Fn(&str) -> bool) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match (
                    key.as_str(),
                    value.as_str().and_then(|it| it.strip_prefix(DEFINITIONS)),
                ) {
                    ("$ref", Some(name)) if is_nested(name) => {
                        *value = format!("{DEFINITIONS}v2/{name}").into()
                    }
                    _ => move_references(value, is_nested),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|it| move_references(it, is_nested)),
        _ => (),
    }
}
