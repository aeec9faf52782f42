//! Runs commands, contained.
