//! Real hosts, reached with OpenSSH's own client.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output, Stdio};

use codex_testkit::{
    AUTHENTICATOR_CODES, Alias, AppServer, Client, Codex, Host, HostOptions, Known, Login, Model, PASSWORD,
    Shell, require, wait,
};
use serde_json::json;

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn bare(client: &Client) -> HostOptions {
    HostOptions::new().codex(Codex::Absent).authorize(client.key())
}

#[test]
fn two_hosts_at_once_are_two_homes_with_two_host_keys_and_two_answers() {
    require!(Ssh, Sshd, Official);
    let client = Client::new();
    let models = [Model::start(), Model::start()];
    let hosts = models
        .each_ref()
        .map(|model| Host::start(HostOptions::new().authorize(client.key()).model(model)));
    let names = ["devbox", "gpu1"];
    for (name, host) in names.iter().zip(&hosts) {
        client.add(&Alias::new(name, host));
    }
    assert_ne!(hosts[0].key().fingerprint(), hosts[1].key().fingerprint());
    let mut servers = names.map(|name| {
        let mut command = client.ssh();
        command.args([name, "codex", "app-server"]);
        let mut server = AppServer::spawn(command);
        server.initialize();
        server
    });
    for (index, server) in servers.iter_mut().enumerate() {
        let thread = server.start_thread(&hosts[index].work().display().to_string());
        server.start_turn(
            &thread,
            &format!("run pwd\nsay answer of {index}\npatch note.txt made by {index}"),
        );
    }
    for (index, server) in servers.iter_mut().enumerate() {
        server.finish_turn();
        let transcript = format!("{:?}", server.transcript());
        assert!(transcript.contains(&format!("answer of {index}")));
        assert!(transcript.contains("outputDelta") || transcript.contains("aggregatedOutput"));
        assert_eq!(
            hosts[index].read("work/note.txt").unwrap(),
            format!("made by {index}\n")
        );
    }
    for server in servers {
        assert_eq!(server.close().0, Some(0));
    }
}

#[test]
fn approval_crosses_ssh() {
    require!(Ssh, Sshd, Official);
    let client = Client::new();
    let model = Model::start();
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host));
    let mut command = client.ssh();
    command.args(["devbox", "codex", "app-server"]);
    let mut server = AppServer::spawn(command);
    server.initialize();
    let thread = server.start_thread(&host.work().display().to_string());
    server.start_turn(&thread, "escalate touch ../outside");
    let request = server.expect_method("item/commandExecution/requestApproval");
    assert!(host.read("outside").is_none());
    server.send(json!({"id": request["id"], "result": {"decision": "accept"}}));
    assert_eq!(server.finish_turn()["turn"]["status"], "completed");
    assert_eq!(host.read("outside").as_deref(), Some(""));
    server.start_turn(&thread, "patch ../beside.txt text");
    let request = server.expect_method("item/fileChange/requestApproval");
    server.send(json!({"id": request["id"], "result": {"decision": "decline"}}));
    server.finish_turn();
    assert!(host.read("beside.txt").is_none());
}

#[test]
fn every_login_shell_reads_its_own_files() {
    require!(Ssh, Sshd, Fish, Zsh, Dash);
    let client = Client::new();
    let shells = [
        (Shell::Bash, "bash"),
        (Shell::Zsh, "zsh"),
        (Shell::Fish, "fish"),
        (Shell::Dash, "dash"),
    ];
    for (shell, name) in shells {
        let options = bare(&client)
            .shell(shell)
            .rc("echo noise\n")
            .profile("echo profile\n");
        let host = Host::start(options);
        client.add(&Alias::new(name, &host));
        let output = run(client
            .ssh()
            .args([name, "echo $SHELL; pwd; command -v codex; true"]));
        let noise = if shell == Shell::Dash { "" } else { "noise\n" };
        let program = format!("/{name}\n{}\n", host.home().display());
        assert!(text(&output.stdout).starts_with(noise), "{name}: {output:?}");
        assert!(text(&output.stdout).ends_with(&program), "{name}: {output:?}");
        assert!(!text(&output.stdout).contains("profile"), "{name}: {output:?}");
        let login = run(client.ssh().args([name, &format!("{name} -l -c 'echo in'")]));
        assert!(text(&login.stdout).contains("profile\n"), "{name}: {login:?}");
    }
}

