//! `thread/shellCommand`: a command of the user, in a turn of its own or beside the one that runs.

use std::{sync::Arc, time::Duration};

use codex_agent::{
    RawItem,
    approval::Permission,
    model::wire as model_wire,
    run::{COMMANDS_MAX, Command, OUTPUTS_MAX, Outcome, TurnOutput},
    tools::ExecCommand,
    turn::{NotSteerable, Record, TurnEvent},
};
use codex_exec::{Chunks, Exit, Process, Stdin, TextStream};
use codex_protocol::{
    ItemId, TurnId,
    v2::{CommandExecution, CommandExecutionStatus, ThreadItem, ThreadTokenUsage, TurnStatus},
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    hands::{self, Hands},
    new_id,
    owner::Owner,
    turn::Begun,
};
use crate::{notice::unix_millis, refusal::Refusal, responder::Responder};

/// How long a command of the user may run, unless the client says otherwise.
const TIME_OUT: Duration = Duration::from_secs(60 * 60);
/// Output that the model is told, in bytes.
const TOLD_BYTES_MAX: usize = 40_000;

/// One command of the user.
struct Shell {
    turn: TurnId,
    /// Whether the turn is its own: then it begins and ends it.
    is_alone: bool,
    command: codex_exec::Command,
    script: String,
    history: Vec<RawItem>,
    usage: ThreadTokenUsage,
    hands: Hands,
    outputs: mpsc::Sender<TurnOutput>,
    cancel: CancellationToken,
}

impl Owner {
    /// Runs it as the user of the host, outside of any sandbox: it is the user's own word.
    pub(crate) fn shell(&mut self, script: &str, time_out: Option<Duration>, responder: Responder) {
        if script.trim().is_empty() {
            return responder.refuse(Refusal::invalid("command must not be empty"));
        }
        if let Err(refusal) = self.begin_shell(script, time_out) {
            return responder.refuse(refusal);
        }
        responder.answer(&json!({}));
    }

    fn begin_shell(&mut self, script: &str, time_out: Option<Duration>) -> Result<(), Refusal> {
        let (turn, is_alone) = match &self.active {
            Some(active) => (active.id.clone(), false),
            None => (TurnId(new_id()?), true),
        };
        let history = self.history()?;
        let hands = self.hands(&turn, &self.server.config());
        let exec = ExecCommand::plain(script);
        let command = codex_exec::Command {
            stdin: Stdin::Null,
            environment: self.server.setup().environment.clone(),
            time_out: Some(time_out.unwrap_or(TIME_OUT)),
            ..hands.command(&exec, Permission::Unsandboxed)
        };
        let (outputs, told) = mpsc::channel(OUTPUTS_MAX);
        let (commands, heard) = mpsc::channel(COMMANDS_MAX);
        let cancel = CancellationToken::new();
        let shell = Shell {
            turn: turn.clone(),
            is_alone,
            command,
            script: script.to_owned(),
            history,
            usage: self.log.state().usage.clone().unwrap_or_default(),
            hands,
            outputs,
            cancel: cancel.clone(),
        };
        self.begun.push(Begun {
            turn: turn.clone(),
            outputs: told,
            run: Box::pin(shell.run(heard)),
        });
        if is_alone {
            self.activate(turn, commands, cancel, Vec::new());
        } else {
            // The turn under way does not know what this adds to the conversation.
            self.is_outdated = true;
        }
        Ok(())
    }
}

impl Shell {
    async fn run(self, mut heard: mpsc::Receiver<Command>) {
        let cancel = self.cancel.clone();
        let outputs = self.outputs.clone();
        let running = self.go();
        tokio::pin!(running);
        loop {
            let command = tokio::select! {
                () = &mut running => return,
                Some(command) = heard.recv() => command,
            };
            match command {
                Command::Interrupt => cancel.cancel(),
                // Words are for the model, which has its turn after this.
                Command::Steer { number, .. } => {
                    let taken = Err(NotSteerable::Ending);
                    // Nobody listens any more: then nobody waits either.
                    _ = outputs.send(TurnOutput::Steered { number, taken }).await;
                }
                Command::Decide { .. } => {}
            }
        }
    }

    /// An error: nobody listens any more.
    async fn go(self) {
        _ = self.perform().await;
    }

