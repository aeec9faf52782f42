//! `codex app-server` and `codex login` as processes.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use codex_testkit::{require, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

fn codex(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codex"));
    command.args(args).env_clear().env("CODEX_HOME", home);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn finish(mut child: Child, input: &str) -> (Option<i32>, String, String) {
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn initialize() -> String {
    let params = json!({ "clientInfo": { "name": "e2e", "version": "1" } });
    format!(
        "{}\n",
        json!({ "id": 1, "method": "initialize", "params": params })
    )
}

#[test]
fn standard_input_and_output_are_one_peer_and_its_end_is_the_servers() {
    let home = TempDir::new().unwrap();
    let child = codex(home.path(), &["app-server"]).spawn().unwrap();
    let input = format!(
        "{}\u{0}not json\n{}\n",
        initialize(),
        json!({ "id": 2, "method": "account/read", "params": {} })
    );
    let (code, stdout, stderr) = finish(child, &input);
    assert_eq!(code, Some(0), "{stderr}");
    let answers: Vec<Value> = stdout
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(
        answers.iter().map(|it| it["id"].clone()).collect::<Vec<_>>(),
        [1, 2],
        "{stdout}"
    );
    assert!(
        fs::read_dir(home.path()).unwrap().next().is_none(),
        "nothing is written that nobody asked for"
    );
}

#[test]
fn a_signal_ends_the_server_and_its_socket_and_the_proxy_reaches_it_before() {
    let home = TempDir::new().unwrap();
    let socket = home.path().join("run/s.sock");
    let url = format!("unix://{}", socket.display());
    let mut server = codex(home.path(), &["app-server", "--listen", &url])
        .spawn()
        .unwrap();
    wait::until("the socket", wait::DEADLINE, || UnixStream::connect(&socket).ok());
    let mut proxy = codex(
        home.path(),
        &["app-server", "proxy", "--sock", socket.to_str().unwrap()],
    )
    .spawn()
    .unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut input = proxy.stdin.take().unwrap();
    input.write_all(upgrade.as_bytes()).unwrap();
    let mut status = String::new();
    BufReader::new(proxy.stdout.as_mut().unwrap())
        .read_line(&mut status)
        .unwrap();
    assert_eq!(status.trim_end(), "HTTP/1.1 101 Switching Protocols");
    drop(input);
    assert_eq!(proxy.wait().unwrap().code(), Some(0));
    let killed = Command::new("kill")
        .arg(server.id().to_string())
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
    assert!(!socket.exists());
    let mut banner = String::new();
    server.stderr.take().unwrap().read_to_string(&mut banner).unwrap();
    assert_eq!(
        banner,
        format!("codex app-server (WebSockets)\n  listening on: {url}\n")
    );
    let (code, _, stderr) = finish(codex(home.path(), &["app-server", "proxy"]).spawn().unwrap(), "");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("failed to connect to socket at"), "{stderr}");
}

#[test]
fn only_loopback_is_served() {
    let home = TempDir::new().unwrap();
    for (url, code) in [("ws://0.0.0.0:0", 1), ("http://x", 2)] {
        let (seen, stdout, stderr) = finish(
            codex(home.path(), &["app-server", "--listen", url])
                .spawn()
                .unwrap(),
            "",
        );
        assert_eq!((seen, stdout.as_str()), (Some(code), ""), "{stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains("\nhint: "),
            "{stderr}"
        );
    }
}

#[test]
fn a_key_is_stored_said_to_be_there_and_forgotten_and_never_shown() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("codex-server/login.json");
    let run = |args: &[&str], input: &str| {
        let (code, stdout, stderr) = finish(codex(home.path(), args).spawn().unwrap(), input);
        assert!(!stdout.contains("sk-e2e") && !stderr.contains("sk-e2e"));
        (code, stderr.trim_end().to_owned())
    };
    assert_eq!(
        run(&["login", "status"], ""),
        (Some(1), "Not logged in.".to_owned())
    );
    assert_eq!(
        run(&["login", "--with-api-key"], "sk-e2e\n"),
        (
            Some(0),
            format!(
                "The API key is stored in {}, which only you can read.",
                file.display()
            )
        )
    );
    assert_eq!(
        run(&["auth", "status"], ""),
        (
            Some(0),
            format!("Logged in with an API key stored in {}.", file.display())
        )
    );
    assert_eq!(
        run(&["login", "logout"], ""),
        (Some(0), "The stored API key is forgotten.".to_owned())
    );
    assert_eq!(
        run(&["logout"], ""),
        (Some(0), "No API key was stored.".to_owned())
    );
    assert_eq!(run(&["login"], "").0, Some(2));
}

