//! What runs on the host while our server is put there, or removed: POSIX sh with what every system has.
//!
//! The far side speaks in marked lines, as the launch does, and asks with two of them for a word of ours:
//!
//! | it says | fields | we say |
//! |---|---|---|
//! | `host` | `uname -sm`, the home directory | `go`, or nothing: then it has changed nothing |
//! | `busy` | another upload of the program goes on, and is waited for | |
//! | `place` | folder, whether the program is there (`y`, `n`), length and SHA-256 of a part of it, folders that were passed over | `put OFFSET` and the rest of the program; `use` when it is there |
//! | `done` | what the program says of its version, its path, how many old versions were removed | |
//! | `short`, `corrupt`, `unwritten`, `taken`, `unfit`, `foreign`, `noplace`, `nosum` | what went wrong | |
//!
//! The end of its input is the end of the program, or of the connection: a part that is too short stays and is
//! continued the next time. Each run writes to a file of its own, so a session that is dead here and still
//! alive there cannot write into what its successor continues.
//!
//! No fsync: sync(1) takes no files on many systems. What a crash of the host right after the end could leave
//! is found by its hash when the install is run again.

use crate::{
    launch,
    shell::{self, Shared},
};

/// Days after which a part of another version, whose upload was given up, is removed.
const PART_DAYS_MAX: u32 = 6;

/// Whether the name in `$q` is that of a version: 64 hexadecimal digits.
const IS_VERSION: &str = "ours() { [ ${#q} = 64 ] || return 1; i=$q; while [ -n \"$i\" ]; do \
    case $i in [0123456789abcdef]*) i=${i#?};; *) return 1;; esac; done; };";

/// `say KIND FIELD…` writes one marked line.
const SAY: &str = "say() { printf \"\\036codex-%s\" \"$n\"; printf \"\\t%s\" \"$@\"; printf \"\\n\"; }; bad() { say \"$@\"; exit 1; };";

/// The first word.
const HOST: &str = "say host \"$(uname -sm 2>/dev/null)\" \"$HOME\";";

/// `sum FILE` puts its SHA-256 into `m`. openssl(1) writes it behind `= `, the others before a space. `pick` finds the
/// program for it: a name may be there and lead to nothing, as some of busybox do, so each has to know the hash of
/// nothing first. A program of several words has none with a space in it.
const SUM: &str = "sum() { m=$($u <\"$1\" 2>/dev/null); m=${m##*= }; m=${m%% *}; }; \
    pick() { for u in sha256sum \"shasum -a 256\" \"openssl dgst -sha256\" \"busybox sha256sum\" \"sha256 -q\" \
    \"perl -MDigest::SHA -eprint(Digest::SHA->new(256)->addfile(*STDIN)->hexdigest)\" \
    \"python3 -c print(__import__(\\\"hashlib\\\").sha256(__import__(\\\"sys\\\").stdin.buffer.read()).hexdigest())\"; do \
    sum /dev/null; [ \"$m\" = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 ] && return 0; \
    done; return 1; };";

/// `len FILE` puts its length into `k`.
const LEN: &str = "len() { k=$(wc -c <\"$1\" 2>/dev/null); case $k in *[0-9]*) ;; \
    *) set -- $(ls -ln \"$1\" 2>/dev/null); k=${5:-0};; esac; k=$((k)); };";

/// `to` puts into `l` the version that `codex` leads to; `lead` makes that this one.
const LEAD: &str = "to() { l=$(readlink \"$x\" 2>/dev/null) || { l=$(ls -l \"$x\"); l=${l##*-> }; }; l=${l%/codex}; }; \
    lead() { i=$d/.codex.$n; { ln -s \"$h/codex\" \"$i\" && mv -f \"$i\" \"$x\"; } || { rm -f \"$i\"; bad unwritten; }; };";

