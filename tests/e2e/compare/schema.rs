//! What our server says, against the JSON Schema that the official program generates.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use codex_testkit::{Direction, schema};
use jsonschema::Validator;
use serde_json::{Value, json};

/// Methods whose answer is not named after their parameters.
const NAMED_OTHERWISE: [(&str, &str); 4] = [
    ("config/value/write", "ConfigWriteResponse"),
    ("config/batchWrite", "ConfigWriteResponse"),
    ("configRequirements/read", "ConfigRequirementsReadResponse"),
    ("account/logout", "LogoutAccountResponse"),
];

/// The schema, as far as it was asked for.
pub(super) struct Schema {
    answers: BTreeMap<String, String>,
    validators: HashMap<String, Validator>,
}

impl Schema {
    pub(super) fn new() -> Schema {
        let calls: Value = serde_json::from_str(&file("ClientRequest.json").unwrap()).unwrap();
        let branches = calls["oneOf"].as_array().unwrap().iter();
        let answer = |branch: &Value| {
            let method = branch["properties"]["method"]["enum"][0].as_str()?;
            let params = &branch["properties"]["params"]["$ref"];
            let named = params.as_str().and_then(|it| it.rsplit('/').next());
            let named = named.map(|it| it.replace("Params", "Response"));
            let otherwise = NAMED_OTHERWISE.iter().find(|(it, _)| *it == method);
            Some((
                method.to_owned(),
                otherwise.map_or(named, |it| Some(it.1.to_owned()))?,
            ))
        };
        Schema {
            answers: branches.filter_map(answer).collect(),
            validators: HashMap::new(),
        }
    }

    /// What is wrong with the messages of this transcript; nothing when all is well.
    pub(super) fn check(&mut self, transcript: &[(Direction, Value)]) -> Vec<String> {
        let mut asked = HashMap::new();
        let mut wrong = Vec::new();
        for (direction, message) in transcript {
            let method = message["method"].as_str();
            if let (Direction::Sent, Some(method)) = (direction, method) {
                asked.insert(message["id"].to_string(), method.to_owned());
            }
            if *direction == Direction::Received {
                let (name, body) = self.place(&asked, message);
                let validator = self.validator(&name);
                let said = method.map_or_else(|| format!("the answer to {name}"), str::to_owned);
                wrong.extend(validator.iter_errors(&body).map(|error| {
                    format!(
                        "{said}: {} at {}",
                        short(&error.to_string()),
                        error.instance_path()
                    )
                }));
            }
        }
        wrong
    }

    /// The schema's file for a message, and what has to fit it.
    fn place(&self, asked: &HashMap<String, String>, message: &Value) -> (String, Value) {
        if message["method"].is_string() {
            let name = match message.get("id") {
                Some(_) => "ServerRequest",
                None => "ServerNotification",
            };
            return (name.to_owned(), message.clone());
        }
        if message.get("error").is_some() {
            return ("JSONRPCError".to_owned(), message.clone());
        }
        let method = asked.get(&message["id"].to_string());
        let method = method.unwrap_or_else(|| panic!("an answer to nobody: {message}"));
        let name = self.answers.get(method);
        let name = name.unwrap_or_else(|| panic!("{method} is not in the official schema"));
        (
            name.clone(),
            message.get("result").cloned().unwrap_or(json!(null)),
        )
    }

    fn validator(&mut self, name: &str) -> &Validator {
        self.validators.entry(name.to_owned()).or_insert_with(|| {
            let places = ["", "v1/", "v2/"].map(|folder| format!("{folder}{name}.json"));
            let text = places.iter().find_map(|it| file(it));
            let text = text.unwrap_or_else(|| panic!("no schema for {name}"));
            jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
        })
    }
}

fn file(name: &str) -> Option<String> {
    fs::read_to_string(Path::new(schema(true)).join(name)).ok()
}

/// An error may hold the whole message.
fn short(text: &str) -> String {
    text.chars().take(400).collect()
}

#[test]
fn an_answer_and_a_notification_that_do_not_fit_are_found() {
    codex_testkit::require!(Official);
    let mut schema = Schema::new();
    let transcript = [
        (
            Direction::Sent,
            json!({ "id": 1, "method": "thread/loaded/list", "params": {} }),
        ),
        (
            Direction::Received,
            json!({ "id": 1, "result": { "data": "none" } }),
        ),
        (
            Direction::Received,
            json!({ "method": "turn/started", "params": { "threadId": "t" } }),
        ),
        (Direction::Received, json!({ "method": "no/such", "params": {} })),
        (
            Direction::Received,
            json!({ "method": "thread/deleted", "params": { "threadId": "t" } }),
        ),
    ];
    assert_eq!(schema.check(&transcript[..2]).len(), 1);
    assert_eq!(schema.check(&transcript[2..3]).len(), 1);
    assert_eq!(schema.check(&transcript[3..4]).len(), 1);
    assert_eq!(schema.check(&transcript[4..]), Vec::<String>::new());
}
