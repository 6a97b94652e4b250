//! Providers and models over the API, and which of them answers whom.

use std::sync::Arc;

use axum::body::Body;
use homing_certs::Role;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::fakes::{Fake, openai};
use crate::network::{Device, EVERY_SCOPE};
use crate::rig::{Answer, Rig, text_of};

mod shared;

const KEY: &str = "sk-0123456789abcd";

fn request(method: &str, path: &str, body: &Value) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

pub(crate) async fn send(
    rig: &Rig,
    by: &Arc<Device>,
    method: &str,
    path: &str,
    body: Value,
) -> Answer {
    rig.call(by, request(method, path, &body)).await
}

/// Adds a provider of this server, and gives its id.
pub(crate) async fn provider(rig: &Rig, by: &Arc<Device>, name: &str, fake: &Fake) -> String {
    let body =
        json!({ "name": name, "profile": "custom", "base_url": fake.base_url(), "api_key": KEY });
    let answer = send(rig, by, "POST", "/api/providers", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    answer.json()["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn model(rig: &Rig, by: &Arc<Device>, provider: &str, body: Value) -> String {
    let mut body = body;
    body["provider_id"] = json!(provider);
    let answer = send(rig, by, "POST", "/api/models", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// What was answered, by which model, and how the turn ended.
async fn ask(rig: &Rig, by: &Arc<Device>, session: &str) -> (String, String, Value) {
    let mut ws = rig.ws(by).await;
    ws.say(session, "hello").await;
    let frames = ws.until("turn_complete").await;
    let model = frames
        .iter()
        .find(|frame| frame["type"] == "response")
        .map_or("", |frame| frame["model"].as_str().unwrap());
    (
        text_of(&frames),
        model.to_owned(),
        frames.last().unwrap().clone(),
    )
}

#[tokio::test]
async fn the_first_model_answers_at_once_and_its_usage_is_priced() {
    let (rig, fake) = (
        Rig::start().await,
        Fake::always(openai::answer(&["from ", "the model"])).await,
    );
    let owner = rig.network.owner();
    assert_eq!(ask(&rig, &owner, "s").await.1, "built-in");
    let id = provider(&rig, &owner, "home", &fake).await;
    let price = json!({ "input": 3_000_000, "output": 15_000_000 });
    model(
        &rig,
        &owner,
        &id,
        json!({ "model": "qwen3", "price": price }),
    )
    .await;
    let (text, model, complete) = ask(&rig, &owner, "s").await;
    assert_eq!(
        (text.as_str(), model.as_str()),
        ("from the model", "home/qwen3")
    );
    assert_eq!(complete["reason"], "done");
    assert_eq!(complete["usage"]["input_tokens"], 1_000);
    assert_eq!(complete["usage"]["cost_micro_usd"], 3_000 + 1_500);
    let seen = fake.seen();
    assert_eq!(seen[0].json()["model"], "qwen3");
    assert!(
        seen[0].json()["tools"]
            .as_array()
            .is_some_and(|tools| !tools.is_empty())
    );
}

#[tokio::test]
async fn a_model_is_sent_pictures_when_it_is_said_to_take_them() {
    let (rig, fake) = (
        Rig::start().await,
        Fake::always(openai::answer(&["a cat"])).await,
    );
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &fake).await;
    let model = model(&rig, &owner, &id, json!({ "model": "m" })).await;
    let listed = rig.get(&owner, "/api/models").await.json();
    assert_eq!(listed["models"][0]["images"], false);
    let picture = Request::put("/api/files/cat.gif").body(Body::from("GIF89a"));
    rig.call(&owner, picture.unwrap()).await;
    let path = format!("/api/models/{model}");
    let url = json!({ "url": "data:image/gif;base64,R0lGODlh" });
    for (images, shown) in [(json!(true), true), (json!(null), false)] {
        let changed = send(&rig, &owner, "PUT", &path, json!({ "images": images })).await;
        assert_eq!(changed.json()["images"], shown);
        let mut ws = rig.ws(&owner).await;
        ws.send(json!({
            "type": "text_final", "session_id": "s", "text": "what is it?",
            "attachments": [{ "path": "/api/files/cat.gif", "type": "image" }],
        }))
        .await;
        ws.until("turn_complete").await;
        let sent = fake.seen().pop().unwrap().json();
        let content = sent["messages"].as_array().unwrap().last().unwrap()["content"].clone();
        match shown {
            true => assert_eq!(content[1]["image_url"], url),
            false => assert!(
                content
                    .as_str()
                    .unwrap()
                    .contains("- cat.gif (image, 6 bytes)")
            ),
        }
    }
}

#[tokio::test]
async fn a_model_without_a_known_price_is_unpriced_and_never_free() {
    let (rig, fake) = (
        Rig::start().await,
        Fake::always(openai::answer(&["a"])).await,
    );
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &fake).await;
    model(&rig, &owner, &id, json!({ "model": "m" })).await;
    let listed = rig.get(&owner, "/api/models").await.json();
    assert_eq!(listed["models"][0]["price"], Value::Null);
    assert_eq!(listed["models"][0]["input_cost_per_million"], Value::Null);
    let (_, _, complete) = ask(&rig, &owner, "s").await;
    assert_eq!(complete["usage"]["unpriced_calls"], 1);
    assert_eq!(complete["usage"]["cost_micro_usd"], 0);
}

#[tokio::test]
async fn a_key_goes_in_and_comes_out_nowhere() {
    let (rig, fake) = (
        Rig::start().await,
        Fake::always(openai::error(401, "", KEY)).await,
    );
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &fake).await;
    model(&rig, &owner, &id, json!({ "model": "m" })).await;
    let mut said = vec![
        rig.get(&owner, "/api/providers").await.json().to_string(),
        rig.get(&owner, "/api/models/available")
            .await
            .json()
            .to_string(),
        format!("{:?}", rig.state.models),
    ];
    let path = format!("/api/providers/{id}/test");
    let tested = send(&rig, &owner, "POST", &path, json!({})).await.json();
    assert_eq!(tested["ok"], false);
    assert_eq!(tested["error"]["code"], "provider_unauthorized");
    assert!(!tested["error"]["hint"].as_str().unwrap().is_empty());
    said.push(tested.to_string());
    let (_, _, complete) = ask(&rig, &owner, "s").await;
    assert_eq!(complete["reason"], "failed");
    let bad = json!({ "name": "x", "profile": "custom", "base_url": 7, "api_key": KEY });
    said.push(
        send(&rig, &owner, "POST", "/api/providers", bad)
            .await
            .json()
            .to_string(),
    );
    assert!(
        said[0].contains("\"api_key_display\":\"****abcd\""),
        "{}",
        said[0]
    );
    rig.audit_lines().await;
    for entry in std::fs::read_dir(rig.folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            said.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    for text in said {
        assert!(!text.contains("0123456789"), "{text}");
    }
    // It was sent, all the same.
    assert_eq!(
        fake.seen()[0].header("authorization").unwrap(),
        format!("Bearer {KEY}")
    );
}

#[tokio::test]
async fn keys_and_addresses_that_are_none_are_refused() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let near = "http://127.0.0.1:9/v1";
    for (body, code) in [
        (
            json!({ "profile": "custom", "base_url": near, "api_key": "sk-1\nhost: x" }),
            "bad_key",
        ),
        (
            json!({ "profile": "custom", "base_url": near, "api_key": " " }),
            "bad_key",
        ),
        (json!({ "profile": "custom" }), "bad_base_url"),
        (
            json!({ "profile": "custom", "base_url": "http://example.org/v1" }),
            "bad_base_url",
        ),
        (
            json!({ "profile": "custom", "base_url": "https://a:b@example.org" }),
            "bad_base_url",
        ),
        (json!({ "profile": "openai" }), "key_needed"),
        (json!({ "profile": "made_up" }), "unknown_profile"),
        (
            json!({ "profile": "ollama", "name": "No Spaces" }),
            "bad_name",
        ),
        (json!({ "profile": "ollama", "keys": 1 }), "bad_body"),
        (json!("ollama"), "bad_body"),
    ] {
        let answer = send(&rig, &owner, "POST", "/api/providers", body.clone()).await;
        assert_eq!(answer.code(), code, "{body}");
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
    }
    let added = json!({ "profile": "ollama" });
    let first = send(&rig, &owner, "POST", "/api/providers", added.clone()).await;
    assert_eq!(first.json()["name"], "ollama");
    let second = send(&rig, &owner, "POST", "/api/providers", added).await;
    assert_eq!(
        (second.status, second.code()),
        (StatusCode::CONFLICT, "exists".into())
    );
    let listed = rig.get(&owner, "/api/providers").await.json();
    assert_eq!(listed["providers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_does_not_follow_to_another_address() {
    let rig = Rig::start().await;
    let first = Fake::always(openai::models(&["a"])).await;
    let second = Fake::always(openai::models(&["b", "c"])).await;
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &first).await;
    let path = format!("/api/providers/{id}");
    let moved = json!({ "base_url": second.base_url() });
    let refused = send(&rig, &owner, "PUT", &path, moved).await;
    assert_eq!(refused.code(), "key_needed");
    let moved = json!({ "base_url": second.base_url(), "api_key": "sk-another-key-9999" });
    let answer = send(&rig, &owner, "PUT", &path, moved).await.json();
    assert_eq!(answer["api_key_display"], "****9999");
    let tested = send(&rig, &owner, "POST", &format!("{path}/test"), json!({}))
        .await
        .json();
    assert_eq!(
        (&tested["ok"], &tested["models"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(
        second.seen()[0].header("authorization").unwrap(),
        "Bearer sk-another-key-9999"
    );
    let removed = send(&rig, &owner, "PUT", &path, json!({ "api_key": null }))
        .await
        .json();
    assert_eq!(removed["api_key_display"], "");
    send(&rig, &owner, "POST", &format!("{path}/test"), json!({})).await;
    assert!(second.seen()[1].header("authorization").is_none());
    assert!(first.seen().is_empty());
}

#[tokio::test]
async fn when_a_model_fails_the_next_in_the_order_answers() {
    let rig = Rig::start().await;
    let failing = Fake::always(openai::error(503, "", "busy")).await;
    let standing = Fake::always(openai::answer(&["I stand in"])).await;
    let owner = rig.network.owner();
    let first = provider(&rig, &owner, "first", &failing).await;
    let second = provider(&rig, &owner, "second", &standing).await;
    model(&rig, &owner, &first, json!({ "model": "a" })).await;
    let id = model(&rig, &owner, &second, json!({ "model": "b" })).await;
    // Nobody has put it into the order: a conversation goes only where somebody wants it to go.
    let (text, _, complete) = ask(&rig, &owner, "s").await;
    assert_eq!((text.as_str(), &complete["reason"]), ("", &json!("failed")));
    assert!(standing.seen().is_empty());
    let ranked = json!({ "rank": 1 });
    send(&rig, &owner, "PUT", &format!("/api/models/{id}"), ranked).await;
    let (text, model, _) = ask(&rig, &owner, "s").await;
    assert_eq!((text.as_str(), model.as_str()), ("I stand in", "second/b"));
}

#[tokio::test]
async fn a_pin_is_a_persons_own_outlives_a_restart_and_falls_to_the_default() {
    let rig = Rig::start().await;
    let fake = Fake::always(openai::answer(&["yes"])).await;
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &fake).await;
    let default = model(&rig, &owner, &id, json!({ "model": "default" })).await;
    let pinned = model(&rig, &owner, &id, json!({ "model": "pinned" })).await;
    let pin = json!({ "model": pinned });
    let answer = send(&rig, &owner, "POST", "/api/sessions/s/pin", pin).await;
    assert_eq!(answer.json()["model"], pinned.as_str());
    let unknown = json!({ "model": "m0" });
    let refused = send(&rig, &owner, "POST", "/api/sessions/s/pin", unknown).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let rig = rig.restart_with(|_| {}).await;
    let other = rig.network.device("other", Role::Client, EVERY_SCOPE);
    assert_eq!(ask(&rig, &owner, "s").await.1, "home/pinned");
    assert_eq!(ask(&rig, &owner, "another").await.1, "home/default");
    assert_eq!(ask(&rig, &other, "s").await.1, "home/default");
    let disable = format!("/api/models/{pinned}/disable");
    send(&rig, &owner, "POST", &disable, json!({})).await;
    assert_eq!(ask(&rig, &owner, "s").await.1, "home/default");
    let enable = format!("/api/models/{pinned}/enable");
    send(&rig, &owner, "POST", &enable, json!({})).await;
    assert_eq!(ask(&rig, &owner, "s").await.1, "home/pinned");
    send(
        &rig,
        &owner,
        "DELETE",
        &format!("/api/models/{pinned}"),
        json!({}),
    )
    .await;
    assert_eq!(ask(&rig, &owner, "s").await.1, "home/default");
    send(
        &rig,
        &owner,
        "DELETE",
        &format!("/api/models/{default}"),
        json!({}),
    )
    .await;
    assert_eq!(ask(&rig, &owner, "s").await.1, "built-in");
    let gone = send(
        &rig,
        &owner,
        "DELETE",
        &format!("/api/models/{default}"),
        json!({}),
    )
    .await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn there_is_one_default_and_a_removed_provider_takes_its_models_with_it() {
    let rig = Rig::start().await;
    let fake = Fake::always(openai::answer(&["yes"])).await;
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &fake).await;
    model(&rig, &owner, &id, json!({ "model": "a" })).await;
    let b = model(&rig, &owner, &id, json!({ "model": "b" })).await;
    let path = format!("/api/models/{b}");
    send(&rig, &owner, "PUT", &path, json!({ "default": true })).await;
    let listed = rig.get(&owner, "/api/models").await.json();
    let defaults: Vec<_> = listed["models"].as_array().unwrap().iter().collect();
    let defaults: Vec<_> = defaults
        .into_iter()
        .filter(|model| model["is_default"] == true)
        .map(|model| &model["model"])
        .collect();
    assert_eq!(defaults, ["b"]);
    let twice = json!({ "provider_id": "home", "model": "a" });
    let refused = send(&rig, &owner, "POST", "/api/models", twice).await;
    assert_eq!(refused.code(), "exists");
    let disabled = json!({ "default": true, "enabled": false });
    assert_eq!(
        send(&rig, &owner, "PUT", &path, disabled).await.code(),
        "disabled"
    );
    let provider = format!("/api/providers/{id}");
    send(&rig, &owner, "PUT", &provider, json!({ "enabled": false })).await;
    let catalog = rig.get(&owner, "/api/models/catalog").await.json();
    assert_eq!(catalog["models"], json!([]));
    assert_eq!(ask(&rig, &owner, "s").await.1, "built-in");
    send(&rig, &owner, "DELETE", &provider, json!({})).await;
    assert_eq!(
        rig.get(&owner, "/api/models").await.json()["models"],
        json!([])
    );
    let rig = rig.restart_with(|_| {}).await;
    assert_eq!(
        rig.get(&owner, "/api/providers").await.json()["providers"],
        json!([])
    );
}

#[tokio::test]
async fn what_providers_offer_is_told_for_each_and_one_that_fails_hides_no_other() {
    let rig = Rig::start().await;
    let good = Fake::always(openai::models(&["models/x", "y"])).await;
    let bad = Fake::always(openai::error(401, "", "no")).await;
    let owner = rig.network.owner();
    provider(&rig, &owner, "a-bad", &bad).await;
    provider(&rig, &owner, "b-good", &good).await;
    let available = rig.get(&owner, "/api/models/available").await.json();
    let providers = &available["providers"];
    assert_eq!(providers[0]["error"]["code"], "provider_unauthorized");
    assert_eq!(providers[1]["models"], json!(["x", "y"]));
}

#[tokio::test]
async fn clients_see_models_and_never_providers_and_change_nothing() {
    let rig = Rig::start().await;
    let fake = Fake::always(openai::answer(&["yes"])).await;
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &fake).await;
    model(&rig, &owner, &id, json!({ "model": "a" })).await;
    let client = rig.network.device("owner", Role::Client, EVERY_SCOPE);
    let listed = rig.get(&client, "/api/models").await;
    assert_eq!(listed.json()["models"][0]["label"], "home/a");
    assert!(!listed.json().to_string().contains(&fake.base_url()));
    assert_eq!(
        rig.get(&client, "/api/providers").await.status,
        StatusCode::FORBIDDEN
    );
    let body = json!({ "profile": "ollama" });
    let refused = send(&rig, &client, "POST", "/api/providers", body).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_change_is_told_to_whoever_follows() {
    let rig = Rig::start().await;
    let fake = Fake::always(openai::answer(&["yes"])).await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.send(json!({ "type": "ping" })).await;
    ws.wait_for("pong").await;
    let id = provider(&rig, &owner, "home", &fake).await;
    let event = ws.wait_for("resource_event").await;
    assert_eq!(
        (&event["resource"], &event["action"]),
        (&json!("provider"), &json!("created"))
    );
    assert_eq!(event["id"], id.as_str());
    let model = model(&rig, &owner, &id, json!({ "model": "a" })).await;
    assert_eq!(ws.wait_for("resource_event").await["id"], model.as_str());
    send(
        &rig,
        &owner,
        "DELETE",
        &format!("/api/models/{model}"),
        json!({}),
    )
    .await;
    assert_eq!(ws.wait_for("resource_event").await["action"], "deleted");
}

#[tokio::test]
async fn a_host_that_has_lost_its_key_file_says_so_and_a_new_key_mends_it() {
    let rig = Rig::start().await;
    let fake = Fake::always(openai::answer(&["yes"])).await;
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &fake).await;
    model(&rig, &owner, &id, json!({ "model": "a" })).await;
    std::fs::remove_file(rig.folder().join("secrets.key")).unwrap();
    let rig = rig.restart_with(|_| {}).await;
    assert_eq!(
        rig.get(&owner, "/api/providers").await.json()["providers"][0]["usable"],
        false
    );
    let (_, _, complete) = ask(&rig, &owner, "s").await;
    assert_eq!(complete["reason"], "failed");
    let path = format!("/api/providers/{id}/test");
    let tested = send(&rig, &owner, "POST", &path, json!({})).await.json();
    assert_eq!(tested["error"]["code"], "provider_no_key");
    let mended = json!({ "api_key": KEY });
    send(&rig, &owner, "PUT", &format!("/api/providers/{id}"), mended).await;
    assert_eq!(ask(&rig, &owner, "s").await.0, "yes");
}
