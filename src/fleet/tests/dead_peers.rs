//! Peers that fall silent, machines that slept and logins that are refused, with a real sshd.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use codex_fleet::{Asking, Command, Event, Fleet, FleetConfig, Forward, Server, System, Transport, Way};
use codex_hosts::{Command as Wish, FailureKind, HostEvent, HostId, Status, Ticket};
use codex_protocol::{ClientRequest, v2};
use codex_ssh::{
    Connector, Local,
    config::{Sources, SystemWorld, resolve},
    route,
};
use codex_testkit::{Alias, Client, Codex, Host, HostOptions, require, wait};
use tokio::sync::mpsc;

/// A server that answers `initialize` and nothing else.
const SERVER: &str = r#"#!/bin/sh
read -r line
id=$(printf %s "$line" | sed 's/.*"id":\([^,}]*\).*/\1/')
printf '{"id":%s,"result":{"userAgent":"x/1.2.3 (y)"}}\n' "$id"
exec cat > /dev/null
"#;

/// After a thaw or a sleep, beside the time that connecting takes.
const BACK: Duration = Duration::from_secs(2);
/// Connecting again may take this many times as long as it did: other tests use the machine, too.
const SLOWER: u32 = 4;

/// A fleet with one host.
struct Rig {
    host: Host,
    fleet: Fleet,
    events: mpsc::Receiver<Event>,
    /// How long the first connection took.
    took: Duration,
    _client: Client,
}

impl Rig {
    /// Hands the host over when it is ready.
    async fn start() -> Rig {
        let client = Client::new();
        let options = HostOptions::new()
            .authorize(client.key())
            .codex(Codex::Script(SERVER.to_owned()));
        let host = Host::start(options);
        client.add(&Alias::new("devbox", &host));
        let sources = Sources::file(client.config());
        let config = FleetConfig {
            ways: Arc::new(|_| {
                Ok(Way::Ssh {
                    server: Server::Auto,
                    transport: Transport::Builtin,
                })
            }),
            resolver: Arc::new(move |query| {
                let mut world = SystemWorld::new();
                route(query, &mut |it| resolve(it, &sources, &mut world))
            }),
            connector: Connector::new(Local::default()),
            forward: Forward::None,
            policy: limits::POLICY,
            system: System::new(None, "codex".into(), Asking::Nobody),
            client_info: v2::ClientInfo {
                name: "test".to_owned(),
                title: None,
                version: "0".to_owned(),
            },
        };
        let (fleet, events) = Fleet::start(config).unwrap();
        let mut rig = Rig {
            host,
            fleet,
            events,
            took: Duration::ZERO,
            _client: client,
        };
        let begun = Instant::now();
        rig.wish(Wish::Connect).await;
        rig.until("the first connection", is_ready).await;
        rig.took = begun.elapsed();
        rig
    }

    async fn wish(&self, wish: Wish) {
        self.fleet.send(Command::Host(HostId::from("devbox"), wish)).await;
    }

    async fn call(&self) {
        let request = ClientRequest::ThreadArchive(v2::ThreadIdParams {
            thread_id: "t".into(),
        });
        let command = Command::Call(HostId::from("devbox"), Ticket(1), request);
        self.fleet.send(command).await;
    }

    /// Waits until the host is like this.
    async fn until(&mut self, name: &str, fits: impl Fn(&Status) -> bool) -> Status {
        let mut seen = Vec::new();
        let waiting = async {
            loop {
                match self.events.recv().await.unwrap() {
                    Event::Host(_, HostEvent::StatusChanged(status)) if fits(&status) => return status,
                    other => seen.push(other),
                }
            }
        };
        match tokio::time::timeout(wait::DEADLINE, waiting).await {
            Ok(status) => status,
            Err(_) => panic!("{name} did not come: {seen:#?}"),
        }
    }

    /// Waits until the host is ready again, which it is in time.
    async fn back(&mut self) {
        let begun = Instant::now();
        self.until("the host's return", is_ready).await;
        let limit = BACK + SLOWER * self.took;
        assert!(
            begun.elapsed() <= limit,
            "{:?}, and {limit:?} is the limit",
            begun.elapsed()
        );
    }

    /// Logins that sshd did not let in.
    fn refused(&self) -> usize {
        let log = self.host.log();
        log.lines()
            .filter(|it| it.contains("authenticating user"))
            .count()
    }
}

fn is_ready(status: &Status) -> bool {
    matches!(status, Status::Ready { .. })
}

fn is_failed(status: &Status) -> bool {
    matches!(status, Status::Failed(_))
}

#[tokio::test]
async fn a_connection_that_freezes_in_use_is_told_within_15_s_and_is_back_after_the_thaw() {
    require!(Sshd);
    let mut rig = Rig::start().await;
    rig.host.pause();
    let frozen = Instant::now();
    rig.call().await;
    let status = rig
        .until("the loss", |it| matches!(it, Status::Waiting { .. }))
        .await;
    let took = frozen.elapsed();
    assert!(took <= Duration::from_secs(16), "{took:?}");
    let Status::Waiting { failure, .. } = status else {
        unreachable!("it was waited for")
    };
    assert!(failure.message.contains("keepalives"), "{failure}");
    rig.host.resume();
    rig.back().await;
}

#[tokio::test]
async fn a_connection_that_died_in_the_machines_sleep_is_made_anew_in_two_seconds() {
    require!(Sshd);
    let mut rig = Rig::start().await;
    rig.host.pause_sessions();
    // What the fleet tells its hosts when the wall clock ran ahead.
    rig.wish(Wish::Wake).await;
    rig.back().await;
}

#[tokio::test]
async fn a_login_that_is_no_longer_allowed_is_tried_once_and_then_only_by_the_user() {
    require!(Sshd);
    let mut rig = Rig::start().await;
    rig.host.write(".ssh/authorized_keys", "");
    let before = rig.refused();
    rig.host.kill_sessions();
    let Status::Failed(failure) = rig.until("the refusal", is_failed).await else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.kind, FailureKind::Unauthorized, "{failure}");
    for _ in 0..5 {
        rig.wish(Wish::Wake).await;
    }
    rig.wish(Wish::Connect).await;
    rig.until("the second refusal", is_failed).await;
    wait::until("sshd's log", wait::DEADLINE, || {
        (rig.refused() >= before + 2).then_some(())
    });
    assert_eq!(rig.refused(), before + 2, "{}", rig.host.log());
}
