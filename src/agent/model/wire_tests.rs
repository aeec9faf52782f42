//! Requests and events of the Responses API, as they are on the wire.

use codex_protocol::v2::LocalImageInput;

use super::*;
use crate::tools::{PatchTool, built_in};

fn prompt(input: Vec<RawItem>) -> Prompt {
    Prompt {
        model: "m".into(),
        instructions: "be good".into(),
        input,
        tools: built_in(PatchTool::Freeform).into(),
        cache_key: "thread".into(),
        effort: Some("high".into()),
        summary: Some("auto".into()),
        output_schema: None,
    }
}

#[test]
fn a_request_says_everything_the_api_needs() {
    let body = request_body(&prompt(vec![message("user", "hi")]));
    for (path, value) in [
        ("/model", json!("m")),
        ("/instructions", json!("be good")),
        ("/stream", json!(true)),
        ("/store", json!(false)),
        ("/parallel_tool_calls", json!(true)),
        ("/prompt_cache_key", json!("thread")),
        ("/reasoning", json!({"effort": "high", "summary": "auto"})),
        ("/include/0", json!("reasoning.encrypted_content")),
        ("/input/0/content/0", json!({"type": "input_text", "text": "hi"})),
        ("/tools/0/name", json!("exec_command")),
        ("/tools/2/type", json!("custom")),
        ("/tools/2/format/syntax", json!("lark")),
    ] {
        assert_eq!(body.pointer(path), Some(&value), "{path}");
    }
    let plain = Prompt {
        effort: None,
        summary: Some("none".into()),
        tools: [].into(),
        output_schema: Some(json!({"type": "object"})),
        ..prompt(Vec::new())
    };
    let body = request_body(&plain);
    assert!(
        body.get("reasoning").is_none() && body.get("include").is_none(),
        "{body}"
    );
    assert_eq!(body["parallel_tool_calls"], false);
    assert_eq!(body["text"]["format"]["schema"], json!({"type": "object"}));
}

