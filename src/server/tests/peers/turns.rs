//! Turns with a scripted model: the order of what is told, approvals, interrupts, steering, restarts.

use codex_testkit::Model;
use serde_json::{Value, json};

use crate::client::{Client, Home};

/// A home whose model is scripted.
pub(crate) fn home(model: &Model) -> Home {
    Home::with(&[("SHELL", "/bin/sh")], &model.config_toml())
}

/// A thread. Its commands are not confined: the tests of sandboxes are elsewhere.
pub(crate) async fn thread(client: &mut Client, approval: &str) -> String {
    let params = json!({ "sandbox": "danger-full-access", "approvalPolicy": approval });
    let opened = client.call("thread/start", params).await.unwrap();
    opened["thread"]["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn turn(client: &mut Client, thread: &str, text: &str) -> String {
    let answer = client
        .call(
            "turn/start",
            json!({ "threadId": thread, "input": [{ "type": "text", "text": text }] }),
        )
        .await
        .unwrap();
    answer["turn"]["id"].as_str().unwrap().to_owned()
}

/// Everything that was told until the turn is completed, in order.
async fn until_completed(client: &mut Client) -> Vec<Value> {
    let completed = client.notification("turn/completed").await;
    let mut told: Vec<Value> = std::mem::take(&mut client.told);
    told.push(completed);
    told
}

/// Methods, and what tells them apart.
fn outline(told: &[Value]) -> Vec<String> {
    let word = |it: &Value| {
        let params = &it["params"];
        let kind = params["item"]["type"]
            .as_str()
            .or(params["status"]["type"].as_str())
            .or(params["turn"]["status"].as_str());
        let method = it["method"].as_str().unwrap_or("answer");
        match kind {
            Some(kind) => format!("{method} {kind}"),
            None => method.to_owned(),
        }
    };
    let mut words: Vec<String> = told.iter().map(word).collect();
    words.dedup();
    words
}

#[tokio::test]
async fn a_turn_is_told_in_the_documented_order() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    client.notification("thread/started").await;
    let turn = turn(&mut client, &thread, "say hello there").await;
    let told = until_completed(&mut client).await;
    assert_eq!(
        outline(&told),
        [
            "thread/status/changed active",
            "turn/started inProgress",
            "item/started userMessage",
            "item/completed userMessage",
            "item/started agentMessage",
            "item/agentMessage/delta",
            "item/completed agentMessage",
            "thread/tokenUsage/updated",
            "thread/status/changed idle",
            "turn/completed completed",
        ]
    );
    let ended = &told.last().unwrap()["params"]["turn"];
    assert_eq!(
        (&ended["id"], &ended["itemsView"]),
        (&json!(turn), &json!("summary"))
    );
    assert_eq!(ended["items"][0]["text"], "hello there");
    let read = client
        .call("thread/read", json!({ "threadId": thread, "includeTurns": true }))
        .await
        .unwrap();
    assert_eq!(read["thread"]["turns"][0]["items"][1]["text"], "hello there");
    assert_eq!(read["thread"]["preview"], "say hello there");
}

#[tokio::test]
async fn a_command_runs_and_its_output_is_told() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    turn(&mut client, &thread, "run printf 'one\\ntwo'; exit 3\noutputs").await;
    let told = until_completed(&mut client).await;
    let completed = told
        .iter()
        .find(|it| it["method"] == "item/completed" && it["params"]["item"]["type"] == "commandExecution")
        .unwrap();
    let item = &completed["params"]["item"];
    assert_eq!(
        (&item["aggregatedOutput"], &item["exitCode"], &item["status"]),
        (&json!("one\ntwo"), &json!(3), &json!("failed"))
    );
    let streamed: String = told
        .iter()
        .filter(|it| it["method"] == "item/commandExecution/outputDelta")
        .map(|it| it["params"]["delta"].as_str().unwrap())
        .collect();
    assert_eq!(streamed, "one\ntwo");
    let answer = &told.last().unwrap()["params"]["turn"]["items"][0]["text"];
    assert!(answer.as_str().unwrap().contains("exit code 3"), "{answer}");
}

