//! Drives a turn: the machine, a model, tools and the time.
//!
//! One loop owns everything. What it tells goes out in one channel, in order; while nobody takes it the loop waits,
//! and with it the model's stream and the tools' output.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use codex_protocol::v2::ThreadTokenUsage;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::RawItem;
use crate::approval::Permission;
use crate::model::{ModelError, ModelEvent, pause};
use crate::ports::{
    CallId, Model, OutputSink, Outside, Prepared, Prompt, ToolCall, ToolOutcome, ToolOutput, ToolResult,
    ToolUpdate, Tools,
};
use crate::turn::{
    Answer, NotSteerable, Question, Record, Said, SampleRetry, Turn, TurnAction, TurnEvent, TurnInput,
};

/// The capacity that the channel of commands should have. Whoever takes the outputs must not wait for room in it.
pub const COMMANDS_MAX: usize = 32;
/// The capacity that the channel of outputs should have; when it is full the turn waits.
pub const OUTPUTS_MAX: usize = 256;
/// News of running calls that wait for the loop; when it is full the tools wait.
const UPDATES_MAX: usize = 64;
/// How long a call that was asked to end may take, before it is dropped.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// What a turn needs.
#[derive(Clone)]
pub struct Ports {
    pub model: Arc<dyn Model>,
    pub tools: Arc<dyn Tools>,
    pub outside: Outside,
}

/// What a turn is told from outside.
#[derive(Debug)]
pub enum Command {
    /// More words of the user, under a number of the sender's. [`TurnOutput::Steered`] says whether they were taken;
    /// without it the turn was over before.
    Steer {
        said: Said,
        number: u64,
    },
    Decide {
        call: CallId,
        answer: Answer,
    },
    Interrupt,
}

/// What a turn tells, in order.
#[derive(Debug)]
pub enum TurnOutput {
    /// To be kept. What is emitted after it must not be told before it is.
    Record(Record),
    Emit(TurnEvent),
    Ask(CallId, Question),
    /// The question was answered by the end of the turn.
    Withdraw(CallId),
    /// Whether the words of [`Command::Steer`] were taken. Their records come before it, what is emitted about them
    /// after it.
    Steered {
        number: u64,
        taken: Result<(), NotSteerable>,
    },
    /// To be answered when all records so far are on disk: a call is run only then.
    Flush(oneshot::Sender<()>),
    /// The turn is over and the next one may begin. Events of commands in the background may follow.
    Over(Box<Outcome>),
}

/// What a turn leaves to the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub history: Vec<RawItem>,
    pub usage: ThreadTokenUsage,
}

/// Runs the turn to its end, and stays until its commands in the background have ended. Cancelling interrupts the turn
/// and gives those commands up. It ends at once when nobody takes its outputs any more.
pub async fn run(
    turn: Turn,
    said: Vec<Said>,
    ports: Ports,
    mut commands: mpsc::Receiver<Command>,
    outputs: mpsc::Sender<TurnOutput>,
    cancel: CancellationToken,
) {
    let (updates_in, mut updates) = mpsc::channel(UPDATES_MAX);
    let mut driver = Driver {
        turn,
        ports,
        outputs,
        sampling: None,
        tasks: JoinSet::new(),
        running: HashMap::new(),
        tokens: BTreeMap::new(),
        updates: updates_in,
        // Not a child of `cancel`: on the way down calls are asked to end, and what they say is still taken.
        root: CancellationToken::new(),
    };
    let _guard = driver.root.clone().drop_guard();
    if driver.begin(said).await.is_err() {
        return;
    }
    let mut cancelled = false;
    while !driver.turn.is_done() {
        let handled = tokio::select! {
            () = cancel.cancelled(), if !cancelled => {
                cancelled = true;
                driver.handle(TurnInput::Interrupt).await
            }
            Some(command) = commands.recv() => driver.handle_command(command).await,
            event = next(&mut driver.sampling) => driver.handle_event(event).await,
            Some((id, update)) = updates.recv() => driver.handle(TurnInput::Update(id, update)).await,
            Some(ended) = driver.tasks.join_next_with_id() => driver.handle_end(ended, &mut updates).await,
        };
        if handled.is_err() {
            return;
        }
    }
    let outcome = Outcome {
        history: driver.turn.history().to_vec(),
        usage: driver.turn.usage().clone(),
    };
    if driver.tell(TurnOutput::Over(Box::new(outcome))).await.is_err() {
        return;
    }
    commands.close();
    while driver.turn.has_background() && !cancel.is_cancelled() {
        let handled = tokio::select! {
            () = cancel.cancelled() => Ok(()),
            Some((id, update)) = updates.recv() => driver.handle(TurnInput::Update(id, update)).await,
        };
        if handled.is_err() {
            return;
        }
    }
    driver.turn.abandon_background((driver.ports.outside.now)());
    // The end is the end, whether somebody listens or not.
    let _ = driver.perform().await;
}

