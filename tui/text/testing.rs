//! What tests of text share.
