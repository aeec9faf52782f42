//! Hosts behind jump hosts, programs of the user and the system's `ssh`, when their network loses every packet and when
//! their sshd is stopped: all ways at the same time.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use codex_fleet::{
    Asking, Command, Event, Fleet, FleetConfig, Forward, Server, System, Transport, Way, limits,
};
use codex_hosts::{Command as Wish, FailureKind, HostEvent, HostId, Policy, Reply, Secret, Status};
use codex_protocol::v2;
use codex_ssh::{
    Connector, Local,
    config::{Sources, SystemWorld, resolve},
    route,
};
use codex_testkit::{
    AUTHENTICATOR_CODES, Alias, Client, Codex, Host, HostOptions, Login, Network, PASSWORD, require, wait,
};
use tokio::sync::mpsc;

/// A server that answers `initialize` and nothing else.
const SERVER: &str = r#"#!/bin/sh
read -r line
id=$(printf %s "$line" | sed 's/.*"id":\([^,}]*\).*/\1/')
printf '{"id":%s,"result":{"userAgent":"x/1.2.3 (y)"}}\n' "$id"
exec cat > /dev/null
"#;

/// After a thaw, beside the time that connecting takes.
const BACK: Duration = Duration::from_secs(2);
/// Connecting again may take this many times as long as it did: all do it at once, and other tests use the machine, too.
const SLOWER: u32 = 4;
/// A connection that is tried when the network begins to lose packets has its next packet sent 15 or 19 s later, when
/// the one before was sent after 7 or 11 s: whoever relies on it comes back late.
const BETWEEN_TWO_PACKETS: Duration = Duration::from_millis(12_500);
/// Nothing but what is tested ends an attempt.
const PATIENT: &str = "ConnectTimeout 60";

/// A fleet with one host for each way.
struct Rig {
    fleet: Fleet,
    events: mpsc::Receiver<Event>,
    hosts: Vec<HostId>,
    /// How long the first connection to each took.
    took: BTreeMap<HostId, Duration>,
    /// Logins that wanted a code.
    codes: usize,
}

fn ways(commands: BTreeMap<HostId, (Vec<String>, Server)>) -> codex_fleet::Ways {
    Arc::new(move |id| {
        Ok(match commands.get(id).cloned() {
            Some((argv, server)) => Way::Command { argv, server },
            None => Way::Ssh {
                server: Server::Auto,
                transport: match id.0.starts_with("system") {
                    true => Transport::System,
                    false => Transport::Builtin,
                },
            },
        })
    })
}

impl Rig {
    async fn start(
        client: &Client,
        hosts: &[&str],
        commands: BTreeMap<HostId, (Vec<String>, Server)>,
    ) -> Rig {
        let sources = Sources::file(client.config());
        let helper = std::env::current_exe().unwrap();
        let config = FleetConfig {
            names: Arc::new(Vec::new),
            ways: ways(commands),
            resolver: Arc::new(move |query| {
                let mut world = SystemWorld::new();
                route(query, &mut |it| resolve(it, &sources, &mut world))
            }),
            connector: Connector::new(Local::default()),
            forward: Forward::None,
            system: System::new(Some(client.config()), helper, Asking::Nobody),
            client_info: v2::ClientInfo {
                name: "test".to_owned(),
                title: None,
                version: "0".to_owned(),
            },
            policy: Policy {
                program_min: Duration::from_secs(20),
                ..limits::POLICY
            },
        };
        let (fleet, events) = Fleet::start(config).unwrap();
        let mut rig = Rig {
            fleet,
            events,
            hosts: hosts.iter().map(|&it| HostId::from(it)).collect(),
            took: BTreeMap::new(),
            codes: 0,
        };
        for id in rig.hosts.clone() {
            let begun = Instant::now();
            rig.fleet.send(Command::Host(id.clone(), Wish::Connect)).await;
            rig.each("the first connection", std::slice::from_ref(&id), is_ready)
                .await;
            rig.took.insert(id, begun.elapsed());
        }
        rig
    }

