//! Fields to fill in: for a login, for the model, for an MCP server.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use codex_protocol::v2;

use super::text_field::TextField;
use crate::keymap::Command;

/// Bytes of a secret. The room is taken at once: a buffer that grows leaves copies behind.
pub const SECRET_BYTES_MAX: usize = 4096;
/// Fields of one form. The number comes from a remote.
const FIELDS_MAX: usize = 64;

/// Text that is never shown and wiped when it is dropped. It has no `Debug`.
pub struct SecretField {
    text: Zeroizing<String>,
}

impl SecretField {
    fn new() -> SecretField {
        SecretField {
            text: Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX)),
        }
    }

    /// Characters, for as many dots.
    pub fn chars(&self) -> usize {
        self.text.chars().count()
    }

    /// Takes text as far as there is room.
    pub fn insert(&mut self, text: &str) {
        for it in text.chars() {
            if SECRET_BYTES_MAX < self.text.len() + it.len_utf8() {
                return;
            }
            self.text.push(it);
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::DeleteBack => {
                self.text.pop();
            }
            Command::DeleteToStart | Command::DeleteWordBack => self.text.clear(),
            _ => (),
        }
    }

    /// The secret itself; the field is empty afterwards.
    pub fn take(&mut self) -> Zeroizing<String> {
        std::mem::replace(self, SecretField::new()).text
    }
}

pub enum Input {
    Text(TextField),
    Secret(SecretField),
    /// One of several answers. `other` is the text for an answer beyond them, where one is taken.
    Options {
        options: Vec<FieldOption>,
        selected: usize,
        other: Option<TextField>,
    },
}

pub struct FieldOption {
    pub label: String,
    pub about: String,
    pub value: Value,
}

pub struct Field {
    /// Key of the answer on the wire.
    pub key: String,
    pub label: String,
    pub about: String,
    pub input: Input,
    kind: Kind,
    is_required: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Integer,
}

#[derive(Default)]
pub struct Form {
    pub fields: Vec<Field>,
    pub focus: usize,
    /// Why it could not be sent.
    pub problem: Option<String>,
}

impl Form {
    pub fn secret(label: impl Into<String>) -> Form {
        Form {
            fields: vec![Field::new("", label, Input::Secret(SecretField::new()))],
            ..Form::default()
        }
    }

    pub fn prompts(prompts: &[codex_hosts::Prompt]) -> Form {
        let fields = prompts.iter().take(FIELDS_MAX).map(|it| {
            let input = if it.echo {
                Input::Text(TextField::default())
            } else {
                Input::Secret(SecretField::new())
            };
            Field::new("", it.text.as_str(), input)
        });
        Form {
            fields: fields.collect(),
            ..Form::default()
        }
    }

    pub fn questions(questions: &[v2::UserInputQuestion]) -> Form {
        let field = |it: &v2::UserInputQuestion| {
            let options = it.options.iter().flatten().map(|option| FieldOption {
                label: option.label.clone(),
                about: option.description.clone(),
                value: option.label.clone().into(),
            });
            let options: Vec<FieldOption> = options.collect();
            let input = match (it.is_secret, options.is_empty()) {
                (true, _) => Input::Secret(SecretField::new()),
                (false, true) => Input::Text(TextField::default()),
                (false, false) => Input::Options {
                    options,
                    selected: 0,
                    other: it.is_other.then(TextField::default),
                },
            };
            let mut field = Field::new(&it.id, it.question.as_str(), input);
            field.about.clone_from(&it.header);
            field
        };
        Form {
            fields: questions.iter().take(FIELDS_MAX).map(field).collect(),
            ..Form::default()
        }
    }

    /// The fields of an MCP elicitation: the flat object of JSON Schema that MCP allows there.
    pub fn schema(schema: &Value) -> Form {
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |key: &str| required.is_some_and(|it| it.iter().any(|it| it.as_str() == Some(key)));
        let properties = schema.get("properties").and_then(Value::as_object);
        let fields = properties
            .into_iter()
            .flatten()
            .take(FIELDS_MAX)
            .map(|(key, property)| {
                let text = |name: &str| property.get(name).and_then(Value::as_str).unwrap_or_default();
                let label = if text("title").is_empty() {
                    key.as_str()
                } else {
                    text("title")
                };
                let mut field = Field::new(key, label, schema_input(property));
                field.about = text("description").to_owned();
                field.is_required = is_required(key);
                field.kind = match text("type") {
                    "number" => Kind::Number,
                    "integer" => Kind::Integer,
                    _ => Kind::Text,
                };
                field
            });
        Form {
            fields: fields.collect(),
            ..Form::default()
        }
    }

    pub fn current(&mut self) -> Option<&mut Field> {
        self.fields.get_mut(self.focus)
    }

    /// Moves on; `false` when this was the last field.
    pub fn advance(&mut self) -> bool {
        let has_next = self.focus + 1 < self.fields.len();
        if has_next {
            self.focus += 1;
        }
        has_next
    }

