//! The HTTP client of one server: TLS, credentials, address.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use zeroize::Zeroizing;

use crate::config::Http;
use crate::limits::MESSAGE_BYTES;
use crate::secret::{Environment, Secret};

/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// How much of a refusal's body is read, in bytes: it is shown to people.
const REFUSAL_BYTES_MAX: usize = 1024;

/// A server cannot be asked at all. The text holds no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("reading the bearer token: the variable {name} is not set")]
    Token { name: String },
    #[error("reading the header `{name}`: it is no header of HTTP")]
    Header { name: String },
    #[error("setting up TLS: {0}")]
    Tls(#[source] rustls::Error),
    #[error("setting up HTTP: {0}")]
    Client(#[source] reqwest::Error),
}

/// Prepares the transport to a server.
pub(crate) fn transport(
    config: &Http,
    environment: &Environment,
) -> Result<StreamableHttpClientTransport<reqwest::Client>, HttpError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .connect_timeout(CONNECT_PATIENCE)
        // Another host would get the credentials in headers of their own names.
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        // Here and not in the SDK's settings, which are printed.
        .default_headers(headers(config, environment)?)
        .build()
        .map_err(HttpError::Client)?;
    let settings = StreamableHttpClientTransportConfig::with_uri(config.url.expose())
        .max_sse_event_size(MESSAGE_BYTES)
        .max_json_response_size(MESSAGE_BYTES)
        .max_error_response_size(REFUSAL_BYTES_MAX);
    Ok(StreamableHttpClientTransport::with_client(client, settings))
}

/// Whether the server gets a credential.
pub(crate) fn has_credential(config: &Http) -> bool {
    let names = config.http_headers.keys().chain(config.env_http_headers.keys());
    config.bearer_token_env_var.is_some()
        || names
            .into_iter()
            .any(|it| it.eq_ignore_ascii_case("authorization"))
}

/// The part of the address that can be shown: scheme, host and port.
pub(crate) fn origin(config: &Http) -> Option<String> {
    let url = reqwest::Url::parse(config.url.expose()).ok()?;
    Some(url.origin().ascii_serialization())
}

/// What must not be shown of a server's settings. The address may have a key in its path or query.
pub(crate) fn secrets(config: &Http, environment: &Environment) -> Vec<Secret> {
    let variables = config
        .env_http_headers
        .values()
        .chain(&config.bearer_token_env_var);
    let variables = variables.filter_map(|it| environment.get(it));
    let address = reqwest::Url::parse(config.url.expose()).map(|it| Secret::new(it.to_string()));
    let written = config.http_headers.values().chain(variables).cloned();
    written.chain(address.ok()).chain([config.url.clone()]).collect()
}

fn headers(config: &Http, environment: &Environment) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    let agent = HeaderValue::from_static(concat!("codex/", env!("CARGO_PKG_VERSION")));
    headers.insert("user-agent", agent);
    let mut put = |name: &str, value: &str| {
        let wrong = || HttpError::Header {
            name: name.to_owned(),
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(key, value);
        Ok(())
    };
    for (name, value) in &config.http_headers {
        put(name, value.expose())?;
    }
    for (name, variable) in &config.env_http_headers {
        if let Some(value) = environment.get(variable) {
            put(name, value.expose())?;
        }
    }
    if let Some(variable) = &config.bearer_token_env_var {
        let token = environment
            .get(variable)
            .filter(|it| !it.expose().trim().is_empty());
        let token = token.ok_or_else(|| HttpError::Token {
            name: variable.clone(),
        })?;
        let bearer = Zeroizing::new(format!("Bearer {}", token.expose().trim()));
        put(AUTHORIZATION.as_str(), &bearer)?;
    }
    Ok(headers)
}

/// Certificates are those of the host and, where it has none, Mozilla's.
fn tls() -> Result<rustls::ClientConfig, HttpError> {
    let mut roots = rustls::RootCertStore::empty();
    // A certificate that cannot be read must not keep us from the ones that can.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
