//! Between OpenSSH's client, which starts a program whenever it wants to ask (`SSH_ASKPASS`), and this process,
//! which has the user.
//!
//! The program is this one, by another name: a symbolic link in a folder that only the user can enter, beside a
//! socket. Started by that name it hands the prompt over the socket, waits, and prints the answer into the pipe
//! that the client reads. The name rather than a variable tells the two apart: variables are inherited, so a
//! `ProxyCommand` that runs this program would be taken for a question.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream as BlockingStream},
    path::Path,
    process::ExitCode,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    time::timeout,
};
use zeroize::Zeroizing;

use super::prompt::Kind;
use crate::limits;

/// The name by which this program asks.
const NAME: &str = "codex-askpass";
const SOCKET: &str = "socket";
/// What proves that the caller was started by our client, beside the folder's permissions and the user's id.
const TOKEN: &str = "CODEX_ASKPASS_TOKEN";
/// How OpenSSH says which kind of prompt it is.
const KIND: &str = "SSH_ASKPASS_PROMPT";
/// What an answer begins with; without it the question was refused.
const ANSWERED: u8 = b'y';

/// Where the prompts of one client arrive. Dropping it removes the folder: whoever asks later gets no answer.
pub(super) struct Desk {
    folder: tempfile::TempDir,
    listener: UnixListener,
    token: Zeroizing<String>,
    /// Those who show something until they are ended.
    held: Vec<UnixStream>,
}

/// Somebody who asks, and waits.
pub(super) struct Caller {
    stream: UnixStream,
    pub(super) kind: Kind,
    /// Not sanitized.
    pub(super) text: String,
}

impl Desk {
    /// Opens a desk whose callers are `program`, which is this one. Blocks on the disk for a moment.
    pub(super) fn open(program: &Path) -> io::Result<Desk> {
        use std::os::unix::fs::PermissionsExt;
        // A client whose asking program is gone does not fail: it sends empty passwords.
        if !program.is_file() {
            let message = format!("`{}` is gone: start this program again", program.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .prefix("codex-ssh-")
            .permissions(private)
            .tempdir()?;
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let token = random.iter().map(|it| format!("{it:02x}")).collect();
        std::os::unix::fs::symlink(program, folder.path().join(NAME))?;
        let listener = UnixListener::bind(folder.path().join(SOCKET))?;
        Ok(Desk {
            folder,
            listener,
            token: Zeroizing::new(token),
            held: Vec::new(),
        })
    }

    /// What makes the client ask here, whatever terminal there is.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("SSH_ASKPASS", self.folder.path().join(NAME).into_os_string()),
            ("SSH_ASKPASS_REQUIRE", "force".into()),
            (TOKEN, self.token.as_str().into()),
        ]
    }

    /// The next one who asks. Who is not the user, or has not the token, is sent away.
    pub(super) async fn asked(&mut self) -> io::Result<Caller> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let own = rustix::process::geteuid().as_raw();
            if !stream.peer_cred().is_ok_and(|it| it.uid() == own) {
                continue;
            }
            if let Ok(Some(caller)) = timeout(limits::ASKPASS_PATIENCE, self.hear(stream)).await {
                return Ok(caller);
            }
        }
    }

    async fn hear(&self, mut stream: UnixStream) -> Option<Caller> {
        let mut said = Vec::new();
        let mut first = (&mut stream).take(limits::ASKPASS_BYTES_MAX);
        first.read_to_end(&mut said).await.ok()?;
        let said = String::from_utf8_lossy(&said);
        let (token, rest) = said.split_once('\n')?;
        let (kind, text) = rest.split_once('\n')?;
        let kind = match kind {
            "confirm" => Kind::Confirm,
            "none" => Kind::Notice,
            _ => Kind::Text,
        };
        (token == self.token.as_str()).then(|| Caller {
            stream,
            kind,
            text: text.to_owned(),
        })
    }

    /// Lets the caller show its text until the client ends it. Of too many the oldest one ends.
    pub(super) fn hold(&mut self, caller: Caller) {
        if limits::ASKPASS_HELD_MAX <= self.held.len() {
            self.held.remove(0);
        }
        self.held.push(caller.stream);
    }
}

impl Caller {
    /// Gives the answer. A caller that is gone wants none. Dropped without one, it is refused.
    pub(super) async fn answer(mut self, text: &str) {
        let mut answer = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        answer.push(ANSWERED);
        answer.extend_from_slice(text.as_bytes());
        _ = timeout(limits::ASKPASS_PATIENCE, async {
            self.stream.write_all(&answer).await?;
            self.stream.shutdown().await
        })
        .await;
    }
}