#[tokio::test]
async fn an_approval_goes_to_all_and_the_first_answer_counts() {
    let model = Model::start();
    let home = home(&model);
    let (mut one, mut other) = (home.client().await, home.client().await);
    let thread = thread(&mut one, "untrusted").await;
    other
        .call("thread/resume", json!({ "threadId": thread }))
        .await
        .unwrap();
    turn(&mut one, &thread, "run touch approved").await;
    let asked = one.notification("item/commandExecution/requestApproval").await;
    let same = other.notification("item/commandExecution/requestApproval").await;
    assert_eq!((&asked["id"], &asked["params"]), (&same["id"], &same["params"]));
    let waiting = other
        .wait(|it| it["params"]["status"]["activeFlags"] == json!(["waitingOnApproval"]))
        .await;
    assert_eq!(waiting["method"], "thread/status/changed");
    other
        .send(&json!({ "id": asked["id"], "result": { "decision": "accept" } }))
        .await;
    for client in [&mut one, &mut other] {
        let resolved = client.notification("serverRequest/resolved").await;
        assert_eq!(resolved["params"]["requestId"], asked["id"]);
        client.notification("turn/completed").await;
    }
    assert!(home.folder.path().join("approved").exists());
}

#[tokio::test]
async fn what_is_declined_is_not_run_and_the_turn_goes_on() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "untrusted").await;
    for (answer, status) in [
        (json!({ "result": { "decision": "decline" } }), "declined"),
        (json!({ "error": { "code": -1, "message": "no" } }), "failed"),
        (json!({ "result": { "decision": "perhaps" } }), "failed"),
    ] {
        turn(&mut client, &thread, "patch new.txt text\nsay went on").await;
        let asked = client.notification("item/fileChange/requestApproval").await;
        let mut answer = answer;
        answer["id"] = asked["id"].clone();
        client.send(&answer).await;
        let told = until_completed(&mut client).await;
        let item = told
            .iter()
            .find(|it| it["method"] == "item/completed" && it["params"]["item"]["type"] == "fileChange");
        assert_eq!(item.unwrap()["params"]["item"]["status"], status);
        assert_eq!(
            told.last().unwrap()["params"]["turn"]["items"][0]["text"],
            "went on"
        );
    }
    assert!(!home.folder.path().join("new.txt").exists());
}

#[tokio::test]
async fn an_interrupt_works_at_once_after_the_answer_to_turn_start() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    for _ in 0..20 {
        let turn = turn(&mut client, &thread, "hold never").await;
        let interrupt = json!({ "threadId": thread, "turnId": turn });
        client.call("turn/interrupt", interrupt.clone()).await.unwrap();
        let ended = client.notification("turn/completed").await;
        assert_eq!(ended["params"]["turn"]["status"], "interrupted");
        let late = client.call("turn/interrupt", interrupt).await.unwrap_err();
        assert_eq!(late["message"], "no active turn to interrupt");
    }
}

#[tokio::test]
async fn every_item_that_was_started_is_completed_also_after_an_interrupt() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    turn(&mut client, &thread, "hold never").await;
    client.notification("item/agentMessage/delta").await;
    client
        .call("turn/interrupt", json!({ "threadId": thread, "turnId": "" }))
        .await
        .unwrap();
    let told = until_completed(&mut client).await;
    let message =
        |it: &&Value| it["method"] == "item/completed" && it["params"]["item"]["type"] == "agentMessage";
    let item = told
        .iter()
        .find(message)
        .expect("the half message is not completed");
    assert!(
        item["params"]["item"]["text"]
            .as_str()
            .unwrap()
            .starts_with("holding")
    );
}

