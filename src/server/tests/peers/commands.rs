//! `command/exec`.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::client::{Client, Home};

fn free(command: &[&str]) -> Value {
    json!({ "command": command, "sandboxPolicy": { "type": "dangerFullAccess" } })
}

fn with(mut params: Value, fields: Value) -> Value {
    params
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    params
}

/// What was streamed of one process, until its answer.
fn streamed(client: &mut Client, stream: &str) -> Vec<u8> {
    let is_it = |it: &&Value| it["method"] == "command/exec/outputDelta" && it["params"]["stream"] == stream;
    let deltas = client.told.iter().filter(is_it);
    deltas
        .flat_map(|it| {
            BASE64_STANDARD
                .decode(it["params"]["deltaBase64"].as_str().unwrap())
                .unwrap()
        })
        .collect()
}

#[tokio::test]
async fn a_command_is_answered_when_it_ends() {
    let home = Home::with(&[("KEPT", "1"), ("TAKEN", "1")], "");
    let mut client = home.client().await;
    let script = "echo $KEPT$TAKEN$NEW; pwd; echo bad >&2; exit 3";
    let fields = json!({ "env": { "TAKEN": null, "NEW": "2" } });
    let answer = client
        .call("command/exec", with(free(&["sh", "-c", script]), fields))
        .await
        .unwrap();
    let cwd = home.folder.path().canonicalize().unwrap();
    let expected = json!({ "exitCode": 3, "stdout": format!("12\n{}\n", cwd.display()), "stderr": "bad\n" });
    assert_eq!(answer, expected);
    let missing = client
        .call("command/exec", free(&["no-such-program"]))
        .await
        .unwrap_err();
    assert_eq!(missing["code"], -32603);
    let late = with(free(&["sleep", "60"]), json!({ "timeoutMs": 50 }));
    assert_eq!(client.call("command/exec", late).await.unwrap()["exitCode"], 124);
}

#[tokio::test]
async fn what_contradicts_itself_is_refused() {
    let home = Home::new();
    let mut client = home.client().await;
    for (fields, text) in [
        (json!({ "command": [] }), "command must not be empty"),
        (
            json!({ "tty": true }),
            "command/exec tty or streaming requires a client-supplied processId",
        ),
        (
            json!({ "size": { "rows": 1, "cols": 1 } }),
            "command/exec size requires tty: true",
        ),
        (
            json!({ "outputBytesCap": 1, "disableOutputCap": true }),
            "command/exec cannot set both outputBytesCap and disableOutputCap",
        ),
    ] {
        let refused = client
            .call("command/exec", with(free(&["true"]), fields))
            .await
            .unwrap_err();
        assert_eq!(refused["message"], text);
    }
    let nobody = client
        .call("command/exec/terminate", json!({ "processId": "p" }))
        .await
        .unwrap_err();
    assert_eq!(nobody["message"], "no active command/exec for process id \"p\"");
}

#[tokio::test]
async fn a_running_command_is_written_to_and_its_output_comes_as_it_is() {
    let home = Home::new();
    let mut client = home.client().await;
    let fields = json!({ "processId": "p", "streamStdin": true, "streamStdoutStderr": true });
    let running = client
        .ask("command/exec", with(free(&["cat"]), fields.clone()))
        .await;
    // Right behind each other: the write waits until there is a process.
    let data = BASE64_STANDARD.encode("typed");
    client
        .call(
            "command/exec/write",
            json!({ "processId": "p", "deltaBase64": data }),
        )
        .await
        .unwrap();
    client.notification("command/exec/outputDelta").await;
    let again = client
        .call("command/exec", with(free(&["cat"]), fields))
        .await
        .unwrap_err();
    assert_eq!(
        again["message"],
        "duplicate active command/exec process id: \"p\""
    );
    let not_a_terminal = json!({ "processId": "p", "size": { "rows": 2, "cols": 2 } });
    assert!(client.call("command/exec/resize", not_a_terminal).await.is_err());
    client
        .call(
            "command/exec/write",
            json!({ "processId": "p", "closeStdin": true }),
        )
        .await
        .unwrap();
    assert_eq!(
        client.answer(running).await.unwrap(),
        json!({ "exitCode": 0, "stdout": "", "stderr": "" })
    );
}

#[tokio::test]
async fn no_byte_of_the_output_is_lost_and_a_cap_is_told() {
    let home = Home::new();
    let mut client = home.client().await;
    let fields = json!({ "processId": "p", "streamStdoutStderr": true, "disableOutputCap": true });
    client
        .call("command/exec", with(free(&["seq", "300000"]), fields))
        .await
        .unwrap();
    let expected: String = (1..=300_000).map(|it| format!("{it}\n")).collect();
    assert!(streamed(&mut client, "stdout") == expected.as_bytes());
    client.told.clear();
    let fields = json!({ "processId": "p", "streamStdoutStderr": true, "outputBytesCap": 10 });
    client
        .call("command/exec", with(free(&["seq", "300000"]), fields))
        .await
        .unwrap();
    assert_eq!(streamed(&mut client, "stdout"), &expected.as_bytes()[..10]);
    assert_eq!(client.told.last().unwrap()["params"]["capReached"], true);
    let fields = json!({ "outputBytesCap": 20 });
    let answer = client
        .call("command/exec", with(free(&["seq", "300000"]), fields))
        .await
        .unwrap();
    assert!(
        answer["stdout"].as_str().unwrap().contains("bytes omitted"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_terminal_has_its_size_and_can_be_ended() {
    let home = Home::new();
    let mut client = home.client().await;
    let fields = json!({ "processId": "p", "tty": true, "streamStdoutStderr": true, "size": { "rows": 7, "cols": 33 } });
    let running = client
        .ask(
            "command/exec",
            with(free(&["sh", "-c", "stty size; exec sleep 60"]), fields),
        )
        .await;
    let delta = client.notification("command/exec/outputDelta").await;
    let text = BASE64_STANDARD
        .decode(delta["params"]["deltaBase64"].as_str().unwrap())
        .unwrap();
    assert_eq!(text, b"7 33\r\n");
    client
        .call(
            "command/exec/resize",
            json!({ "processId": "p", "size": { "rows": 8, "cols": 34 } }),
        )
        .await
        .unwrap();
    client
        .call("command/exec/terminate", json!({ "processId": "p" }))
        .await
        .unwrap();
    assert_ne!(client.answer(running).await.unwrap()["exitCode"], 0);
}

#[tokio::test]
async fn a_command_ends_with_its_connection() {
    let home = Home::new();
    let mut client = home.client().await;
    let fields = json!({ "processId": "p", "streamStdoutStderr": true });
    client
        .ask(
            "command/exec",
            with(free(&["sh", "-c", "echo $$; exec sleep 600"]), fields),
        )
        .await;
    let delta = client.notification("command/exec/outputDelta").await;
    let text = BASE64_STANDARD
        .decode(delta["params"]["deltaBase64"].as_str().unwrap())
        .unwrap();
    let pid = String::from_utf8(text).unwrap().trim().to_owned();
    client.leave().await;
    let is_alive =
        || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| !it.contains(") Z "));
    let ended = async {
        while is_alive() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, ended)
        .await
        .expect("the command goes on");
}
