//! Calls of tools: results, progress, questions, time, cancellation.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use codex_mcp::{Answer, ELICITATIONS_MAX, Elicit, Elicitation, Error, limits};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::rig::{PATIENCE, Rig, call, server, until};

/// Somebody who answers when he is let, and counts the questions that were put away.
struct Somebody {
    answer: Answer,
    let_answer: Semaphore,
    asked: Mutex<Vec<Elicitation>>,
    dropped: Mutex<usize>,
}

impl Somebody {
    fn new(answer: Answer, answers: usize) -> Arc<Somebody> {
        Arc::new(Somebody {
            answer,
            let_answer: Semaphore::new(answers),
            asked: Mutex::default(),
            dropped: Mutex::default(),
        })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

struct Open<'a>(&'a Somebody);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        *self.0.dropped.lock().unwrap() += 1;
    }
}

impl Elicit for Somebody {
    fn elicit(&self, question: Elicitation) -> BoxFuture<'_, Answer> {
        self.asked.lock().unwrap().push(question);
        Box::pin(async {
            let _open = Open(self);
            self.let_answer.acquire().await.unwrap().forget();
            self.answer.clone()
        })
    }
}

async fn ready(table: Value) -> Rig {
    let rig = Rig::new([("rig", table)]);
    assert_ne!(rig.tool_names(PATIENCE).await.len(), 0);
    rig
}

#[tokio::test]
async fn a_result_comes_whole_and_an_error_of_the_tool_is_one() {
    let rig = ready(server("")).await;
    let outcome = rig.call("rig", "echo", json!({ "text": "hi" })).await;
    assert!(!outcome.is_error() && outcome.duration > Duration::ZERO);
    let result = outcome.result.unwrap();
    assert_eq!(result.content, [json!({ "type": "text", "text": "hi" })]);
    assert_eq!(result.structured_content, Some(json!({ "echo": "hi" })));
    let outcome = rig.call("rig", "fail", Value::Null).await;
    assert!(outcome.is_error() && outcome.result.unwrap().is_error);
    let outcome = rig.call("rig", "nonsense", json!({})).await;
    assert!(
        matches!(outcome.result, Err(Error::Refused { code: -32602, .. })),
        "{outcome:?}"
    );
    let outcome = rig.call("rig", "echo", json!([1])).await;
    assert!(matches!(outcome.result, Err(Error::Arguments { .. })));
    let outcome = rig.call("other", "echo", json!({})).await;
    assert!(matches!(outcome.result, Err(Error::UnknownServer { .. })));
}

