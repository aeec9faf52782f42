//! Attacks on the sandbox: each mechanism that works here, in each mode.
#![cfg(target_os = "linux")]

mod support;

use std::{
    fs,
    io::{ErrorKind, Read},
    net::{TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::symlink,
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use codex_exec::{
    Cause, Command, Exit, Output, Runner, SpawnError, Status, Stdin, TerminalSize,
    sandbox::{Mechanism, Outcome, Refusal},
};
use serde_json::{Value, json};
use support::{command, helper, is_running, policy, run, unique_sleep, until, until_printed};

/// A workspace with a repository, a place outside, and a mechanism.
struct Field {
    runner: Runner,
    mechanism: Mechanism,
    workspace: tempfile::TempDir,
    outside: tempfile::TempDir,
}

impl Field {
    /// One for each mechanism that works here; the others are named.
    async fn each() -> Vec<Field> {
        let mut fields = Vec::new();
        for mechanism in [Mechanism::Bubblewrap, Mechanism::Landlock] {
            let runner = Runner::with_mechanism(helper(), mechanism);
            if runner.preflight().await.chosen().is_none() {
                println!("skipped: {:?}", runner.preflight().await.findings);
                let required = std::env::var("CODEX_TESTS_REQUIRE").unwrap_or_default();
                assert!(
                    !required.split(',').any(|word| word == "sandbox"),
                    "{mechanism:?} does not work here"
                );
                continue;
            }
            // Not below /tmp, which is writable by itself.
            let directory = || {
                tempfile::Builder::new()
                    .prefix("codex-exec")
                    .tempdir_in("/var/tmp")
                    .unwrap()
            };
            let field = Field {
                runner,
                mechanism,
                workspace: directory(),
                outside: directory(),
            };
            fs::create_dir_all(field.workspace.path().join("sub")).unwrap();
            fs::create_dir_all(field.workspace.path().join(".git/hooks")).unwrap();
            fs::write(field.workspace.path().join(".git/config"), "original").unwrap();
            fs::write(field.workspace.path().join("old.txt"), "old").unwrap();
            fs::write(field.outside.path().join("secret"), "treasure").unwrap();
            fields.push(field);
        }
        fields
    }

    fn workspace(&self) -> &Path {
        self.workspace.path()
    }

    fn outside(&self) -> &Path {
        self.outside.path()
    }

    fn command(&self, policy: Value, argv: &[&str]) -> Command {
        let mut command = command(argv, self.workspace());
        command.sandbox = self::policy(policy);
        command
            .environment
            .insert("OUT".to_owned(), self.outside().display().to_string());
        command
    }

    async fn sh(&self, policy: Value, script: &str) -> (Exit, Output) {
        run(&self.runner, self.command(policy, &["sh", "-c", script])).await
    }

    /// Runs a script of which every line must fail; a line that succeeds is printed.
    async fn all_fail(&self, policy: Value, lines: &[&str]) {
        for line in lines {
            let script = format!("{{ {line} ; }} 2>/dev/null && echo SUCCEEDED");
            let (exit, output) = self.sh(policy.clone(), &script).await;
            assert!(
                exit.code() != 0 && !output.stdout.text().contains("SUCCEEDED"),
                "{:?}: {line}",
                self.mechanism
            );
        }
        assert_eq!(
            fs::read_to_string(self.outside().join("secret")).unwrap(),
            "treasure"
        );
        assert_eq!(
            fs::read_dir(self.outside()).unwrap().count(),
            1,
            "{:?}",
            self.mechanism
        );
    }

    async fn all_succeed(&self, policy: Value, lines: &[&str]) {
        for line in lines {
            let (exit, output) = self.sh(policy.clone(), line).await;
            assert_eq!(
                exit.status,
                Status::Exited(0),
                "{:?}: {line}: {}",
                self.mechanism,
                output.aggregated.text()
            );
        }
    }

    /// Runs this test binary inside the sandbox, as [`inside`].
    async fn attack(&self, policy: Value, attack: &str) -> String {
        let binary = std::env::current_exe().unwrap();
        let mut command = self.command(
            policy,
            &[binary.to_str().unwrap(), "--exact", "inside", "--nocapture"],
        );
        command.environment.insert("ATTACK".to_owned(), attack.to_owned());
        let text = run(&self.runner, command).await.1.stdout.text();
        let found = text
            .lines()
            .find_map(|line| line.split_once("RESULT "))
            .map(|(_, result)| result.to_owned());
        found.unwrap_or_else(|| panic!("{:?}: {attack}: {text}", self.mechanism))
    }
}

fn read_only() -> Value {
    json!({"type": "readOnly"})
}

fn workspace_write() -> Value {
    json!({"type": "workspaceWrite"})
}

/// The attacker: does nothing unless another test started it in a sandbox.
#[test]
fn inside() {
    let Ok(attack) = std::env::var("ATTACK") else {
        return;
    };
    let (kind, target) = attack.split_once(' ').unwrap_or((&attack, ""));
    let outcome = match kind {
        "tcp" => TcpStream::connect(target).map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| TcpStream::connect(listener.local_addr()?))
            .map(drop),
        "unix" => UnixStream::connect(target).map(drop),
        "abstract" => SocketAddr::from_abstract_name(target)
            .and_then(|address| UnixStream::connect_addr(&address))
            .map(drop),
        "datagram" => UnixDatagram::unbound()
            .and_then(|socket| socket.send_to(b"x", target))
            .map(drop),
        "datagram-pair" => UnixDatagram::pair()
            .and_then(|(socket, _)| socket.send_to(b"x", target))
            .map(drop),
        "stream-pair" => UnixStream::pair().map(drop),
        "kill" => rustix_kill(target),
        other => panic!("no attack {other}"),
    };
    println!(
        "\nRESULT {}",
        outcome.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".to_owned())
    );
}

/// Asks whether a signal could be sent.
fn rustix_kill(pid: &str) -> std::io::Result<()> {
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("kill -0 {pid}")])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(ErrorKind::PermissionDenied.into())
    }
}