/// `fits FOLDER` makes it `d` when a program can be written and run there; else it goes into `g`. execve(2)
/// refuses on a file system without the right to execute before it looks at what the file is. It names its shell:
/// that of busybox runs a file that does not through `/proc`, which a bare root folder lacks.
const FITS: &str = "fits() { if try \"$1\" 2>/dev/null; then d=$1; return 0; fi; \
    rm -f \"$1/.codex.$n\" 2>/dev/null; rmdir \"$1\" 2>/dev/null; g=\"$g $1\"; return 1; }; \
    try() { p=$1/.codex.$n; mkdir -p \"$1\" && printf \"\\043\\041/bin/sh\\n\" >\"$p\" && chmod 700 \"$p\" && \"$p\" && rm -f \"$p\"; };";

/// `check PROGRAM` runs it; what it says comes into `v` as one line.
const CHECK: &str = "check() { v=$(lim \"$1\" --version </dev/null 2>&1); r=$?; one; \
    [ \"$r\" = 0 ] || return 1; case $v in codex*) ;; *) return 1;; esac; }; \
    one() { set -f; set -- $v; set +f; v=\"$*\"; };";

/// Whether the program is there, whole.
const HAS: &str = "has() { [ -f \"$b\" ] && [ -x \"$b\" ] && sum \"$b\" && [ \"$m\" = \"$h\" ]; };";

/// Another upload that took over from this one is waited for, as long as its part grows: taking it over in turn would
/// go on without an end. What two looks find unchanged for so many seconds does not grow.
const YIELD: &str = "grown() { j=0; for p in \"$d/$h\".*.part; do if [ -f \"$p\" ]; then len \"$p\"; j=$((j+k)); fi; done; }; \
    i=0; grown; until [ \"$i\" = \"$j\" ] || has; do say busy; i=$j; sleep 5 || break; grown; done;";

/// Makes `o` the longest part of this version, of `l` bytes with the hash `m`, and removes the others.
const LOOK: &str = "f=n; o=; l=0; has && f=y; \
    for p in \"$d/$h\".*.part; do [ -f \"$p\" ] || continue; len \"$p\"; \
    if [ \"$l\" -lt \"$k\" ]; then [ -z \"$o\" ] || rm -f \"$o\"; o=$p; l=$k; else rm -f \"$p\"; fi; done; \
    m=-; [ -z \"$o\" ] || sum \"$o\"; say place \"$d\" \"$f\" \"$l\" \"$m\" \"$g\";";

/// Takes the program, checks it and gives it its name. Of a part, only the bytes that were spoken of are taken: its own
/// session may go on writing. One whose file is gone was taken over.
const TAKE: &str = "p=$d/$h.$n.part; read -r v i || exit 1; case $v in use) p=$b;; \
    put) if [ \"$i\" -gt 0 ]; then head -c \"$i\" <\"$o\" >\"$p\" 2>/dev/null || cat \"$o\" >\"$p\" || \
    { rm -f \"$p\"; [ -f \"$o\" ] || bad taken; bad unwritten; }; \
    len \"$p\"; [ \"$k\" = \"$i\" ] || { rm -f \"$p\"; bad taken; }; fi; \
    [ -z \"$o\" ] || rm -f \"$o\"; \
    cat >>\"$p\" || { rm -f \"$p\"; bad unwritten; }; \
    [ -f \"$p\" ] || bad taken; len \"$p\"; [ \"$k\" -lt \"$z\" ] && bad short \"$k\"; \
    sum \"$p\"; [ \"$m\" = \"$h\" ] || { [ -f \"$p\" ] || bad taken; rm -f \"$p\"; bad corrupt \"$m\"; }; chmod 700 \"$p\";; \
    *) exit 1;; esac; \
    check \"$p\" || { [ -f \"$p\" ] || bad taken; [ \"$p\" = \"$b\" ] || rm -f \"$p\"; bad unfit \"$r\" \"$v\"; }; \
    if [ \"$p\" = \"$b\" ]; then :; else mkdir -p \"$d/$h\" && mv -f \"$p\" \"$b\" || { [ -f \"$p\" ] || bad taken; bad unwritten; }; fi;";

