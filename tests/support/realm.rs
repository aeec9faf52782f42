//! A Kerberos realm: MIT's KDC on a port of its own, with one user and one host.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{accounts, host, skip, wait};

const REALM: &str = "HOSTS.EXAMPLE";

/// What the realm's user proves himself with.
const PASSWORD: &str = "the password of the realm";

/// The service of sshd (RFC 4462, 7.2), by the address under which hosts are reached here.
const SERVICE: &str = "host/127.0.0.1";

/// How often another port is tried when somebody else was faster.
const PORT_ATTEMPTS: usize = 5;

/// A realm that is up; dropping it ends its KDC and removes all that it knows.
pub struct Realm {
    kdc: Child,
    folder: tempfile::TempDir,
}

impl Realm {
    /// A realm that knows the user of every host, and the hosts themselves by their address. The user has no ticket.
    ///
    /// # Panics
    ///
    /// When it does not come up; ask [`crate::available`] for [`crate::Part::Kerberos`] first.
    pub fn start() -> Realm {
        // Hosts have a /tmp of their own.
        let folder = tempfile::Builder::new()
            .prefix("codex-realm-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let path = folder.path();
        write_settings(path, host::free_port());
        administer(path);
        for _ in 0..PORT_ATTEMPTS {
            if let Some(kdc) = start_kdc(path) {
                return Realm { kdc, folder };
            }
            write_settings(path, host::free_port());
        }
        panic!("the KDC does not start:\n{}", log(path));
    }

    /// Lines for [`crate::HostOptions::setup`] that make a host one of this realm.
    pub fn setup(&self) -> String {
        let folder = self.folder.path().display();
        // Without a replay cache, which would stay in /var/tmp.
        format!(
            "export KRB5_CONFIG={folder}/krb5.conf KRB5_KTNAME=FILE:{folder}/keytab KRB5RCACHENAME=none:\n"
        )
    }

    /// What a program needs beside [`crate::Client::environment`] to find the realm, and the user's tickets.
    pub fn environment(&self) -> Vec<(String, String)> {
        let folder = self.folder.path().display();
        [
            ("KRB5_CONFIG", format!("{folder}/krb5.conf")),
            ("KRB5CCNAME", format!("FILE:{folder}/tickets")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Gets the user a ticket, as `kinit` does.
    pub fn get_ticket(&self) {
        let mut kinit = Command::new("kinit");
        kinit.envs(self.environment()).arg(accounts::USER);
        say(&mut kinit, PASSWORD, || log(self.folder.path()));
    }

    /// Forgets the user's tickets, as the end of their time does.
    pub fn forget_tickets(&self) {
        fs::remove_file(self.folder.path().join("tickets")).unwrap();
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        let _ = self.kdc.kill();
        let _ = self.kdc.wait();
    }
}

/// Why there can be no realm here, or nothing when there can.
pub(crate) fn lack() -> Option<String> {
    ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"]
        .into_iter()
        .find_map(|name| skip::missing(&[name]))
}

/// Nothing is looked up in the DNS, and all goes over TCP: an answer or a refusal comes at once.
fn write_settings(folder: &Path, port: u16) {
    let path = folder.display();
    let client = format!(
        "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
         dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n\
         [realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n\
         [logging]\n default = FILE:{path}/log\n kdc = FILE:{path}/log\n"
    );
    let server = format!(
        "[realms]\n {REALM} = {{\n  database_name = {path}/principals\n  key_stash_file = {path}/stash\n  \
         kdc_listen = 127.0.0.1:{port}\n  kdc_tcp_listen = 127.0.0.1:{port}\n }}\n"
    );
    fs::write(folder.join("krb5.conf"), client).unwrap();
    fs::write(folder.join("kdc.conf"), server).unwrap();
}

fn administer(folder: &Path) {
    let mut create = program(folder, "kdb5_util");
    create.args(["create", "-s", "-W", "-P", "the master key of the realm"]);
    say(&mut create, "", || log(folder));
    let keytab = folder.join("keytab");
    let orders = format!(
        "addprinc -pw \"{PASSWORD}\" {}\naddprinc -randkey {SERVICE}\nktadd -k {} {SERVICE}\n",
        accounts::USER,
        keytab.display()
    );
    say(&mut program(folder, "kadmin.local"), &orders, || log(folder));
    assert!(keytab.exists(), "kadmin.local made no keytab:\n{}", log(folder));
}

/// Nothing when it ended at once, e.g. because the port is taken.
fn start_kdc(folder: &Path) -> Option<Child> {
    let pid_file = folder.join("kdc.pid");
    // It ends with the thread of the test, also where that is killed.
    let mut kdc = program(folder, "setpriv");
    kdc.args(["--pdeathsig", "KILL", "--"])
        .arg(skip::program("krb5kdc").unwrap())
        .arg("-n")
        .arg("-P")
        .arg(&pid_file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut kdc = kdc.spawn().unwrap();
    let look = || match kdc.try_wait().unwrap() {
        Some(_) => Some(false),
        // It is written when the KDC listens.
        None => fs::read(&pid_file).is_ok_and(|it| !it.is_empty()).then_some(true),
    };
    let is_up = wait::until_or("the KDC's start", wait::DEADLINE, look, || log(folder));
    is_up.then_some(kdc)
}

fn program(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(skip::program(name).unwrap());
    command
        .env("KRB5_CONFIG", folder.join("krb5.conf"))
        .env("KRB5_KDC_PROFILE", folder.join("kdc.conf"))
        .current_dir(folder);
    command
}

/// Runs a program that reads `text` from its standard input.
fn say(command: &mut Command, text: &str, scene: impl FnOnce() -> String) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{text}").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}\n{}", scene());
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}
