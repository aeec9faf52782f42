//! Every way in which the model does not answer, and what the user is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use codex_agent::turn::TurnEvent;
use codex_protocol::v2::{TurnError, TurnStatus};
use codex_testkit::{Model, Reply, Step};
use serde_json::json;

use crate::stage::{Stage, provider, setup};

/// How a turn ends at a model that is asked for this: the error, the requests made, the retries told.
async fn failed(text: &str) -> (TurnError, usize, Vec<String>) {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), text);
    let (status, error) = stage.end().await;
    assert_eq!(status, TurnStatus::Failed, "{text}");
    let error = error.unwrap();
    let last = stage.told.iter().rev().find_map(|event| match event {
        TurnEvent::Error {
            error,
            will_retry: false,
        } => Some(error),
        _ => None,
    });
    assert_eq!(last, Some(&error), "the error is told before the turn is over");
    (error, model.requests().len(), stage.retries())
}

#[tokio::test]
async fn a_refusal_has_its_class_and_only_what_may_pass_is_tried_again() {
    let status = |class: &str, code: Option<u16>| json!({ class: { "httpStatusCode": code } });
    for (code, info, requests) in [
        (400, json!("badRequest"), 1),
        (401, json!("unauthorized"), 1),
        (403, json!("unauthorized"), 1),
        (404, status("httpConnectionFailed", Some(404)), 1),
        (429, status("responseTooManyFailedAttempts", Some(429)), 2),
        (500, json!("internalServerError"), 2),
        (502, status("httpConnectionFailed", Some(502)), 2),
        (503, json!("serverOverloaded"), 2),
    ] {
        let (error, made, retries) = failed(&format!("status {code} words of the server")).await;
        assert_eq!(error.codex_error_info, info, "{code}");
        assert_eq!((made, retries.len()), (requests, requests - 1), "{code}");
        assert!(error.message.contains(&code.to_string()), "{}", error.message);
        assert!(
            error.additional_details.unwrap().contains("words of the server"),
            "{code}"
        );
        assert!(
            retries.iter().all(|it| it == "Reconnecting... 1/1"),
            "{retries:?}"
        );
    }
}

#[tokio::test]
async fn a_body_tells_more_than_its_status() {
    for (body, info) in [
        (
            r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#,
            "contextWindowExceeded",
        ),
        (
            r#"{"error":{"type":"insufficient_quota","message":"pay"}}"#,
            "usageLimitExceeded",
        ),
        (
            r#"{"error":{"code":"model_not_found","message":"no such model"}}"#,
            "modelNotFound",
        ),
    ] {
        let (error, ..) = failed(&format!("status 429 {body}")).await;
        assert_eq!(error.class(), Some(info));
        let said = error.additional_details.unwrap_or_default() + &error.message;
        assert!(
            ["too long", "pay", "no such model"]
                .iter()
                .any(|word| said.contains(word)),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_failed_answer_has_its_class() {
    for (code, info, requests) in [
        ("insufficient_quota", json!("usageLimitExceeded"), 1),
        ("rate_limit_exceeded", json!("rateLimitExceeded"), 2),
        ("server_is_overloaded", json!("serverOverloaded"), 1),
        ("invalid_prompt", json!("badRequest"), 1),
        ("server_error", json!("internalServerError"), 2),
    ] {
        let (error, made, retries) = failed(&format!("fail {code}")).await;
        assert_eq!((error.codex_error_info, made), (info, requests), "{code}");
        assert_eq!(retries.len(), requests - 1, "{code}");
    }
}

#[tokio::test]
async fn a_conversation_that_never_fits_fails_as_such() {
    let (error, made, _) = failed("fail context_length_exceeded").await;
    assert_eq!(error.class(), Some("contextWindowExceeded"));
    assert!(made > 1, "a compaction was tried");
}

#[tokio::test]
async fn a_stream_that_is_cut_is_asked_for_again() {
    let asked = AtomicUsize::new(0);
    let model = Model::with_script(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Stream(vec![Step::say("half an"), Step::Cut]),
        _ => Reply::Stream(vec![Step::say("whole answer")]),
    });
    let mut stage = Stage::at(model.port(), "go");
    assert_eq!(stage.end().await, (TurnStatus::Completed, None));
    assert_eq!(stage.messages(), ["half an", "whole answer"]);
    assert_eq!(stage.retries(), ["Reconnecting... 1/1"]);
}

#[tokio::test]
async fn a_stream_that_is_always_cut_fails_with_its_class() {
    let (error, made, _) = failed("cut").await;
    assert_eq!(error.class(), Some("responseStreamDisconnected"));
    assert!(
        error.message.starts_with("stream disconnected before completion"),
        "{}",
        error.message
    );
    assert_eq!(made, 2);
}

#[tokio::test]
async fn a_call_of_a_cut_answer_is_made_once() {
    let asked = AtomicUsize::new(0);
    let model = Model::with_script(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Stream(vec![Step::run("once"), Step::Cut]),
        _ => Reply::Stream(vec![Step::say(&request.outputs().join("+"))]),
    });
    let mut stage = Stage::at(model.port(), "go");
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    assert_eq!(stage.messages(), ["ran once"]);
}

#[tokio::test]
async fn a_silent_stream_is_given_up() {
    let model = Model::start();
    let mut quick = provider(model.port());
    quick.stream_idle_timeout = Duration::from_millis(200);
    let mut stage = Stage::with(quick, setup(), "say so far\nwait for-ever");
    let (status, error) = stage.end().await;
    assert_eq!(status, TurnStatus::Failed);
    let error = error.unwrap();
    assert_eq!(error.class(), Some("responseStreamDisconnected"));
    assert!(
        error.message.contains("sent nothing for 0.2 s"),
        "{}",
        error.message
    );
    assert_eq!(stage.messages(), ["so far", "so far"]);
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut stage = Stage::at(port, "hi");
    let (_, error) = stage.end().await;
    let error = error.unwrap();
    assert_eq!(
        error.codex_error_info,
        json!({"httpConnectionFailed": {"httpStatusCode": null}})
    );
    assert!(
        error.message.contains(&format!("127.0.0.1:{port}")),
        "{}",
        error.message
    );
    assert!(
        error.message.to_lowercase().contains("refused"),
        "{}",
        error.message
    );
    assert_eq!(stage.retries().len(), 1);
}
