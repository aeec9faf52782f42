//! The Responses API over HTTP: one question, retried until there is a stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::retry::{RETRY_AFTER_MAX, pause, retry_after};
use super::sse::Parser;
use super::{ErrorClass, ModelError, ModelEvent, Provider, wire};
use crate::ports::{Model, Outside, Prompt};

/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// How much of a refusal's body is read, in bytes: it is shown to people.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;
/// How much of a refusal is told, in characters.
const REFUSAL_CHARS_MAX: usize = 1000;

/// A model behind a [`Provider`]. Connections are kept and used again.
pub struct Responses {
    shared: Arc<Shared>,
}

struct Shared {
    http: Client,
    url: Url,
    headers: HeaderMap,
    provider: Provider,
    outside: Outside,
}

/// Why a provider cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("reading the address {base_url}/responses")]
    Url { base_url: String },
    #[error("reading the header {name} for the model provider")]
    Header { name: String },
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
    #[error("setting up HTTP")]
    Http(#[source] reqwest::Error),
}

impl Responses {
    /// Prepares everything that can be wrong before the first question. Certificates are those of the host and, where
    /// it has none, Mozilla's.
    pub fn new(provider: Provider, outside: Outside) -> Result<Responses, SetupError> {
        let base_url = &provider.base_url;
        let mut url = Url::parse(&format!("{base_url}/responses")).map_err(|_| SetupError::Url {
            base_url: base_url.clone(),
        })?;
        if !provider.query_params.is_empty() {
            url.query_pairs_mut().extend_pairs(&provider.query_params);
        }
        let http = http()?;
        let headers = headers(&provider)?;
        Ok(Responses {
            shared: Arc::new(Shared {
                http,
                url,
                headers,
                provider,
                outside,
            }),
        })
    }
}

impl Model for Responses {
    fn sample(
        &self,
        prompt: Prompt,
        cancel: CancellationToken,
    ) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let asking = Asking {
            shared: Arc::clone(&self.shared),
            body: wire::request_body(&prompt).to_string().into(),
            cancel,
            stage: Stage::Request { retry: 0 },
            ready: VecDeque::new(),
        };
        stream::unfold(asking, |mut asking| async {
            let event = asking.next().await?;
            Some((event, asking))
        })
        .boxed()
    }
}

/// A client without any header of a provider.
pub(super) fn http() -> Result<Client, SetupError> {
    Client::builder()
        .tls_backend_preconfigured(tls()?)
        .connect_timeout(CONNECT_PATIENCE)
        // Another host would get the conversation, and perhaps a key in a header of its own.
        .redirect(reqwest::redirect::Policy::none())
        // Requests in their natural order of a conversation: small pieces must not wait for each other.
        .tcp_nodelay(true)
        .build()
        .map_err(SetupError::Http)
}