    pub fn step(&mut self, by: isize) {
        let count = isize::try_from(self.fields.len()).unwrap_or(isize::MAX).max(1);
        let focus = isize::try_from(self.focus).unwrap_or(0);
        self.focus = usize::try_from((focus + by).rem_euclid(count)).unwrap_or(0);
    }

    pub fn insert(&mut self, text: &str) {
        self.problem = None;
        match self.current().map(|it| &mut it.input) {
            Some(Input::Text(field)) => field.insert(&text.replace(char::is_control, " ")),
            // What a terminal pastes often ends with a line break that is no part of the secret.
            Some(Input::Secret(field)) => field.insert(text.trim_end_matches(['\n', '\r'])),
            Some(Input::Options {
                options,
                selected,
                other: Some(other),
            }) => {
                *selected = options.len();
                other.insert(&text.replace(char::is_control, " "));
            }
            Some(Input::Options { other: None, .. }) | None => (),
        }
    }

    pub fn handle(&mut self, command: Command) {
        let Some(field) = self.current() else { return };
        match &mut field.input {
            Input::Text(text) => {
                text.handle(command);
            }
            Input::Secret(secret) => secret.handle(command),
            Input::Options {
                options,
                selected,
                other,
            } => {
                let count = options.len() + usize::from(other.is_some());
                match (command, other) {
                    (Command::Up, _) => *selected = selected.saturating_sub(1),
                    (Command::Down, _) => *selected = (*selected + 1).min(count.saturating_sub(1)),
                    (command, Some(other)) if *selected == options.len() => {
                        other.handle(command);
                    }
                    _ => (),
                }
            }
        }
    }

    /// The answers as an object, or which field is not right; the focus goes there.
    pub fn content(&mut self) -> Option<Map<String, Value>> {
        let mut content = Map::new();
        for index in 0..self.fields.len() {
            match self.fields[index].value() {
                Ok(Some(value)) => {
                    content.insert(self.fields[index].key.clone(), value);
                }
                Ok(None) => (),
                Err(problem) => {
                    self.focus = index;
                    self.problem = Some(problem);
                    return None;
                }
            }
        }
        Some(content)
    }
}

impl Field {
    fn new(key: &str, label: impl Into<String>, input: Input) -> Field {
        Field {
            key: key.to_owned(),
            label: label.into(),
            about: String::new(),
            input,
            kind: Kind::Text,
            is_required: false,
        }
    }

    /// The answer as text, secrets included.
    pub fn answer(&mut self) -> String {
        match &mut self.input {
            Input::Text(text) => text.text().to_owned(),
            Input::Secret(secret) => secret.take().to_string(),
            Input::Options {
                options,
                selected,
                other,
            } => match (options.get(*selected), other) {
                (Some(option), _) => option.label.clone(),
                (None, Some(other)) => other.text().to_owned(),
                (None, None) => String::new(),
            },
        }
    }

    fn value(&self) -> Result<Option<Value>, String> {
        let text = match &self.input {
            Input::Options {
                options, selected, ..
            } => return Ok(options.get(*selected).map(|it| it.value.clone())),
            Input::Text(text) => text.text(),
            Input::Secret(_) => "",
        };
        match (text.is_empty(), self.kind) {
            (true, _) if self.is_required => Err("this field is required".to_owned()),
            (true, _) => Ok(None),
            (false, Kind::Text) => Ok(Some(text.into())),
            (false, Kind::Integer) => match text.trim().parse::<i64>() {
                Ok(number) => Ok(Some(number.into())),
                Err(_) => Err("a whole number is needed".to_owned()),
            },
            (false, Kind::Number) => match text
                .trim()
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
            {
                Some(number) => Ok(Some(Value::Number(number))),
                None => Err("a number is needed".to_owned()),
            },
        }
    }
}

fn schema_input(property: &Value) -> Input {
    let option = |value: &Value, label: Option<&Value>| FieldOption {
        label: label
            .and_then(Value::as_str)
            .or(value.as_str())
            .map_or_else(|| value.to_string(), str::to_owned),
        about: String::new(),
        value: value.clone(),
    };
    let options: Vec<FieldOption> = match (property.get("enum"), property.get("oneOf"), property.get("type"))
    {
        (Some(Value::Array(values)), _, _) => {
            let names = property.get("enumNames");
            let named = values.iter().enumerate();
            named
                .map(|(index, it)| option(it, names.and_then(|it| it.get(index))))
                .collect()
        }
        (_, Some(Value::Array(values)), _) => values
            .iter()
            .filter_map(|it| Some(option(it.get("const")?, it.get("title"))))
            .collect(),
        (_, _, Some(Value::String(kind))) if kind == "boolean" => {
            vec![
                option(&false.into(), Some(&"no".into())),
                option(&true.into(), Some(&"yes".into())),
            ]
        }
        _ => Vec::new(),
    };
    if options.is_empty() {
        let default = property
            .get("default")
            .and_then(Value::as_str)
            .unwrap_or_default();
        return Input::Text(TextField::new(default.replace(char::is_control, " ")));
    }
    let default = property.get("default");
    let selected = options
        .iter()
        .position(|it| Some(&it.value) == default)
        .unwrap_or(0);
    Input::Options {
        options,
        selected,
        other: None,
    }
}
