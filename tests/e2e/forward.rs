//! `--forward`: the forwardings of the SSH configuration, through a real sshd.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    thread,
};

use codex_testkit::{Alias, Client, Host, HostOptions, Login, Model, Tmux, require, wait};

use crate::{
    screen::{log_in_with_two_prompts, quit},
    setting::{CODEX, Running, codex},
};

/// What answers at the other end of a forwarding: each connection gets back what it sends.
struct Echo {
    port: u16,
}

impl Echo {
    fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Both end with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    _ = std::io::copy(&mut &stream, &mut writer);
                    _ = writer.shutdown(Shutdown::Write);
                });
            }
        });
        Echo { port }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether what is sent there comes back.
fn echoes(mut stream: impl Read + Write) -> bool {
    let mut back = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut back).is_ok() && &back == b"ping"
}

fn tcp(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(wait::DEADLINE)).unwrap();
    Some(stream)
}

fn is_open(port: u16) -> bool {
    tcp(port).is_some_and(echoes)
}

/// Goes through a SOCKS 5 server to this port.
fn through_socks(socks: u16, port: u16) -> Option<TcpStream> {
    let mut stream = tcp(socks)?;
    let request = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat();
    stream.write_all(&request).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    (answer[..4] == [5, 0, 5, 0]).then_some(stream)
}

/// A host with these lines in the client's configuration.
fn host(client: &Client, model: &Model, name: &str, lines: &[String]) -> Host {
    let host = Host::start(HostOptions::new().authorize(client.key()).model(model));
    let alias = lines
        .iter()
        .fold(Alias::new(name, &host), |alias, line| alias.line(line));
    client.add(&alias);
    host
}

fn open(client: &Client, args: &[&str]) -> Tmux {
    let words = [&[CODEX, "connect"], args].concat();
    Tmux::start(&words, &client.environment(), 120, 40)
}

#[test]
fn ports_sockets_and_socks_are_open_while_a_turn_runs_and_only_with_the_option() {
    require!(Sshd, Official);
    let (client, model, echo) = (Client::new(), Model::start(), Echo::start());
    let (local, dynamic, remote) = (free_port(), free_port(), free_port());
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("echo.sock");
    let lines = [
        format!("LocalForward {local} 127.0.0.1:{}", echo.port),
        format!("LocalForward {} 127.0.0.1:{}", socket.display(), echo.port),
        format!("RemoteForward {remote} 127.0.0.1:{}", echo.port),
        format!("DynamicForward {dynamic}"),
    ];
    let _host = host(&client, &model, "devbox", &lines);

    let mut running = Running::start(&client, &["exec", "--json", "--host", "devbox", "hold without"]);
    running.wait_for_event("devbox", "item/agentMessage/delta");
    for port in [local, dynamic, remote] {
        assert!(tcp(port).is_none(), "{port} is open");
    }
    assert!(!socket.exists());
    model.gate("without").open();
    assert_eq!(running.finish().code, Some(0));

    let args = ["exec", "--json", "--host", "devbox", "--forward", "hold with"];
    let mut running = Running::start(&client, &args);
    // They stand before the turn begins.
    running.wait_for_event("devbox", "item/agentMessage/delta");
    assert!(is_open(local) && is_open(remote));
    assert!(through_socks(dynamic, echo.port).is_some_and(echoes));
    assert!(echoes(UnixStream::connect(&socket).unwrap()));
    model.gate("with").open();
    assert_eq!(running.finish().code, Some(0));
    assert!(tcp(local).is_none() && !socket.exists());
}

#[test]
fn a_port_that_is_taken_is_a_notice_with_the_way_out_and_is_opened_once_it_is_free() {
    require!(Sshd, Official);
    let (client, model, echo) = (Client::new(), Model::start(), Echo::start());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, other) = (taken.local_addr().unwrap().port(), free_port());
    let lines = [port, other].map(|it| format!("LocalForward {it} 127.0.0.1:{}", echo.port));
    let _host = host(&client, &model, "devbox", &lines);
    let args = ["exec", "--json", "--host", "devbox", "--forward", "hold on"];
    let mut running = Running::start(&client, &args);
    let says = |word: &'static str| {
        move |it: &serde_json::Value| it["text"].as_str().is_some_and(|it| it.starts_with(word))
    };
    let notice = running.wait_for_event_where("devbox", "notice", says("not forwarded"));
    let text = notice["text"].as_str().unwrap();
    for part in [&format!("localhost:{port}"), "in use", "end the program"] {
        assert!(text.contains(part), "{text}");
    }
    running.wait_for_event("devbox", "item/agentMessage/delta");
    assert!(is_open(other));
    drop(taken);
    let both = format!("localhost:{other}");
    running.wait_for_event_where("devbox", "notice", |it| {
        let text = it["text"].as_str().unwrap_or_default();
        text.starts_with(&format!("forwarded: localhost:{port}")) && text.contains(&both)
    });
    assert!(is_open(port));
    model.gate("on").open();
    assert_eq!(running.finish().code, Some(0));
}

