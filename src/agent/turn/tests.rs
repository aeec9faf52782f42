//! Turns in every order of events, and the cases that matter one by one.

mod compaction;
mod properties;

use codex_protocol::v2::{ApprovalDecision, CommandExecutionStatus, UserInput};
use serde_json::json;

use super::*;
use crate::approval::CommandClass;
use crate::model::{ErrorClass, Usage};
use crate::ports::{
    CommandResult, FileContent, PatchResult, PreparedCommand, PreparedPatch, ToolOutput, ToolResult,
};
use crate::tools::{PatchTool, built_in};

pub(super) fn setup(kind: TurnKind) -> Setup {
    Setup {
        thread_id: "thread".into(),
        turn_id: "turn".into(),
        kind,
        model: ModelSettings {
            name: "m".into(),
            effort: None,
            summary: None,
            output_schema: None,
            context_window: Some(1000),
            compact_at: None,
        },
        instructions: "be good".into(),
        tools: built_in(PatchTool::Freeform).into(),
        history: Vec::new(),
        policy: ApprovalPolicy::OnRequest,
        containment: Containment::Sandboxed,
        grants: Grants::default(),
        usage: ThreadTokenUsage::default(),
        stream_max_retries: 2,
        reopened: Vec::new(),
    }
}

pub(super) fn said(text: &str) -> Said {
    let message = UserMessage {
        id: format!("u-{text}").as_str().into(),
        client_id: None,
        content: vec![UserInput::text(text)],
    };
    Said {
        message,
        raw: wire::message("user", text),
    }
}

pub(super) fn exec(id: &str, command: &str) -> ModelEvent {
    let arguments = json!({"cmd": command, "sandbox_permissions": if command.starts_with('!') { "require_escalated" } else { "use_default" }});
    ModelEvent::ItemDone(RawItem::new(
        json!({"type": "function_call", "call_id": id, "name": "exec_command", "arguments": arguments.to_string()}),
    ))
}

pub(super) fn patch(id: &str) -> ModelEvent {
    ModelEvent::ItemDone(RawItem::new(
        json!({"type": "custom_tool_call", "call_id": id, "name": "apply_patch", "input": "p"}),
    ))
}

pub(super) fn message(text: &str) -> ModelEvent {
    ModelEvent::ItemDone(wire::assistant_message(text))
}

pub(super) fn completed(total: i64) -> ModelEvent {
    ModelEvent::Completed {
        usage: Some(Usage {
            total,
            ..Usage::default()
        }),
    }
}

pub(super) fn delta(text: &str) -> ModelEvent {
    ModelEvent::TextDelta {
        id: Some("msg".into()),
        delta: text.into(),
    }
}

pub(super) fn prepared_command() -> Prepared {
    Prepared::Command(PreparedCommand {
        command: "sh -c 'x'".into(),
        words: vec!["x".into(), "y".into()],
        cwd: "/w".into(),
        actions: Vec::new(),
        class: CommandClass::Unknown,
    })
}

pub(super) fn prepared_patch(writable: bool) -> Prepared {
    Prepared::Patch(PreparedPatch {
        changes: Vec::new(),
        writable,
    })
}

pub(super) fn ended(code: i32) -> ToolOutcome {
    let result = CommandResult {
        exit_code: Some(code),
        output: Some("out".into()),
        ..CommandResult::default()
    };
    ToolOutcome {
        output: ToolOutput::Text("out".into()),
        result: ToolResult::Command(result),
    }
}

/// A turn and everything it did, in words.
struct Play {
    turn: Turn,
    log: Vec<String>,
    actions: Vec<TurnAction>,
}

impl Play {
    fn new(setup: Setup) -> Play {
        let mut play = Play {
            turn: Turn::new(setup),
            log: Vec::new(),
            actions: Vec::new(),
        };
        let words = if matches!(play.turn.setup.kind, TurnKind::Compact) {
            Vec::new()
        } else {
            vec![said("go")]
        };
        play.send(TurnInput::Begin(words));
        play
    }