fn tls() -> Result<rustls::ClientConfig, SetupError> {
    let mut roots = rustls::RootCertStore::empty();
    // A certificate that cannot be read must not keep us from the ones that can.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn headers(provider: &Provider) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("accept", HeaderValue::from_static("text/event-stream"));
    headers.insert(
        "user-agent",
        HeaderValue::from_static(concat!("codex/", env!("CARGO_PKG_VERSION"))),
    );
    let mut put = |name: &str, value: &str| {
        let wrong = || SetupError::Header {
            name: name.to_owned(),
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(key, value);
        Ok(())
    };
    if let Some(credential) = &provider.credential {
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", credential.key.expose()));
        put("authorization", &bearer)?;
    }
    provider
        .http_headers
        .iter()
        .try_for_each(|(name, value)| put(name, value.expose()))?;
    Ok(headers)
}

/// One question on its way.
struct Asking {
    shared: Arc<Shared>,
    body: bytes::Bytes,
    cancel: CancellationToken,
    stage: Stage,
    /// What was read and not yet handed out.
    ready: VecDeque<Result<ModelEvent, ModelError>>,
}

enum Stage {
    Request {
        retry: u32,
    },
    Pause {
        retry: u32,
        pause: Duration,
    },
    Stream {
        body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
        parser: Parser,
    },
    Done,
}

impl Asking {
    /// The next event; nothing after the answer, an error or the cancellation.
    async fn next(&mut self) -> Option<Result<ModelEvent, ModelError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if matches!(event, Err(_) | Ok(ModelEvent::Completed { .. })) {
                    self.ready.clear();
                    self.stage = Stage::Done;
                }
                return Some(event);
            }
            let cancel = self.cancel.clone();
            tokio::select! {
                () = cancel.cancelled() => self.stage = Stage::Done,
                () = self.step() => {}
            }
            if matches!(self.stage, Stage::Done) && self.ready.is_empty() {
                return None;
            }
        }
    }

    /// One wait. When it is dropped in the middle the stage is not used again.
    async fn step(&mut self) {
        match &mut self.stage {
            Stage::Done => {}
            Stage::Pause { retry, pause } => {
                tokio::time::sleep(*pause).await;
                self.stage = Stage::Request { retry: *retry };
            }
            Stage::Request { retry } => {
                let retry = *retry;
                match self.shared.request(&self.body).await {
                    Ok(response) => {
                        let body = response.bytes_stream().boxed();
                        self.stage = Stage::Stream {
                            body,
                            parser: Parser::default(),
                        };
                    }
                    Err(error) => self.refused(retry, error),
                }
            }
            Stage::Stream { body, parser } => {
                let idle = self.shared.provider.stream_idle_timeout;
                match read(body, parser, idle).await {
                    Ok(events) => self
                        .ready
                        .extend(events.iter().filter_map(|data| wire::read_event(data))),
                    Err(error) => self.ready.push_back(Err(error)),
                }
            }
        }
    }

    fn refused(&mut self, retries: u32, error: ModelError) {
        let shared = &self.shared;
        let retries_max = shared.provider.request_max_retries;
        let too_long = error.retry_after.is_some_and(|asked| asked > RETRY_AFTER_MAX);
        if error.transient && !too_long && retries < retries_max {
            let retry = retries + 1;
            let pause = pause(retry, error.retry_after, (shared.outside.jitter)());
            self.ready.push_back(Ok(ModelEvent::Retrying {
                retry,
                retries_max,
                error,
            }));
            self.stage = Stage::Pause { retry, pause };
            return;
        }
        self.ready.push_back(Err(given_up(error, retries)));
    }
}

/// The error after the last attempt: nobody tries again by themselves.
fn given_up(error: ModelError, retries: u32) -> ModelError {
    let mut error = ModelError {
        transient: false,
        ..error
    };
    if error.class == ErrorClass::RateLimitExceeded && error.status.is_some() {
        error.class = ErrorClass::ResponseTooManyFailedAttempts(error.status);
        error = match error.retry_after {
            Some(asked) => {
                error.with_details(format!("the server asks to wait {} s", asked.as_secs().max(1)))
            }
            None => error,
        };
    }
    if retries > 0 {
        error.with_details(format!("given up after {retries} retries"))
    } else {
        error
    }
}

/// Waits for bytes and reads the events in them.
async fn read(
    body: &mut BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    parser: &mut Parser,
    idle: Duration,
) -> Result<Vec<String>, ModelError> {
    let chunk = match tokio::time::timeout(idle, body.next()).await {
        Err(_) => {
            let silence = format!("the model's server sent nothing for {} s", idle.as_secs_f64());
            return Err(ModelError::disconnected(&silence));
        }
        Ok(None) => return Err(ModelError::disconnected("the server closed it")),
        Ok(Some(Err(error))) => return Err(ModelError::disconnected(&chain(&error))),
        Ok(Some(Ok(chunk))) => chunk,
    };
    let mut events = Vec::new();
    parser.push(&chunk, &mut events).map_err(|error| {
        ModelError::fatal(ErrorClass::Other, format!("reading the model's answer: {error}"))
    })?;
    Ok(events)
}

