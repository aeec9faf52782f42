//! Putting our own server on hosts: uploads, cuts, refusals, places, and what is started then.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Login, Model, Shell, Tmux, require};
use serde_json::Value;

use crate::{
    screen::{log_in_with_two_prompts, quit},
    serving::set_hosts,
    setting::{CODEX, Outcome, Running, codex, devbox},
};

/// Where a host keeps what was installed, below its home.
pub(crate) const BIN: &str = ".codex/codex-server/bin";

/// A file beside the tests' own, made anew when it is older than what it is made of. Several processes may make
/// it at the same time.
fn made(name: &str, of: &str, make: impl Fn(&Path)) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let modified = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    if modified(&path) < modified(of.as_ref()) {
        let own = path.with_extension(std::process::id().to_string());
        make(&own);
        fs::rename(own, &path).unwrap();
    }
    path
}

/// The binary under test without what only a debugger needs: a fourth of its size.
fn stripped() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        made("stripped-codex", CODEX, |path| {
            let mut strip = Command::new("strip");
            assert!(strip.arg("-o").arg(path).arg(CODEX).status().unwrap().success());
        })
    })
}

/// A small static program that only knows its version.
pub(crate) fn tiny() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        made("tiny-codex", file!(), |path| {
            let source = path.with_extension("c");
            let text = "#include <stdio.h>\nint main(void) { puts(\"codex 9.8.7\"); return 0; }\n";
            fs::write(&source, text).unwrap();
            let mut cc = Command::new("cc");
            cc.args(["-static", "-Os", "-s", "-o"]).arg(path).arg(&source);
            assert!(cc.status().unwrap().success());
            fs::remove_file(source).unwrap();
        })
    })
}

/// The tiny program with something behind it: another version, as far as its hash goes.
pub(crate) fn version(folder: &Path, name: &str, padding: usize) -> PathBuf {
    let path = folder.join(name);
    let mut bytes = fs::read(tiny()).unwrap();
    bytes.extend(name.bytes().cycle().take(padding));
    fs::write(&path, bytes).unwrap();
    path
}

pub(crate) fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// A host behind a shell on this machine, in the client's own home.
pub(crate) fn shell_host(client: &Client) {
    set_hosts(client, "[hosts.box]\ncommand = [\"sh\"]\n");
}

pub(crate) fn install(client: &Client, host: &str, binary: &Path) -> Outcome {
    let binary = binary.to_str().unwrap();
    codex(client, &["install", host, "--json", "--binary", binary])
}

/// The event of this kind in what was printed.
pub(crate) fn event(outcome: &Outcome, kind: &str) -> Value {
    let mut events = outcome
        .stdout
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).unwrap());
    let found = events.rfind(|it| it["event"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}: {outcome:?}"))["params"].clone()
}

pub(crate) fn versions(bin: &Path) -> Vec<String> {
    let entries = fs::read_dir(bin).unwrap().map(|it| it.unwrap());
    let names = entries.map(|it| it.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|it| it.len() == 64).collect();
    names.sort();
    names
}

#[test]
fn a_host_with_only_sshd_becomes_a_host() {
    require!(Sshd);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().codex(Codex::Absent).model(&model);
    let host = Host::start(options.authorize(client.key()));
    client.add(&Alias::new("bare", &host));
    let outcome = codex(&client, &["exec", "--host", "bare", "say hello"]);
    assert!(outcome.stderr.contains("codex install bare"), "{outcome:?}");
    let binary = stripped();
    let outcome = install(&client, "bare", binary);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let sha256 = sha256(binary);
    assert_eq!(
        fs::read_link(host.home().join(BIN).join("codex")).unwrap(),
        PathBuf::from(&sha256).join("codex")
    );
    let file = host.home().join(BIN).join(&sha256).join("codex");
    assert!(fs::read(&file).unwrap() == fs::read(binary).unwrap());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o700);
    let outcome = codex(&client, &["exec", "--host", "bare", "say hello"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "hello\n"),
        "{outcome:?}"
    );
    let outcome = codex(
        &client,
        &["install", "bare", "--binary", binary.to_str().unwrap()],
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("already there"), "{outcome:?}");
}

