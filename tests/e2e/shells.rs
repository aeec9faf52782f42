//! Login shells of all kinds with start-up files of all kinds: the server starts, or it is said what stands in the way.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, thread};

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Shell, require};

use crate::{
    bad_input::{END, THREAD, TURN, fake_server},
    serving::set_hosts,
    setting::{Outcome, codex},
};

/// A server that needs nothing of the host, whatever its start-up files did to the environment.
fn server() -> Codex {
    let script = fake_server(&format!("{THREAD}{TURN}{END}"));
    Codex::Script(script.replacen('\n', "\nPATH=/usr/bin:/bin\n", 1))
}

const SAY: [&str; 4] = ["exec", "--host", "devbox", "say hello"];

/// What a failure may print: a page of the host's words, and a few of ours.
const PRINTED_MAX: usize = 8 * 1024;

fn say(options: HostOptions) -> Outcome {
    let client = Client::new();
    let host = Host::start(options.authorize(client.key()).codex(server()));
    client.add(&Alias::new("devbox", &host));
    codex(&client, &SAY)
}

fn serves(name: &str, options: HostOptions) {
    let outcome = say(options);
    let got = (outcome.code, outcome.stdout.as_str());
    assert_eq!(got, (Some(0), "survived\n"), "{name}: {outcome:?}");
}

fn refuses(name: &str, options: HostOptions, words: &[&str]) {
    let outcome = say(options);
    assert_eq!(outcome.code, Some(3), "{name}: {outcome:?}");
    assert!(outcome.stderr.len() < PRINTED_MAX, "{name}: {outcome:?}");
    for part in words.iter().chain(&["[launch-failed]"]) {
        assert!(outcome.stderr.contains(part), "{name}: {part}: {outcome:?}");
    }
}

pub(crate) fn with(shell: Shell) -> HostOptions {
    HostOptions::new().shell(shell)
}

/// 10 kB in colours, in the language of Bourne's shell.
pub(crate) const MOTD: &str =
    "i=0; while [ $i -lt 100 ]; do printf '\\033[1m%0100d\\033[0m\\n' $i; i=$((i+1)); done\n";

/// A megabyte of one line and of many, on both outputs.
pub(crate) const MEGABYTE: &str =
    "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero | tr '\\0' '\\n' >&2\n";

#[test]
fn start_up_files_that_print_end_or_break_the_environment_keep_no_server_from_starting() {
    require!(Sshd, Fish, Zsh, Tcsh, Mksh);
    let noise = "echo noise\nsh -c 'echo noise >&2'\n";
    for (name, options) in [
        ("tcsh", with(Shell::Tcsh).rc(noise).profile(noise)),
        ("mksh", with(Shell::Mksh).profile(noise)),
        ("zsh", with(Shell::Zsh).rc(noise).profile(noise)),
        ("fish", with(Shell::Fish).rc(noise).profile(noise)),
        ("exit in .tcshrc", with(Shell::Tcsh).rc("exit 1\n")),
        ("exit in .profile", with(Shell::Mksh).profile("exit 1\n")),
        ("exit in config.fish", with(Shell::Fish).rc("exit 1\n")),
        ("exec fish in .profile", with(Shell::Bash).profile("exec fish\n")),
        ("motd", with(Shell::Bash).rc(MOTD).profile(MOTD)),
        ("a megabyte", with(Shell::Bash).rc(MEGABYTE).profile(MEGABYTE)),
        (
            "a daemon",
            with(Shell::Bash).rc("sleep 60 &\n").profile("sleep 61 &\n"),
        ),
        ("set -eu", with(Shell::Bash).rc("set -eu\n").profile("set -eu\n")),
        (
            "set -eu of zsh",
            with(Shell::Zsh).rc("set -eu\n").profile("set -eu\n"),
        ),
        (
            "aliases",
            with(Shell::Zsh).rc("alias sh=false ls=false command=false printf=false cd=false\n"),
        ),
        (
            "no PATH",
            with(Shell::Bash)
                .rc("PATH=/nonexistent\n")
                .profile("PATH=/usr/local/bin\n"),
        ),
        (
            "empty PATH",
            with(Shell::Bash)
                .rc("export PATH=\n")
                .profile("PATH=/usr/local/bin\n"),
        ),
        (
            "no locale",
            with(Shell::Bash).rc("export LC_ALL=C POSIXLY_CORRECT=1 IFS=x\n"),
        ),
        ("no HOME", with(Shell::Bash).rc("unset HOME\n")),
    ] {
        serves(name, options);
    }
}

