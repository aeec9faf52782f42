//! The recorded conversations of the official server, read and written again.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, fs, path::Path};

use codex_protocol::{ClientRequest, Id, Message, Response, ServerNotification, ServerRequest};
use serde_json::{Value, value::RawValue};

/// One line of a recording.
struct Line {
    place: String,
    to_server: bool,
    text: String,
}

fn recordings() -> Vec<Vec<Line>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "jsonl"));
    files.sort();
    assert!(files.len() >= 18, "{files:?}");
    let lines = |file: &std::path::PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let line = |(index, line): (usize, &str)| {
            let entry: BTreeMap<&str, &RawValue> = serde_json::from_str(line).unwrap();
            Line {
                place: format!("{}:{}", file.display(), index + 1),
                to_server: entry["dir"].get() == "\"->\"",
                text: entry["msg"].get().to_owned(),
            }
        };
        text.lines().enumerate().map(line).collect()
    };
    files.iter().map(lines).collect()
}

/// Whether all that `ours` says stands in `theirs`. What we do not model may be missing from `ours`;
/// an absent field may be said as its default.
fn is_part_of(ours: &Value, theirs: Option<&Value>) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Some(Value::Object(theirs))) => {
            ours.iter().all(|(key, value)| is_part_of(value, theirs.get(key)))
        }
        (Value::Array(ours), Some(Value::Array(theirs))) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_part_of(a, Some(b)))
        }
        (ours, Some(theirs)) if ours == theirs => true,
        (Value::Null | Value::Bool(false), None | Some(Value::Null)) => true,
        (Value::Array(it), None | Some(Value::Null)) => it.is_empty(),
        (Value::String(it), None | Some(Value::Null)) => it.is_empty(),
        (Value::Number(it), None | Some(Value::Null)) => it.as_i64() == Some(0),
        _ => false,
    }
}

#[test]
fn every_message_is_written_as_it_was_read() {
    for line in recordings().iter().flatten() {
        let message = Message::parse(line.text.as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&message.to_line().unwrap()).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<Value>(&line.text).unwrap(),
            "{}",
            line.place
        );
    }
}

#[test]
fn notifications_and_requests_of_the_server_are_understood_and_say_the_same_again() {
    let mut known = BTreeMap::<String, u32>::new();
    for line in recordings().iter().flatten().filter(|it| !it.to_server) {
        let theirs: Value = serde_json::from_str(&line.text).unwrap();
        match Message::parse(line.text.as_bytes()).unwrap() {
            Message::Notification(it) => {
                let notification = ServerNotification::parse(&it.method, it.params.as_ref());
                if matches!(notification, ServerNotification::Unknown { .. }) {
                    continue;
                }
                let ours = notification.params().unwrap();
                assert!(is_part_of(&ours, theirs.get("params")), "{}\n{ours}", line.place);
                let raw = serde_json::value::to_raw_value(&ours).unwrap();
                assert_eq!(
                    ServerNotification::parse(&it.method, Some(&raw)),
                    notification,
                    "{}",
                    line.place
                );
                *known.entry(it.method).or_default() += 1;
            }
            Message::Request(it) => {
                let request = ServerRequest::parse(&it.method, it.params.as_ref());
                assert!(
                    !matches!(request, ServerRequest::Unknown { .. }),
                    "{}",
                    line.place
                );
                assert!(request.thread_id().is_some(), "{}", line.place);
                *known.entry(it.method).or_default() += 1;
            }
            Message::Response(_) => (),
        }
    }
    for method in [
        "thread/started",
        "thread/status/changed",
        "turn/started",
        "turn/completed",
        "item/started",
        "item/completed",
        "item/agentMessage/delta",
        "item/reasoning/summaryTextDelta",
        "item/commandExecution/requestApproval",
        "item/fileChange/requestApproval",
        "serverRequest/resolved",
        "thread/tokenUsage/updated",
        "turn/plan/updated",
        "error",
    ] {
        assert!(
            known.contains_key(method),
            "{method} is in no recording, or is not understood: {known:?}"
        );
    }
}

#[test]
fn no_item_of_the_recordings_is_unknown() {
    for line in recordings().iter().flatten().filter(|it| !it.to_server) {
        let message: Value = serde_json::from_str(&line.text).unwrap();
        let Some(item) = message.pointer("/params/item") else {
            continue;
        };
        let item: codex_protocol::v2::ThreadItem = serde_json::from_value(item.clone()).unwrap();
        assert!(
            !matches!(item, codex_protocol::v2::ThreadItem::Unknown(_)),
            "{}",
            line.place
        );
        assert!(item.id().is_some(), "{}", line.place);
    }
}

#[test]
fn calls_and_their_answers_are_understood() {
    let mut understood = 0;
    for recording in recordings() {
        let mut calls = BTreeMap::<Id, ClientRequest>::new();
        for line in recording {
            match (line.to_server, Message::parse(line.text.as_bytes()).unwrap()) {
                (true, Message::Request(it)) => {
                    // Some calls are recorded because they are wrong.
                    let Some(Ok(call)) = ClientRequest::parse(&it.method, it.params.as_ref()) else {
                        continue;
                    };
                    let ours: Value = serde_json::from_str(call.params().unwrap().get()).unwrap();
                    let theirs = it
                        .params
                        .map(|it| serde_json::from_str::<Value>(it.get()).unwrap());
                    assert!(is_part_of(&ours, theirs.as_ref()), "{}\n{ours}", line.place);
                    calls.insert(it.id, call);
                }
                (
                    false,
                    Message::Response(Response {
                        id,
                        outcome: Ok(answer),
                    }),
                ) => {
                    let Some(call) = calls.remove(&id) else { continue };
                    let decoded = call.decode(&answer);
                    assert!(decoded.is_ok(), "{}: {decoded:?}", line.place);
                    understood += 1;
                }
                _ => (),
            }
        }
    }
    assert!(understood > 40, "{understood}");
}
