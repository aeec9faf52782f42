//! Configuration, models, login.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;

use crate::client::Home;

const CONFIG: &str = "# mine\nmodel = \"m1\"\nmodel_provider = \"lab\"\nmystery = { deep = 1 }\n\n[model_providers.lab]\nname = \"Lab\"\nbase_url = \"http://127.0.0.1:9/v1\"\n";

#[tokio::test]
async fn the_configuration_is_told_with_its_origin_and_changed_in_place() {
    let home = Home::with(&[], CONFIG);
    let mut client = home.client().await;
    let read = client
        .call("config/read", json!({ "includeLayers": true, "cwd": "." }))
        .await
        .unwrap();
    assert_eq!(
        (&read["config"]["model"], &read["config"]["mystery"]["deep"]),
        (&json!("m1"), &json!(1))
    );
    assert_eq!(read["origins"]["mystery.deep"]["name"]["type"], "user");
    let version = read["layers"][0]["version"].clone();
    let write =
        json!({ "keyPath": "model", "value": "m2", "mergeStrategy": "replace", "expectedVersion": version });
    let written = client.call("config/value/write", write.clone()).await.unwrap();
    assert_eq!(written["status"], "ok");
    let text = fs::read_to_string(home.path("config.toml")).unwrap();
    assert_eq!(text, CONFIG.replace("m1", "m2"));
    let stale = client.call("config/value/write", write).await.unwrap_err();
    assert_eq!(stale["data"]["config_write_error_code"], "configVersionConflict");
    let edits = json!([
        { "keyPath": "sandbox.network_access", "value": true, "mergeStrategy": "upsert" },
        { "keyPath": "approval_policy", "value": "sometimes", "mergeStrategy": "replace" },
    ]);
    let refused = client
        .call("config/batchWrite", json!({ "edits": edits }))
        .await
        .unwrap_err();
    assert_eq!(
        refused["data"]["config_write_error_code"],
        "configValidationError"
    );
    assert_eq!(
        fs::read_to_string(home.path("config.toml")).unwrap(),
        text,
        "all or nothing"
    );
}

#[tokio::test]
async fn models_and_providers_are_those_that_are_configured() {
    let home = Home::with(&[], CONFIG);
    let mut client = home.client().await;
    let models = client
        .call(
            "model/list",
            json!({ "includeHidden": true, "cursor": null, "limit": null }),
        )
        .await
        .unwrap();
    assert_eq!(
        (&models["data"][0]["model"], &models["data"][0]["isDefault"]),
        (&json!("m1"), &json!(true))
    );
    let providers = client.call("modelProvider/list", json!({})).await.unwrap();
    assert_eq!(
        (&providers["defaultProviderId"], &providers["data"][0]["name"]),
        (&json!("lab"), &json!("Lab"))
    );
    let account = client.call("account/read", json!({})).await.unwrap();
    assert_eq!(
        (&account["requiresOpenaiAuth"], &account["account"]),
        (&json!(false), &json!(null))
    );
}

#[tokio::test]
async fn a_key_is_stored_for_this_user_alone_and_never_told() {
    let home = Home::new();
    let mut client = home.client().await;
    let mut other = home.client().await;
    let account = client.call("account/read", json!({})).await.unwrap();
    assert_eq!(
        (&account["requiresOpenaiAuth"], &account["account"]),
        (&json!(true), &json!(null))
    );
    let login = json!({ "type": "apiKey", "apiKey": "sk-very-secret" });
    assert_eq!(
        client.call("account/login/start", login).await.unwrap(),
        json!({ "type": "apiKey" })
    );
    let updated = other.notification("account/updated").await;
    assert_eq!(updated["params"]["authMode"], "apikey");
    let account = client.call("account/read", json!({})).await.unwrap();
    assert_eq!(account["account"], json!({ "type": "apiKey" }));
    let status = client
        .call("getAuthStatus", json!({ "includeToken": true }))
        .await
        .unwrap();
    assert_eq!(
        (&status["authMethod"], &status["authToken"]),
        (&json!("apikey"), &json!(null))
    );
    let file = home.path("codex-server/login.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    client.call("account/logout", json!(null)).await.unwrap();
    assert!(!fs::exists(file).unwrap());
    let other_kind = client
        .call("account/login/start", json!({ "type": "chatgpt" }))
        .await
        .unwrap_err();
    assert_eq!(other_kind["code"], -32600);
    let limits = client
        .call("account/rateLimits/read", json!(null))
        .await
        .unwrap_err();
    assert_eq!(
        limits["message"],
        "codex account authentication required to read rate limits"
    );
}

#[tokio::test]
async fn the_variable_makes_a_login_needless_and_nothing_of_the_official_program_is_touched() {
    let home = Home::with(&[("OPENAI_API_KEY", "sk-1")], "");
    fs::write(home.path("auth.json"), "theirs").unwrap();
    let mut client = home.client().await;
    let account = client.call("account/read", json!({})).await.unwrap();
    assert_eq!(account["account"], json!({ "type": "apiKey" }));
    client
        .call(
            "account/login/start",
            json!({ "type": "apiKey", "apiKey": "sk-2" }),
        )
        .await
        .unwrap();
    client.call("account/logout", json!({})).await.unwrap();
    assert_eq!(fs::read_to_string(home.path("auth.json")).unwrap(), "theirs");
    let mut names: Vec<_> = fs::read_dir(home.folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["auth.json", "codex-server"]);
}
