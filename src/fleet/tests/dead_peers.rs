//! Peers that fall silent, machines that slept and logins that are refused, with a real sshd.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use codex_fleet::{
    Asking, Command, Event, Fleet, FleetConfig, Forward, Server, System, Transport, Way, limits,
};
use codex_hosts::{Command as Wish, Failure, FailureKind, HostEvent, HostId, Policy, Status, Ticket};
use codex_protocol::{ClientRequest, v2};
use codex_ssh::{
    Connector, Local,
    config::{Sources, SystemWorld, resolve},
    route,
};
use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Network, require, wait};
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc};

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

/// A host that lets the client in.
fn host(client: &Client, wish: impl FnOnce(HostOptions) -> HostOptions) -> Host {
    let options = HostOptions::new().authorize(client.key());
    Host::start(wish(options.codex(Codex::Script(SERVER.to_owned()))))
}

/// Makes a dead peer known in two seconds.
fn alert(alias: Alias) -> Alias {
    alias.line("ServerAliveInterval 1").line("ServerAliveCountMax 1")
}

impl Rig {
    /// Hands the host over when it is ready.
    async fn start() -> Rig {
        let client = Client::new();
        let host = host(&client, |it| it);
        client.add(&Alias::new("devbox", &host));
        Rig::of(client, host, limits::POLICY).await
    }

