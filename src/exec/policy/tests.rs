//! What the tables say, and that nothing that is not understood is ever safe.

use proptest::prelude::*;

use super::*;

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

fn of_script(script: &str) -> Verdict {
    assess(&argv(&["bash", "-lc", script]))
}

#[test]
fn reading_is_safe() {
    for script in [
        "ls",
        "ls -la src",
        "cat a b",
        "pwd; ls",
        "grep -rn 'a|b;c' src | head -n 5 | wc -l",
        "cd src && ls",
        "git status",
        "git log --oneline -n 5",
        "git diff HEAD~1 -- src".replace('~', "").as_str(),
        "git show HEAD:a.txt",
        "git branch --show-current",
        "git diff --exit-code",
        "find . -name '*.rs' -type f",
        "sed -n 1,20p a.txt",
        "sed -n 5p a",
        "sed -n '3,$p' a",
        "echo \"hello (world) > x\"",
        "sort -n a | uniq -c",
        "rg -n foo src",
        "ls;",
        "tail -n 3 'a b'",
        "/usr/bin/ls",
        "ls || true",
        "od -c a",
    ] {
        assert_eq!(of_script(script), Verdict::Safe, "{script}");
    }
    assert_eq!(
        assess(&argv(&["ls", "-l", "$(touch x)"])),
        Verdict::Safe,
        "no shell looks at it"
    );
    assert_eq!(assess(&argv(&["/bin/sh", "-c", "ls"])), Verdict::Safe);
}

const NOT_SAFE: &[&str] = &[
    "",
    " ",
    "ls > x",
    "ls >> x",
    "ls 2>&1",
    "cat < x",
    "ls $(touch x)",
    "ls `touch x`",
    "ls $HOME",
    "ls *",
    "ls ?",
    "ls [a]",
    "ls {a,b}",
    "ls ~",
    "ls & ls",
    "ls &",
    "ls |& cat",
    "ls ;; ls",
    "ls && ",
    "&& ls",
    "| ls",
    "ls\ntouch x",
    "A=1 ls",
    "LD_PRELOAD=x ls",
    "# ls",
    "! ls",
    "(ls)",
    "{ ls; }",
    "if ls; then ls; fi",
    "ls \\; touch",
    "echo \"$(x)\"",
    "echo \"`x`\"",
    "echo 'open",
    "echo \"open",
    "echo \"\\\"\"",
    "touch x",
    "ls && touch x",
    "ls | tee x",
    "./ls",
    "/work/ls",
    "sh -c ls",
    "env ls",
    "find . -delete",
    "find . -exec ls {} +",
    "find . -execdir ls",
    "find . -ok x",
    "find . -fprint x",
    "find . -fprintf x y",
    "find . -fls x",
    "find * -name a",
    "sed -i s/a/b/ x",
    "sed s/a/b/e x",
    "sed -n 'w x' a",
    "sed -n 1p -i a",
    "sed -n 1,2wp a",
    "sort -o x a",
    "sort --output=x a",
    "sort --compress-program=x a",
    "uniq a b",
    "git commit",
    "git -C /x status",
    "git -c core.pager=x log",
    "git --git-dir=x status",
    "git",
    "git diff --output=x",
    "git diff --outp=x",
    "git log --ext-diff",
    "git log --ext",
    "git show --textconv",
    "git show --te",
    "git branch new",
    "git branch -D x",
    "git branch -m a",
    "git remote add x y",
    "git rev-list x",
    "rg --pre x y",
    "rg --pre=x y",
    "rg -z x",
    "rg -iz x",
    "rg --hostname-bin x y",
    "rg --search-zip x",
    "ls \u{a0}x",
    "tr a b > c",
    "date -s now",
    "hostname x",
    "tree -o x",
    "diff --output=x a b",
    "ls\0",
];

#[test]
fn what_writes_runs_or_is_not_understood_is_not_safe() {
    for script in NOT_SAFE {
        assert_ne!(of_script(script), Verdict::Safe, "{script:?}");
    }
    for words in [
        &["bash", "-c"][..],
        &["bash", "-c", "ls", "x"],
        &["bash", "-ic", "ls"],
        &["/tmp/bash", "-c", "ls"],
        &[],
        &[""],
    ] {
        assert_eq!(assess(&argv(words)), Verdict::Unknown, "{words:?}");
    }
}

