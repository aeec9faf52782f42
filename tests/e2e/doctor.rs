//! `codex doctor`, on this machine and on the way to hosts.

use std::{fs, os::unix::fs::PermissionsExt};

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Known, Model, Shell, Tmux, require};
use serde_json::Value;

use crate::{
    serving::set_hosts,
    setting::{CODEX, Outcome, Running, codex, devbox, run},
};

/// The stages of a run with `--json`.
fn stages(outcome: &Outcome) -> Vec<Value> {
    outcome
        .stdout
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

fn names(stages: &[Value]) -> Vec<&str> {
    stages.iter().map(|it| it["stage"].as_str().unwrap()).collect()
}

fn stage<'a>(stages: &'a [Value], name: &str) -> &'a Value {
    let found = stages.iter().find(|it| it["stage"] == name);
    found.unwrap_or_else(|| panic!("no stage {name}: {stages:#?}"))
}

fn doctor(client: &Client, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let outcome = codex(client, &[&["doctor", "--json", "--batch"], args].concat());
    (outcome.code, stages(&outcome))
}

/// The one stage that is broken, which is the last of the way.
fn broken(stages: &[Value], name: &str, code: &str) -> Value {
    let broken: Vec<&Value> = stages.iter().filter(|it| it["verdict"] == "broken").collect();
    assert_eq!(broken.len(), 1, "{stages:#?}");
    assert_eq!(
        (&broken[0]["stage"], &broken[0]["code"]),
        (&name.into(), &code.into()),
        "{stages:#?}"
    );
    assert!(broken[0]["fix"].is_string(), "a failure has a fix: {stages:#?}");
    broken[0].clone()
}

#[test]
fn a_healthy_host_passes_every_stage_of_the_way() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _host = devbox(&client, "devbox", &model);
    let (code, stages) = doctor(&client, &["devbox"]);
    let expected = [
        "config",
        "dns",
        "tcp",
        "key-exchange",
        "host-key",
        "login",
        "shell",
        "initialize",
        "account",
        "exec",
        "clock",
        "environment",
        "codex",
        "round-trip",
        "bandwidth",
    ];
    assert_eq!(names(&stages), expected, "{stages:#?}");
    for it in &stages {
        assert_eq!(
            (&it["verdict"], &it["host"]),
            (&"ok".into(), &"devbox".into()),
            "{it:#}"
        );
        assert!(it["ms"].as_f64().is_some() && it["code"].is_null(), "{it:#}");
    }
    assert_eq!(code, Some(0));
    let text = |name: &str| stage(&stages, name)["text"].as_str().unwrap().to_owned();
    let config = client.config().display().to_string();
    assert!(
        text("config").contains(&format!("port by {config}:")),
        "{}",
        text("config")
    );
    assert!(
        text("key-exchange").starts_with("SSH-2.0-OpenSSH_"),
        "{}",
        text("key-exchange")
    );
    assert!(text("login").ends_with(": accepted"), "{}", text("login"));
    assert!(text("clock").contains("clocks agree"), "{}", text("clock"));
    let environment = text("environment");
    assert!(
        environment.contains("PATH /") && environment.contains("locale"),
        "{environment}"
    );
    assert!(
        text("codex").contains("codex-cli 0.169.0, the official one"),
        "{}",
        text("codex")
    );
    assert!(
        text("bandwidth").contains("by 1048576 bytes"),
        "{}",
        text("bandwidth")
    );
}

#[test]
fn a_host_with_this_program_says_what_it_can_enforce() {
    require!(Sshd);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().authorize(client.key()).model(&model);
    let host = Host::start(options.codex(Codex::Program(CODEX.into())));
    client.add(&Alias::new("devbox", &host));
    let (code, stages) = doctor(&client, &["devbox"]);
    assert_eq!(code, Some(0), "{stages:#?}");
    let codex = stage(&stages, "codex")["text"].as_str().unwrap();
    assert!(codex.ends_with("this program"), "{codex}");
    let sandbox = stage(&stages, "sandbox");
    assert_ne!(sandbox["verdict"], "broken");
    let text = sandbox["text"].as_str().unwrap();
    assert!(text.contains("bubblewrap") && text.contains("landlock"), "{text}");
}

