//! What we send, against the JSON Schema that the official binary generates itself.

use std::{fs, path::Path};

use codex_testkit::{require, schema};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::client::Home;

fn check(validator: &Validator, message: &Value) {
    let errors: Vec<String> = validator.iter_errors(message).map(|it| it.to_string()).collect();
    assert!(errors.is_empty(), "{message}: {errors:?}");
}

fn validator(file: &str) -> Validator {
    let text = fs::read_to_string(Path::new(schema(true)).join(file)).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

/// Every method that needs no thread: its parameters, and the schema of its answer.
fn calls(home: &Home) -> Vec<(&'static str, Value, &'static str)> {
    let file = home.path("file");
    let watch = json!({ "path": home.path(""), "watchId": "w" });
    let command = json!({ "command": ["echo", "x"], "processId": "p", "streamStdoutStderr": true, "sandboxPolicy": { "type": "dangerFullAccess" } });
    let write = json!({ "keyPath": "model", "value": "m", "mergeStrategy": "replace" });
    let batch = json!({ "edits": [write], "reloadUserConfig": true });
    vec![
        ("fs/watch", watch, "v2/FsWatchResponse.json"),
        (
            "fs/writeFile",
            json!({ "path": file, "dataBase64": "YQ==" }),
            "v2/FsWriteFileResponse.json",
        ),
        (
            "fs/readFile",
            json!({ "path": file }),
            "v2/FsReadFileResponse.json",
        ),
        (
            "fs/getMetadata",
            json!({ "path": file }),
            "v2/FsGetMetadataResponse.json",
        ),
        (
            "fs/readDirectory",
            json!({ "path": home.path("") }),
            "v2/FsReadDirectoryResponse.json",
        ),
        (
            "fs/createDirectory",
            json!({ "path": home.path("d") }),
            "v2/FsCreateDirectoryResponse.json",
        ),
        (
            "fs/copy",
            json!({ "sourcePath": file, "destinationPath": home.path("c") }),
            "v2/FsCopyResponse.json",
        ),
        (
            "fs/remove",
            json!({ "path": home.path("c") }),
            "v2/FsRemoveResponse.json",
        ),
        (
            "fuzzyFileSearch",
            json!({ "query": "fi", "roots": [home.path("")] }),
            "FuzzyFileSearchResponse.json",
        ),
        ("command/exec", command, "v2/CommandExecResponse.json"),
        ("config/value/write", write, "v2/ConfigWriteResponse.json"),
        ("config/batchWrite", batch, "v2/ConfigWriteResponse.json"),
        (
            "config/read",
            json!({ "includeLayers": true, "cwd": "." }),
            "v2/ConfigReadResponse.json",
        ),
        (
            "configRequirements/read",
            json!(null),
            "v2/ConfigRequirementsReadResponse.json",
        ),
        (
            "model/list",
            json!({ "includeHidden": true }),
            "v2/ModelListResponse.json",
        ),
        (
            "modelProvider/list",
            json!({}),
            "v2/ModelProviderListResponse.json",
        ),
        (
            "modelProvider/capabilities/read",
            json!({}),
            "v2/ModelProviderCapabilitiesReadResponse.json",
        ),
        ("account/read", json!({}), "v2/GetAccountResponse.json"),
        (
            "account/login/start",
            json!({ "type": "apiKey", "apiKey": "k" }),
            "v2/LoginAccountResponse.json",
        ),
        ("account/read", json!({}), "v2/GetAccountResponse.json"),
        ("account/logout", json!(null), "v2/LogoutAccountResponse.json"),
        (
            "account/bedrock/checkGovCloudRequirements",
            json!({}),
            "v2/BedrockCheckGovCloudRequirementsResponse.json",
        ),
        (
            "skills/list",
            json!({ "cwds": ["/w"], "forceReload": true }),
            "v2/SkillsListResponse.json",
        ),
        (
            "hooks/list",
            json!({ "cwds": ["/w"], "threadId": null }),
            "v2/HooksListResponse.json",
        ),
        (
            "permissionProfile/list",
            json!({}),
            "v2/PermissionProfileListResponse.json",
        ),
        (
            "collaborationMode/list",
            json!({}),
            "v2/CollaborationModeListResponse.json",
        ),
        (
            "experimentalFeature/list",
            json!({}),
            "v2/ExperimentalFeatureListResponse.json",
        ),
        ("app/list", json!({}), "v2/AppsListResponse.json"),
        (
            "mcpServerStatus/list",
            json!({}),
            "v2/ListMcpServerStatusResponse.json",
        ),
        (
            "server/diagnostics",
            json!({}),
            "v2/ServerDiagnosticsResponse.json",
        ),
        (
            "fs/unwatch",
            json!({ "watchId": "w" }),
            "v2/FsUnwatchResponse.json",
        ),
    ]
}

#[tokio::test]
async fn every_answer_and_notification_fits_the_official_schema() {
    require!(Official);
    let home = Home::with(
        &[],
        "sandbox_mode = \"safe\"\n[sandbox]\nnetwork_access = true\n[mcp_servers.docs]\ncommand = \"x\"\n",
    );
    let mut client = home.client().await;
    let requests = validator("ClientRequest.json");
    for (method, params, file) in calls(&home) {
        let request = match &params {
            Value::Null => json!({ "id": 1, "method": method }),
            params => json!({ "id": 1, "method": method, "params": params }),
        };
        // Otherwise the test asks for something that nobody asks for.
        check(&requests, &request);
        let answer = client.call(method, params).await;
        check(
            &validator(file),
            &answer.unwrap_or_else(|error| panic!("{method}: {error}")),
        );
        if method == "fs/writeFile" {
            let changed = client.notification("fs/changed").await;
            client.told.push(changed);
        }
    }
    let notifications = validator("ServerNotification.json");
    let error = validator("JSONRPCError.json");
    let mut methods = Vec::new();
    for said in &client.told {
        check(&notifications, said);
        methods.push(said["method"].as_str().unwrap().to_owned());
    }
    methods.sort();
    methods.dedup();
    let expected = [
        "account/login/completed",
        "account/updated",
        "command/exec/outputDelta",
        "configWarning",
        "fs/changed",
    ];
    assert_eq!(methods, expected);
    let refused = client.call("no/such", json!({})).await.unwrap_err();
    check(&error, &json!({ "id": 1, "error": refused }));
}