#[tokio::test]
async fn words_during_a_turn_steer_it_and_come_once() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    let id = turn(&mut client, &thread, "hold never").await;
    client.notification("item/agentMessage/delta").await;
    let input = json!([{ "type": "text", "text": "say steered" }]);
    let steer =
        json!({ "threadId": thread, "expectedTurnId": id, "input": input, "clientUserMessageId": "m1" });
    assert_eq!(
        client.call("turn/steer", steer.clone()).await.unwrap(),
        json!({ "turnId": id })
    );
    assert_eq!(
        client.call("turn/steer", steer).await.unwrap(),
        json!({ "turnId": id })
    );
    let told = until_completed(&mut client).await;
    let said = told
        .iter()
        .filter(|it| it["method"] == "item/started" && it["params"]["item"]["clientId"] == "m1");
    assert_eq!(said.count(), 1);
    let wrong = json!({ "threadId": thread, "expectedTurnId": "x", "input": input });
    let refused = client.call("turn/steer", wrong).await.unwrap_err();
    assert_eq!(refused["message"], "no active turn to steer");
}

#[tokio::test]
async fn the_same_prompt_sent_twice_is_one_turn() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    let start = json!({
        "threadId": thread, "input": [{ "type": "text", "text": "say once" }], "clientUserMessageId": "m1",
    });
    let first = client.call("turn/start", start.clone()).await.unwrap();
    client.notification("turn/completed").await;
    let second = client.call("turn/start", start.clone()).await.unwrap();
    assert_eq!(first["turn"]["id"], second["turn"]["id"]);
    assert_eq!(second["turn"]["status"], "completed");
    let home = home.after_a_kill();
    let mut client = home.client().await;
    client
        .call("thread/resume", json!({ "threadId": thread }))
        .await
        .unwrap();
    let third = client.call("turn/start", start).await.unwrap();
    assert_eq!(first["turn"]["id"], third["turn"]["id"]);
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn who_comes_in_the_middle_of_a_turn_gets_the_item_whole_and_goes_on_without_a_gap() {
    let model = Model::start();
    let home = home(&model);
    let (mut one, mut other) = (home.client().await, home.client().await);
    let thread = thread(&mut one, "never").await;
    turn(&mut one, &thread, "hold gate").await;
    let is_last = |it: &Value| {
        it["params"]["delta"]
            .as_str()
            .is_some_and(|it| it.ends_with("gate"))
    };
    one.wait(is_last).await;
    let resumed = other
        .call("thread/resume", json!({ "threadId": thread }))
        .await
        .unwrap();
    let items = resumed["thread"]["turns"][0]["items"].as_array().unwrap();
    let mut text = items.last().unwrap()["text"].as_str().unwrap().to_owned();
    assert_eq!(text, "holding gate");
    model.gate("gate").open();
    let completed = other.notification("item/completed").await;
    for delta in other
        .told
        .iter()
        .filter(|it| it["method"] == "item/agentMessage/delta")
    {
        text.push_str(delta["params"]["delta"].as_str().unwrap());
    }
    assert_eq!(completed["params"]["item"]["text"], text.as_str());
    assert_eq!(text, "holding gate released");
}

#[tokio::test]
async fn a_failed_turn_says_why_and_the_next_one_works() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "never").await;
    turn(&mut client, &thread, "fail context_length_exceeded").await;
    let told = until_completed(&mut client).await;
    let outline = outline(&told);
    let end = [
        "thread/status/changed systemError",
        "error",
        "turn/completed failed",
    ];
    assert!(outline.ends_with(&end.map(str::to_owned)), "{outline:?}");
    turn(&mut client, &thread, "say again").await;
    let told = until_completed(&mut client).await;
    assert_eq!(told.last().unwrap()["params"]["turn"]["status"], "completed");
}