    /// The same with a host that the client knows as `devbox`.
    async fn of(client: Client, host: Host, policy: Policy) -> Rig {
        let sources = Sources::file(client.config());
        let config = FleetConfig {
            names: Arc::new(Vec::new),
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
            system: System::new(None, "codex".into(), Asking::Nobody),
            client_info: v2::ClientInfo {
                name: "test".to_owned(),
                title: None,
                version: "0".to_owned(),
            },
            policy,
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

    /// Waits until the host is between two attempts: why, and for how long.
    async fn lost(&mut self) -> (Failure, Duration) {
        let status = self
            .until("a loss", |it| matches!(it, Status::Waiting { .. }))
            .await;
        let Status::Waiting { failure, until, .. } = status else {
            unreachable!("it was waited for")
        };
        (failure, until.saturating_duration_since(Instant::now()))
    }

    /// Lets time go by, in which the host does not come back.
    async fn stays_away(&mut self, time: Duration) {
        let back = async {
            loop {
                if let Event::Host(_, HostEvent::StatusChanged(status)) = self.events.recv().await.unwrap()
                    && is_ready(&status)
                {
                    return;
                }
            }
        };
        assert!(tokio::time::timeout(time, back).await.is_err(), "it is back");
    }

    /// Connections that sshd took.
    fn taken(&self) -> usize {
        let log = self.host.log();
        log.lines()
            .filter(|it| it.starts_with("Connection from "))
            .count()
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
    let (failure, _) = rig.lost().await;
    let took = frozen.elapsed();
    assert!(took <= Duration::from_secs(16), "{took:?}");
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

#[tokio::test]
async fn a_server_that_is_stopped_finds_one_connection_for_each_doubling_of_its_absence() {
    require!(Sshd);
    let client = Client::new();
    let host = host(&client, |it| it);
    client.add(&alert(Alias::new("devbox", &host)));
    let policy = Policy {
        silence_min: Duration::from_secs(1),
        ..limits::POLICY
    };
    let mut rig = Rig::of(client, host, policy).await;
    let before = rig.taken();
    rig.host.pause();
    let (failure, _) = rig.lost().await;
    assert!(failure.message.contains("keepalives"), "{failure}");
    let frozen = Instant::now();
    let mut waited = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let (failure, pause) = rig.lost().await;
        assert!(failure.message.contains("identification"), "{failure}");
        assert!(pause <= limits::POLICY.eager_pause, "{pause:?}");
        waited.push(begun.elapsed().as_secs());
    }
    assert!(waited[0] < waited[1] && waited[1] < waited[2], "{waited:?}");
    assert!(
        frozen.elapsed() > Duration::from_secs(6),
        "{:?}",
        frozen.elapsed()
    );
    rig.host.resume();
    rig.back().await;
    let taken = rig.taken() - before;
    assert!(taken <= 4, "{taken}: {}", rig.host.log());
}

/// Runs a test on the near machine of a network whose far machine has a host, which the client knows as `devbox`.
fn across(policy: Policy, test: impl AsyncFnOnce(Rig, &Network) + Send, wish: fn(&Client, Alias, &Host)) {
    let network = Network::start();
    let client = Client::new();
    let host = network.far(|| host(&client, |it| it.sshd(&format!("ListenAddress {}", Network::FAR))));
    let alias = Alias::new("devbox", &host)
        .line(&format!("HostName {}", Network::FAR))
        .line(&format!("HostKeyAlias [127.0.0.1]:{}", host.port()));
    wish(&client, alert(alias), &host);
    network.near(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { test(Rig::of(client, host, policy).await, &network).await });
    });
}

#[test]
fn a_network_that_loses_every_packet_brings_its_host_back_when_it_carries_again() {
    require!(Sshd, Network);
    let test = async |mut rig: Rig, network: &Network| {
        // The kernel sends the first packet of a connection again after 7 and 15 seconds, or after 11 and 19.
        for frozen in [12, 3] {
            let before = rig.taken();
            network.freeze();
            let (failure, _) = rig.lost().await;
            assert!(failure.message.contains("keepalives"), "{failure}");
            rig.stays_away(Duration::from_secs(frozen)).await;
            network.thaw();
            rig.back().await;
            assert_eq!(rig.taken(), before + 1, "{}", rig.host.log());
        }
    };
    across(limits::POLICY, test, |client, alias, _| {
        client.add(&alias.line("ConnectTimeout 30"));
    });
}

#[test]
fn a_bastion_that_freezes_brings_the_hosts_behind_it_back() {
    require!(Sshd, Network);
    let test = async |mut rig: Rig, network: &Network| {
        network.freeze();
        rig.lost().await;
        // The limit of an attempt is over several times.
        rig.stays_away(Duration::from_secs(9)).await;
        network.thaw();
        rig.back().await;
    };
    // The host behind the bastion is the same one, by an address that only its own machine has.
    across(limits::POLICY, test, |client, alias, host| {
        client.add(&alert(Alias::new("devbox", host)).jump("bastion"));
        client.append_config(&format!(
            "Host bastion\n    HostName {}\n    Port {}\n    User {}\n    IdentityFile {}\n    UserKnownHostsFile {}\n    \
             HostKeyAlias [127.0.0.1]:{}\n    ServerAliveInterval 1\n    ServerAliveCountMax 1\n    ConnectTimeout 2\n",
            Network::FAR,
            host.port(),
            host.user(),
            client.key().path().display(),
            client.known_hosts().display(),
            host.port(),
        ));
        drop(alias);
    });
}

#[test]
fn a_connection_to_a_silent_server_is_given_up_when_its_machine_is_gone() {
    require!(Sshd, Network);
    let policy = Policy {
        silence_min: Duration::from_secs(60),
        ..limits::POLICY
    };
    let test = async |mut rig: Rig, network: &Network| {
        rig.host.pause();
        rig.lost().await;
        rig.stays_away(Duration::from_secs(2)).await;
        network.freeze();
        let begun = Instant::now();
        let (failure, _) = rig.lost().await;
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}: {failure}");
        rig.host.resume();
        rig.stays_away(Duration::from_secs(3)).await;
        network.thaw();
        rig.back().await;
    };
    across(policy, test, |client, alias, _| client.add(&alias));
}

#[tokio::test]
async fn a_server_that_sends_connections_away_is_left_alone_for_longer_each_time() {
    require!(Sshd);
    let client = Client::new();
    let host = host(&client, |it| it.sshd("PerSourceMaxStartups 1"));
    client.add(&Alias::new("devbox", &host));
    let mut rig = Rig::of(client, host, limits::POLICY).await;
    let before = rig.taken();
    rig.host.kill_sessions();
    rig.lost().await;
    // It waits for a login that never comes.
    let stranger = std::net::TcpStream::connect(("127.0.0.1", rig.host.port())).unwrap();
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let (failure, pause) = rig.lost().await;
        assert!(failure.message.contains("MaxStartups"), "{failure}");
        pauses.push(pause);
    }
    assert!(limits::POLICY.eager_pause < pauses[2], "{pauses:?}");
    let taken = rig.taken() - before;
    assert!(taken <= 1, "the stranger's: {}", rig.host.log());
    drop(stranger);
    rig.until("the end of the rush", is_ready).await;
}

