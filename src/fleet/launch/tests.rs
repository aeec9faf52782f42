//! The line in real shells, with real start-up files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use codex_testkit::{Part, available};

use super::*;

/// What a shell prints when it is given the line as sshd would, in a home with these files.
fn launch(shell: &str, home: &Path) -> Option<(Found, String)> {
    launch_server(shell, home, &Server::Auto)
}

fn launch_server(shell: &str, home: &Path, server: &Server) -> Option<(Found, String)> {
    let output = Command::new(shell)
        .args(["-c", &command_line("n0nce", server)])
        .env_clear()
        .envs([
            ("HOME", home.as_os_str()),
            ("SHELL", shell.as_ref()),
            ("PATH", "/usr/bin:/bin".as_ref()),
        ])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let mut bytes = BytesMut::from(&output.stdout[..]);
    let (found, noise) = take_mark("n0nce", &mut bytes)
        .unwrap_or_else(|| panic!("{shell}: {output:?}\n{}", command_line("n0nce", &Server::Auto)));
    let rest = String::from_utf8_lossy(&bytes).into_owned();
    Some((found, format!("{noise}|{rest}")))
}

fn codex_at(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "#!/bin/sh\necho \"served $1 $MARKER\"\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn every_login_shell_finds_codex_where_its_start_up_files_say() {
    for (shell, file, text) in [
        (
            "/bin/bash",
            ".profile",
            "PATH=$HOME/opt/bin:$PATH; export MARKER='it is set'\n",
        ),
        (
            "/bin/dash",
            ".profile",
            "PATH=$HOME/opt/bin:$PATH; export MARKER='it is set'\n",
        ),
        (
            "/usr/bin/zsh",
            ".zprofile",
            "path=($HOME/opt/bin $path); export MARKER='it is set'\n",
        ),
        (
            "/usr/bin/zsh",
            ".zshrc",
            "path=($HOME/opt/bin $path); export MARKER='it is set'\n",
        ),
        (
            "/usr/bin/fish",
            ".config/fish/config.fish",
            "set -gx PATH $HOME/opt/bin $PATH; set -gx MARKER 'it is set'\n",
        ),
        (
            "/usr/bin/tcsh",
            ".tcshrc",
            "set x = $<; set y = $<; set path = ($HOME/opt/bin $path); setenv MARKER 'it is set'\n",
        ),
    ] {
        let part = match shell {
            "/usr/bin/fish" => Part::Fish,
            "/usr/bin/zsh" => Part::Zsh,
            "/usr/bin/tcsh" => Part::Tcsh,
            _ => Part::Dash,
        };
        if !available(part) {
            continue;
        }
        let home = tempfile::tempdir().unwrap();
        codex_at(&home.path().join("opt/bin/codex"));
        fs::create_dir_all(home.path().join(file).parent().unwrap()).unwrap();
        fs::write(home.path().join(file), format!("echo noise\n{text}")).unwrap();
        let (found, rest) = launch(shell, home.path()).unwrap();
        let path = home.path().join("opt/bin/codex").display().to_string();
        assert_eq!(found.outcome, Outcome::Codex { path }, "{shell}");
        assert_eq!(found.home, home.path().display().to_string());
        assert!(found.system.starts_with("Linux ") || cfg!(not(target_os = "linux")));
        assert!(
            rest.ends_with("|served app-server it is set\n"),
            "{shell}: {rest}"
        );
    }
}

#[test]
fn hostile_start_up_files_cost_nothing_but_themselves() {
    for text in [
        "exit 1\n",
        "exec cat\n",
        "echo 'export PATH=/nowhere'; printf 'no newline'\n",
        "set -e; false\n",
        "exec /bin/false\n",
    ] {
        let home = tempfile::tempdir().unwrap();
        codex_at(&home.path().join(".local/bin/codex"));
        fs::write(home.path().join(".profile"), text).unwrap();
        let (found, rest) = launch("/bin/bash", home.path()).unwrap();
        let path = home.path().join(".local/bin/codex").display().to_string();
        assert_eq!(found.outcome, Outcome::Codex { path }, "{text}");
        assert!(rest.ends_with("|served app-server \n"), "{text}: {rest}");
    }
}

