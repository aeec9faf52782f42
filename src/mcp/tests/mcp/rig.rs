//! What the tests share: configurations of the test server, events, conditions with a deadline.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use codex_mcp::{Call, CallOutcome, Environment, Event, ServerConfig, Servers, Setup, Startup, read_servers};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Never shown to anybody.
pub(crate) const SECRET: &str = "sk-very-secret-42";

/// The test server, which cargo builds with the tests.
pub(crate) fn program() -> String {
    let test = std::env::current_exe().unwrap();
    let program = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/mcp_server");
    assert!(
        program.exists(),
        "{} is built by `cargo test -p codex-mcp`",
        program.display()
    );
    program.to_str().unwrap().to_owned()
}

/// The table of a program with this manner.
pub(crate) fn server(manner: &str) -> Value {
    json!({ "command": program(), "args": [manner], "startup_timeout_sec": 20 })
}

pub(crate) fn configs<const N: usize>(tables: [(&str, Value); N]) -> BTreeMap<String, ServerConfig> {
    let tables = tables.map(|(name, table)| (name.to_owned(), table)).into();
    let (configs, problems) = read_servers(&tables);
    assert_eq!(problems, []);
    configs
}

/// Servers and what was told about them.
pub(crate) struct Rig {
    pub(crate) servers: Servers,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Rig {
    pub(crate) fn new<const N: usize>(tables: [(&str, Value); N]) -> Rig {
        Rig::with(tables, |_| {})
    }

    pub(crate) fn with<const N: usize>(tables: [(&str, Value); N], change: impl FnOnce(&mut Setup)) -> Rig {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let own = [
            ("SECRET_TOKEN", SECRET),
            ("NOT_FOR_SERVERS", "private"),
            ("PATH", "/usr/bin:/bin"),
        ];
        let mut setup = Setup {
            environment: own
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect::<Environment>(),
            cwd: PathBuf::from("/"),
            elicit: None,
            on_event: Arc::new(move |event| heard.lock().unwrap().push(event)),
        };
        change(&mut setup);
        Rig {
            servers: Servers::start(setup, configs(tables)),
            events,
        }
    }

    /// What was told about the start of a server.
    pub(crate) fn startups(&self, name: &str) -> Vec<Startup> {
        let events = self.events.lock().unwrap();
        let startups = events.iter().filter_map(|event| match event {
            Event::Startup { server, status, .. } if server == name => Some(*status),
            _ => None,
        });
        startups.collect()
    }

    /// The error that was last told about a server.
    pub(crate) fn error(&self, name: &str) -> Option<String> {
        let events = self.events.lock().unwrap();
        events.iter().rev().find_map(|event| match event {
            Event::Startup { server, error, .. } if server == name => error.clone(),
            _ => None,
        })
    }

    pub(crate) async fn started(&self, name: &str, expected: &[Startup]) {
        until(
            &format!("{name} to be {expected:?}"),
            || self.startups(name),
            |it| it == expected,
        )
        .await;
    }

    pub(crate) async fn call(&self, server: &str, tool: &str, arguments: Value) -> CallOutcome {
        let cancel = CancellationToken::new();
        tokio::time::timeout(
            PATIENCE,
            self.servers.call(call(server, tool, arguments), &cancel),
        )
        .await
        .unwrap()
    }

    /// The text that a call answers.
    pub(crate) async fn text(&self, server: &str, tool: &str, arguments: Value) -> String {
        let result = self.call(server, tool, arguments).await.result.unwrap();
        result.content[0]["text"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn pid(&self, server: &str) -> i32 {
        self.text(server, "pid", json!({})).await.parse().unwrap()
    }

    pub(crate) async fn tool_names(&self, wait: Duration) -> Vec<String> {
        let tools = self.servers.tools(wait).await;
        tools.iter().map(|it| it.qualified_name.clone()).collect()
    }
}

pub(crate) fn call(server: &str, tool: &str, arguments: Value) -> Call {
    Call {
        server: server.to_owned(),
        tool: tool.to_owned(),
        arguments,
        progress: None,
        elicit: None,
    }
}

/// Waits until what is looked at is as it should be.
pub(crate) async fn until<T: Debug>(what: &str, look: impl Fn() -> T, is_it: impl Fn(&T) -> bool) -> T {
    let began = Instant::now();
    loop {
        let seen = look();
        if is_it(&seen) {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "waited for {what}, saw {seen:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process is there and has not ended.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|it| !it.contains(") Z "))
}

pub(crate) async fn gone(pid: i32) {
    until(&format!("the end of process {pid}"), || runs(pid), |it| !it).await;
}
