//! The measured side of `cargo bench --bench ssh`: this crate on one current-thread runtime, as `codex` has it.
//!
//! `bench_client CONFIG MODE COMMAND ALIAS…`, where `MODE` is
//!
//! | mode | what it does |
//! |---|---|
//! | `first` | connects to all aliases at once and tells each first byte of the command's output |
//! | `again` | connects once, then runs the command again for each line of its standard input, and writes the nanoseconds to the first byte |
//! | `script` | the same by a shell that was started ahead |
//! | `download` | writes the command's output; a line on standard error tells that it has begun |
//! | `upload` | feeds the command with its standard input and writes the output |
//! | `idle` | says `before`, waits for a line, connects to all, says `connected`, and keeps the commands running |

use std::{
    error::Error,
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use codex_ssh::{
    Connector, Exit, ExitWatch, Local, Process, Session,
    config::{Query, Sources, SystemWorld, resolve},
    route,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::unix::pipe,
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes that are read and written at once.
const CHUNK: usize = 64 << 10;
/// Connections that are made at once where many are made: sshd's `MaxStartups` is not what is measured.
const AT_ONCE: usize = 10;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("CONFIG MODE COMMAND ALIAS… are wanted");
    let (config, mode, command) = (next()?, next()?, next()?);
    let near = Arc::new(Near {
        connector: Connector::new(Local::default()),
        sources: Arc::new(Sources::file(PathBuf::from(config))),
        command,
    });
    let aliases: Vec<String> = arguments.collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let one = aliases.first().cloned().ok_or("an ALIAS is wanted")?;
    // A task, as every host of the fleet is one: what a runtime blocks on is woken through the kernel.
    runtime.block_on(runtime.spawn(async move {
        match mode.as_str() {
            "first" => first(near, aliases).await,
            "again" => again(&near, &one).await,
            "script" => script(&near, &one).await,
            "download" => download(&near, &one).await,
            "upload" => upload(&near, &one).await,
            "idle" => idle(near, aliases).await,
            _ => Err(format!("`{mode}` is no mode").into()),
        }
    }))??;
    // As for OpenSSH's client, what is still open ends with the process.
    std::process::exit(0)
}

/// What every connection needs.
struct Near {
    connector: Connector,
    sources: Arc<Sources>,
    command: String,
}

impl Near {
    /// Reads the configuration beside the runtime, as the fleet does, and connects.
    async fn connect(&self, alias: &str) -> Outcome<Session> {
        let (query, sources) = (Query::parse(alias)?, Arc::clone(&self.sources));
        let routed = spawn_blocking(move || {
            let mut world = SystemWorld::new();
            route(&query, &mut |it| resolve(it, &sources, &mut world))
        });
        let (route, _) = routed.await??;
        // Nobody is here to answer: a question is refused.
        let (events, _) = mpsc::channel(1);
        Ok(self.connector.connect(&route, events).await?)
    }

    async fn exec(&self, session: &Session) -> Outcome<Process> {
        Ok(session.exec(&self.command).await?)
    }
}

async fn first(near: Arc<Near>, aliases: Vec<String>) -> Outcome {
    let mut connecting = JoinSet::new();
    for alias in aliases {
        let near = Arc::clone(&near);
        connecting.spawn(async move {
            let session = near.connect(&alias).await?;
            let mut process = near.exec(&session).await?;
            process.read_u8().await?;
            say(&alias)?;
            Outcome::Ok((session, process))
        });
    }
    let mut held = Vec::new();
    while let Some(connected) = connecting.join_next().await {
        held.push(connected??);
    }
    Ok(())
}

async fn again(near: &Near, alias: &str) -> Outcome {
    let session = near.connect(alias).await?;
    let mut wishes = lines()?;
    loop {
        let begun = Instant::now();
        let mut process = near.exec(&session).await?;
        process.read_u8().await?;
        say(&begun.elapsed().as_nanos().to_string())?;
        while process.read(&mut [0; 64]).await? > 0 {}
        if wishes.next_line().await?.is_none() {
            return Ok(());
        }
    }
}

async fn script(near: &Near, alias: &str) -> Outcome {
    let session = near.connect(alias).await?;
    let mut wishes = lines()?;
    let mut shell = session.start_shell().await?;
    loop {
        let begun = Instant::now();
        let mut process = shell.run(&near.command).await?;
        process.read_u8().await?;
        say(&begun.elapsed().as_nanos().to_string())?;
        while process.read(&mut [0; 64]).await? > 0 {}
        shell = session.start_shell().await?;
        if wishes.next_line().await?.is_none() {
            return Ok(());
        }
    }
}

async fn download(near: &Near, alias: &str) -> Outcome {
    let session = near.connect(alias).await?;
    let mut process = near.exec(&session).await?;
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut chunk = vec![0; CHUNK];
    let mut told = false;
    loop {
        let read = process.read(&mut chunk).await?;
        if !told {
            io::stderr().write_all(b"\n")?;
            told = true;
        }
        if read == 0 {
            return ended(process.exit()).await;
        }
        output.write_all(&chunk[..read])?;
    }
}

async fn upload(near: &Near, alias: &str) -> Outcome {
    let session = near.connect(alias).await?;
    let mut process = near.exec(&session).await?;
    process.read_u8().await?;
    say("begun")?;
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = input.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        process.write_all(&chunk[..read]).await?;
    }
    process.shutdown().await?;
    while process.read(&mut chunk).await? > 0 {}
    ended(process.exit()).await
}

async fn ended(exit: ExitWatch) -> Outcome {
    match exit.wait().await {
        Exit::Status(0) => Ok(()),
        other => Err(other.to_string().into()),
    }
}

async fn idle(near: Arc<Near>, aliases: Vec<String>) -> Outcome {
    let mut wishes = lines()?;
    say("before")?;
    wishes.next_line().await?;
    let mut held = Vec::new();
    for some in aliases.chunks(AT_ONCE) {
        let mut connecting = JoinSet::new();
        for alias in some {
            let (near, alias) = (Arc::clone(&near), alias.clone());
            connecting.spawn(async move {
                let session = near.connect(&alias).await?;
                let process = near.exec(&session).await?;
                Outcome::Ok((session, process))
            });
        }
        while let Some(connected) = connecting.join_next().await {
            held.push(connected??);
        }
    }
    say("connected")?;
    wishes.next_line().await?;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// The lines of standard input, which is a pipe: read on the runtime itself, as a wish in the process would come.
fn lines() -> io::Result<Lines<BufReader<pipe::Receiver>>> {
    let input = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    Ok(BufReader::new(input).lines())
}
