//! The profile of macOS's sandbox for a set of rules (sandbox-exec(1), sandbox(7)).

use std::path::{Path, PathBuf};

use super::rules::{Missing, Rules};

/// By its path, because `PATH` may name directories that a sandboxed command writes.
pub const SEATBELT_PROGRAM: &str = "/usr/bin/sandbox-exec";

/// A profile and the values that it refers to by name, so that no path has to be quoted in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatbeltProfile {
    pub text: String,
    pub parameters: Vec<(String, PathBuf)>,
}

impl SeatbeltProfile {
    /// Returns the arguments of [`SEATBELT_PROGRAM`] before `--` and the command.
    pub fn arguments(&self) -> Vec<std::ffi::OsString> {
        let mut arguments = vec!["-p".into(), self.text.clone().into()];
        for (name, path) in &self.parameters {
            let mut definition = std::ffi::OsString::from(format!("-D{name}="));
            definition.push(path);
            arguments.push(definition);
        }
        arguments
    }
}

/// What every program needs: its own processes, the system's description, terminals and memory.
const BASE: &str = r#"(version 1)
(deny default)
(allow process-exec process-fork)
(allow process-info* (target same-sandbox))
(allow signal (target same-sandbox))
(allow sysctl-read)
(allow file-read-metadata)
(allow file-ioctl (literal "/dev/tty") (literal "/dev/ptmx") (regex #"^/dev/ttys[0-9]+$"))
(allow pseudo-tty)
(allow ipc-posix-sem)
(allow user-preference-read)
(allow mach-lookup
  (global-name "com.apple.system.opendirectoryd.libinfo")
  (global-name "com.apple.system.logger")
  (global-name "com.apple.cfprefsd.daemon")
  (global-name "com.apple.cfprefsd.agent"))
(allow file-write-data
  (literal "/dev/null") (literal "/dev/zero") (literal "/dev/tty") (literal "/dev/ptmx")
  (literal "/dev/dtracehelper") (regex #"^/dev/ttys[0-9]+$") (regex #"^/dev/fd/[0-9]+$"))
"#;

/// What the network needs besides sockets: names, certificates and routes.
const NETWORK: &str = r#"(allow network-outbound (remote ip))
(allow network-inbound (local ip))
(allow network-bind (local ip))
(allow system-socket (socket-domain AF_INET) (socket-domain AF_INET6) (socket-domain AF_ROUTE))
(allow mach-lookup
  (global-name "com.apple.SystemConfiguration.configd")
  (global-name "com.apple.trustd")
  (global-name "com.apple.trustd.agent")
  (global-name "com.apple.networkd"))
(allow network-outbound (literal "/private/var/run/mDNSResponder"))
"#;

/// Makes the profile. `unix_sockets` are the sockets to which a command may connect.
pub fn seatbelt_profile(rules: &Rules, unix_sockets: &[PathBuf]) -> SeatbeltProfile {
    let mut profile = SeatbeltProfile {
        text: BASE.to_owned(),
        parameters: Vec::new(),
    };
    let hidden = exceptions(&mut profile, "HIDDEN", rules.hidden.iter().map(PathBuf::as_path));
    profile.text.push_str(&format!(
        "(allow file-read* (require-all (subpath \"/\"){hidden}))\n"
    ));
    for (index, root) in rules.writable.iter().enumerate() {
        let name = format!("ROOT_{index}");
        let inside = rules
            .protected
            .iter()
            .filter(|entry| entry.path.starts_with(root));
        let protected = inside.filter(|entry| entry.missing == Missing::Barred || entry.path.exists());
        let except = exceptions(
            &mut profile,
            &format!("PROTECTED_{index}"),
            protected.map(|entry| &*entry.path),
        );
        let hidden = exceptions(
            &mut profile,
            &format!("HIDDEN_{index}"),
            rules.hidden.iter().map(PathBuf::as_path),
        );
        profile.parameters.push((name.clone(), root.clone()));
        profile.text.push_str(&format!(
            "(allow file-write* (require-all (subpath (param \"{name}\")){except}{hidden}))\n"
        ));
    }
    if rules.network {
        profile.text.push_str(NETWORK);
    }
    for (index, socket) in unix_sockets.iter().enumerate() {
        let name = format!("SOCKET_{index}");
        profile.parameters.push((name.clone(), socket.clone()));
        profile.text.push_str(&format!(
            "(allow network-outbound (literal (param \"{name}\")))\n"
        ));
    }
    profile
}

/// Adds parameters for paths and returns the conditions that leave their trees out.
fn exceptions<'a>(
    profile: &mut SeatbeltProfile,
    prefix: &str,
    paths: impl Iterator<Item = &'a Path>,
) -> String {
    let mut conditions = String::new();
    for (index, path) in paths.enumerate() {
        let name = format!("{prefix}_{index}");
        conditions.push_str(&format!(" (require-not (subpath (param \"{name}\")))"));
        profile.parameters.push((name, path.to_owned()));
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Protected;

    fn rules() -> Rules {
        Rules {
            writable: vec!["/work".into(), "/private/tmp".into()],
            protected: vec![
                Protected {
                    path: "/work/.git".into(),
                    missing: Missing::Barred,
                },
                Protected {
                    path: "/private/tmp/.git".into(),
                    missing: Missing::Creatable,
                },
            ],
            hidden: vec!["/home/key".into()],
            network: false,
        }
    }

    #[test]
    fn paths_are_parameters_and_protected_ones_are_cut_out() {
        let mut rules = rules();
        rules.writable.push("/odd \")(allow default)".into());
        let profile = seatbelt_profile(&rules, &[]);
        assert!(profile.text.starts_with("(version 1)\n(deny default)\n"));
        assert!(
            !profile.text.contains("/work") && !profile.text.contains("allow default"),
            "{}",
            profile.text
        );
        assert!(profile.text.contains(
            "(allow file-write* (require-all (subpath (param \"ROOT_0\")) (require-not (subpath (param \
             \"PROTECTED_0_0\"))) (require-not (subpath (param \"HIDDEN_0_0\")))))"
        ));
        let value = |name: &str| {
            profile
                .parameters
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, path)| path.as_path())
        };
        assert_eq!(value("PROTECTED_0_0"), Some(Path::new("/work/.git")));
        assert_eq!(
            value("PROTECTED_1_0"),
            None,
            "does not exist in a shared directory"
        );
        assert!(profile.arguments().contains(&"-DROOT_0=/work".into()));
    }

    #[test]
    fn the_network_and_sockets_are_closed_unless_they_are_granted() {
        let mut rules = rules();
        assert!(!seatbelt_profile(&rules, &[]).text.contains("network"));
        let one = seatbelt_profile(&rules, &["/run/docker.sock".into()]);
        assert!(
            one.text
                .contains("(allow network-outbound (literal (param \"SOCKET_0\")))")
        );
        rules.network = true;
        assert!(
            seatbelt_profile(&rules, &[])
                .text
                .contains("(allow network-outbound (remote ip))")
        );
    }

    #[test]
    fn parentheses_are_balanced() {
        let mut rules = rules();
        rules.network = true;
        let text = seatbelt_profile(&rules, &["/s".into()]).text;
        assert_eq!(text.matches('(').count(), text.matches(')').count());
    }
}