#[test]
fn a_changed_host_key_ends_the_way_before_any_login() {
    require!(Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().authorize(client.key()));
    client.add(&Alias::new("devbox", &host).known(Known::Changed));
    let (code, stages) = doctor(&client, &["devbox"]);
    assert_eq!(code, Some(4));
    let failed = broken(&stages, "host-key", "host-key-changed");
    assert!(
        failed["fix"].as_str().unwrap().contains("ssh-keygen -f "),
        "{failed}"
    );
    assert_eq!(
        names(&stages),
        ["config", "dns", "tcp", "key-exchange", "host-key"]
    );
}

#[test]
fn an_unknown_host_key_asks_nothing_in_a_batch() {
    require!(Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().authorize(client.key()));
    client.add(&Alias::new("devbox", &host).known(Known::No));
    let asked = client.home().join("asked");
    let askpass = client.home().join("askpass");
    fs::write(
        &askpass,
        format!("#!/bin/sh\ntouch {}\necho yes\n", asked.display()),
    )
    .unwrap();
    fs::set_permissions(&askpass, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = client.command(CODEX);
    command.args(["doctor", "--json", "--batch", "devbox"]);
    let outcome = run(command
        .env("SSH_ASKPASS", &askpass)
        .env("SSH_ASKPASS_REQUIRE", "force"));
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    broken(&stages(&outcome), "host-key", "host-key-unknown");
    assert!(!asked.exists(), "nobody is asked, not even a program");
}

#[test]
fn a_refused_login_names_each_method_with_the_answer_of_the_server() {
    require!(Sshd);
    let client = Client::new();
    let stranger = Host::start(HostOptions::new());
    client.add(&Alias::new("devbox", &stranger));
    let (code, stages) = doctor(&client, &["devbox"]);
    assert_eq!(code, Some(4));
    let failed = broken(&stages, "login", "unauthorized");
    let text = failed["text"].as_str().unwrap();
    assert!(text.contains("publickey ") && text.contains(": denied"), "{text}");
    assert!(text.contains("the server accepts publickey"), "{text}");
}

#[test]
fn a_host_without_codex_is_examined_to_the_end() {
    require!(Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().authorize(client.key()).codex(Codex::Absent));
    client.add(&Alias::new("devbox", &host));
    let (code, stages) = doctor(&client, &["devbox"]);
    assert_eq!(code, Some(3));
    broken(&stages, "codex", "not-installed");
    assert_eq!(stage(&stages, "bandwidth")["verdict"], "ok");
}

#[test]
fn a_shell_that_prints_is_a_warning_and_the_time_is_found_behind_it() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().authorize(client.key()).model(&model);
    let host = Host::start(options.rc("echo welcome to the machine\n"));
    client.add(&Alias::new("devbox", &host));
    let (code, stages) = doctor(&client, &["devbox"]);
    assert_eq!(code, Some(0), "{stages:#?}");
    let shell = stage(&stages, "shell");
    assert_eq!(shell["verdict"], "warning");
    assert!(
        shell["text"].as_str().unwrap().contains("welcome to the machine"),
        "{shell}"
    );
    assert!(
        shell["fix"]
            .as_str()
            .unwrap()
            .contains("start-up files of devbox"),
        "{shell}"
    );
    assert_eq!(stage(&stages, "clock")["verdict"], "ok");
}

#[test]
fn a_server_that_runs_one_command_at_a_time_is_examined_as_every_other() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().authorize(client.key()).model(&model);
    let host = Host::start(options.sshd("MaxSessions 1"));
    client.add(&Alias::new("devbox", &host));
    let (code, stages) = doctor(&client, &["devbox"]);
    assert_eq!(code, Some(0), "{stages:#?}");
    assert!(stages.iter().all(|it| it["verdict"] == "ok"), "{stages:#?}");
}