    /// The next status of a host; questions are for the password and for a code.
    async fn next(&mut self) -> (HostId, Status) {
        loop {
            match self.events.recv().await.unwrap() {
                Event::Host(id, HostEvent::StatusChanged(status)) => return (id, status),
                Event::Asked(id, number, question) => {
                    let answer = match format!("{question:?}").contains("One-time") {
                        true => {
                            self.codes += 1;
                            AUTHENTICATOR_CODES[self.codes - 1]
                        }
                        false => PASSWORD,
                    };
                    let answer = Reply::Secrets(vec![Secret::new(answer.to_owned().into())]);
                    self.fleet.send(Command::Answer(id, number, answer)).await;
                }
                _ => {}
            }
        }
    }

    /// Waits until each of these hosts was like this: how long it took.
    async fn each(
        &mut self,
        name: &str,
        hosts: &[HostId],
        fits: impl Fn(&Status) -> bool,
    ) -> BTreeMap<HostId, Duration> {
        let begun = Instant::now();
        let mut done = BTreeMap::new();
        let mut seen = Vec::new();
        let waiting = async {
            while done.len() < hosts.len() {
                let (id, status) = self.next().await;
                assert!(!matches!(status, Status::Failed(_)), "{id:?}: {status:?}");
                if hosts.contains(&id) && fits(&status) {
                    done.entry(id).or_insert(begun.elapsed());
                } else {
                    seen.push((id, status));
                }
            }
        };
        let all = tokio::time::timeout(wait::DEADLINE, waiting).await;
        assert!(all.is_ok(), "{name} did not come: {done:?}, {seen:#?}");
        done
    }

    /// Lets time go by, in which no host comes back.
    async fn stay_away(&mut self, time: Duration) {
        let back = async {
            loop {
                let (id, status) = self.next().await;
                if is_ready(&status) {
                    return id;
                }
            }
        };
        let back = tokio::time::timeout(time, back).await;
        assert!(back.is_err(), "{back:?} is back");
    }

    /// Waits until all are back, which each of them is in time.
    async fn back(&mut self) {
        let hosts = self.hosts.clone();
        let took = self.each("their return", &hosts, is_ready).await;
        for (id, took) in took {
            let limit = BACK + SLOWER * self.took[&id];
            assert!(took <= limit, "{}: {took:?}, and {limit:?} is the limit", id.0);
        }
    }
}

fn is_ready(status: &Status) -> bool {
    matches!(status, Status::Ready { .. })
}

fn is_lost(status: &Status) -> bool {
    matches!(status, Status::Waiting { .. })
}

fn options(client: &Client) -> HostOptions {
    let options = HostOptions::new().authorize(client.key());
    options.codex(Codex::Script(SERVER.to_owned()))
}

/// Connections that sshd took.
fn taken(host: &Host) -> usize {
    let log = host.log();
    let lines = log.lines().filter(|it| it.starts_with("Connection from "));
    lines.count()
}

/// Of those, the ones that ended before their login.
fn left(host: &Host) -> usize {
    let log = host.log();
    log.lines()
        .filter(|it| it.starts_with("Connection closed by ") || it.starts_with("Connection reset by "))
        .count()
}

/// A host of the far machine.
fn far(network: &Network, client: &Client, name: &str, wish: impl Fn(Alias) -> Alias) -> Host {
    let options = options(client).sshd(&format!("ListenAddress {}", Network::FAR));
    let host = network.far(|| Host::start(options));
    let alias = Alias::new(name, &host)
        .line(&format!("HostName {}", Network::FAR))
        .line(&format!("HostKeyAlias [127.0.0.1]:{}", host.port()))
        .line("ServerAliveInterval 1")
        .line("ServerAliveCountMax 1")
        .line(PATIENT);
    client.add(&wish(alias));
    host
}

/// What `nc` does.
fn carrier(client: &Client) -> String {
    let script = client.home().join("carrier");
    fs::write(&script, "exec 3<>/dev/tcp/$1/$2; cat <&3 & exec cat >&3").unwrap();
    format!("bash {} %h %p", script.display())
}

