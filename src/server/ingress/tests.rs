//! One peer and a server with handlers made for the purpose.

use std::{path::PathBuf, sync::Arc, time::Duration};

use codex_protocol::v2::Empty;
use codex_rpc::jsonl;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, split},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::serve_peer;
use crate::{
    Notice, Refusal, Responder, Scope, Server, Setup, TextStream,
    connection::REQUESTS_MAX,
    router::{Call, Router, Stability::*},
};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    lines: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    writer: WriteHalf<DuplexStream>,
}

impl Client {
    async fn send(&mut self, line: impl AsRef<[u8]>) {
        self.writer.write_all(line.as_ref()).await.unwrap();
        self.writer.write_all(b"\n").await.unwrap();
    }

    async fn ask(&mut self, id: usize, method: &str) {
        self.send(json!({ "id": id, "method": method }).to_string()).await;
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("nothing is said");
        serde_json::from_str(&line.unwrap().expect("the connection ended")).unwrap()
    }
}

fn setup() -> Setup {
    Setup {
        codex_home: PathBuf::from("/nonexistent"),
        cwd: PathBuf::from("/"),
        environment: Default::default(),
        version: "1".to_owned(),
        sandbox_helper: PathBuf::from("/nonexistent"),
        model: None,
    }
}

/// A client that is initialized, and the task that serves it.
async fn connect(server: &Server, pipe_bytes: usize) -> (Client, JoinSet<()>) {
    let (near, far) = tokio::io::duplex(pipe_bytes);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_peer(
        server.clone(),
        jsonl(far, 1 << 20),
        CancellationToken::new(),
    ));
    let (reader, writer) = split(near);
    let mut client = Client {
        lines: BufReader::new(reader).lines(),
        writer,
    };
    let params = json!({ "clientInfo": { "name": "test", "version": "1" } });
    client
        .send(json!({ "id": "hello", "method": "initialize", "params": params }).to_string())
        .await;
    assert_eq!(client.next().await["id"], "hello");
    (client, tasks)
}

fn text() -> TextStream {
    TextStream {
        method: "item/agentMessage/delta",
        thread_id: "t".to_owned(),
        turn_id: "u".to_owned(),
        item_id: "i".to_owned(),
        part: None,
    }
}

#[tokio::test]
async fn a_handler_that_panics_or_forgets_to_answer_answers_internal_error() {
    async fn panics(_: Call, _: Empty) -> Result<Empty, Refusal> {
        panic!("on purpose")
    }
    async fn forgets(_: Call, _: Empty, responder: Responder) {
        drop(responder);
    }
    let mut router = Router::default();
    router.answer("panics", Stable, |_: &Empty| Scope::free(), panics);
    router.hand_over("forgets", Stable, |_: &Empty| Scope::free(), forgets);
    let server = Server::with_router(setup(), router);
    let (mut client, _tasks) = connect(&server, 1024).await;
    for (id, method) in [(1, "panics"), (2, "forgets"), (3, "panics")] {
        client.ask(id, method).await;
        let answer = client.next().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(id), &json!(-32603))
        );
    }
}

#[tokio::test]
async fn a_peer_with_too_many_requests_is_refused_and_nobody_else_is() {
    let gate = Arc::new(Semaphore::new(0));
    let mut router = Router::default();
    let held = Arc::clone(&gate);
    router.answer(
        "waits",
        Stable,
        |_: &Empty| Scope::free(),
        move |_: Call, _: Empty| {
            let gate = Arc::clone(&held);
            async move {
                gate.acquire().await.map_err(|_| Refusal::overloaded())?.forget();
                Ok(Empty {})
            }
        },
    );
    router.answer(
        "quick",
        Stable,
        |_: &Empty| Scope::free(),
        |_: Call, _: Empty| async { Ok(Empty {}) },
    );
    let server = Server::with_router(setup(), router);
    let (mut busy, _busy_tasks) = connect(&server, 1 << 20).await;
    let (mut other, _other_tasks) = connect(&server, 1024).await;
    for id in 0..REQUESTS_MAX {
        busy.ask(id, "waits").await;
    }
    busy.ask(1000, "quick").await;
    let refused = busy.next().await;
    assert_eq!(
        refused["error"],
        json!({ "code": -32001, "message": "Server overloaded; retry later." })
    );
    other.ask(1, "quick").await;
    assert_eq!(other.next().await["result"], json!({}));
    gate.add_permits(REQUESTS_MAX);
    let mut answered = Vec::new();
    for _ in 0..REQUESTS_MAX {
        answered.push(busy.next().await["id"].as_u64().unwrap() as usize);
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..REQUESTS_MAX).collect::<Vec<_>>());
    busy.ask(1001, "quick").await;
    assert_eq!(busy.next().await["result"], json!({}));
}

