//! The promises of the machine, checked after every step of random plays.

use std::collections::{BTreeMap, BTreeSet};

use codex_protocol::v2::ApprovalDecision;
use proptest::prelude::*;

use super::*;

/// Something that happens outside. Numbers choose among what is possible then.
#[derive(Clone, Debug)]
enum Happening {
    Model(u8),
    Prepared(u8, u8),
    Update(u8, u8),
    Ended(u8, u8),
    Decided(u8, u8),
    Steer,
    Interrupt,
    /// Something that belongs to nothing, or comes again.
    Stray(u8),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    use Happening::*;
    let one = prop_oneof![
        8 => (0u8..16).prop_map(Model),
        6 => (any::<u8>(), 0u8..6).prop_map(|(which, how)| Prepared(which, how)),
        2 => (any::<u8>(), 0u8..3).prop_map(|(which, how)| Update(which, how)),
        6 => (any::<u8>(), 0u8..5).prop_map(|(which, how)| Ended(which, how)),
        4 => (any::<u8>(), 0u8..6).prop_map(|(which, how)| Decided(which, how)),
        1 => Just(Steer),
        1 => Just(Interrupt),
        1 => (0u8..8).prop_map(Stray),
    ];
    proptest::collection::vec(one, 0..120)
}

/// What stands outside, and what was promised so far.
#[derive(Default)]
struct World {
    sampling: bool,
    preparing: Vec<CallId>,
    asking: Vec<CallId>,
    running: Vec<CallId>,
    background: Vec<CallId>,
    recorded: Vec<Record>,
    emitted: usize,
    started: BTreeMap<ItemId, bool>,
    begun: bool,
    over: bool,
    interrupted: bool,
    steps: u32,
}

impl World {
    fn drain(&mut self, turn: &mut Turn) {
        while let Some(action) = turn.poll_action() {
            self.check(action);
        }
    }

    fn check(&mut self, action: TurnAction) {
        match action {
            TurnAction::Record(record) => self.recorded.push(record),
            TurnAction::Emit(event) => {
                if !event.is_delta() {
                    assert_eq!(
                        self.recorded.last(),
                        Some(&Record::Event(event.clone())),
                        "recorded first"
                    );
                }
                self.check_event(event);
            }
            TurnAction::Sample(prompt, _) => {
                assert!(
                    !self.interrupted && !self.over && !self.sampling,
                    "sampled after an interrupt, or twice"
                );
                assert!(
                    self.preparing.is_empty() && self.asking.is_empty() && self.running.is_empty(),
                    "calls are open"
                );
                check_pairs(&prompt.input);
                self.sampling = true;
            }
            TurnAction::StopSampling => self.sampling = false,
            TurnAction::Prepare(call) => {
                assert!(!self.interrupted, "prepared after an interrupt");
                self.preparing.push(call.id);
            }
            TurnAction::Run(call, _) => {
                assert!(!self.interrupted, "run after an interrupt");
                self.running.push(call.id);
            }
            TurnAction::Stop(id) => self.preparing.retain(|it| *it != id),
            TurnAction::Ask(id, _) => self.asking.push(id),
            TurnAction::Withdraw(id) => self.asking.retain(|it| *it != id),
        }
    }

    fn check_event(&mut self, event: TurnEvent) {
        self.emitted += 1;
        let is_first = self.emitted == 1;
        assert_eq!(
            matches!(event, TurnEvent::Started { .. }),
            is_first,
            "started first and once"
        );
        let known = |id: &ItemId| self.started.get(id).copied();
        match event {
            TurnEvent::Started { .. } => self.begun = true,
            TurnEvent::ItemStarted { item, .. } => {
                assert!(!self.over, "an item began after the turn");
                assert_eq!(self.started.insert(item.id().unwrap(), true), None, "an id twice");
            }
            TurnEvent::ItemCompleted { item, .. } => {
                let id = item.id().unwrap();
                assert_eq!(
                    self.started.insert(id.clone(), false),
                    Some(true),
                    "completed once, after its start: {id}"
                );
                let call = CallId(id.0);
                assert!(
                    !self.over || self.background.contains(&call),
                    "completed after the turn"
                );
                self.background.retain(|it| *it != call);
            }
            TurnEvent::TextDelta { item_id, .. }
            | TurnEvent::SummaryPart { item_id, .. }
            | TurnEvent::SummaryDelta { item_id, .. }
            | TurnEvent::ReasoningDelta { item_id, .. }
            | TurnEvent::OutputDelta { item_id, .. } => {
                assert_eq!(known(&item_id), Some(true), "a delta of an open item")
            }
            TurnEvent::TerminalInteraction { .. } => {}
            TurnEvent::PlanUpdated { .. }
            | TurnEvent::DiffUpdated { .. }
            | TurnEvent::TokenUsage { .. }
            | TurnEvent::Error { .. } => assert!(!self.over, "news after the turn"),
            TurnEvent::Completed { .. } => {
                assert!(!self.over, "completed once");
                self.over = true;
                assert!(
                    self.running.is_empty() && self.asking.is_empty(),
                    "calls outlive the turn"
                );
                let open: BTreeSet<_> = self
                    .started
                    .iter()
                    .filter(|(_, open)| **open)
                    .map(|(id, _)| CallId(id.0.clone()))
                    .collect();
                assert_eq!(
                    open,
                    self.background.iter().cloned().collect(),
                    "items outlive the turn"
                );
            }
        }
    }

