//! A streamable HTTP server: the SDK's own, behind a guard that wants a token.

use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use codex_mcp::{Answer, AuthStatus, ConnectionStatus, Detail, Elicit, Elicitation, Error, Startup};
use futures_util::future::BoxFuture;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::rig::{PATIENCE, Rig, SECRET};
use crate::tools::Tools;

/// A server on this machine; it ends when it is dropped.
struct Site {
    address: String,
    headers: Arc<Mutex<Vec<(String, String)>>>,
    tasks: JoinSet<()>,
}

impl Site {
    /// With the answer to those who have no token, if one is wanted.
    async fn new(refusal: Option<fn() -> Response>) -> Site {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let headers = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&headers);
        let guard = move |request: Request, next: Next| {
            let mut seen = seen.lock().unwrap();
            let pairs = request.headers().iter();
            seen.extend(pairs.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())));
            let token = request
                .headers()
                .get("authorization")
                .and_then(|it| it.to_str().ok());
            let is_known = token == Some(&format!("Bearer {SECRET}"));
            async move {
                match refusal.filter(|_| !is_known) {
                    Some(refusal) => refusal(),
                    None => next.run(request).await,
                }
            }
        };
        let service = StreamableHttpService::new(
            || Ok(Tools::default()),
            Arc::new(LocalSessionManager::default()),
            StreamableHttpServerConfig::default(),
        );
        let router = axum::Router::new()
            .fallback_service(service)
            .layer(from_fn(guard));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Site {
            address,
            headers,
            tasks,
        }
    }

    fn table(&self) -> Value {
        json!({ "url": format!("{}/mcp?key=in-the-address", self.address) })
    }
}

fn challenge() -> Response {
    (
        StatusCode::UNAUTHORIZED,
        [("www-authenticate", "Bearer realm=\"rig\"")],
        "no",
    )
        .into_response()
}

struct Yes;

impl Elicit for Yes {
    fn elicit(&self, _: Elicitation) -> BoxFuture<'_, Answer> {
        Box::pin(async { Answer::Accept(json!({ "name": "me" })) })
    }
}

#[tokio::test]
async fn a_server_over_http_gets_its_credentials_and_serves_calls() {
    let site = Site::new(Some(challenge)).await;
    let mut table = site.table();
    table["bearer_token_env_var"] = json!("SECRET_TOKEN");
    table["http_headers"] = json!({ "X-Plain": "plain" });
    table["env_http_headers"] = json!({ "X-Variable": "NOT_FOR_SERVERS", "X-Missing": "MISSING" });
    let rig = Rig::with([("web", table)], |setup| setup.elicit = Some(Arc::new(Yes)));
    assert_eq!(rig.tool_names(PATIENCE).await.len(), 11);
    assert_eq!(rig.text("web", "echo", json!({ "text": "hi" })).await, "hi");
    assert_eq!(
        rig.text("web", "ask", json!({})).await,
        r#"{"action":"accept","content":{"name":"me"}}"#
    );
    assert!(rig.text("web", "big", json!({})).await.ends_with("left out]"));
    let status = rig.servers.status(None, Detail::Full, PATIENCE).await;
    assert_eq!(
        (status[0].auth, status[0].connection),
        (AuthStatus::BearerToken, ConnectionStatus::Connected)
    );
    assert_eq!(status[0].http_origin.as_ref(), Some(&site.address));
    let headers = site.headers.lock().unwrap();
    let has = |name: &str, value: &str| headers.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("x-plain", "plain") && has("x-variable", "private"));
    assert!(headers.iter().all(|(name, _)| name != "x-missing"));
}

#[tokio::test]
async fn a_server_that_wants_a_credential_says_so() {
    let site = Site::new(Some(challenge)).await;
    let mut unset = site.table();
    unset["bearer_token_env_var"] = json!("MISSING");
    let rig = Rig::new([("web", site.table()), ("unset", unset)]);
    rig.started("web", &[Startup::Starting, Startup::Failed]).await;
    let status = rig.servers.status(Some("web"), Detail::Full, PATIENCE).await;
    assert_eq!(status[0].auth, AuthStatus::NotLoggedIn);
    assert_eq!(status[0].connection, ConnectionStatus::AuthenticationRequired);
    rig.tool_names(PATIENCE).await;
    let twice = [
        Startup::Starting,
        Startup::Failed,
        Startup::Starting,
        Startup::Failed,
    ];
    rig.started("unset", &twice).await;
    assert_eq!(
        rig.startups("web"),
        twice[..2],
        "a refused credential is not shown again"
    );
    assert_eq!(
        rig.error("unset").unwrap(),
        "reading the bearer token: the variable MISSING is not set"
    );
}

#[tokio::test]
async fn a_refusal_without_a_challenge_is_one_too() {
    let site = Site::new(Some(|| (StatusCode::FORBIDDEN, "not you").into_response())).await;
    let rig = Rig::new([("web", site.table())]);
    rig.started("web", &[Startup::Starting, Startup::Failed]).await;
    let status = rig.servers.status(None, Detail::Full, PATIENCE).await;
    assert_eq!(status[0].connection, ConnectionStatus::AuthenticationRequired);
    let said = rig.error("web").unwrap();
    assert!(said.contains("HTTP 403 Forbidden: not you"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_without_the_address() {
    let site = Site::new(None).await;
    let rig = Rig::new([("web", site.table())]);
    assert_eq!(rig.tool_names(PATIENCE).await.len(), 11);
    let Site {
        mut tasks, address, ..
    } = site;
    tasks.shutdown().await;
    let error = rig.call("web", "echo", json!({})).await.result.unwrap_err();
    assert!(
        matches!(error, Error::Transport { .. } | Error::NotRunning { .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("in-the-address"), "{error}");

    let rig = Rig::new([(
        "web",
        json!({ "url": format!("{address}/mcp?key=in-the-address") }),
    )]);
    rig.started("web", &[Startup::Starting, Startup::Failed]).await;
    let said = rig.error("web").unwrap();
    assert!(
        said.contains("onnection refused") && !said.contains("in-the-address"),
        "{said}"
    );
}