#[tokio::test]
async fn the_preflight_says_for_each_mechanism_whether_it_works() {
    let runner = Runner::new(helper());
    let preflight = runner.preflight().await;
    assert_eq!(
        preflight
            .findings
            .iter()
            .map(|finding| finding.mechanism)
            .collect::<Vec<_>>(),
        [Mechanism::Bubblewrap, Mechanism::Landlock]
    );
    for finding in &preflight.findings {
        println!("{finding:?}");
        if let Outcome::Fails { reason, fix } = &finding.outcome {
            assert!(!reason.is_empty() && !fix.is_empty());
        }
    }
}

#[tokio::test]
async fn a_host_without_a_mechanism_refuses_and_says_why_and_never_runs_the_command() {
    let marker = tempfile::tempdir().unwrap();
    let file = marker.path().join("ran");
    // Neither a helper that cannot be started nor one that does nothing counts as a sandbox.
    for helper in ["/no/such/helper", "/bin/true", "/bin/false"] {
        let runner = Runner::new(PathBuf::from(helper));
        let mut command = command(&["touch", file.to_str().unwrap()], marker.path());
        command.sandbox = policy(workspace_write());
        let error = runner.spawn(command).await.unwrap_err();
        let SpawnError::Refused(Refusal::NoMechanism { reasons, .. }) = &error else {
            panic!("{error:?}")
        };
        assert!(reasons.contains("landlock"), "{reasons}");
        assert!(!error.hint().unwrap().is_empty());
        assert!(!file.exists());
    }
}