#[tokio::test]
async fn a_large_result_is_cut() {
    let rig = ready(server("")).await;
    let text = rig.text("rig", "big", json!({})).await;
    assert!(text.len() < limits::RESULT_TEXT_BYTES_MAX + 100);
    assert!(text.ends_with("[786432 more bytes were left out]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn progress_is_told_in_its_order() {
    let rig = ready(server("")).await;
    for _ in 0..50 {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut advance = call("rig", "advance", json!({}));
        let told = Arc::clone(&heard);
        advance.progress = Some(Arc::new(move |it| told.lock().unwrap().push(it)));
        let outcome = rig.servers.call(advance, &CancellationToken::new()).await;
        assert!(!outcome.is_error());
        let heard = heard.lock().unwrap();
        // What is overtaken by a later notice, or by the result, may be missing.
        assert!(
            heard.is_sorted_by(|one, other| one.progress < other.progress),
            "{heard:?}"
        );
        assert!(
            heard
                .iter()
                .all(|it| it.total == Some(3.0) && it.message == Some(format!("step {}", it.progress)))
        );
    }
}

#[tokio::test]
async fn every_step_of_a_call_is_told_while_it_runs() {
    let rig = ready(server("")).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let mut advance = call("rig", "advance", json!({}));
    let told = Arc::clone(&heard);
    advance.progress = Some(Arc::new(move |it| told.lock().unwrap().push(it.progress)));
    rig.servers.call(advance, &CancellationToken::new()).await;
    assert_eq!(*heard.lock().unwrap(), [1.0, 2.0, 3.0]);
}

#[tokio::test]
async fn a_question_reaches_the_user_and_the_answer_the_server() {
    for (answer, expected) in [
        (
            Answer::Accept(json!({ "name": "me" })),
            json!({ "action": "accept", "content": { "name": "me" } }),
        ),
        (Answer::Decline, json!({ "action": "decline" })),
        (Answer::Cancel, json!({ "action": "cancel" })),
    ] {
        let user = Somebody::new(answer, 1);
        let rig = Rig::with([("rig", server(""))], |setup| setup.elicit = Some(user.clone()));
        let heard: Value = serde_json::from_str(&rig.text("rig", "ask", json!({})).await).unwrap();
        assert_eq!(heard, expected);
        let asked = user.asked.lock().unwrap();
        assert_eq!((&*asked[0].server, &*asked[0].message), ("rig", "who are you?"));
        assert_eq!(asked[0].schema["properties"]["name"]["type"], "string");
    }
}

#[tokio::test]
async fn without_anybody_to_ask_questions_are_declined() {
    let rig = ready(server("")).await;
    assert_eq!(rig.text("rig", "ask", json!({})).await, r#"{"action":"decline"}"#);
}

#[tokio::test]
async fn the_clock_of_a_call_stands_still_while_the_user_thinks() {
    let mut table = server("");
    table["tool_timeout_sec"] = json!(1);
    let rig = ready(table).await;
    let user = Somebody::new(Answer::Accept(json!({})), 0);
    let mut asking = call("rig", "ask", json!({}));
    asking.elicit = Some(user.clone());
    let cancel = CancellationToken::new();
    let began = Instant::now();
    let outcome = tokio::join!(rig.servers.call(asking, &cancel), async {
        until("the question", || user.asked(), |it| *it == 1).await;
        until(
            "twice the time of a call",
            || began.elapsed(),
            |it| *it > Duration::from_secs(2),
        )
        .await;
        user.let_answer.add_permits(1);
    });
    assert!(!outcome.0.is_error(), "{:?}", outcome.0);
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_and_the_server_is_told() {
    let mut table = server("");
    table["tool_timeout_sec"] = json!(0.5);
    let rig = ready(table).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let outcome = rig.call("rig", "hang", json!({ "text": file })).await;
    assert_eq!(
        outcome.result.unwrap_err().to_string(),
        "asking the MCP server `rig`: no answer for 0.5 s"
    );
    until(
        "the cancellation",
        || std::fs::read_to_string(&file).unwrap(),
        |it| it == "cancelled",
    )
    .await;
    assert_eq!(
        rig.text("rig", "echo", json!({ "text": "still here" })).await,
        "still here"
    );
}

#[tokio::test]
async fn a_call_that_is_cancelled_ends_at_once_and_the_server_is_told() {
    let rig = ready(server("")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let cancel = CancellationToken::new();
    let state = || std::fs::read_to_string(&file).unwrap_or_default();
    let (outcome, ()) = tokio::join!(
        rig.servers
            .call(call("rig", "hang", json!({ "text": file })), &cancel),
        async {
            until("the call", state, |it| it == "begun").await;
            cancel.cancel();
        }
    );
    assert!(matches!(outcome.result, Err(Error::Cancelled { .. })));
    until("the cancellation", state, |it| it == "cancelled").await;
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled_too() {
    let rig = ready(server("")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let state = || std::fs::read_to_string(&file).unwrap_or_default();
    let cancel = CancellationToken::new();
    tokio::select! {
        _ = rig.servers.call(call("rig", "hang", json!({ "text": file })), &cancel) => panic!("it answered"),
        _ = until("the call", state, |it| it == "begun") => {}
    }
    until("the cancellation", state, |it| it == "cancelled").await;
}

#[tokio::test]
async fn only_so_many_questions_are_open_at_a_time() {
    let user = Somebody::new(Answer::Accept(json!({})), 0);
    let rig = Rig::with([("rig", server(""))], |setup| setup.elicit = Some(user.clone()));
    assert_ne!(rig.tool_names(PATIENCE).await.len(), 0);
    let mut asking: FuturesUnordered<_> = (0..=ELICITATIONS_MAX)
        .map(|_| rig.text("rig", "ask", json!({})))
        .collect();
    assert_eq!(asking.next().await.unwrap(), r#"{"action":"decline"}"#);
    user.let_answer.add_permits(ELICITATIONS_MAX);
    let accepted = r#"{"action":"accept","content":{}}"#;
    assert!(asking.all(async |it| it == accepted).await);
    assert_eq!(user.asked(), ELICITATIONS_MAX);
}

#[tokio::test]
async fn a_question_ends_with_its_call() {
    let rig = ready(server("")).await;
    let user = Somebody::new(Answer::Decline, 0);
    let mut asking = call("rig", "ask", json!({}));
    asking.elicit = Some(user.clone());
    let cancel = CancellationToken::new();
    let (outcome, _) = tokio::join!(rig.servers.call(asking, &cancel), async {
        until("the question", || user.asked(), |it| *it == 1).await;
        cancel.cancel();
    });
    assert!(matches!(outcome.result, Err(Error::Cancelled { .. })));
    until(
        "the question to be put away",
        || *user.dropped.lock().unwrap(),
        |it| *it == 1,
    )
    .await;
}

#[tokio::test]
async fn a_call_of_a_server_that_starts_is_cancelled_at_once() {
    let rig = Rig::new([("silent", server("silent"))]);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let began = Instant::now();
    let outcome = rig.servers.call(call("silent", "echo", json!({})), &cancel).await;
    assert!(matches!(outcome.result, Err(Error::Cancelled { .. })));
    assert!(began.elapsed() < Duration::from_secs(1));
}
