//! `UpdateHostKeys ask`: known_hosts changes only if the user says so, and nothing waits for the answer.

use std::{fs, process::Command};

use codex_ssh::{
    Answer, Connector, Event, Question, Route, Session,
    config::settings::{HostSettings, UpdateHostKeys},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::host::{PATIENCE, Sshd, available, connector, keygen, until};

/// A server with one key that is known and one that is not, and the settings of a client that also knows an old one.
fn changed() -> (Sshd, HostSettings, tempfile::TempDir) {
    let keys = tempfile::tempdir().unwrap();
    let (new, old) = (keys.path().join("new"), keys.path().join("old"));
    keygen(&new, "rsa", "");
    keygen(&old, "ecdsa", "");
    let sshd = Sshd::start(&format!("HostKey {}", new.display()));
    let mut settings = sshd.settings();
    settings.host_keys.update = UpdateHostKeys::Ask;
    let file = &settings.user_known_hosts_files[0];
    let before = fs::read_to_string(file).unwrap();
    let old = fs::read_to_string(keys.path().join("old.pub")).unwrap();
    fs::write(file, format!("{before}[127.0.0.1]:{} {old}", sshd.port)).unwrap();
    (sshd, settings, keys)
}

/// A session, and what it says as long as the sender is held.
async fn connect(
    connector: &Connector,
    settings: &HostSettings,
) -> (Session, mpsc::Receiver<Event>, mpsc::Sender<Event>) {
    let (sender, events) = mpsc::channel(16);
    let route = Route {
        hops: vec![settings.clone()],
    };
    let session = connector.connect(&route, sender.clone()).await.unwrap();
    (session, events, sender)
}

async fn question(events: &mut mpsc::Receiver<Event>) -> (Question, oneshot::Sender<Answer>) {
    let asked = async {
        loop {
            if let Some(Event::Question { question, answer, .. }) = events.recv().await {
                return (question, answer);
            }
        }
    };
    timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| panic!("no question within 20 s"))
}

async fn notice(events: &mut mpsc::Receiver<Event>) -> String {
    let told = async {
        loop {
            if let Some(Event::Notice { text, .. }) = events.recv().await {
                return text;
            }
        }
    };
    timeout(PATIENCE, told)
        .await
        .unwrap_or_else(|_| panic!("no notice within 20 s"))
}

async fn says_hello(session: &Session) {
    let process = session.exec("true").await.unwrap();
    process.exit().wait().await;
}

#[tokio::test]
async fn the_question_names_the_changes_and_the_session_goes_on_meanwhile() {
    if !available() {
        return;
    }
    let (_sshd, settings, keys) = changed();
    let file = settings.user_known_hosts_files[0].clone();
    let before = fs::read_to_string(&file).unwrap();
    let connector = connector();
    let (session, mut events, _sender) = connect(&connector, &settings).await;
    let (asked, answer) = question(&mut events).await;
    says_hello(&session).await;
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        before,
        "nobody has answered yet"
    );
    let Question::UpdateHostKeys {
        added,
        removed,
        known_hosts_file,
        ..
    } = asked
    else {
        panic!("{asked:?}")
    };
    let listed = |name: &str| {
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(keys.path().join(name))
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let ([new], [old]) = (added.as_slice(), removed.as_slice()) else {
        panic!("{added:?} {removed:?}")
    };
    assert!(listed("new.pub").contains(&new.fingerprint) && new.key_type == "RSA");
    assert!(listed("old.pub").contains(&old.fingerprint) && old.key_type == "ECDSA");
    assert_eq!(known_hosts_file, file);
    assert!(answer.send(Answer::Accept).is_ok());
    until("the file is changed", || {
        let text = fs::read_to_string(&file).unwrap();
        text.contains("ssh-rsa") && !text.contains("ecdsa")
    })
    .await;
    says_hello(&session).await;
}

#[tokio::test]
async fn a_refusal_changes_nothing_and_is_not_asked_about_again() {
    if !available() {
        return;
    }
    let (_sshd, settings, _keys) = changed();
    let file = settings.user_known_hosts_files[0].clone();
    let before = fs::read_to_string(&file).unwrap();
    let connector = connector();
    let (session, mut events, sender) = connect(&connector, &settings).await;
    let (_, answer) = question(&mut events).await;
    assert!(answer.send(Answer::Refuse).is_ok());
    let text = notice(&mut events).await;
    assert!(
        text.contains("nothing is changed") && text.contains("not accepted"),
        "{text}"
    );
    says_hello(&session).await;
    drop((session, sender));

    let (session, mut events, sender) = connect(&connector, &settings).await;
    // The server's list comes before the answer to a command.
    says_hello(&session).await;
    says_hello(&session).await;
    drop((session, sender));
    while let Some(event) = events.recv().await {
        assert!(!matches!(event, Event::Question { .. }), "it was asked again");
    }

    let mut batch = settings.clone();
    batch.batch_mode = true;
    let (_session, mut events, _sender) = connect(&crate::host::connector(), &batch).await;
    let text = notice(&mut events).await;
    assert!(text.contains("BatchMode"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}
