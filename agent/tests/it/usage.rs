//! Budgets and reports of what models used.

use std::sync::Arc;

use futures_util::future::join_all;
use homing_agent::budgets::{BudgetError, Cap, Caps, Estimate};
use homing_agent::models::{Choice, Models, Price};
use homing_agent::store::Payer;
use homing_agent::turn::Tokens;
use homing_certs::Role;
use serde_json::json;

use crate::network::Device;
use crate::rig::Rig;
use crate::scripted::{Script, says};

/// A dollar for a million tokens, so that a token costs a millionth.
const PRICE: Price = Price {
    input: 1_000_000,
    cached: 1_000_000,
    output: 1_000_000,
};

fn payer(device: &Arc<Device>, session: &str) -> Payer {
    Payer {
        user: device.user(),
        device: device.id(),
        session: session.to_owned(),
    }
}

fn estimate(model: &str, price: Option<Price>, output: u64) -> Estimate {
    Estimate {
        model: model.to_owned(),
        price,
        input: 10,
        output,
    }
}

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens {
        input,
        cached: 0,
        output,
    }
}

#[tokio::test]
async fn what_a_call_used_takes_the_place_of_what_was_set_aside() {
    let rig = Rig::start_with(|settings| settings.caps.month = Some(1_000)).await;
    let owner = rig.network.owner();
    let (budgets, payer) = (&rig.state.budgets, payer(&owner, "s"));
    let first = budgets
        .reserve(&payer, &estimate("a/b", Some(PRICE), 600))
        .await
        .unwrap();
    let second = budgets
        .reserve(&payer, &estimate("a/b", Some(PRICE), 600))
        .await;
    assert!(matches!(
        second.unwrap_err(),
        BudgetError::Exceeded {
            cap: Cap::Month,
            limit: 1_000,
            spent: 610,
            wanted: 610
        }
    ));
    budgets.settle(first, tokens(10, 90)).await.unwrap();
    let third = budgets
        .reserve(&payer, &estimate("a/b", Some(PRICE), 600))
        .await
        .unwrap();
    budgets.release(third).await.unwrap();

    let report = rig.get(&owner, "/api/usage").await.json();
    assert_eq!(report["of"], "agent");
    assert_eq!(report["monthly_spend_micro_usd"], 100);
    assert_eq!(report["monthly_budget"], json!(0.001));
    assert_eq!(report["remaining"], json!(0.0009));
    assert_eq!(report["by_model"][0]["model"], "a/b");
    assert_eq!(report["by_model"][0]["request_count"], 1);
    let daily = rig.get(&owner, "/api/usage/daily?days=2").await.json();
    assert_eq!(daily["entries"][0]["output_tokens"], 90);
    assert_eq!(daily["entries"].as_array().unwrap().len(), 1);
    let refused = rig.get(&owner, "/api/usage/daily?days=0").await;
    assert_eq!(refused.code(), "bad_range");
}

#[tokio::test]
async fn calls_beside_each_other_do_not_pass_a_cap_together() {
    let rig = Rig::start_with(|settings| settings.caps.day = Some(1_000)).await;
    let owner = rig.network.owner();
    let payer = payer(&owner, "s");
    let wish = estimate("a/b", Some(PRICE), 90);
    let all = (0..40).map(|_| rig.state.budgets.reserve(&payer, &wish));
    let granted: Vec<_> = join_all(all).await.into_iter().flatten().collect();
    assert_eq!(granted.len(), 10);
    for reservation in granted {
        rig.state
            .budgets
            .settle(reservation, tokens(10, 90))
            .await
            .unwrap();
    }
    let more = rig.state.budgets.reserve(&payer, &wish).await;
    let text = more.unwrap_err().to_string();
    assert!(text.contains("today") && text.contains("$0.001"), "{text}");
}

#[tokio::test]
async fn a_call_that_the_process_did_not_survive_counts_in_full() {
    let rig = Rig::start_with(|settings| settings.caps.session = Some(1_000)).await;
    let owner = rig.network.owner();
    let payer = payer(&owner, "s");
    let held = rig
        .state
        .budgets
        .reserve(&payer, &estimate("a/b", Some(PRICE), 690))
        .await
        .unwrap();
    let after = rig.die_and_restart().await;
    let report = rig_report(&after, &owner).await;
    assert_eq!(report["monthly_spend_micro_usd"], 700);
    rig.state.budgets.release(held).await.unwrap();
    assert_eq!(rig_report(&rig, &owner).await["monthly_spend_micro_usd"], 0);
}

