//! The remote command line: finds `codex` on the host and starts its app-server.
//!
//! sshd hands the line to the user's login shell, which may be bash, zsh, fish, dash or a csh, so the
//! line is one simple command with one single-quoted argument: no newline, no quote, no `!` and no `\\`
//! inside it. The argument is POSIX sh.
//!
//! Where `codex` is, only the user's shell start-up files know (nvm, Homebrew, npm prefixes). The script
//! asks the login shell for its environment, bounded in time and with an empty stdin, and takes it over;
//! a start-up file that prints, hangs or starts another shell costs at most that time. Then it writes a
//! line with a random mark, so that whatever was printed before is known to be noise, and becomes the
//! server: nothing stays between the channel and the server, which ends when its stdin does.
//!
//! A start-up file that the shell reads even for this line may keep it from being run: it becomes another shell
//! (`exec zsh`), or waits for input (`read`). The line's first word back tells that it runs. Where that does not
//! come, a second line is sent that takes its [input](input) as well.

use std::str::FromStr;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::shell::{self, Shared};

/// Noise before the mark that is kept: its end, for what is said of it.
pub(crate) const NOISE_BYTES_MAX: usize = 64 * 1024;
/// Read at once.
const NOISE_PIECE: usize = 16 * 1024;
/// Noise before the mark that is read; a host that prints more than this is not starting a server.
const NOISE_READ_MAX: usize = 16 << 20;

/// What each line of ours for a login shell begins with, to know it where a host says it back.
pub(crate) const OPENING: &str = "exec /bin/sh -c '";

/// Folders where installers put `codex` although no start-up file says so.
const FOLDERS: &[&str] = &[
    "$HOME/.local/bin",
    "$HOME/bin",
    "$HOME/.codex/bin",
    "$HOME/.npm-global/bin",
    "$HOME/.volta/bin",
    "$HOME/.bun/bin",
    "$HOME/.local/share/pnpm",
    "$HOME/.local/share/mise/shims",
    "$HOME/.asdf/shims",
    "$HOME/.cargo/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/home/linuxbrew/.linuxbrew/bin",
    "/snap/bin",
];

/// Which server of a host is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Server {
    /// The first `codex` that is found; else the one that was put there by `codex install`.
    #[default]
    Auto,
    /// The first one that is OpenAI's.
    Official,
    /// The one that was put there by `codex install`; else the first one that is not OpenAI's.
    Ours,
    /// The one at this path.
    At(Path),
}

/// The path of a program on a host: absolute, or below the home directory as `~/…`. It has no character that
/// means something to a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);

/// A text that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no server: use \"auto\", \"official\", \"ours\", or a path that begins with `/` or `~/` and has only letters, digits and `/._+@%,:=-`"
)]
pub struct NoServer(String);

impl FromStr for Server {
    type Err = NoServer;

    fn from_str(text: &str) -> Result<Server, NoServer> {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._+@%,:=-".contains(it);
        match text {
            "auto" => Ok(Server::Auto),
            "official" => Ok(Server::Official),
            "ours" => Ok(Server::Ours),
            path => match path.strip_prefix('~').unwrap_or(path) {
                rest if rest.starts_with('/') && rest.chars().all(is_plain) => {
                    Ok(Server::At(Path(path.to_owned())))
                }
                _ => Err(NoServer(text.to_owned())),
            },
        }
    }
}

impl Server {
    /// Whether it is started once it has been put there by `codex install`.
    pub fn may_be_installed(&self) -> bool {
        matches!(self, Server::Auto | Server::Ours)
    }

    /// The statements of the script that look for the program after the definitions of [`finder`](Self::finder).
    fn search(&self) -> String {
        let folders: Vec<String> = FOLDERS.iter().map(|it| format!("\"{it}\"")).collect();
        let by_path = "{ find || { ask -lic; find; } || folders; }";
        let define = format!(
            "folders() {{ for d in {} \"$HOME\"/.nvm/versions/node/*/bin; do \
             if fit \"$d/codex\"; then c=$d/codex; PATH=$d:$PATH; export PATH; return 0; fi; done; return 1; }};",
            folders.join(" ")
        );
        let installed = format!(
            "{} mine() {{ is \"$1/codex\" && c=$1/codex; }};",
            shell::places(Shared::Found)
        );
        match self {
            Server::Auto => format!("{define} {installed} ask -lc; {by_path} || places mine;"),
            Server::Ours => format!("{define} {installed} ask -lc; places mine || {by_path};"),
            Server::Official | Server::At(_) => format!("{define} ask -lc; {by_path};"),
        }
    }