#[test]
fn every_login_shell_passes_the_program_on() {
    require!(Sshd, Fish, Zsh, Dash, Tcsh);
    let client = Client::new();
    let start = |(name, shell, rc)| {
        let options = HostOptions::new().shell(shell).codex(Codex::Absent).rc(rc);
        let host = Host::start(options.authorize(client.key()));
        client.add(&Alias::new(name, &host));
        host
    };
    let _hosts = [
        ("fish", Shell::Fish, "echo noise\n"),
        ("zsh", Shell::Zsh, "echo noise\n"),
        ("dash", Shell::Dash, "echo noise\n"),
        ("tcsh", Shell::Tcsh, "echo noise\n"),
        // Start-up files that become another shell, or take its input.
        ("other", Shell::Bash, "exec zsh\n"),
        ("input", Shell::Bash, "read x; read y\n"),
    ]
    .map(start);
    let binary = tiny().to_str().unwrap();
    let names = ["fish", "zsh", "dash", "tcsh", "other", "input"];
    let installed = codex(
        &client,
        &[&["install"], &names[..], &["--binary", binary]].concat(),
    );
    assert_eq!(installed.code, Some(0), "{installed:?}");
    let removed = codex(&client, &[&["install", "--remove"], &names[..]].concat());
    assert_eq!(removed.code, Some(0), "{removed:?}");
    for name in names {
        let said = format!("{name}: codex 9.8.7 at ");
        assert!(installed.stdout.contains(&said), "{installed:?}");
        assert!(removed.stdout.contains(&format!("{name}: ")), "{removed:?}");
    }
}

#[test]
fn servers_that_run_one_command_at_a_time_or_pass_it_on_by_a_program_take_it() {
    require!(Sshd);
    let client = Client::new();
    let forced = "ForceCommand exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let start = |name: &str, line: &str| {
        let options = HostOptions::new().codex(Codex::Absent).sshd(line);
        let host = Host::start(options.authorize(client.key()));
        client.add(&Alias::new(name, &host));
        host
    };
    let hosts = [start("one", "MaxSessions 1"), start("forced", forced)];
    let binary = tiny().to_str().unwrap();
    let outcome = codex(&client, &["install", "one", "forced", "--binary", binary]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for host in hosts {
        assert!(host.home().join(BIN).join("codex").exists(), "{outcome:?}");
    }
}

#[test]
fn an_upload_that_is_cut_goes_on_where_it_ended() {
    require!(Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().codex(Codex::Absent).authorize(client.key()));
    client.add(&Alias::new("bare", &host));
    let folder = tempfile::tempdir().unwrap();
    let binary = version(folder.path(), "large", 96_000_000);
    let total = fs::metadata(&binary).unwrap().len();
    let args = ["install", "bare", "--json", "--binary", binary.to_str().unwrap()];
    let mut running = Running::start(&client, &args);
    running.wait_for_event("bare", "sent");
    // Nothing more arrives while the host is looked through.
    host.pause();
    host.kill_sessions();
    host.resume();
    running.wait_for_event("bare", "lost");
    let begun = running.wait_for_event("bare", "begun");
    let resumed_at = begun["resumedAt"].as_u64().unwrap();
    assert!(0 < resumed_at && resumed_at < total, "{begun}");
    let installed = running.wait_for_event("bare", "installed");
    assert_eq!(installed["sent"], total - resumed_at);
    assert_eq!(running.finish().code, Some(0));
    let link = host.home().join(BIN).join("codex");
    assert!(fs::read(link).unwrap() == fs::read(&binary).unwrap());
}

#[test]
fn ctrl_c_leaves_what_arrived_for_the_next_run() {
    require!(Sshd);
    let client = Client::new();
    let host = Host::start(HostOptions::new().codex(Codex::Absent).authorize(client.key()));
    client.add(&Alias::new("bare", &host));
    let folder = tempfile::tempdir().unwrap();
    let binary = version(folder.path(), "large", 96_000_000);
    let args = ["install", "bare", "--json", "--binary", binary.to_str().unwrap()];
    let mut running = Running::start(&client, &args);
    running.wait_for_event("bare", "sent");
    host.pause();
    running.interrupt();
    let outcome = running.finish();
    host.resume();
    assert_eq!(outcome.code, Some(130), "{outcome:?}");
    let text = "interrupted: run it again, and it goes on where it ended";
    assert!(outcome.stdout.contains(text), "{outcome:?}");
    let outcome = install(&client, "bare", &binary);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(0 < event(&outcome, "begun")["resumedAt"].as_u64().unwrap());
}

