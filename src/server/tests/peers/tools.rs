//! Tools that clients bring along: who is asked, whose answer counts, and that no turn waits for somebody who is gone.

use codex_testkit::Model;
use serde_json::{Value, json};

use crate::{
    client::Client,
    turns::{home, turn},
};

const CALL: &str = "item/tool/call";

fn tools() -> Value {
    let tool = |name: &str| {
        json!({ "type": "function", "name": name, "description": "d",
            "inputSchema": { "type": "object" }, "deferLoading": name == "later" })
    };
    let app = json!({ "type": "namespace", "name": "app", "description": "d", "tools": [tool("open"), tool("later")] });
    json!([tool("look"), app])
}

async fn thread(client: &mut Client) -> String {
    let params = json!({ "sandbox": "danger-full-access", "dynamicTools": tools() });
    let opened = client.call("thread/start", params).await.unwrap();
    opened["thread"]["id"].as_str().unwrap().to_owned()
}

async fn join(client: &mut Client, thread: &str) {
    client
        .call("thread/resume", json!({ "threadId": thread }))
        .await
        .unwrap();
}

async fn refuse(client: &mut Client, asked: &Value, code: i64) {
    let error = json!({ "code": code, "message": "not mine" });
    client.send(&json!({ "id": asked["id"], "error": error })).await;
}

async fn answer(client: &mut Client, asked: &Value, text: &str) {
    let parts = json!([{ "type": "inputText", "text": text }]);
    let result = json!({ "contentItems": parts, "success": true });
    client.send(&json!({ "id": asked["id"], "result": result })).await;
}

/// The item of the call as it ended, and what the model made of the answer.
async fn ended(client: &mut Client) -> (Value, String) {
    let is_call =
        |it: &Value| it["method"] == "item/completed" && it["params"]["item"]["type"] == "dynamicToolCall";
    let item = client.wait(is_call).await["params"]["item"].clone();
    let completed = client.notification("turn/completed").await;
    let text = completed["params"]["turn"]["items"][0]["text"].as_str();
    (item, text.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_model_is_offered_the_tools_and_is_told_what_the_client_answers() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client).await;
    turn(&mut client, &thread, "call app.later {\"n\":1}\noutputs").await;
    let asked = client.notification(CALL).await;
    assert_eq!(
        (
            &asked["params"]["namespace"],
            &asked["params"]["tool"],
            &asked["params"]["arguments"]
        ),
        (&json!("app"), &json!("later"), &json!({ "n": 1 }))
    );
    answer(&mut client, &asked, "late").await;
    let (item, said) = ended(&mut client).await;
    assert_eq!(
        (&item["status"], &item["success"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(item["id"], asked["params"]["callId"]);
    assert!(item["durationMs"].is_i64() && said == "late", "{item} {said}");
    let offered = model.requests()[0].body["tools"].clone();
    let offered = offered.as_array().unwrap();
    let named = |name: &str| offered.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(named("look")["parameters"], json!({ "type": "object" }));
    assert_eq!(
        (&named("app")["type"], &named("app")["tools"][1]["name"]),
        (&json!("namespace"), &json!("later"))
    );
}

#[tokio::test]
async fn a_client_that_knows_no_tools_does_not_answer_for_one_that_does() {
    let model = Model::start();
    let home = home(&model);
    let (mut one, mut two) = (home.client().await, home.client().await);
    let thread = thread(&mut one).await;
    join(&mut two, &thread).await;
    turn(&mut one, &thread, "call look {}\noutputs").await;
    let asked = two.notification(CALL).await;
    refuse(&mut two, &asked, -32601).await;
    // What comes after shows that the refusal was heard.
    two.call("thread/read", json!({ "threadId": thread }))
        .await
        .unwrap();
    let asked = one.notification(CALL).await;
    answer(&mut one, &asked, "seen").await;
    assert_eq!(ended(&mut one).await.1, "seen");
    let resolved = two.notification("serverRequest/resolved").await;
    assert_eq!(resolved["params"]["requestId"], asked["id"]);

    turn(&mut one, &thread, "call look {}\noutputs").await;
    for client in [&mut one, &mut two] {
        let asked = client.notification(CALL).await;
        refuse(client, &asked, -32601).await;
    }
    let (item, said) = ended(&mut one).await;
    assert_eq!(item["status"], "failed");
    assert!(said.contains("no client"), "{said}");

    turn(&mut one, &thread, "call look {}\noutputs").await;
    let asked = two.notification(CALL).await;
    refuse(&mut two, &asked, -32000).await;
    assert!(ended(&mut one).await.1.contains("not mine"));
}

#[tokio::test]
async fn a_call_ends_as_failed_when_all_who_could_answer_are_gone() {
    let model = Model::start();
    let home = home(&model);
    let (mut one, mut two) = (home.client().await, home.client().await);
    let thread = thread(&mut one).await;
    turn(&mut one, &thread, "call look {}\noutputs").await;
    one.notification(CALL).await;
    join(&mut two, &thread).await;
    two.notification(CALL).await;
    one.leave().await;
    let mut three = home.client().await;
    two.call("thread/unsubscribe", json!({ "threadId": thread }))
        .await
        .unwrap();
    join(&mut three, &thread).await;
    let read = json!({ "threadId": thread, "includeTurns": true });
    loop {
        let turn = three.call("thread/read", read.clone()).await.unwrap()["thread"]["turns"][0].clone();
        if turn["status"] == "completed" {
            assert_eq!(turn["items"][1]["status"], "failed", "{turn}");
            assert!(
                turn["items"][2]["text"].as_str().unwrap().contains("no client"),
                "{turn}"
            );
            return;
        }
        three.notification("turn/completed").await;
    }
}

#[tokio::test]
async fn a_call_whose_only_client_vanishes_does_not_hang_the_turn() {
    let model = Model::start();
    let home = home(&model);
    let mut one = home.client().await;
    let thread = thread(&mut one).await;
    turn(&mut one, &thread, "call look {}\nwait later\noutputs").await;
    one.notification(CALL).await;
    one.leave().await;
    let mut two = home.client().await;
    join(&mut two, &thread).await;
    model.gate("later").open();
    let completed = two.notification("turn/completed").await;
    let text = completed["params"]["turn"]["items"][0]["text"].as_str().unwrap();
    assert!(text.contains("no client"), "{text}");
}

#[tokio::test]
async fn an_interrupt_ends_a_call_that_waits_and_takes_the_request_back() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client).await;
    let id = turn(&mut client, &thread, "call look {}\nsay never").await;
    let asked = client.notification(CALL).await;
    client
        .call("turn/interrupt", json!({ "threadId": thread, "turnId": id }))
        .await
        .unwrap();
    let resolved = client.notification("serverRequest/resolved").await;
    assert_eq!(resolved["params"]["requestId"], asked["id"]);
    let (item, _) = ended(&mut client).await;
    assert_eq!(
        (&item["status"], &item["contentItems"]),
        (&json!("failed"), &json!([]))
    );
    answer(&mut client, &asked, "late").await;
    turn(&mut client, &thread, "say it goes on").await;
    client.notification("turn/completed").await;
    let input = model.requests().last().unwrap().body["input"].clone();
    let output = input
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["type"] == "function_call_output");
    assert!(output.unwrap()["output"].as_str().unwrap().contains("not known"));
}