/// A session bus of its own, and GNOME Keyring on it, unlocked.
struct Desktop {
    bus: Child,
    keyring: Option<Child>,
    address: String,
    home: TempDir,
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in self.keyring.iter_mut().chain([&mut self.bus]) {
            // They may have ended before.
            _ = child.kill();
            _ = child.wait();
        }
    }
}

impl Desktop {
    /// Nobody is on the bus, and nothing can be started through it.
    fn without_keyring() -> Desktop {
        let home = TempDir::new().unwrap();
        let config = home.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            home.path().display()
        );
        fs::write(&config, text).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--config-file={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.as_mut().unwrap())
            .read_line(&mut address)
            .unwrap();
        Desktop {
            bus,
            keyring: None,
            address: address.trim().to_owned(),
            home,
        }
    }

    fn with_keyring() -> Desktop {
        let mut desktop = Desktop::without_keyring();
        let mut keyring = Command::new("gnome-keyring-daemon")
            .args(["--foreground", "--unlock", "--components=secrets"])
            .env("DBUS_SESSION_BUS_ADDRESS", &desktop.address)
            .env("HOME", desktop.home.path())
            .env("XDG_DATA_HOME", desktop.home.path().join("data"))
            .env("XDG_RUNTIME_DIR", desktop.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        keyring.stdin.take().unwrap().write_all(b"password").unwrap();
        desktop.keyring = Some(keyring);
        desktop
    }

    fn run(&self, args: &[&str], input: &str) -> (Option<i32>, String) {
        let mut command = codex(&self.home.path().join("codex"), args);
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        let (code, stdout, stderr) = finish(command.spawn().unwrap(), input);
        assert!(!stdout.contains("sk-e2e") && !stderr.contains("sk-e2e"));
        (code, stderr.trim_end().to_owned())
    }
}

#[test]
fn a_key_is_kept_in_the_keyring_of_the_session_where_there_is_one() {
    require!(SecretService);
    let desktop = Desktop::with_keyring();
    wait::until("the keyring is served and unlocked", wait::DEADLINE, || {
        let (code, text) = desktop.run(&["login", "--with-api-key"], "sk-e2e\n");
        assert_eq!(code, Some(0), "{text}");
        (text == "The API key is stored in the system keyring.").then_some(())
    });
    let said = "Logged in with an API key stored in the system keyring.";
    assert_eq!(desktop.run(&["login", "status"], ""), (Some(0), said.to_owned()));
    let file = desktop.home.path().join("codex/codex-server/login.json");
    assert!(!fs::read_to_string(file).unwrap().contains("sk-e2e"));

    // Outside the session the key cannot be read, and nothing hangs or starts a bus.
    let outside = codex(&desktop.home.path().join("codex"), &["login", "status"]);
    let (code, _, text) = finish({ outside }.spawn().unwrap(), "");
    assert_eq!(code, Some(1));
    assert!(
        text.contains("this session has none") && text.contains("hint: "),
        "{text}"
    );

    let forgotten = "The stored API key is forgotten.";
    assert_eq!(desktop.run(&["logout"], ""), (Some(0), forgotten.to_owned()));
    assert_eq!(
        desktop.run(&["login", "status"], ""),
        (Some(1), "Not logged in.".to_owned())
    );
    let none = "No API key was stored.";
    assert_eq!(desktop.run(&["logout"], ""), (Some(0), none.to_owned()));
}

#[test]
fn a_session_without_a_keyring_leaves_the_key_to_the_file_and_says_why() {
    require!(SecretService);
    let mut desktop = Desktop::without_keyring();
    for _ in ["nobody serves a keyring", "the bus is gone"] {
        let (code, text) = desktop.run(&["login", "--with-api-key"], "sk-e2e\n");
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with("The API key is stored in /"), "{text}");
        assert!(text.contains("(this session has no keyring: "), "{text}");
        desktop.bus.kill().unwrap();
        desktop.bus.wait().unwrap();
    }
}
