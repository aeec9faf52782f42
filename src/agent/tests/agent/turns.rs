//! Turns that go well, or end because the user wants it.

use std::sync::atomic::{AtomicUsize, Ordering};

use codex_agent::RawItem;
use codex_agent::model::wire;
use codex_agent::ports::CallId;
use codex_agent::run::{Command, TurnOutput};
use codex_agent::turn::{Answer, Record, Setup, TurnEvent};
use codex_protocol::v2::{ApprovalDecision, CommandExecutionStatus, ThreadItem, TurnStatus, UserInput};
use codex_testkit::{Model, Reply, Step};
use serde_json::json;

use crate::stage::{Stage, said, setup};

fn is_delta(event: &TurnEvent) -> bool {
    matches!(event, TurnEvent::TextDelta { .. })
}

#[tokio::test]
async fn a_streamed_answer_arrives_in_pieces_and_whole() {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), "reason One | Two\nstream 40");
    assert_eq!(stage.end().await, (TurnStatus::Completed, None));
    let whole: String = (0..40).map(|number| format!("word{number} ")).collect();
    assert_eq!(stage.messages(), [whole]);
    assert_eq!(stage.told.iter().filter(|event| is_delta(event)).count(), 40);
    let summary = stage.items().find_map(|item| match item {
        ThreadItem::Reasoning(it) => Some(it.summary.clone()),
        _ => None,
    });
    assert_eq!(summary.unwrap(), ["One", "Two"]);
    let usage = stage.told.iter().find_map(|event| match event {
        TurnEvent::TokenUsage { usage } => Some(usage.total.total_tokens),
        _ => None,
    });
    assert_eq!(usage, Some(120));
    let body = &model.requests()[0].body;
    assert_eq!(
        (&body["store"], &body["prompt_cache_key"], &body["model"]),
        (&json!(false), &json!("thread-1"), &json!("scripted"))
    );
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
}

#[tokio::test]
async fn calls_of_one_answer_run_at_the_same_time() {
    let model = Model::with_script(|request| match request.outputs().as_slice() {
        // Each of the two waits for the other: one after the other would never end.
        [] => Reply::Stream(vec![Step::run("meet"), Step::run("meet")]),
        outputs => Reply::Stream(vec![Step::say(&outputs.join("+"))]),
    });
    let mut stage = Stage::at(model.port(), "go");
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    assert_eq!(stage.messages(), ["ran meet+ran meet"]);
    assert_eq!(
        stage
            .items()
            .filter(|item| matches!(item, ThreadItem::CommandExecution(_)))
            .count(),
        2
    );
}

#[tokio::test]
async fn a_patch_is_applied_and_a_wrong_one_is_explained() {
    let model = Model::start();
    let mut stage = Stage::at(
        model.port(),
        "patch a.txt one\nreplace a.txt one => two\nreplace a.txt nothing => x\noutputs",
    );
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    assert_eq!(
        std::fs::read_to_string(stage.folder().join("a.txt")).unwrap(),
        "two\n"
    );
    assert!(
        stage.messages()[0].contains("has no such lines"),
        "{:?}",
        stage.messages()
    );
    let diffs: Vec<_> = stage
        .told
        .iter()
        .filter_map(|event| match event {
            TurnEvent::DiffUpdated { diff } => Some(diff),
            _ => None,
        })
        .collect();
    assert_eq!(diffs.len(), 2);
    assert!(diffs[1].ends_with("@@ -0,0 +1 @@\n+two\n"), "{}", diffs[1]);
}

