//! Commands without a sandbox: streams, terminals, ends.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

mod support;

use std::{path::Path, time::Duration};

use bytes::Bytes;
use codex_exec::{
    CaptureLimits, Cause, PROCESSES_MAX, ProcessError, ProcessId, Processes, ProcessesError, Runner,
    SpawnError, Status, Stdin, Stream, TerminalSize, TextStream,
};
use support::{command, helper, is_running, run, unique_sleep, until, until_printed};

fn runner() -> Runner {
    Runner::new(helper())
}

fn sh(script: &str) -> codex_exec::Command {
    command(&["sh", "-c", script], Path::new("/"))
}

#[tokio::test]
async fn a_command_gets_its_arguments_directory_and_environment_and_nothing_else() {
    let mut command = sh("pwd; echo \"$0\" \"$1\"; env | sort; cat; echo problem >&2; exit 7");
    command
        .argv
        .extend(["name with  spaces".to_owned(), "$HOME;".to_owned()]);
    command.cwd = "/usr".into();
    command
        .environment
        .insert("GREETING".to_owned(), "hello world".to_owned());
    let (exit, output) = run(&runner(), command).await;
    assert_eq!(
        (exit.status.clone(), exit.cause, exit.code()),
        (Status::Exited(7), Cause::Itself, 7)
    );
    assert!(exit.output_is_whole && exit.duration > Duration::ZERO);
    let text = output.stdout.text();
    assert!(
        text.starts_with("/usr\nname with  spaces $HOME;\nGREETING=hello world\n"),
        "{text}"
    );
    assert!(!text.contains("CARGO"), "nothing is inherited: {text}");
    assert_eq!(output.stderr.text(), "problem\n");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let error = runner()
        .spawn(command(&["no-such-program"], Path::new("/")))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SpawnError::NotFound(name) if name == "no-such-program"),
        "{error:?}"
    );
    assert!(error.hint().is_some());
    let error = runner()
        .spawn(command(&["true"], Path::new("/no/such")))
        .await
        .unwrap_err();
    assert!(matches!(error, SpawnError::WorkingDirectory(_)), "{error:?}");
    assert!(matches!(
        runner().spawn(command(&[], Path::new("/"))).await,
        Err(SpawnError::Invalid(_))
    ));
    let mut odd = command(&["true"], Path::new("/"));
    odd.environment.insert("A=B".to_owned(), String::new());
    assert!(matches!(runner().spawn(odd).await, Err(SpawnError::Invalid(_))));
    assert!(matches!(
        runner().spawn(command(&["true", "\0"], Path::new("/"))).await,
        Err(SpawnError::Invalid(_))
    ));
}

#[tokio::test]
async fn input_is_written_and_closed() {
    let mut command = command(&["cat"], Path::new("/"));
    command.stdin = Stdin::Piped;
    let (process, chunks) = runner().spawn(command).await.unwrap();
    drop(chunks);
    for _ in 0..100 {
        process.write(Bytes::from(vec![b'x'; 10_000])).await.unwrap();
    }
    process.close_input();
    assert!(matches!(
        process.write(Bytes::from_static(b"late")).await,
        Err(ProcessError::InputClosed)
    ));
    assert_eq!(process.wait().await.status, Status::Exited(0));
    assert_eq!(process.output().stdout.total(), 1_000_000);
}

#[tokio::test]
async fn a_hundred_megabytes_pass_through_whole_in_bounded_memory() {
    const TOTAL: u64 = 100 * 1024 * 1024;
    let before = resident_kib();
    let (process, mut chunks) = runner().spawn(sh("head -c 104857600 /dev/zero")).await.unwrap();
    let (mut seen, mut peak) = (0, 0);
    while let Some(chunk) = chunks.next().await {
        assert!(chunk.bytes.len() <= 8 * 1024 && chunk.stream == Stream::Stdout);
        seen += chunk.bytes.len() as u64;
        if seen % (8 * 1024 * 1024) < 8 * 1024 {
            peak = peak.max(resident_kib());
        }
    }
    assert_eq!(seen, TOTAL);
    assert_eq!(process.wait().await.status, Status::Exited(0));
    let output = process.output();
    assert_eq!(
        (output.stdout.head.len(), output.stdout.tail.len()),
        (32 * 1024, 32 * 1024)
    );
    assert_eq!(output.stdout.total(), TOTAL);
    assert!(
        peak < before + 20 * 1024,
        "{before} KiB before, {peak} KiB at the peak"
    );
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_command_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // The last line is written to a file, when all output has been accepted.
    let script = format!(
        "i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done; touch {}/done",
        directory.path().display()
    );
    let (process, mut chunks) = runner().spawn(sh(&script)).await.unwrap();
    let first = chunks.next().await.unwrap();
    // 700 kB do not fit between the command and a reader that stopped: 16 chunks and the pipe's 64 KiB.
    until("the command waits in a write", || state_of(process.pid()) == 'S').await;
    assert!(!directory.path().join("done").exists());
    assert!(process.output().stdout.total() <= 17 * 8 * 1024);
    let mut text = TextStream::default();
    let mut all = text.push(&first.bytes);
    while let Some(chunk) = chunks.next().await {
        all.push_str(&text.push(&chunk.bytes));
    }
    let expected: String = (0..60_000).map(|line| format!("line {line}\n")).collect();
    assert!(all == expected, "{} of {} bytes", all.len(), expected.len());
    assert!(directory.path().join("done").exists());
}