    async fn commit(&self, event: TurnEvent) -> Result<(), mpsc::error::SendError<TurnOutput>> {
        self.outputs
            .send(TurnOutput::Record(Record::Event(event.clone())))
            .await?;
        self.outputs.send(TurnOutput::Emit(event)).await
    }

    async fn perform(self) -> Result<(), mpsc::error::SendError<TurnOutput>> {
        let began = unix_millis();
        if self.is_alone {
            self.commit(TurnEvent::Started { at: began }).await?;
        }
        let id = ItemId(new_id().unwrap_or_else(|_| format!("{}-shell-{began}", self.turn)));
        let mut item = self.item(id.clone());
        self.commit(TurnEvent::ItemStarted {
            item: ThreadItem::CommandExecution(item.clone()),
            at: began,
        })
        .await?;
        match self.hands.server.runner().spawn(self.command.clone()).await {
            Ok((process, chunks)) => {
                let process = Arc::new(process);
                let exit = self.follow(&id, &process, chunks).await?;
                item.exit_code = Some(exit.code());
                item.duration_ms = Some(i64::try_from(exit.duration.as_millis()).unwrap_or(i64::MAX));
                let output = process.output().aggregated.text();
                item.aggregated_output = Some(output).filter(|it| !it.is_empty());
            }
            Err(error) => item.aggregated_output = Some(hands::reason(&error)),
        }
        item.status = match item.exit_code {
            Some(0) => CommandExecutionStatus::Completed,
            _ => CommandExecutionStatus::Failed,
        };
        let raw = self.raw(&item);
        self.outputs
            .send(TurnOutput::Record(Record::Raw(raw.clone())))
            .await?;
        let now = unix_millis();
        self.commit(TurnEvent::ItemCompleted {
            item: ThreadItem::CommandExecution(item),
            started_at: began,
            at: now,
        })
        .await?;
        if !self.is_alone {
            return Ok(());
        }
        let status = match self.cancel.is_cancelled() {
            true => TurnStatus::Interrupted,
            false => TurnStatus::Completed,
        };
        self.commit(TurnEvent::Completed {
            status,
            error: None,
            last_message: None,
            started_at: began,
            at: now,
        })
        .await?;
        let mut history = self.history;
        history.push(raw);
        let outcome = Outcome {
            history,
            usage: self.usage,
        };
        self.outputs.send(TurnOutput::Over(Box::new(outcome))).await
    }

    fn item(&self, id: ItemId) -> CommandExecution {
        let argv = &self.command.argv;
        CommandExecution {
            id,
            command: hands::shown(argv),
            cwd: self.command.cwd.display().to_string(),
            process_id: None,
            command_actions: vec![json!({ "type": "unknown", "command": self.script })],
            source: Some("userShell".to_owned()),
            status: CommandExecutionStatus::InProgress,
            aggregated_output: None,
            exit_code: None,
            duration_ms: None,
        }
    }

    /// Passes the output on until the end.
    async fn follow(
        &self,
        id: &ItemId,
        process: &Process,
        mut chunks: Chunks,
    ) -> Result<Exit, mpsc::error::SendError<TurnOutput>> {
        let mut text = TextStream::default();
        loop {
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk,
                () = self.cancel.cancelled() => {
                    process.terminate().await;
                    chunks.next().await
                }
            };
            let (delta, is_last) = match chunk {
                Some(chunk) => (text.push(&chunk.bytes), false),
                None => (text.finish(), true),
            };
            if !delta.is_empty() {
                let item_id = id.clone();
                self.outputs
                    .send(TurnOutput::Emit(TurnEvent::OutputDelta { item_id, delta }))
                    .await?;
            }
            if is_last {
                return Ok(process.wait().await);
            }
        }
    }

    /// What the model is told of it.
    fn raw(&self, item: &CommandExecution) -> RawItem {
        let output = item.aggregated_output.as_deref().unwrap_or_default();
        let end = output.floor_char_boundary(TOLD_BYTES_MAX);
        let code = item.exit_code.map_or("none".to_owned(), |it| it.to_string());
        let text = format!(
            "<user_shell_command>\n<command>\n{}\n</command>\n<result>\nExit code: {code}\nOutput:\n{}\n</result>\n</user_shell_command>",
            self.script,
            &output[..end],
        );
        model_wire::message("user", &text)
    }
}