    fn regular() -> Play {
        Play::new(setup(TurnKind::Regular))
    }

    /// Sends an input and returns what it caused, in words.
    fn send(&mut self, input: TurnInput) -> String {
        let before = self.log.len();
        self.turn.handle(1, input);
        while let Some(action) = self.turn.poll_action() {
            self.log.extend(words(&action));
            self.actions.push(action);
        }
        self.log[before..].join(", ")
    }

    fn model(&mut self, event: ModelEvent) -> String {
        self.send(TurnInput::Model(Ok(event)))
    }

    fn fail(&mut self, error: ModelError) -> String {
        self.send(TurnInput::Model(Err(error)))
    }

    fn decide(&mut self, id: &str, decision: ApprovalDecision) -> String {
        self.send(TurnInput::Decision(call(id), Answer::Decision(decision)))
    }

    fn last_prompt(&self) -> &Prompt {
        let prompt = |action: &TurnAction| matches!(action, TurnAction::Sample(..));
        match &self.actions[self.actions.iter().rposition(prompt).unwrap()] {
            TurnAction::Sample(prompt, _) => prompt,
            _ => unreachable!(),
        }
    }

    fn last_input(&self) -> String {
        serde_json::to_string(&self.last_prompt().input).unwrap()
    }
}

fn call(id: &str) -> CallId {
    CallId(id.to_owned())
}

fn words(action: &TurnAction) -> Option<String> {
    Some(match action {
        TurnAction::Record(Record::Grant(_)) => "grant".into(),
        TurnAction::Record(_) => return None,
        TurnAction::Sample(prompt, None) if prompt.tools.is_empty() => "summarise".into(),
        TurnAction::Sample(_, None) => "sample".into(),
        TurnAction::Sample(_, Some(retry)) => format!("sample again {}", retry.number),
        TurnAction::StopSampling => "stop sampling".into(),
        TurnAction::Prepare(call) => format!("prepare {}", call.id.0),
        TurnAction::Run(call, permission) => format!("run {} {permission:?}", call.id.0),
        TurnAction::Stop(call) => format!("stop {}", call.0),
        TurnAction::Ask(call, _) => format!("ask {}", call.0),
        TurnAction::Withdraw(call) => format!("withdraw {}", call.0),
        TurnAction::Emit(event) => match event {
            TurnEvent::Started { .. } => "started".into(),
            TurnEvent::ItemStarted { item, .. } => format!("+{}", item.tag()),
            TurnEvent::ItemCompleted { item, .. } => format!("-{}{}", item.tag(), end(item)),
            TurnEvent::TokenUsage { .. } => return None,
            TurnEvent::Error { will_retry, .. } => format!("error retry={will_retry}"),
            TurnEvent::Completed { status, .. } => status.as_str().to_owned(),
            TurnEvent::PlanUpdated { .. } => "plan".into(),
            TurnEvent::DiffUpdated { .. } => "diff".into(),
            TurnEvent::TerminalInteraction { .. } => "typed".into(),
            TurnEvent::OutputDelta { delta, .. } | TurnEvent::TextDelta { delta, .. } => format!("{delta:?}"),
            TurnEvent::SummaryPart { index, .. } => format!("part {index}"),
            TurnEvent::SummaryDelta { delta, .. } | TurnEvent::ReasoningDelta { delta, .. } => {
                format!("({delta})")
            }
        },
    })
}

fn end(item: &ThreadItem) -> String {
    match item {
        ThreadItem::AgentMessage(it) => format!("={}", it.text),
        ThreadItem::CommandExecution(it) => format!("={}", it.status.as_str()),
        ThreadItem::FileChange(it) => format!("={}", it.status.as_str()),
        ThreadItem::ExitedReviewMode(it) => format!("={}", it.review),
        _ => String::new(),
    }
}

