//! One host against a server at the other end of a pipe; the way there is made up.

use std::{sync::Mutex, time::Duration};

use codex_hosts::{Hop, Question, Status};
use codex_protocol::v2;
use codex_rpc::{Limits, jsonl};
use codex_ssh::{Connector, Local, RouteError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    launch::Server,
    run::HostFacts,
    system::{Asking, System},
    transport::Transport,
    way::Way,
};

/// A host on its way, and what keeps its resolver from answering.
fn host() -> (
    Host,
    mpsc::Receiver<(Attempt, FromAttempt)>,
    std::sync::mpsc::SyncSender<()>,
) {
    let (end, wait) = std::sync::mpsc::sync_channel(1);
    let wait = Mutex::new(wait);
    let config = FleetConfig {
        names: Arc::new(Vec::new),
        resolver: Arc::new(move |_| {
            _ = wait.lock().unwrap().recv();
            Err(RouteError::Cycle(Vec::new()))
        }),
        ways: Arc::new(|_| {
            Ok(Way::Ssh {
                server: Server::Auto,
                transport: Transport::Auto,
            })
        }),
        connector: Connector::new(Local::default()),
        system: System::new(None, "codex".into(), Asking::Nobody),
        client_info: v2::ClientInfo {
            name: "test".to_owned(),
            title: None,
            version: "0".to_owned(),
        },
        forward: crate::Forward::None,
        policy: limits::POLICY,
    };
    let (mut host, reported) = Host::new(HostId::from("devbox"), Arc::new(config));
    host.obey(Command::Host(codex_hosts::Command::Connect));
    host.perform();
    (host, reported, end)
}

