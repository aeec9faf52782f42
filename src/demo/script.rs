//! What the model says and does: a pure function of the conversation.

use codex_agent::RawItem;

use crate::{
    project::Project,
    talk::{Outcome, Talk, Turn},
};

/// Stands before the first answer of every conversation.
const NOTICE: &str = "**This is a scripted demonstration model, not an AI.** Its words are prepared; its commands and \
                      patches are real, and run in the sample project of this host.";
/// How many seconds the slow command takes, and how long is waited for it.
const SLOW_S: u32 = 25;
const SLOW_YIELD_MS: u64 = 30_000;
/// How much of a command's output is quoted, in characters.
const QUOTED_MAX: usize = 300;

/// The model's next move.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Markdown.
    pub(crate) text: String,
    /// `None`: this ends the turn.
    pub(crate) call: Option<Call>,
}

/// A tool that is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Command {
        line: String,
        /// How long its end is waited for; the tool's own time if none is given.
        yield_ms: Option<u64>,
        /// Asks the user, with these words, to let it out of the sandbox.
        justification: Option<&'static str>,
    },
    Patch(String),
    Plan(Vec<(&'static str, &'static str)>),
}

impl Call {
    fn command(line: impl Into<String>) -> Call {
        Call::Command {
            line: line.into(),
            yield_ms: None,
            justification: None,
        }
    }
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    Tour,
    Plan,
    Slow,
    Clean,
    Reset,
    Review,
    Menu,
}

impl Topic {
    /// By the beginning of a word: `plan` means *plans* and *planning*, not *explain*.
    const STEMS: [(&str, Topic); 18] = [
        ("plan", Topic::Plan),
        ("slow", Topic::Slow),
        ("long", Topic::Slow),
        ("wait", Topic::Slow),
        ("clean", Topic::Clean),
        ("delete", Topic::Clean),
        ("remove", Topic::Clean),
        ("reset", Topic::Reset),
        ("revert", Topic::Reset),
        ("undo", Topic::Reset),
        ("review", Topic::Review),
        ("fix", Topic::Tour),
        ("test", Topic::Tour),
        ("check", Topic::Tour),
        ("bug", Topic::Tour),
        ("tour", Topic::Tour),
        ("show", Topic::Tour),
        ("mend", Topic::Tour),
    ];

    fn of(prompt: &str, has_toured: bool) -> Topic {
        let prompt = prompt.to_lowercase();
        let mut words = prompt.split(|it: char| !it.is_alphanumeric());
        let topic = words.find_map(|word| Topic::STEMS.iter().find(|(stem, _)| word.starts_with(stem)));
        match topic {
            Some((_, topic)) => *topic,
            None if has_toured => Topic::Menu,
            None => Topic::Tour,
        }
    }
}

/// The next move in a conversation about `project`. `can_call`: tools are offered.
pub(crate) fn reply(project: &Project, items: &[RawItem], can_call: bool) -> Reply {
    let talk = Talk::read(items);
    if !can_call {
        return last(format!(
            "Summary by the scripted demonstration model. The user has asked for: {}",
            asked(&talk)
        ));
    }
    let mut has_toured = false;
    for prompt in &talk.answered {
        has_toured |= Topic::of(prompt, has_toured) == Topic::Tour;
    }
    let turn = &talk.turn;
    let mut reply = match Topic::of(&turn.prompt, has_toured) {
        Topic::Tour => tour(project, turn),
        Topic::Plan => plan(project, turn),
        Topic::Slow => slow(turn),
        Topic::Clean => clean(turn),
        Topic::Reset => reset(project, turn),
        Topic::Review => last(format!(
            "A script cannot judge code, so there is no review.\n\n{MENU}"
        )),
        Topic::Menu => last(format!("My script has no part for that.\n\n{MENU}")),
    };
    let mut before = Vec::new();
    if !talk.holds(NOTICE) {
        before.push(NOTICE.to_owned());
    }
    if talk.was_interrupted && turn.outcomes.is_empty() {
        before.push("You interrupted the turn before this one; nothing of it goes on.".to_owned());
    }
    for added in &turn.added {
        before.push(format!(
            "You added “{}”. I have read it, but a script goes on as it is written.",
            quoted(added)
        ));
    }
    before.push(reply.text);
    reply.text = before.join("\n\n");
    reply
}

