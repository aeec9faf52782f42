//! The model, by scripts of events.
