//! The default script: directives in the user's text, one a line.

use std::time::Duration;

use serde_json::json;

use crate::model::Gates;
use crate::{Reply, Request, Step};

/// Why the model says it must leave the sandbox.
pub(crate) const JUSTIFICATION: &str = "the test asks to leave the sandbox";

/// Follows the text's directives; those before the last call that was answered are done already.
pub(crate) fn follow(request: &Request, gates: &Gates) -> Reply {
    let text = request.user_text();
    let outputs = request.outputs();
    let mut answered = outputs.len();
    let mut steps = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let reply = directive(line, &outputs, gates);
        let step = match reply {
            Some(Reply::Status(code, body)) if answered == 0 => return Reply::Status(code, body),
            Some(Reply::Stream(mut streamed)) => streamed.remove(0),
            Some(Reply::Status(..)) => continue,
            None => return Reply::Stream(vec![Step::say(&format!("you said: {text}"))]),
        };
        let is_call = matches!(step, Step::Call { .. } | Step::Custom { .. });
        if answered > 0 {
            answered -= usize::from(is_call);
            continue;
        }
        steps.push(step);
        if is_call {
            break;
        }
    }
    if steps.is_empty() {
        steps.push(Step::say("done"));
    }
    Reply::Stream(steps)
}

/// The one step a line stands for, or nothing when it is no directive.
fn directive(line: &str, outputs: &[String], gates: &Gates) -> Option<Reply> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let step = match (verb, rest) {
        ("outputs", "") => Step::say(&outputs.join("\n")),
        ("cut", "") => Step::Cut,
        (_, "") => return None,
        ("say", text) => Step::say(text),
        ("stream", counted) => stream(counted)?,
        ("reason", parts) => Step::Reason(parts.split('|').map(|part| part.trim().to_owned()).collect()),
        ("run", command) => Step::run(command),
        ("escalate", command) => Step::escalate(command),
        ("patch", rest) => {
            let (path, text) = rest.split_once(' ')?;
            patch(&format!("*** Add File: {path}\n+{text}"))
        }
        ("replace", rest) => {
            let (path, change) = rest.split_once(' ')?;
            let (old, new) = change.split_once(" => ")?;
            patch(&format!("*** Update File: {path}\n@@\n-{old}\n+{new}"))
        }
        ("delete", path) => patch(&format!("*** Delete File: {path}")),
        ("call", rest) => {
            let (name, arguments) = rest.split_once(' ')?;
            Step::Call {
                name: name.into(),
                arguments: serde_json::from_str(arguments).ok()?,
            }
        }
        ("plan", steps) => plan(steps),
        ("hold", name) => Step::Held {
            before: vec!["holding ".into(), name.into()],
            gate: gates.named(name),
            after: vec![" released".into()],
        },
        ("wait", name) => Step::Hold(gates.named(name)),
        ("sleep", millis) => Step::Pause(Duration::from_millis(millis.parse().ok()?)),
        ("status", rest) => {
            let (code, body) = rest
                .split_once(' ')
                .unwrap_or((rest, "the test asked for this failure"));
            return Some(Reply::Status(code.parse().ok()?, body.to_owned()));
        }
        ("fail", rest) => {
            let (code, message) = rest
                .split_once(' ')
                .unwrap_or((rest, "the test asked for this failure"));
            Step::Fail {
                code: code.into(),
                message: message.into(),
            }
        }
        _ => return None,
    };
    Some(Reply::Stream(vec![step]))
}

fn patch(body: &str) -> Step {
    Step::patch(&format!("*** Begin Patch\n{body}\n*** End Patch\n"))
}

fn stream(counted: &str) -> Option<Step> {
    let (count, pause) = counted.split_once(' ').unwrap_or((counted, "0ms"));
    let pause = Duration::from_millis(pause.strip_suffix("ms")?.parse().ok()?);
    let count: usize = count.parse().ok()?;
    let deltas = (0..count).map(|index| format!("word{index} ")).collect();
    Some(Step::Say { deltas, pause })
}

fn plan(steps: &str) -> Step {
    let status = |index| {
        ["completed", "in_progress"]
            .get(index)
            .unwrap_or(&"pending")
            .to_owned()
    };
    let plan: Vec<_> = steps
        .split('|')
        .enumerate()
        .map(|(index, step)| json!({ "step": step.trim(), "status": status(index) }))
        .collect();
    Step::Call {
        name: "update_plan".into(),
        arguments: json!({ "explanation": "the test's plan", "plan": plan }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the model does when the user wrote this and these outputs came since.
    fn answer(text: &str, outputs: &[&str]) -> String {
        let user =
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
        let context = json!({"type": "message", "role": "user",
            "content": [{"type": "input_text", "text": "<environment_context>here</environment_context>"}]});
        let mut input = vec![user, context];
        input.extend(
            outputs
                .iter()
                .map(|output| json!({"type": "function_call_output", "output": output})),
        );
        format!(
            "{:?}",
            follow(
                &Request {
                    body: json!({"input": input})
                },
                &Gates::default()
            )
        )
    }

    #[test]
    fn lines_after_a_call_wait_for_its_output() {
        let program = "say before\nrun first\nsay between\nescalate second\nsay after";
        let [first, second, third] = [&[][..], &["1"], &["1", "2"]].map(|outputs| answer(program, outputs));
        assert!(
            first.contains("before") && first.contains("first") && !first.contains("between"),
            "{first}"
        );
        assert!(
            second.contains("between") && second.contains("second") && !second.contains("first"),
            "{second}"
        );
        assert!(third.contains("after") && !third.contains("second"), "{third}");
    }

    #[test]
    fn a_call_at_the_end_is_answered_and_other_text_is_echoed() {
        assert!(answer("run ls", &["out"]).contains("done"));
        assert!(answer("hello you", &[]).contains("said: "));
        assert!(answer("stream many", &[]).contains("said: "));
        assert!(answer("outputs", &[]).contains("Say"));
    }

    #[test]
    fn a_failure_after_a_call_waits_for_its_output() {
        assert!(answer("run ls\nstatus 500", &[]).contains("Call"));
        assert_eq!(answer("run ls\nstatus 500 no", &["out"]), "Status(500, \"no\")");
    }
}
