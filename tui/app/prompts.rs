//! From a draft to a turn: prompts, steering, shell commands and slash commands.

use codex_protocol::{ClientRequest, v2};

use super::{
    App, Focus, PaneId,
    answers::{AfterCheck, Call},
    host::status_word,
    palette::{Palette, Scope},
    pane::{Delivery, Link, Outgoing, Turn},
    slash::{self, Slash},
    text_field::TextField,
};
use crate::{cells::Level, effect::Effect, keymap::Context, terminal::COPY_BYTES_MAX};

impl App {
    /// Sends the draft of the open thread. Where it cannot be sent it stays, and the user is told why.
    pub(super) fn send(&mut self, effects: &mut Vec<Effect>) {
        let Some(pane) = self.current_pane() else {
            self.toast("no host is connected: F2 shows the connections");
            return;
        };
        let (id, text) = (pane.id, pane.composer.expanded());
        if text.trim().is_empty() {
            return;
        }
        if let Some((slash, argument)) = slash::parse(&text) {
            let argument = argument.to_owned();
            self.clear_draft(id, &text);
            self.run_slash(slash, &argument, effects);
            return;
        }
        if let Some(reason) = self.why_not_now(id) {
            self.toast(reason);
            // The server of a lost connection may have held the thread only for a while.
            let has_failed = self
                .panes
                .get(&id)
                .is_some_and(|it| matches!(it.link, Link::Failed(_)));
            if has_failed {
                self.resume(id, effects);
            }
            return;
        }
        self.clear_draft(id, &text);
        self.dispatch(id, text, effects);
    }