#[tokio::test]
async fn a_question_waits_for_its_answer_and_the_plan_is_told() {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), "plan a | b\nescalate make\noutputs");
    let mut asked = None;
    let found = stage.until("a question", |output| match output {
        TurnOutput::Ask(call, question) => {
            asked = Some((call.clone(), question.clone()));
            true
        }
        _ => false,
    });
    assert!(found.await);
    let (call, _) = asked.unwrap();
    let answer = Answer::Decision(ApprovalDecision::Accept);
    stage
        .commands
        .send(Command::Decide { call, answer })
        .await
        .unwrap();
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    assert_eq!(stage.messages(), ["The plan was updated.\nran make"]);
    assert!(
        stage
            .told
            .iter()
            .any(|event| matches!(event, TurnEvent::PlanUpdated { plan, .. } if plan.len() == 2))
    );
}

#[tokio::test]
async fn an_interrupt_ends_a_stream_that_would_go_on_for_ever() {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), "hold for-ever");
    stage
        .until_told(
            "two pieces",
            |event| matches!(event, TurnEvent::TextDelta { delta, .. } if delta == "for-ever"),
        )
        .await;
    stage.commands.send(Command::Interrupt).await.unwrap();
    assert_eq!(stage.end().await, (TurnStatus::Interrupted, None));
    assert_eq!(stage.messages(), ["holding for-ever"]);
    assert!(format!("{:?}", stage.records).contains("turn_aborted"));
}

#[tokio::test]
async fn cancelling_stops_a_running_command_and_tells_what_it_said() {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), "run stay");
    stage
        .until_told("its output", |event| {
            matches!(event, TurnEvent::OutputDelta { .. })
        })
        .await;
    stage.cancel.cancel();
    assert_eq!(stage.end().await.0, TurnStatus::Interrupted);
    let command = stage.items().find_map(|item| match item {
        ThreadItem::CommandExecution(it) => Some(it.clone()),
        _ => None,
    });
    let command = command.unwrap();
    assert_eq!(
        (command.status, command.aggregated_output.as_deref()),
        (CommandExecutionStatus::Failed, Some("stayed"))
    );
}

#[tokio::test]
async fn steering_keeps_what_was_said_and_goes_on_in_the_same_turn() {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), "hold for-ever");
    stage
        .until_told(
            "two pieces",
            |event| matches!(event, TurnEvent::TextDelta { delta, .. } if delta == "for-ever"),
        )
        .await;
    let steer = Command::Steer {
        said: said("say steered"),
        number: 7,
    };
    stage.commands.send(steer).await.unwrap();
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    let told = stage.told.iter().position(
        |it| matches!(it, TurnEvent::ItemStarted { item: ThreadItem::UserMessage(it), .. } if it.id.0.ends_with("steered")),
    );
    let [(7, Ok(()), before)] = stage.steered[..] else {
        panic!("{:?}", stage.steered)
    };
    assert!(told.is_some_and(|at| before <= at), "{before} {told:?}");
    assert_eq!(stage.messages(), ["holding for-ever", "steered"]);
    let second = model.requests()[1].body["input"].to_string();
    assert!(
        second.contains("holding for-ever") && second.contains("say steered"),
        "{second}"
    );
}

#[tokio::test]
async fn a_tool_that_breaks_down_breaks_nothing_else() {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), "run panic\noutputs");
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    assert!(stage.messages()[0].contains("a defect"), "{:?}", stage.messages());
}

#[tokio::test]
async fn a_command_waits_until_its_item_is_on_disk() {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), "run ls");
    let flushed = stage
        .until("a flush", |output| matches!(output, TurnOutput::Flush(_)))
        .await;
    assert!(flushed, "nobody was asked to write: {:?}", stage.records);
    let started = |record: &Record| {
        matches!(
            record,
            Record::Event(TurnEvent::ItemStarted {
                item: ThreadItem::CommandExecution(_),
                ..
            })
        )
    };
    assert!(stage.records.iter().any(started));
    assert!(
        !stage
            .told
            .iter()
            .any(|event| matches!(event, TurnEvent::OutputDelta { .. }))
    );
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
}

