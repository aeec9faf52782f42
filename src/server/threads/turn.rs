//! The turn that a thread's owner runs: begun, steered, interrupted, ended.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use codex_agent::{
    RawItem,
    approval::ApprovalPolicy,
    ports::CallId,
    run::{COMMANDS_MAX, Command, OUTPUTS_MAX, Outcome, Ports, TurnOutput, run},
    tools::ToolSpec,
    turn::{NotSteerable, Said, Setup, Turn, TurnKind},
};
use codex_protocol::{
    TurnId,
    served::TurnInput,
    v2::{TurnStatus, UserInput, UserMessage},
};
use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, error::TrySendError},
};
use tokio_util::sync::CancellationToken;

use super::{
    context,
    dynamic::DynamicTools,
    hands::{self, Hands},
    new_id,
    owner::{Owner, Run},
    wire,
};
use crate::{config::Config, life::Work, models, notice::Notice, refusal::Refusal, responder::Responder};

/// Characters that a user may say at once.
const INPUT_CHARS_MAX: usize = 1 << 20;

/// How long a turn waits for MCP servers that are starting; it begins without those that take longer.
const TOOLS_PATIENCE: Duration = Duration::from_secs(2);

/// The turn that runs.
pub(super) struct Active {
    pub(super) id: TurnId,
    commands: mpsc::Sender<Command>,
    cancel: CancellationToken,
    /// Who began it, and what is answered once it has started.
    pub(super) starting: Option<(Responder, Value)>,
    /// What the model is told before the user's words; kept with the turn's start.
    pub(super) news: Vec<RawItem>,
    /// Whether clients know that it has started.
    pub(super) started: bool,
    /// It is completed for the clients; the next one may begin in a moment.
    pub(super) completed: bool,
    /// It was completed, and neither failed nor interrupted.
    pub(super) succeeded: bool,
    pub(super) interrupts: Vec<Responder>,
    steers: BTreeMap<u64, Steer>,
    next_steer: u64,
    /// Decisions for which there was no room yet.
    unsent: Vec<Command>,
    _work: Work,
}

impl Active {
    /// Whether the thread is shown as active because of it.
    pub(super) fn is_shown(&self) -> bool {
        self.started && !self.completed
    }
}

/// Words on their way into a turn.
struct Steer {
    start: TurnInput,
    responder: Responder,
    /// They came as `turn/start`: if the turn is over they begin the next one.
    may_start: bool,
}

/// A turn that the owner's loop shall run.
pub(super) struct Begun {
    pub(super) turn: TurnId,
    pub(super) outputs: mpsc::Receiver<TurnOutput>,
    pub(super) run: Run,
}

/// How a turn begins.
pub(super) struct Beginning {
    pub(super) id: TurnId,
    pub(super) kind: TurnKind,
    pub(super) said: Vec<Said>,
    pub(super) reopened: Vec<CallId>,
    pub(super) output_schema: Option<Value>,
    pub(super) summary: Option<String>,
}

impl Beginning {
    /// A turn with a new id.
    pub(super) fn new(kind: TurnKind, said: Vec<Said>) -> Result<Beginning, Refusal> {
        Ok(Beginning {
            id: TurnId(new_id()?),
            kind,
            said,
            reopened: Vec::new(),
            output_schema: None,
            summary: None,
        })
    }
}

impl Owner {
    pub(crate) fn start_turn(&mut self, start: TurnInput, responder: Responder) {
        if let Err(refusal) = self.check(&start.input) {
            return responder.refuse(refusal);
        }
        if let Some(known) = start.client_user_message_id.as_deref()
            && let Some(turn) = self.log.state().turn_of_client_message(known).cloned()
        {
            return responder.answer(&json!({ "turn": self.known_turn(&turn) }));
        }
        match &self.active {
            Some(_) => self.steer(start, responder, true),
            None => self.start_new(start, responder),
        }
    }

    /// What the user says must be there, fit, and name images that can be read.
    fn check(&self, input: &[UserInput]) -> Result<(), Refusal> {
        if input.is_empty() {
            return Err(Refusal::invalid("input must not be empty"));
        }
        let cwd = Path::new(&self.log.state().settings.cwd);
        for part in input {
            if let UserInput::LocalImage(image) = part
                && let Err(error) = std::fs::File::open(cwd.join(&image.path))
            {
                return Err(Refusal::invalid(format!("image {}: {error}", image.path)));
            }
        }
        check_length(input)
    }

