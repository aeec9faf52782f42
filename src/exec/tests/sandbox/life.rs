//! How sandboxed commands begin and end, and what a host without a sandbox does.

use super::*;

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