#[test]
fn a_codex_in_the_profile_is_found_by_a_login_shell_only() {
    require!(Ssh, Sshd, Official);
    let client = Client::new();
    let host = Host::start(
        HostOptions::new()
            .codex(Codex::OfficialInProfile)
            .authorize(client.key()),
    );
    client.add(&Alias::new("devbox", &host));
    let plain = run(client.ssh().args(["devbox", "codex --version"]));
    assert_eq!(plain.status.code(), Some(127), "{plain:?}");
    let login = run(client.ssh().args(["devbox", "bash -lc 'codex --version'"]));
    assert!(
        text(&login.stdout).contains(codex_testkit::PINNED_VERSION),
        "{login:?}"
    );
}

#[test]
fn two_prompts_ask_for_the_password_and_then_for_a_code() {
    require!(Ssh, Sshd, Pam);
    let client = Client::new();
    let host = Host::start(HostOptions::new().codex(Codex::Absent).login(Login::TwoPrompts));
    client.add(&Alias::new("devbox", &host));
    for code in &AUTHENTICATOR_CODES[..2] {
        let askpass = client.answers(&format!("askpass-{code}"), &[PASSWORD, code]);
        let mut ssh = client.ssh();
        ssh.env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .args(["devbox", "echo in"]);
        let output = run(&mut ssh);
        assert_eq!(text(&output.stdout), "in\n", "{output:?}\n{}", host.log());
        let asked = std::fs::read_to_string(format!("{}.asked", askpass.display())).unwrap();
        assert_eq!(asked.lines().count(), 2, "{asked}");
        assert!(
            asked.lines().nth(1).unwrap().contains("One-time password"),
            "{asked}"
        );
    }
    let askpass = client.answers("askpass-wrong", &[PASSWORD, "000000"]);
    let mut ssh = client.ssh();
    ssh.env("SSH_ASKPASS", &askpass)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .args(["devbox", "echo in"]);
    assert_eq!(run(&mut ssh).status.code(), Some(255));
}

#[test]
fn the_password_lets_in_and_another_one_does_not() {
    require!(Ssh, Sshd, Pam);
    let client = Client::new();
    let host = Host::start(HostOptions::new().codex(Codex::Absent).login(Login::Password));
    client.add(&Alias::new("devbox", &host));
    for (password, code) in [(PASSWORD, Some(0)), ("another one", Some(255))] {
        let askpass = client.answers("askpass", &[password]);
        let mut ssh = client.ssh();
        ssh.env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .args(["devbox", "true"]);
        let output = run(&mut ssh);
        assert_eq!(output.status.code(), code, "{output:?}\n{}", host.log());
    }
}

#[test]
fn known_hosts_says_what_the_alias_says() {
    require!(Ssh, Sshd);
    let host_client = Client::new();
    let host = Host::start(bare(&host_client));
    let cases = [
        (Known::Yes, Some(0)),
        (Known::Hashed, Some(0)),
        (Known::No, Some(255)),
        (Known::Changed, Some(255)),
    ];
    for (known, code) in cases {
        let client = Client::new();
        client.add(
            &Alias::new("devbox", &host)
                .known(known)
                .identity(host_client.key()),
        );
        let mut ssh = client.ssh();
        ssh.args([
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "BatchMode=yes",
            "devbox",
            "true",
        ]);
        let output = run(&mut ssh);
        assert_eq!(output.status.code(), code, "{known:?}: {output:?}");
        let is_changed = text(&output.stderr).contains("IDENTIFICATION HAS CHANGED");
        assert_eq!(is_changed, known == Known::Changed);
    }
}

#[test]
fn an_encrypted_key_an_agent_and_a_jump_through_two_hosts_let_in() {
    require!(Ssh, Sshd);
    let client = Client::new();
    let jumps = [
        Host::start(bare(&client)),
        Host::start(bare(&client).banner("private\n")),
    ];
    let options = HostOptions::new()
        .codex(Codex::Absent)
        .authorize(client.encrypted_key());
    let target = Host::start(options);
    client.add(&Alias::new("first", &jumps[0]));
    client.add(&Alias::new("second", &jumps[1]));
    client.add(
        &Alias::new("inner", &target)
            .jump("first,second")
            .identity(client.encrypted_key()),
    );
    let locked = run(client.ssh().args(["-o", "BatchMode=yes", "inner", "true"]));
    assert_eq!(locked.status.code(), Some(255));
    let agent = client.agent(&[client.encrypted_key()]);
    let output = run(client
        .ssh()
        .env("SSH_AUTH_SOCK", agent.socket())
        .args(["inner", "echo through"]));
    assert_eq!(text(&output.stdout), "through\n", "{output:?}");
    assert!(text(&output.stderr).contains("private"));
    assert!(jumps.iter().all(|jump| jump.log().contains("Accepted publickey")));
}

