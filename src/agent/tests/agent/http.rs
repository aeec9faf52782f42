//! What goes over the wire around the answer: credentials, addresses, pauses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use codex_agent::model::{Credential, Provider, Secret};
use codex_protocol::v2::TurnStatus;

use crate::stage::{Stage, provider, setup};
use crate::wild::{hi, refusal, serve};

fn with_key(port: u16) -> Provider {
    Provider {
        credential: Some(Credential {
            key: Secret::new("sk-very-secret".into()),
            origin: "environment variable KEY".into(),
        }),
        http_headers: BTreeMap::from([("api-key".into(), Secret::new("another-secret".into()))]),
        query_params: BTreeMap::from([("api-version".into(), "2026 preview".into())]),
        ..provider(port)
    }
}

#[tokio::test]
async fn the_key_goes_to_the_provider_and_nowhere_else() {
    let (port, heads) = serve(vec![refusal("401 Unauthorized", "")]);
    let mut stage = Stage::with(with_key(port), setup(), "hi");
    let (_, error) = stage.end().await;
    let head = heads.recv().unwrap();
    assert!(
        head.starts_with("post /v1/responses?api-version=2026+preview http/1.1"),
        "{head}"
    );
    assert!(
        head.contains("authorization: bearer sk-very-secret") && head.contains("api-key: another-secret"),
        "{head}"
    );
    let told = format!("{error:?} {:?}", stage.told);
    assert!(!told.contains("secret"), "{told}");
    assert!(told.contains("environment variable KEY"), "{told}");
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let (elsewhere, heads) = serve(vec![hi()]);
    let location = format!("location: http://localhost:{elsewhere}/v1/responses\r\n");
    let (port, _heads) = serve(vec![refusal("307 Temporary Redirect", &location)]);
    let mut stage = Stage::with(with_key(port), setup(), "hi");
    let (status, error) = stage.end().await;
    assert_eq!(status, TurnStatus::Failed);
    assert!(error.unwrap().additional_details.unwrap().contains("base_url"));
    assert!(heads.try_recv().is_err());
}

#[tokio::test]
async fn the_servers_wish_to_wait_is_respected() {
    let (port, _heads) = serve(vec![refusal("429 Too Many Requests", "retry-after: 1\r\n"), hi()]);
    let start = Instant::now();
    let mut stage = Stage::at(port, "hi");
    assert_eq!(stage.end().await.0, TurnStatus::Completed);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(stage.messages(), ["hi"]);
}

#[tokio::test]
async fn a_wish_to_wait_for_an_hour_ends_the_turn_at_once() {
    let (port, _heads) = serve(vec![refusal("429 Too Many Requests", "retry-after: 3600\r\n")]);
    let mut stage = Stage::at(port, "hi");
    let (_, error) = stage.end().await;
    assert!(error.unwrap().additional_details.unwrap().contains("3600 s"));
    assert_eq!(stage.retries(), [""; 0]);
}
