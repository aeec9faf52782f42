//! The models that threads ask: one pool of connections for each provider.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use codex_agent::{
    model::{ConfigError, ErrorClass, ModelError, ModelEvent, Provider, Responses},
    ports::{Model, Outside, Prompt},
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{notice::unix_millis, server::Server};

/// Retries of an answer that breaks off, where there is no provider that could say.
const STREAM_RETRIES: u32 = 5;

/// A provider's configuration and credential, told apart without being kept.
type Fingerprint = [u8; 32];

/// What is asked, and how often an answer that breaks off is asked for again.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) model: Arc<dyn Model>,
    pub(crate) stream_max_retries: u32,
}

/// The models by their providers' ids.
#[derive(Default)]
pub(crate) struct Models(Mutex<BTreeMap<String, (Fingerprint, Asked)>>);

impl Models {
    /// The model of a provider as it is configured now. One that cannot be asked is a model whose every answer is
    /// the reason, so that the user hears it where the answer would be. Blocking, and short.
    pub(crate) fn get(&self, server: &Server, provider: &str) -> Asked {
        if let Some(model) = server.setup().model.clone() {
            return Asked {
                model,
                stream_max_retries: STREAM_RETRIES,
            };
        }
        let provider = match server.provider(provider) {
            Some(Ok(provider)) => provider,
            Some(Err(error)) => return unusable(&error, error.hint(), class(&error)),
            None => {
                let text = format!("model provider `{provider}` is not configured");
                return unusable(&text, None, ErrorClass::BadRequest);
            }
        };
        let fingerprint = fingerprint(&provider);
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, asked)) = models.get(&provider.id)
            && *known == fingerprint
        {
            return asked.clone();
        }
        let (id, stream_max_retries) = (provider.id.clone(), provider.stream_max_retries);
        match Responses::new(provider, outside()) {
            Ok(model) => {
                let asked = Asked {
                    model: Arc::new(model),
                    stream_max_retries,
                };
                models.insert(id, (fingerprint, asked.clone()));
                asked
            }
            Err(error) => unusable(&error, None, ErrorClass::BadRequest),
        }
    }
}

fn class(error: &ConfigError) -> ErrorClass {
    match error {
        ConfigError::NoKey { .. } | ConfigError::NoLogin { .. } => ErrorClass::Unauthorized,
        ConfigError::NoBaseUrl { .. } | ConfigError::BadBaseUrl { .. } | ConfigError::WireApi { .. } => {
            ErrorClass::BadRequest
        }
    }
}

fn fingerprint(provider: &Provider) -> Fingerprint {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    add(&provider.base_url);
    for (name, value) in &provider.http_headers {
        add(name);
        add(value.expose());
    }
    for (name, value) in &provider.query_params {
        add(name);
        add(value);
    }
    if let Some(credential) = &provider.credential {
        add(credential.key.expose());
    }
    for number in [provider.request_max_retries, provider.stream_max_retries] {
        add(&number.to_string());
    }
    add(&provider.stream_idle_timeout.as_millis().to_string());
    hash.finalize().into()
}

/// The time of this host, and chance.
pub(crate) fn outside() -> Outside {
    Outside {
        now: unix_millis,
        jitter: fastrand::f64,
    }
}

fn unusable(error: &dyn std::fmt::Display, hint: Option<String>, class: ErrorClass) -> Asked {
    let error = ModelError::fatal(class, error.to_string()).with_details(hint.unwrap_or_default());
    Asked {
        model: Arc::new(Unusable(error)),
        stream_max_retries: 0,
    }
}

struct Unusable(ModelError);

impl Model for Unusable {
    fn sample(&self, _: Prompt, _: CancellationToken) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        stream::iter([Err(self.0.clone())]).boxed()
    }
}
