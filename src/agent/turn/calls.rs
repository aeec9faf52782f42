//! The calls of a turn, from the model's wish to the output.

use codex_protocol::ItemId;
use codex_protocol::v2::{
    ApprovalDecision, CommandExecution, CommandExecutionStatus, FileChange, PatchApplyStatus,
    PatchChangeKind, ThreadItem, ToolCallStatus, TurnStatus,
};

use super::{Answer, Phase, Question, Record, Turn, TurnAction, TurnEvent};
use crate::approval::{CommandRequest, Grant, Permission, Verdict, judge_command, judge_patch};
use crate::model::wire::{self, CallKind, ModelCall};
use crate::ports::{
    CallId, CommandResult, PatchResult, Prepared, PreparedCommand, PreparedPatch, ToolCall, ToolOutcome,
    ToolOutput, ToolResult, ToolUpdate, UnixMillis,
};
use crate::tools::{Invocation, PlanUpdate, understand};

/// How many calls are prepared, asked about or run at once; the others wait for their turn.
const CALLS_MAX: usize = 8;

/// All calls of the turn in the order of the model.
#[derive(Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
}

struct Call {
    call: ToolCall,
    kind: CallKind,
    state: State,
    /// As it was started, while it is not completed.
    item: Option<(ThreadItem, UnixMillis)>,
}

enum State {
    Queued,
    Preparing,
    /// Waits for the user; runs so if allowed, and this is what a grant for the session remembers.
    Asking(Permission, Grant),
    Running {
        /// What is typed into another command: its item, its process, the text.
        typed: Option<(ItemId, String, String)>,
        /// The process ended before its call told that it goes on.
        ended: Option<CommandResult>,
    },
    /// Has its output; the process goes on.
    Background,
    Finished,
}

impl Call {
    fn is_active(&self) -> bool {
        matches!(
            self.state,
            State::Preparing | State::Asking(..) | State::Running { .. }
        )
    }

    /// Patches are alone: two of the same file would each be computed without the other.
    fn is_exclusive(&self) -> bool {
        matches!(self.call.invocation, Invocation::Patch(_))
    }
}

impl Calls {
    /// Whether the model cannot be asked yet.
    pub(super) fn are_active(&self) -> bool {
        self.calls
            .iter()
            .any(|it| it.is_active() || matches!(it.state, State::Queued))
    }

    pub(super) fn has_background(&self) -> bool {
        self.calls.iter().any(|it| matches!(it.state, State::Background))
    }

    fn find(&mut self, id: &CallId) -> Option<&mut Call> {
        self.calls.iter_mut().find(|it| it.call.id == *id)
    }
}

impl Turn {
    /// Takes a call of the model. What is not understood gets its output at once.
    pub(super) fn add_call(&mut self, _now: UnixMillis, call: ModelCall) {
        let output = match understand(&call) {
            Ok(Invocation::Plan(plan)) => self.update_plan(plan),
            Ok(_) if !self.is_offered(&call) => match &call.namespace {
                Some(namespace) => format!("There is no tool `{}` in `{namespace}`.", call.name),
                None => format!("There is no tool `{}`.", call.name),
            },
            Ok(invocation) => {
                let call_kind = call.kind;
                let call = ToolCall {
                    id: call.id,
                    invocation,
                };
                self.calls.calls.push(Call {
                    call,
                    kind: call_kind,
                    state: State::Queued,
                    item: None,
                });
                return;
            }
            Err(reason) => reason,
        };
        self.remember(wire::call_output(call.kind, &call.id, &ToolOutput::Text(output)));
    }

    fn is_offered(&self, call: &ModelCall) -> bool {
        let namespace = call.namespace.as_deref();
        self.setup.tools.iter().any(|it| it.takes(namespace, &call.name))
    }

    fn update_plan(&mut self, plan: PlanUpdate) -> String {
        self.commit(TurnEvent::PlanUpdated {
            explanation: plan.explanation,
            plan: plan.plan,
        });
        "The plan was updated.".to_owned()
    }

    /// Lets waiting calls begin, in the model's order, as far as there is room beside the others.
    pub(super) fn start_calls(&mut self) {
        let active = |it: &&Call| it.is_active();
        let mut room = CALLS_MAX.saturating_sub(self.calls.calls.iter().filter(active).count());
        let mut alone = self.calls.calls.iter().filter(active).any(Call::is_exclusive);
        for call in &mut self.calls.calls {
            if !matches!(call.state, State::Queued) {
                continue;
            }
            if alone || room == 0 || (call.is_exclusive() && room < CALLS_MAX) {
                break;
            }
            call.state = State::Preparing;
            room -= 1;
            alone = call.is_exclusive();
            self.actions.push_back(TurnAction::Prepare(call.call.clone()));
        }
    }