/// A conversation over a pipe: what an attempt hands over, its driver, and the server's end.
fn up() -> (FromAttempt, impl Future<Output = rpc::End> + Send, DuplexStream) {
    let (ours, theirs) = duplex(1 << 20);
    let limits = Limits {
        outstanding_max: limits::CALLS_MAX,
    };
    let (client, events, driver) = rpc::client(jsonl(ours, 1 << 20), limits, CancellationToken::new());
    let link = Link {
        client,
        events,
        pulse: crate::link::Pulse::Here,
        home: "/home/dev".to_owned(),
    };
    let facts = HostFacts {
        initialize: serde_json::from_str(r#"{"userAgent":"x/1.2.3 (y)"}"#).unwrap(),
        system: "Linux x86_64".to_owned(),
        home: "/home/dev".to_owned(),
        codex: "/usr/bin/codex".to_owned(),
    };
    (FromAttempt::Up(Box::new(link), Box::new(facts)), driver, theirs)
}

fn read_thread(thread: &str) -> ClientRequest {
    ClientRequest::ThreadArchive(v2::ThreadIdParams {
        thread_id: thread.into(),
    })
}

fn lost() -> FromAttempt {
    FromAttempt::Report(Report::Lost(Failure {
        kind: FailureKind::Unreachable,
        phase: None,
        message: "gone".to_owned(),
        hint: None,
        stderr: None,
    }))
}

fn question() -> (FromAttempt, oneshot::Receiver<codex_ssh::Answer>) {
    let (answer, answered) = oneshot::channel();
    let hop = Hop {
        alias: "devbox".to_owned(),
        user: "dev".to_owned(),
        host_name: "devbox".to_owned(),
        port: 22,
        is_jump: false,
    };
    let question = Question::Password { hop, attempt: 1 };
    (FromAttempt::Question(question, answer), answered)
}

/// An event in a few words.
fn word(event: &Event) -> String {
    match event {
        Event::Host(_, HostEvent::StatusChanged(status)) => match status {
            Status::Offline => "offline",
            Status::Working { .. } => "working",
            Status::Ready { .. } => "ready",
            Status::Waiting { .. } => "waiting",
            Status::Failed(_) => "failed",
        }
        .to_owned(),
        Event::Notice(_, text) => text.clone(),
        Event::Initialized(..) => "initialized".to_owned(),
        Event::Notification(_, it) => it.method().to_owned(),
        Event::Request(_, _, it) => it.method().to_owned(),
        Event::Answered(_, ticket, Ok(_)) => format!("{} answered", ticket.0),
        Event::Answered(_, ticket, Err(failure)) => format!("{} lost={}", ticket.0, failure.lost),
        Event::Asked(..) => "asked".to_owned(),
        Event::Withdrawn(..) => "withdrawn".to_owned(),
        Event::Forwards(..) => "forwards".to_owned(),
        Event::Install(..) => "install".to_owned(),
    }
}

fn told(host: &mut Host) -> Vec<String> {
    host.outbox.drain(..).map(|it| word(&it)).collect()
}

#[tokio::test]
async fn what_an_abandoned_attempt_still_says_is_void() {
    let (mut host, _reported, _end) = host();
    let attempt = host.connection.attempt();
    host.obey(Command::Host(codex_hosts::Command::Disconnect));
    host.perform();
    assert_eq!(told(&mut host), ["working", "offline"]);
    let (up, _driver, _theirs) = up();
    let (question, mut answered) = question();
    for late in [up, FromAttempt::Report(Report::Ready), question] {
        host.hear(attempt, late);
        host.perform();
    }
    assert!(host.link.is_none(), "the connection would stay open");
    assert!(told(&mut host).is_empty());
    assert!(answered.try_recv().is_err(), "refused");
}

#[tokio::test]
async fn what_depends_on_a_connection_ends_with_it_and_after_the_change_of_status() {
    let (mut host, _reported, _end) = host();
    let attempt = host.connection.attempt();
    let (question, _answered) = question();
    let (up, _driver, _theirs) = up();
    for it in [question, up, FromAttempt::Report(Report::Ready)] {
        host.hear(attempt, it);
    }
    host.obey(Command::Call(Ticket(7), read_thread("t")));
    host.perform();
    told(&mut host);
    host.hear(attempt, lost());
    host.perform();
    assert_eq!(told(&mut host), ["waiting", "withdrawn", "7 lost=true"]);
    host.obey(Command::Call(Ticket(8), read_thread("t")));
    assert_eq!(told(&mut host), ["8 lost=false"], "it was never sent");
}

#[tokio::test]
async fn what_the_server_said_before_it_ended_is_told_before_its_end() {
    let (mut host, _reported, _end) = host();
    let attempt = host.connection.attempt();
    let (up, driver, mut theirs) = up();
    host.hear(attempt, up);
    host.hear(attempt, FromAttempt::Report(Report::Ready));
    host.perform();
    told(&mut host);
    theirs
        .write_all(b"{\"method\":\"a\"}\n{\"method\":\"b\"}\n")
        .await
        .unwrap();
    drop(theirs);
    driver.await;
    host.hear(attempt, lost());
    host.perform();
    assert_eq!(told(&mut host), ["a", "b", "waiting"]);
}

#[tokio::test]
async fn answers_and_notifications_come_in_the_order_of_the_wire_and_overload_is_repeated() {
    let (host, reported, _end) = host();
    let (attempt, reports) = (host.connection.attempt(), host.reports.clone());
    let (up, driver, theirs) = up();
    let (commands, command_queue) = mpsc::channel(8);
    let (event_queue, mut events) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(drive(host, command_queue, reported, event_queue));
    tasks.spawn(async move { _ = driver.await });
    tasks.spawn(async move {
        let (read, mut write) = tokio::io::split(theirs);
        let mut lines = BufReader::new(read).lines();
        let mut is_overloaded = true;
        while let Some(line) = lines.next_line().await.unwrap() {
            let call: Value = serde_json::from_str(&line).unwrap();
            let id = &call["id"];
            let answer = if std::mem::take(&mut is_overloaded) {
                format!("{{\"id\":{id},\"error\":{{\"code\":-32001,\"message\":\"busy\"}}}}\n")
            } else {
                format!("{{\"method\":\"before{id}\"}}\n{{\"id\":{id},\"result\":{{}}}}\n{{\"method\":\"after{id}\"}}\n")
            };
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    reports.send((attempt, up)).await.unwrap();
    reports
        .send((attempt, FromAttempt::Report(Report::Ready)))
        .await
        .unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|it| it != "ready") {
        seen.push(word(&events.recv().await.unwrap()));
    }
    let facts = "codex 1.2.3 at /usr/bin/codex, Linux x86_64";
    assert_eq!(seen, ["working", "initialized", facts, "ready"]);
    for ticket in 1..=2 {
        let call = Command::Call(Ticket(ticket), read_thread("t"));
        commands.send(call).await.unwrap();
        seen.clear();
        while seen.len() < 3 {
            seen.push(word(&events.recv().await.unwrap()));
        }
        let answered = format!("{ticket} answered");
        assert_eq!(
            seen,
            [format!("before{ticket}"), answered, format!("after{ticket}")]
        );
    }
}

/// Asks for a thread that another server has open until it was asked for so often: the answer.
async fn resumed(mut host: Host, refusals: usize) -> String {
    let attempt = host.connection.attempt();
    let (up, driver, theirs) = up();
    for it in [up, FromAttempt::Report(Report::Ready)] {
        host.hear(attempt, it);
    }
    host.obey(Command::Call(
        Ticket(1),
        ClientRequest::ThreadResume(v2::ThreadResumeParams {
            thread_id: "t".into(),
            exclude_turns: None,
            cwd: None,
        }),
    ));
    let (_reports, reported) = mpsc::channel(1);
    let (_commands, command_queue) = mpsc::channel(8);
    let (event_queue, mut events) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(drive(host, command_queue, reported, event_queue));
    tasks.spawn(async move { _ = driver.await });
    tasks.spawn(async move {
        let (read, mut write) = tokio::io::split(theirs);
        let mut lines = BufReader::new(read).lines();
        for refused in 0.. {
            let Ok(Some(line)) = lines.next_line().await else {
                return;
            };
            let call: Value = serde_json::from_str(&line).unwrap();
            let message = match refused < refusals {
                true => "thread t already has an active writer",
                false => "nobody has it any more",
            };
            let answer = serde_json::json!({"id": call["id"], "error": {"code": -32600, "message": message}});
            write.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        }
    });
    loop {
        if let Event::Answered(_, Ticket(1), answer) = events.recv().await.unwrap() {
            return answer.unwrap_err().message;
        }
    }
}

#[tokio::test]
async fn a_thread_that_the_server_of_the_lost_connection_still_has_is_asked_for_again() {
    let (first, _reported, _end) = host();
    let said = resumed(first, 2).await;
    assert!(said.contains("writer"), "somebody else has it: {said}");
    let (mut again, _reported, _end) = host();
    let attempt = again.connection.attempt();
    let (up, _driver, _theirs) = up();
    for it in [up, FromAttempt::Report(Report::Ready), lost()] {
        again.hear(attempt, it);
        again.perform();
    }
    again.obey(Command::Host(codex_hosts::Command::Connect));
    again.perform();
    let said = resumed(again, 2).await;
    assert!(said.contains("nobody"), "{said}");
}

#[tokio::test]
async fn a_consumer_that_stopped_does_not_let_the_queue_grow() {
    let (host, reported, _end) = host();
    let (attempt, reports) = (host.connection.attempt(), host.reports.clone());
    let (_commands, command_queue) = mpsc::channel(8);
    let (event_queue, mut events) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(drive(host, command_queue, reported, event_queue));
    let mut accepted = 0;
    let send = |number: usize| reports.send((attempt, FromAttempt::Notice(number.to_string())));
    while tokio::time::timeout(Duration::from_millis(200), send(accepted))
        .await
        .is_ok()
    {
        accepted += 1;
        assert!(accepted < 10 * limits::OUTBOX_MAX, "it grows");
    }
    assert!(limits::OUTBOX_MAX <= accepted);
    let mut last = String::new();
    while last != (accepted - 1).to_string() {
        last = word(&events.recv().await.unwrap());
    }
}

#[tokio::test]
async fn the_same_notice_is_told_once() {
    let (mut host, _reported, _end) = host();
    let attempt = host.connection.attempt();
    told(&mut host);
    for _ in 0..3 {
        host.hear(attempt, FromAttempt::Notice("line 3 is odd".to_owned()));
    }
    assert_eq!(told(&mut host), ["line 3 is odd"]);
}
