//! MCP servers of an agent: programs and HTTP servers that offer it tools and resources (Model Context Protocol).
//!
//! [`read_servers`] reads the configuration, [`Servers`] owns what runs. Each server has a task of its own that starts
//! it, looks after it and starts it again when it is next used; whoever asks takes what is ready and never waits for
//! a server that hangs. What servers send is bounded by [`limits`]. The protocol itself is the SDK's, `rmcp`.

mod call;
mod child;
mod config;
mod desk;
mod error;
mod http;
pub mod limits;
mod live;
mod names;
mod outcome;
mod secret;
mod server;
mod servers;
mod status;
mod tools;

pub use call::Call;
pub use config::{
    ConfigProblem, Http, STARTUP_TIMEOUT_DEFAULT, ServerConfig, Stdio, TIMEOUT_MAX, TOOL_TIMEOUT_DEFAULT,
    Transport, read_servers,
};
pub use desk::{Answer, ELICITATIONS_MAX, Elicit, Elicitation, MESSAGE_BYTES_MAX, OnProgress, Progress};
pub use error::Error;
pub use names::{QUALIFIED_NAME_MAX, qualified_name};
pub use outcome::{CallOutcome, CallResult};
pub use secret::{Environment, Secret};
pub use server::{Event, OnEvent, Setup, Startup};
pub use servers::Servers;
pub use status::{AuthStatus, ConnectionStatus, Detail, Status};
pub use tools::{Hints, Tool};
