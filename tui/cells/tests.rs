//! Snapshots of every kind of item.
