//! The script, told as conversations.

use codex_agent::model::wire::message;
use serde_json::json;

use super::*;
use crate::{
    project::{API, WEB},
    talk::FINAL,
};

const FAILING: &str = "FAIL  a parcel of 1000 g: expected 400, got 700\npassed: 2, failed: 1\n";
const PASSING: &str = "passed: 3, failed: 0\n";
const DECLINED: &str = "The command was rejected by the user and has had no effect.";

/// A conversation that grows as it would with a server.
struct Conversation {
    project: &'static Project,
    items: Vec<RawItem>,
}

impl Conversation {
    fn new(project: &'static Project) -> Conversation {
        Conversation {
            project,
            items: vec![message("user", "<environment_context>\n</environment_context>")],
        }
    }

    fn says(&mut self, text: &str) -> &mut Conversation {
        self.items.push(message("user", text));
        self
    }

    /// Plays with these outputs until the turn ends, or until they are used up.
    fn play(&mut self, outputs: &[&str]) -> Vec<Reply> {
        let mut replies = Vec::new();
        for output in outputs.iter().map(Some).chain([None]) {
            let reply = reply(self.project, &self.items, true);
            let phase = if reply.call.is_none() { FINAL } else { "commentary" };
            let content = json!([{"type": "output_text", "text": reply.text}]);
            let item = json!({"type": "message", "role": "assistant", "phase": phase, "content": content});
            self.items.push(RawItem::new(item));
            if reply.call.is_some() {
                let call = json!({"type": "function_call", "call_id": self.items.len().to_string()});
                self.items.push(RawItem::new(call));
            }
            let is_over = reply.call.is_none();
            replies.push(reply);
            match output {
                Some(output) if !is_over => self.items.push(RawItem::new(
                    json!({"type": "function_call_output", "output": output}),
                )),
                _ => break,
            }
        }
        replies
    }
}

fn lines(replies: &[Reply]) -> Vec<String> {
    let line = |it: &Reply| match &it.call {
        Some(Call::Command { line, .. }) => line.clone(),
        Some(Call::Patch(_)) => "patch".to_owned(),
        Some(Call::Plan(steps)) => {
            let done = steps.iter().filter(|(_, status)| *status == "completed").count();
            format!("plan {done}/{}", steps.len())
        }
        None => "end".to_owned(),
    };
    replies.iter().map(line).collect()
}

#[test]
fn the_tour_reads_checks_mends_checks_again_and_sums_up() {
    for project in [&API, &WEB] {
        let mut talk = Conversation::new(project);
        let replies = talk
            .says("please help")
            .play(&["text", FAILING, "applied", PASSING]);
        let expected = [project.look, project.check, "patch", project.check, "end"];
        assert_eq!(lines(&replies), expected);
        assert_eq!(replies[2].call, Some(Call::Patch(project.mend())));
        assert!(replies[2].text.contains(project.cause), "{}", replies[2].text);
        assert!(replies[4].text.contains("## Done") && replies[4].text.contains(project.fix));
    }
}

#[test]
fn the_first_words_of_a_conversation_say_that_they_are_scripted() {
    let mut talk = Conversation::new(&API);
    let replies = talk.says("plan something").play(&["", "text", ""]);
    assert!(replies[0].text.starts_with(NOTICE));
    assert!(
        replies[1..].iter().all(|it| !it.text.contains(NOTICE)),
        "{replies:?}"
    );
    talk.play(&["text", ""]);
    let replies = talk.says("slow").play(&[]);
    assert!(
        !replies[0].text.contains(NOTICE),
        "once is enough: {}",
        replies[0].text
    );
}

#[test]
fn a_refusal_is_taken_for_what_it_is() {
    let outputs: [(&[&str], &str, &str); 4] = [
        (&[DECLINED], "end", "would have read `lib/shipping.sh`"),
        (&["text", DECLINED], "end", "would have run `sh tests/run.sh`"),
        (
            &["text", FAILING, DECLINED],
            "end",
            "`lib/shipping.sh` is as it was",
        ),
        (&["text", FAILING, "applied", DECLINED], "end", "not known"),
    ];
    for (outputs, end, says) in outputs {
        let replies = Conversation::new(&API).says("fix it").play(outputs);
        assert_eq!(lines(&replies).last().map(String::as_str), Some(end));
        let text = &replies[replies.len() - 1].text;
        assert!(
            text.contains(says) && !text.contains("Done"),
            "{outputs:?}: {text}"
        );
    }
    for (prompt, says) in [
        ("clean up", "nothing was removed"),
        ("slow", "nothing was run"),
        ("reset", "as it was"),
    ] {
        let replies = Conversation::new(&API).says(prompt).play(&[DECLINED]);
        assert!(
            replies[1].call.is_none() && replies[1].text.contains(says),
            "{prompt}: {replies:?}"
        );
    }
}

