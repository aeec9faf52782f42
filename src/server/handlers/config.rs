//! Configuration and models: what is set, and what can be chosen.

use std::collections::BTreeMap;

use codex_protocol::v2::{
    ConfigBatchWriteParams, ConfigEdit, ConfigLayer, ConfigLayerMetadata, ConfigLayerSource,
    ConfigReadParams, ConfigReadResponse, ConfigRequirementsReadResponse, ConfigValueWriteParams,
    ConfigWriteResponse, Empty, GatewayAuth, Model, ModelListParams, ModelProviderCapabilities,
    ModelProviderListResponse, ModelProviderSummary, Page, ProviderSettings, ReasoningEffortOption,
};
use serde_json::{Value, json};

use crate::{
    config::{Config, Loaded, WriteError},
    refusal::Refusal,
    router::{Call, Router, Stability::*},
    scope::{Access::*, Scope},
};

const PART: &str = "config";
/// Providers that are known without configuration.
const BUILT_IN: [&str; 3] = ["openai", "ollama", "lmstudio"];

pub(super) fn routes(router: &mut Router) {
    let shared = || Scope::global(PART, Shared);
    let alone = || Scope::global(PART, Exclusive);
    router.answer("config/read", Stable, move |_: &ConfigReadParams| shared(), read);
    router.answer(
        "config/value/write",
        Stable,
        move |_: &ConfigValueWriteParams| alone(),
        write_value,
    );
    router.answer(
        "config/batchWrite",
        Stable,
        move |_: &ConfigBatchWriteParams| alone(),
        write_batch,
    );
    router.answer(
        "configRequirements/read",
        Stable,
        |_: &Empty| Scope::free(),
        requirements,
    );
    router.answer("model/list", Stable, move |_: &ModelListParams| shared(), models);
    router.answer("modelProvider/list", Stable, move |_: &Empty| shared(), providers);
    router.answer(
        "modelProvider/capabilities/read",
        Stable,
        |_: &Empty| Scope::free(),
        capabilities,
    );
}

async fn read(call: Call, params: ConfigReadParams) -> Result<ConfigReadResponse, Refusal> {
    let server = call.server.clone();
    let loaded = super::blocking(move || Ok(server.settings().load())).await?;
    let name = ConfigLayerSource::User {
        file: call.server.settings().file().display().to_string(),
        profile: None,
    };
    let config = effective(&loaded.config);
    let version = loaded.version.to_string();
    let mut origins = BTreeMap::new();
    if loaded.exists {
        let metadata = ConfigLayerMetadata {
            name: name.clone(),
            version: version.clone(),
        };
        leaves("", &loaded.config.value, &mut |key| {
            origins.insert(key, metadata.clone());
        });
    }
    let layer = ConfigLayer {
        name,
        version,
        config: loaded.config.value.clone(),
    };
    let layers = params
        .include_layers
        .then(|| if loaded.exists { vec![layer] } else { Vec::new() });
    Ok(ConfigReadResponse {
        config,
        origins,
        layers,
    })
}

/// The file's values, and the defaults of those that every client looks for.
fn effective(config: &Config) -> Value {
    let mut value = config.value.clone();
    if let Some(object) = value.as_object_mut() {
        object.entry("model").or_insert_with(|| config.model().into());
        object
            .entry("model_provider")
            .or_insert_with(|| config.provider_id().into());
        if let Some(mode) = &config.sandbox.mode {
            object
                .entry("sandbox_mode")
                .or_insert_with(|| mode.as_str().into());
        }
    }
    value
}

fn leaves(prefix: &str, value: &Value, found: &mut impl FnMut(String)) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let key = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                leaves(&key, value, found);
            }
        }
        _ => found(prefix.to_owned()),
    }
}

async fn write_value(call: Call, params: ConfigValueWriteParams) -> Result<ConfigWriteResponse, Refusal> {
    let ConfigValueWriteParams {
        edit,
        expected_version,
        file_path,
    } = params;
    write(call, vec![edit], expected_version, file_path).await
}

async fn write_batch(call: Call, params: ConfigBatchWriteParams) -> Result<ConfigWriteResponse, Refusal> {
    let ConfigBatchWriteParams {
        edits,
        expected_version,
        file_path,
    } = params;
    write(call, edits, expected_version, file_path).await
}

