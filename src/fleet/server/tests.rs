//! What of a host's words is told.

use super::*;

#[test]
fn of_what_a_host_says_nothing_is_told_that_is_ours() {
    let line = command_line("n0nce", &Server::Auto);
    let echoed = line.replace('\'', "");
    let fed = launch::fed(&line, "n0nce");
    let words = format!(
        "hello\n\n+ {line}\nunended\u{1e}codex-n0nce-runs\n\u{1e}codex-n0nce-runs\nno {}\n{fed}fish: exec\\ /bin/sh\\ -c\\ \\'n=x\nbye\n",
        echoed.strip_prefix("exec ").unwrap()
    );
    assert_eq!(
        without_ours(&words),
        "hello\n+ …\nunended\nno /bin/sh -c n=n0nce…\nfish: …\nbye"
    );
}

#[test]
fn quotes_that_were_taken_apart_are_told_from_a_shell_that_ends() {
    let id = HostId("devbox".to_owned());
    let hint = |said: &str| why_never_ran(&id, ": exit status 2", said);
    for said in [
        "printf: 1: Syntax error: Unterminated quoted string",
        "printf: -c: line 1: unexpected EOF while looking for matching `\"'",
        "Unmatched '\"'.",
        "fish: Unknown command: exec\\ /bin/sh\\ -c\\ \\'n=x",
    ] {
        assert!(hint(said).contains("sh -c \"$SSH_ORIGINAL_COMMAND\""), "{said}");
    }
    assert!(hint("Not today.").contains(".bashrc"));
}
