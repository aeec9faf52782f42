//! Patches on this host's files.

use std::path::Path;

use codex_agent::{
    approval::Permission,
    ports::{PatchResult, Prepared, PreparedPatch, ToolOutcome, ToolOutput, ToolResult},
    tools::patch::{self, Disk, Plan},
};

use super::Hands;

impl Hands {
    pub(super) async fn prepare_patch(&self, text: String) -> Prepared {
        let hands = self.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            let plan = patch::plan(&text, &hands.cwd, &mut Disk::default());
            plan.map(|plan| PreparedPatch {
                writable: hands.allows(&plan),
                changes: plan.changes,
            })
        });
        match prepared.await {
            Ok(Ok(patch)) => Prepared::Patch(patch),
            Ok(Err(error)) => Prepared::Refused(format!("The patch was not applied: {error}")),
            Err(_) => Prepared::Refused("The patch tool failed because of a defect in it.".to_owned()),
        }
    }

    pub(super) async fn run_patch(&self, text: String, permission: Permission) -> ToolOutcome {
        let hands = self.clone();
        let applied = tokio::task::spawn_blocking(move || {
            let plan = patch::plan(&text, &hands.cwd, &mut Disk::default()).map_err(|it| it.to_string())?;
            // A command that ran since may have put a link in the way.
            if permission == Permission::Sandboxed && !hands.allows(&plan) {
                return Err("it writes where the sandbox does not allow it".to_owned());
            }
            patch::apply(&plan, &mut Disk::default()).map_err(|it| it.to_string())?;
            Ok(plan)
        });
        match applied.await {
            Ok(Ok(plan)) => ToolOutcome {
                output: ToolOutput::Text(summary(&plan)),
                result: ToolResult::Patch(PatchResult::Applied(plan.files)),
            },
            Ok(Err(why)) => failed(&format!("The patch was not applied: {why}")),
            Err(_) => failed("The patch tool failed because of a defect in it."),
        }
    }

    fn allows(&self, plan: &Plan) -> bool {
        let hidden = self.server.setup().hidden();
        plan.paths().all(|path: &Path| self.may_write(path, &hidden))
    }
}

fn failed(text: &str) -> ToolOutcome {
    ToolOutcome {
        output: ToolOutput::Text(text.to_owned()),
        result: ToolResult::Patch(PatchResult::Failed),
    }
}

/// What was done, one line a file, as models know it from version control.
fn summary(plan: &Plan) -> String {
    let line = |file: &codex_agent::ports::FileContent| {
        let letter = match (&file.before, &file.after) {
            (None, _) => 'A',
            (Some(_), None) => 'D',
            (Some(_), Some(_)) => 'M',
        };
        format!("{letter} {}", file.path)
    };
    let lines: Vec<_> = plan.files.iter().map(line).collect();
    format!("The patch was applied:\n{}", lines.join("\n"))
}
