//! One host's turn, from the connection to the last word. Pure: orders and output are parameters.

mod open;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use codex_hosts::{CallFailure, Failure, HostEvent, Question, Status, Ticket};
use codex_protocol::{
    ClientRequest, ClientResponse, Id, ItemId, ServerNotification, ServerRequest, ThreadId, TurnId, notice,
    v2,
};
use serde_json::{Value, json};

use super::output::Output;
use crate::cli::{
    report::Code,
    unanswered::{Nobody, Unanswered},
};

/// How long a lost connection may take to come back while a turn is under way.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(300);

/// Turns among which ours is looked for; others come only from somebody else who uses the thread.
const TURNS_LOOKED_BACK: u32 = 5;

/// What the command line says about every turn.
pub(crate) struct TurnOptions {
    pub(crate) prompt: String,
    pub(crate) cwd: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) sandbox: Option<v2::SandboxMode>,
    pub(crate) approval: Option<v2::AskForApproval>,
    /// `None`: in a new thread.
    pub(crate) resume: Option<Resume>,
}

/// Which thread goes on.
#[derive(Clone)]
pub(crate) enum Resume {
    Thread(ThreadId),
    /// The one that changed last, of this directory if one is named.
    Last {
        of: Option<String>,
    },
}

/// What a turn wants done.
pub(crate) enum Order {
    Call(Box<ClientRequest>),
    Reply(Id, Value),
    Refuse(Id),
    Disconnect,
}

pub(crate) struct Turn {
    host: String,
    options: TurnOptions,
    step: Step,
    /// The call whose answer is waited for.
    ticket: Option<Ticket>,
    thread: Option<ThreadId>,
    turn: Option<TurnId>,
    /// `turn/started` has come: before it the official server refuses to interrupt.
    is_running: bool,
    wants_interrupt: bool,
    /// An approval was asked for and there was nobody to give it.
    needed_approval: bool,
    /// Why a login's question could not be answered.
    unanswered: Option<Unanswered>,
    /// What has been printed of each agent message that is not complete.
    printed: BTreeMap<ItemId, String>,
    completed: BTreeSet<ItemId>,
    lost_since: Option<Instant>,
    /// Pages of threads that were asked for.
    pages: u32,
    code: Option<Code>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Connecting,
    CheckingDirectory,
    StartingThread,
    /// Looking for the last thread.
    Listing,
    StartingTurn,
    Running,
    /// The connection is back: asking the server what became of the thread.
    Resuming,
    LookingBack,
}

impl Turn {
    pub(crate) fn new(host: String, options: TurnOptions) -> Turn {
        Turn {
            host,
            options,
            step: Step::Connecting,
            ticket: None,
            thread: None,
            turn: None,
            is_running: false,
            wants_interrupt: false,
            needed_approval: false,
            unanswered: None,
            printed: BTreeMap::new(),
            completed: BTreeSet::new(),
            lost_since: None,
            pages: 0,
            code: None,
        }
    }

    /// How it ended; `None` while it goes on.
    pub(crate) fn code(&self) -> Option<Code> {
        self.code
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lost_since
            .filter(|_| self.code.is_none())
            .map(|it| it + RECONNECT_PATIENCE)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, orders: &mut Vec<Order>, output: &mut Output) {
        if self.deadline().is_some_and(|it| it <= now) {
            let text = format!("the connection did not come back within {RECONNECT_PATIENCE:?}");
            self.fail(Code::Unreachable, &text, orders, output);
        }
    }

    /// A call was sent for an order of ours.
    pub(crate) fn called(&mut self, ticket: Ticket, request: &ClientRequest) {
        // Nothing depends on the answer to an interrupt: the turn's end tells.
        if !matches!(request, ClientRequest::TurnInterrupt(_)) {
            self.ticket = Some(ticket);
        }
    }

    pub(crate) fn asked(&mut self, question: &Question) {
        self.unanswered = Some(Unanswered::asked(question));
    }

    pub(crate) fn nobody_to_ask(&mut self, question: &Question, output: &mut Output) {
        let unanswered = Unanswered::by(question, Nobody::NoTerminal);
        output.notice(&self.host, &unanswered.text());
        self.unanswered = Some(unanswered);
    }

