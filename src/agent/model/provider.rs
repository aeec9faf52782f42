//! Where a model is and how to prove who asks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

/// Retries of a request that could not be made, unless configured.
const REQUEST_RETRIES: u32 = 4;
/// Retries of an answer that broke off, unless configured.
const STREAM_RETRIES: u32 = 5;
/// More retries than this are not made, whatever is configured: with doubling pauses they are hours.
const RETRIES_MAX: u32 = 100;
/// The longest silence within an answer, unless configured: models may think for minutes without a word.
const STREAM_IDLE: Duration = Duration::from_secs(300);

/// A text that must not be shown. It has no `Debug`, and is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// The text, to be put on the wire and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The APIs that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireApi {
    /// `POST {base_url}/responses`, answered as server-sent events.
    Responses,
}

/// One `[model_providers.ID]` of `config.toml`, with the official keys. Unknown keys are skipped.
#[derive(Clone, Deserialize, Default)]
pub struct ProviderConfig {
    pub name: Option<String>,
    pub base_url: Option<String>,
    pub wire_api: Option<String>,
    /// The environment variable that holds the key.
    pub env_key: Option<String>,
    /// What to tell a user who has not set it.
    pub env_key_instructions: Option<String>,
    #[serde(default)]
    pub query_params: BTreeMap<String, String>,
    #[serde(default)]
    pub http_headers: BTreeMap<String, String>,
    /// Headers whose values are in environment variables.
    #[serde(default)]
    pub env_http_headers: BTreeMap<String, String>,
    pub request_max_retries: Option<u32>,
    pub stream_max_retries: Option<u32>,
    pub stream_idle_timeout_ms: Option<u64>,
    #[serde(default)]
    pub requires_openai_auth: bool,
}

/// What is known without any configuration: `openai`, `ollama` and `lmstudio`, the latter two on this machine.
pub fn built_in(id: &str) -> Option<ProviderConfig> {
    let (name, base_url, key) = match id {
        "openai" => ("OpenAI", "https://api.openai.com/v1", Some("OPENAI_API_KEY")),
        "ollama" | "oss" => ("Ollama", "http://127.0.0.1:11434/v1", None),
        "lmstudio" => ("LM Studio", "http://127.0.0.1:1234/v1", None),
        _ => return None,
    };
    Some(ProviderConfig {
        name: Some(name.to_owned()),
        base_url: Some(base_url.to_owned()),
        env_key: key.map(str::to_owned),
        requires_openai_auth: key.is_some(),
        ..ProviderConfig::default()
    })
}

/// Why a provider cannot be used. Found when it is read, not in the middle of a turn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("model provider `{provider}` has no `base_url`")]
    NoBaseUrl { provider: String },
    #[error("model provider `{provider}`: `base_url` {url} is neither http nor https")]
    BadBaseUrl { provider: String, url: String },
    #[error("model provider `{provider}`: `wire_api` {wire_api} is not spoken, only \"responses\"")]
    WireApi { provider: String, wire_api: String },
    #[error("model provider `{provider}` needs the environment variable {variable}, which is not set")]
    NoKey {
        provider: String,
        variable: String,
        instructions: Option<String>,
    },
    #[error("model provider `{provider}` needs a login")]
    NoLogin { provider: String },
}

impl ConfigError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            ConfigError::NoBaseUrl { provider } => Some(format!(
                "set `base_url` in `[model_providers.{provider}]` of config.toml"
            )),
            ConfigError::BadBaseUrl { .. } => Some("write it like `https://host/v1`".to_owned()),
            ConfigError::WireApi { .. } => Some(
                "use a server that speaks the Responses API; Ollama, LM Studio and vLLM do in later versions"
                    .to_owned(),
            ),
            ConfigError::NoKey {
                instructions,
                variable,
                ..
            } => Some(
                instructions
                    .clone()
                    .unwrap_or_else(|| format!("set {variable} where the app-server is started")),
            ),
            ConfigError::NoLogin { .. } => {
                Some("run `codex login --with-api-key` on this host, or set OPENAI_API_KEY".to_owned())
            }
        }
    }
}

/// A credential and where it came from; the origin may be shown.
#[derive(Clone)]
pub struct Credential {
    pub key: Secret,
    /// For instance `environment variable OPENAI_API_KEY`, `login`.
    pub origin: String,
}

/// A provider that can be asked.
#[derive(Clone)]
pub struct Provider {
    pub id: String,
    pub name: String,
    /// Without a slash at its end.
    pub base_url: String,
    pub wire_api: WireApi,
    pub credential: Option<Credential>,
    /// Their values may be secrets, as with Azure's `api-key`.
    pub http_headers: BTreeMap<String, Secret>,
    /// Appended to the address, as Azure's `api-version`.
    pub query_params: BTreeMap<String, String>,
    pub request_max_retries: u32,
    pub stream_max_retries: u32,
    pub stream_idle_timeout: Duration,
}