fn asked(talk: &Talk) -> String {
    let prompts: Vec<String> = talk
        .answered
        .iter()
        .map(|it| format!("*{}*", quoted(it)))
        .collect();
    match prompts.is_empty() {
        true => "nothing yet".to_owned(),
        false => prompts.join(", "),
    }
}

fn next(text: impl Into<String>, call: Call) -> Reply {
    Reply {
        text: text.into(),
        call: Some(call),
    }
}

fn last(text: impl Into<String>) -> Reply {
    Reply {
        text: text.into(),
        call: None,
    }
}

/// One line of it, where the answer is about something else.
const MORE: &str = "You can also ask me for `fix the test`, `plan`, `slow`, `clean` or `reset`.";
const MENU: &str = "You can ask me for:

- `fix the test`: reads, runs the checks, proposes a patch and checks again
- `plan`: works with a plan that you see change
- `slow`: a command of some seconds, to be interrupted or given more words meanwhile
- `clean`: a command that needs your approval
- `reset`: makes the mistake again that the patch has mended";

/// Reads, checks, mends, checks again.
fn tour(project: &Project, turn: &Turn) -> Reply {
    let Project {
        name, source, check, ..
    } = project;
    match turn.outcomes.as_slice() {
        [] => next(
            format!(
                "I'll look for the mistake in `{name}`. First I read what it should do and what it does."
            ),
            Call::command(project.look),
        ),
        [Outcome::Declined] => last(format!(
            "You declined the command, so I stop. I would have read `{source}`."
        )),
        [_] => next("Now I run its checks.", Call::command(*check)),
        [_, Outcome::Declined] => last(format!(
            "You declined the command, so I do not know whether the checks pass. I would have run `{check}`, proposed a \
             patch of `{source}`, and run the checks again."
        )),
        [_, Outcome::Told(output)] => match failures(output) {
            None => not_checked(check, output),
            Some(0) => last(format!("All checks pass: there is nothing to fix.\n\n{MENU}")),
            Some(count) => {
                let checks = if count == 1 {
                    "One check fails".to_owned()
                } else {
                    format!("{count} checks fail")
                };
                let text = format!(
                    "{checks}. {}\n\nI propose this patch; it is for you to allow it.",
                    project.cause
                );
                next(text, Call::Patch(project.mend()))
            }
        },
        [_, _, Outcome::Declined] => last(format!(
            "You declined the patch, and `{source}` is as it was. It would have changed one line and made the failing \
             check pass.\n\n{MORE}"
        )),
        [_, _, Outcome::Told(_)] => next(
            "I run the checks again, to see whether that was it.",
            Call::command(*check),
        ),
        [_, _, _, Outcome::Declined, ..] => last(format!(
            "You declined the command, so whether `{check}` passes now is not known."
        )),
        [_, _, Outcome::Told(patched), Outcome::Told(output), ..] => match failures(output) {
            None => not_checked(check, output),
            Some(0) => last(format!(
                "## Done\n\n{}\n\n| | before | after |\n|---|---|---|\n| `{check}` | fails | **passes** |\n\n{MENU}",
                project.fix
            )),
            Some(_) => last(format!(
                "The checks still fail. The patch was answered with:\n\n{}",
                block(patched)
            )),
        },
        [_, _, Outcome::Declined, ..] => last(format!("The patch was declined; `{source}` is as it was.")),
    }
}

fn not_checked(check: &str, output: &str) -> Reply {
    last(format!(
        "`{check}` did not say how many checks failed, so I stop here. It said:\n\n{}",
        block(output)
    ))
}