#[test]
fn variables_of_the_user_do_not_become_the_scripts() {
    let home = tempfile::tempdir().unwrap();
    codex_at(&home.path().join("opt/bin/codex"));
    let names = ["a", "c", "d", "e", "i", "l", "n", "q", "s", "t", "w"];
    let mut profile = "PATH=$HOME/opt/bin:$PATH; export MARKER=set\n".to_owned();
    for name in names {
        profile += &format!("export {name}=/bin/ls\n");
    }
    fs::write(home.path().join(".profile"), profile).unwrap();
    for server in ["auto", "official"] {
        let (found, rest) = launch_server("/bin/bash", home.path(), &server.parse().unwrap()).unwrap();
        let path = home.path().join("opt/bin/codex").display().to_string();
        match server {
            "official" => assert!(
                matches!(found.outcome, Outcome::Missing { asked: true, .. }),
                "{found:?}"
            ),
            _ => assert_eq!(
                (found.outcome, rest.as_str()),
                (Outcome::Codex { path }, "|served app-server set\n")
            ),
        }
    }
}

#[test]
fn what_only_looks_like_codex_is_passed_over() {
    let home = tempfile::tempdir().unwrap();
    // A checkout of the sources, a link to nowhere, a file without the right to be run.
    fs::create_dir_all(home.path().join(".local/bin/codex")).unwrap();
    fs::create_dir_all(home.path().join("bin")).unwrap();
    std::os::unix::fs::symlink("/no/such/file", home.path().join("bin/codex")).unwrap();
    fs::create_dir_all(home.path().join(".codex/bin")).unwrap();
    fs::write(home.path().join(".codex/bin/codex"), "").unwrap();
    codex_at(&home.path().join(".volta/bin/codex"));
    let (found, _) = launch("/bin/bash", home.path()).unwrap();
    let path = home.path().join(".volta/bin/codex").display().to_string();
    assert_eq!(found.outcome, Outcome::Codex { path });
}

#[test]
fn values_with_odd_characters_and_folders_with_spaces_come_through() {
    let home = tempfile::tempdir().unwrap();
    codex_at(&home.path().join("my tools/codex"));
    let text = "export MARKER=\"one\n'two' \\\"three\\\" \\$four\"\nexport PATH=\"$HOME/my tools:$PATH\"\n";
    for shell in ["/bin/bash", "/bin/dash", "/usr/bin/zsh"] {
        if !Path::new(shell).exists() {
            continue;
        }
        fs::write(home.path().join(".profile"), text).unwrap();
        fs::write(home.path().join(".zprofile"), text).unwrap();
        let (found, rest) = launch(shell, home.path()).unwrap();
        let path = home.path().join("my tools/codex").display().to_string();
        assert_eq!(found.outcome, Outcome::Codex { path }, "{shell}");
        assert!(
            rest.ends_with("|served app-server one\n'two' \"three\" $four\n"),
            "{shell}: {rest}"
        );
    }
}

#[test]
fn a_start_up_file_that_leaves_a_daemon_behind_holds_nobody_up() {
    let home = tempfile::tempdir().unwrap();
    codex_at(&home.path().join("opt/bin/codex"));
    fs::write(
        home.path().join(".profile"),
        "sleep 60 &\necho $! >\"$HOME/pid\"\nPATH=$HOME/opt/bin:$PATH\n",
    )
    .unwrap();
    let begin = std::time::Instant::now();
    let (found, _) = launch("/bin/bash", home.path()).unwrap();
    let took = begin.elapsed();
    let pid = fs::read_to_string(home.path().join("pid")).unwrap();
    Command::new("kill").arg(pid.trim()).status().unwrap();
    let path = home.path().join("opt/bin/codex").display().to_string();
    assert_eq!(found.outcome, Outcome::Codex { path });
    assert!(took.as_secs() < 5, "{took:?}");
}

