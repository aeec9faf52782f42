//! `codex connect --demo`: two hosts inside the program, to try everything without a configuration.
//!
//! ```text
//! near side ══ ssh ══▶ Host (russh) ─► sh -c "…" ─► codex (a script that asks to be served)
//!                        │                              │
//!                        └──────────── Server ◄─────────┘   in this process
//!                                        └─► Scripted       in place of a provider
//! ```
//!
//! To the near side they are hosts like any other: it resolves them from an SSH configuration, checks their
//! keys, logs in, finds `codex` through the login shell and speaks to an app-server. Only the model is not
//! real, and says so. All is private to one run: the keys, the configuration, the homes; nothing of the user's
//! own is read or written.

mod access;
mod error;
mod home;
mod host;
mod model;
mod project;
mod scratch;
mod script;
mod shell;
mod talk;

pub use error::DemoError;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use codex_exec::Runner;
use codex_server::{Server, Setup, Signals, serve};
use russh::keys::PrivateKey;
use tokio::{net::TcpListener, task::JoinSet};

use access::{Access, Door, new_key};
use home::{Containment, Home};
use host::Host;
use model::Scripted;
use project::Project;
use scratch::Scratch;

/// The hosts' names.
pub const ALIASES: [&str; 2] = ["demo-api", "demo-web"];
/// What is worked on there.
const PROJECTS: [&Project; 2] = [&project::API, &project::WEB];
/// How long servers may take to write what must be written, and to end what they have started.
const END_PATIENCE: Duration = Duration::from_secs(8);

/// What a demonstration is told about the world.
pub struct Surroundings {
    /// A program that calls [`codex_exec::sandbox_main`] for [`codex_exec::SANDBOX_MODE`]: our own, absolute.
    pub sandbox_helper: PathBuf,
    /// The program's version.
    pub version: String,
    /// The directory for temporary files.
    pub temporary: PathBuf,
    /// `PATH`: where the hosts' commands find their programs. `None` means the system's directories.
    pub search_path: Option<String>,
}

/// Two hosts that run. When this is dropped, they and all their files are gone.
pub struct Demo {
    // In this order they are dropped: nothing writes into a folder that is removed.
    tasks: JoinSet<()>,
    signals: Signals,
    access: Access,
    scratch: Scratch,
}

/// A host before it listens.
struct Planned {
    alias: &'static str,
    project: &'static Project,
    listener: TcpListener,
    key: PrivateKey,
}

impl Planned {
    async fn new(alias: &'static str, project: &'static Project) -> Result<Planned, DemoError> {
        Ok(Planned {
            alias,
            project,
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .map_err(DemoError::Listen)?,
            key: new_key(alias)?,
        })
    }
}

impl Demo {
    /// Starts the hosts. They listen when this returns.
    pub async fn start(surroundings: Surroundings) -> Result<Demo, DemoError> {
        let scratch = Scratch::new(&surroundings.temporary)?;
        let runner = Arc::new(Runner::new(surroundings.sandbox_helper.clone()));
        let containment = match runner.preflight().await.chosen() {
            Some(_) => Containment::Sandbox,
            None => Containment::Questions,
        };
        let [api, web] = ALIASES;
        let planned = [
            Planned::new(api, PROJECTS[0]).await?,
            Planned::new(web, PROJECTS[1]).await?,
        ];
        let mut doors = Vec::with_capacity(planned.len());
        for Planned {
            alias, listener, key, ..
        } in &planned
        {
            doors.push(Door {
                alias,
                address: listener.local_addr().map_err(DemoError::Listen)?,
                key: key.public_key(),
            });
        }
        let access = Access::write(scratch.path(), &new_key(access::USER)?, &doors)?;
        let mut demo = Demo {
            tasks: JoinSet::new(),
            signals: Signals::default(),
            access,
            scratch,
        };
        for host in planned {
            demo.open(host, containment, &runner, &surroundings)?;
        }
        Ok(demo)
    }

    fn open(
        &mut self,
        planned: Planned,
        containment: Containment,
        runner: &Arc<Runner>,
        surroundings: &Surroundings,
    ) -> Result<(), DemoError> {
        let Planned {
            alias,
            project,
            listener,
            key,
        } = planned;
        let folder = self.scratch.path().join(alias);
        let search_path = surroundings.search_path.as_deref();
        let home = Home::make(folder, project, containment, search_path, access::new_word()?)?;
        let server = Server::new(Setup {
            codex_home: home.codex_home(),
            cwd: home.folder.join(project.name),
            environment: home.environment.clone(),
            version: surroundings.version.clone(),
            sandbox_helper: surroundings.sandbox_helper.clone(),
            model: Some(Arc::new(Scripted::new(project))),
        });
        let host = Arc::new(Host {
            home,
            server: server.clone(),
            runner: runner.clone(),
            guest: self.access.user.clone(),
            banner: format!(
                "{alias} is a demonstration inside this program: its model is scripted ({}), and {}.",
                model::NAME,
                containment.label()
            ),
            end: self.signals.end.clone(),
        });
        self.tasks.spawn(host.listen(listener, key));
        // It has no listeners of its own; this lets its turns end when the demonstration does.
        self.tasks.spawn(serve(server, Vec::new(), self.signals.clone()));
        Ok(())
    }

    /// The SSH configuration that knows the hosts, and no others.
    pub fn config_path(&self) -> &Path {
        self.access.config()
    }

    /// The hosts' names in that configuration.
    pub fn aliases(&self) -> [&'static str; 2] {
        ALIASES
    }

    /// Ends turns and commands, closes all connections, and removes all files.
    pub async fn shutdown(mut self) {
        self.signals.end.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END_PATIENCE, ended).await.is_err() {
            tracing::warn!("the demonstration did not end in time");
        }
    }
}

#[cfg(test)]
mod tests;