#[tokio::test]
async fn answers_come_as_they_are_ready_but_conflicting_requests_in_order() {
    let gate = Arc::new(Semaphore::new(0));
    let mut router = Router::default();
    let held = Arc::clone(&gate);
    router.answer(
        "first",
        Stable,
        |_: &Empty| Scope::thread("t"),
        move |_: Call, _: Empty| {
            let gate = Arc::clone(&held);
            async move {
                gate.acquire().await.map_err(|_| Refusal::overloaded())?.forget();
                Ok(Empty {})
            }
        },
    );
    router.answer(
        "same",
        Stable,
        |_: &Empty| Scope::thread("t"),
        |_: Call, _: Empty| async { Ok(Empty {}) },
    );
    router.answer(
        "other",
        Stable,
        |_: &Empty| Scope::thread("o"),
        |_: Call, _: Empty| async { Ok(Empty {}) },
    );
    let server = Server::with_router(setup(), router);
    let (mut client, _tasks) = connect(&server, 1024).await;
    for (id, method) in [(1, "first"), (2, "same"), (3, "other")] {
        client.ask(id, method).await;
    }
    assert_eq!(client.next().await["id"], 3);
    gate.add_permits(1);
    assert_eq!(client.next().await["id"], 1);
    assert_eq!(client.next().await["id"], 2);
}

#[tokio::test]
async fn an_answer_is_written_before_what_it_causes() {
    async fn starts(call: Call, _: Empty, responder: Responder) {
        responder.answer(&Empty {});
        call.server.broadcast(&Notice::new("caused", &json!({})));
    }
    let mut router = Router::default();
    router.hand_over("starts", Stable, |_: &Empty| Scope::free(), starts);
    let server = Server::with_router(setup(), router);
    let (mut client, _tasks) = connect(&server, 1024).await;
    for id in 0..50 {
        client.ask(id, "starts").await;
        assert_eq!(client.next().await["id"], id);
        let caused = client.next().await;
        assert_eq!(caused["method"], "caused");
        assert!(caused["emittedAtMs"].as_i64().unwrap() > 0);
    }
}

#[tokio::test]
async fn a_reader_that_is_slow_gets_fewer_pieces_the_whole_text_and_every_message() {
    async fn floods(call: Call, _: Empty, responder: Responder) {
        responder.answer(&Empty {});
        for at in 0..20_000 {
            call.connection.append(&text(), &format!("w{at} "));
        }
        call.connection.tell(&Notice::new("item/completed", &json!({})));
    }
    let mut router = Router::default();
    router.hand_over("floods", Stable, |_: &Empty| Scope::free(), floods);
    let server = Server::with_router(setup(), router);
    // A pipe of 64 bytes: whatever is written waits for the reader.
    let (mut client, _tasks) = connect(&server, 64).await;
    client.ask(1, "floods").await;
    assert_eq!(client.next().await["id"], 1);
    let (mut whole, mut pieces) = (String::new(), 0);
    loop {
        let said = client.next().await;
        match said["method"].as_str() {
            Some("item/agentMessage/delta") => whole += said["params"]["delta"].as_str().unwrap(),
            _ => break,
        }
        pieces += 1;
    }
    assert_eq!(whole, (0..20_000).map(|at| format!("w{at} ")).collect::<String>());
    assert!(pieces < 100, "{pieces}");
}

#[tokio::test]
async fn beyond_the_limit_the_detail_is_given_up_and_marked_and_the_item_arrives() {
    async fn floods(call: Call, _: Empty, responder: Responder) {
        responder.answer(&Empty {});
        let line = "x".repeat(1 << 20);
        for _ in 0..6 {
            call.connection.append(&text(), &line);
        }
        call.connection
            .tell(&Notice::new("item/completed", &json!({ "whole": true })));
    }
    let mut router = Router::default();
    router.hand_over("floods", Stable, |_: &Empty| Scope::free(), floods);
    let server = Server::with_router(setup(), router);
    let (mut client, _tasks) = connect(&server, 1024).await;
    client.ask(1, "floods").await;
    assert_eq!(client.next().await["id"], 1);
    let delta = client.next().await;
    let delta = delta["params"]["delta"].as_str().unwrap();
    let expected = format!("\n[{} bytes are left out here", 2 << 20);
    assert!(
        delta.starts_with(&"x".repeat(4 << 20)) && delta.contains(&expected),
        "{}",
        &delta[4 << 20..]
    );
    assert_eq!(client.next().await["params"]["whole"], true);
}