#[test]
fn only_a_part_that_has_the_right_bytes_is_continued() {
    let client = Client::new();
    shell_host(&client);
    let folder = tempfile::tempdir().unwrap();
    let bin = client.home().join(BIN);
    fs::create_dir_all(&bin).unwrap();
    for (name, is_broken) in [("good", false), ("broken", true)] {
        let binary = version(folder.path(), name, 500_000);
        let bytes = fs::read(&binary).unwrap();
        let mut part = bytes[..400_000].to_vec();
        part[300_000] ^= u8::from(is_broken);
        let shorter = bin.join(format!("{}.before.part", sha256(&binary)));
        fs::write(shorter, &part[..1000]).unwrap();
        fs::write(bin.join(format!("{}.once.part", sha256(&binary))), part).unwrap();
        let outcome = install(&client, "box", &binary);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let resumed_at = if is_broken { 0 } else { 400_000 };
        assert_eq!(event(&outcome, "begun")["resumedAt"], resumed_at, "{name}");
        assert_eq!(
            event(&outcome, "installed")["sent"],
            bytes.len() - resumed_at,
            "{name}"
        );
        assert!(fs::read(bin.join("codex")).unwrap() == bytes, "{name}");
    }
    let is_part = |it: &fs::DirEntry| it.path().extension().is_some_and(|it| it == "part");
    let left = fs::read_dir(&bin).unwrap().map(Result::unwrap).find(is_part);
    assert!(left.is_none(), "{left:?}");
}

