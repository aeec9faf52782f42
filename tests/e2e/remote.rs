//! `codex --remote` and `codex exec --remote`: servers that listen, the official one and ours.

use codex_testkit::{Client, require};
use serde_json::Value;

use crate::{
    serving::{Cable, Serving, Whose, next_second},
    setting::{Running, codex},
};

fn is_status(status: &'static str) -> impl Fn(&Value) -> bool {
    move |params| params["status"] == status
}

fn runs_turns(serving: &Serving) {
    let client = Client::new();
    let outcome = codex(&client, &["exec", "--remote", &serving.url, "say hello world"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello world\n"),
        "{outcome:?}"
    );
    let args = [
        "exec",
        "--json",
        "--remote",
        &serving.url,
        "run pwd > where\nsay done",
    ];
    let outcome = codex(&client, &args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let first: Value = serde_json::from_str(outcome.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first["host"], serving.url.as_str());
    let where_it_ran = std::fs::read_to_string(serving.work().join("where")).unwrap();
    assert_eq!(where_it_ran, format!("{}\n", serving.work().display()));
}

/// The ids of the threads that runs with `--json` have used.
fn thread_of(outcome: &crate::setting::Outcome) -> String {
    let events = outcome
        .stdout
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).unwrap());
    let mut threads = events.filter(|it| it["event"] == "thread");
    let thread = threads.next().unwrap_or_else(|| panic!("{outcome:?}"));
    thread["params"]["threadId"].as_str().unwrap().to_owned()
}

fn goes_on_with_threads(serving: &Serving) {
    let client = Client::new();
    let url = serving.url.as_str();
    let run = |args: &[&str]| {
        let outcome = codex(&client, &[&["exec", "--json", "--remote", url], args].concat());
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        thread_of(&outcome)
    };
    let first = run(&["say one"]);
    let second = run(&["say two"]);
    assert_ne!(first, second);
    next_second();
    assert_eq!(run(&["resume", &first, "say three"]), first);
    assert_eq!(run(&["resume", "--last", "say four"]), first);
    let said = serving.model.requests().last().unwrap().input().to_vec();
    let said = serde_json::to_string(&said).unwrap();
    assert!(
        said.contains("say one") && said.contains("say three") && !said.contains("say two"),
        "{said}"
    );
    let work = serving.work().display().to_string();
    assert_eq!(run(&["resume", "--last", "--cd", &work, "say five"]), first);
    let none = codex(
        &client,
        &[
            "exec", "--remote", url, "resume", "--last", "--cd", "/usr", "say six",
        ],
    );
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.stderr.contains("no thread to resume in `/usr`"), "{none:?}");
    let unknown = "00000000-0000-7000-8000-000000000000";
    let none = codex(
        &client,
        &["exec", "--remote", url, "resume", unknown, "say seven"],
    );
    assert_eq!(none.code, Some(1), "{none:?}");
}

/// The connection is cut under a turn: it comes back by itself, and the turn's end is not missed.
fn survives_a_cut(serving: &Serving) {
    let (client, cable) = (Client::new(), Cable::to(&serving.url));
    let args = ["exec", "--json", "--remote", &cable.url, "hold a"];
    let mut running = Running::start(&client, &args);
    running.wait_for_event(&cable.url, "item/agentMessage/delta");
    cable.cut();
    let lost = running.wait_for_event_where(&cable.url, "status", is_status("waiting"));
    assert_eq!(lost["failure"]["code"], "unreachable", "{lost}");
    running.wait_for_event_where(&cable.url, "status", is_status("ready"));
    serving.model.gate("a").open();
    let done = running.wait_for_event(&cable.url, "done");
    assert_eq!(done["exitCode"], 0, "{done}");
    assert_eq!(running.finish().code, Some(0));
}

#[test]
fn turns_run_on_the_official_server_over_tcp() {
    require!(Official);
    runs_turns(&Serving::tcp(Whose::Official));
}

#[test]
fn turns_run_on_the_official_server_over_a_socket() {
    require!(Official);
    runs_turns(&Serving::unix(Whose::Official));
}

#[test]
fn turns_run_on_our_server_over_tcp() {
    runs_turns(&Serving::tcp(Whose::Ours));
}

#[test]
fn turns_run_on_our_server_over_a_socket() {
    runs_turns(&Serving::unix(Whose::Ours));
}

#[test]
fn threads_of_the_official_server_go_on() {
    require!(Official);
    goes_on_with_threads(&Serving::tcp(Whose::Official));
}

#[test]
fn threads_of_our_server_go_on() {
    goes_on_with_threads(&Serving::unix(Whose::Ours));
}

#[test]
fn a_lost_connection_to_the_official_server_comes_back_by_itself() {
    require!(Official);
    survives_a_cut(&Serving::tcp(Whose::Official));
}

#[test]
fn a_lost_connection_to_our_server_comes_back_by_itself() {
    survives_a_cut(&Serving::tcp(Whose::Ours));
}

#[test]
fn a_server_that_is_started_again_is_found_again() {
    let mut serving = Serving::tcp(Whose::Ours);
    let client = Client::new();
    let url = serving.url.clone();
    let mut running = Running::start(&client, &["exec", "--json", "--remote", &url, "hold a"]);
    running.wait_for_event(&url, "item/agentMessage/delta");
    serving.restart(|| {
        running.wait_for_event_where(&url, "status", is_status("waiting"));
    });
    running.wait_for_event_where(&url, "status", is_status("ready"));
    running.wait_for_event(&url, "done");
    assert_eq!(running.finish().code, Some(1), "its turn ended with it");
}

#[test]
fn what_cannot_be_reached_says_why_and_what_to_do() {
    let client = Client::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let stale = client.home().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let stale = format!("unix://{}", stale.display());
    for (url, code, why, hint) in [
        (
            closed.as_str(),
            3,
            "refused",
            "codex app-server --listen ws://127.0.0.1:",
        ),
        (
            &stale,
            3,
            "nobody listens at it any more",
            "codex app-server --listen unix:///",
        ),
        (
            "unix://no.sock",
            3,
            "/no.sock: there is no such socket",
            "codex app-server --listen",
        ),
        (
            "unix://",
            3,
            "app-server.sock: there is no such socket",
            "codex app-server --listen",
        ),
        (
            "ws://0.0.0.0:4500",
            2,
            "stands for all addresses",
            "ws://127.0.0.1",
        ),
        ("wss://devbox:4500", 2, "TLS", "ssh -L"),
        ("ws://devbox", 2, "names no port", "ws://HOST:PORT"),
        ("http://devbox:1", 2, "is no address of a server", "unix://PATH"),
        ("devbox", 2, "is no address of a server", "ws://HOST:PORT"),
        (
            "ws://me:hunter2@devbox:1",
            2,
            "authentication is not supported",
            "ssh -L",
        ),
    ] {
        let outcome = codex(&client, &["exec", "--remote", url, "say hi"]);
        assert_eq!(outcome.code, Some(code), "{url}: {outcome:?}");
        assert!(outcome.stderr.contains(why), "{url}: {outcome:?}");
        let told = outcome.stderr.split_once("hint: ").map(|(_, it)| it);
        assert!(told.is_some_and(|it| it.contains(hint)), "{url}: {outcome:?}");
        assert!(!outcome.stderr.contains("hunter2"), "{outcome:?}");
    }
}