#[tokio::test]
async fn the_first_answer_to_a_question_counts_whoever_gives_it() {
    let server = Server::with_router(setup(), Router::default());
    let (mut one, _one_tasks) = connect(&server, 1024).await;
    let (mut other, _other_tasks) = connect(&server, 1024).await;
    let (answers, mut answered) = tokio::sync::mpsc::channel(1);
    let question = server.questions().open(answers);
    server.for_each(|it| it.ask(question, "item/fileChange/requestApproval", &json!({})));
    for client in [&mut one, &mut other] {
        assert_eq!(client.next().await["id"], question);
        client
            .send(json!({ "id": question, "result": { "decision": "accept" } }).to_string())
            .await;
    }
    let answer = answered.recv().await.unwrap();
    assert_eq!(answer.outcome.unwrap().get(), r#"{"decision":"accept"}"#);
    server.questions().close(question);
    // Both have been read when both have been heard after it; the second answer was ignored.
    for client in [&mut one, &mut other] {
        client.ask(7, "none").await;
        assert_eq!(client.next().await["error"]["code"], -32601);
    }
    assert!(answered.try_recv().is_err());
}

#[tokio::test]
async fn what_is_no_message_costs_itself_and_is_answered_where_an_id_can_be_told() {
    let server = Server::with_router(setup(), Router::default());
    let (mut client, _tasks) = connect(&server, 1024).await;
    client.send(b"\xff\xfe not utf-8").await;
    client.send("[]").await;
    client.send("{\"id\":null,\"method\":\"x\"}").await;
    client.send("").await;
    client.send("{\"id\":5,\"method\":").await;
    let answer = client.next().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(5), &json!(-32700))
    );
    client.send("{\"id\":7}").await;
    let answer = client.next().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(7), &json!(-32600))
    );
    client
        .send(format!("{{\"id\":6,\"method\":\"{}\"}}", "x".repeat(2 << 20)))
        .await;
    let answer = client.next().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(6), &json!(-32602))
    );
    client.send(b"{\"id\":\"\",\"method\":\"caf\xe9\"}").await;
    let answer = client.next().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(""), &json!(-32601))
    );
    assert!(answer.to_string().len() < 200, "{answer}");
}

#[tokio::test]
async fn a_peer_that_asks_five_thousand_times_before_it_reads_gets_every_answer() {
    let mut router = Router::default();
    router.answer(
        "quick",
        Stable,
        |_: &Empty| Scope::free(),
        |_: Call, _: Empty| async { Ok(Empty {}) },
    );
    let server = Server::with_router(setup(), router);
    let (mut client, _tasks) = connect(&server, 256).await;
    for id in 0..5_000 {
        tokio::time::timeout(PATIENCE, client.ask(id, "quick"))
            .await
            .expect("nothing is read any more");
    }
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < 5_000 {
        let answer = client.next().await;
        assert!(
            answer.get("result").is_some() || answer["error"]["code"] == -32001,
            "{answer}"
        );
        assert!(answered.insert(answer["id"].as_u64()), "answered twice: {answer}");
    }
}

#[tokio::test]
async fn what_runs_for_a_peer_alone_hears_that_it_leaves_and_the_rest_is_still_done() {
    let (told, done) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let mut router = Router::default();
    let (hears, does) = (Arc::clone(&told), Arc::clone(&done));
    router.answer(
        "waits",
        Stable,
        |_: &Empty| Scope::free(),
        move |call: Call, _: Empty| {
            let told = Arc::clone(&hears);
            async move {
                call.connection.leaving().cancelled().await;
                told.add_permits(1);
                Ok(Empty {})
            }
        },
    );
    let after = Arc::clone(&told);
    router.answer(
        "works",
        Stable,
        |_: &Empty| Scope::free(),
        move |_: Call, _: Empty| {
            let (told, done) = (Arc::clone(&after), Arc::clone(&does));
            async move {
                told.acquire().await.map_err(|_| Refusal::overloaded())?.forget();
                done.add_permits(1);
                Ok(Empty {})
            }
        },
    );
    let server = Server::with_router(setup(), router);
    let (mut client, mut tasks) = connect(&server, 1024).await;
    client.ask(1, "waits").await;
    client.ask(2, "works").await;
    // The peer says nothing more, and goes on reading.
    client.writer.shutdown().await.unwrap();
    let mut answered = vec![
        client.next().await["id"].clone(),
        client.next().await["id"].clone(),
    ];
    answered.sort_by_key(Value::as_u64);
    assert_eq!(answered, [1, 2]);
    let ended = tokio::time::timeout(PATIENCE, tasks.join_next())
        .await
        .expect("the server serves on");
    ended.unwrap().unwrap();
    assert_eq!((done.available_permits(), server.connection_count()), (1, 0));
}