    fn known_turn(&self, id: &TurnId) -> Value {
        let mut turn = wire::new_turn(id, None);
        let is_active = self.active.as_ref().is_some_and(|it| it.id == *id);
        let status = match self.log.state().last_turn() {
            Some((last, Some(status))) if last == id => status.clone(),
            _ if is_active => TurnStatus::InProgress,
            _ => TurnStatus::Completed,
        };
        turn["status"] = json!(status);
        turn
    }

    fn start_new(&mut self, start: TurnInput, responder: Responder) {
        self.goal_turns = 0;
        let began = self.change_settings(&start.overrides).and_then(|()| {
            let said = self.said(&start)?;
            let beginning = Beginning {
                output_schema: start.output_schema.filter(|it| !it.is_null()),
                summary: start.summary,
                ..Beginning::new(TurnKind::Regular, vec![said])?
            };
            let answer = json!({ "turn": wire::new_turn(&beginning.id, None) });
            self.begin(beginning).map(|()| answer)
        });
        self.starting(began, responder);
    }

    /// Answers once the turn has started, or says why it does not.
    pub(super) fn starting(&mut self, began: Result<Value, Refusal>, responder: Responder) {
        match (began, &mut self.active) {
            (Ok(answer), Some(active)) => active.starting = Some((responder, answer)),
            (Ok(_), None) => responder.refuse(Refusal::unanswered()),
            (Err(refusal), _) => responder.refuse(refusal),
        }
    }

    fn said(&self, start: &TurnInput) -> Result<Said, Refusal> {
        let message = UserMessage {
            id: codex_protocol::ItemId(new_id()?),
            client_id: start.client_user_message_id.clone(),
            content: start.input.clone(),
        };
        let raw = context::words(&message.content, Path::new(&self.log.state().settings.cwd));
        Ok(Said { message, raw })
    }

    /// Begins a turn; the loop runs it.
    pub(super) fn begin(&mut self, beginning: Beginning) -> Result<(), Refusal> {
        if self.server.life().draining().is_cancelled() {
            return Err(Refusal::invalid("the server is ending and begins no more turns"));
        }
        let mut history = self.history()?;
        let (config, settings) = (self.server.config(), self.log.state().settings.clone());
        let setup = self.server.setup();
        let hands = self.hands(&beginning.id, &config);
        let (news, problems) = context::news(
            &history,
            self.log.header(),
            &settings,
            &config,
            &setup.codex_home,
            &hands.shell,
        );
        for problem in problems {
            self.warn(&problem);
        }
        history.extend(news.iter().cloned());
        let mut model = context::model(&settings, &config, &beginning.kind);
        model.output_schema = beginning.output_schema;
        model.summary = beginning.summary.or(model.summary);
        let asked = self.server.models().get(&self.server, &settings.model_provider);
        let turn = Turn::new(Setup {
            thread_id: self.id.clone(),
            turn_id: beginning.id.clone(),
            kind: beginning.kind.clone(),
            instructions: context::instructions(self.log.header(), &config, &beginning.kind),
            tools: self.tools(&model.name).into(),
            model,
            history,
            policy: ApprovalPolicy::read(&settings.approval_policy),
            containment: context::containment(&settings.sandbox),
            grants: self.grants.clone(),
            usage: self.log.state().usage.clone().unwrap_or_default(),
            stream_max_retries: asked.stream_max_retries,
            reopened: beginning.reopened,
        });
        let ports = Ports {
            model: asked.model,
            tools: Arc::new(hands),
            outside: models::outside(),
        };
        let (commands, heard) = mpsc::channel(COMMANDS_MAX);
        let (telling, outputs) = mpsc::channel(OUTPUTS_MAX);
        let cancel = CancellationToken::new();
        self.begun.push(Begun {
            turn: beginning.id.clone(),
            outputs,
            run: Box::pin(run(turn, beginning.said, ports, heard, telling, cancel.clone())),
        });
        self.activate(beginning.id, commands, cancel, news);
        Ok(())
    }

    /// What the model is offered. Servers that are just starting are waited for a little.
    fn tools(&self, model: &str) -> Vec<ToolSpec> {
        let mut tools = context::tools(model);
        if let Some(servers) = self.server.mcp().servers(&self.server) {
            // This is a thread that may block.
            let ready = Handle::current().block_on(servers.tools(TOOLS_PATIENCE));
            tools.extend(ready.iter().map(|it| ToolSpec::Function {
                name: it.qualified_name.clone(),
                description: it.description.clone(),
                parameters: it.input_schema.clone(),
            }));
        }
        let has_namespaces = context::is_openai(model);
        tools.extend(DynamicTools::of(self.log.header()).offered(has_namespaces, &tools));
        tools
    }

