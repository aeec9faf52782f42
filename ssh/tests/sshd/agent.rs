//! A real ssh-agent.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::host::{Sshd, keygen};

pub(crate) struct Agent {
    pub(crate) socket: PathBuf,
    child: Child,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    pub(crate) fn start(dir: &Path) -> Agent {
        let socket = dir.join("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = std::time::Instant::now();
        while !socket.exists() {
            assert!(start.elapsed().as_secs() < 20, "the agent did not start");
            std::thread::yield_now();
        }
        Agent { socket, child }
    }

    /// One that holds so many other keys before the user's.
    pub(crate) fn full(sshd: &Sshd, others: usize) -> Agent {
        let agent = Agent::start(sshd.dir.path());
        for number in 0..others {
            let path = sshd.path(&format!("other{number}"));
            keygen(&path, "ed25519", "");
            agent.add(&path);
        }
        agent.add(&sshd.path("user"));
        agent
    }

    pub(crate) fn add(&self, key: &Path) {
        let done = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .status();
        assert!(done.unwrap().success());
    }

    /// The keys that it holds, as `ssh-add -l` prints them.
    pub(crate) fn list(&self) -> String {
        let listed = Command::new("ssh-add")
            .arg("-l")
            .env("SSH_AUTH_SOCK", &self.socket)
            .output();
        String::from_utf8(listed.unwrap().stdout).unwrap()
    }
}