#[test]
fn the_shells_of_later_scripts_are_started_ahead_where_the_host_lets_them_wait() {
    require!(Sshd);
    // What bash was given after `-c`, for each time that it was started.
    let told = "echo \"$BASH_EXECUTION_STRING\" >> ~/started\n";
    let started = |options: fn(HostOptions) -> HostOptions| {
        let client = Client::new();
        let host = options(HostOptions::new().authorize(client.key()).codex(Codex::Absent));
        let host = Host::start(host.shell(Shell::Bash).rc(told));
        client.add(&Alias::new("devbox", &host));
        let (_, stages) = doctor(&client, &["devbox"]);
        broken(&stages, "codex", "not-installed");
        for name in ["exec", "clock", "environment"] {
            assert_eq!(stage(&stages, name)["verdict"], "ok", "{stages:#?}");
        }
        let lines = host.read("started").unwrap();
        let waiting = lines.lines().filter(|it| it.contains("read -r line")).count();
        (waiting, lines.lines().count() - waiting)
    };
    // The launch and the first script come with their shells; what follows finds one, whatever it is.
    let (waiting, others) = started(|it| it);
    assert!(2 <= waiting && others == 2, "{waiting} {others}");
    // Here no command has an input, and bash is given the forced one.
    let deaf = |it: HostOptions| it.sshd("ForceCommand exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\" </dev/null");
    assert_eq!(started(deaf).0, 0);
}

#[test]
fn an_unknown_host_key_is_asked_on_the_terminal_and_the_way_goes_on() {
    require!(Sshd, Official, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host).known(Known::No));
    let terminal = Tmux::start(&[CODEX, "doctor", "devbox"], &client.environment(), 160, 50);
    let screen = terminal.wait_for_text("Type yes to trust it");
    assert!(screen.contains(&host.key().fingerprint()), "{screen}");
    terminal.type_text("yes");
    terminal.send(&["Enter"]);
    let screen = terminal.wait_for_text("bandwidth");
    assert!(
        screen.contains("the host key is the right one, as you answered"),
        "{screen}"
    );
    assert_eq!(terminal.wait_for_exit(), Some(0));
}

#[test]
fn the_stages_of_a_jump_host_are_told_under_its_name() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let _bastion = devbox(&client, "bastion", &model);
    let host = Host::start(HostOptions::new().authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host).line("ProxyJump bastion"));
    let (code, stages) = doctor(&client, &["devbox"]);
    assert_eq!(code, Some(0), "{stages:#?}");
    let (jump, own): (Vec<&Value>, Vec<&Value>) = stages
        .iter()
        .partition(|it| it["text"].as_str().unwrap().starts_with("bastion: "));
    let names = |list: &[&Value]| -> Vec<String> {
        list.iter()
            .map(|it| it["stage"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&jump), ["dns", "tcp", "key-exchange", "host-key", "login"]);
    assert_eq!(
        names(&own)[..5],
        ["config", "proxy", "key-exchange", "host-key", "login"]
    );
    assert!(
        own[0]["text"].as_str().unwrap().contains(" by dev@"),
        "{}",
        own[0]
    );
}

#[test]
fn a_dead_port_and_a_healthy_host_are_told_apart_and_in_the_order_of_the_command_line() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let mut dead = devbox(&client, "dead", &model);
    let _host = devbox(&client, "devbox", &model);
    dead.stop();
    let (code, stages) = doctor(&client, &["dead", "devbox"]);
    assert_eq!(code, Some(3));
    let (first, second): (Vec<Value>, Vec<Value>) = stages.into_iter().partition(|it| it["host"] == "dead");
    let failed = broken(&first, "tcp", "unreachable");
    assert!(failed["text"].as_str().unwrap().contains("refused"), "{failed}");
    assert!(second.iter().all(|it| it["verdict"] == "ok"), "{second:#?}");

    let outcome = codex(&client, &["doctor", "--batch", "dead", "devbox"]);
    let at = |text: &str| {
        outcome
            .stdout
            .find(text)
            .unwrap_or_else(|| panic!("no {text:?}: {outcome:?}"))
    };
    assert!(at("dead\n") < at("[unreachable]") && at("[unreachable]") < at("devbox\n"));
    assert!(at("[unreachable]") < at("fix: ") && at("fix: ") < at("devbox\n"));
}

