//! Two hosts to play with: sshd, the official codex and the scripted model, until Ctrl+C or the end of stdin.
//!
//! Prints the environment in which `codex connect devbox gpu1` reaches them. What the model understands says
//! `Model::start`: try `escalate touch outside`, `patch new.txt text` or `stream 200 20ms`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for people")]

use std::io::Read;

use codex_testkit::{Alias, Client, Host, HostOptions, Model};

fn main() {
    let client = Client::new();
    let models = [Model::start(), Model::start()];
    let hosts: Vec<Host> = ["devbox", "gpu1"]
        .iter()
        .zip(&models)
        .map(|(name, model)| {
            let host = Host::start(HostOptions::new().authorize(client.key()).model(model));
            client.add(&Alias::new(name, &host));
            host
        })
        .collect();
    let variables: Vec<String> = client
        .environment()
        .iter()
        .map(|(name, value)| format!("{name}='{value}'"))
        .collect();
    println!(
        "env -i {} TERM=\"$TERM\" codex connect devbox gpu1",
        variables.join(" ")
    );
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
    drop(hosts);
}
