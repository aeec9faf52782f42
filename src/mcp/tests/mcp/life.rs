//! How servers start, end and start again.

use std::time::{Duration, Instant};

use codex_mcp::{AuthStatus, ConnectionStatus, Detail, Error, Startup, limits};
use serde_json::json;

use crate::rig::{PATIENCE, Rig, SECRET, configs, gone, program, runs, server, until};

use Startup::{Cancelled, Failed, Ready, Starting};

#[tokio::test]
async fn tools_are_offered_by_their_qualified_names_with_their_hints() {
    let mut table = server("");
    table["disabled_tools"] = json!(["die", "hang"]);
    let rig = Rig::new([
        ("rig", table),
        ("off", json!({ "command": "x", "enabled": false })),
    ]);
    let tools = rig.servers.tools(PATIENCE).await;
    assert_eq!(tools.len(), 9);
    let echo = rig.servers.find("mcp__rig__echo").unwrap();
    assert_eq!(
        (&*echo.server, &*echo.name, &*echo.description),
        ("rig", "echo", "does echo")
    );
    assert_eq!(echo.input_schema["type"], "object");
    assert!(!echo.hints.is_harmful() && echo.hints.read_only == Some(true));
    assert!(tools[0].hints.is_harmful());
    assert_eq!(rig.startups("rig"), [Starting, Ready]);
    assert_eq!(rig.startups("off"), []);
    let outcome = rig.call("rig", "die", json!({})).await;
    assert!(matches!(outcome.result, Err(Error::NotAllowed { .. })));
}

#[tokio::test]
async fn a_server_that_hangs_keeps_nobody_waiting() {
    let mut silent = server("silent");
    silent["startup_timeout_sec"] = json!(2);
    let rig = Rig::new([("rig", server("")), ("silent", silent)]);
    rig.started("rig", &[Starting, Ready]).await;
    let began = Instant::now();
    assert_eq!(rig.tool_names(Duration::ZERO).await.len(), 11);
    assert_eq!(rig.text("rig", "echo", json!({ "text": "hi" })).await, "hi");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(rig.startups("silent"), [Starting]);
    rig.started("silent", &[Starting, Failed]).await;
    assert_eq!(
        rig.error("silent").unwrap(),
        "it did not start within 2 s (`startup_timeout_sec`)"
    );
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_no_secret() {
    let mut broken = server("broken");
    broken["env_vars"] = json!(["SECRET_TOKEN"]);
    broken["required"] = json!(true);
    let rig = Rig::new([
        ("broken", broken),
        (
            "absent",
            json!({ "command": "no-such-program", "args": [SECRET] }),
        ),
        ("astray", json!({ "command": "cat", "cwd": "/no/such/place" })),
    ]);
    for name in ["broken", "absent", "astray"] {
        rig.started(name, &[Starting, Failed]).await;
    }
    let said = rig.error("broken").unwrap();
    assert!(
        said.contains("exit status: 7") && said.ends_with("it said: no licence for [hidden]"),
        "{said}"
    );
    let said = rig.error("absent").unwrap();
    assert!(
        said.starts_with("starting `no-such-program`: No such file"),
        "{said}"
    );
    assert_eq!(
        rig.error("astray").unwrap(),
        "starting `cat`: the directory /no/such/place cannot be used"
    );
    let missing = rig.servers.missing().await;
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].0, "broken");
}

#[tokio::test]
async fn garbage_on_standard_output_and_floods_on_standard_error_do_no_harm() {
    let rig = Rig::new([("rig", server("babbling"))]);
    assert_eq!(rig.tool_names(PATIENCE).await.len(), 11);
    assert_eq!(rig.text("rig", "echo", json!({ "text": "hi" })).await, "hi");
}