#[test]
fn a_host_that_forbids_forwarding_cannot_be_jumped_through() {
    require!(Ssh, Sshd);
    let client = Client::new();
    let jump = Host::start(bare(&client).forwarding(false));
    let target = Host::start(bare(&client));
    client.add(&Alias::new("jump", &jump));
    client.add(&Alias::new("inner", &target).jump("jump"));
    let output = run(client.ssh().args(["inner", "true"]));
    assert_eq!(output.status.code(), Some(255));
    assert!(
        text(&output.stderr).contains("administratively prohibited"),
        "{output:?}"
    );
}

#[test]
fn a_paused_host_is_silent_and_goes_on_where_it_was() {
    require!(Ssh, Sshd);
    let client = Client::new();
    let host = Host::start(bare(&client));
    client.add(&Alias::new("devbox", &host));
    let mut ssh = client.ssh();
    ssh.args([
        "devbox",
        "touch started; until [ -e go ]; do sleep 0.02; done; touch gone",
    ]);
    let mut child = ssh.stdin(Stdio::null()).spawn().unwrap();
    wait::until("the remote command's start", wait::DEADLINE, || {
        host.read("started")
    });
    host.pause();
    host.write("go", "");
    let mut connect = client.ssh();
    connect.args(["-o", "ConnectTimeout=1", "devbox", "true"]);
    assert_eq!(
        run(&mut connect).status.code(),
        Some(255),
        "a paused sshd answered"
    );
    assert!(host.read("gone").is_none(), "a paused command went on");
    assert!(child.try_wait().unwrap().is_none());
    host.resume();
    let status = wait::until("the remote command's end", wait::DEADLINE, || {
        child.try_wait().unwrap()
    });
    assert!(status.success());
    assert!(host.read("gone").is_some());
}

#[test]
fn killed_sessions_end_the_connection_and_the_listener_takes_the_next() {
    require!(Ssh, Sshd);
    let client = Client::new();
    let mut host = Host::start(bare(&client));
    client.add(&Alias::new("devbox", &host));
    let mut ssh = client.ssh();
    let mut child = ssh
        .args(["devbox", "touch started; exec sleep 1000"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("the remote command's start", wait::DEADLINE, || {
        host.read("started")
    });
    host.kill_sessions();
    let status = wait::until("the client's end", wait::DEADLINE, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(255));
    assert!(run(client.ssh().args(["devbox", "true"])).status.success());

    let port = host.port();
    host.stop();
    assert_eq!(
        run(client.ssh().args(["devbox", "true"])).status.code(),
        Some(255)
    );
    host.start_again();
    assert_eq!(host.port(), port);
    assert!(run(client.ssh().args(["devbox", "true"])).status.success());
}

#[test]
fn a_killed_session_takes_its_codex_along_and_the_thread_can_be_resumed() {
    require!(Ssh, Sshd, Official);
    let client = Client::new();
    let model = Model::start();
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host));
    let connect = || {
        let mut command = client.ssh();
        command.args(["devbox", "codex", "app-server"]);
        let mut server = AppServer::spawn(command);
        server.initialize();
        server
    };
    let mut server = connect();
    let thread = server.start_thread(&host.work().display().to_string());
    server.start_turn(&thread, "hold for-ever");
    server.expect_method("item/agentMessage/delta");
    host.kill_sessions();
    assert_eq!(server.close().0, Some(255));
    let is_over = || (!host.processes().iter().any(|name| name == "codex")).then_some(());
    wait::until("the end of codex on the host", wait::DEADLINE, is_over);

    let mut server = connect();
    server.call("thread/resume", json!({"threadId": thread, "excludeTurns": true}));
    server.start_turn(&thread, "say back again");
    assert_eq!(server.finish_turn()["turn"]["items"][0]["text"], "back again");
}

#[test]
fn a_dropped_host_leaves_no_process_behind() {
    require!(Ssh, Sshd);
    let client = Client::new();
    let host = Host::start(bare(&client));
    client.add(&Alias::new("devbox", &host));
    let seconds = format!("1000.{}", std::process::id());
    let detached = format!("setsid nohup sleep {seconds} >/dev/null 2>&1 </dev/null & touch started");
    assert!(run(client.ssh().args(["devbox", &detached])).status.success());
    let is_running = || {
        run(Command::new("pgrep").args(["-f", &format!("^sleep {seconds}$")]))
            .status
            .success()
    };
    wait::until("the detached process", wait::DEADLINE, || {
        is_running().then_some(())
    });
    assert!(host.processes().iter().any(|name| name == "sleep"));
    drop(host);
    assert!(!is_running());
}
