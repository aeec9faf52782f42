//! Turns that compact the conversation, and reviews.

use super::*;

#[test]
fn a_full_conversation_is_compacted_before_the_next_question() {
    let mut play = Play::regular();
    play.model(exec("a", "ls"));
    play.model(completed(950));
    play.send(TurnInput::Prepared(call("a"), prepared_command()));
    let compacting = play.send(TurnInput::Tool(call("a"), ended(0)));
    assert_eq!(
        compacting,
        "-commandExecution=completed, +contextCompaction, summarise"
    );
    assert_eq!(
        play.send(TurnInput::Steer(said("meanwhile"))),
        "+userMessage, -userMessage"
    );
    assert_eq!(play.model(delta("the sum")), "");
    assert_eq!(play.model(completed(960)), "-contextCompaction, sample");
    let input = play.last_input();
    assert!(
        input.contains("the sum") && input.contains("go") && !input.contains("function_call"),
        "{input}"
    );
    assert!(input.find("the sum").unwrap() < input.find("meanwhile").unwrap());
    assert_eq!(
        play.model(completed(950)),
        "completed",
        "a whole answer ends the turn, whatever it cost"
    );
}

#[test]
fn a_conversation_that_does_not_fit_is_compacted_once() {
    let full = || ModelError::fatal(ErrorClass::ContextWindowExceeded, "full");
    let mut play = Play::regular();
    assert_eq!(play.fail(full()), "+contextCompaction, summarise");
    assert_eq!(play.fail(full()), "summarise", "with less of it");
    play.model(delta("sum"));
    assert_eq!(play.model(completed(1)), "-contextCompaction, sample");
    assert_eq!(play.fail(full()), "stop sampling, error retry=false, failed");
}

#[test]
fn a_compaction_by_hand_is_a_turn_of_its_own() {
    let mut play = Play::new(Setup {
        history: vec![wire::message("user", "old")],
        ..setup(TurnKind::Compact)
    });
    assert_eq!(play.log.join(", "), "started, +contextCompaction, summarise");
    assert_eq!(play.turn.steerable(), Err(NotSteerable::Compact));
    play.model(message("sum"));
    assert_eq!(play.model(completed(1)), "-contextCompaction, completed");
    assert!(
        play.actions
            .iter()
            .any(|it| matches!(it, TurnAction::Record(Record::Compacted(history)) if history.len() == 2))
    );
    let mut play = Play::new(setup(TurnKind::Compact));
    assert_eq!(
        play.model(completed(1)),
        "-contextCompaction, error retry=false, failed",
        "no summary"
    );
    let mut play = Play::new(setup(TurnKind::Compact));
    assert_eq!(
        play.send(TurnInput::Interrupt),
        "stop sampling, -contextCompaction, interrupted"
    );
}

#[test]
fn a_review_is_framed_however_it_ends() {
    let review = || {
        Play::new(setup(TurnKind::Review {
            subject: "current changes".into(),
        }))
    };
    let mut play = review();
    assert_eq!(
        play.log.join(", "),
        "started, +enteredReviewMode, -enteredReviewMode, +userMessage, -userMessage, sample"
    );
    play.model(message("fine"));
    assert_eq!(
        play.model(completed(1)),
        "+exitedReviewMode, -exitedReviewMode=fine, completed"
    );
    let ended = review().send(TurnInput::Interrupt);
    assert!(
        ended.contains("-exitedReviewMode=The review ended") && ended.ends_with("interrupted"),
        "{ended}"
    );
}