#[test]
fn what_the_tools_say_decides_and_not_the_script() {
    let end = |outputs: &[&str]| {
        let mut replies = Conversation::new(&API).says("fix it").play(outputs);
        let reply = replies.pop().unwrap();
        assert!(reply.call.is_none(), "{reply:?}");
        reply.text
    };
    assert!(end(&["text", PASSING]).contains("nothing to fix"));
    assert!(end(&["text", "sh: not found"]).contains("    sh: not found"));
    assert!(end(&["text", FAILING, "does not apply", FAILING]).contains("    does not apply"));
    assert_eq!(failures("failed: 3\npassed: 1, failed: 12"), Some(12));
    assert_eq!(failures("failed: none"), None);
}

#[test]
fn words_of_the_prompt_choose_the_part() {
    for (prompt, first) in [
        ("make a plan", "plan 0/3"),
        ("explain this", API.look),
        (
            "something SLOW, please",
            "for i in $(seq 25); do echo \"second $i of 25\"; sleep 1; done",
        ),
        ("clean the build", "rm -rf build"),
        ("undo that", "patch"),
        ("review my changes", "end"),
        ("fix the failing test", API.look),
    ] {
        let replies = Conversation::new(&API).says(prompt).play(&[]);
        assert_eq!(lines(&replies), [first], "{prompt}");
    }
    let mut talk = Conversation::new(&API);
    talk.says("hello").play(&["text", FAILING, "applied", PASSING]);
    let replies = talk.says("hello again").play(&[]);
    assert!(
        replies[0].call.is_none() && replies[0].text.contains("`slow`"),
        "{replies:?}"
    );
    assert_eq!(
        lines(&talk.says("fix it").play(&[])),
        [API.look],
        "the tour can be had again"
    );
}

#[test]
fn a_plan_goes_on_step_by_step() {
    let replies = Conversation::new(&WEB)
        .says("plan")
        .play(&["", "text", "", FAILING, ""]);
    assert_eq!(
        lines(&replies),
        ["plan 0/3", WEB.look, "plan 1/3", WEB.check, "plan 3/3", "end"]
    );
    assert!(
        replies[5].text.contains("failing checks: 1"),
        "{}",
        replies[5].text
    );
}

#[test]
fn a_mistake_that_was_mended_can_be_made_again() {
    let replies = Conversation::new(&WEB).says("reset").play(&["applied", FAILING]);
    assert_eq!(lines(&replies), ["patch", WEB.check, "end"]);
    assert_eq!(replies[0].call, Some(Call::Patch(WEB.spoil())));
    assert!(replies[2].text.contains("there again"));
}

#[test]
fn words_in_the_middle_of_a_turn_are_repeated_and_an_interruption_is_mentioned() {
    let mut talk = Conversation::new(&API);
    talk.says("slow").play(&["second 1"]);
    talk.items.pop();
    talk.says("hurry\nup").says("<turn_aborted>");
    let replies = talk.says("fix it").play(&["text"]);
    assert!(replies[0].text.contains("You interrupted"), "{}", replies[0].text);
    assert!(!replies[0].text.contains("hurry") && !replies[1].text.contains("interrupted"));
    talk.items.pop();
    talk.items.push(RawItem::new(
        json!({"type": "function_call_output", "output": FAILING}),
    ));
    let replies = talk.says("and be\nquick").play(&[]);
    assert!(replies[0].text.contains("“and be quick”"), "{}", replies[0].text);
    assert_eq!(lines(&replies), ["patch"], "the script goes on");
}

#[test]
fn without_tools_there_is_only_a_summary() {
    let mut talk = Conversation::new(&API);
    talk.says("hello").play(&["text", PASSING]);
    talk.says("Summarise.");
    let reply = reply(talk.project, &talk.items, false);
    assert!(reply.call.is_none() && reply.text.contains("*hello*") && reply.text.contains("scripted"));
}