#[tokio::test]
async fn a_proxy_command_that_fails_is_started_at_its_own_pace_and_its_refused_login_is_not_repeated() {
    require!(Sshd);
    let client = Client::new();
    let host = host(&client, |it| it);
    // It carries, unless there is something to say.
    let words = client.home().join("words");
    let script = format!(
        "cat {} >&2 && exit 1; exec 3<>/dev/tcp/127.0.0.1/{}; cat <&3 & exec cat >&3",
        words.display(),
        host.port()
    );
    let proxy = client.home().join("proxy");
    std::fs::write(&proxy, script).unwrap();
    let alias = Alias::new("devbox", &host).line(&format!("ProxyCommand bash {}", proxy.display()));
    client.add(&alias);
    let policy = Policy {
        program_pause: Duration::from_millis(700),
        ..limits::POLICY
    };
    let mut rig = Rig::of(client, host, policy).await;
    std::fs::write(&words, "no route to host").unwrap();
    rig.host.kill_sessions();
    rig.lost().await;
    for _ in 0..3 {
        let (failure, pause) = rig.lost().await;
        assert!(failure.message.contains("no route to host"), "{failure}");
        let least = policy.program_pause - Duration::from_millis(200);
        assert!((least..=policy.program_pause).contains(&pause), "{pause:?}");
    }
    std::fs::write(&words, "me@bastion: Permission denied (publickey).").unwrap();
    let Status::Failed(failure) = rig.until("the refusal", is_failed).await else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.kind, FailureKind::Unauthorized, "{failure}");
}

#[tokio::test]
async fn an_account_that_is_closed_meanwhile_is_tried_once_although_its_key_is_taken() {
    require!(Sshd, Pam);
    let stack = |account: &str| {
        format!("auth required pam_deny.so\naccount required {account}\nsession required pam_permit.so\n")
    };
    // The file stays the same one, so that it can be written from here.
    let setup = format!(
        "printf '{}' > \"$home/pam\"; mount --bind \"$home/pam\" /etc/pam.d/sshd\n",
        stack("pam_permit.so")
    );
    let client = Client::new();
    let host = host(&client, |it| it.sshd("UsePAM yes").setup(&setup));
    client.add(&Alias::new("devbox", &host));
    let mut rig = Rig::of(client, host, limits::POLICY).await;
    rig.host.write("pam", &stack("pam_deny.so"));
    rig.host.kill_sessions();
    let Status::Failed(failure) = rig.until("the refusal", is_failed).await else {
        unreachable!("it was waited for")
    };
    assert_eq!(failure.kind, FailureKind::Unauthorized, "{failure}");
    assert!(
        failure.message.contains("the server closed the connection"),
        "{failure}"
    );
    for _ in 0..5 {
        rig.wish(Wish::Wake).await;
    }
    rig.wish(Wish::Connect).await;
    rig.until("the second refusal", is_failed).await;
    let log = rig.host.log();
    let denied = log.matches("Access denied for user").count();
    assert_eq!(denied, 2, "{log}");
}

#[tokio::test]
async fn a_server_that_sends_us_away_for_a_while_says_so_and_is_back_by_itself() {
    require!(Sshd);
    let mut rig = Rig::start().await;
    rig.host.stop();
    let listener = TcpListener::bind(("127.0.0.1", rig.host.port())).await.unwrap();
    let mut turned_away = 0;
    let penalty = async {
        // As sshd does with an address that it punishes (PerSourcePenalties).
        while turned_away < 3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"Not allowed at this time\r\n").await;
            turned_away += 1;
        }
    };
    let is_away = |status: &Status| match status {
        Status::Waiting { failure, .. } => failure.message.contains("Not allowed at this time"),
        _ => false,
    };
    let (status, ()) = tokio::join!(rig.until("the words of the server", is_away), penalty);
    let Status::Waiting { failure, .. } = status else {
        unreachable!("it was waited for")
    };
    let hint = failure.hint.unwrap();
    assert!(hint.contains("PerSourcePenalties"), "{hint}");
    drop(listener);
    rig.host.start_again();
    rig.until("the host's return", is_ready).await;
}
