//! Pieces of POSIX sh that run on hosts, shared by the launch and by what puts our server there.
//!
//! They are written for one line inside single quotes that any login shell passes on unchanged: no newline, no
//! quote, no `!` and no `\\`.

/// Seconds that the user's shell, or a program that is asked for its version, may take.
pub(crate) const SHELL_PATIENCE_S: u32 = 8;

/// The line for a login shell that runs a script of these pieces.
pub(crate) fn line(pieces: &[String]) -> String {
    // A start-up file may leave a PATH on which there is no `sh`.
    format!("exec /bin/sh -c '{}'", pieces.join(" "))
}

/// Defines `lim PROGRAM…`, which runs it for a bounded time, and `ask FLAGS`, which takes over the environment
/// of the login shell started with these flags. They need `n` (a mark of its own for each launch) and `s` (the
/// login shell); `ask` sets `a` to `y` when the shell told its environment.
pub(crate) fn environment() -> String {
    [
        // A start-up file may leave a PATH on which nothing is: the script's own tools are found in any case.
        "base() { command -v sed >/dev/null 2>&1 || PATH=$PATH:/usr/local/bin:/usr/bin:/bin; export PATH; }; base;".to_owned(),
        // SIGKILL: interactive shells ignore SIGTERM. macOS has no `timeout`, but it has perl.
        format!("lim() {{ if command -v timeout >/dev/null 2>&1; then timeout -s KILL {SHELL_PATIENCE_S} \"$@\";"),
        format!("elif command -v perl >/dev/null 2>&1; then perl -e \"alarm shift; exec @ARGV\" {SHELL_PATIENCE_S} \"$@\"; else \"$@\"; fi; }};"),
        "ask() { q=\"echo; echo codex-$n; exec /bin/sh -c \\\"export -p; echo; echo end-$n\\\"\";".to_owned(),
        // A C shell takes `-l` only alone (tcsh(1)), and a start-up file of its may read some lines. Shells on macOS need the bracket before the pattern.
        "told() { case $s in (*csh) { echo; echo; echo; echo; echo \"$q\"; } | lim \"$s\" -l;; (*) lim \"$s\" \"$1\" \"$q\" </dev/null;; esac; };".to_owned(),
        // It is read up to a mark: a daemon that a start-up file left behind keeps the pipe open.
        "e=$(told \"$1\" 2>/dev/null | sed -n \"1,/^codex-$n/d;/^end-$n/q;p\");".to_owned(),
        // The user's own variables may have the names of the script's.
        "if [ -n \"$e\" ] && (eval \"$e\") >/dev/null 2>&1; then set -- \"$n\" \"$s\" \"$c\"; eval \"$e\"; n=$1; s=$2; c=$3; a=y; base; fi; };".to_owned(),
    ]
    .join(" ")
}

/// What `places` does about the folder that everybody can write to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    /// It is made where it is missing.
    Made,
    /// Only one that is there counts.
    Found,
}

/// Defines `places FUNCTION`, which calls the function with each folder that our server may be in, the best
/// first, until one succeeds. The last one is below a folder that everybody can write to: it counts only when
/// it belongs to the user and nobody else can get in.
pub(crate) fn places(shared: Shared) -> String {
    let make = match shared {
        Shared::Made => "mkdir -m 700 \"$t\" 2>/dev/null; ",
        Shared::Found => "",
    };
    [
        // ls(1) -n tells the owner's number; a symbolic link does not begin with `d`.
        "private() { set -- $(ls -ldn \"$1\" 2>/dev/null); case $1 in drwx------*) [ \"$3\" = \"$(id -u)\" ];; *) false;; esac; };",
        "places() { \"$1\" \"${CODEX_HOME:-$HOME/.codex}/codex-server/bin\" || \"$1\" \"${XDG_DATA_HOME:-$HOME/.local/share}/codex-server/bin\"",
        &format!("|| {{ t=/var/tmp/codex-$(id -u); {make}private \"$t\" && \"$1\" \"$t/bin\"; }}; }};"),
    ]
    .join(" ")
}