#[test]
fn exit_on_forward_failure_ends_the_connection_with_a_code_of_its_own() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = [
        format!("LocalForward {} db:1", taken.local_addr().unwrap().port()),
        "ExitOnForwardFailure yes".to_owned(),
    ];
    let _host = host(&client, &model, "devbox", &lines);
    let mut running = Running::start(
        &client,
        &["exec", "--json", "--host", "devbox", "--forward", "say hello"],
    );
    let failure = running.wait_for_event("devbox", "failure");
    assert_eq!(failure["code"], "forward-failed", "{failure}");
    assert_eq!(running.finish().code, Some(3));
    let without = codex(&client, &["exec", "--host", "devbox", "say hello"]);
    assert_eq!(without.code, Some(0), "{without:?}");
}

#[test]
fn the_interface_shows_what_is_forwarded_and_a_reconnection_opens_it_again() {
    require!(Sshd, Official, Tmux);
    let (client, model, echo) = (Client::new(), Model::start(), Echo::start());
    let (one, other) = (free_port(), free_port());
    let line = |port: u16| [format!("LocalForward {port} 127.0.0.1:{}", echo.port)];
    let devbox = host(&client, &model, "devbox", &line(one));
    let _gpu = host(&client, &model, "gpu1", &line(other));
    let terminal = open(&client, &["devbox", "gpu1", "--forward", "devbox"]);
    terminal.wait_for("both hosts ready", |it| it.matches(" ready").count() >= 2);
    wait::until("the forwarding", wait::DEADLINE, || is_open(one).then_some(()));
    assert!(tcp(other).is_none(), "only devbox was chosen");
    terminal.send(&["F2"]);
    terminal.wait_for_text(&format!("forwards localhost:{one} → 127.0.0.1:{}", echo.port));
    devbox.kill_sessions();
    // The time without it may be too short to be seen; what the lost connection listened at never answers.
    let logins = || devbox.log().matches("Accepted publickey").count();
    wait::until("the second login of both connections", wait::DEADLINE, || {
        (logins() == 4).then_some(())
    });
    wait::until("the forwarding again", wait::DEADLINE, || {
        is_open(one).then_some(())
    });
    terminal.wait_for_text(&format!("forwards localhost:{one} →"));
    quit(&terminal);
    assert!(tcp(one).is_none());
}

#[test]
fn where_only_the_user_could_log_in_again_the_forwardings_share_the_connection() {
    require!(Sshd, Pam, Official, Tmux);
    let (client, model, echo) = (Client::new(), Model::start(), Echo::start());
    let host = Host::start(HostOptions::new().login(Login::TwoPrompts).model(&model));
    let ports = [free_port(), free_port()];
    let [local, remote] = ports;
    let alias = Alias::new("devbox", &host).line(&format!("LocalForward {local} 127.0.0.1:{}", echo.port));
    client.add(&alias.line(&format!("RemoteForward {remote} 127.0.0.1:{}", echo.port)));
    let terminal = open(&client, &["devbox", "--forward"]);
    log_in_with_two_prompts(&terminal);
    terminal.wait_for_text(" ready");
    let are_open = || ports.into_iter().all(is_open).then_some(());
    wait::until("the forwardings", wait::DEADLINE, are_open);
    // A server that ends is started again on the connection that stands, and they are opened there once more.
    let started = || host.log().matches("Starting session: command").count();
    assert_eq!(started(), 1);
    host.kill("codex");
    wait::until("the next server", wait::DEADLINE, || {
        (started() == 2).then_some(())
    });
    wait::until("the forwardings again", wait::DEADLINE, are_open);
    terminal.wait_for("the host ready again", |it| {
        it.contains(" ready") && !it.contains("ended")
    });
    assert_eq!(host.log().matches("Accepted ").count(), 1, "{}", host.log());
    quit(&terminal);
    assert!(ports.into_iter().all(|it| tcp(it).is_none()));
}

#[test]
fn what_is_transported_by_no_ssh_or_names_nothing_says_so() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = host(&client, &model, "devbox", &[]);
    let outcome = codex(&client, &["exec", "--host", "devbox", "--forward", "say hello"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("nothing to forward"), "{outcome:?}");
    for args in [
        &["exec", "--forward", "say hello"][..],
        &["exec", "--host", "devbox", "--forward=other", "say hello"],
    ] {
        assert_eq!(codex(&client, args).code, Some(2), "{args:?}");
    }
}