/// Runs this on the near machine.
fn near(network: &Network, test: impl AsyncFnOnce() + Send) {
    network.near(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
}

#[test]
fn a_network_that_carries_again_brings_the_hosts_of_every_way_back() {
    require!(Sshd, Network, Pam);
    let network = Network::start();
    let client = Client::new();
    let bastion = network.near(|| Host::start(options(&client)));
    let asking = network.near(|| Host::start(HostOptions::new().login(Login::TwoPrompts)));
    client.add(&Alias::new("bastion", &bastion));
    client.add(&Alias::new("asking", &asking));
    let jump = far(&network, &client, "jump", |it| it.jump("bastion"));
    let asked = far(&network, &client, "asked", |it| it.jump("asking"));
    let command = carrier(&client);
    let carried = far(&network, &client, "carried", |it| {
        it.line(&format!("ProxyCommand {command}"))
    });
    let command = format!(
        "ProxyCommand ssh -F {} -W %h:%p bastion",
        client.config().display()
    );
    let piped = far(&network, &client, "piped", |it| it.line(&command));
    let system = far(&network, &client, "system", |it| it);
    near(&network, async || {
        let names = ["jump", "asked", "carried", "piped", "system"];
        let mut rig = Rig::start(&client, &names, BTreeMap::new()).await;
        let hosts = [&jump, &asked, &carried, &piped, &system];
        let before = hosts.map(taken);
        let unfinished = hosts.map(left);
        let at_asking = taken(&asking);
        network.freeze();
        let all = rig.hosts.clone();
        rig.each("the loss", &all, is_lost).await;
        rig.stay_away(BETWEEN_TWO_PACKETS).await;
        network.thaw();
        rig.back().await;
        for (host, name) in [(&carried, 2), (&piped, 3)] {
            assert_eq!(taken(host), before[name] + 1, "{}: {}", names[name], host.log());
        }
        // Jump hosts cannot take a try back: what gets through late is closed at once.
        for (host, name) in [(&jump, 0), (&asked, 1)] {
            let is_closed = || (left(host) > unfinished[name]).then_some(());
            wait::until("the end of what came late", wait::DEADLINE, is_closed);
            let strays = taken(host) - before[name] - 1;
            assert!((1..=2).contains(&strays), "{}: {}", names[name], host.log());
        }
        assert_eq!(
            (rig.codes, taken(&asking)),
            (1, at_asking),
            "nobody logs in there again"
        );
        // Ours, which looks, and the client's.
        assert!(taken(&system) <= before[4] + 2, "{}", system.log());
        rig.fleet.shutdown().await;
    });
}

#[tokio::test]
async fn after_the_machines_sleep_the_hosts_behind_one_jump_host_are_back_in_two_seconds() {
    require!(Sshd, Pam);
    let client = Client::new();
    // Its session would be kept for them.
    let bastion = Host::start(HostOptions::new().login(Login::TwoPrompts));
    client.add(&Alias::new("bastion", &bastion));
    let hosts = ["one", "two"].map(|name| {
        let host = Host::start(options(&client));
        client.add(&Alias::new(name, &host).jump("bastion"));
        host
    });
    let mut rig = Rig::start(&client, &["one", "two"], BTreeMap::new()).await;
    let before = taken(&bastion);
    bastion.pause_sessions();
    for id in rig.hosts.clone() {
        // What the fleet tells its hosts when the wall clock ran ahead.
        rig.fleet.send(Command::Host(id, Wish::Wake)).await;
    }
    rig.back().await;
    assert_eq!(taken(&bastion), before + 1, "{}", bastion.log());
    assert!(hosts.iter().all(|it| it.log().contains("Accepted publickey")));
    rig.fleet.shutdown().await;
}

#[tokio::test]
async fn a_host_that_refuses_every_connection_costs_its_jump_host_one_login() {
    require!(Sshd);
    let client = Client::new();
    let [bastion, mut host] = [(); 2].map(|()| Host::start(options(&client)));
    client.add(&Alias::new("bastion", &bastion));
    client.add(&Alias::new("devbox", &host).jump("bastion"));
    let mut rig = Rig::start(&client, &["devbox"], BTreeMap::new()).await;
    let before = taken(&bastion);
    host.stop();
    let all = rig.hosts.clone();
    rig.each("the loss", &all, is_lost).await;
    rig.stay_away(Duration::from_secs(5)).await;
    host.start_again();
    rig.back().await;
    assert_eq!(taken(&bastion), before + 1, "{}", bastion.log());
    rig.fleet.shutdown().await;
}

#[test]
fn a_server_that_is_stopped_finds_one_connection_by_every_way() {
    require!(Sshd, Network);
    let network = Network::start();
    let client = Client::new();
    let bastion = network.near(|| Host::start(options(&client)));
    client.add(&Alias::new("bastion", &bastion));
    let jump = far(&network, &client, "jump", |it| it.jump("bastion"));
    let command = carrier(&client);
    let carried = far(&network, &client, "carried", |it| {
        it.line(&format!("ProxyCommand {command}"))
    });
    let command = format!(
        "ProxyCommand ssh -F {} -W %h:%p bastion",
        client.config().display()
    );
    let piped = far(&network, &client, "piped", |it| it.line(&command));
    let system = far(&network, &client, "system", |it| it);
    near(&network, async || {
        let mut rig = Rig::start(&client, &["jump", "carried", "piped", "system"], BTreeMap::new()).await;
        let hosts = [&jump, &carried, &piped, &system];
        let before = hosts.map(taken);
        hosts.iter().for_each(|it| it.pause());
        let all = rig.hosts.clone();
        rig.each("the loss", &all, is_lost).await;
        rig.stay_away(Duration::from_secs(10)).await;
        hosts.iter().for_each(|it| it.resume());
        rig.back().await;
        for (host, before) in hosts.into_iter().zip(before).take(3) {
            assert_eq!(taken(host), before + 1, "{}", host.log());
        }
        assert_eq!(taken(&system), before[3] + 2, "{}", system.log());
        rig.fleet.shutdown().await;
    });
}

/// A program that gets nowhere while there is a file `frozen`, and says what another file has.
#[tokio::test]
async fn a_command_that_hangs_is_started_again_until_it_gets_through_and_its_refused_login_is_not_repeated() {
    require!(Sshd);
    let client = Client::new();
    let [frozen, words] = ["frozen", "words"].map(|it| client.home().join(it));
    let codex = client.home().join("codex");
    fs::write(&codex, SERVER).unwrap();
    fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!(
        "[ -e {frozen} ] && exec sleep 1000; [ -e {words} ] && cat {words} >&2 && exit 255; \
         exec 3<&0; sh <&3 & while [ ! -e {frozen} ]; do sleep 0.1; done; kill $!; exit 1",
        frozen = frozen.display(),
        words = words.display(),
    );
    let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let server: Server = codex.display().to_string().parse().unwrap();
    let commands = BTreeMap::from([(HostId::from("pod"), (argv, server))]);
    let mut rig = Rig::start(&client, &["pod"], commands).await;
    let all = rig.hosts.clone();
    fs::write(&frozen, "").unwrap();
    rig.each("the loss", &all, is_lost).await;
    for _ in 0..2 {
        rig.each("the end of one that hangs", &all, is_lost).await;
    }
    fs::remove_file(&frozen).unwrap();
    // The one that hangs has its time first.
    let took = rig.each("the return", &all, is_ready).await;
    let limit = BACK + limits::POLICY.unread_min + SLOWER * rig.took[&all[0]];
    assert!(took[&all[0]] <= limit, "{took:?}");
    fs::write(&words, "me@bastion: Permission denied (publickey).\n").unwrap();
    fs::write(&frozen, "").unwrap();
    rig.each("the second loss", &all, is_lost).await;
    fs::remove_file(&frozen).unwrap();
    let failure = loop {
        if let (_, Status::Failed(failure)) = rig.next().await {
            break failure;
        }
    };
    assert_eq!(failure.kind, FailureKind::Unauthorized, "{failure}");
    rig.fleet.shutdown().await;
}
