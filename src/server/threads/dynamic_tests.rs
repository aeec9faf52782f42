//! What clients may bring along, and what the model is offered of it.

use serde_json::json;

use super::*;

fn function(name: &str) -> Value {
    json!({ "type": "function", "name": name, "description": "d", "inputSchema": { "type": "object" } })
}

fn namespace(name: &str, tools: &[Value]) -> Value {
    json!({ "type": "namespace", "name": name, "description": "d", "tools": tools })
}

fn with(mut tool: Value, key: &str, value: Value) -> Value {
    tool[key] = value;
    tool
}

fn why(tools: Value) -> String {
    match read(&tools) {
        Ok(_) => String::new(),
        Err(refusal) => format!("{refusal:?}"),
    }
}

fn tools(tools: Value) -> DynamicTools {
    DynamicTools(read(&tools).unwrap())
}

#[test]
fn what_the_provider_would_refuse_is_refused_with_the_reason() {
    let long = "a".repeat(129);
    for (wrong, word) in [
        (json!("x"), "no array"),
        (json!([1]), "invalid type"),
        (json!([{ "type": "odd" }]), "unknown variant `odd`"),
        (
            json!([{ "type": "function", "name": "a", "inputSchema": {} }]),
            "description",
        ),
        (json!([function("")]), "must not be empty"),
        (json!([function(" a")]), "whitespace"),
        (json!([function("a.b")]), "must match"),
        (json!([function(&long)]), "at most 128"),
        (json!([function("mcp__a")]), "reserved"),
        (
            json!([function("a"), function("a")]),
            "duplicate dynamic tool name: a",
        ),
        (json!([with(function("a"), "inputSchema", json!("x"))]), "schema"),
        (
            json!([with(function("a"), "deferLoading", json!(true))]),
            "must include a namespace",
        ),
        (json!([namespace("n", &[])]), "at least one tool"),
        (
            json!([namespace("n", &[namespace("m", &[function("a")])])]),
            "unknown variant `namespace`",
        ),
        (
            json!([namespace("n", &[function("a"), function("a")])]),
            "in namespace n: a",
        ),
        (json!([namespace(&long[..65], &[function("a")])]), "at most 64"),
        (json!([namespace("web", &[function("a")])]), "collides"),
        (json!([namespace("mcp", &[function("a")])]), "reserved"),
        (
            json!([namespace("n", &[function("a")]), namespace("n", &[function("b")])]),
            "duplicate dynamic tool namespace",
        ),
        (
            json!([with(
                namespace("n", &[function("a")]),
                "description",
                json!("d".repeat(1025))
            )]),
            "1024",
        ),
        (
            json!([with(
                function("a"),
                "description",
                json!("d".repeat(TOOLS_BYTES_MAX))
            )]),
            "larger",
        ),
        (
            json!(
                (0..=TOOLS_MAX)
                    .map(|it| function(&it.to_string()))
                    .collect::<Vec<_>>()
            ),
            "more than 1024",
        ),
    ] {
        let why = why(wrong.clone());
        assert!(why.contains(word), "{word}: {why}: {:.200}", wrong.to_string());
    }
}

#[test]
fn what_the_official_server_takes_is_taken() {
    for right in [
        json!([]),
        json!([function(&"a".repeat(128)), function("a-b_C9")]),
        json!([
            with(function("a"), "inputSchema", json!(true)),
            with(function("b"), "more", json!(1))
        ]),
        json!([
            function("n"),
            namespace("n", &[with(function("n"), "deferLoading", json!(true))])
        ]),
        json!([{ "name": "a", "description": "", "inputSchema": {} }]),
        json!([{ "name": "a", "namespace": "n", "description": "", "inputSchema": {}, "deferLoading": true }]),
    ] {
        assert_eq!(why(right.clone()), "", "{right}");
    }
}

#[test]
fn a_tool_is_found_by_the_name_under_which_it_was_offered() {
    let tools = tools(json!([
        function("one"),
        namespace("app", &[function("one"), function("two")])
    ]));
    let known = |namespace: Option<&str>, tool: &str| {
        Some(Known {
            namespace: namespace.map(str::to_owned),
            tool: tool.to_owned(),
        })
    };
    assert_eq!(tools.find(None, "one"), known(None, "one"));
    assert_eq!(tools.find(Some("app"), "one"), known(Some("app"), "one"));
    assert_eq!(tools.find(None, "app__two"), known(Some("app"), "two"));
    for (namespace, name) in [(None, "two"), (Some("app"), "three"), (Some("other"), "one")] {
        assert_eq!(tools.find(namespace, name), None, "{namespace:?} {name}");
    }
    let flat = tools.offered(false, &[]);
    let names: Vec<_> = flat.iter().map(ToolSpec::name).collect();
    assert_eq!(names, ["one", "app__one", "app__two"]);
    let grouped = tools.offered(true, &[]);
    for (namespace, name, is_one) in [
        (None, "one", true),
        (None, "two", false),
        (None, "app", false),
        (Some("app"), "two", true),
        (Some("app"), "three", false),
        (Some("one"), "one", false),
    ] {
        let takes = grouped.iter().any(|it| it.takes(namespace, name));
        assert_eq!(takes, is_one, "{namespace:?} {name}");
    }
}

#[test]
fn a_tool_of_ours_is_not_replaced_by_one_of_the_client() {
    let beside = [function_spec("exec_command")];
    let tools = tools(json!([function("exec_command"), function("mine")]));
    let names: Vec<_> = tools
        .offered(true, &beside)
        .iter()
        .map(|it| it.name().to_owned())
        .collect();
    assert_eq!(names, ["mine"]);
}

fn function_spec(name: &str) -> ToolSpec {
    ToolSpec::Function {
        name: name.to_owned(),
        description: String::new(),
        parameters: json!({}),
    }
}
