//! The descriptions for other languages, against the recorded conversations and against themselves.
#![cfg(feature = "schema")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use codex_protocol::{
    schema::{Files, json_schema, typescript},
    served::{CALLS, NOTIFICATIONS, QUESTIONS, Stability},
};
use jsonschema::Validator;
use serde_json::Value;

fn document(files: &Files, name: &str) -> Validator {
    let place = ["", "v1/", "v2/"]
        .into_iter()
        .find(|it| files.contains_key(&format!("{it}{name}.json")));
    let text = &files[&format!("{}{name}.json", place.unwrap_or_else(|| panic!("no {name}")))];
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

/// Where a message is described: the document, and the part of the message that it describes.
fn place<'m>(
    asked: &mut BTreeMap<String, String>,
    to_server: bool,
    message: &'m Value,
) -> Option<(String, &'m Value)> {
    let id = format!("{to_server}{}", message["id"]);
    let Some(method) = message["method"].as_str() else {
        if message.get("error").is_some() {
            return Some(("JSONRPCError".to_owned(), message));
        }
        let method = asked.get(&format!("{}{}", !to_server, message["id"]))?;
        let call = CALLS.iter().chain(QUESTIONS).find(|it| it.method == method)?;
        return Some((call.answer.to_owned(), &message["result"]));
    };
    if message.get("id").is_some() {
        asked.insert(id, method.to_owned());
    }
    let is_call = |it: &&codex_protocol::served::Call| it.method == method;
    let name = match (to_server, message.get("id").is_some()) {
        (true, true) => CALLS.iter().find(is_call).map(|_| "ClientRequest"),
        (false, true) => QUESTIONS.iter().find(is_call).map(|_| "ServerRequest"),
        (true, false) => Some("ClientNotification"),
        (false, false) => NOTIFICATIONS
            .iter()
            .find(|it| it.method == method)
            .map(|_| "ServerNotification"),
    };
    name.map(|it| (it.to_owned(), message))
}

#[test]
fn what_was_said_to_and_by_the_official_server_fits_the_schema_as_far_as_ours_says_it_too() {
    let files = json_schema(true);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire");
    let mut validators = BTreeMap::new();
    let (mut seen, mut wrong) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "jsonl") {
            continue;
        }
        let mut asked = BTreeMap::new();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        let refused = |id: &Value| {
            lines
                .iter()
                .any(|it| it["msg"]["id"] == *id && it["msg"].get("error").is_some())
        };
        for line in &lines {
            if line["msg"].get("params").is_some() && refused(&line["msg"]["id"]) {
                // It may be what nobody should say.
                continue;
            }
            let Some((name, part)) = place(&mut asked, line["dir"] == "->", &line["msg"]) else {
                continue;
            };
            *seen.entry(name.clone()).or_default() += 1;
            let validator = validators
                .entry(name.clone())
                .or_insert_with(|| document(&files, &name));
            for error in validator.iter_errors(part) {
                let method = line["msg"]["method"].as_str().unwrap_or("answer");
                wrong.insert(format!(
                    "{name} ({method}): {} at {}",
                    error,
                    error.instance_path()
                ));
            }
            let whole = validators.entry("JSONRPCMessage".to_owned());
            let whole = whole.or_insert_with(|| document(&files, "JSONRPCMessage"));
            assert!(whole.is_valid(&line["msg"]), "{line}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for name in [
        "ClientRequest",
        "ServerRequest",
        "ServerNotification",
        "ThreadStartResponse",
        "JSONRPCError",
    ] {
        assert!(seen.contains_key(name), "no {name} in the recordings");
    }
}

#[test]
fn every_document_is_a_schema_whose_references_lead_somewhere() {
    for (name, text) in json_schema(true) {
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            schema["$schema"], "http://json-schema.org/draft-07/schema#",
            "{name}"
        );
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        references(&schema, &mut |target| {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(schema.pointer(pointer).is_some(), "{name}: {target}");
        });
    }
}

fn references(schema: &Value, found: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str() {
                    Some(target) if key == "$ref" => found(target),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|it| references(it, found)),
        _ => (),
    }
}

#[test]
fn what_may_still_change_is_described_only_if_that_is_wanted() {
    let (stable, all) = (json_schema(false), json_schema(true));
    for call in CALLS {
        let is_stable = call.stability == Stability::Stable;
        let quoted = format!("\"{}\"", call.method);
        assert!(all["ClientRequest.json"].contains(&quoted), "{quoted}");
        assert_eq!(
            stable["ClientRequest.json"].contains(&quoted),
            is_stable,
            "{quoted}"
        );
        let answer = format!("v2/{}.json", call.answer);
        if all.contains_key(&answer) {
            assert_eq!(stable.contains_key(&answer), is_stable, "{answer}");
        }
        let in_typescript = |experimental| typescript(experimental)["ClientRequest.ts"].contains(&quoted);
        assert_eq!(in_typescript(false), is_stable, "{quoted}");
        assert!(in_typescript(true), "{quoted}");
    }
}

