//! Threads without turns: started, listed, named, archived, deleted.

use serde_json::json;

use crate::client::{Client, Home};

#[tokio::test]
async fn a_thread_is_started_for_all_to_see_and_can_be_left() {
    let home = Home::new();
    let (mut one, mut other) = (home.client().await, home.client().await);
    let opened = one
        .call("thread/start", json!({ "sandbox": "workspace-write" }))
        .await
        .unwrap();
    let id = opened["thread"]["id"].as_str().unwrap().to_owned();
    let told = other.notification("thread/started").await;
    assert_eq!(told["params"]["thread"]["id"], id.as_str());
    assert_eq!(opened["sandbox"]["type"], "workspaceWrite");
    let thread = json!({ "threadId": id });
    let named = json!({ "threadId": id, "name": " mine " });
    assert_eq!(other.call("thread/name/set", named).await.unwrap(), json!({}));
    assert_eq!(
        one.notification("thread/name/updated").await["params"]["threadName"],
        "mine"
    );
    let empty = one
        .call("thread/name/set", json!({ "threadId": id, "name": " " }))
        .await
        .unwrap_err();
    assert_eq!(empty["message"], "thread name must not be empty");
    let listed =
        async |client: &mut Client| client.call("thread/list", json!({})).await.unwrap()["data"].clone();
    assert_eq!(listed(&mut one).await, json!([]), "nothing was said in it yet");
    one.call(
        "thread/shellCommand",
        json!({ "threadId": id, "command": "true" }),
    )
    .await
    .unwrap();
    one.notification("turn/completed").await;
    let list = listed(&mut one).await;
    assert_eq!(
        (&list[0]["name"], &list[0]["status"]["type"]),
        (&json!("mine"), &json!("idle"))
    );
    assert_eq!(
        one.call("thread/loaded/list", json!({})).await.unwrap()["data"],
        json!([id])
    );
    for method in ["thread/turns/list", "thread/items/list"] {
        let page = one.call(method, thread.clone()).await.unwrap();
        assert_eq!(page["data"].as_array().unwrap().len(), 1, "{page}");
    }
    let status = |it: serde_json::Value| it["status"].clone();
    assert_eq!(
        status(other.call("thread/unsubscribe", thread.clone()).await.unwrap()),
        "notSubscribed"
    );
    let resumed = other.call("thread/resume", thread.clone()).await.unwrap();
    assert_eq!(resumed["thread"]["name"], "mine");
    assert_eq!(
        status(other.call("thread/unsubscribe", thread.clone()).await.unwrap()),
        "unsubscribed"
    );
}

#[tokio::test]
async fn an_archived_thread_is_not_resumed_and_a_deleted_one_is_gone() {
    let home = Home::new();
    let mut client = home.client().await;
    let opened = client.call("thread/start", json!({})).await.unwrap();
    let thread = json!({ "threadId": opened["thread"]["id"] });
    client.call("thread/archive", thread.clone()).await.unwrap();
    client.notification("thread/archived").await;
    assert!(client.call("thread/resume", thread.clone()).await.is_err());
    assert_eq!(
        client.call("thread/list", json!({})).await.unwrap()["data"],
        json!([])
    );
    client.call("thread/unarchive", thread.clone()).await.unwrap();
    client.notification("thread/unarchived").await;
    client.call("thread/resume", thread.clone()).await.unwrap();
    client.call("thread/delete", thread.clone()).await.unwrap();
    client.notification("thread/deleted").await;
    let gone = client.call("thread/read", thread).await.unwrap_err();
    assert_eq!(gone["code"], -32600);
}

#[tokio::test]
async fn a_thread_outlives_its_server() {
    let mut home = Home::new();
    let mut client = home.client().await;
    let opened = client.call("thread/start", json!({})).await.unwrap();
    let id = opened["thread"]["id"].clone();
    let named = json!({ "threadId": id, "name": "kept" });
    client.call("thread/name/set", named).await.unwrap();
    home.server.life().stopping().cancel();
    home.server = codex_server::Server::new(home.server.setup().clone());
    let mut client = home.client().await;
    let read = client
        .call("thread/read", json!({ "threadId": id }))
        .await
        .unwrap();
    assert_eq!(read["thread"]["name"], "kept");
    assert_eq!(read["thread"]["status"]["type"], "notLoaded");
}