#[tokio::test]
async fn the_tools_of_a_thread_are_there_after_a_restart_and_in_a_fork() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client).await;
    turn(&mut client, &thread, "say hello").await;
    client.notification("turn/completed").await;
    client.leave().await;
    let mut client = home.client().await;
    join(&mut client, &thread).await;
    let forked = client
        .call("thread/fork", json!({ "threadId": thread }))
        .await
        .unwrap();
    let other = json!({ "threadId": thread, "dynamicTools": [] });
    let without = client.call("thread/fork", other).await.unwrap();
    let id = |it: &Value| it["thread"]["id"].as_str().unwrap().to_owned();
    for thread in [thread, id(&forked)] {
        turn(&mut client, &thread, "call look {}\noutputs").await;
        let asked = client.notification(CALL).await;
        assert_eq!(asked["params"]["threadId"], json!(thread));
        answer(&mut client, &asked, "seen").await;
        assert_eq!(ended(&mut client).await.1, "seen");
    }
    turn(&mut client, &id(&without), "call look {}\noutputs").await;
    let completed = client.notification("turn/completed").await;
    let text = completed["params"]["turn"]["items"][0]["text"].as_str().unwrap();
    assert!(text.contains("There is no tool"), "{text}");
}

#[tokio::test]
async fn tools_are_taken_only_from_those_who_asked_for_what_may_change() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.stranger();
    let info = json!({ "clientInfo": { "name": "test", "version": "1" } });
    client.call("initialize", info).await.unwrap();
    client.send(&json!({ "method": "initialized" })).await;
    let refused = client
        .call("thread/start", json!({ "dynamicTools": tools() }))
        .await;
    let why = refused.unwrap_err()["message"].as_str().unwrap().to_owned();
    assert!(why.contains("experimentalApi"), "{why}");
    client
        .call("thread/start", json!({ "dynamicTools": null }))
        .await
        .unwrap();
    let mut client = home.client().await;
    let wrong = json!({ "dynamicTools": [{ "type": "function", "name": "a b", "description": "", "inputSchema": {} }] });
    let why = client.call("thread/start", wrong).await.unwrap_err();
    assert!(why["message"].as_str().unwrap().contains("a b"), "{why}");
}
