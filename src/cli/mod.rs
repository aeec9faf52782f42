//! The command line: what can be asked for, and who does it.

mod app_server;
mod ask;
mod asker;
mod connect;
mod demo;
mod doctor;
mod effective;
mod exec;
mod forward;
mod generate;
mod home;
mod hosts;
mod install;
mod login;
mod machine;
mod report;
mod settings;
mod signals;
mod ssh;
mod unanswered;
mod ways;

use std::{path::PathBuf, process::ExitCode};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue},
};
use codex_protocol::v2;
use codex_ssh::config::{Sources, SystemWorld};

use report::{Code, Problem};

/// Codex on all your machines, in one terminal.
///
/// Without a command the terminal UI opens on this machine, in the working directory.
#[derive(Parser)]
#[command(
    name = "codex",
    version,
    about,
    propagate_version = true,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  codex                              this machine
  codex --remote ws://127.0.0.1:4500
  codex connect devbox gpu1          hosts of your SSH configuration
  codex exec \"fix the failing test\""
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    open: OpenArgs,
}

#[derive(Args)]
struct OpenArgs {
    /// Open a server that listens instead: `ws://HOST:PORT`, `unix://PATH`, or `unix://` for the usual socket
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
    /// Working directory of new threads
    #[arg(long = "cd", short = 'C', value_name = "DIR")]
    cd: Vec<String>,
    #[command(flatten)]
    ssh: SshArgs,
}

#[derive(Subcommand)]
enum Command {
    Connect(ConnectArgs),
    Hosts(HostsArgs),
    Exec(ExecArgs),
    Install(install::InstallArgs),
    Doctor(doctor::DoctorArgs),
    AppServer(app_server::AppServerArgs),
    #[command(alias = "auth")]
    Login(login::LoginArgs),
    /// Forget the stored API key
    Logout,
}

/// Open hosts in one terminal UI
///
/// Each HOST is an alias of your SSH configuration, `user@host:port`, a host of `$CODEX_HOME/hosts.toml`, or
/// the address of a server (`ws://HOST:PORT`, `unix://PATH`). Without a HOST the picker opens (Settings →
/// Connections). `codex` must be on the hosts, and `codex install HOST` puts it there; nothing else is needed but
/// sshd.
#[derive(Args)]
#[command(after_help = "Examples:
  codex connect --demo
  codex connect devbox gpu1
  codex connect me@10.0.0.4:2222 --cd /srv/app
  codex connect devbox gpu1 --cd devbox=~/src/app --cd gpu1=/data
  codex connect devbox --forward")]
struct ConnectArgs {
    /// Hosts to connect to at once
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Try it without any host: opens two that run inside this program, with a scripted model
    #[arg(long, conflicts_with_all = ["hosts", "file"])]
    demo: bool,
    /// Working directory of new threads on the hosts; HOST=DIR for one host only
    #[arg(long = "cd", short = 'C', value_name = "[HOST=]DIR")]
    cd: Vec<String>,
    /// Open the LocalForward, RemoteForward and DynamicForward of the SSH configuration, as long as the hosts are
    /// connected; with a HOST, only those of that one
    #[arg(long, value_name = "HOST", num_args = 0..=1, default_missing_value = "")]
    forward: Vec<String>,
    #[command(flatten)]
    ssh: SshArgs,
}

/// List the hosts: those of your SSH configuration, those of hosts.toml, and this machine
///
/// Prints each concrete alias with what it resolves to and the file and line that define it. Patterns are
/// left out. Nothing is connected to and no program of the configuration is run.
#[derive(Args)]
#[command(after_help = "Examples:
  codex hosts
  codex hosts devbox gpu1            only these
  codex hosts -G devbox              every setting of one host, and which line decides it
  codex hosts --json -G devbox")]
struct HostsArgs {
    /// Only these of them
    #[arg(value_name = "HOST", conflicts_with = "effective")]
    hosts: Vec<String>,
    /// Print one JSON object per host, or with -G per setting
    #[arg(long)]
    json: bool,
    /// Print what holds for HOST as `ssh -G` does, with the file and line that decided it; `Match exec`
    /// programs are run
    #[arg(short = 'G', value_name = "HOST")]
    effective: Option<String>,
    #[command(flatten)]
    ssh: SshArgs,
}

/// Run one turn, without a UI
///
/// It runs on this machine, or on the hosts that are named. The answer goes to stdout, everything else to
/// stderr. With several hosts the turns run side by side and each answer is printed when it is complete.
#[derive(Args)]
#[command(after_help = "Exit codes (the highest of all hosts):
  0  done                          3  could not connect
  1  the turn failed               4  authentication (of the host or of you)
  2  usage, configuration          5  an approval was needed and nobody there to ask
  130  interrupted, 143 ended by SIGTERM

