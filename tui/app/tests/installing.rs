//! Hosts without a server, and how they get ours.

use codex_hosts::{Failure, FailureKind, HostId, Phase, Status};

use crate::{
    app::{Start, install::Offer},
    effect::Effect,
    event::{Event, Installing},
    testing::{Desk, start},
};

fn failed(kind: FailureKind) -> Status {
    Status::Failed(Failure {
        kind,
        phase: Some(Phase::Launching),
        message: "there is no codex on bare".to_owned(),
        hint: None,
        stderr: None,
    })
}

/// One host that was connected to and has no codex.
fn bare() -> Desk {
    let offer = Offer {
        bytes: 18_700_000,
        directory: "~/.codex/codex-server/bin".to_owned(),
        warning: Some("it needs a C library".to_owned()),
    };
    let mut desk = Desk::new(Start {
        connect: vec![HostId::from("bare")],
        offer: Some(offer),
        ..start(&["bare", "other"])
    });
    desk.status("bare", failed(FailureKind::NotInstalled));
    desk.keys("<F2>");
    desk
}

fn installs(desk: &Desk) -> usize {
    let is_it = |it: &&Effect| matches!(it, Effect::Install(id) if *id == HostId::from("bare"));
    desk.effects.iter().filter(is_it).count()
}

#[test]
fn a_host_without_codex_is_offered_ours_and_the_user_is_asked_first() {
    let mut desk = bare();
    desk.shows("`i` installs our app-server there (18.7 MB)");
    desk.keys("i");
    for text in [
        "install on bare: 18.7 MB into ~/.codex/codex-server/bin?",
        "a C library",
    ] {
        desk.shows(text);
    }
    assert_eq!(installs(&desk), 0, "nothing happens without a yes");
    desk.keys("i");
    assert_eq!(installs(&desk), 1);
    desk.hides("install on bare");
}

#[test]
fn every_other_key_takes_the_question_back() {
    for key in ["<Esc>", "<Down><Up>", "e"] {
        let mut desk = bare();
        desk.keys("i");
        desk.keys(key);
        desk.hides("install on bare");
        assert!(desk.app.picker.is_open, "{key}");
        desk.keys("i");
        assert_eq!(installs(&desk), 0, "{key}: the question comes again first");
    }
}

#[test]
fn what_an_installation_would_not_mend_is_not_offered_one() {
    let mut desk = bare();
    for status in [failed(FailureKind::Unreachable), Status::Offline] {
        desk.status("bare", status);
        desk.hides("installs our app-server");
        desk.keys("ii");
        assert_eq!(installs(&desk), 0);
    }
    let mut desk = Desk::connecting(&["bare"]);
    desk.status("bare", failed(FailureKind::NotInstalled));
    desk.keys("<F2>");
    desk.hides("installs our app-server");
    desk.keys("ii");
    assert_eq!(installs(&desk), 0, "there is nothing to install");
}

#[test]
fn the_row_of_the_host_shows_how_far_it_is() {
    let mut desk = bare();
    desk.keys("ii");
    let working = Status::Working {
        phase: Phase::Launching,
        since: desk.now,
        retry: 0,
        asking: false,
    };
    desk.status("bare", working);
    let at = |sent| Installing::Sent {
        sent,
        total: 20_000_000,
    };
    let begun = Installing::Begun {
        there: 5_000_000,
        total: 20_000_000,
    };
    desk.feed(Event::Installing("bare".into(), begun));
    desk.shows("installing 25 %");
    desk.pass(std::time::Duration::from_secs(2));
    desk.feed(Event::Installing("bare".into(), at(15_000_000)));
    desk.shows("installing 75 %, 5.0 MB/s");
    desk.feed(Event::Installing("bare".into(), Installing::Installed));
    desk.hides("installing");
    desk.feed(Event::Installing("bare".into(), begun));
    desk.status("bare", failed(FailureKind::NotInstalled));
    desk.hides("installing");
}