#[tokio::test]
async fn single_unix_sockets_cannot_be_opened_and_asking_for_it_is_refused() {
    for field in Field::each().await {
        let mut command = field.command(workspace_write(), &["true"]);
        command.unix_sockets = vec!["/run/docker.sock".into()];
        let error = field.runner.spawn(command).await.unwrap_err();
        assert!(
            matches!(error, SpawnError::Refused(Refusal::UnixSockets)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn read_only_reads_everything_and_writes_nothing() {
    for field in Field::each().await {
        field
            .all_succeed(
                read_only(),
                &[
                    "cat old.txt",
                    "cat $OUT/secret",
                    "ls /",
                    "echo x > /dev/null",
                    "pwd | grep codex-exec",
                ],
            )
            .await;
        field
            .all_fail(
                read_only(),
                &[
                    "echo x > new",
                    "echo x > old.txt",
                    "echo x >> old.txt",
                    "rm old.txt",
                    "mv old.txt older",
                    "mkdir d",
                    "echo x > sub/new",
                    "ln -s / link",
                    "ln old.txt hard",
                    "truncate -s 0 old.txt",
                    ": > /tmp/codex-exec-attack",
                    "echo x > $OUT/new",
                    "echo x > $OUT/secret",
                    "rm $OUT/secret",
                    "echo x > .git/config",
                    "mkdir .codex",
                    "mkfifo pipe",
                    "touch /etc/codex-exec-attack",
                ],
            )
            .await;
        assert_eq!(
            fs::read_to_string(field.workspace().join("old.txt")).unwrap(),
            "old"
        );
    }
}

#[tokio::test]
async fn a_workspace_is_writable_and_what_is_around_it_is_not() {
    for field in Field::each().await {
        field
            .all_succeed(
                workspace_write(),
                &[
                    "echo new > old.txt",
                    "mkdir sub/d && echo x > sub/d/f && mv sub/d/f sub/g && rm -r sub/d sub/g",
                    "f=$(mktemp /tmp/codex-exec.XXXXXX) && rm $f",
                    "ln -s old.txt sub/link && rm sub/link",
                    "chmod +x old.txt",
                ],
            )
            .await;
        field
            .all_fail(
                workspace_write(),
                &[
                    "echo x > $OUT/new",
                    "echo x > $OUT/secret",
                    "rm $OUT/secret",
                    "mv $OUT/secret sub/",
                    "truncate -s 0 $OUT/secret",
                    "ln $OUT/secret sub/hard && echo x > sub/hard",
                    "echo x > ../codex-exec-attack",
                    "touch /etc/codex-exec-attack",
                    "mknod sub/device b 7 0",
                    "mknod sub/device c 1 1",
                ],
            )
            .await;
        assert_eq!(
            fs::read_to_string(field.workspace().join("old.txt")).unwrap(),
            "new\n"
        );
        let excluded =
            json!({"type": "workspaceWrite", "excludeSlashTmp": true, "excludeTmpdirEnvVar": true});
        field.all_fail(excluded, &[": > /tmp/codex-exec-attack"]).await;
        let (exit, output) = field.sh(workspace_write(), "echo top > new.txt").await;
        match field.mechanism {
            Mechanism::Landlock => assert_ne!(exit.code(), 0, "a limit that the preflight names"),
            _ => assert_eq!(exit.code(), 0, "{}", output.aggregated.text()),
        }
    }
}

#[tokio::test]
async fn writable_roots_and_the_temporary_directory_are_writable() {
    for field in Field::each().await {
        let other = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
        fs::create_dir(other.path().join("inner")).unwrap();
        let tmpdir = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
        let policy = json!({"type": "workspaceWrite", "writableRoots": [other.path()]});
        let script = format!(
            "echo x > {}/inner/f && echo x > $TMPDIR/f",
            other.path().display()
        );
        let mut command = field.command(policy.clone(), &["sh", "-c", &script]);
        command
            .environment
            .insert("TMPDIR".to_owned(), tmpdir.path().display().to_string());
        let (exit, output) = run(&field.runner, command).await;
        assert_eq!(
            exit.code(),
            0,
            "{:?}: {}",
            field.mechanism,
            output.aggregated.text()
        );
        field
            .all_fail(policy, &[&format!("mkdir {}/.git", other.path().display())])
            .await;
        assert!(!other.path().join(".git").exists());
        assert!(
            !tmpdir.path().join(".git").exists() && !tmpdir.path().join(".codex").exists(),
            "no litter"
        );
    }
}

#[tokio::test]
async fn repositories_and_settings_stay_as_they_are_and_cannot_be_made() {
    for field in Field::each().await {
        field
            .all_fail(
                workspace_write(),
                &[
                    "echo x > .git/config",
                    "echo x >> .git/config",
                    "echo x > .git/hooks/pre-commit",
                    "rm .git/config",
                    "rm -r .git/hooks",
                    "mv .git .tig",
                    "rmdir .git",
                    "mv .git/config sub/",
                    "rm -rf .git",
                    "ln .git/config sub/hard && echo x > sub/hard",
                    "truncate -s 0 .git/config",
                    "mkdir .git/new",
                    "mv sub .git/sub",
                    "ln -s .git sub/link && echo x > sub/link/config",
                    "mkdir .codex",
                    "echo x > .codex",
                    "mkdir sub/.codex && mv sub/.codex .codex",
                    "ln -s /etc .codex",
                    "mv sub .codex",
                    "mkdir -p .codex/deep",
                    "echo x > .codex/config.toml",
                ],
            )
            .await;
        assert_eq!(
            fs::read_to_string(field.workspace().join(".git/config")).unwrap(),
            "original"
        );
        assert!(
            fs::symlink_metadata(field.workspace().join(".codex")).is_err(),
            "{:?}: no litter",
            field.mechanism
        );
        // `all_fail` may leave directories that it made on the way.
        let _ = fs::remove_dir_all(field.workspace().join("sub/.codex"));
        fs::remove_dir_all(field.workspace().join(".git")).unwrap();
        field
            .all_fail(
                workspace_write(),
                &[
                    "mkdir .git",
                    "git init .",
                    "mv sub .git",
                    "echo gitdir: /tmp > .git",
                ],
            )
            .await;
        assert!(
            fs::symlink_metadata(field.workspace().join(".git")).is_err(),
            "{:?}: no litter",
            field.mechanism
        );
    }
}

#[tokio::test]
async fn a_killed_or_dropped_command_leaves_no_litter() {
    for field in Field::each().await {
        fs::remove_dir_all(field.workspace().join(".git")).unwrap();
        let sleep = unique_sleep();
        let clean = || {
            ![".git", ".codex", ".agents", ".aws"]
                .iter()
                .any(|name| field.workspace().join(name).exists())
        };
        for end in ["kill", "drop", "terminate"] {
            let (process, _chunks) = field
                .runner
                .spawn(field.command(workspace_write(), &["sleep", &sleep]))
                .await
                .unwrap();
            until("it runs", || is_running(&sleep)).await;
            match end {
                "kill" => {
                    process.kill();
                    process.wait().await;
                }
                "drop" => drop(process),
                _ => drop(process.terminate().await),
            }
            until("it is gone", || !is_running(&sleep)).await;
            until("nothing is left behind", clean).await;
        }
        assert!(!Path::new("/tmp/.codex").exists() && !Path::new("/tmp/.git").exists());
    }
}

#[tokio::test]
async fn several_commands_share_a_workspace_and_the_last_one_cleans_up() {
    for field in Field::each().await {
        fs::remove_dir_all(field.workspace().join(".git")).unwrap();
        let mut running = Vec::new();
        for _ in 0..4 {
            let mut command = field.command(workspace_write(), &["sh", "-c", "echo ready; cat; mkdir .git"]);
            command.stdin = Stdin::Piped;
            running.push(field.runner.spawn(command).await.unwrap().0);
        }
        for process in running {
            until_printed(&process, "ready").await;
            process.close_input();
            assert_ne!(process.wait().await.code(), 0, "{:?}", field.mechanism);
        }
        assert!(!field.workspace().join(".git").exists() && !field.workspace().join(".codex").exists());
    }
}

#[tokio::test]
async fn links_lead_nowhere() {
    for field in Field::each().await {
        symlink(field.outside(), field.workspace().join("planted")).unwrap();
        field
            .all_fail(
                workspace_write(),
                &[
                    "echo x > planted/new",
                    "rm planted/secret",
                    "ln -s $OUT sub/own && echo x > sub/own/new",
                    "cd planted && echo x > new",
                    "ln -s $OUT/secret sub/file && echo x > sub/file",
                    "cp --remove-destination old.txt planted/secret",
                    "ln -s / sub/root && echo x > sub/root$OUT/new",
                ],
            )
            .await;
    }
}

#[tokio::test]
async fn proc_is_no_way_out() {
    for field in Field::each().await {
        field
            .all_fail(
                workspace_write(),
                &[
                    "echo x > /proc/self/root$OUT/new",
                    "echo x > /proc/1/root$OUT/new",
                    "echo x > /proc/$$/root$OUT/new",
                    "echo x > /proc/$PPID/root$OUT/new",
                    "echo x > /proc/thread-self/root$OUT/new",
                    "exec 9>> /proc/sys/kernel/core_pattern",
                    "exec 9>> /proc/sys/kernel/modprobe",
                    "exec 9>> /proc/sysrq-trigger",
                    "exec 9>> /sys/kernel/profiling",
                    "exec 9>> /sys/kernel/mm/transparent_hugepage/enabled",
                    "exec 9>> /proc/mtrr",
                    "exec 9</; echo x > /proc/self/fd/9$OUT/new",
                    "echo x > /proc/self/cwd/../../..$OUT/new",
                    &format!("echo x > /proc/{}/root$OUT/new", std::process::id()),
                    &format!("cat /proc/{}/environ", std::process::id()),
                    &format!("cat /proc/{}/mem", std::process::id()),
                    &format!("readlink /proc/{}/fd/0", std::process::id()),
                ],
            )
            .await;
    }
}

#[tokio::test]
async fn privileges_are_gone_and_do_not_come_back() {
    for field in Field::each().await {
        let (_, output) = field.sh(workspace_write(), "cat /proc/self/status").await;
        let text = output.stdout.text();
        for line in [
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
        ] {
            assert!(text.contains(line), "{:?}: {line}: {text}", field.mechanism);
        }
        field
            .all_fail(
                workspace_write(),
                &[
                    "mount -t tmpfs none sub",
                    "mount -o remount,rw /",
                    "umount .git",
                    "umount -l /",
                    "chroot / true",
                    "unshare -m sh -c 'mount -o remount,rw / && touch $OUT/new'",
                    "unshare -rm sh -c 'mount -o remount,bind,rw / && touch $OUT/new'",
                    "unshare -rm sh -c 'umount -l .git; echo x > .git/config'",
                    "nsenter -t 1 -m touch $OUT/new",
                    "su nobody -s /bin/sh -c true",
                    "hostname owned",
                ],
            )
            .await;
        assert_eq!(
            fs::read_to_string(field.workspace().join(".git/config")).unwrap(),
            "original"
        );
    }
}

#[tokio::test]
async fn a_setuid_program_stays_without_privileges() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make a setuid program of another user");
        return;
    }
    for field in Field::each().await {
        // A shell of user `nobody`: it would change its identity if the bit had an effect.
        let program = field.workspace().join("sub/id");
        fs::copy("/usr/bin/id", &program).unwrap();
        let nobody = 65534;
        std::os::unix::fs::chown(&program, Some(nobody), Some(nobody)).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o6755)).unwrap();
        let free = run(
            &field.runner,
            command(&[program.to_str().unwrap(), "-u"], Path::new("/")),
        )
        .await
        .1
        .stdout
        .text();
        assert_eq!(free, "65534\n", "the bit works outside");
        let (_, output) = field.sh(workspace_write(), "sub/id -u").await;
        assert_eq!(output.stdout.text(), "0\n", "{:?}", field.mechanism);
    }
}

