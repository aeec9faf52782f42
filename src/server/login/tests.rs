//! Logins, with a keyring in memory and with a real one.

use std::os::unix::fs::PermissionsExt;

use super::{
    keyring::tests::{Fake, Mood},
    *,
};

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn place(logins: &Logins) -> Option<Place> {
    logins.look().unwrap().map(|(_, place)| place)
}

#[test]
fn a_key_is_kept_for_its_user_alone_until_it_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let logins = Logins::new(&home.path().join("own"), None);
    assert!(logins.key().is_none());
    let kept = logins.store(secret(" key-1\n")).unwrap();
    let file = home.path().join("own/login.json");
    assert_eq!(kept.place, Place::File(file.clone()));
    assert_eq!(logins.key().unwrap().expose(), "key-1");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(logins.origin(Some("x")), Some(Origin::Environment));
    assert_eq!(logins.origin(None), Some(Origin::Stored(Place::File(file))));
    assert!(logins.forget().unwrap() && !logins.forget().unwrap());
    assert!(logins.origin(None).is_none());
}

#[test]
fn what_is_no_key_is_refused_without_being_quoted() {
    let home = tempfile::tempdir().unwrap();
    let logins = Logins::new(home.path(), None);
    let refused = |key: &str| logins.store(secret(key)).unwrap_err().to_string();
    assert_eq!(refused(" "), "the API key is empty");
    assert!(!refused("secret\nkey").contains("secret"));
}

#[test]
fn a_key_in_the_keyring_is_not_in_the_file_which_says_where_it_is() {
    let home = tempfile::tempdir().unwrap();
    let (fake, keyring) = Fake::keyring(Mood::Open, home.path());
    let logins = Logins::new(home.path(), Some(keyring.clone()));
    logins.store(secret("key-1")).unwrap();
    assert_eq!(place(&logins), Some(Place::Keyring));
    assert_eq!(logins.key().unwrap().expose(), "key-1");
    let text = fs::read_to_string(home.path().join("login.json")).unwrap();
    assert!(!text.contains("key-1"), "{text}");
    assert_eq!(logins.origin(None), Some(Origin::Stored(Place::Keyring)));

    let elsewhere = Logins::new(home.path(), None);
    assert!(matches!(elsewhere.look(), Err(LoginError::NoKeyring)));
    assert!(matches!(elsewhere.forget(), Err(LoginError::NoKeyring)));
    *fake.mood.lock().unwrap() = Mood::Locked;
    let again = Logins::new(home.path(), Some(keyring));
    assert!(matches!(
        again.look(),
        Err(LoginError::Keyring(KeyringError::Locked))
    ));
    assert!(again.key().is_none() && again.origin(None).is_some());
    assert!(again.forget().is_err(), "the key is still there");
    *fake.mood.lock().unwrap() = Mood::Open;
    assert!(again.forget().unwrap() && !again.forget().unwrap());
    assert!(!home.path().join("login.json").exists());
}

#[test]
fn a_keyring_that_does_not_take_the_key_leaves_it_to_the_file() {
    for mood in [Mood::Locked, Mood::Hanging] {
        let home = tempfile::tempdir().unwrap();
        let (fake, keyring) = Fake::keyring(mood, home.path());
        let logins = Logins::new(home.path(), Some(keyring));
        let kept = logins.store(secret("key-1")).unwrap();
        assert!(matches!(kept.place, Place::File(_)) && kept.why_no_keyring.is_some());
        assert_eq!(logins.key().unwrap().expose(), "key-1");
        // The file does not keep what a keyring has taken.
        *fake.mood.lock().unwrap() = Mood::Open;
        assert_eq!(logins.store(secret("key-2")).unwrap().place, Place::Keyring);
        assert_eq!(logins.key().unwrap().expose(), "key-2");
    }
}

#[test]
fn another_process_may_store_another_key() {
    let home = tempfile::tempdir().unwrap();
    let (_fake, keyring) = Fake::keyring(Mood::Open, home.path());
    let [one, other] = [keyring.clone(), keyring].map(|it| Logins::new(home.path(), Some(it)));
    one.store(secret("key-1")).unwrap();
    assert_eq!(one.key().unwrap().expose(), "key-1");
    other.store(secret("key-2")).unwrap();
    // The clock of a file system is coarse.
    let file = fs::File::options()
        .write(true)
        .open(home.path().join("login.json"))
        .unwrap();
    file.set_modified(SystemTime::now() + std::time::Duration::from_secs(1))
        .unwrap();
    assert_eq!(one.key().unwrap().expose(), "key-2");
}
