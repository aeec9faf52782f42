//! All that our own server answers, asks and tells, by method: a line each.
//!
//! [`crate::ClientRequest`] and its like are what our client says and wants to know, which is less: a server is
//! asked by others too. Names of parameters and answers are the official ones, also where several methods share
//! one type here. `generate-json-schema` and `generate-ts` describe these tables.

mod host;
mod threads;
mod told;
mod turns;

pub use host::*;
pub use threads::*;
pub use told::*;
pub use turns::*;

#[cfg(feature = "schema")]
use crate::{notice, schema::Shape, v2};

/// Whether a method may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    Stable,
    /// Only for peers with the capability `experimentalApi`.
    Experimental,
}

/// A request: of a client in [`CALLS`], of the server in [`QUESTIONS`].
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub method: &'static str,
    pub stability: Stability,
    /// `None`: the method has no parameters.
    pub params: Option<&'static str>,
    pub answer: &'static str,
    #[cfg(feature = "schema")]
    pub(crate) params_shape: Shape,
    #[cfg(feature = "schema")]
    pub(crate) answer_shape: Shape,
}

/// A notification of the server.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub method: &'static str,
    pub params: &'static str,
    #[cfg(feature = "schema")]
    pub(crate) shape: Shape,
}

macro_rules! name {
    (none) => {
        None
    };
    ($name:ident) => {
        Some(stringify!($name))
    };
}

macro_rules! calls {
    ($($stability:ident $method:literal: $params:ident($params_type:ty) => $answer:ident($answer_type:ty);)+) => {
        &[$(Call {
            method: $method,
            stability: Stability::$stability,
            params: name!($params),
            answer: stringify!($answer),
            #[cfg(feature = "schema")]
            params_shape: Shape::of::<$params_type>(),
            #[cfg(feature = "schema")]
            answer_shape: Shape::of::<$answer_type>(),
        }),+]
    };
}

macro_rules! told {
    ($($method:literal: $params:ident($params_type:ty);)+) => {
        &[$(Told {
            method: $method,
            params: stringify!($params),
            #[cfg(feature = "schema")]
            shape: Shape::of::<$params_type>(),
        }),+]
    };
}

