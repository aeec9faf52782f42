//! The sandbox's helper alone: what the root binary does for its hidden first argument.

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next();
    if mode.is_none_or(|mode| mode != codex_exec::SANDBOX_MODE) {
        std::process::exit(2);
    }
    codex_exec::sandbox_main(arguments)
}
