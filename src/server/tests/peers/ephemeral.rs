//! Threads that live in memory: turns as everywhere, and nothing that stays.

use codex_testkit::Model;
use serde_json::{Value, json};

use crate::{
    client::Client,
    turns::{home, thread, turn},
};

async fn refusal(client: &mut Client, method: &str, params: Value) -> String {
    let error = client.call(method, params).await.unwrap_err();
    error["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_ephemeral_thread_has_turns_and_is_in_no_list_nor_on_disk() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let start = json!({ "ephemeral": true, "sandbox": "danger-full-access" });
    let opened = client.call("thread/start", start).await.unwrap();
    assert_eq!(
        (&opened["thread"]["ephemeral"], &opened["thread"]["path"]),
        (&json!(true), &Value::Null)
    );
    let started = client.notification("thread/started").await;
    assert_eq!(started["params"]["thread"]["ephemeral"], true);
    let id = opened["thread"]["id"].as_str().unwrap().to_owned();
    for text in ["say a secret title", "say another"] {
        turn(&mut client, &id, text).await;
        let completed = client.notification("turn/completed").await;
        assert_eq!(completed["params"]["turn"]["status"], "completed");
    }
    let asked = model.requests().last().unwrap().body["input"].to_string();
    assert!(
        asked.contains("a secret title"),
        "the model knows what was said before: {asked}"
    );
    let whole = json!({ "threadId": id, "includeTurns": true });
    let read = client.call("thread/read", whole).await.unwrap();
    assert_eq!(read["thread"]["turns"].as_array().unwrap().len(), 2);
    let listed = client.call("thread/list", json!({})).await.unwrap();
    assert_eq!(listed["data"], json!([]));
    let found = std::process::Command::new("grep")
        .args(["-rl", "secret title", &home.path("")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[tokio::test]
async fn what_makes_no_sense_for_an_ephemeral_thread_is_refused_and_it_goes_on() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let start = json!({ "ephemeral": true, "sandbox": "danger-full-access" });
    let opened = client.call("thread/start", start).await.unwrap();
    let id = opened["thread"]["id"].as_str().unwrap().to_owned();
    let named = json!({ "threadId": id });
    for method in ["thread/resume", "thread/fork", "thread/archive"] {
        let text = refusal(&mut client, method, named.clone()).await;
        assert_eq!(text, format!("no rollout found for thread id {id}"), "{method}");
    }
    let text = refusal(&mut client, "thread/delete", named.clone()).await;
    assert_eq!(
        text,
        format!("thread is not persisted and cannot be deleted: {id}")
    );
    for method in ["thread/goal/set", "thread/goal/get", "thread/goal/clear"] {
        let goal = json!({ "threadId": id, "objective": "be done" });
        let text = refusal(&mut client, method, goal).await;
        assert_eq!(
            text,
            format!("ephemeral thread does not support goals: {id}"),
            "{method}"
        );
    }
    let name = json!({ "threadId": id, "name": "nobody's" });
    let text = refusal(&mut client, "thread/name/set", name).await;
    assert_eq!(
        text,
        format!("ephemeral thread does not support metadata updates: {id}")
    );
    turn(&mut client, &id, "say it goes on").await;
    client.notification("turn/completed").await;
}

#[tokio::test]
async fn an_ephemeral_fork_knows_what_was_said_and_its_source_does_not_hear_of_it() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let source = thread(&mut client, "never").await;
    turn(&mut client, &source, "say one").await;
    client.notification("turn/completed").await;
    let params = json!({ "threadId": source, "ephemeral": true, "excludeTurns": true });
    let forked = client.call("thread/fork", params).await.unwrap();
    assert_eq!(forked["thread"]["ephemeral"], true);
    assert_eq!(forked["thread"]["forkedFromId"], source.as_str());
    let fork = forked["thread"]["id"].as_str().unwrap().to_owned();
    turn(&mut client, &fork, "say aside").await;
    client.notification("turn/completed").await;
    let asked = model.requests().last().unwrap().body["input"].to_string();
    assert!(
        asked.contains("say one") && asked.contains("say aside"),
        "{asked}"
    );
    let turns = json!({ "threadId": source, "limit": 9 });
    let turns = client.call("thread/turns/list", turns).await.unwrap();
    assert_eq!(turns["data"].as_array().unwrap().len(), 1);
    let listed = client.call("thread/list", json!({})).await.unwrap();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}
