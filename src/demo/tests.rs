//! The demonstration as a near side finds it, with a client that knows only SSH.

use std::{fs, net::SocketAddr, sync::Arc};

use russh::{
    ChannelMsg, Disconnect,
    client::{self, Handle},
    keys::PrivateKeyWithHashAlg,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, ReadHalf, WriteHalf};

use super::*;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// As a near side writes it: what it prints first is not the server's.
const LAUNCH: &str = "exec sh -c 'echo noise; exec sh -lc \"exec codex app-server\"'";

struct Rig {
    demo: Demo,
    temporary: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Rig {
        let temporary = tempfile::tempdir().unwrap();
        let demo = Demo::start(Surroundings {
            // No sandbox: the test is no helper.
            sandbox_helper: "/nonexistent".into(),
            version: "0.0.0".to_owned(),
            temporary: temporary.path().to_owned(),
            search_path: None,
        });
        Rig {
            demo: demo.await.unwrap(),
            temporary,
        }
    }

    fn key(&self) -> PrivateKey {
        PrivateKey::read_openssh_file(self.demo.config_path().with_file_name("id_ed25519")).unwrap()
    }

    /// The configuration's addresses, in the order of the aliases.
    fn addresses(&self) -> Vec<SocketAddr> {
        let config = fs::read_to_string(self.demo.config_path()).unwrap();
        let values = |name: &str| -> Vec<String> {
            let lines = config.lines().filter_map(|it| it.trim().strip_prefix(name));
            lines.map(|it| it.trim().to_owned()).collect()
        };
        assert_eq!(values("Host "), ALIASES);
        let pairs = values("HostName ").into_iter().zip(values("Port "));
        pairs
            .map(|(ip, port)| format!("{ip}:{port}").parse().unwrap())
            .collect()
    }
}

/// Looks the host's key up where the configuration says.
struct Client {
    known: String,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &russh::keys::PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false);
        };
        let key = key.to_openssh().unwrap();
        Ok(self.known.contains(&key))
    }
}

async fn login(rig: &Rig, address: SocketAddr, user: &str, key: PrivateKey) -> (Handle<Client>, bool) {
    let known = fs::read_to_string(rig.demo.config_path().with_file_name("known_hosts")).unwrap();
    let known = known
        .lines()
        .filter(|it| it.starts_with(&format!("[127.0.0.1]:{} ", address.port())))
        .collect();
    let config = Arc::new(client::Config::default());
    let mut handle = client::connect(config, address, Client { known }).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    let is_in = handle.authenticate_publickey(user, key).await.unwrap().success();
    (handle, is_in)
}

/// A conversation with an app-server.
struct Talk {
    lines: Lines<BufReader<ReadHalf<russh::ChannelStream<client::Msg>>>>,
    writer: WriteHalf<russh::ChannelStream<client::Msg>>,
    next_id: u64,
}

