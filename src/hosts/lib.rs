//! What should be connected, and why it is not: pure state machines.
