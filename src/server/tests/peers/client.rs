//! A client of a server in this process.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use codex_server::{Server, Setup, in_memory};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, split},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server with a home of its own.
pub(crate) struct Home {
    pub(crate) server: Server,
    pub(crate) folder: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home::with(&[], "")
    }

    /// With these variables and this `config.toml`.
    pub(crate) fn with(variables: &[(&str, &str)], config: &str) -> Home {
        let folder = tempfile::tempdir().unwrap();
        if !config.is_empty() {
            std::fs::write(folder.path().join("config.toml"), config).unwrap();
        }
        let path = std::env::var("PATH").unwrap();
        let variables = variables.iter().copied().chain([("PATH", path.as_str())]);
        let environment: BTreeMap<_, _> = variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let server = Server::new(Setup {
            codex_home: folder.path().to_owned(),
            cwd: folder.path().to_owned(),
            environment,
            version: "9.9.9".to_owned(),
            sandbox_helper: PathBuf::from("/nonexistent"),
            model: None,
        });
        Home { server, folder }
    }

    /// Another server on a copy of everything that is on disk now: as if this one were killed at this moment.
    pub(crate) fn after_a_kill(&self) -> Home {
        let folder = tempfile::tempdir().unwrap();
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(self.folder.path().join("."))
            .arg(folder.path())
            .status();
        assert!(copied.unwrap().success());
        let server = Server::new(Setup {
            codex_home: folder.path().to_owned(),
            ..self.server.setup().clone()
        });
        Home { server, folder }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A client that has said nothing yet.
    pub(crate) fn stranger(&self) -> Client {
        let (near, serving) = in_memory(self.server.clone(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(serving);
        let (reader, writer) = split(near);
        Client {
            lines: BufReader::new(reader).lines(),
            writer: Some(writer),
            told: Vec::new(),
            ids: 0,
            tasks,
        }
    }

    /// A client that is initialized, with the experimental API.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.stranger();
        let params = json!({ "clientInfo": { "name": "test", "version": "1" }, "capabilities": { "experimentalApi": true } });
        client.call("initialize", params).await.unwrap();
        client.send(&json!({ "method": "initialized" })).await;
        client
    }
}

pub(crate) struct Client {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    writer: Option<WriteHalf<DuplexStream>>,
    /// What the server said by itself, and answers that nobody has waited for yet.
    pub(crate) told: Vec<Value>,
    ids: i64,
    tasks: JoinSet<()>,
}

impl Client {
    pub(crate) async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.writer
            .as_mut()
            .unwrap()
            .write_all(line.as_bytes())
            .await
            .unwrap();
    }

    /// Asks without waiting; returns the id.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> i64 {
        self.ids += 1;
        self.send(&json!({ "id": self.ids, "method": method, "params": params }))
            .await;
        self.ids
    }

    /// Waits for the answer to a request; keeps what else is said.
    pub(crate) async fn answer(&mut self, id: i64) -> Result<Value, Value> {
        let mut answer = self.wait(|it| it["id"] == id && it.get("method").is_none()).await;
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].take()),
        }
    }

    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.ask(method, params).await;
        self.answer(id).await
    }

    /// Waits for a notification; keeps what else is said.
    pub(crate) async fn notification(&mut self, method: &str) -> Value {
        self.wait(|it| it["method"] == method).await
    }

    pub(crate) async fn wait(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.told.iter().position(&is_it) {
            return self.told.remove(at);
        }
        loop {
            let said = self.next().await;
            if is_it(&said) {
                return said;
            }
            self.told.push(said);
        }
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("nothing is said any more; before: {:?}", self.told));
        serde_json::from_str(&line.unwrap().expect("the connection ended")).unwrap()
    }

    /// Leaves, and waits until the server has noticed.
    pub(crate) async fn leave(mut self) {
        drop(self.writer.take());
        drop(self.lines);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("the server serves on");
    }
}