/// Works through a plan.
fn plan(project: &Project, turn: &Turn) -> Reply {
    const STEPS: [&str; 3] = ["Read the project", "Run the checks", "Say what comes next"];
    let at = |current: usize| {
        let status = |step: usize| match step.cmp(&current) {
            std::cmp::Ordering::Less => "completed",
            std::cmp::Ordering::Equal => "in_progress",
            std::cmp::Ordering::Greater => "pending",
        };
        Call::Plan(
            STEPS
                .iter()
                .enumerate()
                .map(|(step, name)| (*name, status(step)))
                .collect(),
        )
    };
    match turn.outcomes.len() {
        0 => next("Here is my plan.", at(0)),
        1 => next("I begin with its first step.", Call::command(project.look)),
        2 => next("That is read.", at(1)),
        3 => next("Next are the checks.", Call::command(project.check)),
        4 => next("Now I know enough.", at(STEPS.len())),
        _ => {
            let found = match turn.outcomes.get(3) {
                Some(Outcome::Declined) => "you declined the checks".to_owned(),
                Some(Outcome::Told(output)) => match failures(output) {
                    Some(0) => "all checks pass".to_owned(),
                    Some(count) => format!("failing checks: {count}"),
                    None => "the checks could not be run".to_owned(),
                },
                None => "the checks were not run".to_owned(),
            };
            last(format!("The plan is done; {found}.\n\n{MORE}"))
        }
    }
}

/// Something that takes its time.
fn slow(turn: &Turn) -> Reply {
    match turn.outcomes.as_slice() {
        [] => {
            let call = Call::Command {
                line: format!("for i in $(seq {SLOW_S}); do echo \"second $i of {SLOW_S}\"; sleep 1; done"),
                yield_ms: Some(SLOW_YIELD_MS),
                justification: None,
            };
            let text = format!(
                "This command takes {SLOW_S} seconds. You can interrupt it, or tell me more meanwhile."
            );
            next(text, call)
        }
        [Outcome::Declined, ..] => last("You declined the command; nothing was run."),
        [Outcome::Told(_), ..] => last(format!(
            "The command is through, and nobody has interrupted it.\n\n{MORE}"
        )),
    }
}

/// Something that is never done without a question.
fn clean(turn: &Turn) -> Reply {
    const LINE: &str = "rm -rf build";
    match turn.outcomes.as_slice() {
        [] => {
            let call = Call::Command {
                line: LINE.to_owned(),
                yield_ms: None,
                justification: Some("Remove the folder `build` with what was built there?"),
            };
            next(
                "I would remove what was built. That deletes files, so you are asked.",
                call,
            )
        }
        [Outcome::Declined, ..] => last(format!(
            "You declined, and nothing was removed. I would have run `{LINE}`."
        )),
        [Outcome::Told(_), ..] => last(format!(
            "`{LINE}` was run: there is no folder `build` (any more).\n\n{MORE}"
        )),
    }
}

/// Makes the mistake again.
fn reset(project: &Project, turn: &Turn) -> Reply {
    let Project { source, check, .. } = project;
    match turn.outcomes.as_slice() {
        [] => next(
            format!("I put the mistake back into `{source}`, so that there is something to fix."),
            Call::Patch(project.spoil()),
        ),
        [Outcome::Declined, ..] => last(format!("You declined the patch, and `{source}` is as it was.")),
        [Outcome::Told(_)] => next("I look what the checks say.", Call::command(*check)),
        [_, Outcome::Declined, ..] => last("You declined the checks; whether they fail is not known."),
        [Outcome::Told(patched), Outcome::Told(output), ..] => match failures(output) {
            None => not_checked(check, output),
            Some(0) => last(format!(
                "The checks still pass. The patch was answered with:\n\n{}",
                block(patched)
            )),
            Some(_) => last("The mistake is there again. Ask me to `fix the test`."),
        },
    }
}

/// How many checks failed, by the last line that says it.
fn failures(output: &str) -> Option<u32> {
    let (_, count) = output.rsplit_once("failed: ")?;
    let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.chars().count() <= QUOTED_MAX {
        true => line,
        false => format!("{}…", line.chars().take(QUOTED_MAX).collect::<String>()),
    }
}

/// A text as a block of code, shortened.
fn block(text: &str) -> String {
    let kept: String = text.trim().chars().take(QUOTED_MAX).collect();
    let lines: Vec<String> = kept.lines().map(|it| format!("    {it}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
