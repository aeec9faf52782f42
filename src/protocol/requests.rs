//! What a server asks its client.

use crate::{message::Params, v2};

macro_rules! requests {
    ($($variant:ident($params:ty) = $name:literal,)+) => {
        /// A request of the server to the user. Answered with the protocol's response type of that
        /// method; an [`Unknown`](ServerRequest::Unknown) one with *method not found*.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ServerRequest {
            $(#[doc = concat!("`", $name, "`")] $variant($params),)+
            /// Of another version of the protocol, or with parameters that do not fit.
            Unknown { method: String },
        }

        impl ServerRequest {
            pub fn parse(method: &str, params: Option<&Params>) -> ServerRequest {
                let params = params.map_or("null", |it| it.get());
                let known = match method {
                    $($name => serde_json::from_str(params).ok().map(ServerRequest::$variant),)+
                    _ => None,
                };
                known.unwrap_or_else(|| ServerRequest::Unknown { method: method.to_owned() })
            }

            pub fn method(&self) -> &str {
                match self {
                    $(ServerRequest::$variant(_) => $name,)+
                    ServerRequest::Unknown { method } => method,
                }
            }

            /// The thread that waits for the answer.
            pub fn thread_id(&self) -> Option<&crate::ThreadId> {
                match self {
                    $(ServerRequest::$variant(it) => Some(&it.thread_id),)+
                    ServerRequest::Unknown { .. } => None,
                }
            }
        }
    };
}

requests! {
    CommandApproval(v2::CommandApprovalParams) = "item/commandExecution/requestApproval",
    FileChangeApproval(v2::FileChangeApprovalParams) = "item/fileChange/requestApproval",
    UserInput(v2::UserInputParams) = "item/tool/requestUserInput",
    PermissionsApproval(v2::PermissionsApprovalParams) = "item/permissions/requestApproval",
    Elicitation(v2::ElicitationParams) = "mcpServer/elicitation/request",
}
