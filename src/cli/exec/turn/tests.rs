//! One turn, told by hand what happens to it.

use codex_hosts::{FailureKind, Phase};
use serde_json::value::to_raw_value;

use super::{open::PAGES_MAX, *};

/// A turn, its output, and the number of its last call.
struct Play {
    turn: Turn,
    output: Output,
    orders: Vec<Order>,
    tickets: u64,
}

impl Play {
    fn start() -> Play {
        let options = TurnOptions {
            prompt: "p".to_owned(),
            cwd: None,
            model: None,
            sandbox: None,
            approval: None,
            resume: None,
        };
        Play::start_with(options)
    }

    fn start_with(options: TurnOptions) -> Play {
        let mut play = Play {
            turn: Turn::new("devbox".to_owned(), options),
            output: Output::new(false, 2),
            orders: Vec::new(),
            tickets: 0,
        };
        play.ready();
        play
    }

    /// As far as a turn that runs.
    fn running() -> Play {
        let mut play = Play::start();
        play.answer(json!({
            "thread": { "id": "t" }, "approvalPolicy": "never", "sandbox": { "type": "readOnly" },
        }));
        play.answer(json!({ "turn": { "id": "u", "status": "inProgress" } }));
        play.hear(
            "turn/started",
            json!({ "turn": { "id": "u", "status": "inProgress" } }),
        );
        play
    }

    fn ready(&mut self) {
        let now = Instant::now();
        let status = Status::Ready {
            since: now,
            took: Duration::ZERO,
        };
        self.status(status);
    }

    fn lose(&mut self) {
        let failure = Failure {
            kind: FailureKind::Unreachable,
            phase: Some(Phase::Connecting),
            message: "gone".to_owned(),
            hint: None,
            stderr: None,
        };
        let until = Instant::now();
        self.status(Status::Waiting {
            until,
            retry: 1,
            failure,
        });
    }

    fn status(&mut self, status: Status) {
        let event = HostEvent::StatusChanged(status);
        self.turn.handle_host(event, &mut self.orders, &mut self.output);
    }

    /// The call that was ordered last.
    fn call(&mut self) -> ClientRequest {
        let call = self.orders.drain(..).rev().find_map(|it| match it {
            Order::Call(it) => Some(*it),
            Order::Reply(..) | Order::Refuse(_) | Order::Disconnect => None,
        });
        let call = call.expect("no call was ordered");
        self.tickets += 1;
        self.turn.called(Ticket(self.tickets), &call);
        call
    }

    fn answer(&mut self, answer: Value) {
        let call = self.call();
        let answer = call.decode(&to_raw_value(&answer).unwrap()).unwrap();
        self.answered(Ok(answer));
    }

    fn answered(&mut self, answer: Result<ClientResponse, CallFailure>) {
        let ticket = Ticket(self.tickets);
        self.turn
            .handle_answer(ticket, answer, &mut self.orders, &mut self.output);
    }

    fn hear(&mut self, method: &str, mut params: Value) {
        params["threadId"] = "t".into();
        params["turnId"] = "u".into();
        let notification = ServerNotification::parse(method, Some(&to_raw_value(&params).unwrap()));
        self.turn
            .handle_notification(notification, &mut self.orders, &mut self.output);
    }

    fn delta(&mut self, delta: &str) {
        self.hear(
            "item/agentMessage/delta",
            json!({ "itemId": "m", "delta": delta }),
        );
    }

    /// Back after a loss, to a turn that looks like this.
    fn back(&mut self, turn: Value) {
        self.ready();
        self.answer(json!({
            "thread": { "id": "t" }, "approvalPolicy": "never", "sandbox": { "type": "readOnly" },
        }));
        self.answer(json!({ "data": [{ "id": "other", "status": "completed" }, turn] }));
    }
}

fn message(id: &str, text: &str) -> Value {
    json!({ "type": "agentMessage", "id": id, "text": text })
}

fn timed_out() -> CallFailure {
    CallFailure {
        code: None,
        message: "no answer within 120s".to_owned(),
        lost: true,
    }
}

#[test]
fn a_call_without_an_answer_on_a_connection_that_stands_ends_the_turn() {
    let mut play = Play::start();
    assert!(matches!(play.call(), ClientRequest::ThreadStart(_)));
    play.answered(Err(timed_out()));
    assert_eq!(play.turn.code(), Some(Code::Unreachable));
}

#[test]
fn a_call_that_was_lost_with_its_connection_is_made_again() {
    let mut play = Play::running();
    play.lose();
    play.ready();
    assert!(matches!(play.call(), ClientRequest::ThreadResume(_)));
    play.lose();
    play.answered(Err(timed_out()));
    assert_eq!(play.turn.code(), None);
    play.ready();
    assert!(matches!(play.call(), ClientRequest::ThreadResume(_)));
}

