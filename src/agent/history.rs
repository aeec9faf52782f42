//! The conversation as the model's API sees it: items kept exactly as they came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::model::wire;

/// One item of the Responses API's `input`, kept whole: encrypted reasoning and fields of later versions of the
/// API survive. Clones share the content.
#[derive(Clone, Debug, PartialEq)]
pub struct RawItem(Arc<Value>);

impl RawItem {
    /// Keeps the item as it is.
    pub fn new(value: Value) -> RawItem {
        RawItem(Arc::new(value))
    }

    /// The item's JSON.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The value of `type`; an item without one is a message, as in the API.
    pub fn kind(&self) -> &str {
        self.0.get("type").and_then(Value::as_str).unwrap_or("message")
    }

    /// What connects a call and its output.
    pub fn call_id(&self) -> Option<&str> {
        self.0.get("call_id").and_then(Value::as_str)
    }

    /// Whether it is a call that needs an output.
    pub fn is_call(&self) -> bool {
        matches!(self.kind(), "function_call" | "custom_tool_call") && self.call_id().is_some()
    }

    /// Whether it is the output of a call.
    pub fn is_output(&self) -> bool {
        matches!(self.kind(), "function_call_output" | "custom_tool_call_output")
    }
}

impl Serialize for RawItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(RawItem::new)
    }
}

/// Makes a history acceptable to the API: every call is followed by exactly one output, before anything that the
/// user said later. A missing output is made up as aborted; an output without a call, and a second one, is left out.
///
/// A process that was killed in mid-call leaves such histories behind, and so does a compaction that cut one.
pub(crate) fn paired(items: &[RawItem]) -> Vec<RawItem> {
    let mut outputs: BTreeMap<&str, &RawItem> = BTreeMap::new();
    for item in items.iter().filter(|item| item.is_output()) {
        if let Some(id) = item.call_id() {
            outputs.entry(id).or_insert(item);
        }
    }
    let mut open: Vec<&RawItem> = Vec::new();
    let mut called: BTreeSet<&str> = BTreeSet::new();
    let mut paired = Vec::with_capacity(items.len());
    for item in items {
        if item.is_output() {
            let answered = open.iter().position(|call| call.call_id() == item.call_id());
            if let Some(index) = answered {
                let call = open.remove(index);
                close(call, &outputs, &mut paired);
            }
            continue;
        }
        if item.kind() == "message" && item.value()["role"] != "assistant" {
            open.drain(..).for_each(|call| close(call, &outputs, &mut paired));
        }
        if item.is_call() {
            // A call id that comes twice can have one output only.
            if !item.call_id().is_some_and(|id| called.insert(id)) {
                continue;
            }
            open.push(item);
        }
        paired.push(item.clone());
    }
    open.drain(..).for_each(|call| close(call, &outputs, &mut paired));
    paired
}

fn close(call: &RawItem, outputs: &BTreeMap<&str, &RawItem>, paired: &mut Vec<RawItem>) {
    let known = call.call_id().and_then(|id| outputs.get(id));
    paired.push(known.map_or_else(|| wire::aborted(call), |output| (*output).clone()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn items(names: &str) -> Vec<RawItem> {
        let item = |name: &str| match name.split_at(1) {
            ("c", id) => {
                json!({"type": "function_call", "call_id": id, "name": "exec_command", "arguments": "{}"})
            }
            ("o", id) => json!({"type": "function_call_output", "call_id": id, "output": "out"}),
            ("u", _) => json!({"type": "message", "role": "user", "content": []}),
            _ => json!({"type": "message", "role": "assistant", "content": []}),
        };
        names
            .split_whitespace()
            .map(|name| RawItem::new(item(name)))
            .collect()
    }

    fn names(items: &[RawItem]) -> String {
        let name = |item: &RawItem| match item.kind() {
            "function_call" => format!("c{}", item.call_id().unwrap()),
            "function_call_output" if item.value()["output"] == "out" => {
                format!("o{}", item.call_id().unwrap())
            }
            "function_call_output" => format!("a{}", item.call_id().unwrap()),
            _ if item.value()["role"] == "user" => "u".to_owned(),
            _ => "m".to_owned(),
        };
        items.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_call_is_followed_by_one_output_before_the_user_speaks_again() {
        for (recorded, sent) in [
            ("u c1 o1 m", "u c1 o1 m"),
            ("u c1 c2 o2 o1 m", "u c1 c2 o2 o1 m"),
            ("u c1 u o1", "u c1 o1 u"),
            ("u c1", "u c1 a1"),
            ("u c1 c2 o1 u", "u c1 c2 o1 a2 u"),
            ("o1 u o2", "u"),
            ("c1 o1 o1 c1 o1", "c1 o1"),
        ] {
            assert_eq!(names(&paired(&items(recorded))), sent, "{recorded}");
        }
    }
}
