//! The system calls that a sandboxed command is denied, as a seccomp filter.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// Whether internet sockets may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Internet {
    Allowed,
    Denied,
}

/// Other ways to what the rest of the sandbox denies.
const DENIED: [libc::c_long; 16] = [
    // Makes sockets and opens files where no filter sees it.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Reach into other processes.
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    // The user's keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Reach into the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    // Opens files without a path.
    libc::SYS_open_by_handle_at,
];

/// Returns the filter for the machine that this is compiled for. What it denies fails with `EPERM`; system calls
/// of another architecture end the process.
///
/// Sockets of the Unix family reach daemons outside the sandbox, whatever the network namespace. Pairs of
/// connected ones stay, but not of datagrams: such a socket can be sent elsewhere.
pub(crate) fn filter(internet: Internet) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|&call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, socket_rules(internet)?);
    let datagram = |kind| SeccompCondition::new(1, Dword, SeccompCmpOp::MaskedEq(SOCKET_KIND_MASK), kind);
    rules.insert(
        libc::SYS_socketpair,
        vec![
            SeccompRule::new(vec![datagram(libc::SOCK_DGRAM as u64)?])?,
            SeccompRule::new(vec![datagram(libc::SOCK_RAW as u64)?])?,
        ],
    );
    // Types into a terminal as if it were the user.
    let request = |code: u64| SeccompCondition::new(1, Dword, SeccompCmpOp::Eq, code);
    rules.insert(
        libc::SYS_ioctl,
        vec![
            SeccompRule::new(vec![request(libc::TIOCSTI)?])?,
            SeccompRule::new(vec![request(libc::TIOCLINUX)?])?,
        ],
    );
    let denial = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, denial, architecture)?.try_into()?;
    Ok([foreign_numbers(), filter].concat())
}

/// The type without `SOCK_NONBLOCK` and `SOCK_CLOEXEC` (socket(2)).
const SOCKET_KIND_MASK: u64 = 0xf;

/// Denies every family that is not listed.
fn socket_rules(internet: Internet) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let families: &[libc::c_int] = match internet {
        Internet::Allowed => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
        Internet::Denied => return Ok(Vec::new()),
    };
    let other = families
        .iter()
        .map(|&family| SeccompCondition::new(0, Dword, SeccompCmpOp::Ne, family as u64));
    Ok(vec![SeccompRule::new(other.collect::<Result<_, _>>()?)?])
}

/// Denies the x32 numbers of `x86_64`, under which the same calls exist a second time (seccomp(2)).
fn foreign_numbers() -> BpfProgram {
    if std::env::consts::ARCH != "x86_64" {
        return Vec::new();
    }
    const X32_BIT: u32 = 0x4000_0000;
    // The first field of `struct seccomp_data` is the call's number.
    const NUMBER_OFFSET: u32 = 0;
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let jump = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let denial = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    [(load, 0, NUMBER_OFFSET), (jump, 1, X32_BIT), (answer, 0, denial)]
        .map(|(code, jf, k)| sock_filter {
            code: code as u16,
            jt: 0,
            jf,
            k,
        })
        .into()
}

/// Returns the filter's bytes as `bwrap --seccomp` reads them: an array of `struct sock_filter`.
pub(crate) fn bytes(filter: &BpfProgram) -> Vec<u8> {
    let instruction = |step: &sock_filter| {
        let [code, k] = [step.code.to_ne_bytes().to_vec(), step.k.to_ne_bytes().to_vec()];
        [code, vec![step.jt, step.jf], k].concat()
    };
    filter.iter().flat_map(instruction).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_made_and_have_the_size_that_the_kernel_expects() {
        for internet in [Internet::Allowed, Internet::Denied] {
            let filter = filter(internet).unwrap();
            assert_eq!(
                bytes(&filter).len(),
                filter.len() * size_of::<libc::sock_filter>()
            );
            assert!(filter.len() < 4096, "BPF_MAXINSNS");
        }
    }
}