#[test]
fn homes_of_every_name_and_kind_have_their_server() {
    require!(Sshd, Tcsh, Fish);
    let odd = "a 'quoted' \"home\" $x `y` \\z";
    for shell in [Shell::Bash, Shell::Tcsh, Shell::Fish] {
        serves(odd, with(shell).home(odd));
    }
    serves(
        "bytes",
        with(Shell::Bash).home(OsString::from_vec(b"h\xffme".to_vec())),
    );
    for option in ["ro", "noexec"] {
        let mounts = format!("mount --bind \"$home\" \"$home\"; mount -o remount,{option},bind \"$home\"\n");
        serves(option, with(Shell::Bash).setup(&mounts));
    }
}

#[test]
fn start_up_files_that_take_the_input_or_become_another_shell_are_gone_around() {
    require!(Sshd, Fish, Zsh, Tcsh);
    let cases = [
        ("exec zsh", with(Shell::Bash).rc("exec zsh\n")),
        // Shells that read their input in blocks.
        ("exec dash", with(Shell::Bash).rc("exec dash\n")),
        ("exec tcsh", with(Shell::Bash).rc("exec tcsh\n")),
        ("read in .bashrc", with(Shell::Bash).rc("read x; read y\n")),
        ("read in .zshenv", with(Shell::Zsh).rc("read x\n")),
        ("read in config.fish", with(Shell::Fish).rc("read x\n")),
        ("read in .tcshrc", with(Shell::Tcsh).rc("set x = $<\n")),
        (
            "one command at a time",
            with(Shell::Bash).rc("exec zsh\n").sshd("MaxSessions 1"),
        ),
        ("slow", with(Shell::Bash).rc("sleep 6\n")),
    ];
    // Each of them waits for most of its time.
    thread::scope(|scope| {
        for (name, options) in cases {
            scope.spawn(move || serves(name, options));
        }
    });
}

#[test]
fn start_up_files_and_settings_for_other_uses_keep_no_server_of_the_systems_ssh_from_starting() {
    require!(Ssh, Sshd, Zsh);
    // Of what a configuration may have for a tunnel, a client that is to run a command takes nothing.
    let tunnel = "SessionType none\n    StdinNull yes\n    RequestTTY force\n    RemoteCommand echo hi\n    \
                  ForkAfterAuthentication yes\n    LocalForward 127.0.0.1:1 127.0.0.1:1";
    let cases = [
        ("exec zsh", with(Shell::Bash).rc("exec zsh\n"), ""),
        ("exec dash", with(Shell::Bash).rc("exec dash\n"), ""),
        ("read", with(Shell::Bash).rc("read x; read y\n"), ""),
        ("a megabyte", with(Shell::Bash).rc(MEGABYTE), ""),
        ("a tunnel", with(Shell::Bash), tunnel),
    ];
    thread::scope(|scope| {
        for (name, options, line) in cases {
            scope.spawn(move || {
                let client = Client::new();
                let host = Host::start(options.authorize(client.key()).codex(server()));
                client.add(&Alias::new("devbox", &host).line(line));
                set_hosts(&client, "[hosts.devbox]\ntransport = \"system\"\n");
                let outcome = codex(&client, &SAY);
                let got = (outcome.code, outcome.stdout.as_str());
                assert_eq!(got, (Some(0), "survived\n"), "{name}: {outcome:?}");
            });
        }
    });
}

#[test]
fn what_stands_in_the_way_of_the_systems_ssh_is_said() {
    require!(Ssh, Sshd, Fish);
    let cases: [(&str, HostOptions, &[&str]); 4] = [
        (
            "silence",
            with(Shell::Bash).rc("exec >/dev/null\n"),
            &[
                "takes the standard output of every command away",
                "[launch-failed]",
            ],
        ),
        (
            "exit in .bashrc",
            with(Shell::Bash).rc("exit 1\n"),
            &[
                "did not run the command",
                "exit status: 1",
                ".bashrc",
                "[launch-failed]",
            ],
        ),
        (
            "sftp only",
            HostOptions::new().sshd("ForceCommand internal-sftp"),
            &[
                "sftp connections only",
                "ForceCommand internal-sftp",
                "[launch-failed]",
            ],
        ),
        (
            "exec fish",
            with(Shell::Bash).rc("exec fish\n"),
            &[
                "no sign of a shell",
                "Authenticated to",
                "config.fish",
                "[timed-out]",
            ],
        ),
    ];
    thread::scope(|scope| {
        for (name, options, words) in cases {
            scope.spawn(move || {
                let client = Client::new();
                let host = Host::start(options.authorize(client.key()).codex(server()));
                client.add(&Alias::new("devbox", &host));
                set_hosts(&client, "[hosts.devbox]\ntransport = \"system\"\n");
                let outcome = codex(&client, &SAY);
                assert_eq!(outcome.code, Some(3), "{name}: {outcome:?}");
                for word in words {
                    assert!(outcome.stderr.contains(word), "{name}: {word}: {outcome:?}");
                }
            });
        }
    });
}

