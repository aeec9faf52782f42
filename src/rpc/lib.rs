//! JSON-RPC peers over any byte stream.