/// Lets `codex` lead to this version, and removes all but this one and the one it led to before. Another version may be
/// put there at the same time: one that `codex` leads to by now stays, and whoever was faster, `codex` leads to
/// something in the end.
const SWITCH: &str = "y=; if [ -d \"$x\" ]; then bad foreign \"$x\"; elif [ -L \"$x\" ]; then to; y=$l; \
    elif [ -e \"$x\" ]; then bad foreign \"$x\"; fi; \
    c=0; case $y in \"$h\") ;; *) lead; \
    for p in \"$d\"/*/codex; do q=${p%/codex}; q=${q##*/}; to; case $q in \"$h\"|\"$y\"|\"$l\") ;; \
    *) if ours; then rm -f \"$p\" && rmdir \"$d/$q\" && c=$((c+1)); fi;; esac; done;; esac; \
    [ -x \"$x\" ] || { [ -x \"$b\" ] || bad taken; lead; };";

/// `gone FOLDER` removes what we put there; it always fails, so that the next folder is visited too.
const GONE: &str = "gone() { [ -d \"$1\" ] || return 1; c=0; \
    for p in \"$1\"/*/codex; do q=${p%/codex}; q=${q##*/}; \
    if [ -f \"$p\" ] && ours; then rm -f \"$p\" && rmdir \"$1/$q\" && c=$((c+1)); fi; done; \
    for p in \"$1\"/*.part; do q=${p##*/}; q=${q%%.*}; if [ -f \"$p\" ] && ours; then rm -f \"$p\"; fi; done; \
    [ -L \"$1/codex\" ] && rm -f \"$1/codex\"; rm -f \"$1\"/.codex.*; \
    rmdir \"$1\" 2>/dev/null; rmdir \"${1%/bin}\" 2>/dev/null; [ \"$c\" = 0 ] || say removed \"$1\" \"$c\"; return 1; };";

/// The environment of the login shell first: it may say where `$CODEX_HOME` is, and it may set any variable.
fn begin(nonce: &str) -> Vec<String> {
    vec![
        launch::opening(nonce),
        "umask 077; s=${SHELL:-/bin/sh}; a=n;".to_owned(),
        shell::environment(),
        "ask -lc; g=;".to_owned(),
        SAY.to_owned(),
        IS_VERSION.to_owned(),
    ]
}

/// The line that takes a program of `length` bytes with this SHA-256. `nonce` is alphanumeric, and new each
/// time. `yields`: another upload of it that is under way is waited for.
pub(super) fn put(nonce: &str, sha256: &str, length: u64, prelude: &str, yields: bool) -> String {
    let mut script = begin(nonce);
    script.push(prelude.to_owned());
    script.extend([
        format!("h={sha256}; z={length};"),
        [SUM, LEN, FITS, CHECK, LEAD].join(" "),
        shell::places(Shared::Made),
        format!("{HOST} read -r v && [ \"$v\" = go ] || exit 0;"),
        "pick || bad nosum; places fits || bad noplace \"$g\"; b=$d/$h/codex; x=$d/codex;".to_owned(),
        if yields {
            format!("{HAS} {YIELD}")
        } else {
            HAS.to_owned()
        },
        [LOOK, TAKE, SWITCH].join(" "),
        format!("find \"$d\" -name \"*.part\" -mtime +{PART_DAYS_MAX} -exec rm -f {{}} + 2>/dev/null;"),
        "say done \"$v\" \"$x\" \"$c\"".to_owned(),
    ]);
    shell::line(&script)
}

/// The line that removes what [`put`] put there.
pub(super) fn remove(nonce: &str, prelude: &str) -> String {
    let mut script = begin(nonce);
    script.extend([
        prelude.to_owned(),
        HOST.to_owned(),
        GONE.to_owned(),
        shell::places(Shared::Found),
        "places gone; say end".to_owned(),
    ]);
    shell::line(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_safe_in_every_login_shell() {
        let drain = crate::launch::DRAIN;
        for line in [
            put("n0nce", &"0a".repeat(32), 5, drain, true),
            remove("n0nce", drain),
        ] {
            let script = line
                .strip_prefix("exec /bin/sh -c '")
                .and_then(|it| it.strip_suffix('\''))
                .unwrap();
            assert!(!script.contains(['\'', '\n', '!']), "{script}");
            assert!(
                !script.contains("\\\\"),
                "fish reads two backslashes as one: {script}"
            );
        }
    }
}
