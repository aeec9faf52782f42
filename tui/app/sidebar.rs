//! The list of hosts and their threads.

use codex_hosts::HostId;

use super::{App, Mood, PaneId, host::ListState, list, text_field::TextField};

#[derive(Default)]
pub struct Sidebar {
    pub selected: Option<Row>,
    pub filter: TextField,
    pub is_filtering: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Host(HostId),
    Pane(PaneId),
    /// More threads can be loaded.
    More(HostId),
}

impl App {
    /// The rows of the list, as the filter leaves them.
    pub fn rows(&self) -> Vec<Row> {
        let filter = self.sidebar.filter.text();
        let mut rows = Vec::new();
        for id in &self.order {
            let Some(host) = self.hosts.get(id) else { continue };
            let panes = self.panes_of(id);
            let shown = panes
                .iter()
                .filter_map(|it| self.panes.get(it))
                .filter(|it| filter.is_empty() || list::matches(filter, &format!("{id} {}", it.title())))
                .map(|it| Row::Pane(it.id));
            let shown: Vec<Row> = shown.collect();
            if !filter.is_empty() && shown.is_empty() && !list::matches(filter, &id.0) {
                continue;
            }
            rows.push(Row::Host(id.clone()));
            rows.extend(shown);
            if matches!(host.list, ListState::More { .. }) {
                rows.push(Row::More(id.clone()));
            }
        }
        rows
    }

    /// The threads of a host: drafts first, then the most recent.
    pub fn panes_of(&self, host: &HostId) -> Vec<PaneId> {
        let mut panes: Vec<_> = self.panes.values().filter(|it| it.host == *host).collect();
        panes.sort_by_key(|it| (!it.is_draft(), std::cmp::Reverse(it.recency), it.id));
        panes.into_iter().map(|it| it.id).collect()
    }

    /// The index of the selected row; the open thread's, when the selected one is gone.
    pub fn selected_row(&self, rows: &[Row]) -> usize {
        let of = |row: &Row| rows.iter().position(|it| it == row);
        let selected = self.sidebar.selected.as_ref().and_then(of);
        let current = self.current.and_then(|it| of(&Row::Pane(it)));
        // While a filter is typed, the first thread that it leaves is what is looked for.
        let found = || rows.iter().position(|it| matches!(it, Row::Pane(_)));
        let wanted = match self.sidebar.filter.is_empty() {
            true => selected.or(current),
            false => selected.or_else(found),
        };
        wanted.unwrap_or(0)
    }

    pub fn mood(&self, pane: PaneId) -> Mood {
        let Some(pane) = self.panes.get(&pane) else {
            return Mood::Idle;
        };
        let is_ready = self.hosts.get(&pane.host).is_some_and(|it| it.is_ready());
        if !is_ready {
            Mood::Unreachable
        } else if self.asks.iter().any(|it| it.pane == Some(pane.id))
            || pane.says_it_waits()
            || pane.unsent().is_some()
        {
            Mood::NeedsYou
        } else if pane.is_working() {
            Mood::Working
        } else if pane.is_unread {
            Mood::Done
        } else {
            Mood::Idle
        }
    }
}