#[test]
fn an_answer_is_told_as_it_comes_and_ends_the_turn() {
    let mut play = Play::regular();
    assert_eq!(play.log.join(", "), "started, +userMessage, -userMessage, sample");
    assert_eq!(
        play.model(ModelEvent::ReasoningStarted { id: None }),
        "+reasoning"
    );
    let part = ModelEvent::SummaryDelta {
        id: None,
        index: 1,
        delta: "hm".into(),
    };
    assert_eq!(play.model(part), "part 0, part 1, (hm)");
    assert_eq!(
        play.model(ModelEvent::MessageStarted {
            id: Some("msg".into()),
            phase: None
        }),
        "+agentMessage"
    );
    assert_eq!(play.model(delta("he")), "\"he\"");
    assert_eq!(play.model(message("hello")), "-agentMessage=hello");
    assert_eq!(play.model(completed(10)), "-reasoning, completed");
    assert!(play.turn.is_done() && play.turn.poll_action().is_none());
}

#[test]
fn calls_run_side_by_side_and_patches_alone() {
    let mut play = Play::regular();
    assert_eq!(play.model(exec("a", "ls")), "prepare a");
    assert_eq!(play.model(patch("p")), "");
    assert_eq!(play.model(exec("b", "ls")), "");
    assert_eq!(
        play.send(TurnInput::Prepared(call("a"), prepared_command())),
        "+commandExecution, run a Sandboxed"
    );
    let update = ToolUpdate::Output("some".into());
    assert_eq!(play.send(TurnInput::Update(call("a"), update)), "\"some\"");
    assert_eq!(
        play.send(TurnInput::Tool(call("a"), ended(0))),
        "-commandExecution=completed, prepare p"
    );
    assert_eq!(play.model(completed(10)), "");
    assert_eq!(
        play.send(TurnInput::Prepared(call("p"), prepared_patch(true))),
        "+fileChange, run p Sandboxed"
    );
    let file = FileContent {
        path: "/f".into(),
        before: None,
        after: Some("x\n".into()),
    };
    let result = ToolResult::Patch(PatchResult::Applied(vec![file]));
    let applied = ToolOutcome {
        output: ToolOutput::Text("ok".into()),
        result,
    };
    assert_eq!(
        play.send(TurnInput::Tool(call("p"), applied)),
        "-fileChange=completed, diff, prepare b"
    );
    let refused = Prepared::Refused("no".into());
    assert_eq!(play.send(TurnInput::Prepared(call("b"), refused)), "sample");
    assert!(play.last_input().contains("custom_tool_call_output"));
    assert_eq!(play.model(completed(10)), "completed");
}

#[test]
fn a_question_is_answered_in_every_way() {
    let ask = || {
        let mut play = Play::regular();
        play.model(exec("a", "!rm x"));
        play.model(completed(10));
        assert_eq!(
            play.send(TurnInput::Prepared(call("a"), prepared_command())),
            "+commandExecution, ask a"
        );
        play
    };
    assert_eq!(ask().decide("a", ApprovalDecision::Accept), "run a Unsandboxed");
    assert_eq!(
        ask().decide("a", ApprovalDecision::Decline),
        "-commandExecution=declined, sample"
    );
    assert_eq!(
        ask().decide("a", ApprovalDecision::Cancel),
        "-commandExecution=declined, interrupted"
    );
    let failed = TurnInput::Decision(call("a"), Answer::Failed("no".into()));
    assert_eq!(ask().send(failed), "-commandExecution=failed, sample");
    assert_eq!(
        ask().send(TurnInput::Interrupt),
        "withdraw a, -commandExecution=declined, interrupted"
    );
    let mut play = ask();
    assert_eq!(
        play.decide("a", ApprovalDecision::AcceptForSession),
        "grant, run a Unsandboxed"
    );
    play.send(TurnInput::Tool(call("a"), ended(1)));
    play.model(exec("a", "!rm x"));
    let again = play.send(TurnInput::Prepared(call("a-2"), prepared_command()));
    assert_eq!(
        again, "+commandExecution, run a-2 Unsandboxed",
        "neither asked again nor confused by the same id"
    );
    let prefix = ApprovalDecision::AcceptWithExecpolicyAmendment {
        execpolicy_amendment: vec!["x".into()],
    };
    assert_eq!(ask().decide("a", prefix), "grant, run a Unsandboxed");
}