#[tokio::test]
async fn the_network_is_closed_unless_the_policy_opens_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let attack = format!("tcp {}", listener.local_addr().unwrap());
    for field in Field::each().await {
        for policy in [read_only(), workspace_write()] {
            assert_ne!(
                field.attack(policy, &attack).await,
                "done",
                "{:?}",
                field.mechanism
            );
        }
        for open in [
            json!({"type": "readOnly", "networkAccess": true}),
            json!({"type": "workspaceWrite", "networkAccess": true}),
        ] {
            assert_eq!(field.attack(open, &attack).await, "done", "{:?}", field.mechanism);
        }
        let loopback = field.attack(workspace_write(), "listen").await;
        match field.mechanism {
            Mechanism::Bubblewrap => assert_eq!(loopback, "done", "its own loopback interface is harmless"),
            _ => assert_eq!(loopback, "PermissionDenied"),
        }
    }
}

#[tokio::test]
async fn unix_sockets_are_closed_even_with_a_network() {
    for field in Field::each().await {
        let path = field.workspace().join("sub/socket");
        let _stream = UnixListener::bind(&path).unwrap();
        let datagram_path = field.workspace().join("sub/datagram");
        let datagram = UnixDatagram::bind(&datagram_path).unwrap();
        let name = format!("codex-exec-{}-{:?}", std::process::id(), field.mechanism);
        let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for policy in [
            workspace_write(),
            json!({"type": "workspaceWrite", "networkAccess": true}),
            read_only(),
        ] {
            for attack in [
                format!("unix {}", path.display()),
                format!("abstract {name}"),
                format!("datagram {}", datagram_path.display()),
                format!("datagram-pair {}", datagram_path.display()),
            ] {
                let result = field.attack(policy.clone(), &attack).await;
                assert_eq!(result, "PermissionDenied", "{:?}: {attack}", field.mechanism);
            }
            assert_eq!(
                field.attack(policy, "stream-pair").await,
                "done",
                "{:?}",
                field.mechanism
            );
        }
        datagram.set_nonblocking(true).unwrap();
        assert!(datagram.recv(&mut [0; 1]).is_err(), "nothing arrived");
    }
}

