//! The model, by scripts of events.

mod anything;
mod asking;
mod choosing;
mod composing;
mod installing;
mod reconnecting;
mod turning;