    /// What is looked for, in words.
    pub(crate) fn wanted(&self) -> String {
        match self {
            Server::Auto => "codex".to_owned(),
            Server::Official => "official codex".to_owned(),
            Server::Ours => "codex of our own".to_owned(),
            Server::At(Path(path)) => format!("program at {path}"),
        }
    }

    /// The part of the script that defines `fit PATH` and `find`, which puts the path into `c`.
    fn finder(&self) -> String {
        let is = "is() { [ -f \"$1\" ] && [ -x \"$1\" ]; };";
        // The official one calls itself `codex-cli`.
        let fit = |test: &str| {
            format!(
                "fit() {{ is \"$1\" || return 1; case $(lim \"$1\" --version </dev/null 2>/dev/null) in {test} esac; }}; \
                 find() {{ i=$IFS; IFS=:; set -f; for d in $PATH; do if fit \"$d/codex\"; then c=$d/codex; break; fi; done; IFS=$i; set +f; [ -n \"$c\" ]; }};"
            )
        };
        let rest = match self {
            Server::Auto => {
                "fit() { is \"$1\"; }; find() { c=$(command -v codex 2>/dev/null); is \"$c\"; };".to_owned()
            }
            Server::Official => fit("codex-cli*) true;; *) false;;"),
            Server::Ours => fit("codex-cli*) false;; codex*) true;; *) false;;"),
            Server::At(Path(path)) => {
                let path = path
                    .strip_prefix('~')
                    .map_or(path.clone(), |it| format!("$HOME{it}"));
                format!("fit() {{ false; }}; find() {{ c=\"{path}\"; is \"$c\"; }};")
            }
        };
        format!("c=; {is} {rest}")
    }
}

/// What the host said before it became the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// e.g. `Linux x86_64`.
    pub(crate) system: String,
    pub(crate) home: String,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server that is starting.
    Codex { path: String },
    /// The search path in which there is no `codex`. `asked`: the login shell told it; otherwise it is only
    /// the one that sshd sets.
    Missing { searched: String, asked: bool },
}

/// The line for sshd, or for a shell's standard input. `nonce` must be alphanumeric and new for each launch.
pub(crate) fn command_line(nonce: &str, server: &Server) -> String {
    line(nonce, server, "")
}

/// The same for a shell whose start-up files take its input: with it goes [`fed`], and behind its first word
/// [`end_of_input`].
pub(crate) fn command_line_with_input(nonce: &str, server: &Server) -> String {
    line(nonce, server, DRAIN)
}

/// For a script: takes what nobody took of [`fed`], which stands before its own input, up to [`end_of_input`]. It says
/// the first word on standard error too: a start-up file may lead the other output elsewhere.
pub(crate) const DRAIN: &str = "printf \"\\036codex-%s-runs\\n\" \"$n\" >&2; \
    while read -r l; do case $l in end-$n) break;; esac; done;";

/// Lines a start-up file may take of its shell's input before the launch fails.
const SPARE_LINES: usize = 16;

/// What to write on the standard input of a line with [`DRAIN`] in it: a command that tells which shell reads it, the
/// line once more, for a shell that was started without it, and some that may be lost.
pub(crate) fn fed(line: &str, nonce: &str) -> String {
    format!("{}\n{line}{}", who(nonce), "\n".repeat(SPARE_LINES))
}

/// What follows [`fed`] when the line has said its first word. Shells such as dash and tcsh read their input in blocks,
/// and what they have read beyond the line is lost to it.
pub(crate) fn end_of_input(nonce: &str) -> String {
    format!("end-{nonce}\n")
}

/// Prints the name of the shell that runs it, whose child it is: `$0` is not the same in all of them.
fn who(nonce: &str) -> String {
    format!(
        "sh -c 'printf \"\\036codex-{nonce}-by %s\\n\" \"$(ps -o comm= -p $PPID 2>/dev/null || cat /proc/$PPID/comm)\"'"
    )
}

/// Takes the answer of [`who`] out of what start-up files printed: the shell's name.
pub(crate) fn shell_of(nonce: &str, noise: &mut String) -> Option<String> {
    let mark = format!("\x1ecodex-{nonce}-by ");
    let start = noise.find(&mark)?;
    let line = noise[start..].lines().next().unwrap_or_default().to_owned();
    // A login shell's name begins with a hyphen, and macOS tells the whole path.
    let name = line[mark.len()..].trim().trim_start_matches('-');
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    *noise = noise.replacen(&line, "", 1).trim().to_owned();
    Some(name).filter(|it| !it.is_empty())
}