/// Nobody takes the outputs any more.
struct Gone;

struct Driver {
    turn: Turn,
    ports: Ports,
    outputs: mpsc::Sender<TurnOutput>,
    sampling: Option<Sampling>,
    tasks: JoinSet<(CallId, TaskEnd)>,
    /// What each task does, for the case that it cannot tell itself.
    running: HashMap<Id, (CallId, Task)>,
    tokens: BTreeMap<CallId, CancellationToken>,
    updates: mpsc::Sender<(CallId, ToolUpdate)>,
    root: CancellationToken,
}

struct Sampling {
    stream: BoxStream<'static, Result<ModelEvent, ModelError>>,
    cancel: CancellationToken,
}

impl Drop for Sampling {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[derive(Clone, Copy)]
enum Task {
    Prepare,
    Run,
}

enum TaskEnd {
    Prepared(Prepared),
    Ran(ToolOutcome),
}

/// The next event of the answer; waits for ever without one.
async fn next(sampling: &mut Option<Sampling>) -> Result<ModelEvent, ModelError> {
    match sampling {
        Some(sampling) => match sampling.stream.next().await {
            Some(event) => event,
            None => Err(ModelError::disconnected("the answer ended in the middle")),
        },
        None => std::future::pending().await,
    }
}

impl Driver {
    async fn handle(&mut self, input: TurnInput) -> Result<(), Gone> {
        self.turn.handle((self.ports.outside.now)(), input);
        self.perform().await
    }

    /// What the user said is recorded before the turn is told to have started: a client that hears so must find its
    /// words again, whatever happens.
    async fn begin(&mut self, said: Vec<Said>) -> Result<(), Gone> {
        self.turn
            .handle((self.ports.outside.now)(), TurnInput::Begin(said));
        let actions: Vec<_> = std::iter::from_fn(|| self.turn.poll_action()).collect();
        let (records, others): (Vec<_>, Vec<_>) = actions
            .into_iter()
            .partition(|it| matches!(it, TurnAction::Record(_)));
        for action in records.into_iter().chain(others) {
            self.perform_one(action).await?;
        }
        self.perform().await
    }

