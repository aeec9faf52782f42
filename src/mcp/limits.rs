//! How much is taken from servers, which are programs of others. What is beyond is left out or cut, and said.

use std::time::Duration;

/// The largest message that is read, in bytes. A larger one is dropped, and the call that waits for it runs out of
/// time.
pub const MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Tools of one server; more are left out.
pub const TOOLS_PER_SERVER_MAX: usize = 128;
/// Tools of all servers together; more are left out, by the names of their servers.
pub const TOOLS_MAX: usize = 512;
/// The whole definition of a tool as JSON, in bytes; a tool with a larger one is left out.
pub const TOOL_BYTES_MAX: usize = 64 * 1024;
/// The description of a tool for the model, in bytes; the rest is cut.
pub const DESCRIPTION_BYTES_MAX: usize = 8 * 1024;
/// Pages of a list; what follows is left out.
pub const PAGES_MAX: usize = 64;
/// Resources, or templates of them, of one server; more are left out.
pub const RESOURCES_MAX: usize = 1000;
/// One entry of such a list as JSON, in bytes; a larger one is left out.
pub const RESOURCE_ENTRY_BYTES_MAX: usize = 16 * 1024;
/// The contents of a resource that is read, in bytes; larger ones are refused.
pub const RESOURCE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Blocks in the result of a call; more are left out.
pub const BLOCKS_MAX: usize = 256;
/// All text in the result of a call, in bytes; the rest is cut.
pub const RESULT_TEXT_BYTES_MAX: usize = 256 * 1024;
/// Everything in the result of a call that is no text, in bytes of JSON: images, audio, resources. A block beyond
/// is replaced by a line that says so.
pub const RESULT_BINARY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest text that says why something failed, in bytes, without what a program wrote to standard error.
pub const REASON_BYTES_MAX: usize = 2 * 1024;

/// The pause before the first attempt to start a server again that has failed twice in a row; it doubles.
pub const RESTART_PAUSE_MIN: Duration = Duration::from_secs(1);
/// After so many failures in a row a server is left alone until its configuration is loaded again: it would fail
/// for ever, and tell the user every time.
pub const FAILURES_MAX: u32 = 6;
/// A server that has run for so long has not failed in a row.
pub const STEADY: Duration = Duration::from_secs(60);
/// The pause between two looks at a list of tools that changes all the time.
pub const REFRESH_PAUSE: Duration = Duration::from_millis(200);
/// How long a connection may take to be closed before its program is ended anyway.
pub const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// How long the end of a program, whose connection is lost, is waited for in order to say how it ended.
pub const EXIT_PATIENCE: Duration = Duration::from_millis(500);
/// How long a call whose connection is lost waits to learn why.
pub const REASON_PATIENCE: Duration = Duration::from_secs(2);

/// Returns the pause before a server is started again, after so many failures in a row; nothing if it is not.
pub(crate) fn restart_pause(failures: u32) -> Option<Duration> {
    if failures >= FAILURES_MAX {
        return None;
    }
    let Some(doublings) = failures.checked_sub(2) else {
        return Some(Duration::ZERO);
    };
    let factor = 2_u32.saturating_pow(doublings);
    Some(RESTART_PAUSE_MIN.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_attempts_end() {
        let pauses = [0, 1, 2, 3, 4, 5, 6, 1000].map(|it| restart_pause(it).map(|it| it.as_secs()));
        assert_eq!(
            pauses,
            [Some(0), Some(0), Some(1), Some(2), Some(4), Some(8), None, None]
        );
    }
}