#[test]
fn what_the_server_runs_in_the_place_of_ours_is_said() {
    require!(Sshd);
    let cases: [(&str, HostOptions, &[&str]); 5] = [
        (
            "taken apart",
            HostOptions::new().sshd("ForceCommand $SSH_ORIGINAL_COMMAND"),
            &["takes the quotes of commands apart", "exit status 2"],
        ),
        (
            "forced",
            HostOptions::new().sshd("ForceCommand echo only backups here"),
            &["only backups here", "exit status 0", "ForceCommand"],
        ),
        (
            "endless",
            HostOptions::new().sshd("ForceCommand yes"),
            &["printed over", "prints without end", "ForceCommand"],
        ),
        (
            "another program's",
            HostOptions::new()
                .sshd("ForceCommand echo \"not known here: $SSH_ORIGINAL_COMMAND\" >&2; exit 128"),
            &["not known here: …", "exit status 128"],
        ),
        (
            "sftp only",
            HostOptions::new().sshd("ForceCommand internal-sftp"),
            &["sftp connections only", "exit status 1", "ForceCommand"],
        ),
    ];
    thread::scope(|scope| {
        for (name, options, words) in cases {
            scope.spawn(move || refuses(name, options, words));
        }
    });
}

#[test]
fn what_stands_in_the_way_of_the_server_is_said() {
    require!(Sshd, Zsh, Fish);
    let ends = [
        "did not run the command",
        "exit status 1",
        ".bashrc",
        "nologin",
        "ForceCommand",
    ];
    let waits = [
        "did not run the command",
        "within 30s",
        "a start-up file",
        "config.fish",
    ];
    let nologin =
        "cp -a /etc /run/etc; mount --bind /run/etc /etc; echo Down for the weekend. > /etc/nologin\n";
    let away = ["takes the standard output of every command away", "exec >…;;"];
    let cases: [(&str, HostOptions, &[&str]); 14] = [
        (
            "exit in .bashrc",
            with(Shell::Bash).rc("echo Not today.; exit 1\n"),
            &ends,
        ),
        ("exit in .zshenv", with(Shell::Zsh).rc("exit 1\n"), &ends),
        ("false", with(Shell::False), &ends),
        (
            "nologin",
            with(Shell::Nologin),
            &["This account is currently not available", "nologin"],
        ),
        (
            "rbash",
            with(Shell::Restricted),
            &["exec: restricted", "a restricted one"],
        ),
        (
            "shut in",
            HostOptions::new().sshd("ChrootDirectory /usr"),
            &["No such file or directory", "ChrootDirectory"],
        ),
        (
            "closed for now",
            HostOptions::new().setup(nologin),
            &["Down for the weekend.", "exit status 254"],
        ),
        ("exec fish", with(Shell::Bash).rc("exec fish\n"), &waits),
        ("silence", with(Shell::Bash).rc("exec >/dev/null\n"), &away),
        (
            "too much",
            with(Shell::Bash).rc("head -c 20000000 /dev/zero\n"),
            &["it printed over 16777216 bytes", "prints without end"],
        ),
        (
            "one hangs",
            with(Shell::Bash).rc("sleep 60\n").sshd("MaxSessions 1"),
            &waits,
        ),
        ("elsewhere", with(Shell::Zsh).rc("exec >&2\n"), &away),
        ("nowhere", with(Shell::Bash).rc("exec >&-\n"), &away),
        (
            "no input",
            with(Shell::Bash).rc("exec <&-\n"),
            &["app-server ended: exit status 0", "closes the input"],
        ),
    ];
    thread::scope(|scope| {
        for (name, options, words) in cases {
            scope.spawn(move || refuses(name, options, words));
        }
    });
}

#[test]
fn a_codex_that_only_the_login_file_of_a_c_shell_knows_is_found() {
    require!(Sshd, Official, Tcsh);
    let (client, model) = (Client::new(), codex_testkit::Model::start());
    let options = with(Shell::Tcsh).codex(Codex::OfficialInProfile);
    let options = options.rc("unsetenv PATH; setenv PATH /usr/bin:/bin\n");
    let host = Host::start(options.authorize(client.key()).model(&model));
    client.add(&Alias::new("devbox", &host));
    let outcome = codex(&client, &["exec", "--host", "devbox", "say hello"]);
    assert_eq!(outcome.stdout, "hello\n", "{outcome:?}");
}
