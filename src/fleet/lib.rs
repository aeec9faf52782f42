//! Connects to many hosts and carries their conversations.
