//! The terminal interface: events in, effects out, frames.