impl Shared {
    async fn request(&self, body: &bytes::Bytes) -> Result<reqwest::Response, ModelError> {
        let request = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(body.clone())
            .send();
        let idle = self.provider.stream_idle_timeout;
        let failed = |reason: &str| {
            let message = format!("asking {} at {}: {reason}", self.provider.name, self.address());
            ModelError::transient(ErrorClass::HttpConnectionFailed(None), message)
        };
        let response = match tokio::time::timeout(idle, request).await {
            Err(_) => return Err(failed(&format!("no answer for {} s", idle.as_secs_f64()))),
            Ok(Err(error)) => return Err(failed(&chain(&error.without_url()))),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let header = |name: &str| response.headers().get(name).and_then(|it| it.to_str().ok());
        let asked = retry_after(header("retry-after"), header("retry-after-ms"));
        let body = refusal(response, idle).await;
        Err(ModelError {
            retry_after: asked,
            ..self.refused(status, &body)
        })
    }

    /// The address without its query, which may hold a secret.
    fn address(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        let _ = url.set_password(None);
        url.to_string()
    }

    fn refused(&self, status: StatusCode, body: &str) -> ModelError {
        let json: Option<Value> = serde_json::from_str(body).ok();
        let error = json
            .as_ref()
            .and_then(|it| it.get("error"))
            .filter(|it| it.is_object());
        let text = |name: &str| error.and_then(|it| it.get(name)).and_then(Value::as_str);
        let known = text("code").or_else(|| text("type")).and_then(wire::code_class);
        let code = status.as_u16();
        let decisive = [
            ErrorClass::ContextWindowExceeded,
            ErrorClass::UsageLimitExceeded,
            ErrorClass::ModelNotFound,
        ];
        let known = known.filter(|class| decisive.contains(class));
        let mut refusal = match known {
            Some(ErrorClass::ContextWindowExceeded | ErrorClass::UsageLimitExceeded) => wire::failed(error),
            Some(class) => self.status_error(status, class),
            None => self.status_error(status, status_class(code)),
        };
        refusal.transient = known.is_none() && is_transient(code);
        refusal.status = Some(code);
        let said = text("message").map_or_else(|| body.trim().to_owned(), str::to_owned);
        let said: String = said.chars().take(REFUSAL_CHARS_MAX).collect();
        let refusal = if refusal.details.is_none() {
            refusal.with_details(said)
        } else {
            refusal
        };
        refusal.with_details(self.advice(code, known))
    }

    fn status_error(&self, status: StatusCode, class: ErrorClass) -> ModelError {
        let message = format!("{} at {} answered {status}", self.provider.name, self.address());
        ModelError::fatal(class, message)
    }

    fn advice(&self, status: u16, known: Option<ErrorClass>) -> String {
        match (status, known) {
            (_, Some(ErrorClass::ModelNotFound)) => "check `model` in config.toml".to_owned(),
            (401 | 403, _) => match &self.provider.credential {
                Some(credential) => format!("check the key from {}", credential.origin),
                None => "no key was sent; set `env_key` of the model provider".to_owned(),
            },
            (300..=399 | 404, _) => "check `base_url` of the model provider".to_owned(),
            _ => String::new(),
        }
    }
}

fn status_class(status: u16) -> ErrorClass {
    match status {
        401 | 403 => ErrorClass::Unauthorized,
        402 => ErrorClass::UsageLimitExceeded,
        429 => ErrorClass::RateLimitExceeded,
        400 | 405..=499 if status != 408 => ErrorClass::BadRequest,
        500 => ErrorClass::InternalServerError,
        503 | 529 => ErrorClass::ServerOverloaded,
        _ => ErrorClass::HttpConnectionFailed(Some(status)),
    }
}

fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// The beginning of a refusal's body; what cannot be read is left out.
async fn refusal(response: reqwest::Response, patience: Duration) -> String {
    let mut body = response.bytes_stream();
    let mut text = Vec::new();
    while text.len() < REFUSAL_BYTES_MAX {
        match tokio::time::timeout(patience, body.next()).await {
            Ok(Some(Ok(chunk))) => text.extend_from_slice(&chunk),
            _ => break,
        }
    }
    text.truncate(REFUSAL_BYTES_MAX);
    String::from_utf8_lossy(&text).into_owned()
}

/// An error with all its causes: reqwest's own text rarely says what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