#[tokio::test]
async fn a_model_without_a_price_is_called_unpriced_and_never_free() {
    let caps = Caps {
        tokens_day: Some(100),
        ..Caps::default()
    };
    let rig = Rig::start_with(|settings| settings.caps = caps).await;
    let owner = rig.network.owner();
    let payer = payer(&owner, "s");
    let call = rig
        .state
        .budgets
        .reserve(&payer, &estimate("x/y", None, 40))
        .await
        .unwrap();
    rig.state
        .budgets
        .settle(call, tokens(10, 30))
        .await
        .unwrap();
    let report = rig_report(&rig, &owner).await;
    assert_eq!(report["unpriced_calls"], 1);
    assert_eq!(report["by_model"][0]["cost"], json!(null));
    let more = rig
        .state
        .budgets
        .reserve(&payer, &estimate("x/y", None, 60))
        .await;
    assert!(matches!(
        more.unwrap_err(),
        BudgetError::Exceeded {
            cap: Cap::TokensDay,
            ..
        }
    ));
}

#[tokio::test]
async fn everybody_sees_the_own_part_and_an_admin_all_of_it() {
    let rig = Rig::start().await;
    let (owner, ann) = (
        rig.network.owner(),
        rig.network.device("ann", Role::Client, &["chat"]),
    );
    for device in [&owner, &ann] {
        let call = rig
            .state
            .budgets
            .reserve(&payer(device, "s"), &estimate("a/b", Some(PRICE), 10))
            .await
            .unwrap();
        rig.state.budgets.settle(call, tokens(1, 1)).await.unwrap();
    }
    assert_eq!(rig_report(&rig, &owner).await["monthly_spend_micro_usd"], 4);
    let own = rig_report(&rig, &ann).await;
    assert_eq!(own["monthly_spend_micro_usd"], 2);
    assert_eq!(
        (&own["of"], &own["remaining"]),
        (&json!("user"), &json!(null))
    );
}

async fn rig_report(rig: &Rig, device: &Arc<Device>) -> serde_json::Value {
    rig.get(device, "/api/usage").await.json()
}

/// The script as a model that costs something.
fn priced(script: &Arc<Script>) -> Models {
    Models::fixed(vec![Choice {
        provider: script.clone(),
        model: "script".into(),
        label: "some/script".into(),
        context_tokens: 100_000,
        max_output_tokens: 10_000,
        images: false,
        price: Some(PRICE),
    }])
}

async fn agent(script: &Arc<Script>, caps: Caps) -> Rig {
    let models = priced(script);
    Rig::start_with(|settings| {
        settings.models = Some(models);
        settings.caps = caps;
    })
    .await
}

#[tokio::test]
async fn a_turn_says_what_it_cost_and_the_report_agrees() {
    let rig = agent(&Script::new(vec![says("hello")]), Caps::default()).await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say("s", "hi").await;
    let end = ws.wait_for("turn_complete").await;
    assert_eq!(end["usage"]["cost_micro_usd"], 2);
    let report = rig_report(&rig, &owner).await;
    assert_eq!(report["monthly_spend_micro_usd"], 2);
    assert_eq!(report["by_model"][0]["model"], "some/script");
}

#[tokio::test]
async fn a_call_that_could_pass_a_cap_is_not_made_and_the_person_is_told_which() {
    let script = Script::new(vec![says("hello")]);
    let caps = Caps {
        day: Some(900),
        ..Caps::default()
    };
    let rig = agent(&script, caps).await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say("s", "hi").await;
    let error = ws.wait_for("error").await;
    assert!(error["text"].as_str().unwrap().contains("today"), "{error}");
    let end = ws.wait_for("turn_complete").await;
    assert_eq!(end["reason"], "over_budget");
    assert_eq!(script.asked(), 0);
    assert_eq!(rig_report(&rig, &owner).await["monthly_spend_micro_usd"], 0);
}

#[tokio::test]
async fn an_interrupted_call_costs_what_it_read_and_gives_the_rest_back() {
    let script = Script::new(vec![]);
    let caps = Caps {
        day: Some(25_000),
        ..Caps::default()
    };
    let rig = agent(&script, caps).await;
    let owner = rig.network.owner();
    // It may use few tools, so what the model reads is less than what is set aside for its answer.
    let device = rig.network.device("ann", Role::Client, &["chat"]);
    let mut ws = rig.ws(&device).await;
    for _ in 0..3 {
        ws.say("s", "hi").await;
        ws.wait_for("status").await;
        ws.send(json!({"type": "interrupt", "session_id": "s"}))
            .await;
        let end = ws.wait_for("turn_complete").await;
        assert_eq!(end["reason"], "interrupted", "{end}");
    }
    let spent = rig_report(&rig, &owner).await["monthly_spend_micro_usd"].clone();
    let each_set_aside = 10_000;
    assert!(
        (1..each_set_aside).contains(&spent.as_u64().unwrap()),
        "{spent}"
    );
}
