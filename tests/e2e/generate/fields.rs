//! Which fields a JSON Schema (draft 7, with its own definitions) names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a place may hold: its parts are those of all schemas that apply to it.
#[derive(Default)]
struct Place<'s> {
    /// Anything may stand there.
    open: bool,
    fields: BTreeMap<&'s str, Vec<&'s Value>>,
    /// Under any other name.
    others: Vec<&'s Value>,
    entries: Vec<&'s Value>,
}

/// Follows references and unions. With a value only the branches of a union with its tag count.
fn look<'s>(root: &'s Value, schema: &'s Value, value: Option<&Value>, place: &mut Place<'s>) {
    let Some(object) = schema.as_object() else {
        place.open |= *schema == Value::Bool(true);
        return;
    };
    let tag = |it: &str| object.get("properties").map(|p| &p[it]);
    for name in ["type", "method", "mode"] {
        let word = tag(name).and_then(|it| it.get("const").or_else(|| it.get("enum").map(|it| &it[0])));
        if let (Some(word), Some(said)) = (word, value.and_then(|it| it.get(name)))
            && word != said
        {
            return;
        }
    }
    if let Some(target) = object.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(target.trim_start_matches('#')).unwrap();
        look(root, target, value, place);
    }
    for union in ["allOf", "anyOf", "oneOf"] {
        let branches = object.get(union).and_then(Value::as_array);
        branches
            .into_iter()
            .flatten()
            .for_each(|it| look(root, it, value, place));
    }
    for (name, schema) in object
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        place.fields.entry(name).or_default().push(schema);
    }
    match object.get("additionalProperties") {
        Some(Value::Bool(true)) => place.open = true,
        Some(schema @ Value::Object(_)) => place.others.push(schema),
        _ => (),
    }
    match object.get("items") {
        Some(schema) => place.entries.push(schema),
        None => place.open |= object.get("type").is_some_and(|it| *it == "array"),
    }
    let says = [
        "type",
        "$ref",
        "allOf",
        "anyOf",
        "oneOf",
        "properties",
        "enum",
        "const",
        "not",
    ];
    place.open |= !says.iter().any(|it| object.contains_key(*it));
}

fn at<'s>(root: &'s Value, schemas: &[&'s Value], value: Option<&Value>) -> Place<'s> {
    let mut place = Place::default();
    schemas.iter().for_each(|it| look(root, it, value, &mut place));
    place
}

fn join(path: &str, name: &str) -> String {
    match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}.{name}"),
    }
}

/// The fields of the value that the schema does not name, by their path.
pub(super) fn unknown(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(schema, &[schema], value, "", &mut found);
    found
}

fn compare(root: &Value, schemas: &[&Value], value: &Value, path: &str, found: &mut Vec<String>) {
    let place = at(root, schemas, Some(value));
    if place.open {
        return;
    }
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = join(path, name);
                match place.fields.get(name.as_str()) {
                    Some(schemas) => compare(root, schemas, value, &path, found),
                    None if !place.others.is_empty() => compare(root, &place.others, value, &path, found),
                    None => found.push(path),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                compare(root, &place.entries, value, &join(path, "[]"), found);
            }
        }
        _ => (),
    }
}

/// The fields that the first schema names and the second one does not, by their path.
pub(super) fn beyond(ours: &Value, theirs: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    both((ours, &[ours]), (theirs, &[theirs]), "", 0, &mut found);
    found
}

/// Types inside each other that are compared.
const DEPTH_MAX: usize = 12;

type Side<'a> = (&'a Value, &'a [&'a Value]);

fn both(ours: Side<'_>, theirs: Side<'_>, path: &str, depth: usize, found: &mut BTreeSet<String>) {
    let (a, b) = (at(ours.0, ours.1, None), at(theirs.0, theirs.1, None));
    if b.open || DEPTH_MAX < depth {
        return;
    }
    for (name, schemas) in &a.fields {
        let path = join(path, name);
        match b.fields.get(name).or((!b.others.is_empty()).then_some(&b.others)) {
            Some(there) => both((ours.0, schemas), (theirs.0, there), &path, depth + 1, found),
            None => _ = found.insert(path),
        }
    }
    if !a.entries.is_empty() && !b.entries.is_empty() {
        both(
            (ours.0, &a.entries),
            (theirs.0, &b.entries),
            &join(path, "[]"),
            depth + 1,
            found,
        );
    }
    if !a.others.is_empty() && !b.others.is_empty() {
        both(
            (ours.0, &a.others),
            (theirs.0, &b.others),
            &join(path, "*"),
            depth + 1,
            found,
        );
    }
}