#[tokio::test]
async fn processes_outside_cannot_be_signalled() {
    for field in Field::each().await {
        let attack = format!("kill {}", std::process::id());
        assert_ne!(
            field.attack(workspace_write(), &attack).await,
            "done",
            "{:?}",
            field.mechanism
        );
        let (exit, output) = field
            .sh(workspace_write(), "kill -9 $PPID; kill -9 1; echo alive")
            .await;
        assert_eq!(
            (exit.code(), output.stdout.text().as_str()),
            (0, "alive\n"),
            "{:?}",
            field.mechanism
        );
    }
}

#[tokio::test]
async fn no_child_outlives_the_command_however_it_hides() {
    for field in Field::each().await {
        let sleep = unique_sleep();
        let script = format!(
            "sleep {sleep} & (setsid sh -c 'sleep {sleep} & sleep {sleep}' >/dev/null 2>&1 &) ; (nohup setsid sleep {sleep} >/dev/null 2>&1 &); echo over"
        );
        let (exit, output) = field.sh(workspace_write(), &script).await;
        assert_eq!(
            (exit.code(), output.stdout.text().as_str()),
            (0, "over\n"),
            "{:?}",
            field.mechanism
        );
        assert!(
            !is_running(&sleep),
            "{:?}: all were gone before the end was reported",
            field.mechanism
        );
    }
}