#[test]
fn an_interrupt_waits_for_what_runs_and_keeps_what_was_said() {
    let mut play = Play::regular();
    play.model(exec("a", "sleep"));
    play.send(TurnInput::Prepared(call("a"), prepared_command()));
    play.model(delta("half"));
    assert_eq!(
        play.send(TurnInput::Interrupt),
        "stop sampling, -agentMessage=half, stop a"
    );
    assert_eq!(play.turn.steerable(), Err(NotSteerable::Ending));
    assert_eq!(play.model(delta("late")), "");
    assert_eq!(play.send(TurnInput::Interrupt), "");
    assert_eq!(
        play.send(TurnInput::Tool(call("a"), ended(1))),
        "-commandExecution=failed, interrupted"
    );
    let history = serde_json::to_string(play.turn.history()).unwrap();
    assert!(
        history.contains("half")
            && history.contains("function_call_output")
            && history.contains("turn_aborted")
    );
}

#[test]
fn an_interrupt_right_after_the_start_is_never_lost() {
    let mut play = Play::regular();
    assert_eq!(play.send(TurnInput::Interrupt), "stop sampling, interrupted");
}

#[test]
fn steering_keeps_the_half_message_and_asks_again() {
    let mut play = Play::regular();
    play.model(delta("half"));
    let steered = play.send(TurnInput::Steer(said("more")));
    assert_eq!(
        steered,
        "stop sampling, -agentMessage=half, +userMessage, -userMessage, sample"
    );
    let input = play.last_input();
    assert!(input.find("half").unwrap() < input.find("more").unwrap());
    play.model(exec("a", "ls"));
    assert_eq!(
        play.send(TurnInput::Steer(said("wait"))),
        "stop sampling, +userMessage, -userMessage"
    );
    play.send(TurnInput::Prepared(call("a"), prepared_command()));
    assert_eq!(
        play.send(TurnInput::Tool(call("a"), ended(0))),
        "-commandExecution=completed, sample"
    );
    let input = play.last_input();
    assert!(
        input.find("function_call_output").unwrap() < input.find("wait").unwrap(),
        "{input}"
    );
}

#[test]
fn a_command_in_the_background_ends_after_its_turn() {
    let running = CommandResult {
        running: true,
        process_id: Some("7".into()),
        ..CommandResult::default()
    };
    let left = ToolOutcome {
        output: ToolOutput::Text("session 7".into()),
        result: ToolResult::Command(running),
    };
    let over = ToolUpdate::Ended(CommandResult {
        exit_code: Some(0),
        ..CommandResult::default()
    });
    let start = || {
        let mut play = Play::regular();
        play.model(exec("a", "server"));
        play.model(completed(1));
        play.send(TurnInput::Prepared(call("a"), prepared_command()));
        play
    };
    let mut play = start();
    assert_eq!(play.send(TurnInput::Tool(call("a"), left.clone())), "sample");
    assert_eq!(play.model(completed(1)), "completed");
    assert!(play.turn.has_background());
    assert_eq!(
        play.send(TurnInput::Update(call("a"), ToolUpdate::Output("x".into()))),
        "\"x\""
    );
    assert_eq!(
        play.send(TurnInput::Update(call("a"), over.clone())),
        "-commandExecution=completed"
    );
    assert!(!play.turn.has_background());
    let mut play = start();
    assert_eq!(play.send(TurnInput::Update(call("a"), over)), "");
    assert_eq!(
        play.send(TurnInput::Tool(call("a"), left.clone())),
        "-commandExecution=completed, sample",
        "told too early"
    );
    let mut play = start();
    play.send(TurnInput::Tool(call("a"), left));
    play.turn.abandon_background(2);
    assert_eq!(
        play.send(TurnInput::Interrupt),
        "-commandExecution=failed, stop sampling, interrupted"
    );
}