    fn happen(&mut self, turn: &mut Turn, happening: &Happening) {
        self.steps += 1;
        let Some(input) = self.input(happening) else {
            return;
        };
        if matches!(input, TurnInput::Interrupt) && !self.over {
            self.interrupted = true;
        }
        let cancelled = matches!(
            &input,
            TurnInput::Decision(_, Answer::Decision(ApprovalDecision::Cancel))
        );
        self.interrupted |= cancelled && !self.over;
        turn.handle(i64::from(self.steps), input);
        self.drain(turn);
    }

    fn input(&mut self, happening: &Happening) -> Option<TurnInput> {
        let take = |from: &mut Vec<CallId>, which: u8| {
            (!from.is_empty()).then(|| from.remove(usize::from(which) % from.len()))
        };
        Some(match happening {
            Happening::Model(which) => {
                if !self.sampling {
                    return None;
                }
                let event = model_event(*which, self.steps);
                self.sampling = !matches!(event, Err(_) | Ok(ModelEvent::Completed { .. }));
                TurnInput::Model(event)
            }
            Happening::Prepared(which, how) => {
                TurnInput::Prepared(take(&mut self.preparing, *which)?, prepared(*how, self.steps))
            }
            Happening::Update(which, how) => {
                let both: Vec<_> = self.running.iter().chain(&self.background).cloned().collect();
                let id = both.get(usize::from(*which) % both.len().max(1))?.clone();
                let update = match how {
                    0 => ToolUpdate::Output("x".into()),
                    1 => ToolUpdate::Process("7".into()),
                    _ if self.background.contains(&id) => ToolUpdate::Ended(CommandResult::default()),
                    _ => return None,
                };
                TurnInput::Update(id, update)
            }
            Happening::Ended(which, how) => {
                let id = take(&mut self.running, *which)?;
                let outcome = outcome(*how);
                let stays = matches!(&outcome.result, ToolResult::Command(it) if it.running);
                let is_command = self.recorded.iter().any(|it| {
                    matches!(it, Record::Event(TurnEvent::ItemStarted {
                    item: ThreadItem::CommandExecution(item), .. }) if item.id.0 == id.0)
                });
                if stays && is_command {
                    self.background.push(id.clone());
                }
                TurnInput::Tool(id, outcome)
            }
            Happening::Decided(which, how) => {
                TurnInput::Decision(take(&mut self.asking, *which)?, answer(*how))
            }
            Happening::Steer => TurnInput::Steer(said(&format!("s{}", self.steps))),
            Happening::Interrupt => TurnInput::Interrupt,
            Happening::Stray(0) => TurnInput::Begin(vec![said("again")]),
            Happening::Stray(1) => TurnInput::Tool(call("nobody"), ended(0)),
            Happening::Stray(2) if !self.asking.contains(&call("call1")) => {
                TurnInput::Decision(call("call1"), answer(0))
            }
            Happening::Stray(3) if !self.sampling => TurnInput::Model(Ok(completed(5))),
            Happening::Stray(_) => TurnInput::Prepared(call("nobody"), prepared_command()),
        })
    }
}

fn model_event(which: u8, step: u32) -> Result<ModelEvent, ModelError> {
    let id = Some("same".to_owned());
    Ok(match which {
        0 => ModelEvent::MessageStarted { id, phase: None },
        1 => ModelEvent::TextDelta {
            id,
            delta: "text".into(),
        },
        2 => ModelEvent::TextDelta {
            id: None,
            delta: "text".into(),
        },
        3 => ModelEvent::ReasoningStarted { id },
        4 => ModelEvent::SummaryDelta {
            id,
            index: usize::try_from(step % 3).unwrap(),
            delta: "think".into(),
        },
        5 => ModelEvent::ReasoningDelta {
            id: None,
            index: 0,
            delta: "think".into(),
        },
        6 => message("whole"),
        7 => ModelEvent::ItemDone(RawItem::new(json!({"type": "reasoning", "summary": []}))),
        8 | 9 => exec(
            &format!("call{}", step % 5),
            if step.is_multiple_of(2) { "ls" } else { "!ls" },
        ),
        10 => patch(&format!("call{}", step % 5)),
        11 => ModelEvent::ItemDone(RawItem::new(
            json!({"type": "function_call", "call_id": "call1", "name": "nothing", "arguments": "{"}),
        )),
        12 => completed(i64::from(step) * 40 % 1000),
        13 => ModelEvent::Retrying {
            retry: 1,
            retries_max: 2,
            error: ModelError::disconnected("x"),
        },
        14 => return Err(ModelError::disconnected("cut")),
        _ if step.is_multiple_of(3) => {
            return Err(ModelError::fatal(ErrorClass::ContextWindowExceeded, "full"));
        }
        _ => completed(10),
    })
}

