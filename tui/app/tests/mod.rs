//! The model, by scripts of events.

mod asking;
mod choosing;
mod composing;
mod reconnecting;
mod turning;
