//! Wire types of the Codex app-server protocol.
