//! Every kind of item at several widths, from what the server really sends.

mod speed;

use codex_protocol::v2::{ThreadItem, TurnError, TurnPlanStep, TurnStatus};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    text::testing::{WIDTHS, besides_printing, content, plain, styled},
    theme::{ASCII, Theme},
};

fn item(value: Value) -> ThreadItem {
    let item: ThreadItem = serde_json::from_value(value.clone()).unwrap();
    assert!(
        value["type"] == "futureItem" || !matches!(item, ThreadItem::Unknown(_)),
        "{value}"
    );
    item
}

fn draw(value: Value, width: u16) -> String {
    let theme = Theme::plain();
    plain(&render(
        &item(value),
        &Context {
            width,
            theme: &theme,
            expanded: false,
            live: false,
        },
    ))
}

fn draw_live(value: Value) -> String {
    let theme = Theme::plain();
    plain(&render(
        &item(value),
        &Context {
            width: 60,
            theme: &theme,
            expanded: false,
            live: true,
        },
    ))
}

fn draw_expanded(value: Value) -> String {
    let theme = Theme::plain();
    plain(&render(
        &item(value),
        &Context {
            width: 60,
            theme: &theme,
            expanded: true,
            live: false,
        },
    ))
}

/// One item of each kind, as in transcripts of the official server.
fn items() -> Vec<(&'static str, Value)> {
    let output: String = (1..=40)
        .map(|number| format!("test case_{number} ... ok\n"))
        .collect();
    vec![
        (
            "user",
            json!({"type": "userMessage", "id": "u", "content": [
            {"type": "text", "text": "Fix the *flaky* test\nand explain why it fails only on the build host"},
            {"type": "localImage", "path": "/tmp/shot.png"}, {"type": "skill", "name": "x"}]}),
        ),
        (
            "agent",
            json!({"type": "agentMessage", "id": "msg_1", "text": "The test reads the **clock**:\n\n- once before\n- once after\n\n```sh\nmake test\n```", "phase": "final_answer"}),
        ),
        (
            "reasoning",
            json!({"type": "reasoning", "id": "rs_1", "summary": ["**Reading the test**\n\nIt sleeps for a second and then compares.", "**Finding the clock**\n\nTwo reads, one in each thread."], "content": []}),
        ),
        (
            "command",
            json!({"type": "commandExecution", "id": "call_1", "command": "/bin/bash -lc 'make test'", "cwd": "/srv/app", "source": "agent", "status": "failed", "aggregatedOutput": output, "exitCode": 2, "durationMs": 12_345}),
        ),
        (
            "patch",
            json!({"type": "fileChange", "id": "call_2", "status": "completed", "changes": [
            {"path": "/srv/app/clock.rs", "kind": {"type": "update", "move_path": null}, "diff": "@@ -1,2 +1,2 @@\n use std::time;\n-let a = 1;\n+let a = 2;\n"},
            {"path": "/srv/app/new.rs", "kind": {"type": "add"}, "diff": "//! New.\n"}]}),
        ),
        (
            "mcp",
            json!({"type": "mcpToolCall", "id": "call_3", "server": "files", "tool": "search", "status": "failed", "arguments": {"query": "clock", "limit": 5}, "result": {"content": [{"type": "text", "text": "two hits\nclock.rs"}, {"type": "image", "data": "…"}]}, "error": {"message": "server gone"}, "durationMs": 320}),
        ),
        (
            "dynamic",
            json!({"type": "dynamicToolCall", "id": "call_4", "namespace": "ui", "tool": "open", "status": "completed", "arguments": {}}),
        ),
        (
            "collab",
            json!({"type": "collabAgentToolCall", "id": "call_5", "tool": "spawnAgent", "status": "completed", "prompt": "Look at the other module"}),
        ),
        (
            "search",
            json!({"type": "webSearch", "id": "ws_1", "query": "monotonic clock"}),
        ),
        (
            "plan",
            json!({"type": "plan", "id": "t-plan", "text": "1. Read\n2. Change"}),
        ),
        (
            "image",
            json!({"type": "imageView", "id": "call_6", "path": "/tmp/shot.png"}),
        ),
        (
            "review",
            json!({"type": "enteredReviewMode", "id": "r1", "review": "current changes"}),
        ),
        (
            "reviewed",
            json!({"type": "exitedReviewMode", "id": "r2", "review": "No findings.\n\nAll is well."}),
        ),
        ("compaction", json!({"type": "contextCompaction", "id": "c1"})),
        (
            "unknown",
            json!({"type": "futureItem", "id": "f1", "text": "from a later version"}),
        ),
    ]
}

#[test]
fn every_item_is_drawn_at_every_width() {
    for width in WIDTHS {
        let all: String = items()
            .into_iter()
            .map(|(name, value)| format!("[{name}]\n{}", draw(value, width)))
            .collect();
        insta::assert_snapshot!(format!("items_{width}"), all);
    }
}