#[tokio::test]
async fn termination_reaches_the_command_inside_and_its_grace_is_kept() {
    for field in Field::each().await {
        let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        let (process, chunks) = field
            .runner
            .spawn(field.command(workspace_write(), &["sh", "-c", script]))
            .await
            .unwrap();
        drop(chunks);
        until_printed(&process, "ready").await;
        let exit = process.terminate().await;
        assert_eq!(
            (exit.status, exit.cause),
            (Status::Exited(3), Cause::Terminated),
            "{:?}",
            field.mechanism
        );
        assert!(process.wait().await.output_is_whole);
        assert!(process.output().stdout.text().ends_with("bye\n"));
        let sleep = unique_sleep();
        let deaf =
            format!("trap '' TERM; (setsid sleep {sleep} &); echo ready; while :; do sleep 0.05; done");
        let mut command = field.command(workspace_write(), &["sh", "-c", &deaf]);
        command.time_out = Some(Duration::from_secs(1));
        let (exit, _) = run(&field.runner, command).await;
        assert_eq!(
            (exit.code(), exit.cause),
            (137, Cause::TimedOut),
            "{:?}",
            field.mechanism
        );
        assert!(!is_running(&sleep));
    }
}

#[tokio::test]
async fn the_supervisors_death_is_the_commands_death() {
    for field in Field::each().await {
        let sleep = unique_sleep();
        let script = format!("echo ready; exec sleep {sleep}");
        let command_line = field.command(workspace_write(), &["sh", "-c", &script]);
        let (process, _chunks) = field.runner.spawn(command_line).await.unwrap();
        until_printed(&process, "ready").await;
        let pid = process.pid().to_string();
        run(&field.runner, command(&["kill", "-9", &pid], Path::new("/"))).await;
        until("it is gone", || !is_running(&sleep)).await;
        assert_eq!(process.wait().await.code(), 137);
        // What it could not clean up, the next one does.
        field.all_succeed(workspace_write(), &["true"]).await;
        assert!(
            !field.workspace().join(".codex").exists(),
            "{:?}",
            field.mechanism
        );
    }
}

#[tokio::test]
async fn hidden_files_cannot_be_read() {
    for field in Field::each().await {
        let directory = field.workspace().join("sub/keys");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("key"), "treasure").unwrap();
        for policy in [read_only(), workspace_write()] {
            for script in [
                "cat $OUT/secret",
                "cat sub/keys/key",
                "cat /proc/self/root$OUT/secret",
                "cp $OUT/secret /tmp/codex-exec-copy",
                "ln $OUT/secret sub/hard && cat sub/hard",
                "mv $OUT /tmp/codex-exec-moved",
                "mv sub/keys sub/other && cat sub/other/key",
            ] {
                let mut command = field.command(policy.clone(), &["sh", "-c", script]);
                command.hidden = vec![
                    field.outside().join("secret"),
                    directory.clone(),
                    "/no/such/file".into(),
                ];
                let (exit, output) = run(&field.runner, command).await;
                assert!(exit.code() != 0, "{:?}: {script}", field.mechanism);
                assert!(
                    !output.aggregated.text().contains("treasure"),
                    "{:?}: {script}",
                    field.mechanism
                );
            }
        }
        let mut reading = field.command(
            read_only(),
            &[
                "sh",
                "-c",
                "cat old.txt && ls /etc >/dev/null && cat /etc/passwd >/dev/null",
            ],
        );
        reading.hidden = vec![field.outside().join("secret")];
        let (exit, output) = run(&field.runner, reading).await;
        assert_eq!(
            exit.code(),
            0,
            "{:?}: the rest can: {}",
            field.mechanism,
            output.aggregated.text()
        );
    }
}