#[tokio::test]
async fn a_question_survives_the_server_and_the_turn_goes_on_when_it_is_answered() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let thread = thread(&mut client, "untrusted").await;
    let id = turn(&mut client, &thread, "run touch late\nsay finished").await;
    client.notification("item/commandExecution/requestApproval").await;
    let other = home.after_a_kill();
    let mut client = other.client().await;
    let resumed = client
        .call("thread/resume", json!({ "threadId": thread }))
        .await
        .unwrap();
    assert_eq!(resumed["thread"]["turns"][0]["status"], "inProgress");
    let asked = client.notification("item/commandExecution/requestApproval").await;
    assert_eq!(asked["params"]["turnId"], id.as_str());
    client
        .send(&json!({ "id": asked["id"], "result": { "decision": "accept" } }))
        .await;
    let ended = client.notification("turn/completed").await;
    assert_eq!(ended["params"]["turn"]["items"][0]["text"], "finished");
    assert!(home.folder.path().join("late").exists());
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_once() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    let nowhere = client
        .call("thread/start", json!({ "cwd": "no/such" }))
        .await
        .unwrap_err();
    assert!(
        nowhere["message"].as_str().unwrap().contains("no such directory"),
        "{nowhere}"
    );
    let thread = thread(&mut client, "never").await;
    for (input, why) in [
        (json!([]), "input must not be empty"),
        (json!([{ "type": "localImage", "path": "none.png" }]), "none.png"),
        (
            json!([{ "type": "text", "text": "x".repeat((1 << 20) + 1) }]),
            "maximum length",
        ),
    ] {
        let start = json!({ "threadId": thread, "input": input });
        let refused = client.call("turn/start", start).await.unwrap_err();
        assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    }
    let found = client
        .call("thread/search", json!({ "searchTerm": "nothing like it" }))
        .await
        .unwrap();
    assert_eq!(found["data"], json!([]));
}

#[tokio::test]
async fn a_host_that_cannot_confine_commands_says_so_and_refuses_them() {
    let model = Model::start();
    let home = home(&model);
    let mut client = home.client().await;
    // The program that would set the sandbox up does not exist here.
    let params = json!({ "sandbox": "workspace-write", "approvalPolicy": "never" });
    let opened = client.call("thread/start", params).await.unwrap();
    let thread = opened["thread"]["id"].as_str().unwrap().to_owned();
    let warning = client.notification("warning").await;
    assert!(
        warning["params"]["message"]
            .as_str()
            .unwrap()
            .contains("cannot be confined"),
        "{warning}"
    );
    turn(&mut client, &thread, "run touch escaped").await;
    let told = until_completed(&mut client).await;
    let item = told
        .iter()
        .find(|it| it["method"] == "item/completed" && it["params"]["item"]["type"] == "commandExecution");
    assert_eq!(item.unwrap()["params"]["item"]["status"], "failed");
    assert!(!home.folder.path().join("escaped").exists());
}

#[tokio::test]
async fn a_thread_that_nobody_listens_to_is_unloaded_and_comes_back() {
    let model = Model::start();
    let config = format!("thread_unload_delay_secs = 0\n{}", model.config_toml());
    let home = Home::with(&[("SHELL", "/bin/sh")], &config);
    let (mut one, mut other) = (home.client().await, home.client().await);
    let thread = thread(&mut one, "never").await;
    turn(&mut one, &thread, "hold gate").await;
    one.notification("item/agentMessage/delta").await;
    one.leave().await;
    // A turn goes on without anybody.
    model.gate("gate").open();
    let closed = other.notification("thread/closed").await;
    assert_eq!(closed["params"]["threadId"], thread.as_str());
    let resumed = other
        .call("thread/resume", json!({ "threadId": thread }))
        .await
        .unwrap();
    let turn = &resumed["thread"]["turns"][0];
    assert_eq!(
        (&turn["status"], &turn["items"][1]["text"]),
        (&json!("completed"), &json!("holding gate released"))
    );
}