Examples:
  codex exec \"fix the failing test\"
  codex exec --host devbox \"fix the failing test\"
  codex exec --remote ws://127.0.0.1:4500 \"fix the failing test\"
  codex exec resume --last \"now commit it\"
  git diff | codex exec --host devbox --host gpu1 --json -")]
struct ExecArgs {
    #[command(flatten)]
    turn: TurnArgs,
    /// What to do; `-` reads it from stdin
    prompt: Option<String>,
    #[command(subcommand)]
    command: Option<ExecCommand>,
}

#[derive(Subcommand)]
enum ExecCommand {
    Resume(ResumeArgs),
}

/// Run one more turn in a thread that is there
#[derive(Args)]
#[command(after_help = "Examples:
  codex exec resume --last \"now commit it\"
  codex exec resume --last --host devbox \"now commit it\"
  codex exec resume 0198c0de-7f00-7000-8000-000000000000 \"now commit it\"")]
struct ResumeArgs {
    /// Take the thread that changed last: of the working directory where one is known (on this machine, or
    /// with --cd), else of the whole host
    #[arg(long)]
    last: bool,
    /// With --last: whatever its directory is
    #[arg(long, requires = "last")]
    all: bool,
    /// The thread's id (not with --last), and what to do; `-` reads it from stdin
    #[arg(value_name = "THREAD_ID> <PROMPT", num_args = 1..=2, required = true)]
    words: Vec<String>,
}

/// Where and how turns run.
#[derive(Args)]
struct TurnArgs {
    /// A host to run on, instead of this machine; may be given several times
    #[arg(long = "host", short = 'H', value_name = "HOST", global = true)]
    hosts: Vec<String>,
    /// A server to run on, instead of this machine: `ws://HOST:PORT`, `unix://PATH`, or `unix://`
    #[arg(long, value_name = "URL", global = true, conflicts_with = "hosts")]
    remote: Option<String>,
    /// Working directory, on the hosts if there are any; HOST=DIR for one host only
    #[arg(long = "cd", short = 'C', value_name = "[HOST=]DIR", global = true)]
    cd: Vec<String>,
    /// Print one JSON object per event and line
    #[arg(long, global = true)]
    json: bool,
    /// Model to use instead of the host's default
    #[arg(long, short = 'm', value_name = "MODEL", global = true)]
    model: Option<String>,
    /// Sandbox of the commands, instead of the host's default
    #[arg(long, short = 's', value_name = "MODE", global = true)]
    sandbox: Option<Sandbox>,
    /// When approval is asked for, instead of the host's default
    #[arg(long, short = 'a', value_name = "POLICY", global = true)]
    approval: Option<Approval>,
    /// Open the forwardings of the hosts' SSH configuration while the turn runs; --forward=HOST for one host only
    #[arg(
        long,
        value_name = "HOST",
        num_args = 0..=1,
        default_missing_value = "",
        require_equals = true,
        requires = "hosts",
        global = true
    )]
    forward: Vec<String>,
    /// SSH configuration to read instead of ~/.ssh/config and the system's
    #[arg(short = 'F', long = "ssh-config", value_name = "FILE", global = true)]
    file: Option<PathBuf>,
}

#[derive(Args)]
struct SshArgs {
    /// SSH configuration to read instead of ~/.ssh/config and the system's
    #[arg(short = 'F', long = "ssh-config", value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sandbox {
    ReadOnly,
    WorkspaceWrite,
    DangerFullAccess,
}

