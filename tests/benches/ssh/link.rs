//! A slow link between two network namespaces, for kernels without netem(8): every packet takes its time.
//!
//! Two TUN devices, one in each namespace, are joined by threads of this program that hand each packet over when
//! it is due. Nothing is left behind: namespaces and devices have no names and end with the program.
#![expect(
    unsafe_code,
    reason = "the ioctl that attaches a TUN device has no safe wrapper"
)]

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::AsFd,
    process::Command,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    ioctl::{Updater, ioctl},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use crate::Outcome;

/// What a packet takes in each direction.
pub(crate) const ONE_WAY: Duration = Duration::from_millis(25);
/// The far end's address.
pub(crate) const FAR: &str = "10.99.0.2";
/// The near end's address.
const NEAR: &str = "10.99.0.1";
/// Packets that are on their way in one direction; more are lost, as in a router. At 50 ms and 1500 bytes this
/// is more than any window of either side.
const PACKETS: usize = 20_000;
/// The greatest packet that a device hands over, see `TUN_PKT_HDR` and the MTU below.
const PACKET_BYTES: usize = 2048;
const MTU: &str = "1500";

/// A network namespace.
#[derive(Clone)]
pub(crate) struct Namespace(Arc<File>);

impl Namespace {
    fn new() -> Outcome<Namespace> {
        let made = thread::spawn(|| -> Outcome<File> {
            // SAFETY: a network namespace shares no file descriptors and no memory; the thread does nothing else.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        });
        let made = made.join().map_err(|_| "a namespace could not be made")?;
        Ok(Namespace(Arc::new(made?)))
    }

    /// Runs this in a thread that is in the namespace; processes that it starts are in it, too.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
                work()
            });
            let ended = inside.join();
            ended.map_err(|_| "a thread in a namespace has panicked, see above")?
        })
    }
}

/// Two namespaces that reach each other.
pub(crate) struct Link {
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
}

impl Link {
    /// Fails where the kernel or the user's rights do not let namespaces or TUN devices be made.
    pub(crate) fn new() -> Outcome<Link> {
        let (near, far) = (Namespace::new()?, Namespace::new()?);
        let near_device = near.run(|| device("near", NEAR))?;
        let far_device = far.run(|| device("far", FAR))?;
        carry(&near_device, &far_device);
        carry(&far_device, &near_device);
        Ok(Link { near, far })
    }
}

/// `struct ifreq` of netdevice(7), as far as `TUNSETIFF` reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// `TUNSETIFF` of `linux/if_tun.h`.
const ATTACH: rustix::ioctl::Opcode = 0x4004_54ca;
/// `IFF_TUN | IFF_NO_PI`: packets of IP without anything in front.
const FLAGS: i16 = 0x1001;

/// A device in the namespace of this thread, up and with this address.
fn device(name: &str, address: &str) -> Outcome<Arc<File>> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request {
        name: [0; 16],
        flags: FLAGS,
        rest: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: `TUNSETIFF` reads and writes a `struct ifreq`, which has these 40 bytes, and keeps no pointer to it.
    unsafe { ioctl(&device, Updater::<ATTACH, Request>::new(&mut request)) }?;
    let address = format!("{address}/30");
    for arguments in [
        ["addr", "add", &address, "dev", name].as_slice(),
        &["link", "set", name, "mtu", MTU],
        &["link", "set", name, "txqueuelen", "10000"],
        &["link", "set", name, "up"],
        &["link", "set", "lo", "up"],
    ] {
        let done = Command::new("ip").args(arguments).output()?;
        if !done.status.success() {
            let text = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(format!("ip {}: {text}", arguments.join(" ")).into());
        }
    }
    Ok(Arc::new(device))
}

type Packet = (Instant, Vec<u8>);

/// One direction, for as long as the program runs.
fn carry(from: &Arc<File>, to: &Arc<File>) {
    let (sender, packets) = sync_channel(PACKETS);
    let (from, to) = (Arc::clone(from), Arc::clone(to));
    thread::spawn(move || take(&from, &sender));
    thread::spawn(move || hand_over(&to, &packets));
}

fn take(mut from: &File, sender: &SyncSender<Packet>) {
    let mut bytes = [0; PACKET_BYTES];
    while let Ok(read) = from.read(&mut bytes) {
        // No room: the packet is lost.
        _ = sender.try_send((Instant::now() + ONE_WAY, bytes[..read].to_vec()));
    }
}

fn hand_over(mut to: &File, packets: &Receiver<Packet>) {
    while let Ok((due, packet)) = packets.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A device that is full or gone loses packets, as a network does.
        _ = to.write(&packet);
    }
}