#[test]
fn a_bundle_helps_and_holds_no_secret() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new()
        .authorize(client.key())
        .model(&model)
        .rc("echo OPENAI_API_KEY=sk-planted-in-the-shell\n")
        .banner("the password: planted-in-the-banner\n");
    let host = Host::start(options);
    client.add(&Alias::new("devbox", &host).line("SetEnv LC_SECRET=planted-in-the-configuration"));
    client.append_config(
        "Host gone\n  IdentityAgent /run/planted/agent\n  ProxyCommand sh -c \"exit 1\" planted %h\n",
    );
    set_hosts(
        &client,
        "[hosts.web]\ncommand = [\"false\", \"--as\", \"planted user\"]\n",
    );
    let file = client.home().join("bundle.json");
    let mut command = client.command(CODEX);
    let hosts = ["doctor", "--batch", "--json", "devbox", "gone", "web"];
    command.args(hosts).arg("--bundle").arg(&file);
    command.env("DEPLOY_TOKEN", "planted-in-the-environment");
    let outcome = run(command.env("SSH_AUTH_SOCK", "/run/planted/too"));
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("planted"), "{text}");
    assert!(!outcome.stdout.contains("planted"), "{outcome:?}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = fs::read_to_string(client.key().path()).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!text.contains(secret), "{text}");
    let bundle: Value = serde_json::from_str(&text).unwrap();
    let examined = &bundle["examined"][0];
    assert_eq!(examined["host"], "devbox");
    assert!(examined["stages"].as_array().unwrap().len() > 10, "{text}");
    let settings = examined["more"]["settings"].as_array().unwrap();
    let port = host.port().to_string();
    assert!(settings.iter().any(|it| it["keyword"] == "setenv"), "{text}");
    assert!(
        settings
            .iter()
            .any(|it| it["keyword"] == "port" && it["value"] == port),
        "{text}"
    );
    let again = codex(&client, &["doctor", "--bundle", file.to_str().unwrap()]);
    assert_eq!(again.code, Some(2), "no file is replaced: {again:?}");
    assert_eq!(again.stdout, "", "and nothing is examined in vain");
}

#[test]
fn this_machine_is_examined_without_a_network_and_the_broken_part_is_named() {
    let client = Client::new();
    let (_, stages) = doctor(&client, &[]);
    let expected = [
        "program",
        "path",
        "home",
        "config",
        "credential",
        "provider",
        "sandbox",
        "mcp",
        "state",
        "disk",
        "threads",
        "clock",
    ];
    assert_eq!(names(&stages), expected, "{stages:#?}");
    assert_eq!(stage(&stages, "credential")["verdict"], "broken");
    assert_eq!(stage(&stages, "provider")["verdict"], "skipped");
    assert!(!client.home().join(".codex").exists(), "doctor leaves no traces");

    let model = Model::start();
    fs::create_dir_all(client.home().join(".codex")).unwrap();
    let config = format!(
        "review_model = 1\n{}\n[mcp_servers.bad]\nurl = 1\n",
        model.config_toml()
    );
    fs::write(client.home().join(".codex/config.toml"), config).unwrap();
    let (_, stages) = doctor(&client, &[]);
    let text = |name: &str| stage(&stages, name)["text"].as_str().unwrap().to_owned();
    assert!(text("config").starts_with("line 1: "), "{}", text("config"));
    assert_eq!(stage(&stages, "config")["verdict"], "warning");
    assert!(text("mcp").contains("mcp_servers.bad"), "{}", text("mcp"));
    assert_eq!(stage(&stages, "credential")["verdict"], "ok", "{stages:#?}");
    assert!(model.requests().is_empty());
    let (_, stages) = doctor(&client, &["--online"]);
    assert_eq!(stage(&stages, "provider")["verdict"], "ok", "{stages:#?}");
    assert!(
        stage(&stages, "provider")["text"]
            .as_str()
            .unwrap()
            .contains("HTTP ")
    );
}

#[test]
fn a_host_that_hangs_does_not_hold_up_what_is_known_of_the_one_before_it() {
    let client = Client::new();
    set_hosts(
        &client,
        "[hosts.wrong]\ncommand = [\"false\"]\n[hosts.hangs]\ncommand = [\"sleep\", \"60\"]\n",
    );
    let mut running = Running::start(&client, &["doctor", "--json", "wrong", "hangs"]);
    running.wait_for_line("the end of the first host", |it| {
        it.contains("\"wrong\"") && it.contains("\"broken\"")
    });
    running.interrupt();
    let outcome = running.finish();
    assert_eq!(outcome.code, Some(130));
    let rest = stages(&outcome);
    assert_eq!(stage(&rest, "rest")["host"], "hangs", "{outcome:?}");
}