    pub(crate) fn handle_host(&mut self, event: HostEvent, orders: &mut Vec<Order>, output: &mut Output) {
        if self.code.is_some() {
            return;
        }
        let HostEvent::StatusChanged(status) = event;
        output.status(&self.host, &status);
        match status {
            Status::Ready { .. } => {
                self.unanswered = None;
                self.lost_since = None;
                match (&self.thread, self.step) {
                    (Some(thread), _) => {
                        let params = v2::ThreadResumeParams {
                            thread_id: thread.clone(),
                            exclude_turns: Some(true),
                            cwd: None,
                        };
                        self.call(Step::Resuming, ClientRequest::ThreadResume(params), orders);
                    }
                    (None, _) => self.begin(orders),
                }
            }
            Status::Failed(failure) => self.lose(&failure, orders, output),
            // A script wants to know at once that a host cannot be reached; a turn that runs is worth
            // waiting for.
            Status::Waiting { failure, .. } => {
                if self.thread.is_none() {
                    self.lose(&failure, orders, output);
                } else if self.wants_interrupt {
                    self.end(Code::Interrupted, orders, output);
                } else {
                    if self.lost_since.is_none() {
                        output.waiting(&self.host, &failure);
                    }
                    self.lost_since.get_or_insert_with(Instant::now);
                    self.is_running = false;
                }
            }
            Status::Offline | Status::Working { .. } => (),
        }
    }

    fn lose(&mut self, failure: &Failure, orders: &mut Vec<Order>, output: &mut Output) {
        let mut failure = failure.clone();
        if let Some(unanswered) = self.unanswered.take() {
            unanswered.explain(&mut failure);
        }
        output.failure(&self.host, &failure);
        self.end(failure.kind.into(), orders, output);
    }

    fn begin(&mut self, orders: &mut Vec<Order>) {
        match &self.options.cwd {
            // The official server starts threads in directories that do not exist.
            Some(path) => {
                let params = v2::FsGetMetadataParams { path: path.clone() };
                self.call(
                    Step::CheckingDirectory,
                    ClientRequest::FsGetMetadata(params),
                    orders,
                );
            }
            None => self.open_thread(orders),
        }
    }

    fn call(&mut self, step: Step, request: ClientRequest, orders: &mut Vec<Order>) {
        self.step = step;
        orders.push(Order::Call(Box::new(request)));
    }

    pub(crate) fn handle_answer(
        &mut self,
        ticket: Ticket,
        answer: Result<ClientResponse, CallFailure>,
        orders: &mut Vec<Order>,
        output: &mut Output,
    ) {
        if self.ticket != Some(ticket) || self.code.is_some() {
            return;
        }
        self.ticket = None;
        match (self.step, answer) {
            // The connection went first, which is known by now: its return decides what comes next.
            (Step::Resuming | Step::LookingBack, Err(failure))
                if failure.lost && self.lost_since.is_some() => {}
            (Step::StartingTurn, Err(failure)) if failure.lost => {
                let text = "the connection was lost before the prompt was confirmed: it may be running";
                self.fail(Code::Unreachable, text, orders, output);
            }
            (Step::CheckingDirectory, Ok(ClientResponse::FsGetMetadata(about))) if about.is_directory => {
                self.open_thread(orders);
            }
            (Step::CheckingDirectory, Ok(_)) => {
                let cwd = self.options.cwd.clone().unwrap_or_default();
                self.fail(
                    Code::Usage,
                    &format!("`{cwd}` is not a directory on the host"),
                    orders,
                    output,
                );
            }
            (Step::CheckingDirectory, Err(failure)) => {
                let cwd = self.options.cwd.clone().unwrap_or_default();
                let text = format!("the directory `{cwd}` cannot be used on the host: {failure}");
                self.fail(Code::Usage, &text, orders, output);
            }
            (Step::Listing, Ok(ClientResponse::ThreadList(page))) => self.listed(page, orders, output),
            (
                Step::StartingThread,
                Ok(ClientResponse::ThreadStart(opened) | ClientResponse::ThreadResume(opened)),
            ) => self.start_turn(opened, orders, output),
            (Step::StartingTurn, Ok(ClientResponse::TurnStart(started))) => {
                self.turn.get_or_insert(started.turn.id);
                self.step = Step::Running;
            }
            (Step::Resuming, Ok(ClientResponse::ThreadResume(opened))) => {
                let params = v2::ThreadTurnsListParams {
                    thread_id: opened.thread.id,
                    limit: Some(TURNS_LOOKED_BACK),
                    cursor: None,
                    sort_direction: None,
                    items_view: Some(v2::TurnItemsView::Full),
                };
                self.call(Step::LookingBack, ClientRequest::ThreadTurnsList(params), orders);
            }
            (Step::LookingBack, Ok(ClientResponse::ThreadTurnsList(page))) => {
                self.step = Step::Running;
                match page.data.into_iter().find(|it| self.is_ours(&it.id)) {
                    Some(turn) => self.look_back(turn, orders, output),
                    None => self.fail(Code::TurnFailed, "the turn is not in the thread", orders, output),
                }
            }
            // The connection stands, and no answer came in time.
            (_, Err(failure)) if failure.lost => {
                self.fail(Code::Unreachable, &failure.message, orders, output);
            }
            (_, Err(failure)) => self.fail(Code::TurnFailed, &failure.message, orders, output),
            (_, Ok(_)) => (),
        }
    }