impl From<Sandbox> for v2::SandboxMode {
    fn from(it: Sandbox) -> Self {
        match it {
            Sandbox::ReadOnly => v2::SandboxMode::ReadOnly,
            Sandbox::WorkspaceWrite => v2::SandboxMode::WorkspaceWrite,
            Sandbox::DangerFullAccess => v2::SandboxMode::DangerFullAccess,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Approval {
    Untrusted,
    OnRequest,
    Never,
}

impl From<Approval> for v2::AskForApproval {
    fn from(it: Approval) -> Self {
        match it {
            Approval::Untrusted => v2::AskForApproval::untrusted(),
            Approval::OnRequest => v2::AskForApproval::on_request(),
            Approval::Never => v2::AskForApproval::never(),
        }
    }
}

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are answers, not errors: clap knows which stream and code each needs.
        Err(error) => {
            // A closed stdout leaves nobody to tell.
            _ = error.print();
            if let Some(host) = host_as_command(&error) {
                report::note(&format!("hint: `codex connect {host}` connects to that host"));
            }
            return if error.use_stderr() {
                Code::Usage.into()
            } else {
                Code::Done.into()
            };
        }
    };
    let outcome = match cli.command {
        None => connect::run_one(&cli.open),
        Some(Command::Connect(args)) => connect::run(args),
        Some(Command::Hosts(args)) => hosts::run(&args),
        Some(Command::Exec(args)) => exec::run(args),
        Some(Command::Install(args)) => install::run(args),
        Some(Command::Doctor(args)) => doctor::run(args),
        Some(Command::AppServer(args)) => app_server::run(args),
        Some(Command::Login(args)) => login::run(&args),
        Some(Command::Logout) => login::run_logout(),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(problem) => {
            report::print(&problem);
            problem.code.into()
        }
    }
}

/// The host of the settings that stands where a command should.
fn host_as_command(error: &clap::Error) -> Option<String> {
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    let sources = Sources::default_for(&SystemWorld::new());
    ssh::SshConfig::names(&sources).into_iter().find(|it| it == word)
}

/// What `--cd` says: a directory per host, and one for all others.
struct Directories {
    by_host: Vec<(String, String)>,
    default: Option<String>,
}

impl Directories {
    /// `HOST=DIR` counts as such only for a HOST in `hosts`: a directory may have an `=` in its name.
    fn parse(args: &[String], hosts: &[String]) -> Result<Directories, Problem> {
        let mut directories = Directories {
            by_host: Vec::new(),
            default: None,
        };
        for arg in args {
            let (host, directory) = match arg.split_once('=') {
                Some((host, directory)) if hosts.iter().any(|it| it == host) => (Some(host), directory),
                _ => (None, arg.as_str()),
            };
            if directory.is_empty() {
                return Err(Problem::usage(format!("`--cd {arg}` names no directory")));
            }
            match host {
                Some(host) => directories.by_host.push((host.to_owned(), directory.to_owned())),
                None if directories.default.is_some() => {
                    let hint = "write HOST=DIR to give each host its own";
                    return Err(Problem::usage("`--cd` is given twice").hint(hint));
                }
                None => directories.default = Some(directory.to_owned()),
            }
        }
        Ok(directories)
    }

    /// Gives a host a directory of its own.
    fn set(&mut self, host: &str, directory: String) {
        self.by_host.push((host.to_owned(), directory));
    }

    fn of(&self, host: &str) -> Option<&str> {
        let named = self.by_host.iter().rev().find(|(name, _)| name == host);
        named
            .map(|(_, directory)| directory.as_str())
            .or(self.default.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn exec(words: &[&str]) -> Result<ExecArgs, clap::Error> {
        let words = ["codex", "exec"].iter().chain(words);
        match Cli::try_parse_from(words)?.command {
            Some(Command::Exec(args)) => Ok(args),
            _ => panic!("not exec"),
        }
    }

    #[test]
    fn options_of_exec_may_stand_on_either_side_of_resume() {
        for words in [
            &["--host", "h", "--json", "resume", "--last", "p"][..],
            &["resume", "--last", "p", "--host", "h", "--json"],
        ] {
            let Ok(args) = exec(words) else {
                panic!("{words:?}")
            };
            assert_eq!((args.turn.hosts, args.turn.json), (vec!["h".to_owned()], true));
            assert!(matches!(args.command, Some(ExecCommand::Resume(it)) if it.last && it.words == ["p"]));
        }
        let prompt = exec(&["resumed"]).ok().and_then(|it| it.prompt);
        assert_eq!(prompt.as_deref(), Some("resumed"));
        for words in [
            &["resume", "--all", "t", "p"][..],
            &["-H", "h", "--remote", "ws://h:1", "p"],
            &["resume"],
        ] {
            assert!(exec(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn directories_are_per_host_or_for_all() {
        let hosts = ["devbox".to_owned(), "gpu1".to_owned()];
        let args = ["devbox=~/src".to_owned(), "/a=b".to_owned()];
        let Ok(directories) = Directories::parse(&args, &hosts) else {
            panic!("refused")
        };
        assert_eq!(directories.of("devbox"), Some("~/src"));
        assert_eq!(directories.of("gpu1"), Some("/a=b"));
        assert!(Directories::parse(&["a".to_owned(), "b".to_owned()], &hosts).is_err());
        assert!(Directories::parse(&["devbox=".to_owned()], &hosts).is_err());
    }
}