    pub(super) fn handle_prepared(&mut self, now: UnixMillis, id: &CallId, prepared: Prepared) {
        if !self
            .calls
            .find(id)
            .is_some_and(|it| matches!(it.state, State::Preparing))
        {
            return;
        }
        match prepared {
            Prepared::Command(command) => self.judge_command(now, id, command),
            Prepared::Patch(patch) => self.judge_patch(now, id, patch),
            Prepared::Interaction {
                item_id,
                process_id,
                stdin,
            } => {
                let typed = (!stdin.is_empty()).then_some((item_id, process_id, stdin));
                self.run(id, Permission::Sandboxed, typed);
            }
            Prepared::Item(item) => {
                self.start_item(now, id, item);
                self.run(id, Permission::Sandboxed, None);
            }
            Prepared::Refused(reason) => self.answer_call(id, &ToolOutput::Text(reason)),
        }
    }

    fn judge_command(&mut self, now: UnixMillis, id: &CallId, command: PreparedCommand) {
        let (wants, reason, prefix) = match self.calls.find(id).map(|it| &it.call.invocation) {
            Some(Invocation::Exec(exec)) => {
                (exec.wants(), exec.justification.clone(), exec.prefix_rule.clone())
            }
            _ => (Permission::Sandboxed, None, None),
        };
        let PreparedCommand {
            words, cwd, class, ..
        } = &command;
        let request = CommandRequest {
            words,
            cwd,
            class: *class,
            wants,
        };
        let verdict = judge_command(
            self.setup.policy,
            self.setup.containment,
            &self.setup.grants,
            &request,
        );
        let source = if matches!(verdict, Verdict::Run(_)) {
            RUNNING
        } else {
            "agent"
        };
        let item = ThreadItem::CommandExecution(CommandExecution {
            id: ItemId(id.0.clone()),
            command: command.command.clone(),
            cwd: command.cwd.clone(),
            process_id: None,
            command_actions: command.actions.clone(),
            source: Some(source.to_owned()),
            status: CommandExecutionStatus::InProgress,
            aggregated_output: None,
            exit_code: None,
            duration_ms: None,
        });
        self.start_item(now, id, item);
        let amendment = prefix.filter(|it| !it.is_empty() && command.words.starts_with(it));
        let question = Question::Command {
            item_id: ItemId(id.0.clone()),
            command: command.command,
            cwd: command.cwd.clone(),
            reason,
            actions: command.actions,
            amendment: amendment.unwrap_or_else(|| command.words.clone()),
            started_at: now,
        };
        let grant = Grant::Command {
            words: command.words,
            cwd: command.cwd,
            permission: wants,
        };
        self.follow(now, id, verdict, question, (wants, grant));
    }

    fn judge_patch(&mut self, now: UnixMillis, id: &CallId, patch: PreparedPatch) {
        let mut paths = Vec::new();
        for change in &patch.changes {
            paths.push(change.path.clone());
            if let PatchChangeKind::Update(update) = &change.kind {
                paths.extend(update.move_path.clone());
            }
        }
        let touched = paths.iter().map(String::as_str);
        let verdict = judge_patch(self.setup.policy, &self.setup.grants, patch.writable, touched);
        let (item_id, status) = (ItemId(id.0.clone()), PatchApplyStatus::InProgress);
        let item = ThreadItem::FileChange(FileChange {
            id: item_id.clone(),
            changes: patch.changes,
            status,
        });
        self.start_item(now, id, item);
        let permission = if patch.writable {
            Permission::Sandboxed
        } else {
            Permission::Unsandboxed
        };
        let reason = (!patch.writable).then(|| "it writes outside of what the sandbox allows".to_owned());
        let question = Question::Patch {
            item_id,
            reason,
            started_at: now,
        };
        self.follow(now, id, verdict, question, (permission, Grant::Files { paths }));
    }

    fn follow(
        &mut self,
        now: UnixMillis,
        id: &CallId,
        verdict: Verdict,
        question: Question,
        ask: (Permission, Grant),
    ) {
        match verdict {
            Verdict::Run(permission) => self.run(id, permission, None),
            Verdict::Ask => {
                if let Some(call) = self.calls.find(id) {
                    call.state = State::Asking(ask.0, ask.1);
                    self.actions.push_back(TurnAction::Ask(id.clone(), question));
                }
            }
            Verdict::Refuse(reason) => {
                self.complete_item(now, id, |item| set_outcome(item, Outcome::Declined));
                self.answer_call(id, &ToolOutput::Text(reason.to_owned()));
            }
        }
    }

