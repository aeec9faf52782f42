//! The conversations that are had with both servers: one client over standard streams.

use std::{fs, process::Command};

use codex_testkit::{AppServer, Local};
use serde_json::{Value, json};

/// A conversation: what is said after the handshake.
pub(super) type Conversation = fn(&mut Local);

/// A thread that nobody has.
pub(super) const NOBODY: &str = "01a20000-0000-7000-8000-000000000000";

/// Answers, calls and failures of the model, and what the user does meanwhile.
pub(super) const TURNS: &[(&str, Conversation)] = &[
    ("plain_answer", |it| one_turn(it, "stream 12 1ms")),
    ("two_messages", |it| one_turn(it, "say first\nsay second")),
    ("reasoning", |it| {
        one_turn(it, "reason **Looking** around | **Deciding** it\nsay decided");
    }),
    ("plan", |it| {
        one_turn(it, "plan look | change | test\nsay planned")
    }),
    ("command", |it| {
        one_turn(it, "run printf 'one\\ntwo\\n'\nsay a command");
    }),
    ("command_fails", |it| {
        one_turn(it, "run echo wrong >&2; exit 3\nsay it failed");
    }),
    ("command_is_slow", |it| {
        one_turn(it, "run echo early; sleep 1; echo late\nsay it took time");
    }),
    ("command_reads", |it| {
        one_turn(it, "run cat notes.txt\nrun ls\nsay read");
    }),
    ("command_writes_outside", |it| {
        one_turn(it, "run touch ../outside.txt\nsay tried");
    }),
    ("command_accepted", |it| ask_command(it, "accept")),
    ("command_declined", |it| ask_command(it, "decline")),
    ("command_cancelled", |it| ask_command(it, "cancel")),
    ("command_accepted_for_session", command_for_session),
    ("command_amended", command_amended),
    ("command_answered_wrongly", |it| {
        ask_command(it, "no such decision")
    }),
    ("command_never_asked", never_asked),
    ("command_untrusted", untrusted),
    ("patch_adds", |it| one_turn(it, "patch new.txt a line\nsay added")),
    ("patch_updates", |it| {
        one_turn(it, "replace notes.txt old => new\nsay updated");
    }),
    ("patch_deletes", |it| {
        one_turn(it, "delete notes.txt\nsay deleted")
    }),
    ("patch_fails", |it| {
        one_turn(it, "replace notes.txt nowhere => new\nsay failed");
    }),
    ("patch_accepted", |it| ask_patch(it, "accept")),
    ("patch_declined", |it| ask_patch(it, "decline")),
    ("patch_cancelled", |it| ask_patch(it, "cancel")),
    ("patch_accepted_for_session", patch_for_session),
    ("patch_in_read_only", patch_in_read_only),
    ("steer", steer),
    ("start_while_active", start_while_active),
    ("interrupt_in_stream", interrupt_in_stream),
    ("interrupt_while_asking", interrupt_while_asking),
    ("second_turn", |it| {
        let thread = it.start_thread();
        turn(it, &thread, "say one");
        turn(it, &thread, "say two");
    }),
    ("empty_input", empty_input),
    ("images", images),
    ("turn_overrides", turn_overrides),
    ("status_400", |it| {
        one_turn(it, "status 400 the request is not understood")
    }),
    ("status_401", |it| one_turn(it, "status 401")),
    ("status_403", |it| one_turn(it, "status 403")),
    ("status_404", |it| one_turn(it, "status 404")),
    ("status_429", |it| one_turn(it, "status 429")),
    ("status_500", |it| one_turn(it, "status 500")),
    ("status_503", |it| one_turn(it, "status 503")),
    ("context_too_long", |it| {
        one_turn(it, "fail context_length_exceeded the input is too long");
    }),
    ("quota_used_up", |it| {
        one_turn(it, "fail insufficient_quota no more")
    }),
    ("rate_limited", |it| {
        one_turn(it, "fail rate_limit_exceeded too fast")
    }),
    ("overloaded", |it| {
        one_turn(it, "fail server_is_overloaded too many")
    }),
    ("invalid_prompt", |it| {
        one_turn(it, "fail invalid_prompt not this")
    }),
    ("server_error", |it| one_turn(it, "fail server_error it broke")),
    ("stream_cut", |it| one_turn(it, "say begun\ncut")),
    ("failure_then_success", |it| {
        let thread = it.start_thread();
        turn(it, &thread, "status 400");
        turn(it, &thread, "say fine");
    }),
];

