//! What this server has none or one of: skills, hooks, profiles, modes, features, apps. And how it is.

use codex_protocol::v2::{
    CollaborationMode, CollaborationModeListResponse, CwdsParams, DiagnosedProcess, Empty, Gauge,
    HooksListEntry, HooksListResponse, Page, PermissionProfile, ServerDiagnosticsResponse, SkillsListEntry,
    SkillsListResponse,
};
use serde_json::Value;

use crate::{
    refusal::Refusal,
    router::{Call, Router, Stability::*},
    scope::Scope,
};

pub(super) fn routes(router: &mut Router) {
    router.answer("skills/list", Stable, |_: &CwdsParams| Scope::free(), skills);
    router.answer("hooks/list", Stable, |_: &CwdsParams| Scope::free(), hooks);
    router.answer(
        "permissionProfile/list",
        Stable,
        |_: &Empty| Scope::free(),
        profiles,
    );
    router.answer(
        "collaborationMode/list",
        Experimental,
        |_: &Empty| Scope::free(),
        modes,
    );
    for method in ["experimentalFeature/list", "app/list"] {
        router.answer(method, Stable, |_: &Empty| Scope::free(), nothing);
    }
    router.answer(
        "server/diagnostics",
        Experimental,
        |_: &Empty| Scope::free(),
        diagnostics,
    );
}

fn directories(call: &Call, params: CwdsParams) -> Vec<String> {
    match params.cwds.is_empty() {
        true => vec![call.server.setup().cwd.display().to_string()],
        false => params.cwds,
    }
}

async fn skills(call: Call, params: CwdsParams) -> Result<SkillsListResponse, Refusal> {
    let entry = |cwd| SkillsListEntry {
        cwd,
        skills: Vec::new(),
        errors: Vec::new(),
    };
    let data = directories(&call, params).into_iter().map(entry).collect();
    Ok(SkillsListResponse { data })
}

async fn hooks(call: Call, params: CwdsParams) -> Result<HooksListResponse, Refusal> {
    let entry = |cwd| HooksListEntry {
        cwd,
        hooks: Vec::new(),
        warnings: Vec::new(),
        errors: Vec::new(),
    };
    let data = directories(&call, params).into_iter().map(entry).collect();
    Ok(HooksListResponse { data })
}

async fn profiles(_: Call, _: Empty) -> Result<Page<PermissionProfile>, Refusal> {
    let profile = |(id, description): (&str, &str)| PermissionProfile {
        id: id.to_owned(),
        allowed: true,
        description: Some(description.to_owned()),
    };
    let profiles = [
        (":read-only", "Commands read files and change nothing"),
        (
            ":workspace",
            "Commands write inside the working directory and temporary directories",
        ),
        (":danger-full-access", "Commands run without a sandbox"),
    ];
    Ok(Page::whole(profiles.map(profile).into()))
}

async fn modes(_: Call, _: Empty) -> Result<CollaborationModeListResponse, Refusal> {
    let mode = CollaborationMode {
        name: "Default".to_owned(),
        mode: Some("default".to_owned()),
        model: None,
        reasoning_effort: None,
    };
    Ok(CollaborationModeListResponse { data: vec![mode] })
}

async fn nothing(_: Call, _: Empty) -> Result<Page<Value>, Refusal> {
    Ok(Page::whole(Vec::new()))
}

async fn diagnostics(call: Call, _: Empty) -> Result<ServerDiagnosticsResponse, Refusal> {
    let gauge = |name: &str, value: usize| Gauge {
        name: name.to_owned(),
        value: value as u64,
    };
    Ok(ServerDiagnosticsResponse {
        process: DiagnosedProcess {
            id: std::process::id(),
            resident_memory_bytes: super::blocking(|| Ok(resident_bytes())).await?,
        },
        gauges: vec![
            gauge("app.requests.in_flight", call.server.requests_under_way()),
            gauge("app.connections", call.server.connection_count()),
        ],
    })
}

/// proc_pid_status(5); `None` on systems without it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
