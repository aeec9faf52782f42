//! What changes a thread's history: forks, reverts, compactions, reviews, the user's own commands, goals.

use std::{fs, path::Path};

use codex_testkit::Model;
use serde_json::{Value, json};

use crate::{
    client::Client,
    turns::{home, thread, turn},
};

async fn say(client: &mut Client, thread: &str, text: &str) -> String {
    let id = turn(client, thread, text).await;
    client.notification("turn/completed").await;
    id
}

async fn texts(client: &mut Client, thread: &str) -> Vec<Value> {
    let read = client
        .call("thread/read", json!({ "threadId": thread, "includeTurns": true }))
        .await
        .unwrap();
    let turns = read["thread"]["turns"].as_array().unwrap().clone();
    turns
        .iter()
        .map(|it| it["items"].as_array().unwrap().last().unwrap()["text"].clone())
        .collect()
}

#[tokio::test]
async fn a_fork_goes_on_by_itself_and_a_revert_takes_turns_away() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let source = thread(&mut client, "never").await;
    say(&mut client, &source, "say one").await;
    let second = say(&mut client, &source, "say two").await;
    say(&mut client, &source, "say three").await;
    let forked = client
        .call("thread/fork", json!({ "threadId": source, "lastTurnId": second }))
        .await
        .unwrap();
    let fork = forked["thread"]["id"].as_str().unwrap().to_owned();
    assert_eq!(forked["thread"]["forkedFromId"], source.as_str());
    assert_eq!(forked["thread"]["turns"].as_array().unwrap().len(), 2);
    assert_eq!(forked["sandbox"]["type"], "dangerFullAccess");
    say(&mut client, &fork, "say four").await;
    assert_eq!(texts(&mut client, &fork).await, ["one", "two", "four"]);
    client
        .call(
            "thread/revert",
            json!({ "threadId": source, "beforeTurnId": second }),
        )
        .await
        .unwrap();
    client.notification("thread/reverted").await;
    assert_eq!(texts(&mut client, &source).await, ["one"]);
    say(&mut client, &source, "say five").await;
    let asked = model.requests().last().unwrap().body["input"].to_string();
    assert!(
        asked.contains("say one") && !asked.contains("say three"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_compaction_is_a_turn_and_the_model_goes_on_from_the_summary() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    say(&mut client, &thread, "say a long story").await;
    client
        .call("thread/compact/start", json!({ "threadId": thread }))
        .await
        .unwrap();
    let item = client
        .wait(|it| it["method"] == "item/completed" && it["params"]["item"]["type"] == "contextCompaction")
        .await;
    assert_eq!(item["params"]["threadId"], thread.as_str());
    client.notification("turn/completed").await;
    say(&mut client, &thread, "say next").await;
    let asked = model.requests().last().unwrap().body["input"].to_string();
    assert!(asked.contains("conversation_summary"), "{asked}");
    let resumed = home.after_a_kill();
    let mut client = resumed.client().await;
    client
        .call("thread/resume", json!({ "threadId": thread }))
        .await
        .unwrap();
    say(&mut client, &thread, "say after").await;
    let asked = model.requests().last().unwrap().body["input"].to_string();
    assert!(
        asked.contains("conversation_summary") && asked.contains("say next"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_review_has_one_turn_id_and_ends_with_its_result() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    let target = json!({ "type": "custom", "instructions": "say looks right" });
    let answer = client
        .call("review/start", json!({ "threadId": thread, "target": target }))
        .await
        .unwrap();
    assert_eq!(answer["reviewThreadId"], thread.as_str());
    let started = client.notification("turn/started").await;
    assert_eq!(started["params"]["turn"]["id"], answer["turn"]["id"]);
    let exited = client
        .wait(|it| it["method"] == "item/completed" && it["params"]["item"]["type"] == "exitedReviewMode")
        .await;
    assert_eq!(exited["params"]["item"]["review"], "looks right");
    let ended = client.notification("turn/completed").await;
    assert_eq!(ended["params"]["turn"]["id"], answer["turn"]["id"]);
}

#[tokio::test]
async fn the_users_own_command_is_a_turn_that_the_model_hears_of() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    let command = json!({ "threadId": thread, "command": "printf mine; exit 4" });
    client.call("thread/shellCommand", command).await.unwrap();
    let done = client
        .wait(|it| it["method"] == "item/completed" && it["params"]["item"]["type"] == "commandExecution")
        .await;
    let item = &done["params"]["item"];
    assert_eq!(
        (&item["source"], &item["exitCode"], &item["aggregatedOutput"]),
        (&json!("userShell"), &json!(4), &json!("mine"))
    );
    client.notification("turn/completed").await;
    say(&mut client, &thread, "say heard").await;
    let asked = model.requests().last().unwrap().body["input"].to_string();
    assert!(
        asked.contains("printf mine") && asked.contains("Exit code: 4"),
        "{asked}"
    );
    let command = json!({ "threadId": thread, "command": "sleep 1000" });
    client.call("thread/shellCommand", command).await.unwrap();
    client.notification("item/started").await;
    client
        .call("turn/interrupt", json!({ "threadId": thread, "turnId": "" }))
        .await
        .unwrap();
    let ended = client.notification("turn/completed").await;
    assert_eq!(ended["params"]["turn"]["status"], "interrupted");
}

#[tokio::test]
async fn injected_items_are_told_to_the_model_also_when_a_turn_runs_meanwhile() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    turn(&mut client, &thread, "hold gate").await;
    client.notification("item/agentMessage/delta").await;
    let item = json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "injected" }] });
    client
        .call(
            "thread/inject_items",
            json!({ "threadId": thread, "items": [item] }),
        )
        .await
        .unwrap();
    model.gate("gate").open();
    client.notification("turn/completed").await;
    say(&mut client, &thread, "say next").await;
    let asked = model.requests().last().unwrap().body["input"].to_string();
    assert!(
        asked.contains("injected") && asked.contains("released"),
        "{asked}"
    );
    let wrong = json!({ "threadId": thread, "items": [7] });
    assert!(client.call("thread/inject_items", wrong).await.is_err());
}

