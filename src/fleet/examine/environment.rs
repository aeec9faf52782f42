//! What the login shell's environment is: the server on the host and its commands live in it.

use std::time::Instant;

use super::{
    Outcome, Teller,
    commands::{Commands, Ran},
    probes::{no_second, not_run},
};
use crate::{server::chain, shell};

/// Variables that change what a server does. Only that they are set is told, never what they hold.
const NAMES: [&str; 8] = [
    "CODEX_HOME",
    "OPENAI_API_KEY",
    "CODEX_API_KEY",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
];

/// The same question that finds `codex` at each launch, with its answer shown.
pub(super) async fn environment(commands: &mut Commands, teller: &Teller) {
    let start = Instant::now();
    let outcome = match commands.run(&script()).await {
        Ok(Ran::Printed(text)) => judge(&text),
        Ok(Ran::Never(_)) => not_run("the environment is not to be asked"),
        Err(error) => no_second(format!("asking for the environment: {}", chain(&error))),
    };
    teller.step("environment", start, outcome).await;
}

fn script() -> String {
    let names: String = NAMES.iter().map(|it| format!("${{{it}:+{it} }}")).collect();
    format!(
        "s=${{SHELL:-/bin/sh}}; a=n; {} ask -lc; \
         printf \"env\\t%s\\t%s\\t%s\\t%s\\t%s\\n\" \"$a\" \"$s\" \
         \"${{LC_ALL:-${{LC_CTYPE:-$LANG}}}}\" \"{names}\" \"$PATH\"",
        shell::environment()
    )
}

fn judge(printed: &str) -> Outcome {
    let line = printed.lines().find_map(|it| it.strip_prefix("env\t"));
    let fields: Vec<&str> = line.unwrap_or_default().splitn(5, '\t').collect();
    let [told, shell, locale, names, path] = fields[..] else {
        return Outcome::Poor {
            text: "the environment was not told: a program that tells it is missing, or fails".to_owned(),
            fix: "see whether `sh -c \"id -u; printf x\"` works on the host".to_owned(),
        };
    };
    let locale = if locale.is_empty() { "none" } else { locale };
    let names = names.split_whitespace().collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() {
        String::new()
    } else {
        format!(", set: {names}")
    };
    let text = format!("{shell}, locale {locale}{names}, PATH {path}");
    match told {
        "y" => Outcome::Fine(text),
        _ => Outcome::Poor {
            text: format!("{text}; the login shell does not tell its own, so this is what sshd sets"),
            fix: format!(
                "look whether `{shell} -lc env` prints it within {} s",
                shell::SHELL_PATIENCE_S
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_that_does_not_tell_its_own_is_a_warning() {
        let said = |told: &str| format!("env\t{told}\t/bin/zsh\tC.UTF-8\tHTTPS_PROXY \t/bin:/usr/bin\n");
        let fine = "/bin/zsh, locale C.UTF-8, set: HTTPS_PROXY, PATH /bin:/usr/bin";
        assert!(matches!(judge(&said("y")), Outcome::Fine(text) if text == fine));
        assert!(matches!(judge(&said("n")), Outcome::Poor { fix, .. } if fix.contains("/bin/zsh -lc env")));
        for other in ["", "another\n", "env\ty\n"] {
            assert!(matches!(judge(other), Outcome::Poor { fix, .. } if fix.contains("works on the host")));
        }
    }

    #[test]
    fn the_script_passes_every_login_shell_unchanged() {
        let script = script();
        assert!(
            !script.contains(['\'', '!', '\n']) && !script.contains("\\\\"),
            "{script}"
        );
    }
}