#[test]
fn a_broken_answer_is_asked_for_again_and_then_given_up() {
    let mut play = Play::regular();
    play.model(delta("half"));
    let cut = || ModelError::disconnected("cut");
    assert_eq!(
        play.fail(cut()),
        "error retry=true, -agentMessage=half, sample again 1"
    );
    assert!(!play.last_input().contains("half"));
    play.model(exec("a", "ls"));
    assert_eq!(play.fail(cut()), "error retry=true");
    play.send(TurnInput::Prepared(call("a"), prepared_command()));
    let asked = play.send(TurnInput::Tool(call("a"), ended(0)));
    assert_eq!(
        asked, "-commandExecution=completed, sample again 2",
        "a call that was made is not made twice"
    );
    play.model(delta("last"));
    assert_eq!(
        play.fail(cut()),
        "stop sampling, -agentMessage=last, error retry=false, failed"
    );
    assert!(
        serde_json::to_string(play.turn.history())
            .unwrap()
            .contains("last")
    );
}

#[test]
fn what_the_model_gets_wrong_is_answered_and_never_run() {
    let mut play = Play::regular();
    let wrong = |id: &str, name: &str, arguments: &str| {
        ModelEvent::ItemDone(RawItem::new(
            json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments}),
        ))
    };
    assert_eq!(play.model(wrong("a", "exec_command", "{")), "");
    assert_eq!(play.model(wrong("b", "rm_rf", "{}")), "");
    assert_eq!(
        play.model(wrong(
            "c",
            "update_plan",
            r#"{"plan":[{"step":"x","status":"pending"}]}"#
        )),
        "plan"
    );
    assert_eq!(play.model(completed(1)), "sample");
    let input = play.last_input();
    assert!(
        input.contains("not understood") && input.contains("There is no tool `rm_rf`"),
        "{input}"
    );
}

#[test]
fn a_call_in_a_namespace_needs_a_tool_that_was_offered_there() {
    let open = ToolSpec::Function {
        name: "open".into(),
        description: String::new(),
        parameters: json!({}),
    };
    let app = ToolSpec::Namespace {
        name: "app".into(),
        description: String::new(),
        tools: vec![open],
    };
    let mut play = Play::new(Setup {
        tools: [app].into(),
        ..setup(TurnKind::Regular)
    });
    let called = |id: &str, namespace: Option<&str>| {
        ModelEvent::ItemDone(RawItem::new(
            json!({"type": "function_call", "call_id": id, "name": "open", "namespace": namespace, "arguments": "{}"}),
        ))
    };
    assert_eq!(play.model(called("a", None)), "");
    assert_eq!(play.model(called("b", Some("other"))), "");
    assert_eq!(play.model(called("c", Some("app"))), "prepare c");
    let history = serde_json::to_string(play.turn.history()).unwrap();
    assert!(
        history.contains("There is no tool `open`.") && history.contains("no tool `open` in `other`"),
        "{history}"
    );
}

#[test]
fn a_refused_command_is_shown_as_declined() {
    let mut play = Play::new(Setup {
        policy: ApprovalPolicy::Never,
        ..setup(TurnKind::Regular)
    });
    play.model(exec("a", "!x"));
    let refused = play.send(TurnInput::Prepared(call("a"), prepared_command()));
    assert_eq!(refused, "+commandExecution, -commandExecution=declined");
    let declined = |action: &TurnAction| {
        matches!(action, TurnAction::Emit(TurnEvent::ItemCompleted {
        item: ThreadItem::CommandExecution(it), .. }) if it.status == CommandExecutionStatus::Declined)
    };
    assert!(play.actions.iter().any(declined));
}
