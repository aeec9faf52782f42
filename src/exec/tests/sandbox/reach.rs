//! What a sandboxed command can reach: other processes, privileges, sockets.

use super::*;

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
                    "hostname \"$(hostname)\"",
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
        skipped("only root can make a setuid program of another user");
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