/// What clients may ask. Every method that the server's router knows, and no other.
#[rustfmt::skip]
pub const CALLS: &[Call] = calls! {
    Stable "initialize": InitializeParams(v2::InitializeParams) => InitializeResponse(v2::InitializeResponse);

    Stable "thread/start": ThreadStartParams(ThreadStartParams) => ThreadStartResponse(v2::ThreadOpened);
    Stable "thread/resume": ThreadResumeParams(ThreadResumeParams) => ThreadResumeResponse(v2::ThreadOpened);
    Stable "thread/fork": ThreadForkParams(ThreadForkParams) => ThreadForkResponse(v2::ThreadOpened);
    Stable "thread/list": ThreadListParams(ThreadListParams) => ThreadListResponse(v2::ThreadListResponse);
    Experimental "thread/search": ThreadSearchParams(ThreadSearchParams) => ThreadSearchResponse(ThreadSearchResponse);
    Stable "thread/loaded/list": ThreadLoadedListParams(ThreadLoadedListParams) => ThreadLoadedListResponse(ThreadLoadedListResponse);
    Stable "thread/read": ThreadReadParams(v2::ThreadReadParams) => ThreadReadResponse(v2::ThreadReadResponse);
    Stable "thread/turns/list": ThreadTurnsListParams(v2::ThreadTurnsListParams) => ThreadTurnsListResponse(v2::ThreadTurnsListResponse);
    Stable "thread/items/list": ThreadItemsListParams(ThreadItemsListParams) => ThreadItemsListResponse(ThreadItemsListResponse);
    Stable "thread/name/set": ThreadSetNameParams(v2::ThreadNameSetParams) => ThreadSetNameResponse(v2::Empty);
    Stable "thread/archive": ThreadArchiveParams(v2::ThreadIdParams) => ThreadArchiveResponse(v2::Empty);
    Stable "thread/unarchive": ThreadUnarchiveParams(v2::ThreadIdParams) => ThreadUnarchiveResponse(ThreadAnswer);
    Stable "thread/delete": ThreadDeleteParams(v2::ThreadIdParams) => ThreadDeleteResponse(v2::Empty);
    Stable "thread/revert": ThreadRevertParams(ThreadRevertParams) => ThreadRevertResponse(ThreadRevertResponse);
    Stable "thread/unsubscribe": ThreadUnsubscribeParams(v2::ThreadIdParams) => ThreadUnsubscribeResponse(v2::ThreadUnsubscribeResponse);
    Stable "thread/compact/start": ThreadCompactStartParams(v2::ThreadIdParams) => ThreadCompactStartResponse(v2::Empty);
    Stable "thread/inject_items": ThreadInjectItemsParams(ThreadInjectItemsParams) => ThreadInjectItemsResponse(v2::Empty);
    Stable "thread/shellCommand": ThreadShellCommandParams(ThreadShellCommandParams) => ThreadShellCommandResponse(v2::Empty);
    Stable "thread/metadata/update": ThreadMetadataUpdateParams(ThreadMetadataUpdateParams) => ThreadMetadataUpdateResponse(ThreadAnswer);
    Experimental "thread/settings/update": ThreadSettingsUpdateParams(ThreadSettingsUpdateParams) => ThreadSettingsUpdateResponse(v2::Empty);
    Stable "thread/goal/set": ThreadGoalSetParams(ThreadGoalSetParams) => ThreadGoalSetResponse(ThreadGoalSetResponse);
    Stable "thread/goal/get": ThreadGoalGetParams(v2::ThreadIdParams) => ThreadGoalGetResponse(ThreadGoalGetResponse);
    Stable "thread/goal/clear": ThreadGoalClearParams(v2::ThreadIdParams) => ThreadGoalClearResponse(ThreadGoalClearResponse);
    Experimental "thread/backgroundTerminals/list": ThreadBackgroundTerminalsListParams(v2::ThreadIdParams) => ThreadBackgroundTerminalsListResponse(ThreadBackgroundTerminalsListResponse);
    Experimental "thread/backgroundTerminals/clean": ThreadBackgroundTerminalsCleanParams(v2::ThreadIdParams) => ThreadBackgroundTerminalsCleanResponse(v2::Empty);
    Experimental "thread/backgroundTerminals/terminate": ThreadBackgroundTerminalsTerminateParams(ThreadBackgroundTerminalsTerminateParams) => ThreadBackgroundTerminalsTerminateResponse(ThreadBackgroundTerminalsTerminateResponse);

    Stable "turn/start": TurnStartParams(TurnStartParams) => TurnStartResponse(v2::TurnStartResponse);
    Stable "turn/steer": TurnSteerParams(TurnSteerParams) => TurnSteerResponse(v2::TurnSteerResponse);
    Stable "turn/interrupt": TurnInterruptParams(v2::TurnInterruptParams) => TurnInterruptResponse(v2::Empty);
    Stable "review/start": ReviewStartParams(ReviewStartParams) => ReviewStartResponse(ReviewStartResponse);

    Stable "fs/readFile": FsReadFileParams(v2::FsPathParams) => FsReadFileResponse(v2::FsReadFileResponse);
    Stable "fs/writeFile": FsWriteFileParams(v2::FsWriteFileParams) => FsWriteFileResponse(v2::Empty);
    Stable "fs/createDirectory": FsCreateDirectoryParams(v2::FsCreateDirectoryParams) => FsCreateDirectoryResponse(v2::Empty);
    Stable "fs/getMetadata": FsGetMetadataParams(v2::FsGetMetadataParams) => FsGetMetadataResponse(v2::FsGetMetadataResponse);
    Stable "fs/readDirectory": FsReadDirectoryParams(v2::FsPathParams) => FsReadDirectoryResponse(v2::FsReadDirectoryResponse);
    Stable "fs/copy": FsCopyParams(v2::FsCopyParams) => FsCopyResponse(v2::Empty);
    Stable "fs/remove": FsRemoveParams(v2::FsRemoveParams) => FsRemoveResponse(v2::Empty);
    Stable "fs/watch": FsWatchParams(v2::FsWatchParams) => FsWatchResponse(v2::FsWatchResponse);
    Stable "fs/unwatch": FsUnwatchParams(v2::FsUnwatchParams) => FsUnwatchResponse(v2::Empty);
    Stable "fuzzyFileSearch": FuzzyFileSearchParams(v2::FuzzyFileSearchParams) => FuzzyFileSearchResponse(v2::FuzzyFileSearchResponse);

    Stable "command/exec": CommandExecParams(v2::CommandExecParams) => CommandExecResponse(v2::CommandExecResponse);
    Stable "command/exec/write": CommandExecWriteParams(v2::CommandExecWriteParams) => CommandExecWriteResponse(v2::Empty);
    Stable "command/exec/resize": CommandExecResizeParams(v2::CommandExecResizeParams) => CommandExecResizeResponse(v2::Empty);
    Stable "command/exec/terminate": CommandExecTerminateParams(v2::CommandExecTerminateParams) => CommandExecTerminateResponse(v2::Empty);

    Stable "config/read": ConfigReadParams(v2::ConfigReadParams) => ConfigReadResponse(v2::ConfigReadResponse);
    Stable "config/value/write": ConfigValueWriteParams(v2::ConfigValueWriteParams) => ConfigWriteResponse(v2::ConfigWriteResponse);
    Stable "config/batchWrite": ConfigBatchWriteParams(v2::ConfigBatchWriteParams) => ConfigWriteResponse(v2::ConfigWriteResponse);
    Stable "configRequirements/read": none(v2::Empty) => ConfigRequirementsReadResponse(v2::ConfigRequirementsReadResponse);
    Stable "model/list": ModelListParams(v2::ModelListParams) => ModelListResponse(v2::Page<v2::Model>);
    Stable "modelProvider/list": ModelProviderListParams(v2::Empty) => ModelProviderListResponse(v2::ModelProviderListResponse);
    Stable "modelProvider/capabilities/read": ModelProviderCapabilitiesReadParams(v2::Empty) => ModelProviderCapabilitiesReadResponse(v2::ModelProviderCapabilities);

    Stable "account/read": GetAccountParams(v2::AccountReadParams) => GetAccountResponse(v2::AccountReadResponse);
    Stable "getAuthStatus": GetAuthStatusParams(v2::Empty) => GetAuthStatusResponse(v2::AuthStatus);
    Stable "account/login/start": LoginAccountParams(LoginAccountParams) => LoginAccountResponse(v2::LoginAccountResponse);
    Stable "account/logout": none(v2::Empty) => LogoutAccountResponse(v2::Empty);
    Stable "account/rateLimits/read": none(v2::Empty) => GetAccountRateLimitsResponse(Never);
    Experimental "account/bedrock/checkGovCloudRequirements": BedrockCheckGovCloudRequirementsParams(v2::Empty) => BedrockCheckGovCloudRequirementsResponse(v2::GovCloudRequirements);

    Stable "skills/list": SkillsListParams(v2::CwdsParams) => SkillsListResponse(v2::SkillsListResponse);
    Stable "hooks/list": HooksListParams(v2::CwdsParams) => HooksListResponse(v2::HooksListResponse);
    Stable "permissionProfile/list": PermissionProfileListParams(v2::Empty) => PermissionProfileListResponse(v2::Page<v2::PermissionProfile>);
    Experimental "collaborationMode/list": CollaborationModeListParams(v2::Empty) => CollaborationModeListResponse(v2::CollaborationModeListResponse);
    Stable "experimentalFeature/list": ExperimentalFeatureListParams(v2::Empty) => ExperimentalFeatureListResponse(v2::Page<serde_json::Value>);
    Stable "app/list": AppsListParams(v2::Empty) => AppsListResponse(v2::Page<serde_json::Value>);
    Experimental "server/diagnostics": ServerDiagnosticsParams(v2::Empty) => ServerDiagnosticsResponse(v2::ServerDiagnosticsResponse);

    Stable "mcpServerStatus/list": ListMcpServerStatusParams(ListMcpServerStatusParams) => ListMcpServerStatusResponse(ListMcpServerStatusResponse);
    Stable "mcpServer/resource/read": McpResourceReadParams(McpResourceReadParams) => McpResourceReadResponse(McpResourceReadResponse);
    Stable "mcpServer/tool/call": McpServerToolCallParams(McpServerToolCallParams) => McpServerToolCallResponse(McpServerToolCallResponse);
    Stable "config/mcpServer/reload": none(v2::Empty) => McpServerRefreshResponse(v2::Empty);
};