#[test]
fn tools_in_a_namespace_are_offered_together_and_their_calls_say_where_they_are() {
    let look = ToolSpec::Function {
        name: "look".into(),
        description: "d".into(),
        parameters: json!({"type": "object"}),
    };
    let app = ToolSpec::Namespace {
        name: "app".into(),
        description: "an app".into(),
        tools: vec![look.clone()],
    };
    let tools = [look, app].into();
    let body = request_body(&Prompt {
        tools,
        ..prompt(Vec::new())
    });
    assert_eq!(body["tools"][1]["type"], "namespace");
    assert_eq!(body["tools"][1]["tools"][0], body["tools"][0]);
    let called = |namespace: Value| {
        let item = json!({"type": "function_call", "call_id": "c", "name": "look", "namespace": namespace,
            "arguments": "{}"});
        match read_item(&RawItem::new(item)) {
            ModelItem::Call(call) => call.namespace,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(called(json!("app")).as_deref(), Some("app"));
    assert_eq!([called(json!(null)), called(json!(""))], [None, None]);
}

#[test]
fn items_are_sent_back_without_what_only_the_provider_understands() {
    let sent = |value: Value| super::sent(&RawItem::new(value));
    let message =
        json!({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": []});
    assert_eq!(
        sent(message),
        Some(json!({"type": "message", "role": "assistant", "content": []}))
    );
    let thought = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"});
    assert_eq!(sent(thought.clone()), Some(thought));
    assert_eq!(
        sent(json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": null})),
        None
    );
    let open = json!({"type": "reasoning", "id": "r", "content": [{"type": "reasoning_text", "text": "x"}]});
    assert_eq!(sent(open.clone()), Some(open));
}

#[test]
fn what_the_user_shows_is_read_or_said_to_be_missing() {
    let content = [
        UserInput::text("look"),
        UserInput::LocalImage(LocalImageInput {
            path: "/a.png".into(),
        }),
        UserInput::LocalImage(LocalImageInput {
            path: "/b.bin".into(),
        }),
        UserInput::LocalImage(LocalImageInput { path: "/gone".into() }),
        UserInput::Unknown(json!({"type": "image", "url": "https://x"})),
        UserInput::Unknown(json!({"type": "mention", "name": "f", "path": "/f"})),
        UserInput::Unknown(json!({"type": "later"})),
    ];
    let item = user_message(&content, |path| match path {
        "/a.png" => Ok(b"\x89PNG....".to_vec()),
        "/b.bin" => Ok(b"....".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    });
    let parts = item.value()["content"].as_array().unwrap().clone();
    assert_eq!(parts.len(), 6);
    assert!(
        parts[1]["image_url"]
            .as_str()
            .unwrap()
            .starts_with("data:image/png;base64,iVBORy")
    );
    assert!(parts[2]["text"].as_str().unwrap().contains("/b.bin"));
    assert!(parts[3]["text"].as_str().unwrap().contains("could not be read"));
    assert_eq!(parts[4]["image_url"], "https://x");
    assert_eq!(parts[5]["text"], "[f](/f)");
}

#[test]
fn outputs_have_the_kind_of_their_call() {
    let id = CallId("c".into());
    let output = ToolOutput::Text("out".into());
    assert_eq!(
        call_output(CallKind::Custom, &id, &output).kind(),
        "custom_tool_call_output"
    );
    let call = RawItem::new(json!({"type": "function_call", "call_id": "c"}));
    assert_eq!(
        aborted(&call).value(),
        &json!({"type": "function_call_output", "call_id": "c", "output": "aborted"})
    );
    let parts = ToolOutput::Parts(vec![json!({"type": "input_image"})]);
    assert_eq!(
        call_output(CallKind::Function, &id, &parts).value()["output"][0]["type"],
        "input_image"
    );
}

#[test]
fn failures_have_the_class_of_their_code() {
    for (code, class, transient) in [
        (
            "context_length_exceeded",
            ErrorClass::ContextWindowExceeded,
            false,
        ),
        ("insufficient_quota", ErrorClass::UsageLimitExceeded, false),
        ("usage_not_included", ErrorClass::UsageLimitExceeded, false),
        ("rate_limit_exceeded", ErrorClass::RateLimitExceeded, true),
        ("server_is_overloaded", ErrorClass::ServerOverloaded, false),
        ("server_error", ErrorClass::InternalServerError, true),
        ("invalid_prompt", ErrorClass::BadRequest, false),
        ("never_heard_of", ErrorClass::Other, true),
    ] {
        let error = json!({"code": code, "message": "try again in 2s"});
        let event = json!({"type": "response.failed", "response": {"error": error}});
        let Some(Err(failed)) = read_event(&event.to_string()) else {
            panic!("{code} is no failure")
        };
        assert_eq!((failed.class, failed.transient), (class, transient), "{code}");
        let bare = json!({"type": "error", "code": code, "message": "x"});
        let Some(Err(failed)) = read_event(&bare.to_string()) else {
            panic!("{code} is no failure")
        };
        assert_eq!(failed.class, class, "{code}");
    }
    let incomplete = json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}});
    let Some(Err(error)) = read_event(&incomplete.to_string()) else {
        panic!("no failure")
    };
    assert!(error.message.contains("max_output_tokens"), "{error}");
}

#[test]
fn whole_streams_are_read_as_they_were_recorded() {
    for (name, expected) in [
        (
            "streamed_answer",
            include_str!("../../../fixtures/sse/streamed_answer.events"),
        ),
        (
            "parallel_calls",
            include_str!("../../../fixtures/sse/parallel_calls.events"),
        ),
        (
            "small_server",
            include_str!("../../../fixtures/sse/small_server.events"),
        ),
        ("cut", include_str!("../../../fixtures/sse/cut.events")),
    ] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/sse");
        let stream = std::fs::read(format!("{folder}/{name}.sse")).unwrap();
        let (mut parser, mut data) = (crate::model::sse::Parser::default(), Vec::new());
        parser.push(&stream, &mut data).unwrap();
        let events: Vec<String> = data
            .iter()
            .filter_map(|it| read_event(it))
            .map(|it| short(&it))
            .collect();
        assert_eq!(events.join("\n"), expected.trim(), "{name}");
    }
}

fn short(event: &Result<ModelEvent, ModelError>) -> String {
    let id = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
    match event {
        Err(error) => format!("error {:?}: {error}", error.class),
        Ok(ModelEvent::MessageStarted { id: it, .. }) => format!("message {}", id(it)),
        Ok(ModelEvent::TextDelta { id: it, delta }) => format!("text {} {delta:?}", id(it)),
        Ok(ModelEvent::ReasoningStarted { id: it }) => format!("reasoning {}", id(it)),
        Ok(ModelEvent::SummaryPart { index, .. }) => format!("part {index}"),
        Ok(ModelEvent::SummaryDelta { index, delta, .. }) => format!("summary {index} {delta:?}"),
        Ok(ModelEvent::ReasoningDelta { index, delta, .. }) => format!("thought {index} {delta:?}"),
        Ok(ModelEvent::Retrying { retry, .. }) => format!("retry {retry}"),
        Ok(ModelEvent::Completed { usage }) => format!("completed {:?}", usage.map(|it| it.total)),
        Ok(ModelEvent::ItemDone(item)) => match read_item(item) {
            ModelItem::Message { text, .. } => format!("done message {text:?}"),
            ModelItem::Reasoning { summary, content, .. } => {
                format!("done reasoning {summary:?} {content:?}")
            }
            ModelItem::Call(call) => format!("done call {} {} {:?}", call.id.0, call.name, call.input),
            ModelItem::Other => format!("done {}", item.kind()),
        },
    }
}

#[test]
fn no_event_causes_a_panic() {
    let types = [
        "response.output_text.delta",
        "response.output_item.done",
        "response.output_item.added",
        "response.completed",
        "response.failed",
        "response.incomplete",
        "response.reasoning_summary_text.delta",
        "error",
    ];
    let odd = [
        json!(null),
        json!(-1),
        json!("x"),
        json!([]),
        json!({}),
        json!({"type": "message", "content": 7}),
    ];
    for kind in types {
        for value in &odd {
            let event = json!({"type": kind, "item": value, "response": value, "delta": value, "summary_index": value,
                "error": value, "item_id": value});
            let _ = read_event(&event.to_string());
            let _ = read_item(&RawItem::new(value.clone()));
        }
    }
    assert!(read_event("no json").is_none() && read_event("[DONE]").is_none() && read_event("[]").is_none());
}
