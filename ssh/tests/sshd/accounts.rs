//! Accounts that are closed: locked, expired, without a shell or a home, shut out by PAM. sshd says little of it to
//! who logs in, and all that it says is told.

use codex_ssh::{Answer, Class, Exit, Question, Session, Zeroizing, config::settings::HostSettings};
use codex_testkit::{Codex, Host, HostOptions, Key, Login, PASSWORD, require};
use tokio::io::AsyncReadExt;

use crate::host::{connect_with, connector, lenient, refused};

struct Account {
    host: Host,
    settings: HostSettings,
    _keys: tempfile::TempDir,
}

/// A host whose account is made by these lines of its root.
fn account(login: Login, setup: &str) -> Account {
    let keys = tempfile::tempdir().unwrap();
    let key = Key::generate(keys.path(), "key", None);
    let options = HostOptions::new().codex(Codex::Absent).login(login);
    let host = Host::start(options.authorize(&key).setup(setup));
    let mut settings = lenient(&host);
    settings.identity_files = vec![key.path().to_owned()];
    Account {
        host,
        settings,
        _keys: keys,
    }
}

fn user(question: &Question) -> Answer {
    match question {
        Question::Password { .. } => Answer::Secrets(vec![Zeroizing::new(PASSWORD.to_owned())]),
        _ => Answer::Refuse,
    }
}

/// Edits one of the account files by sed(1).
fn edit(file: &str, script: &str) -> String {
    format!(
        "sed '{script}' /etc/{file} > /run/{file}; chmod 640 /run/{file}; mount --bind /run/{file} /etc/{file}\n"
    )
}

/// A PAM stack of these rules for accounts.
fn pam(accounts: &str, sessions: &str) -> String {
    let lines = format!(
        "auth required pam_unix.so nodelay\\naccount required {accounts}\\nsession required {sessions}\\n"
    );
    format!("printf '{lines}' > /run/pam; mount --bind /run/pam /etc/pam.d/sshd\n")
}

#[tokio::test]
async fn an_account_that_pam_closes_ends_the_login_with_its_words_and_is_not_tried_again() {
    require!(Sshd, Pam);
    let expired = edit("shadow", "s/^dev:\\([^:]*\\):.*/dev:\\1:20000:0:99999:7::1:/");
    for (name, setup, words) in [
        (
            "expired",
            pam("pam_unix.so", "pam_permit.so") + &expired,
            "has expired",
        ),
        (
            "nologin",
            pam("pam_nologin.so", "pam_permit.so") + "echo Down for the weekend. > /run/nologin\n",
            "Down for the weekend.",
        ),
        // Rules that say nothing.
        (
            "silent",
            pam("pam_deny.so", "pam_permit.so"),
            "closed the connection",
        ),
    ] {
        let account = account(Login::Password, &setup);
        let mut by_password = account.settings.clone();
        by_password.identity_files.clear();
        by_password.preferred_authentications = vec!["password".to_owned()];
        for settings in [account.settings.clone(), by_password] {
            let error = refused(connect_with(&connector(), vec![settings], user).await.0);
            let log = account.host.log();
            // What is unreachable would be tried again and again, each time as another failed login.
            assert_eq!(error.class(), Class::Unauthorized, "{name}: {error}\n{log}");
            assert!(error.to_string().contains(words), "{name}: {error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("may have expired or be closed"), "{name}: {hint}");
        }
    }
}

#[tokio::test]
async fn an_account_that_sshd_refuses_is_said_to_be_one_of_the_reasons() {
    require!(Sshd, Pam);
    for (name, login, setup) in [
        ("locked", Login::Key, edit("shadow", "s/^dev:[^:]*:/dev:!x:/")),
        (
            "expired",
            Login::Key,
            edit("shadow", "s/^dev:.*/dev:*:20000:0:99999:7::1:/"),
        ),
        (
            "no such shell",
            Login::Key,
            edit("passwd", "s#^\\(dev:.*:\\)[^:]*$#\\1/bin/gone#"),
        ),
        (
            "locked for passwords",
            Login::Password,
            pam("pam_unix.so", "pam_permit.so") + &edit("shadow", "s/^dev:/dev:!/"),
        ),
    ] {
        let mut account = account(login, &setup);
        if login == Login::Password {
            account.settings.identity_files.clear();
            account.settings.preferred_authentications = vec!["password".to_owned()];
        }
        let (result, _) = connect_with(&connector(), vec![account.settings], user).await;
        let error = refused(result);
        assert_eq!(error.class(), Class::Unauthorized, "{name}: {error}");
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("the log of the server's sshd says") && hint.contains("account"),
            "{name}: {hint}"
        );
    }
}

async fn says(session: &Session) -> (String, String, Exit) {
    let mut process = session.exec("pwd").await.unwrap();
    let (exit, stderr) = (process.exit(), process.stderr());
    let mut text = String::new();
    process.read_to_string(&mut text).await.unwrap();
    (text, stderr.text(), exit.wait().await)
}

#[tokio::test]
async fn accounts_that_let_in_and_run_little_are_told_by_the_ends_of_their_commands() {
    require!(Sshd, Pam);
    let home = edit("passwd", "s#^\\(dev:x:[0-9]*:[0-9]*::\\)[^:]*:#\\1/nowhere:#");
    let nologin =
        "cp -a /etc /run/etc; mount --bind /run/etc /etc; echo Down for the weekend. > /etc/nologin\n";
    for (login, setup, expected, stderr, status) in [
        (Login::Key, nologin.to_owned(), "", "Down for the weekend.\n", 254),
        (Login::Password, pam("pam_permit.so", "pam_deny.so"), "", "", 254),
        (
            Login::Password,
            pam("pam_permit.so", "pam_permit.so") + &home,
            "/\n",
            "Could not chdir",
            0,
        ),
    ] {
        let mut account = account(login, &setup);
        account.settings.preferred_authentications = match login {
            Login::Key => vec!["publickey".to_owned()],
            _ => vec!["password".to_owned()],
        };
        let (session, _) = connect_with(&connector(), vec![account.settings], user).await;
        let session = session.unwrap_or_else(|error| panic!("{setup}: {error}\n{}", account.host.log()));
        let (text, errors, exit) = says(&session).await;
        assert_eq!((text.as_str(), exit), (expected, Exit::Status(status)), "{setup}");
        assert!(errors.contains(stderr), "{setup}: {errors}");
    }
}
