//! Threads on disk, as the server uses them.

mod build;
mod damage;
mod fixtures;
mod history;
mod kill;
mod lists;
mod writers;