fn input(text: &str) -> Value {
    json!([{ "type": "text", "text": text }])
}

/// A turn to its end.
pub(super) fn turn(it: &mut Local, thread: &str, text: &str) -> String {
    let turn = it.server.start_turn(thread, text);
    it.server.finish_turn();
    turn
}

fn one_turn(it: &mut Local, text: &str) {
    let thread = it.start_thread();
    turn(it, &thread, text);
}

/// Answers the next request of this method.
pub(super) fn decide(it: &mut Local, method: &str, decision: impl Into<Value>) {
    let request = it.server.expect_method(method);
    let decision: Value = decision.into();
    it.server
        .send(json!({ "id": request["id"], "result": { "decision": decision } }));
}

pub(super) const ASK_COMMAND: &str = "item/commandExecution/requestApproval";
pub(super) const ASK_PATCH: &str = "item/fileChange/requestApproval";

fn ask_command(it: &mut Local, decision: &str) {
    let thread = it.start_thread();
    it.server
        .start_turn(&thread, "escalate touch ../outside.txt && echo done\nsay asked");
    decide(it, ASK_COMMAND, decision);
    it.server.finish_turn();
}

fn command_for_session(it: &mut Local) {
    let thread = it.start_thread();
    it.server
        .start_turn(&thread, "escalate touch ../outside.txt\nsay asked");
    decide(it, ASK_COMMAND, "acceptForSession");
    it.server.finish_turn();
    turn(it, &thread, "escalate touch ../outside.txt\nsay not asked");
}

fn command_amended(it: &mut Local) {
    let thread = it.start_thread();
    it.server
        .start_turn(&thread, "escalate touch ../outside.txt\nsay asked");
    let amendment = json!({ "acceptWithExecpolicyAmendment": { "execpolicy_amendment": ["touch"] } });
    decide(it, ASK_COMMAND, amendment);
    it.server.finish_turn();
    turn(it, &thread, "escalate touch ../outside2.txt\nsay not asked");
}

pub(super) fn start_with(it: &mut Local, mut params: Value) -> String {
    params["cwd"] = json!(it.work());
    let started = it.server.call_until("thread/start", params, "thread/started");
    started["params"]["thread"]["id"].as_str().unwrap().to_owned()
}

fn never_asked(it: &mut Local) {
    let thread = start_with(it, json!({ "approvalPolicy": "never" }));
    turn(it, &thread, "escalate touch ../outside.txt\nsay refused");
}

fn untrusted(it: &mut Local) {
    let thread = start_with(it, json!({ "approvalPolicy": "untrusted" }));
    it.server
        .start_turn(&thread, "run touch inside.txt\nrun cat notes.txt\nsay asked");
    loop {
        let is_awaited = |it: &Value| it["method"] == ASK_COMMAND || it["method"] == "turn/completed";
        let message = it.server.expect("a request or the end", is_awaited);
        if message["method"] == "turn/completed" {
            return;
        }
        it.server
            .send(json!({ "id": message["id"], "result": { "decision": "accept" } }));
    }
}

fn ask_patch(it: &mut Local, decision: &str) {
    fs::write(it.home().join("beside.txt"), "first\nold\nlast\n").unwrap();
    let thread = it.start_thread();
    it.server
        .start_turn(&thread, "replace ../beside.txt old => new\nsay asked");
    decide(it, ASK_PATCH, decision);
    it.server.finish_turn();
}

fn patch_for_session(it: &mut Local) {
    fs::write(it.home().join("beside.txt"), "first\nold\nlast\n").unwrap();
    let thread = it.start_thread();
    it.server
        .start_turn(&thread, "replace ../beside.txt old => new\nsay asked");
    decide(it, ASK_PATCH, "acceptForSession");
    it.server.finish_turn();
    turn(it, &thread, "replace ../beside.txt new => newer\nsay not asked");
}

