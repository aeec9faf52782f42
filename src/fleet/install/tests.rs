//! The conversation with a host that answers by script, without waiting for any clock.

use codex_hosts::HostConnection;
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    sync::mpsc,
    time::sleep,
};

use super::*;

/// A program that runs where the host of [`Far`] says, and the order to put it there.
fn order() -> (Arc<Program>, Install) {
    let program = Arc::new(Program::read(&std::env::current_exe().unwrap()).unwrap());
    let order = Install::Put {
        program: Arc::clone(&program),
        then_connect: true,
    };
    (program, order)
}

/// The host's end.
struct Far(DuplexStream);

impl Far {
    async fn say(&mut self, line: &str) {
        let line = format!("noise\n\x1ecodex-n\t{line}\n");
        self.0.write_all(line.as_bytes()).await.unwrap();
    }

    async fn hears(&mut self, word: &str) {
        let mut text = vec![0; word.len()];
        self.0.read_exact(&mut text).await.unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), word);
    }

    /// Everything up to the end.
    async fn takes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).await.unwrap();
        bytes
    }
}

/// Carries the order out against a host that does this: how it ended, what was told, how often the clock of the
/// phase started again.
async fn against(
    order: &Install,
    far: impl AsyncFnOnce(Far),
) -> (Result<Outcome, Failure>, Vec<InstallEvent>, usize) {
    against_again(order, u32::MAX, far).await
}

