//! Logins that ask, against a real sshd with PAM: passwords, codes, chains of methods, expired passwords.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use codex_ssh::{
    Answer, Class, Outcome, Question, Zeroizing,
    config::settings::{HostSettings, StrictHostKeyChecking},
};
use codex_testkit::{AUTHENTICATOR_CODES, Codex, Host, HostOptions, Key, Login, PASSWORD, require};

use crate::host::{connect_with, connector, refused};

fn secret(text: &str) -> Answer {
    Answer::Secrets(vec![Zeroizing::new(text.to_owned())])
}

fn settings(host: &Host) -> HostSettings {
    let mut settings = HostSettings::plain("127.0.0.1", host.user(), host.port());
    settings.strict_host_key_checking = StrictHostKeyChecking::Off;
    settings
}

/// Answers what PAM asks for, whichever method asks.
fn user(question: &Question) -> Answer {
    match question {
        Question::Password { .. } => secret(PASSWORD),
        Question::KeyboardInteractive { prompts, .. } => {
            let answer = |text: &str| match text.to_lowercase().contains("password:") {
                true if !text.to_lowercase().contains("one-time") => PASSWORD,
                _ => AUTHENTICATOR_CODES[0],
            };
            let answers = prompts
                .iter()
                .map(|it| Zeroizing::new(answer(&it.text).to_owned()));
            Answer::Secrets(answers.collect())
        }
        _ => Answer::Refuse,
    }
}

#[tokio::test]
async fn a_password_alone_and_a_password_with_a_code_log_in() {
    require!(Sshd, Pam);
    for (login, questions) in [(Login::Password, 1), (Login::TwoPrompts, 2)] {
        let host = Host::start(HostOptions::new().codex(Codex::Absent).login(login));
        let (session, heard) = connect_with(&connector(), vec![settings(&host)], user).await;
        session.unwrap_or_else(|error| panic!("{login:?}: {error}\n{}", host.log()));
        assert_eq!(heard.questions.len(), questions, "{:?}", heard.questions);
    }
}

#[tokio::test]
async fn a_key_and_then_a_password_or_questions_are_a_chain() {
    require!(Sshd, Pam);
    for (login, chain, questions) in [
        (Login::Password, "publickey,password", 1),
        (Login::TwoPrompts, "publickey,keyboard-interactive", 2),
    ] {
        let keys = tempfile::tempdir().unwrap();
        let key = Key::generate(keys.path(), "key", None);
        let options = HostOptions::new()
            .codex(Codex::Absent)
            .login(login)
            .authorize(&key);
        let host = Host::start(options.sshd(&format!("AuthenticationMethods {chain}")));
        let mut settings = settings(&host);
        settings.identity_files = vec![key.path().to_owned()];
        let (session, heard) = connect_with(&connector(), vec![settings.clone()], user).await;
        session.unwrap_or_else(|error| panic!("{chain}: {error}\n{}", host.log()));
        assert_eq!(heard.questions.len(), questions, "{:?}", heard.questions);

        // The user is asked three times and no more, and the first half stays accepted.
        settings.preferred_authentications = chain.split(',').map(str::to_owned).collect();
        let (result, heard) = connect_with(&connector(), vec![settings.clone()], |question| match question {
            Question::KeyboardInteractive { prompts, .. } => Answer::Secrets(
                prompts
                    .iter()
                    .map(|_| Zeroizing::new("wrong".to_owned()))
                    .collect(),
            ),
            _ => secret("wrong"),
        })
        .await;
        let error = refused(result);
        assert_eq!(error.class(), Class::Unauthorized);
        assert_eq!(error.tried()[0].outcome, Outcome::Partial, "{error}");
        assert!(heard.questions.len() <= 3 * questions, "{:?}", heard.questions);
        settings.number_of_password_prompts = 1;
        settings.batch_mode = true;
        let (result, heard) = connect_with(&connector(), vec![settings], user).await;
        assert_eq!(
            (refused(result).class(), heard.questions.len()),
            (Class::Unauthorized, 0)
        );
    }
}

#[tokio::test]
async fn an_expired_password_is_changed_by_the_dialogue_of_the_server() {
    require!(Sshd, Pam);
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().join("etc");
    let copied = Command::new("cp").arg("-a").arg("/etc").arg(&etc).status();
    assert!(copied.unwrap().success());
    let hashed = Command::new("openssl").args(["passwd", "-6", PASSWORD]).output();
    let hashed = String::from_utf8(hashed.unwrap().stdout).unwrap();
    let add = |file: &str, line: &str| {
        let path = etc.join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{line}\n")).unwrap();
    };
    add("passwd", "expired:x:61242:61242::/tmp:/bin/sh");
    // The last change was on day 0: it has to be changed at the next login.
    add("shadow", &format!("expired:{}:0:0:99999:7:::", hashed.trim()));
    fs::write(
        etc.join("pam.d/sshd"),
        "auth required pam_unix.so nodelay\naccount required pam_unix.so\npassword required pam_unix.so\n\
         session required pam_permit.so\n",
    )
    .unwrap();
    let program = folder.path().join("sshd");
    let script = format!(
        "#!/bin/sh\nmount --bind {} /etc || exit 1\nexec /usr/sbin/sshd \"$@\"\n",
        etc.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let sshd = crate::host::Sshd::in_namespace(&program, "UsePAM yes\nKbdInteractiveAuthentication yes");
    let mut settings = sshd.settings();
    settings.user = "expired".to_owned();
    settings.identity_files.clear();
    let fresh = "a New passw0rd of dev";
    let answer = |question: &Question| match question {
        Question::KeyboardInteractive { prompts, .. } => {
            let answer = |text: &str| match text.to_lowercase().contains("new") {
                true => fresh,
                false => PASSWORD,
            };
            let answers = prompts
                .iter()
                .map(|it| Zeroizing::new(answer(&it.text).to_owned()));
            Answer::Secrets(answers.collect())
        }
        _ => Answer::Refuse,
    };
    let (session, heard) = connect_with(&connector(), vec![settings.clone()], answer).await;
    session.unwrap_or_else(|error| panic!("{error}\n{}", sshd.log()));
    let texts = format!("{:?}", heard.questions).to_lowercase();
    assert!(texts.contains("new password"), "{texts}");
    let (session, heard) = connect_with(&connector(), vec![settings], |_| secret(fresh)).await;
    session.unwrap();
    assert_eq!(heard.questions.len(), 1, "the new one is good for the next login");
}
