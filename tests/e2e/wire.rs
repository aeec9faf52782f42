//! What we send, against the JSON Schema that the official binary generates itself.

use std::{fs, path::Path};

use codex_protocol::{
    ClientRequest,
    v2::{self, ApprovalDecision, ApprovalResponse, UserInput},
};
use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Model, require, schema};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::setting::codex;

fn validator(file: &str) -> Validator {
    let text = fs::read_to_string(Path::new(schema(false)).join(file)).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn check(validator: &Validator, message: &Value) {
    let errors: Vec<String> = validator.iter_errors(message).map(|it| it.to_string()).collect();
    assert!(errors.is_empty(), "{message}: {errors:?}");
}

/// Every call with every field, as far as we ever fill it.
#[expect(clippy::too_many_lines, reason = "a table")]
fn calls() -> Vec<ClientRequest> {
    let thread = || "t".into();
    let text = || vec![UserInput::text("hello")];
    let only_thread = || v2::ThreadIdParams { thread_id: thread() };
    vec![
        ClientRequest::Initialize(v2::InitializeParams {
            client_info: v2::ClientInfo {
                name: "n".into(),
                title: Some("t".into()),
                version: "1".into(),
            },
            capabilities: Some(v2::InitializeCapabilities {
                experimental_api: true,
                opt_out_notification_methods: vec!["turn/diff/updated".into()],
            }),
        }),
        ClientRequest::ThreadStart(v2::ThreadStartParams {
            cwd: Some("/w".into()),
            model: Some("m".into()),
            model_provider: Some("p".into()),
            approval_policy: Some(v2::AskForApproval::on_request()),
            sandbox: Some(v2::SandboxMode::WorkspaceWrite),
            ephemeral: Some(false),
        }),
        ClientRequest::ThreadResume(v2::ThreadResumeParams {
            thread_id: thread(),
            exclude_turns: Some(true),
            cwd: Some("/w".into()),
        }),
        ClientRequest::ThreadFork(v2::ThreadForkParams {
            thread_id: thread(),
            exclude_turns: Some(true),
            last_turn_id: Some("u".into()),
        }),
        ClientRequest::ThreadList(v2::ThreadListParams {
            cursor: Some("c".into()),
            limit: Some(50),
            sort_key: Some(v2::ThreadSortKey::RecencyAt),
            archived: Some(false),
            search_term: Some("s".into()),
        }),
        ClientRequest::ThreadRead(v2::ThreadReadParams {
            thread_id: thread(),
            include_turns: Some(true),
        }),
        ClientRequest::ThreadTurnsList(v2::ThreadTurnsListParams {
            thread_id: thread(),
            limit: Some(20),
            cursor: Some("c".into()),
            sort_direction: Some(v2::SortDirection::Descending),
            items_view: Some(v2::TurnItemsView::Full),
        }),
        ClientRequest::ThreadNameSet(v2::ThreadNameSetParams {
            thread_id: thread(),
            name: "n".into(),
        }),
        ClientRequest::ThreadArchive(only_thread()),
        ClientRequest::ThreadUnsubscribe(only_thread()),
        ClientRequest::ThreadCompactStart(only_thread()),
        ClientRequest::ThreadShellCommand(v2::ThreadShellCommandParams {
            thread_id: thread(),
            command: "ls".into(),
        }),
        ClientRequest::TurnStart(v2::TurnStartParams {
            thread_id: thread(),
            input: text(),
            client_user_message_id: Some("c".into()),
            cwd: Some("/w".into()),
            approval_policy: Some(v2::AskForApproval::never()),
            sandbox_policy: Some(v2::SandboxPolicy::WorkspaceWrite(v2::WorkspaceWrite::default())),
            model: Some("m".into()),
        }),
        ClientRequest::TurnSteer(v2::TurnSteerParams {
            thread_id: thread(),
            expected_turn_id: "u".into(),
            input: text(),
            client_user_message_id: Some("c".into()),
        }),
        ClientRequest::TurnInterrupt(v2::TurnInterruptParams {
            thread_id: thread(),
            turn_id: "u".into(),
        }),
        ClientRequest::ModelList(v2::ModelListParams {
            cursor: None,
            limit: Some(9),
        }),
        ClientRequest::AccountRead(v2::AccountReadParams {}),
        ClientRequest::FsGetMetadata(v2::FsGetMetadataParams { path: "/w".into() }),
        ClientRequest::FuzzyFileSearch(v2::FuzzyFileSearchParams {
            query: "q".into(),
            roots: vec!["/w".into()],
            cancellation_token: Some("t".into()),
        }),
    ]
}

#[test]
fn every_call_fits_the_official_schema() {
    require!(Official);
    let requests = validator("ClientRequest.json");
    for call in calls() {
        let params: Value = serde_json::from_str(call.params().unwrap().get()).unwrap();
        check(
            &requests,
            &json!({ "id": 1, "method": call.method(), "params": params }),
        );
    }
    check(
        &validator("ClientNotification.json"),
        &json!({ "method": "initialized" }),
    );
}

#[test]
fn the_schema_would_notice_a_wrong_call() {
    require!(Official);
    let requests = validator("ClientRequest.json");
    let wrong = json!({ "id": 1, "method": "turn/start", "params": { "threadId": "t", "input": "text" } });
    assert!(!requests.is_valid(&wrong));
}

#[test]
fn every_answer_fits_the_official_schema() {
    require!(Official);
    let commands = validator("CommandExecutionRequestApprovalResponse.json");
    let files = validator("FileChangeRequestApprovalResponse.json");
    for decision in [
        ApprovalDecision::Accept,
        ApprovalDecision::AcceptForSession,
        ApprovalDecision::Decline,
        ApprovalDecision::Cancel,
    ] {
        let answer = json!(ApprovalResponse { decision });
        check(&commands, &answer);
        check(&files, &answer);
    }
    let always = ApprovalDecision::AcceptWithExecpolicyAmendment {
        execpolicy_amendment: vec!["make".into()],
    };
    check(&commands, &json!(ApprovalResponse { decision: always }));
    let mut answers = v2::UserInputResponse::default();
    answers.answers.insert(
        "q".into(),
        v2::UserInputAnswer {
            answers: vec!["a".into()],
        },
    );
    check(&validator("ToolRequestUserInputResponse.json"), &json!(answers));
    let permissions = v2::PermissionsApprovalResponse {
        permissions: json!({}),
        scope: Some("turn".into()),
    };
    check(
        &validator("PermissionsRequestApprovalResponse.json"),
        &json!(permissions),
    );
    for action in ["accept", "decline", "cancel"] {
        let answer = v2::ElicitationResponse {
            action: action.into(),
            content: None,
        };
        check(
            &validator("McpServerElicitationRequestResponse.json"),
            &json!(answer),
        );
    }
}

#[test]
fn all_that_a_whole_conversation_sends_fits_the_official_schema() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let script = "#!/bin/sh\ntee -a \"$HOME/sent\" | /run/official/node_modules/.bin/codex \"$@\"\n";
    let options = HostOptions::new().authorize(client.key()).model(&model);
    let host = Host::start(options.codex(Codex::AroundOfficial(script.to_owned())));
    client.add(&Alias::new("devbox", &host));
    let outcome = codex(
        &client,
        &["exec", "--host", "devbox", "--cd", "work", "escalate touch x"],
    );
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    let sent = host.read("sent").unwrap();
    let (requests, notifications) = (
        validator("ClientRequest.json"),
        validator("ClientNotification.json"),
    );
    let mut methods = Vec::new();
    for line in sent.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        match (message.get("id"), message.get("method")) {
            (Some(_), Some(method)) => {
                check(&requests, &message);
                methods.push(method.as_str().unwrap().to_owned());
            }
            (None, Some(_)) => check(&notifications, &message),
            (_, None) => check(
                &validator("CommandExecutionRequestApprovalResponse.json"),
                &message["result"],
            ),
        }
    }
    assert_eq!(methods[0], "initialize");
    for method in ["account/read", "fs/getMetadata", "thread/start", "turn/start"] {
        assert!(methods.iter().any(|it| it == method), "{method}: {methods:?}");
    }
}
