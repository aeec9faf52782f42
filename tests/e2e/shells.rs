//! Login shells of all kinds with start-up files of all kinds: the server starts, or it is said what stands in the way.

use codex_testkit::{Alias, Client, Codex, Host, HostOptions, Shell, require};

use crate::{
    bad_input::{END, THREAD, TURN, fake_server},
    setting::{Outcome, codex},
};

/// A server that needs nothing of the host, whatever its start-up files did to the environment.
fn server() -> Codex {
    let script = fake_server(&format!("{THREAD}{TURN}{END}"));
    Codex::Script(script.replacen('\n', "\nPATH=/usr/bin:/bin\n", 1))
}

fn say(options: HostOptions) -> Outcome {
    let client = Client::new();
    let host = Host::start(options.authorize(client.key()).codex(server()));
    client.add(&Alias::new("devbox", &host));
    let begun = std::time::Instant::now();
    let outcome = codex(&client, &["exec", "--host", "devbox", "say hello"]);
    eprintln!("took {:?}", begun.elapsed());
    outcome
}

#[test]
fn explore() {
    let p = |s: Shell| HostOptions::new().shell(s);
    use Shell::*;
    let big = "i=0; while [ $i -lt 100 ]; do printf '\\033[1mwelcome to the machine, it is a good one %s and has a lot to tell you %s yes\\033[0m\\n' $i $i; i=$((i+1)); done\n";
    let cases: Vec<(&str, HostOptions)> = vec![
        ("tcsh", p(Tcsh).rc("echo noise\nalias ls false\nalias exec echo\n").profile("echo login noise\n")),
        ("tcsh exit", p(Tcsh).rc("exit 1\n")),
        ("tcsh input", p(Tcsh).rc("set x = $<\n")),
        ("mksh", p(Mksh).profile("echo noise; echo noise >&2; exit 1\n")),
        ("bash exec zsh", p(Bash).rc("exec zsh\n")),
        ("bash exec fish", p(Bash).profile("exec fish\n")),
        ("bash exec fish in rc", p(Bash).rc("exec fish\n")),
        ("bash exit 1", p(Bash).rc("exit 1\n")),
        ("zsh exit 1", p(Zsh).rc("exit 1\n")),
        ("profile exit 1", p(Bash).profile("exit 1\n")),
        ("fish exit 1", p(Fish).rc("exit 1\n")),
        ("bash read", p(Bash).rc("read x\n")),
        ("zsh read", p(Zsh).rc("read x\n")),
        ("fish read", p(Fish).rc("read x\n")),
        ("motd", p(Bash).rc(big).profile(big)),
        ("sleep", p(Bash).rc("sleep 2\n").profile("sleep 2\n")),
        ("background", p(Bash).rc("sleep 60 &\n").profile("sleep 61 &\n")),
        ("set -eu", p(Bash).rc("set -eu\n").profile("set -eu\n")),
        ("set -eu zsh", p(Zsh).rc("set -eu\n").profile("set -eu\n")),
        ("set -n", p(Bash).rc("set -f; set -o posix; IFS=x; export IFS\n")),
        ("alias", p(Bash).rc("shopt -s expand_aliases; alias exec=echo; alias sh=false; alias ls=false; alias command=false\n")),
        ("alias zsh", p(Zsh).rc("alias exec=echo; alias sh=false; alias ls=false; alias command=false\n")),
        ("functions", p(Bash).rc("exec() { echo no; }; sh() { false; }; printf() { false; }; export -f exec sh printf\n")),
        ("path", p(Bash).rc("PATH=/nonexistent\n")),
        ("path exported empty", p(Bash).rc("export PATH=\n")),
        ("path in profile", p(Bash).profile("PATH=/nonexistent\n")),
        ("home", p(Bash).home("a 'quoted' \"home\" $x `y` \\z")),
        ("home bytes", p(Bash).home(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(b"h\xffme".to_vec()))),
        ("ro home", p(Bash).setup("mount --bind \"$home\" \"$home\"; mount -o remount,ro,bind \"$home\"\n")),
        ("noexec home", p(Bash).setup("mount --bind \"$home\" \"$home\"; mount -o remount,noexec,bind \"$home\"\n")),
        ("no home", p(Bash).setup("rm -rf \"$home\"/work\n").rc("unset HOME\n")),
        ("rbash", p(Restricted)),
        ("nologin", p(Nologin)),
        ("false", p(False)),
        ("locale C", p(Bash).rc("export LC_ALL=C LANG=C POSIXLY_CORRECT=1\n")),
        ("stdin eaten", p(Bash).rc("cat >/dev/null\n")),
        ("stdout closed", p(Bash).rc("exec >/dev/null\n")),
    ];
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, options) in cases {
        if !name.contains(&only) { continue }
        eprintln!("== {name}");
        let outcome = say(options);
        let err: String = outcome.stderr.lines().filter(|it| !it.contains("fake/9")).collect::<Vec<_>>().join("\n   ");
        let cut: String = err.chars().take(1500).collect();
        eprintln!("{:?} {:?}\n   {}", outcome.code, outcome.stdout, cut);
    }
}
