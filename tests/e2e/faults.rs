//! Hosts that hang, vanish and come back.

use codex_testkit::{Alias, Client, Host, HostOptions, Model, require};
use serde_json::Value;

use crate::setting::{Running, codex, devbox};

fn is_status(status: &'static str) -> impl Fn(&Value) -> bool {
    move |params| params["status"] == status
}

#[test]
fn a_host_that_hangs_leaves_the_other_untouched_and_goes_on_when_it_wakes() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let (slow, _fast) = (devbox(&client, "slow", &model), devbox(&client, "fast", &model));
    let args = ["exec", "--json", "--host", "slow", "--host", "fast", "hold both"];
    let mut running = Running::start(&client, &args);
    running.wait_for_event("slow", "item/agentMessage/delta");
    slow.pause();
    model.gate("both").open();
    let done = running.wait_for_event("fast", "done");
    assert_eq!(done["exitCode"], 0);
    slow.resume();
    let done = running.wait_for_event("slow", "done");
    assert_eq!(done["exitCode"], 0);
    assert_eq!(running.finish().code, Some(0));
}

#[test]
fn a_host_that_does_not_even_connect_leaves_the_other_untouched() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let (slow, _fast) = (devbox(&client, "slow", &model), devbox(&client, "fast", &model));
    slow.pause();
    let args = ["exec", "--json", "--host", "slow", "--host", "fast", "say hello"];
    let mut running = Running::start(&client, &args);
    running.wait_for_event("fast", "done");
    slow.resume();
    let done = running.wait_for_event("slow", "done");
    assert_eq!(done["exitCode"], 0);
    assert_eq!(running.finish().code, Some(0));
}

#[test]
fn a_killed_connection_comes_back_by_itself_and_with_it_the_thread() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = devbox(&client, "devbox", &model);
    let mut running = Running::start(&client, &["exec", "--json", "--host", "devbox", "hold a"]);
    let thread = running.wait_for_event("devbox", "thread")["threadId"].clone();
    running.wait_for_event("devbox", "item/agentMessage/delta");
    host.kill_sessions();
    let lost = running.wait_for_event_where("devbox", "status", is_status("waiting"));
    assert_eq!(lost["failure"]["code"], "unreachable", "{lost}");
    running.wait_for_event_where("devbox", "status", is_status("ready"));
    // The official server ends its turn with its connection, and says so when the thread is resumed.
    let error = running.wait_for_event("devbox", "error");
    assert_eq!(error["message"], "the turn is interrupted", "{thread}");
    assert_eq!(running.finish().code, Some(1));
    let again = codex(&client, &["exec", "--host", "devbox", "say hello"]);
    assert_eq!(again.code, Some(0), "{again:?}");
}

#[test]
fn a_peer_that_falls_silent_is_noticed_by_keepalives() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    let alias = Alias::new("devbox", &host)
        .line("ServerAliveInterval 1")
        .line("ServerAliveCountMax 1");
    client.add(&alias);
    let mut running = Running::start(&client, &["exec", "--json", "--host", "devbox", "hold a"]);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    host.pause();
    let lost = running.wait_for_event_where("devbox", "status", is_status("waiting"));
    assert!(
        lost["failure"]["message"].as_str().unwrap().contains("keepalive"),
        "{lost}"
    );
    host.resume();
    running.wait_for_event_where("devbox", "status", is_status("ready"));
    running.wait_for_event("devbox", "done");
    running.finish();
}

#[test]
fn a_host_that_is_not_there_is_told_at_once() {
    require!(Sshd);
    let client = Client::new();
    let mut host = Host::start(HostOptions::new().authorize(client.key()));
    client.add(&Alias::new("devbox", &host));
    host.stop();
    let outcome = codex(&client, &["exec", "--host", "devbox", "say hello"]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(
        outcome.stderr.contains(&format!("port {}", host.port())),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("refused"), "{outcome:?}");
}

#[test]
fn a_channel_that_sshd_closes_because_nothing_was_said_is_no_fault_of_the_server() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().authorize(client.key()).model(&model);
    let host = Host::start(options.sshd("ChannelTimeout session:*=3s"));
    client.add(&Alias::new("devbox", &host));
    let outcome = codex(&client, &["exec", "--host", "devbox", "hold it"]);
    // On a slow machine the next connection may come to nothing, too.
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    let words = "the host closed the channel of /usr/local/bin/codex app-server";
    assert!(outcome.stderr.contains(words), "{outcome:?}");
}