#[tokio::test]
async fn a_goal_is_pursued_until_the_model_says_that_it_is_reached() {
    let model = Model::with_script(|request| {
        let rounds = request.body["input"].to_string().matches("<goal>").count();
        let text = if rounds < 3 {
            "working"
        } else {
            "done. GOAL COMPLETE"
        };
        codex_testkit::Reply::Stream(vec![codex_testkit::Step::say(text)])
    });
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    let named = json!({ "threadId": thread });
    assert_eq!(
        client.call("thread/goal/get", named.clone()).await.unwrap(),
        json!({ "goal": null })
    );
    let set = json!({ "threadId": thread, "objective": "make it so" });
    let goal = client.call("thread/goal/set", set).await.unwrap()["goal"].clone();
    assert_eq!(
        (&goal["status"], &goal["objective"]),
        (&json!("active"), &json!("make it so"))
    );
    let complete = client
        .wait(|it| it["method"] == "thread/goal/updated" && it["params"]["goal"]["status"] == "complete")
        .await;
    assert!(complete["params"]["goal"]["tokensUsed"].as_i64().unwrap() > 0);
    assert_eq!(model.requests().len(), 3);
    let cleared = client.call("thread/goal/clear", named.clone()).await.unwrap();
    assert_eq!(cleared, json!({ "cleared": true }));
    client.notification("thread/goal/cleared").await;
    assert_eq!(
        client.call("thread/goal/clear", named).await.unwrap(),
        json!({ "cleared": false })
    );
}

/// A repository whose head is on this branch, without commits.
fn repository(folder: &Path, branch: &str) {
    fs::create_dir_all(folder.join(".git")).unwrap();
    fs::write(folder.join(".git/HEAD"), format!("ref: refs/heads/{branch}\n")).unwrap();
}

#[tokio::test]
async fn a_fork_has_the_settings_of_its_source_and_what_the_request_wants_otherwise() {
    let (model, folder) = (Model::start(), tempfile::tempdir().unwrap());
    let home = home(&model);
    let mut client = home.client().await;
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    repository(&here, "near");
    repository(&there, "far");
    let start = json!({ "cwd": here, "model": "one", "approvalPolicy": "never", "sandbox": "danger-full-access",
        "config": { "model_reasoning_effort": "high" } });
    let started = client.call("thread/start", start).await.unwrap();
    let source = started["thread"]["id"].as_str().unwrap().to_owned();
    assert_eq!(started["thread"]["gitInfo"]["branch"], "near");
    say(&mut client, &source, "say one").await;
    let forked = |wanted: Value| {
        let mut params = wanted;
        params["threadId"] = json!(source);
        params
    };
    let same = client.call("thread/fork", forked(json!({}))).await.unwrap();
    for field in ["cwd", "model", "approvalPolicy", "sandbox", "reasoningEffort"] {
        assert_eq!(same[field], started[field], "{field}");
    }
    assert_eq!(same["thread"]["gitInfo"]["branch"], "near");
    let elsewhere = forked(json!({ "cwd": there, "model": "two" }));
    let elsewhere = client.call("thread/fork", elsewhere).await.unwrap();
    assert_eq!(elsewhere["thread"]["gitInfo"]["branch"], "far");
    assert_eq!(
        (&elsewhere["model"], &elsewhere["sandbox"]["type"]),
        (&json!("two"), &json!("dangerFullAccess"))
    );
    let config = forked(json!({ "config": { "model": "three", "sandbox_mode": "read-only" } }));
    let configured = client.call("thread/fork", config).await.unwrap();
    assert_eq!(
        (&configured["model"], &configured["sandbox"]["type"]),
        (&json!("three"), &json!("readOnly"))
    );
    assert_eq!(configured["reasoningEffort"], "high");
    let nowhere = forked(json!({ "config": { "model_provider": "nope" } }));
    assert!(client.call("thread/fork", nowhere).await.is_err());
}

#[tokio::test]
async fn what_git_knows_is_kept_and_can_be_corrected() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    let update = json!({ "threadId": thread, "gitInfo": { "branch": "trunk", "sha": null } });
    let updated = client.call("thread/metadata/update", update).await.unwrap();
    assert_eq!(updated["thread"]["gitInfo"]["branch"], "trunk");
    let empty = json!({ "threadId": thread, "gitInfo": { "branch": " " } });
    assert!(client.call("thread/metadata/update", empty).await.is_err());
    let settings = json!({ "threadId": thread, "model": "other", "approvalPolicy": "untrusted" });
    client.call("thread/settings/update", settings).await.unwrap();
    let told = client.notification("thread/settings/updated").await;
    assert_eq!(told["params"]["threadSettings"]["model"], "other");
}
