//! Servers that listen, of both kinds, and a cable between them and the binary that can be cut.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use codex_testkit::{Client, Model, official, wait};
use tempfile::TempDir;

use crate::setting::CODEX;

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Official,
    Ours,
}

impl Whose {
    fn program(self) -> PathBuf {
        match self {
            Whose::Official => official(),
            Whose::Ours => CODEX.into(),
        }
    }
}

/// A server that listens, with its model and its home; dropping it ends it.
pub(crate) struct Serving {
    pub(crate) model: Model,
    /// Where it listens.
    pub(crate) url: String,
    whose: Whose,
    home: TempDir,
    child: Child,
}

impl Serving {
    /// At a port of loopback that the system chooses.
    pub(crate) fn tcp(whose: Whose) -> Serving {
        Serving::start(whose, |_| "ws://127.0.0.1:0".to_owned())
    }

    /// At a socket in its home.
    pub(crate) fn unix(whose: Whose) -> Serving {
        Serving::start(whose, |home| {
            format!("unix://{}", home.join("run/s.sock").display())
        })
    }

    fn start(whose: Whose, listen: impl Fn(&Path) -> String) -> Serving {
        // Codex may write below /tmp without asking, and homes are not there.
        let home = tempfile::Builder::new()
            .prefix("codex-serving-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let model = Model::start();
        fs::create_dir(home.path().join("work")).unwrap();
        give_model(home.path(), &model);
        let (child, url) = spawn(whose, home.path(), &listen(home.path()));
        Serving {
            model,
            url,
            whose,
            home,
            child,
        }
    }

    /// The folder in which threads start that name none.
    pub(crate) fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    /// Ends it as a crash would, and starts it again at the same address when `between` has returned.
    pub(crate) fn restart(&mut self, between: impl FnOnce()) {
        kill_group(&mut self.child);
        between();
        (self.child, _) = spawn(self.whose, self.home.path(), &self.url);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

/// Makes it the model of a home.
pub(crate) fn give_model(home: &Path, model: &Model) {
    fs::create_dir_all(home.join(".codex")).unwrap();
    fs::write(home.join(".codex/config.toml"), model.config_toml()).unwrap();
}

/// Adds a program under `~/.local/bin`, where a launch looks for it.
pub(crate) fn install(client: &Client, whose: Whose) {
    let bin = client.home().join(".local/bin");
    fs::create_dir_all(&bin).unwrap();
    let program = whose.program();
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display());
    fs::write(bin.join("codex"), script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.join("codex"), mode).unwrap();
}

/// Writes `hosts.toml`.
pub(crate) fn set_hosts(client: &Client, text: &str) {
    fs::create_dir_all(client.home().join(".codex")).unwrap();
    fs::write(client.home().join(".codex/hosts.toml"), text).unwrap();
}

/// Waits until the clock shows another second: times of threads are whole ones, and of two that changed in the
/// same second either may be the last.
pub(crate) fn next_second() {
    let second = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_secs()
    };
    let now = second();
    wait::until("the next second", wait::DEADLINE, || {
        (now < second()).then_some(())
    });
}

fn spawn(whose: Whose, home: &Path, listen: &str) -> (Child, String) {
    let mut command = Command::new(whose.program());
    command
        .args(["app-server", "--listen", listen])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("SHELL", "/bin/bash")
        .env("LANG", "C.UTF-8")
        .current_dir(home.join("work"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // npm's launcher has the real program below it.
        .process_group(0);
    let mut child = command.spawn().unwrap();
    let (sender, lines) = mpsc::sync_channel(1000);
    let stderr = child.stderr.take().unwrap();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // After the banner nobody listens, and the pipe must not fill.
            _ = sender.try_send(line);
        }
    });
    let url = if let Some(path) = listen.strip_prefix("unix://") {
        wait::until("the socket", wait::DEADLINE, || {
            std::os::unix::net::UnixStream::connect(path).ok()
        });
        listen.to_owned()
    } else {
        let banner = |line: &String| Some(line.split_once("listening on: ")?.1.trim().to_owned());
        wait::until("the banner", wait::DEADLINE, || {
            lines.try_iter().find_map(|it| banner(&it))
        })
    };
    (child, url)
}

fn kill_group(child: &mut Child) {
    let group = format!("-{}", child.id());
    _ = Command::new("kill").args(["-KILL", "--", &group]).status();
    _ = child.wait();
}

/// A cable: a port of its own, whose connections can be cut. Dropping it cuts them.
pub(crate) struct Cable {
    pub(crate) url: String,
    ends: Arc<Mutex<Vec<TcpStream>>>,
    made: Arc<AtomicUsize>,
}

impl Cable {
    /// To `ws://ADDRESS`.
    pub(crate) fn to(url: &str) -> Cable {
        let target = url
            .strip_prefix("ws://")
            .unwrap()
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let ends = Arc::<Mutex<Vec<TcpStream>>>::default();
        let kept = Arc::clone(&ends);
        let made = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&made);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&target) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        _ = std::io::copy(&mut from, &mut to);
                        _ = to.shutdown(Shutdown::Both);
                    });
                }
                kept.lock().unwrap().extend([near, far]);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Cable { url, ends, made }
    }

    /// Connections that it has had, the cut ones among them.
    pub(crate) fn connections(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Cuts what is connected; what connects later is let through.
    pub(crate) fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
    }
}