#[test]
fn open_enums_and_unions_are_described_by_the_values_that_are_known() {
    let files = json_schema(true);
    let bundle: Value = serde_json::from_str(&files["codex_app_server_protocol.v2.schemas.json"]).unwrap();
    let words = &bundle["definitions"]["SandboxMode"]["enum"];
    assert_eq!(
        *words,
        serde_json::json!(["read-only", "workspace-write", "danger-full-access"])
    );
    let tags = |name: &str| -> BTreeSet<String> {
        let branches = bundle["definitions"][name]["oneOf"].as_array().unwrap().iter();
        branches
            .map(|it| it["properties"]["type"]["const"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        tags("ThreadStatus"),
        ["active", "idle", "notLoaded", "systemError"]
            .map(str::to_owned)
            .into()
    );
    let files = typescript(true);
    let mode = "export type SandboxMode = \"read-only\" | \"workspace-write\" | \"danger-full-access\";";
    assert!(
        files["v2/SandboxMode.ts"].contains(mode),
        "{}",
        files["v2/SandboxMode.ts"]
    );
    let status = "{ \"type\": \"idle\" } | { \"type\": \"active\" } & Active";
    assert!(
        files["v2/ThreadStatus.ts"].contains(status),
        "{}",
        files["v2/ThreadStatus.ts"]
    );
}

/// The names of types in a file, without comments and strings.
fn names(text: &str) -> BTreeSet<String> {
    let mut code = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        code += before;
        rest = after.split_once("*/").unwrap().1;
    }
    code += rest;
    let lines = code
        .lines()
        .filter(|it| !it.starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let outside = lines.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = outside.split(|it: char| !it.is_alphanumeric() && it != '_');
    words
        .filter(|it| it.starts_with(char::is_uppercase))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_name_in_the_typescript_is_declared_or_imported_from_a_file_that_declares_it() {
    let files = typescript(true);
    for (path, text) in &files {
        let here = path.rsplit_once('/').map_or("", |it| it.0);
        let mut known: BTreeSet<String> = ["Array", "Record"].map(str::to_owned).into();
        for line in text.lines().filter(|it| it.contains(" from \"")) {
            let target = line.split('"').nth(1).unwrap();
            let (up, name) = match target.strip_prefix("../") {
                Some(name) => (true, name),
                None => (false, target.strip_prefix("./").unwrap()),
            };
            let target = match (up, here) {
                (true, _) | (false, "") => name.to_owned(),
                (false, here) => format!("{here}/{name}"),
            };
            if target == "v2" {
                assert!(files.contains_key("v2/index.ts"));
                continue;
            }
            let name = name.rsplit('/').next().unwrap();
            let declared = files
                .get(&format!("{target}.ts"))
                .unwrap_or_else(|| panic!("{path}: {target}"));
            assert!(
                declared.contains(&format!("export type {name} = ")),
                "{path}: {target}"
            );
            known.insert(name.to_owned());
        }
        let name = path.rsplit('/').next().unwrap().trim_end_matches(".ts");
        known.insert(name.to_owned());
        let unknown: Vec<_> = names(text).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}\n{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count(), "{path}");
        assert!(!text.contains("[`"), "{path} links to what it cannot know");
    }
    let listed = |place: &str| files[&format!("{place}index.ts")].matches("export type").count();
    let in_folders = files.keys().filter(|it| it.starts_with("v2/")).count() - 1;
    assert_eq!(listed("v2/"), in_folders);
    let at_top = files.keys().filter(|it| !it.contains('/')).count() - 1;
    assert_eq!(listed(""), at_top);
}

#[test]
fn no_name_means_two_things() {
    let mut methods = BTreeSet::new();
    for method in CALLS.iter().chain(QUESTIONS).map(|it| it.method) {
        assert!(methods.insert(method), "{method} twice");
    }
    for told in NOTIFICATIONS {
        assert!(methods.insert(told.method), "{} twice", told.method);
    }
    let files = json_schema(true);
    // A second type of the same name gets a number.
    for text in files.values() {
        let schema: Value = serde_json::from_str(text).unwrap();
        for (name, _) in schema["definitions"].as_object().into_iter().flatten() {
            assert!(
                name == "v2" || !name.ends_with(|it: char| it.is_ascii_digit()),
                "{name}"
            );
        }
    }
}
