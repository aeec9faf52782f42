//! Choosing: threads in the list, hosts among the connections, lines of the palette.

use codex_hosts::{Command as HostCommand, HostId};

use super::{
    App, Focus, PaneId,
    host::ListState,
    list,
    palette::Run,
    picker::{Typing, parse_address},
    sidebar::Row,
    text_field::TextField,
};
use crate::{effect::Effect, keymap::Command};

impl App {
    /// Shows a thread and, if only its head is known, opens it.
    pub(super) fn show(&mut self, id: PaneId, effects: &mut Vec<Effect>) {
        if self.current != Some(id) {
            self.dialog = None;
        }
        self.current = Some(id);
        self.sidebar.selected = Some(Row::Pane(id));
        self.completion = Some(0);
        if let Some(pane) = self.panes.get_mut(&id) {
            pane.is_unread = false;
        }
        self.open(id, effects);
    }

    /// Takes a thread out of the list; the user lands in the next one of its host.
    pub(super) fn leave_and_forget(&mut self, id: PaneId) {
        let Some(host) = self.panes.get(&id).map(|it| it.host.clone()) else {
            return;
        };
        let was_current = self.current == Some(id);
        self.forget(id);
        if was_current {
            let next = self.panes_of(&host).first().copied();
            self.current = Some(next.unwrap_or_else(|| self.new_draft(&host)));
        }
    }

    pub(super) fn host_in_focus(&self) -> Option<HostId> {
        if self.focus == Focus::Threads {
            let rows = self.rows();
            match rows.get(self.selected_row(&rows)) {
                Some(Row::Host(id) | Row::More(id)) => return Some(id.clone()),
                Some(Row::Pane(id)) => return self.panes.get(id).map(|it| it.host.clone()),
                None => (),
            }
        }
        let of_current = self.current_pane().map(|it| it.host.clone());
        of_current.or_else(|| self.order.first().cloned())
    }

    pub(super) fn choose_slot(&mut self, slot: u8, effects: &mut Vec<Effect>) {
        let rows = self.rows();
        let mut panes = rows.iter().filter_map(|it| match it {
            Row::Pane(id) => Some(*id),
            Row::Host(_) | Row::More(_) => None,
        });
        match panes.nth(usize::from(slot.saturating_sub(1))) {
            Some(id) => {
                self.picker.is_open = false;
                self.show(id, effects);
                self.focus = Focus::Composer;
            }
            None => self.toast(format!("there is no thread {slot} in the list")),
        }
    }

    /// A command in the list of threads, or in its filter.
    pub(super) fn run_in_threads(&mut self, command: Command, effects: &mut Vec<Effect>) {
        let rows = self.rows();
        let selected = self.selected_row(&rows);
        if let Some(to) = list::moved(command, selected, rows.len()) {
            self.sidebar.selected = rows.get(to).cloned();
            return;
        }
        let row = rows.get(selected).cloned();
        let host = self.host_in_focus();
        match command {
            Command::Open => self.open_row(row, effects),
            Command::Filter => self.sidebar.is_filtering = true,
            Command::Back => self.leave_threads(),
            Command::Disconnect => self.command_host(host, HostCommand::Disconnect, effects),
            Command::Reconnect => self.command_host(host, HostCommand::Connect, effects),
            _ => (),
        }
    }

    fn open_row(&mut self, row: Option<Row>, effects: &mut Vec<Effect>) {
        self.sidebar.is_filtering = false;
        match row {
            Some(Row::Pane(id)) => {
                self.sidebar.filter = TextField::default();
                self.show(id, effects);
                self.focus = Focus::Composer;
            }
            Some(Row::Host(id)) => {
                self.picker.open_at(Some(&id));
            }
            Some(Row::More(id)) => {
                let cursor = match self.hosts.get(&id).map(|it| &it.list) {
                    Some(ListState::More { cursor }) => Some(cursor.clone()),
                    _ => None,
                };
                if cursor.is_some() {
                    self.list_threads(&id, cursor, effects);
                }
            }
            None => (),
        }
    }

    /// The host that the user looks at is the one whose connection is of interest.
    pub(super) fn open_connections(&mut self) {
        let host = self.current_pane().map(|it| it.host.clone());
        self.picker.open_at(host.as_ref());
    }

    fn leave_threads(&mut self) {
        if self.sidebar.is_filtering || !self.sidebar.filter.is_empty() {
            self.sidebar.is_filtering = false;
            self.sidebar.filter = TextField::default();
        } else {
            self.focus = Focus::Composer;
        }
    }

