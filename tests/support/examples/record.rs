//! Records `fixtures/wire` anew from the pinned official app-server: `cargo run -p codex-testkit --example record`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for the repository's own use"
)]

use std::fmt::Write;
use std::fs;

use codex_testkit::{Direction, Local, repository};
use serde_json::{Value, json};

/// A conversation: what is said after the handshake.
type Conversation = fn(&mut Local);

const CONVERSATIONS: [(&str, Conversation); 18] = [
    ("thread_list", thread_list),
    ("thread_management", thread_management),
    ("refused_requests", refused_requests),
    ("streamed_answer", |local| one_turn(local, "stream 12 1ms")),
    ("reasoning", |local| {
        one_turn(
            local,
            "reason **Looking** around | **Deciding** what to do\nsay decided",
        )
    }),
    ("plan", |local| {
        one_turn(local, "plan look | change | test\nsay planned")
    }),
    ("command", |local| {
        one_turn(local, "run printf 'one\\ntwo\\n'\nrun exit 3\nsay two commands")
    }),
    ("command_accepted", |local| command(local, "accept")),
    ("command_declined", |local| command(local, "decline")),
    ("command_cancelled", |local| command(local, "cancel")),
    ("file_change_accepted", |local| file_change(local, "accept")),
    ("file_change_declined", |local| file_change(local, "decline")),
    ("interrupt", interrupt),
    ("steer", steer),
    ("failed_turn_400", |local| {
        one_turn(local, "status 400 the request is not understood")
    }),
    ("failed_turn_500", |local| one_turn(local, "status 500")),
    ("resume_pending_approval", resume_pending_approval),
    ("resume_after_restart", resume_after_restart),
];

fn main() {
    let folder = repository().join("fixtures/wire");
    for (name, conversation) in CONVERSATIONS {
        let mut local = Local::start();
        local.server.initialize();
        local.server.expect_method("remoteControl/status/changed");
        conversation(&mut local);
        let text = transcript(&local);
        fs::write(folder.join(format!("{name}.jsonl")), &text).unwrap();
        println!("{name}: {} messages", text.lines().count());
    }
}

fn thread_list(local: &mut Local) {
    local.server.call("thread/list", json!({}));
    one_turn(local, "say hello");
    local.server.call("thread/list", json!({"limit": 10}));
    local.server.call("thread/loaded/list", json!({}));
}

fn thread_management(local: &mut Local) {
    let thread = local.start_thread();
    local.server.start_turn(&thread, "say hello");
    local.server.finish_turn();
    let id = json!({"threadId": thread});
    let name = json!({"threadId": thread, "name": "A name"});
    local
        .server
        .call_until("thread/name/set", name, "thread/name/updated");
    local
        .server
        .call("thread/read", json!({"threadId": thread, "includeTurns": true}));
    local.server.call(
        "thread/turns/list",
        json!({"threadId": thread, "limit": 5, "itemsView": "full"}),
    );
    local
        .server
        .call_until("thread/archive", id.clone(), "thread/archived");
    local.server.call("thread/list", json!({"archived": true}));
    local
        .server
        .call_until("thread/unarchive", id, "thread/unarchived");
    local.server.call("model/list", json!({}));
}

fn refused_requests(local: &mut Local) {
    let nobody = "01a20000-0000-7000-8000-000000000000";
    let refused = [
        ("thread/read", json!({"threadId": nobody})),
        ("thread/resume", json!({"threadId": nobody})),
        ("thread/start", json!({"sandbox": "no such sandbox"})),
        ("turn/interrupt", json!({"threadId": nobody, "turnId": ""})),
        ("no/such/method", json!({})),
    ];
    for (method, params) in refused {
        let id = local.server.request(method, params);
        local.server.expect(method, |message| {
            message["id"] == id && message["error"].is_object()
        });
    }
}

fn one_turn(local: &mut Local, text: &str) {
    let thread = local.start_thread();
    local.server.start_turn(&thread, text);
    local.server.finish_turn();
}

fn command(local: &mut Local, decision: &str) {
    let thread = local.start_thread();
    local.server.start_turn(
        &thread,
        "escalate printf 'outside\\n' > ../outside && cat ../outside\nsay asked",
    );
    let request = local
        .server
        .expect_method("item/commandExecution/requestApproval");
    decide(local, &request, decision);
    local.server.finish_turn();
}

fn file_change(local: &mut Local, decision: &str) {
    fs::write(local.home().join("beside.txt"), "first\nold\nlast\n").unwrap();
    let thread = local.start_thread();
    local
        .server
        .start_turn(&thread, "replace ../beside.txt old => new\nsay asked");
    let request = local.server.expect_method("item/fileChange/requestApproval");
    decide(local, &request, decision);
    local.server.finish_turn();
}

fn decide(local: &mut Local, request: &Value, decision: &str) {
    local
        .server
        .send(json!({"id": request["id"], "result": {"decision": decision}}));
}

fn interrupt(local: &mut Local) {
    let thread = local.start_thread();
    let turn = local.server.start_turn(&thread, "hold for-ever");
    local.server.expect_method("item/agentMessage/delta");
    local
        .server
        .request("turn/interrupt", json!({"threadId": thread, "turnId": turn}));
    local.server.finish_turn();
}

fn steer(local: &mut Local) {
    let thread = local.start_thread();
    let turn = local.server.start_turn(&thread, "hold for-ever");
    local.server.expect_method("item/agentMessage/delta");
    let input = json!([{"type": "text", "text": "say steered"}]);
    let params = json!({"threadId": thread, "expectedTurnId": turn, "input": input,
        "clientUserMessageId": "steer-1"});
    local.server.call_until("turn/steer", params, "turn/completed");
}

fn resume_pending_approval(local: &mut Local) {
    let thread = local.start_thread();
    local
        .server
        .start_turn(&thread, "escalate printf outside\nsay asked");
    local
        .server
        .expect_method("item/commandExecution/requestApproval");
    local
        .server
        .call("thread/unsubscribe", json!({"threadId": thread}));
    local
        .server
        .request("thread/resume", json!({"threadId": thread, "excludeTurns": true}));
    let request = local
        .server
        .expect_method("item/commandExecution/requestApproval");
    decide(local, &request, "accept");
    local.server.finish_turn();
}

/// Only the second app-server's conversation is kept.
fn resume_after_restart(local: &mut Local) {
    let thread = local.start_thread();
    for text in ["run echo first\nsay the first answer", "say the second answer"] {
        local.server.start_turn(&thread, text);
        local.server.finish_turn();
    }
    local.restart();
    local.server.initialize();
    local.server.call("thread/list", json!({}));
    local.server.call("thread/resume", json!({"threadId": thread}));
    local.server.start_turn(&thread, "say the third answer");
    local.server.finish_turn();
}

/// The conversation as JSONL, with this machine's names replaced by neutral ones.
fn transcript(local: &Local) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let names = [
        (local.home().display().to_string(), "/home/dev".to_owned()),
        (
            format!("127.0.0.1:{}", local.model.port()),
            "127.0.0.1:8000".to_owned(),
        ),
        (
            format!("\"serverName\":\"{}\"", host.trim()),
            "\"serverName\":\"devbox\"".to_owned(),
        ),
    ];
    let mut text = String::new();
    for (direction, line) in local.server.lines() {
        let arrow = match direction {
            Direction::Sent => "->",
            Direction::Received => "<-",
        };
        let line = names
            .iter()
            .fold(line.clone(), |line, (from, to)| line.replace(from, to));
        writeln!(text, r#"{{"dir":"{arrow}","msg":{line}}}"#).unwrap();
    }
    text
}
