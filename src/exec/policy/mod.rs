//! Tables of commands that are known: to be safe without asking, or to deserve a question.
//!
//! Safe is said only of what is wholly understood; dangerous is said of whatever looks like it.

mod dangerous;
mod safe;
mod shell;

pub use shell::plain_commands;

/// What the tables say about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It reads and prints, nothing else.
    Safe,
    /// In no table.
    Unknown,
    /// It destroys what is hard to get back, or stops the machine.
    Dangerous,
}

/// Looks a command up. A script of a shell (`bash -lc "…"`) is as safe as the least safe of its commands.
pub fn assess(argv: &[String]) -> Verdict {
    if dangerous::is_dangerous(argv) {
        return Verdict::Dangerous;
    }
    let is_safe = match shell::script(argv) {
        Some(_) => {
            plain_commands(argv).is_some_and(|commands| commands.iter().all(|command| safe::is_safe(command)))
        }
        None => safe::is_safe(argv),
    };
    if is_safe { Verdict::Safe } else { Verdict::Unknown }
}

#[cfg(test)]
mod tests;
