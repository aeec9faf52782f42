//! Waiting for a condition that has a name and a deadline.

use std::fmt::Write;
use std::time::{Duration, Instant};

/// The deadline for everything that should take well under a second on a busy machine with two cores.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at again.
const INTERVAL: Duration = Duration::from_millis(10);

/// Asks until there is an answer and hands it back.
///
/// # Panics
///
/// When `deadline` has passed; the text holds `name`.
pub fn until<T>(name: &str, deadline: Duration, ask: impl FnMut() -> Option<T>) -> T {
    until_or(name, deadline, ask, String::new)
}

/// As [`until`], with a last look at the scene in the panic's text.
///
/// # Panics
///
/// When `deadline` has passed; the text holds `name` and what `scene` answers.
pub fn until_or<T>(
    name: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Option<T>,
    scene: impl FnOnce() -> String,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        if start.elapsed() > deadline {
            let mut text = format!("waited {deadline:?} for: {name}");
            let scene = scene();
            if !scene.is_empty() {
                let _ = write!(text, "\n{scene}");
            }
            panic!("{text}");
        }
        std::thread::sleep(INTERVAL);
    }
}
