//! What a client asks a server: one line a method.

use serde::{Serialize, de::DeserializeOwned};

use crate::{message::Params, v2};

/// A method, its parameters and its answer.
pub trait Method {
    const NAME: &'static str;
    type Params: Serialize;
    type Answer: DeserializeOwned;
}

macro_rules! methods {
    ($($variant:ident = $name:literal, $params:ty => $answer:ty;)+) => {
        /// A call, with its parameters.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ClientRequest {
            $(#[doc = concat!("`", $name, "`")] $variant($params),)+
        }

        /// The answer to the [`ClientRequest`] of the same name.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ClientResponse {
            $(#[doc = concat!("`", $name, "`")] $variant($answer),)+
        }

        /// Each method as a type.
        pub mod method {
            $(
                #[doc = concat!("`", $name, "`")]
                #[derive(Debug)]
                pub enum $variant {}
                impl super::Method for $variant {
                    const NAME: &'static str = $name;
                    type Params = $params;
                    type Answer = $answer;
                }
            )+
            use super::v2;
        }

        impl ClientRequest {
            pub fn method(&self) -> &'static str {
                match self { $(ClientRequest::$variant(_) => $name,)+ }
            }

            /// Reads a call; `None` when the method is not in the table.
            pub fn parse(method: &str, params: Option<&Params>) -> Option<serde_json::Result<ClientRequest>> {
                let params = params.map_or("{}", |it| it.get());
                match method {
                    $($name => Some(serde_json::from_str(params).map(ClientRequest::$variant)),)+
                    _ => None,
                }
            }

            /// The parameters as they are sent.
            pub fn params(&self) -> serde_json::Result<Params> {
                match self { $(ClientRequest::$variant(params) => serde_json::value::to_raw_value(params),)+ }
            }

            /// Reads the answer to this request.
            pub fn decode(&self, answer: &Params) -> serde_json::Result<ClientResponse> {
                match self {
                    $(ClientRequest::$variant(_) => serde_json::from_str(answer.get()).map(ClientResponse::$variant),)+
                }
            }
        }
    };
}

methods! {
    Initialize = "initialize", v2::InitializeParams => v2::InitializeResponse;
    ThreadStart = "thread/start", v2::ThreadStartParams => v2::ThreadOpened;
    ThreadResume = "thread/resume", v2::ThreadResumeParams => v2::ThreadOpened;
    ThreadFork = "thread/fork", v2::ThreadForkParams => v2::ThreadOpened;
    ThreadList = "thread/list", v2::ThreadListParams => v2::ThreadListResponse;
    ThreadRead = "thread/read", v2::ThreadReadParams => v2::ThreadReadResponse;
    ThreadTurnsList = "thread/turns/list", v2::ThreadTurnsListParams => v2::ThreadTurnsListResponse;
    ThreadNameSet = "thread/name/set", v2::ThreadNameSetParams => v2::Empty;
    ThreadArchive = "thread/archive", v2::ThreadIdParams => v2::Empty;
    ThreadUnsubscribe = "thread/unsubscribe", v2::ThreadIdParams => v2::ThreadUnsubscribeResponse;
    ThreadCompactStart = "thread/compact/start", v2::ThreadIdParams => v2::Empty;
    ThreadShellCommand = "thread/shellCommand", v2::ThreadShellCommandParams => v2::Empty;
    TurnStart = "turn/start", v2::TurnStartParams => v2::TurnStartResponse;
    TurnSteer = "turn/steer", v2::TurnSteerParams => v2::TurnSteerResponse;
    TurnInterrupt = "turn/interrupt", v2::TurnInterruptParams => v2::Empty;
    ModelList = "model/list", v2::ModelListParams => v2::ModelListResponse;
    AccountRead = "account/read", v2::AccountReadParams => v2::AccountReadResponse;
    FsGetMetadata = "fs/getMetadata", v2::FsGetMetadataParams => v2::FsGetMetadataResponse;
    FuzzyFileSearch = "fuzzyFileSearch", v2::FuzzyFileSearchParams => v2::FuzzyFileSearchResponse;
}