/// The same where it is the try of this number.
async fn against_again(
    order: &Install,
    attempt: u32,
    far: impl AsyncFnOnce(Far),
) -> (Result<Outcome, Failure>, Vec<InstallEvent>, usize) {
    let (near, end) = duplex(1 << 20);
    let (reports, mut told) = mpsc::channel(1 << 16);
    let reporter = Reporter::new(HostConnection::new(limits::POLICY).attempt(), reports);
    let id = HostId::from("box");
    let dialog = Dialog::new(&id, near, Witness::Embedded, "n".to_owned(), &reporter);
    let (outcome, ()) = tokio::join!(dialog.carry_out(order, attempt), far(Far(end)));
    let (mut events, mut starts) = (Vec::new(), 0);
    while let Ok((_, report)) = told.try_recv() {
        match report {
            FromAttempt::Install(event) => events.push(event),
            FromAttempt::Report(Report::Entered(Phase::Launching)) => starts += 1,
            FromAttempt::Notice(text) if text.contains("waiting for it") => (),
            _ => panic!("something else was told"),
        }
    }
    (outcome, events, starts)
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_is_waited_for_and_the_phase_goes_on() {
    let (program, order) = order();
    let (outcome, events, starts) = against(&order, async |mut far| {
        far.say(&format!("host\t{}\t/home/dev", program.system())).await;
        far.hears("go\n").await;
        far.say("place\t/p\tn\t0\t-\t").await;
        far.hears("put 0\n").await;
        assert!(far.takes().await == program.bytes);
        // What the window held needs so long.
        sleep(Duration::from_secs(500)).await;
        far.say("done\tcodex 1\t/p/codex\t1").await;
    })
    .await;
    assert!(matches!(outcome, Ok(Outcome::Done)));
    let total = program.length();
    assert!(events.contains(&InstallEvent::Sent { sent: total, total }));
    assert!(matches!(
        events.last(),
        Some(InstallEvent::Installed(it)) if it.sent == total && it.removed == 1 && it.path == "/p/codex"
    ));
    let periods = 500 / usize::try_from(limits::POLICY.phase_patience.as_secs()).unwrap();
    assert!(periods < starts, "the phase would have been cut off: {starts}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_takes_a_little_now_and_then_is_not_given_up() {
    let (program, order) = order();
    let (outcome, events, _) = against(&order, async |mut far| {
        far.say(&format!("host\t{}\t/", program.system())).await;
        far.hears("go\n").await;
        far.say("place\t/p\tn\t0\t-\t").await;
        far.hears("put 0\n").await;
        // OpenSSH's server over a link of 4 kB/s.
        let mut taken = vec![0; 96 << 10];
        for _ in 0..20 {
            sleep(Duration::from_secs(24)).await;
            far.0.read_exact(&mut taken).await.unwrap();
        }
        assert!(far.takes().await.len() + 20 * taken.len() == program.bytes.len());
        far.say("done\tcodex 1\t/p/codex\t0").await;
    })
    .await;
    assert!(matches!(outcome, Ok(Outcome::Done)));
    let told = |it: &&InstallEvent| matches!(it, InstallEvent::Sent { .. });
    let told = events.iter().filter(told).count();
    assert!(20 <= told, "{told}");
}

#[tokio::test(start_paused = true)]
async fn only_the_rest_is_sent_behind_a_part_with_the_right_hash() {
    let (program, order) = order();
    let hash = program.sha256_of_first(1000).unwrap();
    for (length, hash, from) in [
        (1000, hash.as_str(), 1000),
        (1001, hash.as_str(), 0),
        (1000, "-", 0),
        (u64::MAX, hash.as_str(), 0),
        (0, hash.as_str(), 0),
    ] {
        let (outcome, _, _) = against(&order, async |mut far| {
            far.say(&format!("host\t{}\t/", program.system())).await;
            far.hears("go\n").await;
            far.say(&format!("place\t/p\tn\t{length}\t{hash}\t")).await;
            far.hears(&format!("put {from}\n")).await;
            assert!(far.takes().await == program.bytes[from..]);
            far.say("done\tcodex 1\t/p/codex\t0").await;
        })
        .await;
        assert!(matches!(outcome, Ok(Outcome::Done)), "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_system_hears_no_word_of_ours() {
    let (_, order) = order();
    let (outcome, events, _) = against(&order, async |mut far| {
        far.say("host\tPlan9 mips\t/usr/glenda").await;
        assert!(far.takes().await.is_empty());
    })
    .await;
    let failure = outcome.err().unwrap();
    assert_eq!(failure.kind, FailureKind::NotInstalled);
    assert!(failure.message.contains("Plan9 mips"), "{failure}");
    assert_eq!(
        failure.hint.as_deref(),
        Some("our server runs on Linux and macOS only")
    );
    assert!(events.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_ends_early_or_is_silent_or_garbles_is_a_failure() {
    let (program, order) = order();
    let (outcome, ..) = against(&order, async |far| drop(far)).await;
    assert_eq!(outcome.err().unwrap().kind, FailureKind::LaunchFailed);
    let (outcome, ..) = against(&order, async |far| {
        sleep(Duration::from_secs(3600)).await;
        drop(far);
    })
    .await;
    assert!(outcome.err().unwrap().message.contains("said nothing"));
    for line in ["", "place", "odd\tx\ty"] {
        let (outcome, ..) = against(&order, async |mut far| {
            far.say(&format!("host\t{}\t/", program.system())).await;
            far.say(line).await;
            // Whatever is made of it, nobody panics and it ends.
            drop(far);
        })
        .await;
        assert!(outcome.is_err(), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_upload_is_waited_for_within_a_limit() {
    let (program, order) = order();
    for (minutes, has_ended) in [(50, true), (70, false)] {
        let (outcome, _, starts) = against(&order, async |mut far| {
            far.say(&format!("host\t{}\t/", program.system())).await;
            far.hears("go\n").await;
            for _ in 0..minutes * 2 {
                if far.0.write_all(b"\x1ecodex-n\tbusy\n").await.is_err() {
                    return;
                }
                sleep(Duration::from_secs(30)).await;
            }
            far.say("place\t/p\ty\t0\t-\t").await;
            if has_ended {
                far.hears("use\n").await;
                far.say("done\tcodex 1\t/p/codex\t0").await;
            }
        })
        .await;
        assert!(minutes < starts, "the phase would have been cut off: {starts}");
        match outcome {
            Ok(outcome) => assert!(outcome == Outcome::Done && has_ended),
            Err(failure) => assert!(
                !has_ended && failure.message.contains("another upload"),
                "{failure}"
            ),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_over_or_arrives_changed_is_tried_again_within_limits() {
    let (program, order) = order();
    for (word, tries) in [
        ("taken", TAKEN_TRIES_MAX),
        ("corrupt\tx", TRIES_MAX),
        ("short\t1", 1),
    ] {
        for attempt in 1..=tries {
            let (outcome, ..) = against_again(&order, attempt, async |mut far| {
                far.say(&format!("host\t{}\t/", program.system())).await;
                far.hears("go\n").await;
                far.say("place\t/p\tn\t0\t-\t").await;
                far.takes().await;
                far.say(word).await;
            })
            .await;
            let again = matches!(outcome, Ok(Outcome::Again));
            assert_eq!(again, attempt < tries, "{word}: {attempt}");
        }
    }
}
