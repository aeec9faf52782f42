//! A transcript without what differs between two runs of the same server: ids, times, places, names of the machine.

use std::{collections::HashMap, path::Path};

use codex_testkit::{Direction, Model};
use serde_json::{Map, Value, json};

/// What a server said, in the words that both use.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// What it is: the method, and what tells it from others of the same method.
    pub(super) key: String,
    pub(super) body: Value,
}

/// Fields whose value is of one server and one moment alone.
const OPAQUE: [&str; 13] = [
    "userAgent",
    "cliVersion",
    "installationId",
    "serverName",
    "originator",
    "processId",
    "revision",
    "nextCursor",
    "backwardsCursor",
    "turnsBackwardsCursor",
    "itemsBackwardsCursor",
    "codexHome",
    "expectedRevision",
];

/// What is left out: the time of sending, which every notification carries.
const LEFT_OUT: [&str; 1] = ["emittedAtMs"];

/// Replaces names by the order in which they were met.
pub(super) struct Names {
    texts: Vec<(String, &'static str)>,
    ids: HashMap<String, String>,
    counts: HashMap<String, usize>,
}

impl Names {
    /// For a conversation in this home with this model.
    pub(super) fn new(home: &Path, model: &Model) -> Names {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut texts = vec![
            (home.display().to_string(), "/home/dev"),
            (format!("127.0.0.1:{}", model.port()), "127.0.0.1:8000"),
        ];
        if !host.trim().is_empty() {
            texts.push((format!("\"{}\"", host.trim()), "\"devbox\""));
        }
        Names {
            texts,
            ids: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    /// What the server said in this transcript, in order.
    pub(super) fn normalize(&mut self, transcript: &[(Direction, Value)]) -> Vec<Said> {
        let mut asked = HashMap::new();
        let mut said: Vec<Said> = Vec::new();
        for (direction, message) in transcript {
            if *direction == Direction::Sent {
                if let Some(method) = message["method"].as_str() {
                    asked.insert(message["id"].to_string(), method.to_owned());
                }
                continue;
            }
            self.meet(message, "");
            let body = self.clean("", message);
            let next = name(&asked, message, body);
            match said.last_mut() {
                Some(last) if last.key == next.key && goes_on(&last.body, &next.body) => {
                    join(&mut last.body, &next.body);
                }
                _ => said.push(next),
            }
        }
        said
    }

    fn learn(&mut self, id: &Value, kind: &str) {
        let Some(id) = id.as_str().filter(|id| !id.is_empty()) else {
            return;
        };
        if self.ids.contains_key(id) {
            return;
        }
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        self.ids.insert(id.to_owned(), format!("<{kind} {count}>"));
    }

    /// Learns the ids in a message by where they stand.
    fn meet(&mut self, value: &Value, key: &str) {
        match value {
            Value::Object(fields) => {
                if fields.contains_key("sessionId") {
                    self.learn(&value["id"], "thread");
                } else if fields.contains_key("itemsView") {
                    self.learn(&value["id"], "turn");
                } else if key == "item" || key == "items" {
                    self.learn(&value["id"], value["type"].as_str().unwrap_or("item"));
                }
                fields.iter().for_each(|(key, value)| match key.as_str() {
                    "threadId" => self.learn(value, "thread"),
                    "turnId" => self.learn(value, "turn"),
                    key => self.meet(value, key),
                });
            }
            Value::Array(values) => values.iter().for_each(|value| self.meet(value, key)),
            _ => {}
        }
    }

    fn clean(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut clean = Map::new();
                for (key, value) in fields {
                    // What is absent is null.
                    if !value.is_null() && !LEFT_OUT.contains(&key.as_str()) {
                        let key = self.text(key);
                        let value = self.clean(&key, value);
                        clean.insert(key, value);
                    }
                }
                if clean.contains_key("sessionId") && clean.contains_key("path") {
                    clean.insert("path".to_owned(), json!("<path>"));
                }
                Value::Object(clean)
            }
            Value::Array(values) => values.iter().map(|value| self.clean(key, value)).collect(),
            Value::String(_) if OPAQUE.contains(&key) => json!("<opaque>"),
            Value::String(text) => Value::String(self.text(text)),
            Value::Number(_) if is_time(key) => json!("<time>"),
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        if let Some(name) = self.ids.get(text) {
            return name.clone();
        }
        let mut text = text.to_owned();
        for (from, to) in &self.texts {
            text = text.replace(from, to);
        }
        self.uuids(&text)
    }

    /// The text with every UUID by its name, or by none when nobody knows it.
    fn uuids(&self, text: &str) -> String {
        let mut clean = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(|it: char| it.is_ascii_hexdigit()) {
            let (before, from) = rest.split_at(start);
            clean += before;
            match from.get(..36).filter(|it| is_uuid(it)) {
                Some(id) => {
                    clean += self.ids.get(id).map_or("<uuid>", String::as_str);
                    rest = &from[36..];
                }
                None => {
                    let end = from
                        .find(|it: char| !it.is_ascii_hexdigit())
                        .unwrap_or(from.len());
                    clean += &from[..end];
                    rest = &from[end..];
                }
            }
        }
        clean + rest
    }
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(index, byte)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn is_time(key: &str) -> bool {
    key.ends_with("At") || key.ends_with("AtMs") || key == "durationMs"
}

/// Names a message: a notification by its method, an answer by that of its call.
fn name(asked: &HashMap<String, String>, message: &Value, body: Value) -> Said {
    let Some(method) = message["method"].as_str() else {
        let method = asked.get(&message["id"].to_string());
        let method = method.map_or("an answer to nobody", String::as_str);
        let (key, body) = match message.get("error") {
            Some(_) => (format!("{method} error"), body["error"].clone()),
            None => (format!("{method} result"), body["result"].clone()),
        };
        return Said { key, body };
    };
    let params = &message["params"];
    let detail = match method {
        "thread/status/changed" => {
            let flags = params["status"]["activeFlags"].as_array();
            let flags = flags.map(|it| it.iter().filter_map(Value::as_str).collect::<Vec<_>>());
            let kind = params["status"]["type"].as_str().unwrap_or_default();
            format!(" {kind} {}", flags.unwrap_or_default().join(" "))
        }
        "turn/completed" => format!(" {}", params["turn"]["status"].as_str().unwrap_or_default()),
        "item/started" | "item/completed" => {
            format!(" {}", params["item"]["type"].as_str().unwrap_or_default())
        }
        _ => String::new(),
    };
    let key = format!("{method}{detail}").trim_end().to_owned();
    let mut body = body["params"].clone();
    if let (Some(id), Value::Object(fields)) = (message.get("id"), &mut body) {
        fields.insert("id of the request".to_owned(), id.clone());
    }
    Said { key, body }
}

/// Whether the second is the next piece (`delta`) of the text of the first.
fn goes_on(first: &Value, second: &Value) -> bool {
    let (Some(first), Some(second)) = (first.as_object(), second.as_object()) else {
        return false;
    };
    let rest = |it: &Map<String, Value>| {
        let mut it = it.clone();
        it.remove("delta").map(|_| it)
    };
    rest(first).is_some() && rest(first) == rest(second)
}

fn join(first: &mut Value, second: &Value) {
    let text = [&*first, second].map(|it| it["delta"].as_str().unwrap_or_default());
    first["delta"] = json!(text.concat());
}
