//! What a server says on its own while it is asked: progress, questions to the user, news about its tools.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use rmcp::ClientHandler;
use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, FormElicitationCapability, Implementation, ProgressNotificationParam,
    ProgressToken, ProtocolVersion, RequestId,
};
use rmcp::service::{InboundStreamOrigin, NotificationContext, RequestContext, RoleClient};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How many questions of one server may be open; more are declined.
pub const ELICITATIONS_MAX: usize = 4;
/// How many notices of progress wait for the call that they belong to, which is about to be known; older ones go.
const UNCLAIMED_MAX: usize = 16;
/// The longest message of progress or of a question, in bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// A question of a server to the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Elicitation {
    pub server: String,
    pub message: String,
    /// A JSON Schema of an object with primitive properties (MCP, Elicitation).
    pub schema: Value,
}

/// What the user says to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The values that were asked for, as the schema wants them.
    Accept(Value),
    Decline,
    /// Put away without a decision.
    Cancel,
}

/// Puts questions of servers to the user. The future is dropped when the question has become void: the call that
/// it belongs to is over, or the server has taken it back.
pub trait Elicit: Send + Sync {
    fn elicit(&self, question: Elicitation) -> BoxFuture<'_, Answer>;
}

/// How far a call has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Grows from one to the next; its unit is the server's own.
    pub progress: f64,
    pub total: Option<f64>,
    pub message: Option<String>,
}

/// Takes notices of progress; it must not wait, nor ask the servers anything.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// One per connection.
pub(crate) struct Desk {
    server: String,
    /// Asks where a call has not brought somebody to ask.
    owner: Option<Arc<dyn Elicit>>,
    open: Mutex<Open>,
    /// How many questions are open: the clocks of calls stand still meanwhile.
    questions: watch::Sender<usize>,
    /// The list of tools is another one.
    pub(crate) tools_changed: Notify,
}

#[derive(Default)]
struct Open {
    calls: Vec<OpenCall>,
    /// Progress can arrive before the call has learnt its own token.
    unclaimed: Vec<ProgressNotificationParam>,
}

struct OpenCall {
    id: RequestId,
    token: ProgressToken,
    /// The last progress that was told: handlers run side by side and can be overtaken.
    reached: f64,
    on_progress: Option<OnProgress>,
    elicit: Option<Arc<dyn Elicit>>,
    over: CancellationToken,
}

/// A call that is open. Dropping it ends the questions that belong to it.
pub(crate) struct Registered<'a> {
    desk: &'a Desk,
    id: RequestId,
}

impl Desk {
    pub(crate) fn new(server: &str, owner: Option<Arc<dyn Elicit>>) -> Desk {
        Desk {
            server: server.to_owned(),
            owner,
            open: Mutex::default(),
            questions: watch::Sender::new(0),
            tools_changed: Notify::new(),
        }
    }