/// Asks for OpenSSH's client when this program was started by the name for that; `None` when it was not.
///
/// The prompt is the first argument. The answer goes to standard output and the program ends with 0; without an
/// answer it ends with 1, which is a refusal.
pub fn askpass_main(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let program = arguments.next()?;
    let program = Path::new(&program);
    if program.file_name() != Some(OsStr::new(NAME)) {
        return None;
    }
    let folder = program.parent()?;
    let prompt = arguments.next().unwrap_or_default();
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let outcome = ask(
        folder,
        &variable(TOKEN),
        &variable(KIND),
        &prompt.to_string_lossy(),
    );
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn ask(folder: &Path, token: &str, kind: &str, prompt: &str) -> io::Result<()> {
    let mut stream = BlockingStream::connect(folder.join(SOCKET))?;
    stream.write_all(format!("{token}\n{kind}\n{prompt}").as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Zeroizing::new(Vec::with_capacity(limits::ASKPASS_ANSWER_BYTES));
    // For a notice this is the wait for its end.
    stream.read_to_end(&mut answer)?;
    match answer.split_first() {
        Some((&ANSWERED, answer)) => {
            // Not through the buffer of `Stdout`, which nobody wipes.
            let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            output.write_all(answer)?;
            output.write_all(b"\n")
        }
        _ if kind == "none" => Ok(()),
        _ => Err(io::Error::other("refused")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn variable(desk: &Desk, name: &str) -> String {
        let found = desk.environment().into_iter().find(|it| it.0 == name).unwrap();
        found.1.into_string().unwrap()
    }

    /// Says `said` at the desk, as a caller does.
    async fn caller(socket: &Path, said: &str) -> UnixStream {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    }

    async fn answer(mut caller: UnixStream) -> Vec<u8> {
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_who_has_the_token_is_heard() {
        let mut desk = Desk::open(Path::new("/bin/true")).unwrap();
        let folder = desk.folder.path().to_owned();
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let token = variable(&desk, TOKEN);
        let link = variable(&desk, "SSH_ASKPASS");
        assert_eq!(link, folder.join(NAME).display().to_string());
        let other = Desk::open(Path::new("/bin/true")).unwrap();
        let others = variable(&other, TOKEN);
        assert_ne!(others, token);
        let socket = folder.join(SOCKET);
        let callers = async {
            for wrong in ["", "wrong", &others] {
                let refused = caller(&socket, &format!("{wrong}\n\nPassword: ")).await;
                assert_eq!(answer(refused).await, b"", "{wrong:?} got an answer");
            }
            let said = format!("{token}\nconfirm\nReally?\nYes? ");
            answer(caller(&socket, &said).await).await
        };
        let serve = async {
            let caller = desk.asked().await.unwrap();
            assert_eq!(
                (caller.kind, caller.text.as_str()),
                (Kind::Confirm, "Really?\nYes? ")
            );
            caller.answer("yes").await;
        };
        let (answer, ()) = tokio::join!(callers, serve);
        assert_eq!(answer, b"yyes");
        drop(desk);
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn a_dropped_caller_gets_no_answer_and_a_held_one_waits() {
        let mut desk = Desk::open(Path::new("/bin/true")).unwrap();
        let token = variable(&desk, TOKEN);
        let socket = desk.folder.path().join(SOCKET);
        let held = caller(&socket, &format!("{token}\nnone\nTouch it")).await;
        let asked = desk.asked().await.unwrap();
        assert_eq!(asked.kind, Kind::Notice);
        desk.hold(asked);
        let refused = caller(&socket, &format!("{token}\n\nPassword: ")).await;
        drop(desk.asked().await.unwrap());
        assert_eq!(answer(refused).await, b"");
        let waits = held.try_read(&mut [0]);
        assert!(waits.is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock));
        drop(desk);
        assert_eq!(answer(held).await, b"");
    }

    #[test]
    fn the_program_asks_only_under_its_other_name() {
        let arguments = |it: &[&str]| it.iter().map(OsString::from).collect::<Vec<_>>().into_iter();
        assert!(askpass_main(arguments(&["/usr/bin/codex", "Password: "])).is_none());
        assert!(askpass_main(arguments(&[])).is_none());
        let failed = askpass_main(arguments(&["/nowhere/codex-askpass", "Password: "]));
        assert!(failed.is_some(), "without a socket it is a refusal");
    }

    #[tokio::test]
    async fn without_a_program_that_asks_there_is_no_desk() {
        let error = Desk::open(Path::new("/nowhere/codex")).err().unwrap();
        assert!(error.to_string().contains("/nowhere/codex"), "{error}");
    }
}