fn prepared(how: u8, step: u32) -> Prepared {
    let view = codex_protocol::v2::ImageView {
        id: format!("view{step}").as_str().into(),
        path: "/i.png".into(),
    };
    match how {
        0 | 1 => prepared_command(),
        2 => prepared_patch(step.is_multiple_of(2)),
        3 => Prepared::Refused("no".into()),
        4 => Prepared::Item(ThreadItem::ImageView(view)),
        _ => Prepared::Interaction {
            item_id: "old".into(),
            process_id: "1".into(),
            stdin: "y".into(),
        },
    }
}

fn outcome(how: u8) -> ToolOutcome {
    let running = CommandResult {
        running: true,
        ..CommandResult::default()
    };
    let result = match how {
        0 => return ended(0),
        1 => ToolResult::Command(running),
        2 => ToolResult::Patch(PatchResult::Failed),
        3 => ToolResult::Patch(PatchResult::Applied(vec![FileContent {
            path: "/f".into(),
            before: None,
            after: Some("x".into()),
        }])),
        _ => ToolResult::Nothing,
    };
    ToolOutcome {
        output: ToolOutput::Text("out".into()),
        result,
    }
}

fn answer(how: u8) -> Answer {
    Answer::Decision(match how {
        0 | 1 => ApprovalDecision::Accept,
        2 => ApprovalDecision::AcceptForSession,
        3 => ApprovalDecision::Decline,
        4 => return Answer::Failed("broken".into()),
        _ => ApprovalDecision::Cancel,
    })
}

/// Every call of a prompt has exactly one output, after it.
fn check_pairs(input: &[RawItem]) {
    let mut open = BTreeSet::new();
    let mut all = BTreeSet::new();
    for item in input {
        let id = item.call_id().unwrap_or_default();
        if item.is_call() {
            assert!(all.insert(id) && open.insert(id), "call {id} twice");
        } else if item.is_output() {
            assert!(
                open.remove(id),
                "an output of {id} without its call, or a second one"
            );
            assert_ne!(item.value()["output"], "aborted", "an output that was made up");
        }
    }
    assert!(open.is_empty(), "without output: {open:?}");
}

/// Brings a play to its end: whatever is open ends.
fn finish(world: &mut World, turn: &mut Turn) {
    world.happen(turn, &Happening::Interrupt);
    for _ in 0..200 {
        if world.over {
            break;
        }
        for happening in [
            Happening::Prepared(0, 3),
            Happening::Ended(0, 0),
            Happening::Model(12),
        ] {
            world.happen(turn, &happening);
        }
    }
    assert!(world.over, "an interrupted turn ends when its calls have");
    turn.abandon_background(i64::MAX);
    world.drain(turn);
    assert!(
        !turn.has_background() && world.started.values().all(|open| !open),
        "an item was never completed"
    );
}

/// What a log would give back is what the machine believes.
fn check_history(world: &World, turn: &Turn) {
    let mut history = Vec::new();
    for record in &world.recorded {
        match record {
            Record::Raw(item) => history.push(item.clone()),
            Record::Compacted(items) => history.clone_from(items),
            Record::Event(_) | Record::Grant(_) => {}
        }
    }
    assert_eq!(history, turn.history());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_in_whatever_order_the_promises_hold(
        plays in happenings(),
        policy in 0usize..3,
        kind in 0usize..8,
    ) {
        let policy = [ApprovalPolicy::Untrusted, ApprovalPolicy::OnRequest, ApprovalPolicy::Never][policy];
        let kind = match kind {
            0 => TurnKind::Compact,
            1 => TurnKind::Review { subject: "it".into() },
            _ => TurnKind::Regular,
        };
        let said_first = if kind == TurnKind::Compact { Vec::new() } else { vec![said("go")] };
        let mut turn = Turn::new(Setup { policy, ..setup(kind) });
        let mut world = World::default();
        turn.handle(0, TurnInput::Begin(said_first));
        world.drain(&mut turn);
        for happening in &plays {
            world.happen(&mut turn, happening);
            check_history(&world, &turn);
        }
        finish(&mut world, &mut turn);
        check_history(&world, &turn);
    }
}