#[test]
fn every_item_has_its_styles() {
    let theme = Theme::ansi();
    let ctx = Context {
        width: 60,
        theme: &theme,
        expanded: false,
        live: false,
    };
    let draw = |(name, value)| format!("[{name}]\n{}", styled(&render(&item(value), &ctx)));
    insta::assert_snapshot!("items_styled", items().into_iter().map(draw).collect::<String>());
}

#[test]
fn without_unicode_the_frames_around_text_are_ascii() {
    let theme = Theme {
        glyphs: &ASCII,
        ..Theme::plain()
    };
    for (name, value) in items().into_iter().filter(|(name, _)| *name != "mcp") {
        for (expanded, live) in [(false, false), (true, false), (false, true)] {
            let text = plain(&render(
                &item(value.clone()),
                &Context {
                    width: 60,
                    theme: &theme,
                    expanded,
                    live,
                },
            ));
            assert!(text.replace('·', "").is_ascii(), "{name}: {text}");
        }
    }
}

fn command(command: &str, status: &str, output: Value) -> Value {
    json!({"type": "commandExecution", "id": "c", "command": command, "cwd": "", "status": status, "aggregatedOutput": output})
}

#[test]
fn what_a_clients_tool_answered_is_shown() {
    let parts = json!([{"type": "inputText", "text": "not \u{1b}[31mnow"}, {"type": "inputImage", "imageUrl": "data:,"}]);
    let text = draw(
        json!({"type": "dynamicToolCall", "id": "c", "namespace": "app", "tool": "open", "status": "failed",
            "arguments": {}, "contentItems": parts, "success": false, "durationMs": 1500}),
        60,
    );
    for shown in ["app.open", "failed", "1.5", "not ", "now", "[inputImage]"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_commands_state_is_a_word() {
    assert_eq!(
        draw_live(command("ls", "inProgress", Value::Null)),
        "$ ls\n◐ running\n"
    );
    assert_eq!(draw(command("ls", "completed", json!("")), 60), "$ ls\n✓ done\n");
    assert_eq!(
        draw(command("ls", "declined", Value::Null), 60),
        "$ ls\n✗ declined\n"
    );
    assert_eq!(
        draw(command("ls", "vanished", Value::Null), 60),
        "$ ls\n• vanished\n"
    );
}

#[test]
fn output_is_folded_and_expanded() {
    let output: String = (1..=20).map(|number| format!("{number}\n")).collect();
    let folded = draw(command("seq 20", "completed", json!(output)), 60);
    assert_eq!(
        folded,
        "$ seq 20\n  │ 1\n  │ 2\n  │ 3\n  │ … 12 more lines\n  │ 16\n  │ 17\n  │ 18\n  │ 19\n  │ 20\n✓ done\n"
    );
    assert_eq!(
        draw_expanded(command("seq 20", "completed", json!(output)))
            .lines()
            .count(),
        22
    );
}

#[test]
fn an_endless_line_is_cut_and_a_progress_bar_shows_its_end() {
    let endless = draw(command("x", "completed", json!("y".repeat(1_000_000))), 60);
    assert_eq!(
        endless.lines().count(),
        2 + crate::text::fold::FOLDED_ROWS_MAX,
        "{endless}"
    );
    assert!(endless.contains("y…\n"), "{endless}");
    let bar: String = (0..=100)
        .map(|percent| format!("\r{percent:3}% {}", "=".repeat(50)))
        .collect();
    let bar = draw(command("x", "completed", json!(bar)), 60);
    assert_eq!(bar, format!("$ x\n  │ 100% {}\n✓ done\n", "=".repeat(50)));
}

#[test]
fn the_shell_around_a_command_is_peeled_off_only_when_nothing_is_lost() {
    for (command, readable) in [
        ("/bin/bash -lc 'make test'", "make test"),
        ("bash -c ls", "ls"),
        ("/usr/bin/zsh -lc \"echo \\\"a b\\\"\"", "echo \"a b\""),
        ("/bin/bash -lc 'echo '\"'\"'x'\"'\"", "echo 'x'"),
        ("/bin/bash -lc 'it'\\''s'", "it's"),
        ("/bin/bash -lc 'a' b", "/bin/bash -lc 'a' b"),
        ("/bin/bash -lc \"echo $HOME\"", "/bin/bash -lc \"echo $HOME\""),
        ("/bin/bash -lc 'open", "/bin/bash -lc 'open"),
        ("/bin/bash -xc ls", "/bin/bash -xc ls"),
        ("python -c 'print(1)'", "python -c 'print(1)'"),
        ("bash -c a;b", "bash -c a;b"),
        ("bash -c ''", "bash -c ''"),
        ("make test", "make test"),
    ] {
        assert_eq!(readable_command(command), readable);
    }
}

#[test]
fn the_exact_command_shows_what_would_be_hidden() {
    assert_eq!(
        exact_command("/bin/bash -lc 'make test'\necho ü"),
        "/bin/bash -lc 'make test'\necho ü"
    );
    assert_eq!(
        exact_command("ls\r\u{1b}[2Krm -rf\u{202e} x\u{200b}\t"),
        "ls\\u{d}\\u{1b}[2Krm -rf\\u{202e} x\\u{200b}\\u{9}"
    );
}

#[test]
fn running_thoughts_show_their_last_lines_and_finished_ones_their_headline() {
    let thought =
        json!({"type": "reasoning", "id": "r", "summary": ["**One**\n\na\nb\nc", "**Two**\n\nd\ne"]});
    assert_eq!(
        draw_live(thought.clone()),
        "• … 6 more lines\n  Two\n··\n  d\n  e\n"
    );
    assert_eq!(draw(thought.clone(), 60), "• Two\n");
    assert!(draw_expanded(thought).starts_with("• One\n"));
    let raw = json!({"type": "reasoning", "id": "r", "summary": [" "], "content": ["first line\nsecond"]});
    assert_eq!(draw(raw, 60), "• first line\n");
}

#[test]
fn items_without_text_draw_no_empty_cells() {
    for value in [
        json!({"type": "userMessage", "id": "u", "content": []}),
        json!({"type": "userMessage", "id": "u", "content": [{"type": "text", "text": " \n"}]}),
        json!({"type": "agentMessage", "id": "a", "text": "\n"}),
        json!({"type": "reasoning", "id": "r", "summary": [], "content": [""]}),
        json!({"type": "plan", "id": "p", "text": ""}),
    ] {
        assert_eq!(draw(value.clone(), 60), "", "{value}");
    }
    assert_eq!(
        draw_live(json!({"type": "webSearch", "id": "w", "query": ""})),
        "◐ web search\n"
    );
}

#[test]
fn plans_errors_notices_and_ends_of_turns() {
    let theme = Theme::plain();
    let ctx = Context {
        width: 40,
        theme: &theme,
        expanded: false,
        live: false,
    };
    let steps: Vec<TurnPlanStep> = serde_json::from_value(json!([
        {"step": "Read the code", "status": "completed"}, {"step": "Change it and then run everything again", "status": "inProgress"},
        {"step": "Test", "status": "pending"}, {"step": "Ship", "status": "someday"}])).unwrap();
    let error_value: TurnError = serde_json::from_value(json!({"message": "exceeded retry limit, last status: 429 Too Many Requests",
        "codexErrorInfo": {"responseTooManyFailedAttempts": {"httpStatusCode": 429}}, "additionalDetails": "slow down"})).unwrap();
    let empty: TurnError =
        serde_json::from_value(json!({"message": "", "codexErrorInfo": "serverOverloaded"})).unwrap();
    let mut all = vec![
        plan(&steps, Some("Small steps"), &ctx),
        plan(&[], None, &ctx),
        error(&error_value, &ctx),
        error(&empty, &ctx),
        notice("  ", Level::Info, &ctx),
        notice("the host says\u{7} hello\nand more", Level::Warning, &ctx),
        turn_summary(&TurnStatus::Completed, Some(75_000), &ctx),
        turn_summary(&TurnStatus::Interrupted, None, &ctx),
        turn_summary(&TurnStatus::Failed, Some(340), &ctx),
        turn_summary(&TurnStatus::InProgress, None, &ctx),
    ];
    let ascii = Theme {
        glyphs: &ASCII,
        ..Theme::plain()
    };
    all.push(plan(&steps, None, &Context { theme: &ascii, ..ctx }));
    all.push(plan(
        &steps,
        None,
        &Context {
            theme: &ascii,
            width: 10,
            ..ctx
        },
    ));
    insta::assert_snapshot!(
        "between_items",
        all.iter().map(|lines| plain(lines) + "--\n").collect::<String>()
    );
}

proptest! {
    // Each case draws every item and feeds it to a terminal.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_field_holds_no_cell_is_too_wide_or_controls_the_terminal(
        text in "([ -~\n]{0,8}|\u{1b}\\[2J|\u{1b}\\]0;t|[\r\u{8}\t\u{202e}\u{9b}世👩\u{200d}]){0,12}",
        width in 0u16..100, expanded in any::<bool>(), live in any::<bool>(), ascii in any::<bool>(),
    ) {
        let theme = Theme { glyphs: if ascii { &ASCII } else { &crate::theme::UNICODE }, ..Theme::plain() };
        let ctx = Context { width, theme: &theme, expanded, live };
        for (name, mut value) in items() {
            poison(&mut value, &text);
            let lines = render(&item(value), &ctx);
            let texts: Vec<String> = lines.iter().map(content).collect();
            prop_assert_eq!(besides_printing(texts.iter().map(String::as_str)), Vec::<String>::new(), "{}", name);
            for shown in texts {
                prop_assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{name}: {shown:?}");
                let columns = crate::text::wrap::text_width(&shown);
                prop_assert!(columns <= usize::from(width.max(1)) || columns == 2, "{name}: {shown:?} at {width}");
            }
        }
    }
}

/// Puts the text into every string that a remote chooses, except those that say what an item is.
fn poison(value: &mut Value, text: &str) {
    match value {
        Value::String(old) => old.push_str(text),
        Value::Array(parts) => parts.iter_mut().for_each(|part| poison(part, text)),
        Value::Object(fields) => fields
            .iter_mut()
            .filter(|(key, _)| *key != "type")
            .for_each(|(_, field)| poison(field, text)),
        _ => {}
    }
}
