//! The gate, and who is told what.

use serde_json::json;

use crate::client::Home;

#[tokio::test]
async fn nothing_is_done_before_initialize_and_it_is_done_once() {
    let home = Home::new();
    let mut client = home.stranger();
    let refused = client.call("account/read", json!({})).await.unwrap_err();
    assert_eq!(refused, json!({ "code": -32600, "message": "Not initialized" }));
    for (info, text) in [
        (json!({ "version": "1" }), "missing field `name`"),
        (
            json!({ "name": "a\nb", "version": "1" }),
            "Invalid clientInfo.name",
        ),
        (json!({ "name": "", "version": "1" }), "Invalid clientInfo.name"),
    ] {
        let refused = client
            .call("initialize", json!({ "clientInfo": info }))
            .await
            .unwrap_err();
        assert_eq!(refused["code"], -32600);
        assert!(refused["message"].as_str().unwrap().contains(text), "{refused}");
    }
    // As the official TUI says it.
    let capabilities = json!({ "requiredHumanApproval": true, "experimentalApi": true, "requestAttestation": false, "optOutNotificationMethods": null });
    let params = json!({ "clientInfo": { "name": "codex-tui", "title": null, "version": "0.169.0" }, "capabilities": capabilities });
    let answer = client.call("initialize", params.clone()).await.unwrap();
    assert!(
        answer["userAgent"]
            .as_str()
            .unwrap()
            .starts_with("codex-tui/0.169.0 (")
            && answer["userAgent"]
                .as_str()
                .unwrap()
                .contains("codex-server/9.9.9 "),
        "{answer}"
    );
    assert_eq!(answer["codexHome"], home.folder.path().display().to_string());
    let refused = client.call("initialize", params).await.unwrap_err();
    assert_eq!(refused["message"], "Already initialized");
}

#[tokio::test]
async fn methods_that_may_change_are_for_those_who_asked_for_them() {
    let home = Home::new();
    let mut client = home.stranger();
    client
        .call(
            "initialize",
            json!({ "clientInfo": { "name": "a", "version": "1" } }),
        )
        .await
        .unwrap();
    let refused = client
        .call("collaborationMode/list", json!({}))
        .await
        .unwrap_err();
    assert_eq!(
        refused["message"],
        "collaborationMode/list requires experimentalApi capability"
    );
    let unknown = client.call("no/such", json!({})).await.unwrap_err();
    assert_eq!(
        unknown,
        json!({ "code": -32601, "message": "method not found: no/such" })
    );
}

#[tokio::test]
async fn what_a_client_has_opted_out_of_is_not_sent_and_each_has_its_own_name() {
    let home = Home::with(&[], "model = 3\n");
    let mut quiet = home.stranger();
    let capabilities = json!({ "optOutNotificationMethods": ["configWarning", "unknown"] });
    let params = json!({ "clientInfo": { "name": "a", "version": "1" }, "capabilities": capabilities });
    quiet.call("initialize", params).await.unwrap();
    quiet.call("account/read", json!({})).await.unwrap();
    assert_eq!(quiet.told, [json!(null); 0]);
    let mut other = home.stranger();
    let answer = other
        .call(
            "initialize",
            json!({ "clientInfo": { "name": "b", "version": "1" } }),
        )
        .await
        .unwrap();
    assert!(
        answer["userAgent"].as_str().unwrap().starts_with("b/"),
        "{answer}"
    );
    let warning = other.notification("configWarning").await;
    assert_eq!(
        warning["params"]["range"]["start"],
        json!({ "line": 1, "column": 9 })
    );
}