#[tokio::test]
async fn a_call_that_does_not_listen_is_dropped_after_its_grace() {
    let model = Model::start();
    let mut stage = Stage::at(model.port(), "run deaf");
    stage
        .until_told("the command", |event| {
            matches!(
                event,
                TurnEvent::ItemStarted {
                    item: ThreadItem::CommandExecution(_),
                    ..
                }
            )
        })
        .await;
    let start = std::time::Instant::now();
    stage.commands.send(Command::Interrupt).await.unwrap();
    assert_eq!(stage.end().await.0, TurnStatus::Interrupted);
    assert!(start.elapsed() >= codex_agent::run::STOP_GRACE);
    let failed = |item: &ThreadItem| matches!(item, ThreadItem::CommandExecution(it) if it.status == CommandExecutionStatus::Failed);
    assert!(stage.items().any(failed));
}

#[tokio::test]
async fn a_full_conversation_is_summarised_and_goes_on() {
    let asked = AtomicUsize::new(0);
    let model = Model::with_script(move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Stream(vec![Step::run("ls")]),
        1 => {
            assert!(request.user_text().contains("replaced by a summary"));
            assert_eq!(request.body["tools"], json!([]));
            Reply::Stream(vec![Step::say("what was done")])
        }
        _ => Reply::Stream(vec![Step::say("went on")]),
    });
    let mut small = setup();
    small.model.context_window = Some(130);
    let mut stage = Stage::with(crate::stage::provider(model.port()), small, "the task");
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    assert_eq!(stage.messages(), ["went on"]);
    let last = model.requests()[2].body["input"].to_string();
    assert!(
        last.contains("the task") && last.contains("what was done") && !last.contains("function_call"),
        "{last}"
    );
    assert!(
        stage
            .items()
            .any(|item| matches!(item, ThreadItem::ContextCompaction(_)))
    );
}

#[tokio::test]
async fn words_for_a_turn_that_is_over_are_refused() {
    let model = Model::start();
    let mut stage = Stage::with(
        crate::stage::provider(model.port()),
        Setup { ..setup() },
        "say hi",
    );
    stage.end().await;
    let late = Command::Steer {
        said: said("late"),
        number: 1,
    };
    assert!(stage.commands.send(late).await.is_err());
    let unknown = Command::Decide {
        call: CallId("x".into()),
        answer: Answer::Failed(String::new()),
    };
    assert!(stage.commands.send(unknown).await.is_err());
}

#[tokio::test]
async fn a_question_that_outlived_its_process_is_asked_again_and_the_turn_goes_on() {
    let model = Model::start();
    let call = json!({"type": "function_call", "call_id": "c1", "name": "exec_command",
        "arguments": json!({"cmd": "touch x", "sandbox_permissions": "require_escalated"}).to_string()});
    let lost = json!({"type": "function_call", "call_id": "c0", "name": "exec_command",
        "arguments": json!({"cmd": "ran before"}).to_string()});
    let history = [wire::user_message(&[UserInput::text("say done")], |_| {
        Err(std::io::ErrorKind::NotFound.into())
    })]
    .into_iter()
    .chain([lost, call].map(RawItem::new))
    .collect();
    let setup = Setup {
        history,
        reopened: vec![CallId("c1".into())],
        ..setup()
    };
    let provider = crate::stage::provider(model.port());
    let mut stage = Stage::reopened(provider, setup);
    stage
        .until(
            "the question",
            |it| matches!(it, TurnOutput::Ask(id, _) if id.0 == "c1"),
        )
        .await;
    assert!(
        !stage
            .told
            .iter()
            .any(|it| matches!(it, TurnEvent::Started { .. }))
    );
    let accept = Command::Decide {
        call: CallId("c1".into()),
        answer: Answer::Decision(ApprovalDecision::Accept),
    };
    stage.commands.send(accept).await.unwrap();
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    let asked = model.requests()[0].body["input"].to_string();
    assert!(
        asked.contains("ran touch x") && !asked.contains("ran ran before"),
        "{asked}"
    );
}
