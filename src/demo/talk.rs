//! Reads a prompt: what the user wants in this turn, and how far the turn has come.
//!
//! The prompt's items are all there is. So the model needs no memory, and goes on after a restart.

use codex_agent::RawItem;
use serde_json::Value;

/// The phase of a message that ends a turn; all others are [`COMMENTARY`].
pub(crate) const FINAL: &str = "final_answer";
pub(crate) const COMMENTARY: &str = "commentary";

/// How messages begin that the user did not write.
const ABORTED: &str = "<turn_aborted>";
const SUMMARY: &str = "<conversation_summary>";
const SURROUNDINGS: [&str; 2] = ["<environment_context>", "<user_instructions>"];

/// A conversation, as far as the script depends on it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Talk {
    /// The turn that goes on.
    pub(crate) turn: Turn,
    /// What began each turn before it that was answered.
    pub(crate) answered: Vec<String>,
    /// The turn before was interrupted.
    pub(crate) was_interrupted: bool,
    /// All that the model has said.
    said: String,
}

/// One turn, so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The user's first words.
    pub(crate) prompt: String,
    /// What the user has added since the model last spoke.
    pub(crate) added: Vec<String>,
    /// What came out of each call, in order.
    pub(crate) outcomes: Vec<Outcome>,
}

/// What came out of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The user said no.
    Declined,
    /// In the words of the tool.
    Told(String),
}

impl Talk {
    pub(crate) fn read(items: &[RawItem]) -> Talk {
        let mut talk = Talk::default();
        let mut is_open = false;
        for item in items {
            let text = text(item);
            match (item.kind(), item.value()["role"].as_str()) {
                ("message", Some("assistant")) => {
                    talk.said.push_str(&text);
                    talk.turn.added.clear();
                    if item.value()["phase"] == FINAL && is_open {
                        is_open = false;
                        talk.answered.push(std::mem::take(&mut talk.turn.prompt));
                        talk.was_interrupted = false;
                    }
                }
                ("message", _) if text.starts_with(ABORTED) => {
                    is_open = false;
                    talk.was_interrupted = true;
                }
                ("message", _) if text.starts_with(SUMMARY) => {
                    is_open = false;
                    talk.was_interrupted = false;
                }
                ("message", Some("user")) if !SURROUNDINGS.iter().any(|it| text.starts_with(it)) => {
                    if is_open {
                        talk.turn.added.push(text);
                    } else {
                        is_open = true;
                        talk.turn = Turn {
                            prompt: text,
                            ..Turn::default()
                        };
                    }
                }
                _ if item.is_call() => talk.turn.added.clear(),
                _ if item.is_output() => talk.turn.outcomes.push(Outcome::read(&text)),
                _ => {}
            }
        }
        talk
    }

    /// Whether the model has said this before.
    pub(crate) fn holds(&self, words: &str) -> bool {
        self.said.contains(words)
    }
}

impl Outcome {
    fn read(text: &str) -> Outcome {
        // The words of the agent's turn machine for `decline`.
        match text.contains("rejected by the user") {
            true => Outcome::Declined,
            false => Outcome::Told(text.to_owned()),
        }
    }
}

/// The text of a message's parts, or of a call's output.
fn text(item: &RawItem) -> String {
    let value = item.value();
    match value.get("content").or_else(|| value.get("output")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|it| it["text"].as_str()).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use codex_agent::model::wire::{assistant_message, message};
    use serde_json::json;

    use super::*;

    fn call() -> RawItem {
        RawItem::new(
            json!({"type": "function_call", "call_id": "c", "name": "exec_command", "arguments": "{}"}),
        )
    }

    fn output(text: &str) -> RawItem {
        RawItem::new(json!({"type": "function_call_output", "call_id": "c", "output": text}))
    }

    fn answer() -> RawItem {
        let content = json!([{"type": "output_text", "text": "done"}]);
        RawItem::new(json!({"type": "message", "role": "assistant", "phase": FINAL, "content": content}))
    }

    #[test]
    fn a_turn_begins_with_the_users_words_and_not_with_its_surroundings() {
        let talk = Talk::read(&[
            message("user", "<environment_context>\n</environment_context>"),
            message("user", "<user_instructions>\n</user_instructions>"),
            message("user", "first"),
            call(),
            output("x"),
            answer(),
            message("user", "second"),
        ]);
        assert_eq!(
            (talk.turn.prompt.as_str(), talk.turn.outcomes.len()),
            ("second", 0)
        );
        assert_eq!(talk.answered, ["first"]);
        assert!(talk.holds("done"));
    }

    #[test]
    fn what_the_user_adds_counts_until_the_model_has_spoken() {
        let mut items = vec![
            message("user", "go"),
            call(),
            output("The command was rejected by the user."),
        ];
        items.extend([message("user", "and faster"), message("user", "please")]);
        let talk = Talk::read(&items);
        assert_eq!(talk.turn.prompt, "go");
        assert_eq!(talk.turn.added, ["and faster", "please"]);
        assert_eq!(talk.turn.outcomes, [Outcome::Declined]);
        // A message that was cut off by the addition keeps the turn open.
        items.extend([assistant_message("You add"), message("user", "stop")]);
        assert_eq!(Talk::read(&items).turn.added, ["stop"]);
        items.push(call());
        assert_eq!(Talk::read(&items).turn.added, [""; 0]);
    }

    #[test]
    fn an_interrupted_turn_and_a_compacted_conversation_are_over() {
        for (mark, was_interrupted) in [("<turn_aborted>", true), ("<conversation_summary>", false)] {
            let items = [
                message("user", "slow"),
                call(),
                output("x"),
                message("user", mark),
                message("user", "next"),
            ];
            let talk = Talk::read(&items);
            assert_eq!(
                (talk.turn.prompt.as_str(), talk.turn.outcomes.len()),
                ("next", 0),
                "{mark}"
            );
            assert_eq!(talk.was_interrupted, was_interrupted, "{mark}");
            assert_eq!(talk.answered, [""; 0]);
        }
    }
}