    /// Catches up with what happened to the turn while the connection was away. Programs are told in the
    /// server's own words, as if nothing had happened.
    fn look_back(&mut self, mut turn: v2::Turn, orders: &mut Vec<Order>, output: &mut Output) {
        let Some(thread_id) = self.thread.clone() else {
            return;
        };
        let is_over = turn.status != v2::TurnStatus::InProgress;
        let mut items = std::mem::take(&mut turn.items);
        if !is_over {
            // It may be unfinished, and its end is still to come.
            items.pop();
        }
        for item in items {
            if item.id().is_some_and(|it| self.completed.contains(&it)) {
                continue;
            }
            let changed = notice::ItemChanged {
                thread_id: thread_id.clone(),
                turn_id: turn.id.clone(),
                item,
            };
            self.handle_notification(ServerNotification::ItemCompleted(changed), orders, output);
        }
        if is_over {
            let changed = notice::TurnChanged { thread_id, turn };
            self.handle_notification(ServerNotification::TurnCompleted(changed), orders, output);
        } else {
            self.is_running = true;
            if self.wants_interrupt {
                self.interrupt(orders, output);
            }
        }
    }

    fn is_ours(&self, turn: &TurnId) -> bool {
        self.turn.as_ref().is_none_or(|it| it == turn)
    }

    pub(crate) fn handle_notification(
        &mut self,
        notification: ServerNotification,
        orders: &mut Vec<Order>,
        output: &mut Output,
    ) {
        if self.code.is_some() || !self.concerns(&notification) {
            return;
        }
        output.notification(&self.host, &notification);
        match notification {
            ServerNotification::TurnStarted(it) if self.is_ours(&it.turn.id) => {
                self.turn = Some(it.turn.id);
                self.is_running = true;
                if self.wants_interrupt {
                    self.interrupt(orders, output);
                }
            }
            ServerNotification::AgentMessageDelta(it) => {
                self.printed.entry(it.item_id).or_default().push_str(&it.delta);
                output.text(&self.host, &it.delta);
            }
            ServerNotification::ItemStarted(it) => output.item_started(&self.host, &it.item),
            ServerNotification::ItemCompleted(it) => self.item_completed(&it.item, output),
            ServerNotification::Error(it) => output.turn_error(&self.host, &it.error, it.will_retry),
            ServerNotification::TurnCompleted(it) if self.is_ours(&it.turn.id) => {
                self.turn_completed(&it.turn, orders, output)
            }
            _ => (),
        }
    }

