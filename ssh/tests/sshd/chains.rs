//! Chains of methods (`AuthenticationMethods`) with PAM: what passed and what failed is said step by step.

use codex_ssh::{Answer, Class, ConnectError, Outcome, Question, Zeroizing, config::settings::HostSettings};
use codex_testkit::{AUTHENTICATOR_CODES, Codex, Host, HostOptions, Key, Login, PASSWORD, require};

use crate::host::{connect_with, connector, keygen, lenient, refused};

/// A user who types this password, and the codes of an authenticator.
fn typing(password: &'static str) -> impl FnMut(&Question) -> Answer {
    let secret = |text: &str| Zeroizing::new(text.to_owned());
    move |question| match question {
        Question::Password { .. } => Answer::Secrets(vec![secret(password)]),
        Question::KeyboardInteractive { prompts, .. } => {
            let answer = |text: &str| match text.contains("One-time") {
                true => secret(AUTHENTICATOR_CODES[0]),
                false => secret(password),
            };
            Answer::Secrets(prompts.iter().map(|it| answer(&it.text)).collect())
        }
        _ => Answer::Refuse,
    }
}

struct Chain {
    host: Host,
    settings: HostSettings,
    _keys: tempfile::TempDir,
}

/// A host that wants these methods, with two keys that it knows.
fn chain(login: Login, methods: &str) -> Chain {
    let keys = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| Key::generate(keys.path(), name, None));
    let options = HostOptions::new().codex(Codex::Absent).login(login);
    let options = options
        .authorize(&one)
        .authorize(&other)
        .sshd("PasswordAuthentication yes\nKbdInteractiveAuthentication yes");
    let host = Host::start(options.sshd(&format!("AuthenticationMethods {methods}")));
    let mut settings = lenient(&host);
    settings.identity_files = vec![one.path().to_owned(), other.path().to_owned()];
    Chain {
        host,
        settings,
        _keys: keys,
    }
}

/// The methods that were used up, in order, with a `+` for each that passed.
fn steps(tried: &[codex_ssh::Attempt]) -> Vec<String> {
    let mark = |outcome: &Outcome| match outcome {
        Outcome::Accepted | Outcome::Partial => "+",
        Outcome::Denied | Outcome::Unasked => "-",
        Outcome::Skipped(_) => "?",
    };
    tried
        .iter()
        .map(|it| format!("{}{}", mark(&it.outcome), it.method))
        .collect()
}

#[tokio::test]
async fn chains_of_two_and_three_methods_and_alternatives_are_gone_through() {
    require!(Sshd, Pam);
    let (password, both) = (Login::Password, Login::TwoPrompts);
    for (login, methods, expected) in [
        (password, "password,publickey", "-publickey +password +publickey"),
        (
            password,
            "publickey,password,keyboard-interactive",
            "+publickey +password +keyboard-interactive",
        ),
        (
            both,
            "publickey,keyboard-interactive:pam publickey,password",
            "+publickey +keyboard-interactive",
        ),
        (
            both,
            "keyboard-interactive:pam,publickey",
            "-publickey +keyboard-interactive +publickey",
        ),
        (
            password,
            "publickey,publickey,password",
            "+publickey +publickey +password",
        ),
    ] {
        let chain = chain(login, methods);
        let (session, _) = connect_with(&connector(), vec![chain.settings], typing(PASSWORD)).await;
        let session = session.unwrap_or_else(|error| panic!("{methods}: {error}\n{}", chain.host.log()));
        assert_eq!(steps(session.tried()).join(" "), expected, "{methods}");
    }
}

async fn fails(settings: &HostSettings, password: &'static str) -> ConnectError {
    let error = refused(
        connect_with(&connector(), vec![settings.clone()], typing(password))
            .await
            .0,
    );
    assert_eq!(error.class(), Class::Unauthorized, "{error}");
    error
}

#[tokio::test]
async fn of_a_chain_that_breaks_it_is_said_which_step_passed_and_which_failed() {
    require!(Sshd, Pam);
    let chain = chain(Login::Password, "publickey,password");
    let mut settings = chain.settings.clone();
    settings.number_of_password_prompts = 1;
    let error = fails(&settings, "wrong").await;
    assert_eq!(steps(error.tried()), ["+publickey", "-password"], "{error}");
    let text = error.to_string();
    assert!(
        text.contains("accepted, more is needed; password: denied"),
        "{text}"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("publickey passed, and password after it was refused"),
        "{hint}"
    );

    // Nobody is there to be asked.
    settings.batch_mode = true;
    let error = fails(&settings, "wrong").await;
    assert_eq!(steps(error.tried()), ["+publickey", "?password"], "{error}");
    assert!(error.to_string().contains("BatchMode asks nobody"), "{error}");
    assert!(
        error.hint().unwrap().contains("wants password besides"),
        "{:?}",
        error.hint()
    );
}

#[tokio::test]
async fn a_second_key_that_is_wrong_or_not_there_is_told_from_the_first_one() {
    require!(Sshd, Pam);
    for methods in ["password,publickey", "publickey,publickey"] {
        let chain = chain(Login::Password, methods);
        let mut settings = chain.settings.clone();
        let stranger = chain._keys.path().join("stranger");
        keygen(&stranger, "ed25519", "");
        settings.identity_files = match methods {
            "password,publickey" => vec![stranger],
            _ => vec![settings.identity_files[0].clone(), stranger],
        };
        let error = fails(&settings, PASSWORD).await;
        let hint = error.hint().unwrap();
        assert!(
            hint.contains(" passed, and the key that has to follow was refused"),
            "{methods}: {hint}: {error}"
        );
    }
    let chain = chain(Login::Password, "publickey,publickey");
    let mut settings = chain.settings.clone();
    settings.identity_files.truncate(1);
    let error = fails(&settings, PASSWORD).await;
    assert_eq!(steps(error.tried()), ["+publickey"], "{error}");
    assert!(
        error.hint().unwrap().contains("another key besides"),
        "{:?}",
        error.hint()
    );
}