    /// The hands of a turn that begins now.
    pub(super) fn hands(&self, turn: &TurnId, config: &Config) -> Hands {
        let (setup, settings) = (self.server.setup(), &self.log.state().settings);
        Hands {
            server: self.server.clone(),
            cwd: settings.cwd.clone().into(),
            sandbox: settings.sandbox.clone(),
            environment: Arc::new(hands::environment(setup, config)),
            unix_sockets: config.sandbox.unix_sockets.clone(),
            shell: hands::shell(setup),
            sessions: Arc::clone(&self.sessions),
            thread: self.id.clone(),
            turn: turn.clone(),
            policy_of_questions: ApprovalPolicy::read(&settings.approval_policy),
            questions: self.wishes.clone(),
            dynamic: Arc::new(DynamicTools::of(self.log.header())),
        }
    }

    pub(super) fn activate(
        &mut self,
        id: TurnId,
        commands: mpsc::Sender<Command>,
        cancel: CancellationToken,
        news: Vec<RawItem>,
    ) {
        self.active = Some(Active {
            id,
            commands,
            cancel,
            starting: None,
            news,
            started: false,
            completed: false,
            succeeded: false,
            interrupts: Vec::new(),
            steers: BTreeMap::new(),
            next_steer: 0,
            unsent: Vec::new(),
            _work: self.server.life().work(),
        });
    }

    /// The conversation as the model sees it.
    pub(super) fn history(&mut self) -> Result<Vec<RawItem>, Refusal> {
        if let Some(history) = &self.history {
            return Ok(history.clone());
        }
        let reader = self.log.reader().map_err(|it| wire::refuse(&it))?;
        let (items, problems) = reader.prompt().map_err(|it| wire::refuse(&it))?;
        if !problems.is_empty() {
            self.warn("a part of this thread's log is damaged; the model does not know what was there");
        }
        let history: Vec<_> = items.into_iter().map(|it| RawItem::new(it.item)).collect();
        self.history = Some(history.clone());
        Ok(history)
    }

    pub(super) fn warn(&self, message: &str) {
        let params = json!({ "threadId": self.id, "message": message });
        self.tell(&Notice::new("warning", &params));
    }

    pub(crate) fn steer_turn(&mut self, start: TurnInput, expected: &TurnId, responder: Responder) {
        if let Err(refusal) = self.check(&start.input) {
            return responder.refuse(refusal);
        }
        // The same words again, whose answer was lost.
        let known = start.client_user_message_id.as_deref();
        let known = known.and_then(|it| self.log.state().turn_of_client_message(it));
        if known == Some(expected) {
            return responder.answer(&json!({ "turnId": expected }));
        }
        match self.active.as_ref().filter(|it| !it.completed) {
            None => responder.refuse(Refusal::invalid("no active turn to steer")),
            Some(active) if active.id != *expected => {
                let text = format!("expected active turn id `{expected}` but found `{}`", active.id);
                responder.refuse(Refusal::invalid(text));
            }
            Some(_) => self.steer(start, responder, false),
        }
    }

    fn steer(&mut self, start: TurnInput, responder: Responder, may_start: bool) {
        let said = match self.said(&start) {
            Ok(said) => said,
            Err(refusal) => return responder.refuse(refusal),
        };
        let Some(active) = &mut self.active else {
            return responder.refuse(Refusal::invalid("no active turn to steer"));
        };
        let number = active.next_steer;
        active.next_steer += 1;
        let steer = Steer {
            start,
            responder,
            may_start,
        };
        match active.commands.try_send(Command::Steer { said, number }) {
            Ok(()) => drop(active.steers.insert(number, steer)),
            Err(TrySendError::Full(_)) => steer.responder.refuse(Refusal::overloaded()),
            // The turn has ended and its end is on its way here.
            Err(TrySendError::Closed(_)) => drop(active.steers.insert(number, steer)),
        }
    }