    /// Takes a call into the books.
    pub(crate) fn register(
        &self,
        id: RequestId,
        token: ProgressToken,
        on_progress: Option<OnProgress>,
        elicit: Option<Arc<dyn Elicit>>,
    ) -> Registered<'_> {
        let mut open = self.lock();
        let (early, rest) = std::mem::take(&mut open.unclaimed)
            .into_iter()
            .partition(|it: &ProgressNotificationParam| it.progress_token == token);
        open.unclaimed = rest;
        open.calls.push(OpenCall {
            id: id.clone(),
            token,
            reached: f64::NEG_INFINITY,
            on_progress,
            elicit,
            over: CancellationToken::new(),
        });
        drop(open);
        for early in early {
            self.progress(early);
        }
        Registered { desk: self, id }
    }

    /// How many questions are open, as it changes.
    pub(crate) fn questions(&self) -> watch::Receiver<usize> {
        self.questions.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self, notice: ProgressNotificationParam) {
        let mut open = self.lock();
        let Some(call) = open.calls.iter_mut().find(|it| it.token == notice.progress_token) else {
            if open.unclaimed.len() >= UNCLAIMED_MAX {
                open.unclaimed.remove(0);
            }
            open.unclaimed.push(notice);
            return;
        };
        if notice.progress <= call.reached {
            return;
        }
        call.reached = notice.progress;
        // Told under the lock: the next notice must not overtake this one.
        if let Some(tell) = &call.on_progress {
            tell(Progress {
                progress: notice.progress,
                total: notice.total,
                message: notice.message.map(|it| cut(it, MESSAGE_BYTES_MAX)),
            });
        }
    }

    /// Whom to ask, and when to stop. Only some transports say which call a question belongs to; else it is the
    /// latest that can ask.
    fn asked(&self, origin: Option<&InboundStreamOrigin>) -> Option<(Arc<dyn Elicit>, CancellationToken)> {
        let open = self.lock();
        let belongs = |call: &&OpenCall| match origin {
            Some(InboundStreamOrigin::OutboundRequest(id)) => call.id == *id,
            _ => call.elicit.is_some(),
        };
        let call = open.calls.iter().rev().find(belongs);
        let elicit = call
            .and_then(|it| it.elicit.clone())
            .or_else(|| self.owner.clone())?;
        Some((elicit, call.map(|it| it.over.clone()).unwrap_or_default()))
    }

    async fn answer(&self, request: ElicitRequestParams, context: &RequestContext<RoleClient>) -> Answer {
        let ElicitRequestParams::FormElicitationParams {
            message,
            requested_schema,
            ..
        } = request
        else {
            // Addresses to be opened were not offered.
            return Answer::Decline;
        };
        let (Ok(schema), Some((elicit, over))) = (
            serde_json::to_value(requested_schema),
            self.asked(context.extensions.get()),
        ) else {
            return Answer::Decline;
        };
        let Some(_question) = Question::open(&self.questions) else {
            return Answer::Decline;
        };
        let question = Elicitation {
            server: self.server.clone(),
            message: cut(message, MESSAGE_BYTES_MAX),
            schema,
        };
        tokio::select! {
            answer = elicit.elicit(question) => answer,
            () = over.cancelled() => Answer::Cancel,
            () = context.ct.cancelled() => Answer::Cancel,
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.desk.lock().calls.retain(|call| {
            if call.id == self.id {
                call.over.cancel();
            }
            call.id != self.id
        });
    }
}

/// Counts one question for as long as it lives.
struct Question<'a>(&'a watch::Sender<usize>);

impl Question<'_> {
    fn open(count: &watch::Sender<usize>) -> Option<Question<'_>> {
        let is_room = count.send_if_modified(|count| {
            let is_room = *count < ELICITATIONS_MAX;
            *count += usize::from(is_room);
            is_room
        });
        is_room.then(|| Question(count))
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Cuts a text to at most `max` bytes, at a character.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
    text
}

/// What the SDK calls.
pub(crate) struct Handler(pub(crate) Arc<Desk>);

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let form = ElicitationCapability::new().with_form(FormElicitationCapability::new());
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = Some(form);
        let name = Implementation::new("codex", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(capabilities, name).with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, rmcp::ErrorData> {
        Ok(match self.0.answer(request, &context).await {
            Answer::Accept(content) => ElicitResult::new(ElicitationAction::Accept).with_content(content),
            Answer::Decline => ElicitResult::new(ElicitationAction::Decline),
            Answer::Cancel => ElicitResult::new(ElicitationAction::Cancel),
        })
    }

    async fn on_progress(&self, notice: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.0.progress(notice);
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.tools_changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::NumberOrString;

    fn token(number: i64) -> ProgressToken {
        ProgressToken(NumberOrString::Number(number))
    }

    #[test]
    fn progress_that_is_earlier_than_its_call_is_kept_for_it() {
        let desk = Desk::new("docs", None);
        for call in 0..20 {
            desk.progress(ProgressNotificationParam::new(token(call), 1.0));
        }
        let heard = Arc::new(Mutex::new(Vec::new()));
        for call in [0, 19] {
            let told = Arc::clone(&heard);
            let tell: OnProgress = Arc::new(move |it| told.lock().unwrap().push((call, it.progress)));
            desk.register(NumberOrString::Number(call), token(call), Some(tell), None);
        }
        // The first is too old by now.
        assert_eq!(*heard.lock().unwrap(), [(19, 1.0)]);
        assert_eq!(desk.lock().unclaimed.len(), UNCLAIMED_MAX - 1);
    }
}
