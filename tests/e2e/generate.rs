//! `codex app-server generate-json-schema` and `generate-ts`, against what our server says and against what the
//! official program generates.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use codex_protocol::{
    CODE_METHOD_NOT_FOUND,
    served::{CALLS, Call, NOTIFICATIONS, QUESTIONS, Stability},
};
use codex_testkit::{Direction, Local, repository, require, schema};
use jsonschema::Validator;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setting::CODEX;

mod fields;

fn generate(what: &str, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(CODEX);
    command.args(["app-server", what, "--out"]).arg(out).args(more);
    command.env_clear().output().unwrap()
}

/// The JSON documents that the binary writes, by path.
fn ours() -> BTreeMap<String, Value> {
    let folder = TempDir::new().unwrap();
    let output = generate("generate-json-schema", folder.path(), &["--experimental"]);
    assert!(output.status.success(), "{output:?}");
    documents(folder.path())
}

fn documents(folder: &Path) -> BTreeMap<String, Value> {
    let read = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (
            name,
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap(),
        )
    };
    below(folder).into_iter().map(read).collect()
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(below(&path)),
            false => files.push(path),
        }
    }
    files
}

/// The document of a type, wherever it is.
fn document<'d>(documents: &'d BTreeMap<String, Value>, name: &str) -> Option<&'d Value> {
    let mut places = ["", "v1/", "v2/"].into_iter();
    places.find_map(|it| documents.get(&format!("{it}{name}.json")))
}

#[test]
fn files_are_written_again_and_what_else_is_in_the_folder_stays() {
    for (what, file) in [
        ("generate-json-schema", "v2/TurnStartParams.json"),
        ("generate-ts", "v2/TurnStartParams.ts"),
    ] {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("not/there/yet");
        assert!(generate(what, &out, &[]).status.success());
        let written = fs::read_to_string(out.join(file)).unwrap();
        fs::write(out.join(file), "changed").unwrap();
        fs::write(out.join("v2/mine"), "mine").unwrap();
        let again = generate(what, &out, &[]);
        assert!(again.status.success() && again.stdout.is_empty(), "{again:?}");
        assert_eq!(fs::read_to_string(out.join(file)).unwrap(), written);
        assert_eq!(fs::read_to_string(out.join("v2/mine")).unwrap(), "mine");
        let stable = below(&out).len();
        assert!(generate(what, &out, &["--experimental"]).status.success());
        assert!(stable < below(&out).len(), "{what} has nothing experimental");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for what in ["generate-json-schema", "generate-ts"] {
        let output = generate(what, &folder.path().join("file/out"), &[]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("file/out") && stderr.contains("--out"),
            "{stderr}"
        );
        assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "");
    }
}

/// What the server answers to each method when its parameters make no sense.
fn probe(methods: &BTreeSet<String>, capabilities: &Value) -> BTreeMap<String, Value> {
    let mut local = Local::start_program(CODEX.into());
    let info = json!({ "name": "probe", "version": "1" });
    let params = json!({ "clientInfo": info, "capabilities": capabilities });
    local.server.call("initialize", params);
    let mut ask = |method: &String| (method.clone(), local.server.ask(method, json!("no parameters")));
    methods.iter().map(&mut ask).collect()
}