#[test]
fn a_login_shell_that_hangs_costs_its_time_and_is_told() {
    let home = tempfile::tempdir().unwrap();
    fs::write(
        home.path().join(".profile"),
        "trap '' TERM\nwhile :; do sleep 1; done\n",
    )
    .unwrap();
    fs::write(
        home.path().join(".bashrc"),
        "trap '' TERM\nwhile :; do sleep 1; done\n",
    )
    .unwrap();
    let (found, _) = launch("/bin/bash", home.path()).unwrap();
    assert!(
        matches!(found.outcome, Outcome::Missing { asked: false, .. }),
        "{found:?}"
    );
}

#[test]
fn without_home_and_shell_the_folders_of_the_system_count() {
    let output = Command::new("/bin/sh")
        .args(["-c", &command_line("n0nce", &Server::Auto)])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut bytes = BytesMut::from(&output.stdout[..]);
    assert!(take_mark("n0nce", &mut bytes).is_some(), "{output:?}");
}

#[test]
fn a_missing_codex_says_where_was_looked() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".profile"), "PATH=/usr/bin:/bin:/odd\n").unwrap();
    let (found, _) = launch("/bin/bash", home.path()).unwrap();
    assert_eq!(
        found.outcome,
        Outcome::Missing {
            searched: "/usr/bin:/bin:/odd".to_owned(),
            asked: true
        }
    );
}

#[test]
fn the_line_is_safe_in_every_login_shell() {
    for server in ["auto", "official", "ours", "/opt/a-b_c/codex", "~/x"] {
        let line = command_line("n0nce", &server.parse().unwrap());
        let script = line
            .strip_prefix(OPENING)
            .and_then(|it| it.strip_suffix('\''))
            .unwrap();
        assert!(!script.contains(['\'', '\n', '!']), "{script}");
        assert!(
            !script.contains("\\\\"),
            "fish reads two backslashes as one: {script}"
        );
    }
}

#[test]
fn a_server_that_was_asked_for_is_found_behind_others() {
    let home = tempfile::tempdir().unwrap();
    let folders = ["a", "b", "c d"].map(|it| home.path().join(it));
    let versions = ["something else", "codex 0.1.0", "codex-cli 0.169.0"];
    for (folder, version) in folders.iter().zip(versions) {
        codex_at(&folder.join("codex"));
        let script = format!("#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}'; true\n");
        fs::write(folder.join("codex"), script).unwrap();
    }
    let path: Vec<String> = folders.iter().map(|it| it.display().to_string()).collect();
    let profile = format!("PATH='{}':/usr/bin:/bin\n", path.join(":"));
    fs::write(home.path().join(".profile"), profile).unwrap();
    for (server, folder) in [("auto", 0), ("ours", 1), ("official", 2), ("~/b/codex", 1)] {
        let server = server.parse().unwrap();
        let (found, _) = launch_server("/bin/bash", home.path(), &server).unwrap();
        let path = folders[folder].join("codex").display().to_string();
        assert_eq!(found.outcome, Outcome::Codex { path }, "{server:?}");
    }
    let nowhere = "/no/such/codex".parse().unwrap();
    let (found, _) = launch_server("/bin/bash", home.path(), &nowhere).unwrap();
    assert!(matches!(found.outcome, Outcome::Missing { .. }), "{found:?}");
}

#[test]
fn an_installed_server_is_the_last_one_unless_it_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let found = |server: &str| {
        let (found, _) = launch_server("/bin/bash", home.path(), &server.parse().unwrap()).unwrap();
        match found.outcome {
            Outcome::Codex { path } => path,
            Outcome::Missing { .. } => String::new(),
        }
    };
    let at = |path: &str| home.path().join(path);
    let said = |path: &str| at(path).display().to_string();
    let places = [
        ".local/share/codex-server/bin/codex",
        "elsewhere/codex-server/bin/codex",
        ".codex/codex-server/bin/codex",
        "set/codex-server/bin/codex",
    ];
    let lines = [
        "",
        "export XDG_DATA_HOME=$HOME/elsewhere\n",
        "",
        "export CODEX_HOME=$HOME/set\n",
    ];
    let mut profile = String::new();
    for (place, line) in places.iter().zip(lines) {
        codex_at(&at(place));
        profile += line;
        fs::write(at(".profile"), &profile).unwrap();
        assert_eq!(found("auto"), said(place));
        assert_eq!(found("ours"), said(place));
        assert_eq!(found("official"), "", "{place}");
    }
    codex_at(&at(".volta/bin/codex"));
    assert_eq!(found("auto"), said(".volta/bin/codex"));
    assert_eq!(found("ours"), said(places[3]));
}