    /// Whether it is about our thread, or about none. Sub-agents' threads are not ours.
    fn concerns(&self, notification: &ServerNotification) -> bool {
        let params = notification.params().unwrap_or_default();
        match (params.get("threadId").and_then(Value::as_str), &self.thread) {
            (Some(theirs), Some(ours)) => theirs == ours.0,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    fn item_completed(&mut self, item: &v2::ThreadItem, output: &mut Output) {
        self.completed.extend(item.id());
        if let v2::ThreadItem::AgentMessage(message) = item {
            let printed = self.printed.remove(&message.id).unwrap_or_default();
            // What was streamed is the beginning of the whole; after a gap the whole is said again.
            match message.text.strip_prefix(&printed) {
                Some(rest) => output.text(&self.host, rest),
                None => output.text(&self.host, &format!("\n{}", message.text)),
            }
            output.end_of_message(&self.host);
        } else {
            output.item_completed(&self.host, item);
        }
    }

    fn turn_completed(&mut self, turn: &v2::Turn, orders: &mut Vec<Order>, output: &mut Output) {
        let code = match turn.status {
            _ if self.needed_approval => Code::ApprovalNeeded,
            v2::TurnStatus::Completed => Code::Done,
            v2::TurnStatus::Interrupted if self.wants_interrupt => Code::Interrupted,
            v2::TurnStatus::Interrupted
            | v2::TurnStatus::Failed
            | v2::TurnStatus::InProgress
            | v2::TurnStatus::Other(_) => Code::TurnFailed,
        };
        if code == Code::TurnFailed {
            let why = turn.error.as_ref().map(explained).unwrap_or_default();
            output.error(&self.host, &format!("the turn is {}{why}", turn.status.as_str()));
        }
        self.end(code, orders, output);
    }

    /// There is nobody to decide: the command is not run, the turn ends.
    pub(crate) fn handle_request(
        &mut self,
        id: Id,
        request: ServerRequest,
        orders: &mut Vec<Order>,
        output: &mut Output,
    ) {
        let cancel = json!(v2::ApprovalResponse {
            decision: v2::ApprovalDecision::Cancel
        });
        let (what, answer) = match &request {
            ServerRequest::CommandApproval(it) => {
                let command = it.command.clone().unwrap_or_else(|| "a command".to_owned());
                let reason = it
                    .reason
                    .as_ref()
                    .map(|it| format!(" ({it})"))
                    .unwrap_or_default();
                (format!("to run `{command}`{reason}"), cancel)
            }
            ServerRequest::FileChangeApproval(_) => ("to change files".to_owned(), cancel),
            ServerRequest::PermissionsApproval(_) => (
                "for more rights".to_owned(),
                json!({ "permissions": {}, "scope": "turn" }),
            ),
            ServerRequest::Elicitation(it) => (
                format!("through `{}`: {}", it.server_name, it.message),
                json!({ "action": "cancel" }),
            ),
            ServerRequest::UserInput(_) => (
                "a question to you".to_owned(),
                json!(v2::UserInputResponse::default()),
            ),
            ServerRequest::Unknown { .. } => {
                orders.push(Order::Refuse(id));
                return;
            }
        };
        self.needed_approval = true;
        output.error(
            &self.host,
            &format!("approval is needed {what}, and there is nobody to ask"),
        );
        output.hint("use `codex connect` to decide, or `--approval never` to have it refused at once");
        orders.push(Order::Reply(id, answer));
        self.interrupt(orders, output);
    }

    /// Ends the turn as soon as the server lets it end.
    pub(crate) fn interrupt(&mut self, orders: &mut Vec<Order>, output: &mut Output) {
        self.wants_interrupt = true;
        match (&self.thread, &self.turn) {
            (Some(thread), Some(turn)) if self.is_running => {
                let params = v2::TurnInterruptParams {
                    thread_id: thread.clone(),
                    turn_id: turn.clone(),
                };
                orders.push(Order::Call(Box::new(ClientRequest::TurnInterrupt(params))));
            }
            // Nothing runs, or nothing that could be reached: closing the connection ends it.
            _ if self.thread.is_none() || self.lost_since.is_some() => self.give_up(orders, output),
            _ => (),
        }
    }

    /// Ends without waiting for the server.
    pub(crate) fn give_up(&mut self, orders: &mut Vec<Order>, output: &mut Output) {
        if self.code.is_none() {
            self.end(Code::Interrupted, orders, output);
        }
    }

    fn fail(&mut self, code: Code, text: &str, orders: &mut Vec<Order>, output: &mut Output) {
        output.error(&self.host, text);
        self.end(code, orders, output);
    }

    fn end(&mut self, code: Code, orders: &mut Vec<Order>, output: &mut Output) {
        self.code = Some(code);
        output.done(&self.host, code);
        orders.push(Order::Disconnect);
    }
}

/// Why a turn failed, with what the model's server said beyond that.
fn explained(error: &v2::TurnError) -> String {
    let details = error.additional_details.as_deref().unwrap_or_default().trim();
    match details.is_empty() || error.message.contains(details) {
        true => format!(": {}", error.message),
        false => format!(": {} ({details})", error.message),
    }
}

#[cfg(test)]
mod tests;
