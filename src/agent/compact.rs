//! When a conversation no longer fits: the question for a summary, and the history that takes its place.

use crate::RawItem;
use crate::model::wire;

/// How much of what the user said is kept word for word, in bytes: about 20,000 tokens of English.
pub const KEPT_BYTES_MAX: usize = 80 * 1024;

/// What the model is asked in order to get a summary.
pub const REQUEST: &str = "\
The conversation is about to be replaced by a summary that you write now. Another model will go on with the work and \
will know nothing but this summary and the user's latest messages. Write down, in as few words as that allows:
- what the user wants, with every constraint and preference that was named;
- what was done so far and what came out of it, with the names of files, functions and commands;
- what was decided and why, and what was tried without success;
- what remains to be done, and the next step.
Answer with the summary alone and call no tools.";

/// What stands before a summary in the new history.
const INTRODUCTION: &str = "\
<conversation_summary>
The earlier part of this conversation was replaced by the following summary of it. Go on from there and do not repeat \
what is done.
";
const CLOSING: &str = "\n</conversation_summary>";

/// The number of tokens from which on a conversation is compacted by itself: as configured, else nine tenths of the
/// window, so that one more answer fits. Nothing for a model whose window is unknown.
pub fn limit(context_window: Option<i64>, configured: Option<i64>) -> Option<i64> {
    let by_window = context_window.filter(|it| *it > 0).map(|window| window / 10 * 9);
    match (configured.filter(|it| *it > 0), by_window) {
        (Some(configured), Some(by_window)) => Some(configured.min(by_window)),
        (configured, by_window) => configured.or(by_window),
    }
}

/// The history after a compaction: what describes the surroundings, the latest messages of the user, the summary.
pub fn rebuilt(history: &[RawItem], summary: &str) -> Vec<RawItem> {
    let mut room = KEPT_BYTES_MAX;
    let mut kept: Vec<RawItem> = Vec::new();
    for item in history.iter().rev().filter(|it| is_said_to_model(it)) {
        let size = item.value().to_string().len();
        // An older message that is short would stand out of its order without the longer one after it.
        let Some(rest) = room.checked_sub(size) else { break };
        room = rest;
        kept.push(item.clone());
    }
    kept.reverse();
    if kept.is_empty() {
        kept.extend(last_words(history));
    }
    kept.push(wire::message(
        "user",
        &format!("{INTRODUCTION}{}{CLOSING}", summary.trim()),
    ));
    kept
}

/// The history without its oldest part: half of it more with each step. The surroundings at its beginning go too; a
/// summary does not need them.
pub(crate) fn trimmed(history: &[RawItem], steps: u32) -> &[RawItem] {
    let kept = history.len().checked_shr(steps).unwrap_or(0);
    &history[history.len() - kept..]
}

/// Messages of user and developer, except earlier summaries and what was told about an interrupted turn.
fn is_said_to_model(item: &RawItem) -> bool {
    let role = item.value().get("role").and_then(serde_json::Value::as_str);
    let text = text(item);
    item.kind() == "message"
        && matches!(role, Some("user" | "developer"))
        && !text.starts_with("<conversation_summary>")
        && !text.starts_with("<turn_aborted>")
}

/// The end of the user's last message, where even that is too long to be kept whole.
fn last_words(history: &[RawItem]) -> Option<RawItem> {
    let text = text(history.iter().rev().find(|it| is_said_to_model(it))?);
    let mut start = text.len().saturating_sub(KEPT_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    Some(wire::message(
        "user",
        &format!(
            "[The beginning of this message was left out.]\n{}",
            &text[start..]
        ),
    ))
}

fn text(item: &RawItem) -> String {
    let parts = item.value().get("content").and_then(serde_json::Value::as_array);
    let text = |part: &serde_json::Value| {
        part.get("text")
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned)
    };
    parts.into_iter().flatten().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_leaves_room_for_one_more_answer() {
        assert_eq!(limit(Some(100_000), None), Some(90_000));
        assert_eq!(limit(Some(100_000), Some(50_000)), Some(50_000));
        assert_eq!(limit(Some(100_000), Some(500_000)), Some(90_000));
        assert_eq!(limit(None, Some(7)), Some(7));
        assert_eq!(limit(None, None), None);
    }

    #[test]
    fn the_users_latest_messages_stay_and_earlier_summaries_go() {
        let long = "x".repeat(KEPT_BYTES_MAX - 1000);
        let history = [
            wire::message("user", "oldest"),
            wire::message("user", &long),
            wire::assistant_message("answer"),
            wire::message("user", "<conversation_summary>old</conversation_summary>"),
            wire::message("user", "newest"),
        ];
        let kept: Vec<String> = rebuilt(&history, " new ").iter().map(text).collect();
        assert_eq!(kept.len(), 4);
        assert_eq!(
            (kept[0].as_str(), &kept[1], kept[2].as_str()),
            ("oldest", &long, "newest")
        );
        assert!(
            kept[3].contains("\nnew\n") && !kept[3].contains("old</"),
            "{}",
            kept[3]
        );
        let longer = [
            wire::message("user", "first"),
            wire::message("user", &"é".repeat(KEPT_BYTES_MAX)),
        ];
        let kept = rebuilt(&longer, "s");
        assert_eq!(kept.len(), 2);
        assert!(text(&kept[0]).len() <= KEPT_BYTES_MAX + 100 && text(&kept[0]).contains("left out"));
    }

    #[test]
    fn trimming_always_takes_more() {
        let history: Vec<_> = (0..10).map(|_| wire::message("user", "x")).collect();
        let sizes: Vec<usize> = (0..6).map(|steps| trimmed(&history, steps).len()).collect();
        assert_eq!(sizes, [10, 5, 2, 1, 0, 0]);
        assert_eq!(trimmed(&history, 99).len(), 0);
    }
}