#[test]
fn a_program_for_another_processor_is_refused_before_anything_is_sent() {
    let client = Client::new();
    shell_host(&client);
    let folder = tempfile::tempdir().unwrap();
    let binary = version(folder.path(), "foreign", 0);
    let mut bytes = fs::read(&binary).unwrap();
    let is_here_arm = cfg!(target_arch = "aarch64");
    // e_machine: EM_X86_64 is 62, EM_AARCH64 is 183 (elf(5)).
    bytes[18] = if is_here_arm { 62 } else { 183 };
    fs::write(&binary, bytes).unwrap();
    let outcome = codex(&client, &["install", "box", "--binary", binary.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    for part in ["[not-installed]", "nothing was sent", "--binary FILE", "Linux"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
    assert!(!client.home().join(".codex/codex-server").exists());
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let outcome = codex(&client, &["install", "box", "--binary", script.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("is no program"), "{outcome:?}");
}

/// A host behind a shell in a mount namespace of its own, which is made by these lines of sh.
pub(crate) fn mounted_host(client: &Client, mounts: &str) {
    let script = format!("{mounts}; exec sh");
    let words = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
    ];
    let words: Vec<String> = words.iter().map(|it| format!("{it:?}")).collect();
    set_hosts(
        client,
        &format!("[hosts.box]\ncommand = [{}]\n", words.join(", ")),
    );
}

#[test]
fn where_no_program_can_be_written_and_run_another_folder_is_taken() {
    require!(Sshd);
    let shared = "mount -t tmpfs tmpfs /var/tmp";
    let no_exec = "mkdir -p $HOME/.local && mount -t tmpfs -o noexec tmpfs $HOME/.local";
    for (mounts, expected, passed_over) in [
        (
            "mount -t tmpfs -o ro tmpfs $HOME/.codex".to_owned(),
            "/.local/share/codex-server/bin",
            1,
        ),
        (
            "mount -t tmpfs -o noexec tmpfs $HOME/.codex".to_owned(),
            "/.local/share/codex-server/bin",
            1,
        ),
        (
            format!("{shared}; mount -t tmpfs -o ro tmpfs $HOME/.codex; {no_exec}"),
            "/var/tmp/codex-0/bin",
            2,
        ),
    ] {
        let client = Client::new();
        mounted_host(&client, &mounts);
        let outcome = install(&client, "box", tiny());
        assert_eq!(outcome.code, Some(0), "{mounts}: {outcome:?}");
        let begun = event(&outcome, "begun");
        let directory = begun["directory"].as_str().unwrap();
        assert!(directory.ends_with(expected), "{mounts}: {begun}");
        let folders = begun["passedOver"].as_str().unwrap().split(' ').count();
        assert_eq!(folders, passed_over, "{mounts}: {begun}");
    }
}

#[test]
fn a_shared_folder_that_others_can_get_into_is_not_taken() {
    require!(Sshd);
    let client = Client::new();
    let mounts = "for d in $HOME/.codex /mnt; do mount -t tmpfs -o ro tmpfs $d; done; export XDG_DATA_HOME=/mnt; \
                  mount -t tmpfs tmpfs /var/tmp; mkdir -m 755 /var/tmp/codex-0";
    mounted_host(&client, mounts);
    let outcome = codex(&client, &["install", "box", "--binary", tiny().to_str().unwrap()]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    for part in ["no folder on box", "/mnt/codex-server/bin", "[not-installed]"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
}

/// A host behind a shell whose user finds only these programs, beside those that every system has.
pub(crate) fn bare_host(client: &Client, others: &[&str]) -> PathBuf {
    let tools = client.home().join("tools");
    let common = "sh uname mkdir rmdir chmod rm cat wc tr ls id cp mv ln readlink find sed";
    fs::create_dir_all(&tools).unwrap();
    for name in common.split(' ').chain(others.iter().copied()) {
        let folders = ["/usr/bin", "/bin"].map(|it| Path::new(it).join(name));
        let program = folders.iter().find(|it| it.exists());
        let program = program.unwrap_or_else(|| panic!("{name} is not installed"));
        std::os::unix::fs::symlink(program, tools.join(name)).unwrap();
    }
    fs::write(client.home().join(".profile"), "PATH=$HOME/tools\n").unwrap();
    shell_host(client);
    tools
}

#[test]
fn the_hash_is_checked_with_what_the_host_has_and_never_left_out() {
    for tool in ["sha256sum", "shasum", "openssl"] {
        if !Path::new("/usr/bin").join(tool).exists() {
            continue;
        }
        let client = Client::new();
        bare_host(&client, &[tool]);
        let outcome = install(&client, "box", tiny());
        assert_eq!(outcome.code, Some(0), "{tool}: {outcome:?}");
    }
    let client = Client::new();
    bare_host(&client, &[]);
    let outcome = install(&client, "box", tiny());
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    let failure = event(&outcome, "failure");
    assert!(
        failure["message"].as_str().unwrap().contains("none of sha256sum"),
        "{failure}"
    );
}

#[test]
fn what_arrives_changed_or_is_taken_over_is_sent_once_more_and_then_refused() {
    for (breaks, code) in [
        ("[ -e \"$HOME/once\" ] || echo more; echo >\"$HOME/once\"", 0),
        // As another upload does that takes over.
        (
            "[ -e \"$HOME/once\" ] || rm \"$HOME\"/.codex/codex-server/bin/*.part; echo >\"$HOME/once\"",
            0,
        ),
        ("echo more", 3),
    ] {
        let client = Client::new();
        let tools = bare_host(&client, &["sha256sum"]);
        fs::remove_file(tools.join("cat")).unwrap();
        fs::write(tools.join("cat"), format!("#!/bin/sh\n/bin/cat\n{breaks}\n")).unwrap();
        fs::set_permissions(tools.join("cat"), fs::Permissions::from_mode(0o755)).unwrap();
        let outcome = install(&client, "box", tiny());
        assert_eq!(outcome.code, Some(code), "{breaks}: {outcome:?}");
        if code != 0 {
            let failure = event(&outcome, "failure");
            assert!(
                failure["message"].as_str().unwrap().contains("has the SHA-256"),
                "{failure}"
            );
            assert!(!client.home().join(BIN).join("codex").exists());
        }
    }
}

#[test]
fn a_full_disk_is_told_in_the_words_of_the_host() {
    require!(Sshd);
    let client = Client::new();
    mounted_host(&client, "mount -t tmpfs -o size=100k tmpfs $HOME/.codex");
    let outcome = codex(&client, &["install", "box", "--binary", tiny().to_str().unwrap()]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    for part in ["could not write", "No space left", "[not-installed]"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    }
}

#[test]
fn what_is_not_reached_through_a_shell_gets_nothing() {
    let client = Client::new();
    for host in ["ws://127.0.0.1:1", "this machine"] {
        let outcome = install(&client, host, tiny());
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        let failure = event(&outcome, "failure");
        assert!(
            failure["message"].as_str().unwrap().contains("through a shell"),
            "{failure}"
        );
    }
}

#[test]
fn two_versions_are_kept_and_removing_takes_only_ours() {
    let client = Client::new();
    shell_host(&client);
    let folder = tempfile::tempdir().unwrap();
    let bin = client.home().join(BIN);
    let [a, b, c] = ["a", "b", "c"].map(|it| version(folder.path(), it, 10));
    let mut kept = Vec::new();
    for (binary, removed) in [(&a, 0), (&b, 0), (&c, 1), (&b, 0)] {
        let outcome = install(&client, "box", binary);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(event(&outcome, "installed")["removedVersions"], removed);
        let sha256 = sha256(binary);
        let link = fs::read_link(bin.join("codex")).unwrap();
        assert_eq!(link, Path::new(&sha256).join("codex"));
        kept.retain(|it| *it != sha256);
        kept.push(sha256);
        let mut newest: Vec<String> = kept.iter().rev().take(2).cloned().collect();
        newest.sort();
        assert_eq!(versions(&bin), newest);
    }
    fs::write(bin.join("mine"), "a file of the user's").unwrap();
    let outcome = codex(&client, &["install", "box", "--remove"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("removed 2 versions"), "{outcome:?}");
    let left: Vec<_> = fs::read_dir(&bin)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, ["mine"]);
    let outcome = codex(&client, &["install", "box", "--remove"]);
    assert!(outcome.stdout.contains("nothing was installed"), "{outcome:?}");
}

#[test]
fn a_program_that_is_no_codex_or_does_not_start_is_not_left_there() {
    let client = Client::new();
    shell_host(&client);
    let outcome = install(&client, "box", Path::new("/bin/true"));
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    let failure = event(&outcome, "failure");
    assert!(
        failure["message"].as_str().unwrap().contains("does not run"),
        "{failure}"
    );
    let bin = client.home().join(BIN);
    let left: Vec<_> = fs::read_dir(&bin)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_official_codex_stays_and_comes_first_unless_ours_is_asked_for() {
    require!(Sshd, Official);
    let (client, model) = (Client::new(), Model::start());
    let host = devbox(&client, "devbox", &model);
    let binary = tiny().to_str().unwrap();
    let outcome = codex(&client, &["install", "devbox", "--binary", binary]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let say = ["exec", "--host", "devbox", "say hello"];
    let outcome = codex(&client, &say);
    assert_eq!(outcome.stdout, "hello\n", "{outcome:?}");
    set_hosts(&client, "[hosts.devbox]\nserver = \"ours\"\n");
    let outcome = codex(&client, &say);
    let ours = host.home().join(BIN).join("codex");
    assert!(outcome.stderr.contains(ours.to_str().unwrap()), "{outcome:?}");
    set_hosts(&client, "[hosts.devbox]\nserver = \"official\"\n");
    let outcome = codex(&client, &["install", "devbox", "--binary", binary]);
    assert!(outcome.stderr.contains("wants another server"), "{outcome:?}");
}

#[test]
fn a_code_that_holds_once_is_asked_for_once_also_when_the_server_has_to_be_installed() {
    require!(Sshd, Pam, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().codex(Codex::Absent).model(&model);
    let host = Host::start(options.login(Login::TwoPrompts));
    client.add(&Alias::new("bare", &host));
    let words = [stripped().to_str().unwrap(), "connect", "bare"];
    let terminal = Tmux::start(&words, &client.environment(), 100, 30);
    log_in_with_two_prompts(&terminal);
    terminal.wait_for("the failure", |it| it.contains("failed"));
    terminal.send(&["F2"]);
    terminal.wait_for_text("installs our app-server there");
    terminal.send(&["i"]);
    terminal.wait_for_text("install on bare");
    terminal.send(&["i"]);
    terminal.wait_for("the way through the installation to the server", |it| {
        it.contains("ready in")
    });
    assert_eq!(host.log().matches("Accepted ").count(), 1, "{}", host.log());
    quit(&terminal);
}

#[test]
fn the_interface_offers_our_server_and_connects_when_it_is_there() {
    require!(Sshd, Tmux);
    let (client, model) = (Client::new(), Model::start());
    let options = HostOptions::new().codex(Codex::Absent).model(&model);
    let host = Host::start(options.authorize(client.key()));
    client.add(&Alias::new("bare", &host));
    let words = [stripped().to_str().unwrap(), "connect", "bare"];
    let terminal = Tmux::start(&words, &client.environment(), 100, 30);
    terminal.wait_for("the failure", |it| it.contains("failed"));
    terminal.send(&["F2"]);
    terminal.wait_for_text("installs our app-server there");
    terminal.send(&["i"]);
    let screen = terminal.wait_for_text("install on bare");
    assert!(screen.contains("~/.codex/codex-server/bin"), "{screen}");
    terminal.send(&["i"]);
    terminal.wait_for("the way through the installation to the server", |it| {
        it.contains("ready in")
    });
    assert!(host.home().join(BIN).join("codex").exists());
    quit(&terminal);
    // It is the host's own from now on.
    let outcome = codex(&client, &["exec", "--host", "bare", "say hello"]);
    assert_eq!(outcome.stdout, "hello\n", "{outcome:?}");
}
