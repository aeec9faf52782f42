//! MCP servers in turns: their tools, progress, questions; and servers that hang or die.

use codex_testkit::{Model, Reply, Step};
use serde_json::{Value, json};

use crate::{
    client::Home,
    turns::{thread, turn},
};

/// An MCP server in a few lines of shell: it answers by what it is asked. `$1` is how it behaves.
const SERVER: &str = r#"
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case "$line" in
    *'"method":"initialize"'*)
      [ "$1" = hang ] && continue
      printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"lines","version":"1"}}}\n' "$id" ;;
    *'"method":"tools/list"'*)
      printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"look","description":"Looks.","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},{"name":"change","description":"Changes.","inputSchema":{"type":"object"},"annotations":{"destructiveHint":true}},{"name":"die","description":"Dies.","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}]}}\n' "$id" ;;
    *'"name":"die"'*) exit 1 ;;
    *'"method":"tools/call"'*)
      printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"it was called"}]}}\n' "$id" ;;
    *'"id"'*)
      printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id" ;;
  esac
done
"#;

/// Asks for the tool that the user names, and then says what came out.
fn model() -> Model {
    Model::with_script(|request| {
        let outputs = request.outputs();
        let step = match outputs.last() {
            Some(output) => Step::say(output),
            None => Step::Call {
                name: request.user_text(),
                arguments: json!({ "n": 1 }),
            },
        };
        Reply::Stream(vec![step])
    })
}

fn home(model: &Model, behaviours: &[&str]) -> Home {
    let mut config = model.config_toml();
    for behaviour in behaviours {
        let args = json!(["-c", SERVER, "server", behaviour]);
        config += &format!(
            "\n[mcp_servers.{behaviour}]\ncommand = \"sh\"\nargs = {args}\nstartup_timeout_sec = 5\n"
        );
    }
    Home::with(&[("SHELL", "/bin/sh")], &config)
}

fn call(told: &Value) -> bool {
    told["method"] == "item/completed" && told["params"]["item"]["type"] == "mcpToolCall"
}

#[tokio::test]
async fn a_tool_of_a_server_is_called_as_an_item_and_its_answer_reaches_the_model() {
    let model = model();
    let home = home(&model, &["lines"]);
    let mut client = home.client().await;
    let thread = thread(&mut client, "on-request").await;
    turn(&mut client, &thread, "mcp__lines__look").await;
    let ready =
        |it: &Value| it["method"] == "mcpServer/startupStatus/updated" && it["params"]["status"] == "ready";
    client.wait(ready).await;
    let item = client.wait(call).await["params"]["item"].clone();
    assert_eq!(
        (
            &item["server"],
            &item["tool"],
            &item["status"],
            &item["arguments"]
        ),
        (
            &json!("lines"),
            &json!("look"),
            &json!("completed"),
            &json!({ "n": 1 })
        )
    );
    assert_eq!(item["result"]["content"][0]["text"], "it was called");
    let ended = client.notification("turn/completed").await;
    assert_eq!(ended["params"]["turn"]["items"][0]["text"], "it was called");
    let list = client.call("mcpServerStatus/list", json!({})).await.unwrap();
    assert_eq!(list["data"][0]["name"], "lines");
    assert!(list["data"][0]["tools"]["look"].is_object(), "{list}");
    let direct = json!({ "server": "lines", "tool": "look", "threadId": thread });
    let answer = client.call("mcpServer/tool/call", direct).await.unwrap();
    assert_eq!(answer["content"][0]["text"], "it was called");
}

#[tokio::test]
async fn a_tool_that_could_do_harm_is_asked_about_until_it_is_allowed_for_the_session() {
    let model = model();
    let home = home(&model, &["lines"]);
    let mut client = home.client().await;
    let thread = thread(&mut client, "on-request").await;
    for (answer, status) in [
        (json!({ "action": "decline" }), "failed"),
        (
            json!({ "action": "accept", "content": {}, "_meta": { "persist": "session" } }),
            "completed",
        ),
    ] {
        turn(&mut client, &thread, "mcp__lines__change").await;
        let asked = client.notification("mcpServer/elicitation/request").await;
        assert_eq!(asked["params"]["_meta"]["codex_approval_kind"], "mcp_tool_call");
        client.send(&json!({ "id": asked["id"], "result": answer })).await;
        assert_eq!(client.wait(call).await["params"]["item"]["status"], status);
        client.notification("turn/completed").await;
    }
    turn(&mut client, &thread, "mcp__lines__change").await;
    assert_eq!(client.wait(call).await["params"]["item"]["status"], "completed");
    client.notification("turn/completed").await;
}

#[tokio::test]
async fn a_question_about_a_tool_is_taken_back_when_the_turn_is_interrupted() {
    let model = model();
    let home = home(&model, &["lines"]);
    let mut client = home.client().await;
    let thread = thread(&mut client, "on-request").await;
    turn(&mut client, &thread, "mcp__lines__change").await;
    let asked = client.notification("mcpServer/elicitation/request").await;
    client
        .call("turn/interrupt", json!({ "threadId": thread, "turnId": "" }))
        .await
        .unwrap();
    let resolved = client.notification("serverRequest/resolved").await;
    assert_eq!(resolved["params"]["requestId"], asked["id"]);
}

#[tokio::test]
async fn a_server_that_hangs_or_dies_holds_up_no_turn() {
    let model = model();
    let home = home(&model, &["hang", "lines"]);
    let mut client = home.client().await;
    let thread = thread(&mut client, "on-request").await;
    turn(&mut client, &thread, "mcp__lines__die").await;
    let item = client.wait(call).await["params"]["item"].clone();
    assert_eq!(item["status"], "failed");
    assert!(
        item["error"]["message"].as_str().unwrap().contains("lines"),
        "{item}"
    );
    client.notification("turn/completed").await;
    turn(&mut client, &thread, "mcp__lines__look").await;
    let ended = client.notification("turn/completed").await;
    assert_eq!(ended["params"]["turn"]["status"], "completed");
}

#[tokio::test]
async fn servers_follow_the_configuration_when_they_are_told_to() {
    let model = model();
    let home = home(&model, &[]);
    let mut client = home.client().await;
    let none = client.call("mcpServerStatus/list", json!({})).await.unwrap();
    assert_eq!(none["data"], json!([]));
    let value = json!({ "command": "sh", "args": ["-c", SERVER, "server", "x"] });
    let write = json!({ "keyPath": "mcp_servers.added", "value": value, "mergeStrategy": "replace" });
    client.call("config/value/write", write).await.unwrap();
    client.call("config/mcpServer/reload", json!({})).await.unwrap();
    let list = client.call("mcpServerStatus/list", json!({})).await.unwrap();
    assert_eq!(list["data"][0]["name"], "added");
    assert_eq!(list["data"][0]["runtimeStatus"], "connected");
}