impl Talk {
    async fn start(handle: &Handle<Client>) -> Talk {
        let channel = handle.channel_open_session().await.unwrap();
        channel.exec(true, LAUNCH).await.unwrap();
        let (reader, writer) = tokio::io::split(channel.into_stream());
        let mut lines = BufReader::new(reader).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            first.as_deref(),
            Some("noise"),
            "what is printed before is passed on"
        );
        let mut talk = Talk {
            lines,
            writer,
            next_id: 0,
        };
        let info = json!({"clientInfo": {"name": "test", "version": "0"}});
        talk.call("initialize", info).await;
        talk.write(&json!({"method": "initialized"})).await;
        talk
    }

    async fn write(&mut self, message: &Value) {
        self.writer
            .write_all(format!("{message}\n").as_bytes())
            .await
            .unwrap();
        self.writer.flush().await.unwrap();
    }

    async fn read(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line
            .expect("a message in time")
            .unwrap()
            .expect("the server ended");
        serde_json::from_str(&line).unwrap()
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        self.write(&json!({"id": id, "method": method, "params": params}))
            .await;
        loop {
            let message = self.read().await;
            if message["id"] == id && message.get("method").is_none() {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }
}

#[tokio::test]
async fn each_host_lets_the_user_in_and_starts_threads_in_its_own_project() {
    let rig = Rig::start().await;
    for (address, project) in rig.addresses().into_iter().zip(PROJECTS) {
        let (handle, is_in) = login(&rig, address, access::USER, rig.key()).await;
        assert!(is_in);
        let mut talk = Talk::start(&handle).await;
        let thread = talk.call("thread/start", json!({})).await;
        assert_eq!(thread["model"], model::NAME);
        // The test is no helper for sandboxes, so none works.
        assert_eq!(thread["approvalPolicy"], "untrusted");
        assert_eq!(thread["sandbox"]["type"], "dangerFullAccess");
        let cwd = Path::new(thread["cwd"].as_str().unwrap()).to_owned();
        assert_eq!(cwd.file_name().unwrap(), project.name);
        assert!(cwd.join(project.source).is_file());
        let account = talk.call("account/read", json!({})).await;
        assert_eq!(account["requiresOpenaiAuth"], false, "nobody is told to log in");
    }
    rig.demo.shutdown().await;
}

#[tokio::test]
async fn without_a_sandbox_the_model_mends_its_project_by_questions_alone() {
    let rig = Rig::start().await;
    let (handle, _) = login(&rig, rig.addresses()[1], access::USER, rig.key()).await;
    let mut talk = Talk::start(&handle).await;
    let thread = talk.call("thread/start", json!({})).await;
    let source = Path::new(thread["cwd"].as_str().unwrap()).join(PROJECTS[1].source);
    let read = || fs::read_to_string(&source).unwrap();
    let input = json!([{"type": "text", "text": "fix it"}]);
    let params = json!({"threadId": thread["thread"]["id"], "input": input});
    talk.call("turn/start", params).await;
    let (mut asked, mut streamed) = (Vec::new(), String::new());
    let status = loop {
        let message = talk.read().await;
        let params = &message["params"];
        match message["method"].as_str() {
            Some("item/agentMessage/delta") => streamed.push_str(params["delta"].as_str().unwrap()),
            Some("turn/completed") => break params["turn"]["status"].clone(),
            Some(method) if method.ends_with("/requestApproval") => {
                asked.push((method.to_owned(), read().contains("tr -s")));
                talk.write(&json!({"id": message["id"], "result": {"decision": "accept"}}))
                    .await;
            }
            _ => {}
        }
    };
    let command = "item/commandExecution/requestApproval".to_owned();
    let patch = "item/fileChange/requestApproval".to_owned();
    assert_eq!(status, "completed", "{streamed}");
    assert_eq!(asked, [(command.clone(), false), (patch, false), (command, true)]);
    assert!(
        streamed.starts_with("**This is a scripted demonstration model"),
        "{streamed}"
    );
    assert!(
        streamed.contains("## Done") && streamed.contains(PROJECTS[1].fix),
        "{streamed}"
    );
}

#[tokio::test]
async fn another_key_another_user_and_other_methods_are_refused() {
    let rig = Rig::start().await;
    let address = rig.addresses()[0];
    let refused = [(access::USER, new_key("other").unwrap()), ("root", rig.key())];
    for (user, key) in refused {
        let (handle, is_in) = login(&rig, address, user, key).await;
        assert!(!is_in, "{user}");
        assert!(handle.channel_open_session().await.is_err(), "{user}");
    }
    let (mut handle, _) = login(&rig, address, "root", rig.key()).await;
    let result = handle.authenticate_password(access::USER, "").await.unwrap();
    assert!(!result.success());
}

#[tokio::test]
async fn whoever_does_not_log_in_has_to_leave() {
    let rig = Rig::start().await;
    let address = rig.addresses()[0];
    let (handle, _) = login(&rig, address, access::USER, rig.key()).await;
    let mut lurker = tokio::net::TcpStream::connect(address).await.unwrap();
    // Time goes as fast as nothing happens.
    tokio::time::pause();
    let mut said = Vec::new();
    lurker.read_to_end(&mut said).await.unwrap();
    tokio::time::resume();
    assert!(said.starts_with(b"SSH-2.0-codex_demo"));
    assert!(handle.channel_open_session().await.is_ok(), "others stay");
}

#[tokio::test]
async fn a_host_runs_other_commands_as_hosts_do() {
    let rig = Rig::start().await;
    let (handle, _) = login(&rig, rig.addresses()[1], access::USER, rig.key()).await;
    let run = async |line: &str| {
        let mut channel = handle.channel_open_session().await.unwrap();
        channel.exec(true, line).await.unwrap();
        let (mut stdout, mut stderr, mut code) = (String::new(), String::new(), None);
        while let Some(message) = tokio::time::timeout(PATIENCE, channel.wait()).await.unwrap() {
            match message {
                ChannelMsg::Data { data } => stdout.push_str(std::str::from_utf8(&data).unwrap()),
                ChannelMsg::ExtendedData { data, .. } => stderr.push_str(std::str::from_utf8(&data).unwrap()),
                ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
                _ => {}
            }
        }
        (stdout, stderr, code)
    };
    let (home, stderr, code) = run("echo $HOME; echo problem >&2; exit 3").await;
    assert_eq!((stderr.as_str(), code), ("problem\n", Some(3)));
    assert!(home.trim().ends_with("/demo-web"), "{home}");
    let (_, stderr, code) = run("codex login").await;
    assert!(stderr.contains("demonstration") && code == Some(2), "{stderr}");
    let (stdout, _, code) = run("env").await;
    assert!(
        !stdout.contains("CARGO"),
        "nothing of this process is passed on: {stdout}"
    );
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn the_end_closes_connections_and_removes_every_file() {
    let rig = Rig::start().await;
    let (handle, _) = login(&rig, rig.addresses()[0], access::USER, rig.key()).await;
    let mut talk = Talk::start(&handle).await;
    talk.call("thread/start", json!({})).await;
    let files = || fs::read_dir(rig.temporary.path()).unwrap().count();
    assert_eq!(files(), 1);
    let began = tokio::time::Instant::now();
    rig.demo.shutdown().await;
    assert!(began.elapsed() < END_PATIENCE, "it ends by itself");
    assert_eq!(files(), 0);
    let left = tokio::time::timeout(PATIENCE, async {
        while !matches!(talk.lines.next_line().await, Ok(None) | Err(_)) {}
    });
    left.await.expect("the connection is closed");
    _ = handle.disconnect(Disconnect::ByApplication, "", "").await;

    let rig = Rig::start().await;
    let folder = rig.demo.config_path().parent().unwrap().to_owned();
    drop(rig.demo);
    assert!(!folder.exists(), "also without a proper end");
}