#[tokio::test]
async fn a_server_that_dies_in_a_call_is_an_error_at_once_and_starts_again_when_it_is_used() {
    let mut table = server("");
    table["env"] = json!({ "SECRET_TOKEN": SECRET });
    let rig = Rig::new([("rig", table)]);
    let before = rig.pid("rig").await;
    let outcome = rig.call("rig", "die", json!({})).await;
    let error = outcome.result.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::NotRunning { .. }), "{said}");
    assert!(
        said.contains("exit status: 3") && said.contains("out of cheese [hidden]"),
        "{said}"
    );
    // The model still knows the tool; its next call is served.
    assert!(rig.servers.find("mcp__rig__echo").is_some());
    assert_eq!(rig.text("rig", "echo", json!({ "text": "again" })).await, "again");
    assert_ne!(rig.pid("rig").await, before);
    assert_eq!(rig.startups("rig"), [Starting, Ready, Failed, Starting, Ready]);
}

#[tokio::test]
async fn a_server_that_dies_again_and_again_is_left_alone_for_a_while() {
    let rig = Rig::new([("broken", server("broken"))]);
    rig.started("broken", &[Starting, Failed]).await;
    assert_eq!(rig.tool_names(PATIENCE).await, [""; 0]);
    rig.started("broken", &[Starting, Failed, Starting, Failed]).await;
    let failed = Instant::now();
    let outcome = rig.call("broken", "echo", json!({})).await;
    assert!(matches!(outcome.result, Err(Error::NotRunning { .. })));
    assert!(
        failed.elapsed() < limits::RESTART_PAUSE_MIN,
        "an error must come at once"
    );
    assert_eq!(rig.startups("broken").len(), 4);
    let again = async || {
        rig.servers.tools(Duration::ZERO).await;
        rig.startups("broken").len()
    };
    while again().await == 4 {
        assert!(failed.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    assert!(
        failed.elapsed() + Duration::from_millis(300) > limits::RESTART_PAUSE_MIN,
        "{:?}",
        failed.elapsed()
    );
}

#[tokio::test]
async fn closing_ends_a_server_that_behaves_without_a_signal() {
    let rig = Rig::new([("rig", server(""))]);
    let pid = rig.pid("rig").await;
    let began = Instant::now();
    rig.servers.close().await;
    assert!(!runs(pid));
    assert!(
        began.elapsed() < Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    let outcome = rig.call("rig", "echo", json!({})).await;
    assert!(matches!(outcome.result, Err(Error::UnknownServer { .. })));
}

#[tokio::test]
async fn closing_ends_a_server_that_ignores_its_end_with_all_that_it_started() {
    let table = json!({ "command": "sh", "args": ["-c", format!("trap '' TERM; exec {} stubborn", program())], "startup_timeout_sec": 20 });
    let rig = Rig::new([("stubborn", table)]);
    let pids = [
        rig.pid("stubborn").await,
        rig.text("stubborn", "family", json!({})).await.parse().unwrap(),
    ];
    assert!(pids.iter().all(|it| runs(*it)));
    let began = Instant::now();
    rig.servers.close().await;
    assert!(
        began.elapsed() > Duration::from_secs(2),
        "it was given a grace: {:?}",
        began.elapsed()
    );
    assert!(!runs(pids[0]));
    gone(pids[1]).await;
}

#[tokio::test]
async fn dropping_the_owner_leaves_no_process() {
    let rig = Rig::new([("rig", server("stubborn")), ("silent", server("silent"))]);
    let pids = [
        rig.pid("rig").await,
        rig.text("rig", "family", json!({})).await.parse().unwrap(),
    ];
    let began = Instant::now();
    drop(rig);
    for pid in pids {
        gone(pid).await;
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_a_dead_server_has_left_behind_is_ended_too() {
    let rig = Rig::new([("rig", server(""))]);
    let left = rig.text("rig", "family", json!({})).await.parse().unwrap();
    assert!(rig.call("rig", "die", json!({})).await.is_error());
    gone(left).await;
}

#[tokio::test]
async fn reloading_restarts_only_what_has_changed() {
    let rig = Rig::new([
        ("same", server("")),
        ("changed", server("")),
        ("removed", server("")),
        ("slow", server("silent")),
    ]);
    rig.tool_names(Duration::ZERO).await;
    let same = rig.pid("same").await;
    let ended = [rig.pid("changed").await, rig.pid("removed").await];
    let mut changed = server("");
    changed["tool_timeout_sec"] = json!(5);
    rig.servers.reload(configs([
        ("same", server("")),
        ("changed", changed),
        ("new", server("")),
    ]));
    assert_eq!(rig.pid("same").await, same);
    assert_ne!(rig.pid("changed").await, ended[0]);
    assert!(runs(rig.pid("new").await));
    for pid in ended {
        gone(pid).await;
    }
    assert!(rig.call("removed", "echo", json!({})).await.is_error());
    assert_eq!(rig.startups("same"), [Starting, Ready]);
    assert_eq!(rig.startups("slow"), [Starting, Cancelled]);
    assert_eq!(rig.startups("changed"), [Starting, Ready, Starting, Ready]);
    rig.servers
        .reload(configs([("same", server("")), ("broken", server("broken"))]));
    rig.started("broken", &[Starting, Failed]).await;
    rig.servers
        .reload(configs([("same", server("")), ("broken", server("broken"))]));
    rig.started("broken", &[Starting, Failed, Starting, Failed]).await;
    assert_eq!(rig.pid("same").await, same);
}

#[tokio::test]
async fn a_changed_list_of_tools_is_read_again() {
    let rig = Rig::new([("rig", server(""))]);
    assert!(
        !rig.tool_names(PATIENCE)
            .await
            .contains(&"mcp__rig__novelty".to_owned())
    );
    rig.text("rig", "change", json!({})).await;
    until(
        "the new tool",
        || rig.servers.find("mcp__rig__novelty").is_some(),
        |it| *it,
    )
    .await;
    assert!(
        rig.tool_names(PATIENCE)
            .await
            .contains(&"mcp__rig__novelty".to_owned())
    );
}

#[tokio::test]
async fn a_server_sees_only_what_it_is_given_of_the_environment() {
    let mut table = server("");
    table["env"] = json!({ "MINE": "1" });
    let rig = Rig::new([("rig", table)]);
    let seen: serde_json::Value = serde_json::from_str(&rig.text("rig", "env", json!({})).await).unwrap();
    assert_eq!(seen, json!({ "PATH": "/usr/bin:/bin", "MINE": "1" }));
}

#[tokio::test]
async fn the_status_shows_what_a_server_has_and_what_is_wrong() {
    let rig = Rig::new([
        ("broken", server("broken")),
        ("off", json!({ "command": "x", "enabled": false })),
        ("rig", server("")),
    ]);
    let all = rig.servers.status(None, Detail::Full, PATIENCE).await;
    let states: Vec<_> = all.iter().map(|it| (it.name.as_str(), it.connection)).collect();
    use ConnectionStatus::{Connected, Disabled};
    assert_eq!(
        states,
        [
            ("broken", ConnectionStatus::Failed),
            ("off", Disabled),
            ("rig", Connected)
        ]
    );
    assert!(all[0].error.as_ref().unwrap().contains("exit status: 7"));
    let rig_status = &all[2];
    assert_eq!(rig_status.server_info.as_ref().unwrap()["name"], "rig");
    assert_eq!(rig_status.tools["echo"]["inputSchema"]["type"], "object");
    assert_eq!(rig_status.resources.len(), 1, "the large one is left out");
    assert_eq!(rig_status.resource_templates[0]["uriTemplate"], "rig://{name}");
    assert_eq!(rig_status.auth, AuthStatus::Unsupported);
    let one = rig
        .servers
        .status(Some("rig"), Detail::ToolsAndAuthOnly, PATIENCE)
        .await;
    assert!(one.len() == 1 && one[0].resources.is_empty());
    assert_eq!(
        rig.servers.read_resource("rig", "rig://one").await.unwrap()[0]["text"],
        "one"
    );
    let refused = rig.servers.read_resource("rig", "rig://two").await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
}
