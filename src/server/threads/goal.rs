//! The goal of a thread: what the model works towards by itself, turn after turn.

use codex_agent::{model::wire as model_wire, turn::TurnKind};
use codex_protocol::served::ThreadGoalSetParams;
use codex_threads::Record;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{owner::Owner, turn::Beginning, wire};
use crate::{
    notice::{Notice, unix_millis},
    refusal::Refusal,
    responder::Responder,
};

/// Turns that a goal begins one after the other before it waits for the user. A model that does not see that it has
/// finished must not go on for ever.
const TURNS_MAX: u32 = 25;
/// By this word in its last message the model says that the goal is reached, or out of its reach.
const REACHED: &str = "GOAL COMPLETE";
const BLOCKED: &str = "GOAL BLOCKED";

/// A goal as it is kept and told, but for the thread. Times are Unix seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Goal {
    objective: String,
    status: String,
    token_budget: Option<i64>,
    tokens_used: i64,
    time_used_seconds: i64,
    created_at: i64,
    updated_at: i64,
    /// The thread's tokens when it was set.
    #[serde(default)]
    tokens_before: i64,
}

/// What threads that are not kept do not have, in the words of a refusal.
const GOALS: &str = "goals";

/// States that a client may set.
const STATUSES: [&str; 6] = [
    "active",
    "paused",
    "blocked",
    "usageLimited",
    "budgetLimited",
    "complete",
];

impl Owner {
    fn goal(&self) -> Option<Goal> {
        serde_json::from_value(self.log.state().goal.clone()?).ok()
    }

    fn goal_on_the_wire(&self, goal: &Goal) -> Value {
        let mut value = json!(goal);
        value["threadId"] = json!(self.id);
        if let Some(object) = value.as_object_mut() {
            object.remove("tokensBefore");
        }
        value
    }

    fn tokens(&self) -> i64 {
        self.log
            .state()
            .usage
            .as_ref()
            .map_or(0, |it| it.total.total_tokens)
    }

    fn keep_goal(&mut self, goal: &Goal) -> Result<(), Refusal> {
        self.append(Record::GoalSet(Some(json!(goal))))
            .map_err(|it| wire::refuse(&it))
    }

    fn tell_goal(&self, goal: &Goal) {
        let turn = self.active.as_ref().map(|it| &it.id);
        let params = json!({ "threadId": self.id, "turnId": turn, "goal": self.goal_on_the_wire(goal) });
        self.tell(&Notice::new("thread/goal/updated", &params));
    }

    /// `thread/goal/set`
    pub(crate) fn set_goal(&mut self, set: ThreadGoalSetParams, responder: Responder) {
        if let Err(refusal) = self.must_be_kept(GOALS) {
            return responder.refuse(refusal);
        }
        let now = unix_millis() / 1000;
        let objective = set.objective.filter(|it| !it.trim().is_empty());
        let mut goal = match (objective, self.goal()) {
            (Some(objective), _) => Goal {
                objective,
                status: "active".to_owned(),
                token_budget: None,
                tokens_used: 0,
                time_used_seconds: 0,
                created_at: now,
                updated_at: now,
                tokens_before: self.tokens(),
            },
            (None, Some(goal)) => goal,
            (None, None) => {
                return responder.refuse(Refusal::invalid("the thread has no goal: give an objective"));
            }
        };
        if let Some(status) = set.status {
            if !STATUSES.contains(&status.as_str()) {
                let text = format!("Invalid request: unknown variant `{status}`");
                return responder.refuse(Refusal::invalid(text));
            }
            goal.status = status;
        }
        goal.token_budget = set.token_budget.or(goal.token_budget);
        goal.updated_at = now;
        if let Err(refusal) = self.keep_goal(&goal) {
            return responder.refuse(refusal);
        }
        responder.answer(&json!({ "goal": self.goal_on_the_wire(&goal) }));
        self.tell_goal(&goal);
        self.goal_turns = 0;
        if self.active.is_none() {
            self.pursue_goal();
        }
    }

    /// `thread/goal/get`
    pub(crate) fn get_goal(&self, responder: Responder) {
        if let Err(refusal) = self.must_be_kept(GOALS) {
            return responder.refuse(refusal);
        }
        let goal = self.goal().map(|it| self.goal_on_the_wire(&it));
        responder.answer(&json!({ "goal": goal }));
    }

    /// `thread/goal/clear`
    pub(crate) fn clear_goal(&mut self, responder: Responder) {
        if let Err(refusal) = self.must_be_kept(GOALS) {
            return responder.refuse(refusal);
        }
        let is_set = self.log.state().goal.is_some();
        if is_set && let Err(error) = self.append(Record::GoalSet(None)) {
            return responder.refuse(wire::refuse(&error));
        }
        responder.answer(&json!({ "cleared": is_set }));
        if is_set {
            self.tell(&Notice::new("thread/goal/cleared", &wire::named(&self.id)));
        }
    }

    /// Takes in what the last turn meant for the goal.
    pub(super) fn account_goal(&mut self, last_words: Option<&str>, duration_ms: i64) {
        let Some(mut goal) = self.goal().filter(|it| it.status == "active") else {
            return;
        };
        goal.tokens_used = (self.tokens() - goal.tokens_before).max(0);
        goal.time_used_seconds += duration_ms / 1000;
        goal.updated_at = unix_millis() / 1000;
        let says = |word: &str| last_words.is_some_and(|it| it.contains(word));
        if says(REACHED) {
            goal.status = "complete".to_owned();
        } else if says(BLOCKED) || TURNS_MAX <= self.goal_turns {
            goal.status = "blocked".to_owned();
        } else if goal.token_budget.is_some_and(|it| it <= goal.tokens_used) {
            goal.status = "budgetLimited".to_owned();
        }
        match self.keep_goal(&goal) {
            Ok(()) => self.tell_goal(&goal),
            Err(refusal) => tracing::warn!(thread = %self.id, ?refusal, "a goal could not be kept"),
        }
    }

    /// Begins the next turn where there is a goal to work towards.
    pub(super) fn pursue_goal(&mut self) {
        let Some(goal) = self.goal().filter(|it| it.status == "active") else {
            return;
        };
        let text = format!(
            "<goal>\nGo on working towards this goal of the user, without asking:\n{}\nWhen it is reached, end your \
             answer with the words {REACHED}. When you cannot go on without the user, end it with {BLOCKED} and say \
             why.\n</goal>",
            goal.objective
        );
        let item = model_wire::message("developer", &text).value().clone();
        self.goal_turns += 1;
        let began = self
            .remember(vec![item])
            .map_err(|it| wire::refuse(&it))
            .and_then(|()| Beginning::new(TurnKind::Regular, Vec::new()))
            .and_then(|beginning| self.begin(beginning));
        if let Err(refusal) = began {
            self.warn(&format!(
                "the goal is not pursued: {}",
                refusal.into_error().message
            ));
        }
    }
}
