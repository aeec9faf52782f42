//! Threads on disk: one append-only log each, and an index for lists.