#[test]
fn after_a_gap_nothing_is_missing_and_nothing_is_said_twice() {
    let mut play = Play::running();
    play.hear("item/completed", json!({ "item": message("first", "one") }));
    play.delta("ab");
    play.lose();
    play.back(json!({
        "id": "u", "status": "inProgress",
        "items": [message("first", "one"), message("missed", "two"), message("m", "abcd")],
    }));
    play.delta("ef");
    assert_eq!(play.output.answer("devbox"), "one\nabtwo\nef");
    play.hear("item/completed", json!({ "item": message("m", "abcdéf") }));
    assert_eq!(play.output.answer("devbox"), "one\nabtwo\nef\nabcdéf\n");
    play.hear(
        "turn/completed",
        json!({ "turn": { "id": "u", "status": "completed" } }),
    );
    assert_eq!(play.turn.code(), Some(Code::Done));
}

#[test]
fn a_turn_that_ended_while_the_connection_was_away_ends() {
    let mut play = Play::running();
    play.lose();
    play.back(json!({ "id": "u", "status": "completed", "items": [message("m", "all of it")] }));
    assert_eq!(play.turn.code(), Some(Code::Done));
}

#[test]
fn the_turn_of_somebody_else_in_the_same_thread_is_not_ours() {
    let mut play = Play::running();
    for status in ["inProgress", "failed"] {
        let method = if status == "failed" {
            "turn/completed"
        } else {
            "turn/started"
        };
        play.hear(method, json!({ "turn": { "id": "other", "status": status } }));
    }
    assert_eq!(play.turn.code(), None);
    play.hear(
        "turn/completed",
        json!({ "turn": { "id": "u", "status": "completed" } }),
    );
    assert_eq!(play.turn.code(), Some(Code::Done));
}

#[test]
fn an_interrupt_waits_for_the_turn_to_start_and_is_made_up_for_after_a_gap() {
    let mut play = Play::start();
    play.answer(json!({
        "thread": { "id": "t" }, "approvalPolicy": "never", "sandbox": { "type": "readOnly" },
    }));
    play.answer(json!({ "turn": { "id": "u", "status": "inProgress" } }));
    play.turn.interrupt(&mut play.orders, &mut play.output);
    assert!(play.orders.is_empty(), "the server would refuse it");
    play.hear(
        "turn/started",
        json!({ "turn": { "id": "u", "status": "inProgress" } }),
    );
    assert!(matches!(play.call(), ClientRequest::TurnInterrupt(_)));
    play.hear(
        "turn/completed",
        json!({ "turn": { "id": "u", "status": "interrupted" } }),
    );
    assert_eq!(play.turn.code(), Some(Code::Interrupted));
}

#[test]
fn an_interrupt_without_a_connection_ends_at_once() {
    let mut play = Play::running();
    play.lose();
    play.turn.interrupt(&mut play.orders, &mut play.output);
    assert_eq!(play.turn.code(), Some(Code::Interrupted));
    assert!(matches!(play.orders[..], [Order::Disconnect]));
}

fn resuming(resume: Resume) -> Play {
    Play::start_with(TurnOptions {
        prompt: "p".to_owned(),
        cwd: None,
        model: Some("m".to_owned()),
        sandbox: Some(v2::SandboxMode::ReadOnly),
        approval: Some(v2::AskForApproval::never()),
        resume: Some(resume),
    })
}

fn listed(threads: &[(&str, &str)], next: Option<&str>) -> Value {
    let data: Vec<Value> = threads
        .iter()
        .map(|(id, cwd)| json!({ "id": id, "cwd": cwd }))
        .collect();
    json!({ "data": data, "nextCursor": next })
}

#[test]
fn the_last_thread_of_a_directory_is_looked_for_page_by_page_and_told_the_options() {
    let mut play = resuming(Resume::Last {
        of: Some("/b".to_owned()),
    });
    play.answer(listed(&[("x", "/a"), ("y", "/b/c")], Some("more")));
    let call = play.call();
    assert!(matches!(&call, ClientRequest::ThreadList(it) if it.cursor.as_deref() == Some("more")));
    let page = call.decode(&to_raw_value(&listed(&[("t", "/b"), ("z", "/b")], None)).unwrap());
    play.answered(Ok(page.unwrap()));
    let call = play.call();
    assert!(matches!(&call, ClientRequest::ThreadResume(it) if it.thread_id.0 == "t" && it.cwd.is_none()));
    let opened = json!({
        "thread": { "id": "t" }, "approvalPolicy": "untrusted", "sandbox": { "type": "dangerFullAccess" },
    });
    play.answered(Ok(call.decode(&to_raw_value(&opened).unwrap()).unwrap()));
    let ClientRequest::TurnStart(params) = play.call() else {
        panic!("no turn")
    };
    assert_eq!(params.thread_id.0, "t");
    assert_eq!(params.model.as_deref(), Some("m"));
    assert_eq!(params.approval_policy, Some(v2::AskForApproval::never()));
    assert_eq!(params.sandbox_policy.unwrap().label(), "read-only");
}

#[test]
fn the_search_for_the_last_thread_ends() {
    let mut play = resuming(Resume::Last {
        of: Some("/b".to_owned()),
    });
    for _ in 0..PAGES_MAX {
        assert_eq!(play.turn.code(), None);
        play.answer(listed(&[("x", "/a")], Some("more")));
    }
    assert_eq!(play.turn.code(), Some(Code::Usage));
}

#[test]
fn a_host_without_threads_has_none_to_resume() {
    let mut play = resuming(Resume::Last { of: None });
    play.answer(listed(&[], None));
    assert_eq!(play.turn.code(), Some(Code::Usage));
}