#[tokio::test]
async fn the_commands_environment_does_not_act_outside_its_sandbox() {
    for field in Field::each().await {
        let mut command = field.command(workspace_write(), &["cat", "/proc/self/environ"]);
        command
            .environment
            .insert("LD_PRELOAD".to_owned(), "/no/such/library.so".to_owned());
        let (_, output) = run(&field.runner, command).await;
        let complaints = output.stderr.text().matches("cannot be preloaded").count();
        assert_eq!(
            complaints,
            1,
            "{:?}: in `cat` alone: {}",
            field.mechanism,
            output.stderr.text()
        );
        assert!(output.stdout.text().contains("LD_PRELOAD=/no/such"));
    }
}

#[tokio::test]
async fn a_sandboxed_terminal_works_and_interrupts() {
    for field in Field::each().await {
        let script = "trap 'stty size' WINCH; trap 'echo interrupted; exit 5' INT; stty size < /dev/tty; while :; do sleep 0.05; done";
        let mut command = field.command(workspace_write(), &["sh", "-c", script]);
        command.terminal = Some(TerminalSize {
            rows: 24,
            columns: 80,
        });
        let (process, chunks) = field.runner.spawn(command).await.unwrap();
        drop(chunks);
        until_printed(&process, "24 80").await;
        process
            .resize(TerminalSize {
                rows: 30,
                columns: 100,
            })
            .unwrap();
        until_printed(&process, "30 100").await;
        process.write(Bytes::from_static(b"\x03")).await.unwrap();
        assert_eq!(
            process.wait().await.status,
            Status::Exited(5),
            "{:?}",
            field.mechanism
        );
    }
}

#[tokio::test]
async fn input_and_a_large_output_pass_through_a_sandbox() {
    for field in Field::each().await {
        let mut command = field.command(read_only(), &["sh", "-c", "cat; head -c 20000000 /dev/zero"]);
        command.stdin = Stdin::Piped;
        let (process, mut chunks) = field.runner.spawn(command).await.unwrap();
        process.write(Bytes::from_static(b"hello")).await.unwrap();
        process.close_input();
        let mut seen = 0;
        while let Some(chunk) = chunks.next().await {
            seen += chunk.bytes.len();
        }
        assert_eq!(seen, 20_000_005, "{:?}", field.mechanism);
        assert!(process.output().stdout.head.starts_with(b"hello"));
    }
}

#[tokio::test]
async fn what_fails_in_the_sandbox_says_so() {
    for field in Field::each().await {
        let error = field
            .runner
            .spawn(field.command(read_only(), &["no-such-program"]))
            .await
            .unwrap_err();
        assert!(matches!(error, SpawnError::NotFound(_)), "{error:?}");
        let file = field.workspace().join("sub/broken");
        fs::write(&file, "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        match field
            .runner
            .spawn(field.command(read_only(), &["sub/broken"]))
            .await
        {
            Err(error) => assert!(error.to_string().contains("No such file"), "{error}"),
            Ok((process, chunks)) => {
                drop(chunks);
                assert_ne!(process.wait().await.code(), 0);
                assert!(process.output().stderr.text().contains("No such file"));
            }
        }
        let (exit, _) = field.sh(read_only(), "kill -9 $$").await;
        assert_eq!(exit.code(), 137, "{:?}: {exit:?}", field.mechanism);
    }
}

#[tokio::test]
async fn descriptors_of_this_process_do_not_reach_the_command() {
    let mut secret = fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    for field in Field::each().await {
        let (_, output) = field.sh(read_only(), "ls -l /proc/self/fd").await;
        let text = output.stdout.text();
        assert!(
            !text.contains("passwd") && !text.contains("socket:"),
            "{:?}: {text}",
            field.mechanism
        );
    }
    secret.read_exact(&mut [0; 1]).unwrap();
}