fn state_of(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

#[tokio::test]
async fn a_command_whose_stream_nobody_wants_runs_on_and_is_captured() {
    let (process, mut chunks) = runner()
        .spawn(sh(
            "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo last",
        ))
        .await
        .unwrap();
    chunks.next().await.unwrap();
    drop(chunks);
    assert_eq!(process.wait().await.status, Status::Exited(0));
    let text = process.output().stdout.text();
    assert!(
        text.starts_with("first\n") && text.ends_with("last\n") && text.contains("bytes omitted"),
        "{}",
        text.len()
    );
}

#[tokio::test]
async fn a_time_out_ends_the_command_and_what_it_started() {
    let sleep = unique_sleep();
    let mut command = sh(&format!("sleep {sleep} & sleep {sleep}"));
    command.time_out = Some(Duration::from_millis(300));
    let (exit, _) = run(&runner(), command).await;
    assert_eq!((exit.status, exit.cause), (Status::Signaled(15), Cause::TimedOut));
    until("its children are gone", || !is_running(&sleep)).await;
}

#[tokio::test]
async fn termination_asks_first_and_kills_who_does_not_listen() {
    let (polite, _chunks) = runner()
        .spawn(sh(
            "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
        ))
        .await
        .unwrap();
    until_printed(&polite, "ready").await;
    let exit = polite.terminate().await;
    assert_eq!((exit.status, exit.cause), (Status::Exited(3), Cause::Terminated));
    assert!(polite.wait().await.output_is_whole);
    assert!(polite.output().stdout.text().ends_with("bye\n"));
    let (deaf, _chunks) = runner()
        .spawn(sh("trap '' TERM; echo ready; while :; do sleep 0.05; done"))
        .await
        .unwrap();
    until_printed(&deaf, "ready").await;
    let exit = deaf.terminate().await;
    assert_eq!((exit.status.clone(), exit.code()), (Status::Signaled(9), 137));
    assert!(
        exit.duration >= Duration::from_secs(2),
        "the grace: {:?}",
        exit.duration
    );
}

#[tokio::test]
async fn a_child_does_not_outlive_the_command() {
    let sleep = unique_sleep();
    let (exit, output) = run(&runner(), sh(&format!("sleep {sleep} & echo started"))).await;
    assert_eq!(exit.status, Status::Exited(0));
    assert!(exit.output_is_whole);
    assert_eq!(output.stdout.text(), "started\n");
    until("the child is gone", || !is_running(&sleep)).await;
}

#[tokio::test]
async fn output_that_an_escaped_process_holds_open_is_given_up_and_said() {
    let sleep = unique_sleep();
    // Without a sandbox a new session whose parent is gone is beyond reach; the test ends it by itself.
    let (exit, output) = run(
        &runner(),
        sh(&format!(
            "setsid sh -c 'echo $$; exec sleep {sleep}' & sleep 0.3; echo over"
        )),
    )
    .await;
    assert_eq!(exit.status, Status::Exited(0));
    assert!(output.stdout.text().ends_with("over\n"));
    let pid = output.stdout.text().lines().next().unwrap().to_owned();
    if is_running(&sleep) {
        assert!(!exit.output_is_whole);
        run(&runner(), command(&["kill", "-9", &pid], Path::new("/"))).await;
    }
}

#[tokio::test]
async fn an_escaped_process_that_prints_for_ever_does_not_keep_the_command_from_ending() {
    let (exit, output) = run(&runner(), sh("(setsid yes &); sleep 0.2; echo over >&2")).await;
    assert_eq!((exit.status, exit.output_is_whole), (Status::Exited(0), false));
    assert_eq!(output.stderr.text(), "over\n");
}

#[tokio::test]
async fn dropping_a_process_kills_it_and_its_children() {
    let sleep = unique_sleep();
    let (process, _chunks) = runner()
        .spawn(sh(&format!("sleep {sleep} & sleep {sleep}; echo never")))
        .await
        .unwrap();
    until("it runs", || is_running(&sleep)).await;
    drop(process);
    until("it is gone", || !is_running(&sleep)).await;
}

#[tokio::test]
async fn a_terminal_is_one_to_the_command_and_can_be_resized() {
    let mut command =
        sh("trap 'stty size' WINCH; tty; stty size; until read line; do :; done; echo \"got $line\"; cat");
    command.terminal = Some(TerminalSize {
        rows: 24,
        columns: 80,
    });
    let (process, chunks) = runner().spawn(command).await.unwrap();
    drop(chunks);
    until_printed(&process, "24 80").await;
    assert!(process.output().stdout.text().contains("/dev/pts/"));
    process
        .resize(TerminalSize {
            rows: 40,
            columns: 132,
        })
        .unwrap();
    process.write(Bytes::from_static(b"hello\n")).await.unwrap();
    until_printed(&process, "40 132").await;
    until_printed(&process, "got hello").await;
    process.close_input();
    let exit = process.wait().await;
    assert_eq!(
        exit.status,
        Status::Exited(0),
        "{}",
        process.output().stdout.text()
    );
    assert!(exit.output_is_whole);
}

#[tokio::test]
async fn a_key_on_a_terminal_interrupts_the_command() {
    let mut command = sh("trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done");
    command.terminal = Some(TerminalSize {
        rows: 24,
        columns: 80,
    });
    let (process, chunks) = runner().spawn(command).await.unwrap();
    drop(chunks);
    until_printed(&process, "ready").await;
    process.write(Bytes::from_static(b"\x03")).await.unwrap();
    assert_eq!(process.wait().await.status, Status::Exited(5));
}

#[tokio::test]
async fn no_signal_is_ignored_or_blocked_from_the_start() {
    let (_, output) = run(&runner(), command(&["cat", "/proc/self/status"], Path::new("/"))).await;
    let text = output.stdout.text();
    // Signals from 32 on belong to the C library and its threads.
    const STANDARD: u64 = 0x7fff_ffff;
    for name in ["SigBlk:", "SigIgn:"] {
        let mask = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim();
        assert_eq!(
            u64::from_str_radix(mask, 16).unwrap() & STANDARD,
            0,
            "{name} {mask}"
        );
    }
}

#[tokio::test]
async fn without_a_terminal_there_is_nothing_to_resize_and_no_terminal_to_open() {
    let (process, chunks) = runner()
        .spawn(sh("exec 2>&1; echo x > /dev/tty; tty; cat"))
        .await
        .unwrap();
    drop(chunks);
    assert!(matches!(
        process.resize(TerminalSize { rows: 1, columns: 1 }),
        Err(ProcessError::NoTerminal)
    ));
    process.wait().await;
    let text = process.output().stdout.text();
    assert!(text.contains("not a tty") && text.contains("/dev/tty"), "{text}");
}

#[tokio::test]
async fn a_background_process_is_looked_at_written_to_and_ended() {
    let mut table = Processes::new(1000);
    let mut command = sh("echo ready; while read line; do echo \"<$line>\"; done; sleep 1000");
    command.stdin = Stdin::Piped;
    let (process, chunks) = runner().spawn(command).await.unwrap();
    drop(chunks);
    let (id, process) = table.insert(process).unwrap();
    assert_eq!(id, ProcessId("1000".to_owned()));
    until_printed(&process, "ready").await;
    let look = process.poll(Duration::ZERO).await;
    assert_eq!((look.output.text().as_str(), look.exit), ("ready\n", None));
    process.write(Bytes::from_static(b"one\n")).await.unwrap();
    until_printed(&process, "<one>").await;
    assert_eq!(
        process.poll(Duration::ZERO).await.output.text(),
        "<one>\n",
        "only what is new"
    );
    table.get(&id).unwrap().terminate().await;
    let look = process.poll(support::PATIENCE).await;
    assert_eq!(look.exit.unwrap().status, Status::Signaled(15));
    assert_eq!(process.output().stdout.text(), "ready\n<one>\n");
}

#[tokio::test]
async fn a_table_is_bounded_and_its_end_ends_its_processes() {
    let sleep = unique_sleep();
    let mut table = Processes::new(1);
    for _ in 0..PROCESSES_MAX {
        table
            .insert(
                runner()
                    .spawn(command(&["sleep", &sleep], Path::new("/")))
                    .await
                    .unwrap()
                    .0,
            )
            .unwrap();
    }
    assert!(!table.has_room());
    let one_more = runner()
        .spawn(command(&["sleep", &sleep], Path::new("/")))
        .await
        .unwrap()
        .0;
    let Err(ProcessesError::Full(one_more)) = table.insert(*Box::new(one_more)) else {
        panic!("not full")
    };
    table.get(&ProcessId("5".to_owned())).unwrap().terminate().await;
    assert!(table.has_room());
    let kept = table.insert_as(ProcessId("mine".to_owned()), *one_more).unwrap();
    let again = runner()
        .spawn(command(&["true"], Path::new("/")))
        .await
        .unwrap()
        .0;
    assert!(matches!(
        table.insert_as(ProcessId("mine".to_owned()), again),
        Err(ProcessesError::Duplicate { .. })
    ));
    drop(table);
    until("all are gone", || !is_running(&sleep)).await;
    drop(kept);
}

#[tokio::test]
async fn a_capture_can_be_capped_at_the_head_alone() {
    let mut command = sh("printf abcdefgh");
    command.capture = CaptureLimits {
        head_bytes_max: 3,
        tail_bytes_max: 0,
    };
    let (_, output) = run(&runner(), command).await;
    assert_eq!(
        (output.stdout.bytes(), output.stdout.omitted),
        (b"abc".to_vec(), 5)
    );
}
