//! Accounts: API keys, and nothing else.

use codex_protocol::{
    served::LoginAccountParams,
    v2::{
        AccountLoginCompleted, AccountReadParams, AccountReadResponse, AccountUpdated, AuthStatus, Empty,
        GovCloudRequirements, LoginAccountResponse,
    },
};
use serde_json::json;

use crate::{
    login::KEY_VARIABLE,
    notice::Notice,
    refusal::Refusal,
    responder::Responder,
    router::{Call, Router, Stability::*},
    scope::{Access::*, Scope},
    server::Server,
};

const PART: &str = "account";

pub(super) fn routes(router: &mut Router) {
    let shared = || Scope::global(PART, Shared);
    let alone = || Scope::global(PART, Exclusive);
    router.answer(
        "account/read",
        Stable,
        move |_: &AccountReadParams| shared(),
        read,
    );
    router.answer("getAuthStatus", Stable, move |_: &Empty| shared(), auth_status);
    router.hand_over(
        "account/login/start",
        Stable,
        move |_: &LoginAccountParams| alone(),
        login,
    );
    router.hand_over("account/logout", Stable, move |_: &Empty| alone(), logout);
    router.answer(
        "account/rateLimits/read",
        Stable,
        |_: &Empty| Scope::free(),
        rate_limits,
    );
    let gov_cloud = "account/bedrock/checkGovCloudRequirements";
    router.answer(
        gov_cloud,
        Experimental,
        |_: &Empty| Scope::free(),
        check_gov_cloud,
    );
}

/// Whether there is a key, and whether the configured provider needs one.
struct Standing {
    has_key: bool,
    needs_key: bool,
}

async fn standing(server: Server) -> Result<Standing, Refusal> {
    super::blocking(move || {
        let config = server.config();
        let provider = config.provider(config.provider_id());
        let variable = server.setup().variable(KEY_VARIABLE);
        Ok(Standing {
            has_key: server.logins().origin(variable).is_some(),
            needs_key: provider.is_some_and(|it| it.requires_openai_auth),
        })
    })
    .await
}

async fn read(call: Call, _: AccountReadParams) -> Result<AccountReadResponse, Refusal> {
    let Standing { has_key, needs_key } = standing(call.server.clone()).await?;
    Ok(AccountReadResponse {
        account: (has_key && needs_key).then(|| json!({ "type": "apiKey" })),
        requires_openai_auth: needs_key,
        user_id: None,
    })
}

async fn auth_status(call: Call, _: Empty) -> Result<AuthStatus, Refusal> {
    let Standing { has_key, needs_key } = standing(call.server.clone()).await?;
    Ok(AuthStatus {
        auth_method: has_key.then(|| "apikey".to_owned()),
        auth_token: None,
        requires_openai_auth: Some(needs_key),
    })
}

async fn login(call: Call, params: LoginAccountParams, responder: Responder) {
    let LoginAccountParams::ApiKey { api_key: key } = params else {
        let text = "this server logs in with API keys only: account/login/start with type apiKey";
        return responder.refuse(Refusal::invalid(text));
    };
    let server = call.server.clone();
    let stored = super::blocking(move || {
        server
            .logins()
            .store(key)
            .map_err(|it| Refusal::invalid(it.to_string()))
    })
    .await;
    match stored {
        Ok(_) => {
            responder.answer(&LoginAccountResponse::ApiKey {});
            let completed = AccountLoginCompleted {
                login_id: None,
                success: true,
                error: None,
            };
            call.connection
                .tell(&Notice::new("account/login/completed", &completed));
            tell_updated(&call.server, Some("apikey"));
        }
        Err(refusal) => responder.refuse(refusal),
    }
}

async fn logout(call: Call, _: Empty, responder: Responder) {
    let server = call.server.clone();
    let forgotten = super::blocking(move || {
        server
            .logins()
            .forget()
            .map_err(|it| Refusal::failed(it.to_string()))
    })
    .await;
    match forgotten {
        Ok(_) => {
            responder.answer(&Empty {});
            let variable = call.server.setup().variable(KEY_VARIABLE);
            tell_updated(&call.server, variable.map(|_| "apikey"));
        }
        Err(refusal) => responder.refuse(refusal),
    }
}

fn tell_updated(server: &Server, mode: Option<&str>) {
    let updated = AccountUpdated {
        auth_mode: mode.map(str::to_owned),
        plan_type: None,
    };
    server.broadcast(&Notice::new("account/updated", &updated));
}

async fn rate_limits(_: Call, _: Empty) -> Result<Empty, Refusal> {
    // There are none with an API key; the official server answers so without a ChatGPT login.
    Err(Refusal::invalid(
        "codex account authentication required to read rate limits",
    ))
}

async fn check_gov_cloud(_: Call, _: Empty) -> Result<GovCloudRequirements, Refusal> {
    Ok(GovCloudRequirements {
        is_gov_cloud: false,
        should_warn: false,
    })
}
