//! From text of a remote to lines of a terminal: made harmless, given styles, cut to a width.

pub mod diff;
pub mod fold;
pub mod markdown;
pub mod sanitize;
mod table;
#[cfg(test)]
pub(crate) mod testing;
pub mod wrap;