    async fn handle_command(&mut self, command: Command) -> Result<(), Gone> {
        match command {
            Command::Interrupt => self.handle(TurnInput::Interrupt).await,
            Command::Decide { call, answer } => self.handle(TurnInput::Decision(call, answer)).await,
            Command::Steer { said, number } => {
                let taken = self.turn.steerable();
                if taken.is_err() {
                    return self.tell(TurnOutput::Steered { number, taken }).await;
                }
                self.turn
                    .handle((self.ports.outside.now)(), TurnInput::Steer(said));
                // The client hears that its words were taken when they are kept, and before what follows from them.
                let mut answer = Some(TurnOutput::Steered { number, taken });
                while let Some(action) = self.turn.poll_action() {
                    if matches!(action, TurnAction::Emit(_))
                        && let Some(answer) = answer.take()
                    {
                        self.tell(answer).await?;
                    }
                    self.perform_one(action).await?;
                }
                match answer {
                    Some(answer) => self.tell(answer).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn handle_event(&mut self, event: Result<ModelEvent, ModelError>) -> Result<(), Gone> {
        if matches!(event, Err(_) | Ok(ModelEvent::Completed { .. })) {
            self.sampling = None;
        }
        self.handle(TurnInput::Model(event)).await
    }

    async fn handle_end(
        &mut self,
        ended: Result<(Id, (CallId, TaskEnd)), JoinError>,
        updates: &mut mpsc::Receiver<(CallId, ToolUpdate)>,
    ) -> Result<(), Gone> {
        // Everything the call told before its end comes before its end.
        while let Ok((id, update)) = updates.try_recv() {
            self.handle(TurnInput::Update(id, update)).await?;
        }
        let (task, (call, end)) = match ended {
            Ok(ended) => ended,
            Err(error) => match self.running.get(&error.id()).cloned() {
                Some((call, task)) => (error.id(), (call, broken(task))),
                None => return Ok(()),
            },
        };
        self.running.remove(&task);
        self.tokens.remove(&call);
        self.handle(match end {
            TaskEnd::Prepared(prepared) => TurnInput::Prepared(call, prepared),
            TaskEnd::Ran(outcome) => TurnInput::Tool(call, outcome),
        })
        .await
    }

    async fn perform(&mut self) -> Result<(), Gone> {
        while let Some(action) = self.turn.poll_action() {
            self.perform_one(action).await?;
        }
        Ok(())
    }

    async fn perform_one(&mut self, action: TurnAction) -> Result<(), Gone> {
        match action {
            TurnAction::Sample(prompt, retry) => self.sample(*prompt, retry),
            TurnAction::StopSampling => self.sampling = None,
            TurnAction::Prepare(call) => self.prepare(call),
            TurnAction::Run(call, permission) => {
                self.flush().await?;
                self.run(call, permission);
            }
            TurnAction::Stop(call) => {
                if let Some(token) = self.tokens.get(&call) {
                    token.cancel();
                }
            }
            TurnAction::Ask(call, question) => self.tell(TurnOutput::Ask(call, question)).await?,
            TurnAction::Withdraw(call) => self.tell(TurnOutput::Withdraw(call)).await?,
            TurnAction::Record(record) => self.tell(TurnOutput::Record(record)).await?,
            TurnAction::Emit(event) => self.tell(TurnOutput::Emit(event)).await?,
        }
        Ok(())
    }

    async fn tell(&mut self, output: TurnOutput) -> Result<(), Gone> {
        self.outputs.send(output).await.map_err(|_| Gone)
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        let (done, flushed) = oneshot::channel();
        self.tell(TurnOutput::Flush(done)).await?;
        flushed.await.map_err(|_| Gone)
    }

    fn sample(&mut self, prompt: Prompt, retry: Option<SampleRetry>) {
        let cancel = self.root.child_token();
        let (model, token) = (Arc::clone(&self.ports.model), cancel.clone());
        let pause = retry.map(|it| pause(it.number, it.asked, (self.ports.outside.jitter)()));
        let asked = async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            model.sample(prompt, token)
        };
        let stream = stream::once(asked).flatten().boxed();
        self.sampling = Some(Sampling { stream, cancel });
    }

    fn prepare(&mut self, call: ToolCall) {
        let (tools, cancel) = (Arc::clone(&self.ports.tools), self.root.child_token());
        let (id, token) = (call.id.clone(), cancel.clone());
        let task = async move {
            let id = call.id.clone();
            let prepared = tokio::select! {
                prepared = tools.prepare(call, cancel.clone()) => prepared,
                () = expired(&cancel) => Prepared::Refused("The call was stopped.".to_owned()),
            };
            (id, TaskEnd::Prepared(prepared))
        };
        self.spawn(id, token, Task::Prepare, task);
    }

    fn run(&mut self, call: ToolCall, permission: Permission) {
        let (tools, cancel) = (Arc::clone(&self.ports.tools), self.root.child_token());
        let sink = OutputSink::new(call.id.clone(), self.updates.clone());
        let (id, token) = (call.id.clone(), cancel.clone());
        let task = async move {
            let id = call.id.clone();
            let outcome = tokio::select! {
                outcome = tools.run(call, permission, sink, cancel.clone()) => outcome,
                () = expired(&cancel) => unfinished("The call was stopped, and did not end in time."),
            };
            (id, TaskEnd::Ran(outcome))
        };
        self.spawn(id, token, Task::Run, task);
    }

    fn spawn(
        &mut self,
        id: CallId,
        token: CancellationToken,
        kind: Task,
        task: impl Future<Output = (CallId, TaskEnd)> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(task);
        self.running.insert(handle.id(), (id.clone(), kind));
        self.tokens.insert(id, token);
    }
}

/// Waits until a call that was asked to end has used up its grace.
async fn expired(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}

fn unfinished(text: &str) -> ToolOutcome {
    ToolOutcome {
        output: ToolOutput::Text(text.to_owned()),
        result: ToolResult::Nothing,
    }
}

/// How a call ends whose task broke down.
fn broken(task: Task) -> TaskEnd {
    let text = "The tool failed because of a defect in it. Whether it had an effect is not known.";
    match task {
        Task::Prepare => TaskEnd::Prepared(Prepared::Refused(text.to_owned())),
        Task::Run => TaskEnd::Ran(unfinished(text)),
    }
}