fn patch_in_read_only(it: &mut Local) {
    let thread = start_with(it, json!({ "sandbox": "read-only" }));
    it.server.start_turn(&thread, "patch new.txt a line\nsay asked");
    decide(it, ASK_PATCH, "accept");
    it.server.finish_turn();
}

fn steer(it: &mut Local) {
    let thread = it.start_thread();
    let turn = it.server.start_turn(&thread, "hold for-ever");
    held(&mut it.server, "for-ever");
    let params = json!({ "threadId": thread, "expectedTurnId": turn, "input": input("say steered"),
        "clientUserMessageId": "steer-1" });
    it.server.call_until("turn/steer", params, "turn/completed");
}

/// Waits until the answer that is held at this gate was said as far as it goes.
pub(super) fn held(server: &mut AppServer, gate: &str) {
    let mut text = String::new();
    server.expect("the held answer", |message| {
        if message["method"] == "item/agentMessage/delta" {
            text += message["params"]["delta"].as_str().unwrap();
        }
        text.ends_with(gate)
    });
}

fn start_while_active(it: &mut Local) {
    let thread = it.start_thread();
    it.server.start_turn(&thread, "hold for-ever");
    held(&mut it.server, "for-ever");
    let params = json!({ "threadId": thread, "input": input("say steered") });
    it.server.call_until("turn/start", params, "turn/completed");
}

fn interrupt_in_stream(it: &mut Local) {
    let thread = it.start_thread();
    let turn = it.server.start_turn(&thread, "hold for-ever");
    held(&mut it.server, "for-ever");
    it.server
        .request("turn/interrupt", json!({ "threadId": thread, "turnId": turn }));
    it.server.finish_turn();
    self::turn(it, &thread, "say it goes on");
}

fn interrupt_while_asking(it: &mut Local) {
    let thread = it.start_thread();
    let turn = it
        .server
        .start_turn(&thread, "escalate touch ../outside.txt\nsay asked");
    it.server.expect_method(ASK_COMMAND);
    it.server
        .request("turn/interrupt", json!({ "threadId": thread, "turnId": turn }));
    let mut awaited = vec!["turn/completed", "serverRequest/resolved"];
    it.server.expect("the end of turn and request", |message| {
        awaited.retain(|it| message["method"] != *it);
        awaited.is_empty()
    });
}

fn empty_input(it: &mut Local) {
    let thread = it.start_thread();
    let answer = it
        .server
        .ask("turn/start", json!({ "threadId": thread, "input": [] }));
    if answer["error"].is_null() {
        it.server.finish_turn();
    }
}

fn images(it: &mut Local) {
    let thread = it.start_thread();
    let image = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let input = json!([{ "type": "text", "text": "say seen" }, { "type": "image", "url": image }]);
    let params = json!({ "threadId": thread, "input": input });
    it.server.call_until("turn/start", params, "turn/completed");
}

fn turn_overrides(it: &mut Local) {
    let thread = it.start_thread();
    fs::create_dir(it.home().join("elsewhere")).unwrap();
    let params = json!({ "threadId": thread, "input": input("run pwd\nsay moved"), "model": "gpt-5.4",
        "cwd": it.home().join("elsewhere"), "approvalPolicy": "never", "effort": "high",
        "sandboxPolicy": { "type": "dangerFullAccess" } });
    it.server.call_until("turn/start", params, "turn/completed");
    it.server.call("thread/read", json!({ "threadId": thread }));
    let wrong = json!({ "threadId": thread, "input": input("say no"), "sandboxPolicy": { "type": "nope" } });
    it.server.ask("turn/start", wrong);
}

/// Makes `~/work` a repository with one commit and a change since.
pub(super) fn repository(it: &Local) {
    let git = |args: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=dev", "-c", "user.email=dev@localhost"])
            .args(["-c", "init.defaultBranch=main"])
            .args(args)
            .current_dir(it.work())
            .env("HOME", it.home())
            // A commit's id is made of its dates too.
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .output()
            .unwrap();
        assert!(done.status.success(), "git {args:?}: {done:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    fs::write(it.work().join("notes.txt"), "first\nchanged\nlast\n").unwrap();
}