    fn clear_draft(&mut self, id: PaneId, text: &str) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        pane.composer.clear();
        pane.scroll = super::scroll::Scroll::Follow;
        pane.unseen = 0;
        if let Some(host) = self.hosts.get_mut(&pane.host) {
            host.history.push(text);
        }
        self.completion = Some(0);
    }

    /// Why nothing can be sent here at the moment.
    fn why_not_now(&self, id: PaneId) -> Option<String> {
        let pane = self.panes.get(&id)?;
        let host = self.hosts.get(&pane.host)?;
        if !host.is_ready() {
            let word = status_word(&host.status);
            return Some(format!("{}: {word}. Nothing was sent, the draft stays", host.id));
        }
        if pane.is_sub_agent {
            return Some("this is a sub-agent's thread: write to the thread that started it".to_owned());
        }
        match &pane.link {
            Link::Resuming | Link::Listed | Link::Stale => {
                Some("the thread is being opened; the draft stays".to_owned())
            }
            Link::Failed(why) => Some(format!("opening again, the draft stays; before: {why}")),
            Link::Draft | Link::Starting | Link::Open => None,
        }
    }

    fn dispatch(&mut self, id: PaneId, text: String, effects: &mut Vec<Effect>) {
        let number = self.next_number();
        let prompt = format!("{}-{number}", self.run_id);
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        pane.outgoing.push(Outgoing {
            id: prompt.clone(),
            text,
            state: Delivery::Sending,
        });
        match pane.link {
            Link::Draft => self.begin_thread(id, effects),
            Link::Starting => (),
            _ => self.transmit(id, &prompt, effects),
        }
    }

    /// Sends one prompt of an open thread: a shell command, a steer, or a turn's beginning.
    fn transmit(&mut self, id: PaneId, prompt: &str, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        let Some(outgoing) = pane.outgoing.iter_mut().find(|it| it.id == prompt) else {
            return;
        };
        if let Some(command) = outgoing.text.strip_prefix('!') {
            let command = command.trim().to_owned();
            pane.outgoing.retain(|it| it.id != prompt);
            self.run_shell(id, command, effects);
            return;
        }
        let (Turn::Running { id: turn, .. }, Some(thread)) = (&pane.turn, &pane.thread) else {
            self.start_turn(id, prompt, effects);
            return;
        };
        outgoing.state = Delivery::Steering;
        let params = v2::TurnSteerParams {
            thread_id: thread.clone(),
            expected_turn_id: turn.clone(),
            input: vec![v2::UserInput::text(outgoing.text.as_str())],
            client_user_message_id: Some(prompt.to_owned()),
        };
        let host = pane.host.clone();
        let call = Call::Steer(id, prompt.to_owned());
        self.call(&host, call, ClientRequest::TurnSteer(params), effects);
    }

    pub(super) fn start_turn(&mut self, id: PaneId, prompt: &str, effects: &mut Vec<Effect>) {
        let now = self.now;
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        let Some(thread_id) = pane.thread.clone() else {
            return;
        };
        let Some(outgoing) = pane.outgoing.iter_mut().find(|it| it.id == prompt) else {
            return;
        };
        outgoing.state = Delivery::Sending;
        let params = v2::TurnStartParams {
            thread_id,
            input: vec![v2::UserInput::text(outgoing.text.as_str())],
            client_user_message_id: Some(prompt.to_owned()),
            cwd: None,
            approval_policy: None,
            sandbox_policy: None,
            model: None,
        };
        if pane.turn == Turn::Idle {
            pane.turn = Turn::Starting { id: None, since: now };
        }
        let host = pane.host.clone();
        let call = Call::StartTurn(id, prompt.to_owned());
        self.call(&host, call, ClientRequest::TurnStart(params), effects);
    }

    fn run_shell(&mut self, id: PaneId, command: String, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        let Some(thread_id) = pane.thread.clone().filter(|_| !command.is_empty()) else {
            return;
        };
        let host = pane.host.clone();
        let warning = format!("`{command}` runs on {host} as you, outside the sandbox");
        pane.transcript.remark(Level::Warning, warning);
        let params = v2::ThreadShellCommandParams { thread_id, command };
        self.call(
            &host,
            Call::Shell(id),
            ClientRequest::ThreadShellCommand(params),
            effects,
        );
    }

    /// Starts the thread of a draft: first its directory, because the server takes one that is not there.
    fn begin_thread(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        pane.link = Link::Starting;
        match pane.cwd.clone() {
            Some(path) => self.check_directory(id, path, AfterCheck::StartThread, effects),
            None => self.start_thread(id, effects),
        }
    }

    /// Tells early that a draft's directory is not there.
    pub(super) fn check_directory_early(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get(&id) else { return };
        let is_ready = self.hosts.get(&pane.host).is_some_and(|it| it.is_ready());
        if let (Link::Draft, Some(path), true) = (&pane.link, pane.cwd.clone(), is_ready) {
            self.check_directory(id, path, AfterCheck::Nothing, effects);
        }
    }

    fn check_directory(&mut self, id: PaneId, path: String, after: AfterCheck, effects: &mut Vec<Effect>) {
        let Some(host) = self.panes.get(&id).map(|it| it.host.clone()) else {
            return;
        };
        let params = v2::FsGetMetadataParams { path };
        let call = Call::CheckDirectory(id, after);
        self.call(&host, call, ClientRequest::FsGetMetadata(params), effects);
    }

    pub(super) fn directory_refused(&mut self, id: PaneId, after: AfterCheck, why: &str) {
        let Some(pane) = self.panes.get(&id) else { return };
        let path = pane.cwd.clone().unwrap_or_default();
        let text = format!(
            "directory `{path}` on {}: {why}. `/new DIRECTORY` begins in another",
            pane.host
        );
        match after {
            AfterCheck::StartThread => self.return_prompts(id, &text),
            AfterCheck::Nothing => self.tell(id, Level::Error, text),
        }
    }

    pub(super) fn start_thread(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get(&id) else { return };
        let host = pane.host.clone();
        let params = v2::ThreadStartParams {
            cwd: pane.cwd.clone(),
            ..v2::ThreadStartParams::default()
        };
        self.call(
            &host,
            Call::StartThread(id),
            ClientRequest::ThreadStart(params),
            effects,
        );
    }

    /// The thread is there: what waited for it goes out, in order.
    pub(super) fn send_waiting(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get(&id) else { return };
        let waiting = pane.outgoing.iter().filter(|it| it.state == Delivery::Sending);
        let waiting: Vec<String> = waiting.map(|it| it.id.clone()).collect();
        for prompt in waiting {
            self.transmit(id, &prompt, effects);
        }
    }

    /// Nothing could be sent: all prompts go back into the draft, and why is told.
    pub(super) fn return_prompts(&mut self, id: PaneId, why: &str) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        if pane.link == Link::Starting {
            pane.link = Link::Draft;
        }
        pane.turn = Turn::Idle;
        let prompts: Vec<String> = std::mem::take(&mut pane.outgoing)
            .into_iter()
            .map(|it| it.text)
            .collect();
        if !prompts.is_empty() {
            pane.composer.give_back(&prompts.join("\n"));
        }
        self.tell(id, Level::Error, why.to_owned());
    }

    pub(super) fn give_back(&mut self, id: PaneId, prompt: &str) {
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        if let Some(index) = pane.outgoing.iter().position(|it| it.id == prompt) {
            let outgoing = pane.outgoing.remove(index);
            pane.composer.give_back(&outgoing.text);
        }
    }

    /// Sends again what no snapshot has: only the user does this.
    pub(super) fn send_again(&mut self, effects: &mut Vec<Effect>) {
        let unsent = self
            .current_pane()
            .and_then(|it| Some((it.id, it.unsent()?.id.clone())));
        let Some((id, prompt)) = unsent else {
            self.toast("nothing waits to be sent again");
            return;
        };
        if let Some(reason) = self.why_not_now(id) {
            self.toast(reason);
            return;
        }
        let Some(pane) = self.panes.get_mut(&id) else {
            return;
        };
        if pane.link == Link::Draft {
            for outgoing in &mut pane.outgoing {
                outgoing.state = Delivery::Sending;
            }
            self.begin_thread(id, effects);
        } else {
            self.transmit(id, &prompt, effects);
        }
    }

    pub(super) fn take_back(&mut self) {
        match self
            .current_pane()
            .and_then(|it| Some((it.id, it.unsent()?.id.clone())))
        {
            Some((id, prompt)) => self.give_back(id, &prompt),
            None => self.toast("nothing waits to be sent again"),
        }
    }

    pub(super) fn run_slash(&mut self, slash: Slash, argument: &str, effects: &mut Vec<Effect>) {
        match slash {
            Slash::New => self.new_thread(Some(argument).filter(|it| !it.is_empty()), effects),
            Slash::Resume => {
                self.focus = Focus::Threads;
                self.sidebar.filter = TextField::new(argument.replace(char::is_control, " "));
                self.sidebar.is_filtering = true;
                self.sidebar.selected = None;
            }
            Slash::Interrupt => self.interrupt_current(effects),
            Slash::Copy => self.copy_last_answer(effects),
            Slash::Status => self.tell_status(),
            Slash::Connections => self.open_connections(),
            Slash::Help => self.palette = Some(Palette::new(Scope::Help(Context::Composer))),
            Slash::Quit => self.quit_or_warn(effects),
            Slash::Compact | Slash::Rename | Slash::Archive | Slash::Fork => {
                self.run_on_thread(slash, argument, effects);
            }
        }
    }

    fn run_on_thread(&mut self, slash: Slash, argument: &str, effects: &mut Vec<Effect>) {
        let open = self
            .current_pane()
            .filter(|it| it.link == Link::Open)
            .and_then(|it| Some((it.id, it.host.clone(), it.thread.clone()?)));
        let Some((id, host, thread_id)) = open else {
            self.toast("this needs a thread that is open on a connected host");
            return;
        };
        match slash {
            Slash::Compact => {
                let request = ClientRequest::ThreadCompactStart(v2::ThreadIdParams { thread_id });
                self.ask_for(id, "compacting", request, effects);
            }
            Slash::Rename if argument.is_empty() => self.toast("type the name behind it: `/rename NAME`"),
            Slash::Rename => {
                let name = argument.to_owned();
                let request = ClientRequest::ThreadNameSet(v2::ThreadNameSetParams { thread_id, name });
                self.ask_for(id, "renaming", request, effects);
            }
            Slash::Archive => {
                let request = ClientRequest::ThreadArchive(v2::ThreadIdParams { thread_id });
                self.call(&host, Call::Archive(id), request, effects);
            }
            Slash::Fork => {
                let params = v2::ThreadForkParams {
                    thread_id,
                    exclude_turns: Some(true),
                    last_turn_id: None,
                };
                self.call(&host, Call::Fork(id), ClientRequest::ThreadFork(params), effects);
            }
            _ => (),
        }
    }

    pub(super) fn new_thread(&mut self, directory: Option<&str>, effects: &mut Vec<Effect>) {
        let Some(host) = self.host_in_focus() else {
            self.toast("no host is connected: F2 shows the connections");
            return;
        };
        if let (Some(directory), Some(entry)) = (directory, self.hosts.get_mut(&host)) {
            entry.cwd = Some(directory.to_owned());
        }
        let blank = self.panes_of(&host).into_iter().find(|it| {
            let pane = self.panes.get(it);
            pane.is_some_and(|it| it.is_blank() && !it.transcript.has_items())
        });
        let id = blank.unwrap_or_else(|| self.new_draft(&host));
        if let (Some(directory), Some(pane)) = (directory, self.panes.get_mut(&id)) {
            pane.cwd = Some(directory.to_owned());
        }
        self.picker.is_open = false;
        self.show(id, effects);
        self.focus = Focus::Composer;
        if directory.is_some() {
            self.check_directory_early(id, effects);
        }
    }

    pub(super) fn interrupt_current(&mut self, effects: &mut Vec<Effect>) {
        match self.current_pane() {
            Some(pane) if pane.turn != Turn::Idle => {
                let id = pane.id;
                self.interrupt(id, effects);
            }
            _ => self.toast("no turn is working here"),
        }
    }

    pub(super) fn copy_last_answer(&mut self, effects: &mut Vec<Effect>) {
        let answer = self.current_pane().and_then(|it| it.transcript.last_answer());
        match answer.map(str::to_owned) {
            None => self.toast("there is no answer to copy"),
            Some(text) if COPY_BYTES_MAX < text.len() => {
                self.toast("the answer is too long for a terminal's clipboard");
            }
            Some(text) => {
                self.toast(format!("copied {} characters", text.chars().count()));
                effects.push(Effect::Copy(text));
            }
        }
    }

    fn tell_status(&mut self) {
        let Some(pane) = self.current_pane() else { return };
        let Some(host) = self.hosts.get(&pane.host) else {
            return;
        };
        let mut lines = vec![format!("host {}: {}", host.id, status_word(&host.status))];
        lines.extend(host.address.as_ref().map(|it| format!("address: {it}")));
        if let Some(server) = &host.server {
            lines.push(format!("server: {}, {}", server.user_agent, server.platform_os));
        }
        if host.needs_login {
            lines.push(
                "nobody is logged in at the model's provider: run `codex login` on the host".to_owned(),
            );
        }
        lines.extend(pane.thread.as_ref().map(|it| format!("thread: {it}")));
        lines.extend(pane.cwd.as_ref().map(|it| format!("directory: {it}")));
        if let Some(settings) = &pane.settings {
            let (model, approval, sandbox) = (&settings.model, &settings.approval, &settings.sandbox);
            lines.push(format!(
                "model: {model}; approvals: {approval}; sandbox: {sandbox}"
            ));
        }
        lines.push(format!("this program: {}", self.client_version));
        let (id, text) = (pane.id, lines.join("\n"));
        self.tell(id, Level::Info, text);
    }

    /// Quits, unless turns would be lost without a word.
    pub(super) fn quit_or_warn(&mut self, effects: &mut Vec<Effect>) {
        let is_armed = self.quit_armed.is_some();
        if is_armed || self.turns_that_stop() == 0 {
            effects.push(Effect::Quit);
        } else {
            self.arm_quit();
        }
    }

    pub(super) fn arm_quit(&mut self) {
        self.quit_armed = Some(self.now);
        let text = match (self.turns_that_stop(), self.turns_that_go_on()) {
            (0, 0) => "Ctrl+C again quits".to_owned(),
            (0, n) => format!("Ctrl+C again quits; {n} working on the hosts go on"),
            (n, _) => {
                format!("Ctrl+C again quits and stops {n} working: their servers end with the connection")
            }
        };
        self.toast(text);
    }
}