#[test]
fn a_shared_folder_counts_only_when_nobody_else_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    std::os::unix::fs::symlink(&shared, folder.path().join("link")).unwrap();
    let is_private = |name: &str| {
        let script = format!("{} private \"$1\"", shell::places(Shared::Found));
        let mut sh = Command::new("sh");
        sh.args(["-c", &script, "sh"]).arg(folder.path().join(name));
        sh.status().unwrap().success()
    };
    for (mode, expected) in [(0o700, true), (0o750, false), (0o702, false), (0o1777, false)] {
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(is_private("shared"), expected, "{mode:o}");
    }
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(
        !is_private("link"),
        "whoever made the link may have made what it leads to"
    );
    assert!(!is_private("missing"));
    // `chown` to somebody else is a right of root alone.
    if std::os::unix::fs::chown(&shared, Some(12_345), None).is_ok() {
        assert!(!is_private("shared"));
    }
}

#[test]
fn what_a_shell_would_read_in_its_own_way_is_no_server() {
    for text in [
        "",
        "codex",
        "~",
        "~me/codex",
        "/a b",
        "/$(x)",
        "/a'b",
        "/a\\b",
        "/a!",
        "/a;b",
        "relative/x",
    ] {
        assert!(text.parse::<Server>().is_err(), "{text}");
    }
}

#[test]
fn the_mark_is_found_however_it_is_cut() {
    let text =
        b"motd\n\x1ecodex-other\tok\n\x1ecodex-n\tok\tLinux x86_64\t/home/dev\t/usr/bin/codex\n{\"id\":1}";
    for cut in 0..text.len() - 9 {
        let mut buffer = BytesMut::from(&text[..cut]);
        if let Some((found, noise)) = take_mark("n", &mut buffer) {
            assert!(cut >= text.len() - 8);
            assert_eq!(found.home, "/home/dev");
            assert_eq!(noise, "motd\n\u{1e}codex-other\tok");
        }
    }
    let mut buffer = BytesMut::from(&text[..]);
    assert!(take_mark("n", &mut buffer).is_some());
    assert_eq!(&buffer[..], b"{\"id\":1}");
}

#[tokio::test]
async fn noise_is_read_up_to_a_limit_and_its_end_is_kept() {
    let mut noise = Noise::default();
    let mut printed = BytesMut::new();
    let before = NOISE_READ_MAX - 1000;
    let mark = command_output("n0nce");
    let text = [vec![b'x'; before], mark.clone()].concat();
    let mut stream = &text[..];
    let found = loop {
        if let Some(found) = take_mark("n0nce", &mut printed) {
            break found;
        }
        assert!(noise.read(&mut stream, &mut printed).await);
        assert!(printed.len() <= NOISE_BYTES_MAX + NOISE_PIECE);
    };
    assert!(found.1.len() <= NOISE_BYTES_MAX + NOISE_PIECE);
    let (mut noise, mut printed) = (Noise::default(), BytesMut::new());
    let mut endless = tokio::io::repeat(b'y');
    let mut read = 0;
    while noise.read(&mut endless, &mut printed).await {
        read += printed.len().min(1);
    }
    assert!(read > 0 && printed.len() <= NOISE_BYTES_MAX + NOISE_PIECE);
}

fn command_output(nonce: &str) -> Vec<u8> {
    format!("\x1ecodex-{nonce}\tok\tLinux x86_64\t/home/dev\t/usr/bin/codex\n").into_bytes()
}