/// What the server asks its clients.
#[rustfmt::skip]
pub const QUESTIONS: &[Call] = calls! {
    Stable "item/commandExecution/requestApproval": CommandExecutionRequestApprovalParams(v2::CommandApprovalParams) => CommandExecutionRequestApprovalResponse(v2::ApprovalResponse);
    Stable "item/fileChange/requestApproval": FileChangeRequestApprovalParams(v2::FileChangeApprovalParams) => FileChangeRequestApprovalResponse(v2::ApprovalResponse);
    Stable "item/tool/call": DynamicToolCallParams(v2::DynamicToolCallParams) => DynamicToolCallResponse(v2::DynamicToolCallResponse);
    Stable "mcpServer/elicitation/request": McpServerElicitationRequestParams(v2::ElicitationParams) => McpServerElicitationRequestResponse(ElicitationResponse);
};

/// What the server tells its clients.
#[rustfmt::skip]
pub const NOTIFICATIONS: &[Told] = told! {
    "thread/started": ThreadStartedNotification(notice::ThreadStarted);
    "thread/status/changed": ThreadStatusChangedNotification(notice::ThreadStatusChanged);
    "thread/name/updated": ThreadNameUpdatedNotification(notice::ThreadNameUpdated);
    "thread/archived": ThreadArchivedNotification(notice::ThreadNamed);
    "thread/unarchived": ThreadUnarchivedNotification(notice::ThreadNamed);
    "thread/deleted": ThreadDeletedNotification(notice::ThreadNamed);
    "thread/closed": ThreadClosedNotification(notice::ThreadNamed);
    "thread/reverted": ThreadRevertedNotification(notice::ThreadNamed);
    "thread/tokenUsage/updated": ThreadTokenUsageUpdatedNotification(ThreadTokenUsageUpdated);
    "thread/settings/updated": ThreadSettingsUpdatedNotification(ThreadSettingsUpdated);
    "thread/goal/updated": ThreadGoalUpdatedNotification(ThreadGoalUpdated);
    "thread/goal/cleared": ThreadGoalClearedNotification(notice::ThreadNamed);
    "turn/started": TurnStartedNotification(notice::TurnChanged);
    "turn/completed": TurnCompletedNotification(notice::TurnChanged);
    "turn/plan/updated": TurnPlanUpdatedNotification(notice::TurnPlanUpdated);
    "turn/diff/updated": TurnDiffUpdatedNotification(notice::TurnDiffUpdated);
    "item/started": ItemStartedNotification(ItemStarted);
    "item/completed": ItemCompletedNotification(ItemCompleted);
    "item/agentMessage/delta": AgentMessageDeltaNotification(notice::ItemDelta);
    "item/reasoning/summaryTextDelta": ReasoningSummaryTextDeltaNotification(ReasoningSummaryTextDelta);
    "item/reasoning/summaryPartAdded": ReasoningSummaryPartAddedNotification(ReasoningSummaryPartAdded);
    "item/reasoning/textDelta": ReasoningTextDeltaNotification(ReasoningTextDelta);
    "item/commandExecution/outputDelta": CommandExecutionOutputDeltaNotification(notice::ItemDelta);
    "item/commandExecution/terminalInteraction": TerminalInteractionNotification(TerminalInteraction);
    "item/mcpToolCall/progress": McpToolCallProgressNotification(notice::McpToolCallProgress);
    "error": ErrorNotification(notice::TurnErrored);
    "serverRequest/resolved": ServerRequestResolvedNotification(notice::ServerRequestResolved);
    "mcpServer/startupStatus/updated": McpServerStatusUpdatedNotification(McpServerStatusUpdated);
    "account/login/completed": AccountLoginCompletedNotification(v2::AccountLoginCompleted);
    "account/updated": AccountUpdatedNotification(v2::AccountUpdated);
    "command/exec/outputDelta": CommandExecOutputDeltaNotification(v2::CommandExecOutputDelta);
    "fs/changed": FsChangedNotification(v2::FsChanged);
    "warning": WarningNotification(notice::Warning);
    "configWarning": ConfigWarningNotification(v2::ConfigWarning);
};