#[test]
fn destruction_is_dangerous_however_it_is_wrapped() {
    for script in [
        "rm -rf /",
        "rm -f a",
        "rm -r a",
        "rm --force a",
        "rm --rec a",
        "rm a -f",
        "sudo rm -rf a",
        "sudo -u root rm -f a",
        "ls && rm -rf a",
        "echo $(rm -rf a)",
        "if true; then rm -rf a; fi",
        "for i in a; do rm -f $i; done",
        "A=1 rm -f a",
        "bash -c 'rm -rf a'",
        "env A=b rm -f a",
        "find . | xargs rm -f",
        "find . -delete",
        "git reset --hard HEAD",
        "git clean -fdx",
        "git push --force",
        "git push -f",
        "dd if=a of=/dev/sda",
        "mkfs.ext4 /dev/sda",
        "reboot",
        "/bin/rm -rf a",
        "chmod -R 777 /",
        "cat a > b; rm -f b",
        "{ rm -rf x; }",
    ] {
        assert_eq!(of_script(script), Verdict::Dangerous, "{script}");
    }
    for script in [
        "rm a",
        "rm -i a",
        "git reset HEAD",
        "git push",
        "echo 'rm -rf /'",
        "git clean -n",
        "rm -- -f",
    ] {
        assert_ne!(of_script(script), Verdict::Dangerous, "{script}");
    }
    assert_eq!(assess(&argv(&["rm", "-rf", "/"])), Verdict::Dangerous);
}

const SAFE: [&str; 6] = [
    "ls -la",
    "cat a | wc -l",
    "git status",
    "find . -name x",
    "echo 'a b' && pwd",
    "sed -n 1,2p a",
];

proptest! {
    /// Whatever is put into a safe script, it stays safe only if all of it is understood, and then as commands
    /// that are safe each.
    #[test]
    fn nothing_put_into_a_safe_command_makes_an_unsafe_one_pass(
        script in prop::sample::select(&SAFE[..]),
        position in any::<prop::sample::Index>(),
        inserted in prop_oneof![
            prop::sample::select(&["$(touch x)", "`touch x`", ";touch x", "&&touch x", "|touch x", ">x", "<(touch x)",
                "\ntouch x", "&touch x", "${x}", "$x", "\\", ">>x", "*", "~", "{a,b}", "\u{0}", "2>x", "|tee x", ";touch x;"][..])
                .prop_map(str::to_owned),
            "[ -~\n\t]{1,8}",
        ],
    ) {
        let at = position.index(script.len() + 1);
        let changed = format!("{}{inserted}{}", &script[..at], &script[at..]);
        if of_script(&changed) == Verdict::Safe {
            prop_assert!(says_shell_the_same(&changed), "{:?}", changed);
        }
    }

    #[test]
    fn arbitrary_scripts_that_pass_mean_to_the_shell_what_we_took_them_for(script in "[a-z '\"$`;&|<>(){}*~#=!\\\\\n.-]{0,24}") {
        let script = format!("echo {script}");
        if plain_commands(&argv(&["bash", "-c", &script])).is_some() {
            prop_assert!(says_shell_the_same(&script), "{:?}", script);
        }
    }
}

/// Whether a real shell splits the script into the same words: each command is replaced by one that prints
/// what it was given, by way of functions, so that nothing of the script is run.
fn says_shell_the_same(script: &str) -> bool {
    let Some(commands) = plain_commands(&argv(&["bash", "-c", script])) else {
        return false;
    };
    let mut names: Vec<&str> = commands
        .iter()
        .filter_map(|words| words.first())
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    if names
        .iter()
        .any(|name| !name.bytes().all(|byte| byte.is_ascii_lowercase()))
    {
        // Nothing that a function could be called. Such a word is no keyword either.
        return true;
    }
    let function = |name: &&str| {
        // One write each: the parts of a pipeline run at once.
        format!(
            "function {name} {{ local line; printf -v line '<%s>' {name} \"$@\"; printf '%s\\n' \"$line\" >&3; }}\n"
        )
    };
    let functions: String = names.iter().map(function).collect();
    // Every command is shown although `||` would skip it.
    let shown = script.replace("||", ";").replace("&&", ";");
    if shown != script && script.contains(['\'', '"']) {
        return true;
    }
    let program = format!("PATH=\nexec 3>&1 1>/dev/null 2>/dev/null </dev/null\n{functions}\n{shown}\n");
    let output = std::process::Command::new("bash")
        .args(["--norc", "-c", &program])
        .output()
        .unwrap();
    let mut printed: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    let expected = |words: &Vec<String>| words.iter().map(|word| format!("<{word}>")).collect::<String>();
    let mut wanted: Vec<String> = commands
        .iter()
        .flat_map(|words| expected(words).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // Parts of a pipeline print in any order.
    printed.sort();
    wanted.sort();
    printed == wanted
}