async fn write(
    call: Call,
    edits: Vec<ConfigEdit>,
    version: Option<String>,
    file: Option<String>,
) -> Result<ConfigWriteResponse, Refusal> {
    let server = call.server.clone();
    let written = super::blocking(move || {
        let store = server.settings();
        store
            .write(&edits, version.as_deref(), file.as_deref())
            .map_err(refuse)
    });
    let Loaded { version, .. } = written.await?;
    Ok(ConfigWriteResponse {
        status: "ok".to_owned(),
        version: version.to_string(),
        file_path: call.server.settings().file().display().to_string(),
    })
}

fn refuse(error: WriteError) -> Refusal {
    let code = match &error {
        WriteError::OtherFile { .. } => "configLayerReadonly",
        WriteError::Changed(_) => "configVersionConflict",
        WriteError::NotToml(_) | WriteError::Edit(_) | WriteError::Invalid(_) => "configValidationError",
        WriteError::Io { source, .. } => return Refusal::failed(format!("{error}: {source}")),
    };
    Refusal::invalid(error.to_string()).with_data(json!({ "config_write_error_code": code }))
}

async fn requirements(_: Call, _: Empty) -> Result<ConfigRequirementsReadResponse, Refusal> {
    Ok(ConfigRequirementsReadResponse::default())
}

async fn models(call: Call, params: ModelListParams) -> Result<Page<Model>, Refusal> {
    let server = call.server.clone();
    let config = super::blocking(move || Ok(server.config())).await?;
    // What a provider really serves is known to it alone; what is configured is what is asked for.
    let mut names = vec![config.model()];
    names.extend(config.review_model.as_deref().filter(|it| *it != config.model()));
    let models = names
        .into_iter()
        .enumerate()
        .map(|(at, name)| model(&config, name, at == 0));
    let models = models.take(params.limit.map_or(usize::MAX, |it| it as usize));
    Ok(Page::whole(models.collect()))
}

fn model(config: &Config, name: &str, is_default: bool) -> Model {
    let effort = |effort: &str, description: &str| ReasoningEffortOption {
        reasoning_effort: effort.to_owned(),
        description: description.to_owned(),
    };
    Model {
        id: name.to_owned(),
        model: name.to_owned(),
        display_name: name.to_owned(),
        description: format!("Served by {}", config.provider_id()),
        hidden: false,
        is_default,
        supported_reasoning_efforts: vec![
            effort("low", "Answers fast, with little reasoning"),
            effort("medium", "Balances speed and reasoning"),
            effort("high", "Reasons at length about hard problems"),
        ],
        default_reasoning_effort: config
            .model_reasoning_effort
            .clone()
            .unwrap_or_else(|| "medium".to_owned()),
        input_modalities: vec!["text".to_owned(), "image".to_owned()],
    }
}

async fn providers(call: Call, _: Empty) -> Result<ModelProviderListResponse, Refusal> {
    let server = call.server.clone();
    let config = super::blocking(move || Ok(server.config())).await?;
    let built_in = BUILT_IN
        .into_iter()
        .filter(|it| !config.providers.contains_key(*it));
    let ids = config.providers.keys().map(String::as_str).chain(built_in);
    let summary = |id: &str| {
        let provider = config.provider(id)?;
        let settings = match (provider.requires_openai_auth, provider.env_key) {
            (true, _) => ProviderSettings::Openai,
            (false, Some(env_key)) => ProviderSettings::CustomGateway {
                auth: GatewayAuth::EnvironmentVariable { env_key },
            },
            (false, None) => ProviderSettings::CustomGateway {
                auth: GatewayAuth::None,
            },
        };
        Some(ModelProviderSummary {
            id: id.to_owned(),
            name: provider.name.unwrap_or_else(|| id.to_owned()),
            base_url: provider.base_url,
            can_edit: false,
            settings,
        })
    };
    Ok(ModelProviderListResponse {
        data: ids.filter_map(summary).collect(),
        default_provider_id: config.provider_id().to_owned(),
        can_change_default: true,
    })
}

async fn capabilities(_: Call, _: Empty) -> Result<ModelProviderCapabilities, Refusal> {
    Ok(ModelProviderCapabilities {
        image_generation: false,
        web_search: false,
    })
}
