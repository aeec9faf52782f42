//! Fakes that behave: a scripted model, real sshd, tmux.