    /// Words were taken, or not.
    pub(super) fn steered(&mut self, turn: &TurnId, number: u64, taken: Result<(), NotSteerable>) {
        let Some(active) = self.active.as_mut().filter(|it| it.id == *turn) else {
            return;
        };
        let Some(steer) = active.steers.remove(&number) else {
            return;
        };
        let why = match taken {
            Ok(()) if steer.may_start => {
                let answer = json!({ "turn": wire::new_turn(turn, None) });
                return steer.responder.answer(&answer);
            }
            Ok(()) => return steer.responder.answer(&json!({ "turnId": turn })),
            Err(NotSteerable::Ending) => return drop(active.steers.insert(number, steer)),
            Err(why) => why,
        };
        let kind = match why {
            NotSteerable::Compact => "compact",
            NotSteerable::Review | NotSteerable::Ending => "review",
        };
        let data = json!({ "codexErrorInfo": { "activeTurnNotSteerable": { "turnKind": kind } } });
        steer
            .responder
            .refuse(Refusal::invalid(why.to_string()).with_data(data));
    }

    pub(crate) fn interrupt(&mut self, turn: &TurnId, responder: Responder) {
        let Some(active) = self.active.as_mut().filter(|it| !it.completed) else {
            return match turn.0.is_empty() {
                // Whatever is active shall end, and nothing is.
                true => responder.answer(&json!({})),
                false => responder.refuse(Refusal::invalid("no active turn to interrupt")),
            };
        };
        if !turn.0.is_empty() && active.id != *turn {
            let text = format!("expected active turn id {turn} but found {}", active.id);
            return responder.refuse(Refusal::invalid(text));
        }
        active.interrupts.push(responder);
        self.send(Command::Interrupt);
    }

    /// Tells a turn something that must reach it.
    pub(super) fn command(&mut self, turn: &TurnId, command: Command) {
        if self.active.as_ref().is_some_and(|it| it.id == *turn) {
            self.send(command);
        }
    }

    fn send(&mut self, command: Command) {
        if let Some(active) = &mut self.active {
            active.unsent.push(command);
        }
        self.send_on();
    }

    /// Sends what had to wait for room. Room comes only as the turn goes on, and then it tells something.
    pub(super) fn send_on(&mut self) {
        let Some(active) = &mut self.active else { return };
        while !active.unsent.is_empty() {
            match active.commands.try_reserve() {
                Ok(permit) => permit.send(active.unsent.remove(0)),
                Err(TrySendError::Full(())) => return,
                // The turn is over; nothing that could be said to it matters any more.
                Err(TrySendError::Closed(())) => return active.unsent.clear(),
            }
        }
    }

    /// Interrupts whatever runs, as the server ends.
    pub(super) fn cancel(&mut self) {
        if let Some(active) = &self.active {
            active.cancel.cancel();
        }
        for running in self.sessions.running() {
            self.sessions.end(&running.session);
        }
    }

    /// Ends whatever runs, at once, as the thread goes.
    pub(super) fn give_up(&mut self) {
        self.cancel();
        let active = self.active.take();
        for question in self.questions_of(None) {
            self.resolve(question);
        }
        let turn = active.as_ref().map(|it| it.id.clone());
        self.settle(turn.as_ref(), &[]);
        self.live.clear();
        if let Some(active) = active {
            let mut turn = wire::new_turn(&active.id, None);
            turn["status"] = json!(TurnStatus::Interrupted);
            let params = json!({ "threadId": self.id, "turn": turn });
            self.tell(&Notice::new("turn/completed", &params));
            active.interrupts.into_iter().for_each(|it| it.answer(&json!({})));
        }
    }

    /// The turn is over; words that came too late for it begin the next one.
    pub(super) fn over(&mut self, turn: &TurnId, outcome: Outcome) {
        let is_outdated = std::mem::take(&mut self.is_outdated);
        self.history = (!is_outdated).then_some(outcome.history);
        let Some(active) = self.active.take_if(|it| it.id == *turn) else {
            return;
        };
        for steer in active.steers.into_values() {
            match steer.may_start {
                true => self.start_turn(steer.start, steer.responder),
                false => steer
                    .responder
                    .refuse(Refusal::invalid("no active turn to steer")),
            }
        }
        if self.active.is_none() && active.succeeded {
            self.pursue_goal();
        }
    }
}

/// How long it is.
fn check_length(input: &[UserInput]) -> Result<(), Refusal> {
    let chars: usize = input
        .iter()
        .map(|it| match it {
            UserInput::Text(text) => text.text.chars().count(),
            _ => 0,
        })
        .sum();
    if chars <= INPUT_CHARS_MAX {
        return Ok(());
    }
    let text = format!("Input exceeds the maximum length of {INPUT_CHARS_MAX} characters.");
    Err(Refusal::params(text).with_data(json!({
        "input_error_code": "input_too_large",
        "max_chars": INPUT_CHARS_MAX,
        "actual_chars": chars,
    })))
}
