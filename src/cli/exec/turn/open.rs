//! Opening the thread that a turn runs in: a new one, or one that is there.

use codex_protocol::{ClientRequest, ThreadId, v2};

use super::{Order, Resume, Step, Turn};
use crate::cli::{exec::output::Output, report::Code};

/// Threads that are asked for at once when the last one is looked for.
const THREADS_PER_PAGE: u32 = 100;
/// Pages that are looked through for it. Beyond it the directory was not used for long.
pub(super) const PAGES_MAX: u32 = 20;

impl Turn {
    pub(super) fn open_thread(&mut self, orders: &mut Vec<Order>) {
        match &self.options.resume {
            None => self.start_thread(orders),
            Some(Resume::Thread(thread)) => self.resume_thread(thread.clone(), orders),
            Some(Resume::Last { .. }) => self.list_threads(None, orders),
        }
    }

    fn list_threads(&mut self, cursor: Option<String>, orders: &mut Vec<Order>) {
        let params = v2::ThreadListParams {
            cursor,
            limit: Some(THREADS_PER_PAGE),
            sort_key: Some(v2::ThreadSortKey::UpdatedAt),
            ..v2::ThreadListParams::default()
        };
        self.pages += 1;
        self.call(Step::Listing, ClientRequest::ThreadList(params), orders);
    }

    /// A page of the host's threads, the newest first: takes the first one that fits.
    pub(super) fn listed(
        &mut self,
        page: v2::ThreadListResponse,
        orders: &mut Vec<Order>,
        output: &mut Output,
    ) {
        let directory = match &self.options.resume {
            Some(Resume::Last { of }) => of.clone(),
            _ => None,
        };
        let fits = |it: &&v2::Thread| directory.as_ref().is_none_or(|directory| it.cwd == *directory);
        match (page.data.iter().find(fits), page.next_cursor) {
            (Some(thread), _) => self.resume_thread(thread.id.clone(), orders),
            (None, Some(cursor)) if self.pages < PAGES_MAX => self.list_threads(Some(cursor), orders),
            (None, _) => {
                let place = directory.map(|it| format!(" in `{it}`")).unwrap_or_default();
                let text = format!("there is no thread to resume{place}");
                output.error(&self.host, &text);
                if !place.is_empty() {
                    output.hint("`--all` takes the last one of any directory");
                }
                self.end(Code::Usage, orders, output);
            }
        }
    }

    fn resume_thread(&mut self, thread_id: ThreadId, orders: &mut Vec<Order>) {
        let params = v2::ThreadResumeParams {
            thread_id,
            exclude_turns: Some(true),
            cwd: self.options.cwd.clone(),
        };
        self.call(Step::StartingThread, ClientRequest::ThreadResume(params), orders);
    }

    /// The thread is open: says what there is to do. A thread that was there is told our options with the turn.
    pub(super) fn start_turn(
        &mut self,
        opened: v2::ThreadOpened,
        orders: &mut Vec<Order>,
        output: &mut Output,
    ) {
        output.thread(&self.host, &opened);
        self.thread = Some(opened.thread.id.clone());
        let is_new = self.options.resume.is_none();
        let options = &self.options;
        let params = v2::TurnStartParams {
            thread_id: opened.thread.id,
            input: vec![v2::UserInput::text(options.prompt.clone())],
            client_user_message_id: None,
            cwd: None,
            approval_policy: options.approval.clone().filter(|_| !is_new),
            sandbox_policy: options.sandbox.clone().filter(|_| !is_new).map(policy),
            model: options.model.clone().filter(|_| !is_new),
        };
        self.call(Step::StartingTurn, ClientRequest::TurnStart(params), orders);
    }

    fn start_thread(&mut self, orders: &mut Vec<Order>) {
        let params = v2::ThreadStartParams {
            cwd: self.options.cwd.clone(),
            model: self.options.model.clone(),
            approval_policy: self.options.approval.clone(),
            sandbox: self.options.sandbox.clone(),
            ..v2::ThreadStartParams::default()
        };
        self.call(Step::StartingThread, ClientRequest::ThreadStart(params), orders);
    }
}

/// A mode in the form of `turn/start`, with what the mode leaves open at its default.
fn policy(mode: v2::SandboxMode) -> v2::SandboxPolicy {
    match mode {
        v2::SandboxMode::DangerFullAccess => {
            v2::SandboxPolicy::DangerFullAccess(v2::DangerFullAccess::default())
        }
        v2::SandboxMode::WorkspaceWrite => v2::SandboxPolicy::WorkspaceWrite(v2::WorkspaceWrite::default()),
        v2::SandboxMode::ReadOnly | v2::SandboxMode::Other(_) => {
            v2::SandboxPolicy::ReadOnly(v2::NetworkSandbox::default())
        }
    }
}