    pub(super) fn handle_answer(&mut self, now: UnixMillis, id: &CallId, answer: Answer) {
        let Some(State::Asking(permission, grant)) = self.calls.find(id).map(|it| &it.state) else {
            return;
        };
        let (permission, grant) = (*permission, grant.clone());
        let is_patch = matches!(grant, Grant::Files { .. });
        let refused = |what: &str| {
            ToolOutput::Text(format!(
                "The {} was {what}",
                if is_patch { "patch" } else { "command" }
            ))
        };
        match answer {
            Answer::Decision(ApprovalDecision::Accept) => self.run(id, permission, None),
            Answer::Decision(ApprovalDecision::AcceptForSession) => {
                self.grant(grant);
                self.run(id, permission, None);
            }
            Answer::Decision(ApprovalDecision::AcceptWithExecpolicyAmendment { execpolicy_amendment }) => {
                if !is_patch {
                    self.grant(Grant::Prefix {
                        words: execpolicy_amendment,
                    });
                }
                self.run(id, permission, None);
            }
            Answer::Decision(ApprovalDecision::Decline) => {
                self.complete_item(now, id, |item| set_outcome(item, Outcome::Declined));
                self.answer_call(id, &refused("rejected by the user and has had no effect."));
            }
            Answer::Decision(ApprovalDecision::Cancel) => {
                self.complete_item(now, id, |item| set_outcome(item, Outcome::Declined));
                self.answer_call(id, &refused("rejected by the user, who ended the turn."));
                self.end(now, TurnStatus::Interrupted, None);
            }
            Answer::Failed(reason) => {
                self.complete_item(now, id, |item| set_outcome(item, Outcome::Failed));
                self.answer_call(
                    id,
                    &refused(&format!(
                        "not allowed, as the question to the user failed: {reason}"
                    )),
                );
            }
        }
    }

    fn grant(&mut self, grant: Grant) {
        self.setup.grants.add(grant.clone());
        self.actions.push_back(TurnAction::Record(Record::Grant(grant)));
    }

    fn run(&mut self, id: &CallId, permission: Permission, typed: Option<(ItemId, String, String)>) {
        let Some(call) = self.calls.find(id) else { return };
        call.state = State::Running { typed, ended: None };
        if let Some((ThreadItem::CommandExecution(command), _)) = &mut call.item {
            command.source = Some(RUNNING.to_owned());
        }
        let call = call.call.clone();
        self.actions.push_back(TurnAction::Run(call, permission));
    }

    pub(super) fn handle_update(&mut self, now: UnixMillis, id: &CallId, update: ToolUpdate) {
        let Some(call) = self.calls.find(id) else { return };
        let (State::Running { .. } | State::Background, Some((item, _))) = (&call.state, &mut call.item)
        else {
            return;
        };
        match update {
            ToolUpdate::Output(delta) if delta.is_empty() => {}
            ToolUpdate::Output(delta) => {
                if let Some(item_id) = item.id() {
                    self.tell(TurnEvent::OutputDelta { item_id, delta });
                }
            }
            ToolUpdate::Process(process) => {
                if let ThreadItem::CommandExecution(command) = item {
                    command.process_id = Some(process);
                }
            }
            ToolUpdate::Ended(result) => {
                if let State::Running { ended, .. } = &mut call.state {
                    *ended = Some(result);
                    return;
                }
                call.state = State::Finished;
                self.complete_item(now, id, |item| set_command(item, &result));
            }
        }
    }

    pub(super) fn handle_outcome(&mut self, now: UnixMillis, id: &CallId, outcome: ToolOutcome) {
        let Some(call) = self.calls.find(id) else { return };
        let State::Running { typed, ended } = &mut call.state else {
            return;
        };
        let (typed, ended) = (typed.take(), ended.take());
        if let Some((item_id, process_id, stdin)) = typed {
            self.tell(TurnEvent::TerminalInteraction {
                item_id,
                process_id,
                stdin,
            });
        }
        self.answer_call(id, &outcome.output);
        let mut applied = Vec::new();
        match outcome.result {
            ToolResult::Command(result) if result.running => match ended {
                Some(ended) => self.complete_item(now, id, |item| set_command(item, &ended)),
                None => self.leave_running(now, id, &result),
            },
            ToolResult::Command(result) => self.complete_item(now, id, |item| set_command(item, &result)),
            ToolResult::Patch(PatchResult::Applied(files)) => {
                self.complete_item(now, id, |item| set_outcome(item, Outcome::Completed));
                applied = files;
            }
            ToolResult::Patch(PatchResult::Failed) | ToolResult::Nothing => {
                self.complete_item(now, id, |item| set_outcome(item, Outcome::Failed));
            }
            ToolResult::Item(ended) => self.complete_item(now, id, |item| {
                if ended.id() == item.id() {
                    *item = ended;
                }
            }),
        }
        if let Some(diff) = self.diff.add(applied) {
            self.commit(TurnEvent::DiffUpdated { diff });
        }
    }

