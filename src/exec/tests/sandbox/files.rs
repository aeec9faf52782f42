//! What a sandboxed command can write and read.

use super::*;

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
                "cp $OUT/secret sub/copy",
                "ln $OUT/secret sub/hard && cat sub/hard",
                "mv $OUT sub/moved",
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