    fn command_host(&mut self, host: Option<HostId>, command: HostCommand, effects: &mut Vec<Effect>) {
        let Some(host) = host else { return };
        let working = self
            .panes
            .values()
            .filter(|it| it.host == host && it.is_working())
            .count();
        if command == HostCommand::Disconnect && 0 < working && !host.is_address() {
            self.toast(format!(
                "{host}: disconnected; {working} working there stop with their server"
            ));
        }
        effects.push(Effect::Host(host, command));
    }

    /// A command among the connections.
    pub(super) fn run_in_connections(&mut self, command: Command, effects: &mut Vec<Effect>) {
        let asked = self.picker.installs.take();
        let count = self.picker.visible().len();
        if let Some(to) = list::moved(command, self.picker.selected, count) {
            self.picker.selected = to;
            return;
        }
        match command {
            Command::ToggleMark => {
                self.picker.toggle_mark();
                self.picker.selected = (self.picker.selected + 1).min(count.saturating_sub(1));
            }
            Command::Filter => self.picker.typing = Typing::Filter,
            Command::AddHost => {
                self.picker.problem = None;
                self.picker.typing = Typing::Address(TextField::default());
            }
            Command::ToggleDetail => self.picker.shows_detail = !self.picker.shows_detail,
            Command::Disconnect => {
                let host = self.picker.current().map(|it| it.id.clone());
                self.command_host(host, HostCommand::Disconnect, effects);
            }
            Command::Install => self.install_chosen(asked, effects),
            Command::Back if asked.is_some() => (),
            Command::Open => self.connect_chosen(effects),
            Command::Back if !self.picker.filter.is_empty() => self.picker.filter = TextField::default(),
            Command::Back if self.order.is_empty() => self.toast("choose a host first; Ctrl+C twice quits"),
            Command::Back => self.picker.is_open = false,
            _ => (),
        }
    }

    /// Connects what is marked. The picker stays until there is something else to see: the stages of the
    /// connections are shown here.
    fn connect_chosen(&mut self, effects: &mut Vec<Effect>) {
        let chosen = self.picker.chosen();
        if chosen.is_empty() {
            self.toast("there is no host here: `a` adds one");
            return;
        }
        for id in &chosen {
            self.want_host(id);
            if self.panes_of(id).is_empty() {
                self.new_draft(id);
            }
            effects.push(Effect::Host(id.clone(), HostCommand::Connect));
        }
        self.picker.marked.clear();
        self.picker.is_open = false;
        let first = chosen.first().and_then(|it| self.panes_of(it).first().copied());
        if let Some(first) = first {
            self.show(first, effects);
            self.focus = Focus::Composer;
        }
    }

    /// A command in a line of text: a filter or an address.
    pub(super) fn run_in_input(&mut self, command: Command, effects: &mut Vec<Effect>) {
        if !self.picker.is_open {
            self.run_in_threads(command, effects);
            return;
        }
        match (command, &self.picker.typing) {
            (Command::Open, Typing::Address(field)) => match parse_address(field.text()) {
                Ok(id) => {
                    self.picker.typing = Typing::Nothing;
                    self.picker.problem = None;
                    self.picker.add(id);
                }
                Err(problem) => self.picker.problem = Some(problem.to_owned()),
            },
            (Command::Open, _) => self.picker.typing = Typing::Nothing,
            (Command::Back, Typing::Address(_)) => {
                self.picker.typing = Typing::Nothing;
                self.picker.problem = None;
            }
            (Command::Back, _) => {
                self.picker.typing = Typing::Nothing;
                self.picker.filter = TextField::default();
            }
            (Command::Up | Command::Down, Typing::Filter) => self.run_in_connections(command, effects),
            _ => (),
        }
    }

    /// A command in the palette; what it runs, it runs in the context below.
    pub(super) fn run_in_palette(&mut self, command: Command, effects: &mut Vec<Effect>) {
        let Some(palette) = &mut self.palette else { return };
        let lines = palette.lines();
        if let Some(to) = list::moved(command, palette.selected, lines.len()) {
            palette.selected = to;
            return;
        }
        match command {
            Command::Back => self.palette = None,
            Command::Open => {
                let context = palette.scope.context();
                let line = lines.into_iter().nth(palette.selected);
                self.palette = None;
                match line.map(|it| it.run) {
                    Some(Run::Key(command)) => self.run(context, command, effects),
                    Some(Run::Slash(slash)) => self.run_slash(slash, "", effects),
                    None => (),
                }
            }
            _ => (),
        }
    }
}
