//! A real sshd in a directory of its own, and a user who answers questions.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use codex_ssh::{
    Answer, ConnectError, Connector, Event, Local, Question, Route, Session, Stage,
    config::settings::{HostSettings, StrictHostKeyChecking},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

const SSHD: &str = "/usr/sbin/sshd";
/// Far more than a condition in these tests needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Whether these tests can run; says so if not.
pub(crate) fn available() -> bool {
    if Path::new(SSHD).exists() {
        return true;
    }
    let required = std::env::var("CODEX_TESTS_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|it| it == "sshd"),
        "there is no {SSHD}, and it is required"
    );
    eprintln!("skipped: there is no {SSHD}");
    false
}

pub(crate) struct Sshd {
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // The test is over either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// Starts it with a host key, and one key of a user (`user`) that may log in.
    pub(crate) fn start(more: &str) -> Sshd {
        Sshd::with_key("ed25519", more)
    }

    /// The same with a host key of this type only.
    pub(crate) fn with_key(kind: &str, more: &str) -> Sshd {
        Sshd::run(&mut || Command::new(SSHD), kind, more)
    }

    /// Runs `program` as sshd with mounts of its own.
    pub(crate) fn in_namespace(program: &Path, more: &str) -> Sshd {
        let mut command = || {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private"]).arg(program);
            command
        };
        Sshd::run(&mut command, "ed25519", more)
    }

    fn run(program: &mut dyn FnMut() -> Command, kind: &str, more: &str) -> Sshd {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("host"), kind, "");
        keygen(&dir.path().join("user"), "ed25519", "");
        fs::copy(dir.path().join("user.pub"), dir.path().join("authorized")).unwrap();
        // Another process may take the port in between; sshd then ends at once.
        for _ in 0..5 {
            let port = free_port();
            let config = write_config(dir.path(), port, more);
            let log = dir.path().join("log");
            fs::write(&log, "").unwrap();
            let mut child = program()
                .args(["-D", "-f"])
                .arg(&config)
                .arg("-E")
                .arg(&log)
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            if listens(&mut child, &log) {
                return Sshd { dir, port, child };
            }
        }
        let log = fs::read_to_string(dir.path().join("log"));
        panic!("sshd did not start: {}", log.unwrap_or_default());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Adds a key pair that may log in.
    pub(crate) fn add_key(&self, name: &str, kind: &str, passphrase: &str) -> PathBuf {
        let path = self.path(name);
        keygen(&path, kind, passphrase);
        let public = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        let file = self.path("authorized");
        let known = fs::read_to_string(&file).unwrap();
        fs::write(&file, known + &public).unwrap();
        path
    }

    /// Settings that log in without a question: key `user`, known host key.
    pub(crate) fn settings(&self) -> HostSettings {
        let public = fs::read_to_string(self.path("host.pub")).unwrap();
        let known = self.path("known_hosts");
        fs::write(&known, format!("[127.0.0.1]:{} {public}", self.port)).unwrap();
        let mut settings = settings(self.port);
        settings.identity_files = vec![self.path("user")];
        settings.user_known_hosts_files = vec![known];
        settings
    }

    /// Whether any login was tried at this sshd.
    pub(crate) fn saw_login(&self) -> bool {
        let log = self.log();
        assert!(
            log.contains("Connection from"),
            "the log tells of no connection: {log}"
        );
        log.contains("userauth-request")
    }
}

/// Waits until it listens, or has ended.
fn listens(child: &mut Child, log: &Path) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.contains("Server listening on 127.0.0.1") {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    // It is up to its owner no more.
    let _ = child.kill();
    false
}

pub(crate) fn write_config(dir: &Path, port: u16, more: &str) -> PathBuf {
    let dir_text = dir.display();
    // The first value of a keyword counts.
    let config = format!(
        "{more}\nListenAddress 127.0.0.1:{port}\nHostKey {dir_text}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
         LogLevel DEBUG3\nPermitRootLogin yes\nAuthorizedKeysFile {dir_text}/authorized\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    );
    let path = dir.join("config");
    fs::write(&path, config).unwrap();
    // Where Debian's sshd puts its unprivileged half; only root has one.
    let _ = fs::create_dir_all("/run/sshd");
    path
}

pub(crate) fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let done = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "a test key", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(done.success());
}

/// Signs `key` by `ca`, with these arguments of ssh-keygen.
pub(crate) fn sign(ca: &Path, key: &Path, arguments: &[&str]) {
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-I", "test", "-s"])
        .arg(ca)
        .args(arguments)
        .arg(key)
        .status();
    assert!(signed.unwrap().success());
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) fn settings(port: u16) -> HostSettings {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())
        .unwrap()
        .unwrap();
    HostSettings {
        host_name: "127.0.0.1".to_owned(),
        ..HostSettings::plain("testhost", user.name, port)
    }
}

/// Settings for a host of the test kit, whose key is taken as it comes.
pub(crate) fn lenient(host: &codex_testkit::Host) -> HostSettings {
    let plain = HostSettings::plain("testhost", host.user(), host.port());
    HostSettings {
        host_name: "127.0.0.1".to_owned(),
        strict_host_key_checking: StrictHostKeyChecking::Off,
        user_known_hosts_files: Vec::new(),
        ..plain
    }
}

pub(crate) fn connector() -> Connector {
    Connector::new(Local::default())
}

/// What a connection told and asked.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) stages: Vec<(usize, Stage)>,
    pub(crate) notices: Vec<String>,
    pub(crate) questions: Vec<Question>,
}

/// Connects, with a user who answers by `answer`.
pub(crate) async fn connect_with(
    connector: &Connector,
    hops: Vec<HostSettings>,
    mut answer: impl FnMut(&Question) -> Answer,
) -> (Result<Session, ConnectError>, Heard) {
    let (sender, mut events) = mpsc::channel(16);
    let route = Route { hops };
    let listen = async {
        let mut heard = Heard::default();
        while let Some(event) = events.recv().await {
            match event {
                Event::Stage { hop, stage } => heard.stages.push((hop, stage)),
                Event::Notice { text, .. } => heard.notices.push(text),
                Event::Question {
                    question,
                    answer: reply,
                    ..
                } => {
                    let _ = reply.send(answer(&question));
                    heard.questions.push(question);
                }
            }
        }
        heard
    };
    let both = async { tokio::join!(connector.connect(&route, sender), listen) };
    tokio::time::timeout(PATIENCE, both)
        .await
        .unwrap_or_else(|_| panic!("the connection is neither made nor refused within 20 s"))
}

/// Connects where there is nothing to ask.
pub(crate) async fn connect(settings: HostSettings) -> Result<Session, ConnectError> {
    let (session, heard) = connect_with(&connector(), vec![settings], |_| Answer::Refuse).await;
    assert_eq!(heard.questions, []);
    session
}

/// Waits for a condition that comes true by itself.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn refused(result: Result<Session, ConnectError>) -> ConnectError {
    match result {
        Ok(_) => panic!("the connection was made"),
        Err(error) => error,
    }
}