    fn leave_running(&mut self, now: UnixMillis, id: &CallId, result: &CommandResult) {
        let Some(call) = self.calls.find(id) else { return };
        if let Some((ThreadItem::CommandExecution(command), _)) = &mut call.item {
            command.process_id = result.process_id.clone().or(command.process_id.take());
            call.state = State::Background;
        } else {
            // Only a command can go on: nobody would tell the end of anything else.
            self.complete_item(now, id, |item| set_outcome(item, Outcome::Failed));
        }
    }

    /// Ends every call for the end of the turn. Those that run are asked to, and told about when they have.
    pub(super) fn stop_calls(&mut self, now: UnixMillis) {
        let ids: Vec<CallId> = self.calls.calls.iter().map(|it| it.call.id.clone()).collect();
        for id in &ids {
            let Some(call) = self.calls.find(id) else { continue };
            match call.state {
                State::Background | State::Finished => continue,
                State::Queued => {}
                State::Preparing | State::Running { .. } => {
                    self.actions.push_back(TurnAction::Stop(id.clone()))
                }
                State::Asking(..) => {
                    self.actions.push_back(TurnAction::Withdraw(id.clone()));
                    self.complete_item(now, id, |item| set_outcome(item, Outcome::Declined));
                }
            }
            if !self
                .calls
                .find(id)
                .is_some_and(|it| matches!(it.state, State::Running { .. }))
            {
                self.answer_call(
                    id,
                    &ToolOutput::Text("Not run: the turn was ended before it could.".to_owned()),
                );
            }
        }
    }

    /// Completes the items of commands whose end nobody will tell any more.
    pub(super) fn end_background(&mut self, now: UnixMillis) {
        let running = |it: &&Call| matches!(it.state, State::Background);
        let ids: Vec<CallId> = self
            .calls
            .calls
            .iter()
            .filter(running)
            .map(|it| it.call.id.clone())
            .collect();
        for id in ids {
            self.handle_update(now, &id, ToolUpdate::Ended(CommandResult::default()));
        }
    }

    fn start_item(&mut self, now: UnixMillis, id: &CallId, item: ThreadItem) {
        let Some(call) = self.calls.find(id) else { return };
        call.item = Some((item.clone(), now));
        self.commit(TurnEvent::ItemStarted { item, at: now });
    }

    fn complete_item(&mut self, now: UnixMillis, id: &CallId, change: impl FnOnce(&mut ThreadItem)) {
        let Some((mut item, started_at)) = self.calls.find(id).and_then(|it| it.item.take()) else {
            return;
        };
        change(&mut item);
        self.complete(now, item, started_at);
    }

    /// Gives the call its one output.
    fn answer_call(&mut self, id: &CallId, output: &ToolOutput) {
        let Some(call) = self.calls.find(id) else { return };
        call.state = State::Finished;
        let raw = wire::call_output(call.kind, id, output);
        self.remember(raw);
        debug_assert!(!matches!(self.phase, Phase::Done), "an output after the turn");
    }
}

/// The `source` of a command that runs; before that it is the agent's wish.
const RUNNING: &str = "unifiedExecStartup";

#[derive(Clone, Copy)]
enum Outcome {
    Completed,
    Failed,
    Declined,
}

/// Sets the end of an item that has a status; the others have none to set.
fn set_outcome(item: &mut ThreadItem, outcome: Outcome) {
    match item {
        ThreadItem::CommandExecution(it) => {
            it.status = match outcome {
                Outcome::Completed => CommandExecutionStatus::Completed,
                Outcome::Failed => CommandExecutionStatus::Failed,
                Outcome::Declined => CommandExecutionStatus::Declined,
            };
        }
        ThreadItem::FileChange(it) => {
            it.status = match outcome {
                Outcome::Completed => PatchApplyStatus::Completed,
                Outcome::Failed => PatchApplyStatus::Failed,
                Outcome::Declined => PatchApplyStatus::Declined,
            };
        }
        ThreadItem::McpToolCall(it) => it.status = tool_status(outcome),
        ThreadItem::DynamicToolCall(it) => it.status = tool_status(outcome),
        _ => {}
    }
}

fn tool_status(outcome: Outcome) -> ToolCallStatus {
    match outcome {
        Outcome::Completed => ToolCallStatus::Completed,
        Outcome::Failed | Outcome::Declined => ToolCallStatus::Failed,
    }
}

fn set_command(item: &mut ThreadItem, result: &CommandResult) {
    let ended_well = result.exit_code == Some(0);
    set_outcome(
        item,
        if ended_well {
            Outcome::Completed
        } else {
            Outcome::Failed
        },
    );
    if let ThreadItem::CommandExecution(command) = item {
        command.process_id = result.process_id.clone().or(command.process_id.take());
        command.exit_code = result.exit_code;
        command.aggregated_output = result.output.clone();
        command.duration_ms = Some(result.duration_ms);
    }
}