impl ProviderConfig {
    /// Completes the configuration with the environment and the stored login. The variable wins over the login.
    pub fn resolve(
        &self,
        id: &str,
        env: impl Fn(&str) -> Option<String>,
        login: Option<Secret>,
    ) -> Result<Provider, ConfigError> {
        let provider = id.to_owned();
        if let Some(wire_api) = self.wire_api.clone().filter(|it| it != "responses") {
            return Err(ConfigError::WireApi { provider, wire_api });
        }
        let Some(url) = &self.base_url else {
            return Err(ConfigError::NoBaseUrl { provider });
        };
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(ConfigError::BadBaseUrl {
                provider,
                url: url.clone(),
            });
        }
        let credential = self.credential(id, &env, login)?;
        let mut http_headers = self.http_headers.clone();
        for (header, variable) in &self.env_http_headers {
            if let Some(value) = env(variable).filter(|it| !it.is_empty()) {
                http_headers.insert(header.clone(), value);
            }
        }
        Ok(Provider {
            id: provider,
            name: self.name.clone().unwrap_or_else(|| id.to_owned()),
            base_url: url.trim_end_matches('/').to_owned(),
            wire_api: WireApi::Responses,
            credential,
            http_headers: http_headers
                .into_iter()
                .map(|(name, value)| (name, Secret::new(value)))
                .collect(),
            query_params: self.query_params.clone(),
            request_max_retries: self
                .request_max_retries
                .unwrap_or(REQUEST_RETRIES)
                .min(RETRIES_MAX),
            stream_max_retries: self.stream_max_retries.unwrap_or(STREAM_RETRIES).min(RETRIES_MAX),
            stream_idle_timeout: self
                .stream_idle_timeout_ms
                .map_or(STREAM_IDLE, Duration::from_millis),
        })
    }

    fn credential(
        &self,
        id: &str,
        env: &impl Fn(&str) -> Option<String>,
        login: Option<Secret>,
    ) -> Result<Option<Credential>, ConfigError> {
        if let Some(variable) = &self.env_key {
            if let Some(key) = env(variable)
                .map(|it| it.trim().to_owned())
                .filter(|it| !it.is_empty())
            {
                let origin = format!("environment variable {variable}");
                return Ok(Some(Credential {
                    key: Secret::new(key),
                    origin,
                }));
            }
            if !self.requires_openai_auth {
                return Err(ConfigError::NoKey {
                    provider: id.to_owned(),
                    variable: variable.clone(),
                    instructions: self.env_key_instructions.clone(),
                });
            }
        }
        match (self.requires_openai_auth, login) {
            (false, _) => Ok(None),
            (true, Some(key)) => Ok(Some(Credential {
                key,
                origin: "login".to_owned(),
            })),
            (true, None) => Err(ConfigError::NoLogin {
                provider: id.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(
        config: &ProviderConfig,
        variable: &str,
        login: Option<&str>,
    ) -> Result<Option<String>, ConfigError> {
        let env = |name: &str| (name == variable).then(|| "from-env\n".to_owned());
        let provider = config.resolve("it", env, login.map(|it| Secret::new(it.to_owned())))?;
        Ok(provider.credential.map(|it| it.key.expose().to_owned()))
    }

    #[test]
    fn a_key_comes_from_the_environment_or_from_the_login() {
        let openai = built_in("openai").unwrap();
        assert_eq!(
            key_of(&openai, "OPENAI_API_KEY", Some("login")),
            Ok(Some("from-env".into()))
        );
        assert_eq!(key_of(&openai, "OTHER", Some("login")), Ok(Some("login".into())));
        assert!(matches!(
            key_of(&openai, "OTHER", None),
            Err(ConfigError::NoLogin { .. })
        ));
        let azure = ProviderConfig {
            env_key: Some("AZURE".into()),
            base_url: Some("https://a/".into()),
            ..Default::default()
        };
        assert!(matches!(
            key_of(&azure, "OTHER", Some("login")),
            Err(ConfigError::NoKey { .. })
        ));
        // A login for one provider is never sent to another.
        assert_eq!(
            key_of(&built_in("ollama").unwrap(), "OTHER", Some("login")),
            Ok(None)
        );
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_read() {
        let with = |edit: fn(&mut ProviderConfig)| {
            let mut config = built_in("ollama").unwrap();
            edit(&mut config);
            config.resolve("it", |_| None, None).err()
        };
        assert!(matches!(
            with(|it| it.wire_api = Some("chat".into())),
            Some(ConfigError::WireApi { .. })
        ));
        assert!(matches!(
            with(|it| it.base_url = None),
            Some(ConfigError::NoBaseUrl { .. })
        ));
        assert!(matches!(
            with(|it| it.base_url = Some("host/v1".into())),
            Some(ConfigError::BadBaseUrl { .. })
        ));
        assert_eq!(with(|it| it.wire_api = Some("responses".into())), None);
    }
}