#[test]
fn every_method_that_the_server_answers_is_described_and_no_other() {
    require!(Official);
    let official: Value = read(&schema(true).join("ClientRequest.json"));
    let mut methods: BTreeSet<String> = CALLS.iter().map(|it| it.method.to_owned()).collect();
    for branch in official["oneOf"].as_array().unwrap() {
        methods.insert(
            branch["properties"]["method"]["enum"][0]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let code = |it: &Value| it["error"]["code"].as_i64();
    let answers = probe(&methods, &json!({ "experimentalApi": true }));
    let served: BTreeSet<_> = answers
        .iter()
        .filter(|(_, it)| code(it) != Some(CODE_METHOD_NOT_FOUND))
        .map(|it| it.0.as_str())
        .collect();
    assert_eq!(
        served,
        CALLS.iter().map(|it| it.method).collect(),
        "left: served, right: described"
    );
    let needs = |it: &Value| {
        it["error"]["message"]
            .as_str()
            .is_some_and(|it| it.contains("experimentalApi"))
    };
    let answers = probe(&methods, &json!({}));
    let experimental: BTreeSet<_> = answers
        .iter()
        .filter(|it| needs(it.1))
        .map(|it| it.0.as_str())
        .collect();
    let described = CALLS.iter().filter(|it| it.stability == Stability::Experimental);
    assert_eq!(experimental, described.map(|it| it.method).collect());
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_notification_and_question_in_the_sources_of_the_server_is_described_and_no_other() {
    require!(Official);
    let mut sources = String::new();
    for path in below(&repository().join("src/server")) {
        let inside = path.strip_prefix(repository()).unwrap();
        let is_test = inside.to_str().is_some_and(|it| it.contains("tests"));
        if !is_test && path.extension().is_some_and(|it| it == "rs") {
            sources += &fs::read_to_string(path).unwrap();
        }
    }
    let mut described: BTreeSet<&str> = NOTIFICATIONS.iter().map(|it| it.method).collect();
    described.extend(QUESTIONS.iter().map(|it| it.method));
    let mut known = BTreeSet::new();
    for file in ["ServerNotification.json", "ServerRequest.json"] {
        let document = read(&schema(true).join(file));
        for branch in document["oneOf"].as_array().unwrap() {
            known.insert(
                branch["properties"]["method"]["enum"][0]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    let said = known.iter().filter(|it| sources.contains(&format!("\"{it}\"")));
    let said: BTreeSet<&str> = said.map(String::as_str).collect();
    assert_eq!(said, described, "left: in the sources, right: described");
}

/// Where a message is described: the document's name, and the part of the message that it describes.
fn place<'m>(asked: &mut BTreeMap<String, &'m str>, sent: bool, message: &'m Value) -> (String, &'m Value) {
    let id = |to_server: bool| format!("{to_server} {}", message["id"]);
    let Some(method) = message["method"].as_str() else {
        if message.get("error").is_some() {
            return ("JSONRPCError".to_owned(), message);
        }
        let method = asked[&id(!sent)];
        let call = CALLS
            .iter()
            .chain(QUESTIONS)
            .find(|it: &&Call| it.method == method);
        return (
            call.unwrap_or_else(|| panic!("{method} is not described"))
                .answer
                .to_owned(),
            &message["result"],
        );
    };
    let is_request = message.get("id").is_some();
    if is_request {
        asked.insert(id(sent), method);
    }
    let name = match (sent, is_request) {
        (true, true) => "ClientRequest",
        (true, false) => "ClientNotification",
        (false, true) => "ServerRequest",
        (false, false) => "ServerNotification",
    };
    (name.to_owned(), message)
}

/// A conversation in which most of what can happen happens.
#[expect(clippy::too_many_lines, reason = "one conversation, in its order")]
fn conversation() -> Vec<(Direction, Value)> {
    let mut local = Local::start_program(CODEX.into());
    local.server.initialize();
    let cwd = local.work().display().to_string();
    fs::write(local.work().join("notes.txt"), "old\n").unwrap();
    let look = json!({ "type": "function", "name": "look", "description": "It looks.", "inputSchema": {} });
    let app = json!({ "type": "namespace", "name": "app", "description": "An app.", "tools": [look] });
    let settings = json!({ "cwd": cwd, "sandbox": "danger-full-access", "approvalPolicy": "on-request",
        "dynamicTools": [look, app] });
    let opened = local.server.call("thread/start", settings);
    let thread = json!(opened["thread"]["id"].as_str().unwrap());
    let only = json!({ "threadId": thread });
    local.server.start_turn(
        thread.as_str().unwrap(),
        "reason one | two\nplan look | do\nrun echo word\npatch new.txt line\nreplace notes.txt old => new\nsay done",
    );
    let ended = local.server.finish_turn();
    let turn = ended["turn"]["id"].clone();
    for policy in ["untrusted", "on-request"] {
        let input = json!([{ "type": "text", "text": "escalate touch asked.txt\nsay done" }]);
        let params = json!({ "threadId": thread, "input": input, "approvalPolicy": policy,
            "sandboxPolicy": { "type": "workspaceWrite" } });
        local.server.call("turn/start", params);
        let asked = local.server.expect("a question", |it| {
            it["method"] == "item/commandExecution/requestApproval" || it["method"] == "turn/completed"
        });
        if asked.get("id").is_some() {
            local
                .server
                .send(json!({ "id": asked["id"], "result": { "decision": "accept" } }));
            local.server.finish_turn();
        }
    }
    local
        .server
        .start_turn(thread.as_str().unwrap(), "call app.look {}\nsay seen");
    let asked = local.server.expect_method("item/tool/call");
    let parts = json!([{ "type": "inputText", "text": "t" }, { "type": "inputImage", "imageUrl": "data:," }]);
    let seen = json!({ "contentItems": parts, "success": true });
    local.server.send(json!({ "id": asked["id"], "result": seen }));
    local.server.finish_turn();
    local.server.start_turn(thread.as_str().unwrap(), "status 400");
    local.server.finish_turn();
    let mut with = |method: &str, more: Value| {
        let mut params = only.clone();
        params
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        local.server.call(method, params)
    };
    with("thread/name/set", json!({ "name": "n" }));
    with("thread/read", json!({ "includeTurns": true }));
    with("thread/turns/list", json!({ "itemsView": "full" }));
    with("thread/items/list", json!({}));
    with("thread/resume", json!({}));
    with("thread/goal/get", json!({}));
    with("thread/settings/update", json!({ "effort": "low" }));
    with("thread/backgroundTerminals/list", json!({}));
    with("thread/metadata/update", json!({ "gitInfo": { "branch": "b" } }));
    let fork = with("thread/fork", json!({ "lastTurnId": turn }));
    with("thread/revert", json!({ "beforeTurnId": turn }));
    let shell = json!({ "threadId": fork["thread"]["id"], "command": "echo mine" });
    local
        .server
        .call_until("thread/shellCommand", shell, "turn/completed");
    local
        .server
        .call("thread/list", json!({ "sortKey": "created_at" }));
    local.server.call("thread/loaded/list", json!({}));
    for (method, params) in [
        ("thread/archive", &only),
        ("thread/unarchive", &only),
        ("thread/delete", &only),
        ("config/read", &json!({ "includeLayers": true })),
        ("model/list", &json!({})),
        ("modelProvider/list", &json!({})),
        ("skills/list", &json!({})),
        ("hooks/list", &json!({})),
        ("mcpServerStatus/list", &json!({})),
        ("permissionProfile/list", &json!({})),
        ("collaborationMode/list", &json!({})),
        ("server/diagnostics", &json!({})),
        ("account/read", &json!({})),
        ("getAuthStatus", &json!({})),
        ("account/login/start", &json!({ "type": "apiKey", "apiKey": "k" })),
        ("account/logout", &Value::Null),
    ] {
        local.server.call(method, params.clone());
    }
    local.server.transcript().to_vec()
}

#[test]
fn what_our_server_says_is_in_its_schema_field_by_field() {
    let documents = ours();
    let transcript = conversation();
    let (mut asked, mut wrong, mut validators) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    for (direction, message) in &transcript {
        let (name, part) = place(&mut asked, *direction == Direction::Sent, message);
        let schema = document(&documents, &name).unwrap();
        let validator = validators
            .entry(name.clone())
            .or_insert_with(|| jsonschema::validator_for(schema).unwrap());
        let method = message["method"].as_str().unwrap_or_default();
        for error in validator.iter_errors(part) {
            wrong.insert(format!("{name} {method}: {error}"));
        }
        for field in fields::unknown(schema, part) {
            wrong.insert(format!("{name} {method}: `{field}` is not described"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_field_that_nobody_described_is_found() {
    let documents = ours();
    let schema = document(&documents, "ServerNotification").unwrap();
    let item = json!({ "type": "agentMessage", "id": "i", "text": "t", "phase": null, "colour": "red" });
    let params = json!({ "threadId": "t", "turnId": "u", "item": item, "startedAtMs": 1, "odd": null });
    let message = json!({ "method": "item/started", "params": params, "emittedAtMs": 1 });
    assert_eq!(
        fields::unknown(schema, &message),
        ["params.item.colour", "params.odd"]
    );
}

fn validators(documents: &BTreeMap<String, Value>, name: &str) -> Option<Validator> {
    document(documents, name).map(|it| jsonschema::validator_for(it).unwrap())
}

#[test]
fn our_schema_and_the_official_one_take_the_same_recorded_messages() {
    require!(Official);
    let (ours, official) = (ours(), documents(schema(true)));
    let mut both = 0;
    for path in below(&repository().join("fixtures/wire")) {
        if path.extension().is_none_or(|it| it != "jsonl") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        let mut asked = BTreeMap::new();
        for line in &lines {
            let message = &line["msg"];
            let is_ours = |method: &str| {
                let mut methods = CALLS.iter().chain(QUESTIONS).map(|it| it.method);
                methods.any(|it| it == method) || NOTIFICATIONS.iter().any(|it| it.method == method)
            };
            if message["method"]
                .as_str()
                .is_some_and(|it| !is_ours(it) && it != "initialized")
                || message.get("error").is_some()
            {
                continue;
            }
            let (name, part) = place(&mut asked, line["dir"] == "->", message);
            let (Some(a), Some(b)) = (validators(&ours, &name), validators(&official, &name)) else {
                continue;
            };
            assert_eq!(a.is_valid(part), b.is_valid(part), "{name}: {message}");
            both += 1;
        }
    }
    assert!(300 < both, "only {both} messages are described by both");
}

#[test]
fn fields_have_their_official_names() {
    require!(Official);
    let (ours, official) = (ours(), documents(schema(true)));
    let mut wrong = BTreeSet::new();
    let mut compared = 0;
    for (path, schema) in &ours {
        let is_message = path.starts_with("codex_app_server") || path.starts_with("JSONRPC");
        let Some(theirs) = official
            .get(path)
            .filter(|_| !is_message && !path.starts_with("Server"))
        else {
            continue;
        };
        compared += 1;
        let name = path.rsplit('/').next().unwrap().trim_end_matches(".json");
        for field in fields::beyond(schema, theirs) {
            wrong.insert(format!("{name} {field}"));
        }
    }
    let meant: BTreeSet<String> = OUR_OWN.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(
        wrong, meant,
        "left: what the official schema has not, right: what is meant"
    );
    assert!(100 < compared, "{compared}");
}

/// Fields that only our server reads or may say: it takes every setting wherever one is taken, and the two
/// approvals, and the three answers that open a thread, share a type each.
const OUR_OWN: &[&str] = &[
    "FileChangeRequestApprovalResponse decision.acceptWithExecpolicyAmendment",
    "ThreadForkParams dynamicTools",
    "ThreadForkParams effort",
    "ThreadForkParams sandboxPolicy",
    "ThreadForkResponse collaborationMode",
    "ThreadForkResponse itemsBackwardsCursor",
    "ThreadForkResponse turnsBackwardsCursor",
    "ThreadResumeParams effort",
    "ThreadResumeParams sandboxPolicy",
    "ThreadSettingsUpdateParams config",
    "ThreadSettingsUpdateParams modelProvider",
    "ThreadSettingsUpdateParams sandbox",
    "ThreadStartParams effort",
    "ThreadStartParams sandboxPolicy",
    "ThreadStartResponse collaborationMode",
    "ThreadStartResponse itemsBackwardsCursor",
    "ThreadStartResponse turnsBackwardsCursor",
    "TurnStartParams config",
    "TurnStartParams modelProvider",
    "TurnStartParams sandbox",
];
