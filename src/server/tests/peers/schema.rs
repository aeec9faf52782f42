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

type Asked = (&'static str, Value, &'static str);

/// Every method that needs no thread: its parameters, and the schema of its answer.
fn calls(home: &Home) -> Vec<Asked> {
    [files(home), settings(), catalog()].concat()
}

fn files(home: &Home) -> Vec<Asked> {
    let (file, root) = (home.path("file"), home.path(""));
    let watch = json!({ "path": root, "watchId": "w" });
    let write = json!({ "path": file, "dataBase64": "YQ==" });
    let copy = json!({ "sourcePath": file, "destinationPath": home.path("c") });
    let search = json!({ "query": "fi", "roots": [root] });
    let policy = json!({ "type": "dangerFullAccess" });
    let command = json!({ "command": ["echo", "x"], "processId": "p", "streamStdoutStderr": true, "sandboxPolicy": policy });
    vec![
        ("fs/watch", watch, "v2/FsWatchResponse.json"),
        ("fs/writeFile", write, "v2/FsWriteFileResponse.json"),
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
            json!({ "path": root }),
            "v2/FsReadDirectoryResponse.json",
        ),
        (
            "fs/createDirectory",
            json!({ "path": home.path("d") }),
            "v2/FsCreateDirectoryResponse.json",
        ),
        ("fs/copy", copy, "v2/FsCopyResponse.json"),
        (
            "fs/remove",
            json!({ "path": home.path("c") }),
            "v2/FsRemoveResponse.json",
        ),
        (
            "fs/unwatch",
            json!({ "watchId": "w" }),
            "v2/FsUnwatchResponse.json",
        ),
        ("fuzzyFileSearch", search, "FuzzyFileSearchResponse.json"),
        ("command/exec", command, "v2/CommandExecResponse.json"),
    ]
}

fn settings() -> Vec<Asked> {
    let write = json!({ "keyPath": "model", "value": "m", "mergeStrategy": "replace" });
    let batch = json!({ "edits": [write], "reloadUserConfig": true });
    let read = json!({ "includeLayers": true, "cwd": "." });
    let login = json!({ "type": "apiKey", "apiKey": "k" });
    let capabilities = "v2/ModelProviderCapabilitiesReadResponse.json";
    vec![
        ("config/value/write", write, "v2/ConfigWriteResponse.json"),
        ("config/batchWrite", batch, "v2/ConfigWriteResponse.json"),
        ("config/read", read, "v2/ConfigReadResponse.json"),
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
        ("modelProvider/capabilities/read", json!({}), capabilities),
        ("account/read", json!({}), "v2/GetAccountResponse.json"),
        ("account/login/start", login, "v2/LoginAccountResponse.json"),
        ("account/read", json!({}), "v2/GetAccountResponse.json"),
        ("account/logout", json!(null), "v2/LogoutAccountResponse.json"),
    ]
}

fn catalog() -> Vec<Asked> {
    let gov_cloud = "account/bedrock/checkGovCloudRequirements";
    let skills = json!({ "cwds": ["/w"], "forceReload": true });
    let hooks = json!({ "cwds": ["/w"], "threadId": null });
    vec![
        (
            gov_cloud,
            json!({}),
            "v2/BedrockCheckGovCloudRequirementsResponse.json",
        ),
        ("skills/list", skills, "v2/SkillsListResponse.json"),
        ("hooks/list", hooks, "v2/HooksListResponse.json"),
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
        "mcpServer/startupStatus/updated",
    ];
    assert_eq!(methods, expected);
    let refused = client.call("no/such", json!({})).await.unwrap_err();
    check(&error, &json!({ "id": 1, "error": refused }));
}

#[tokio::test]
async fn every_answer_about_threads_fits_the_official_schema() {
    require!(Official);
    let home = Home::new();
    let mut client = home.client().await;
    let opened = client.call("thread/start", json!({})).await.unwrap();
    check(&validator("v2/ThreadStartResponse.json"), &opened);
    let thread = json!({ "threadId": opened["thread"]["id"] });
    let read = json!({ "threadId": opened["thread"]["id"], "includeTurns": true });
    let name = json!({ "threadId": opened["thread"]["id"], "name": "n" });
    let calls = [
        ("thread/name/set", &name, "v2/ThreadSetNameResponse.json"),
        ("thread/list", &json!({}), "v2/ThreadListResponse.json"),
        (
            "thread/loaded/list",
            &json!({}),
            "v2/ThreadLoadedListResponse.json",
        ),
        ("thread/read", &read, "v2/ThreadReadResponse.json"),
        ("thread/turns/list", &thread, "v2/ThreadTurnsListResponse.json"),
        ("thread/items/list", &thread, "v2/ThreadItemsListResponse.json"),
        ("thread/resume", &thread, "v2/ThreadResumeResponse.json"),
        ("thread/unsubscribe", &thread, "v2/ThreadUnsubscribeResponse.json"),
        ("thread/archive", &thread, "v2/ThreadArchiveResponse.json"),
        ("thread/unarchive", &thread, "v2/ThreadUnarchiveResponse.json"),
        ("thread/delete", &thread, "v2/ThreadDeleteResponse.json"),
    ];
    for (method, params, file) in calls {
        let answer = client.call(method, params.clone()).await;
        check(
            &validator(file),
            &answer.unwrap_or_else(|error| panic!("{method}: {error}")),
        );
    }
    client.notification("thread/deleted").await;
    let notifications = validator("ServerNotification.json");
    client.told.iter().for_each(|said| check(&notifications, said));
}
