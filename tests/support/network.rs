//! A network between two machines that can be made to lose every packet without a word, as a cut cable, a dead router
//! and a sleeping Wi-Fi do.
//!
//! Each machine is a network namespace with one end of a veth(4) pair. Frozen, both send their packets to a hardware
//! address that nobody has. Nothing is left behind: the namespaces have no names and end with the value and the
//! processes in them.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::AsFd,
    process::{Command, Stdio},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::skip;

/// Who is at an end of the cable.
struct End {
    device: &'static str,
    address: &'static str,
    hardware: &'static str,
}

const NEAR: End = End {
    device: "near",
    address: "10.98.0.1",
    hardware: "02:00:00:00:00:01",
};
const FAR: End = End {
    device: "far",
    address: Network::FAR,
    hardware: "02:00:00:00:00:02",
};
/// Where frozen packets go.
const NOBODY: &str = "02:00:00:00:00:99";

/// Two machines and what is between them.
pub struct Network {
    near: File,
    far: File,
}

impl Network {
    /// The address of the far machine.
    pub const FAR: &str = "10.98.0.2";

    /// Makes both machines and connects them.
    ///
    /// # Panics
    ///
    /// When it cannot; ask [`crate::available`] for [`crate::Part::Network`] first.
    pub fn start() -> Network {
        Network::make().unwrap_or_else(|why| panic!("no network: {why}"))
    }

    fn make() -> Result<Network, String> {
        let (near, far) = (Holder::start()?, Holder::start()?);
        let network = Network {
            near: near.namespace()?,
            far: far.namespace()?,
        };
        let far_process = far.0.id().to_string();
        let pair = [
            "link",
            "add",
            NEAR.device,
            "address",
            NEAR.hardware,
            "type",
            "veth",
        ];
        let peer = [
            "peer",
            "name",
            FAR.device,
            "address",
            FAR.hardware,
            "netns",
            &far_process,
        ];
        network.near(|| ip(&[pair.as_slice(), &peer].concat()))?;
        network.near(|| set_up(&NEAR))?;
        network.far(|| set_up(&FAR))?;
        network.lead(FAR.hardware, NEAR.hardware)?;
        Ok(network)
    }

    /// Runs this on the near machine, in a thread of its own; processes and threads that it starts are there, too.
    pub fn near<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.near, work)
    }

    /// The same on the far machine.
    pub fn far<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.far, work)
    }

    /// From now on every packet is lost, and nobody is told.
    pub fn freeze(&self) {
        self.lead(NOBODY, NOBODY).unwrap();
    }

    /// Packets that are sent from now on arrive.
    pub fn thaw(&self) {
        self.lead(FAR.hardware, NEAR.hardware).unwrap();
    }

    /// Tells both machines where the other one is.
    fn lead(&self, to_far: &str, to_near: &str) -> Result<(), String> {
        let lead = |address: &str, to: &str, device: &str| {
            let neighbour = ["neigh", "replace", address, "lladdr", to];
            ip(&[neighbour.as_slice(), &["dev", device, "nud", "permanent"]].concat())
        };
        self.near(|| lead(FAR.address, to_far, NEAR.device))?;
        self.far(|| lead(NEAR.address, to_near, FAR.device))
    }
}

/// Why no network can be made here, or nothing when one can.
pub(crate) fn lack() -> Option<String> {
    let missing = skip::missing(&["unshare"]).or_else(|| skip::missing(&["ip"]));
    missing.or_else(|| Network::make().err())
}

fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        match inside.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn set_up(end: &End) -> Result<(), String> {
    let address = format!("{}/30", end.address);
    ip(&["link", "set", "lo", "up"])?;
    ip(&["addr", "add", &address, "dev", end.device])?;
    ip(&["link", "set", end.device, "up"])
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let program = skip::program("ip").unwrap();
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {}", arguments.join(" "), text.trim())),
    }
}

/// A process that has a namespace of its own, until the namespace is held by somebody else.
struct Holder(std::process::Child);

impl Holder {
    fn start() -> Result<Holder, String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", "echo made; read -r _"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let read = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        let holder = Holder(child);
        match read.is_ok_and(|read| read > 0) {
            true => Ok(holder),
            false => Err("a network namespace is refused; run as root".to_owned()),
        }
    }

    fn namespace(&self) -> Result<File, String> {
        let path = format!("/proc/{}/ns/net", self.0.id());
        File::open(&path).map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