/// The same in what was read, which stays as it is.
pub(crate) fn shell_in(nonce: &str, printed: &[u8]) -> Option<String> {
    shell_of(nonce, &mut String::from_utf8_lossy(printed).into_owned())
}

fn line(nonce: &str, server: &Server, prelude: &str) -> String {
    let script = [
        opening(nonce),
        "s=${SHELL:-/bin/sh}; a=n;".to_owned(),
        shell::environment(),
        server.finder(),
        server.search(),
        "w=$(uname -sm 2>/dev/null);".to_owned(),
        // Nothing before reads: the end of the input is on its way meanwhile.
        prelude.to_owned(),
        "if is \"$c\"; then printf \"\\036codex-%s\\tok\\t%s\\t%s\\t%s\\n\" \"$n\" \"$w\" \"$HOME\" \"$c\"; exec \"$c\" app-server; fi;".to_owned(),
        "printf \"\\036codex-%s\\tmissing-%s\\t%s\\t%s\\t%s\\n\" \"$n\" \"$a\" \"$w\" \"$HOME\" \"$PATH\"; exit 127".to_owned(),
    ];
    shell::line(&script)
}

/// What every script begins with: it says its first word, and has its mark in `n`.
pub(crate) fn opening(nonce: &str) -> String {
    format!("n={nonce}; printf \"\\036codex-%s-runs\\n\" \"$n\";")
}

/// The first word of the script.
pub(crate) fn first_word(nonce: &str) -> String {
    format!("\x1ecodex-{nonce}-runs\n")
}

/// Whether the script was begun, by what was printed so far.
pub(crate) fn runs(nonce: &str, printed: &[u8]) -> bool {
    memchr::memmem::find(printed, first_word(nonce).as_bytes()).is_some()
}

/// What a host prints before the mark it is waited for, read within bounds.
#[derive(Default)]
pub(crate) struct Noise {
    read: usize,
}

impl Noise {
    /// Whether no more is read.
    pub(crate) fn is_too_much(&self) -> bool {
        NOISE_READ_MAX < self.read
    }

    /// Reads more into `printed`, of which only the end stays. `false`: the output ended, or was too much.
    ///
    /// Nothing is lost when this is given up. A mark has to be looked for between two of these.
    pub(crate) async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        printed: &mut BytesMut,
    ) -> bool {
        if self.is_too_much() {
            return false;
        }
        // A mark that has only begun is at the end, and much shorter than what stays.
        let excess = printed.len().saturating_sub(NOISE_BYTES_MAX);
        printed.advance(excess);
        let mut room = printed.limit(NOISE_PIECE);
        match stream.read_buf(&mut room).await {
            Ok(count @ 1..) => self.read += count,
            _ => return false,
        }
        true
    }
}

/// What is said of a host that printed more than is read.
pub(crate) fn too_much() -> String {
    format!(": it printed over {NOISE_READ_MAX} bytes")
}

/// Looks for the mark in what was printed so far. `Some` takes everything up to the end of the mark's
/// line out of `buffer`; the rest is the server's. The noise before the mark comes beside it.
pub(crate) fn take_mark(nonce: &str, buffer: &mut BytesMut) -> Option<(Found, String)> {
    let mark = format!("\x1ecodex-{nonce}\t");
    let start = memchr::memmem::find(buffer, mark.as_bytes())?;
    let end = start + memchr::memchr(b'\n', &buffer[start..])?;
    let line = String::from_utf8_lossy(&buffer[start + mark.len()..end]).into_owned();
    let mut fields = line.trim_end_matches('\r').splitn(4, '\t');
    let mut field = || fields.next().unwrap_or_default().to_owned();
    let (kind, system, home, last) = (field(), field(), field(), field());
    let outcome = match kind.as_str() {
        "ok" => Outcome::Codex { path: last },
        kind => Outcome::Missing {
            searched: last,
            asked: kind == "missing-y",
        },
    };
    let noise = String::from_utf8_lossy(&buffer.split_to(end + 1)[..start])
        .replace(&first_word(nonce), "")
        .trim()
        .to_owned();
    Some((
        Found {
            system,
            home,
            outcome,
        },
        noise,
    ))
}

#[cfg(test)]
mod tests;
