//! `homing models`: which models may answer, and which of them does.

use http::Method;
use serde_json::{Value, json};

use super::providers::{entries, word};
use crate::agent_api::AgentApi;
use crate::args::{AddModelArgs, ModelsArgs, ModelsCommand};
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::{Output, table};

pub(super) async fn run(dir: &DataDir, args: ModelsArgs, output: Output) -> anyhow::Result<()> {
    let api = AgentApi::open(dir, args.agent.as_deref()).await?;
    let done = match args.command {
        None => list(&api, output).await,
        Some(ModelsCommand::Add(args)) => add(&api, args, output).await,
        Some(ModelsCommand::Available) => available(&api, output).await,
        Some(ModelsCommand::Remove { model }) => remove(&api, &model, output).await,
        Some(ModelsCommand::Enable { model }) => {
            change(&api, &model, json!({ "enabled": true }), output).await
        }
        Some(ModelsCommand::Disable { model }) => {
            change(&api, &model, json!({ "enabled": false }), output).await
        }
        Some(ModelsCommand::Default { model }) => {
            change(&api, &model, json!({ "default": true }), output).await
        }
    };
    api.close().await;
    done
}

async fn list(api: &AgentApi, output: Output) -> anyhow::Result<()> {
    let document = api.get("/api/models").await?;
    output.result(&document, || {
        let rows: Vec<Vec<String>> = entries(&document, "models").map(row).collect();
        if rows.is_empty() {
            return "No model is configured; the built-in assistant answers.\n\n  \
                homing models available\n  homing models add <provider> <model>"
                .to_owned();
        }
        table(
            &["MODEL", "CONTEXT", "PRICE IN/OUT", "FALLBACK", "STATUS"],
            &rows,
        )
    });
    Ok(())
}

fn row(model: &Value) -> Vec<String> {
    let price = |key: &str| model[key].as_f64().map(|dollars| format!("${dollars}"));
    let price = match (
        price("input_cost_per_million"),
        price("output_cost_per_million"),
    ) {
        (Some(input), Some(output)) => format!("{input} / {output}"),
        _ => "not known".to_owned(),
    };
    let number = |key: &str| {
        let number = model[key].as_u64();
        number.map_or_else(|| "-".to_owned(), |number| number.to_string())
    };
    vec![
        word(model, "label").to_owned(),
        number("context_tokens"),
        price,
        number("rank"),
        status(model).to_owned(),
    ]
}

fn status(model: &Value) -> &'static str {
    match (model["active"] == true, model["is_default"] == true) {
        (true, true) => "default",
        (true, false) => "enabled",
        (false, _) => "disabled",
    }
}

async fn add(api: &AgentApi, args: AddModelArgs, output: Output) -> anyhow::Result<()> {
    let mut body = json!({ "provider_id": args.provider, "model": args.model });
    let numbers = [
        ("context_tokens", args.context),
        ("max_output_tokens", args.max_output),
        ("rank", args.fallback),
    ];
    for (field, number) in numbers {
        if let Some(number) = number {
            body[field] = json!(number);
        }
    }
    if let (Some(input), Some(output)) = (args.price_input, args.price_output) {
        body["price"] = json!({ "input": input, "output": output });
    }
    if let Some(images) = args.images {
        body["images"] = json!(images);
    }
    if args.default {
        body["default"] = json!(true);
    }
    let added = api.send(Method::POST, "/api/models", Some(&body)).await;
    let added = added.map_err(|error| unknown_provider(error, &args.provider))?;
    say(&added, output);
    Ok(())
}

fn unknown_provider(error: anyhow::Error, provider: &str) -> anyhow::Error {
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.0.code == "not_found" => Failure::new(
            "unknown_provider",
            format!("there is no provider called {provider}"),
            "homing providers lists them, homing providers add adds one",
        )
        .into(),
        _ => error,
    }
}

async fn available(api: &AgentApi, output: Output) -> anyhow::Result<()> {
    let document = api.get("/api/models/available").await?;
    output.result(&document, || {
        let mut lines = Vec::new();
        for provider in entries(&document, "providers") {
            let name = word(provider, "provider_name");
            match provider.get("error") {
                Some(error) => lines.push(format!("{name}: {}", word(error, "message"))),
                None => lines.extend(
                    entries(provider, "models")
                        .filter_map(Value::as_str)
                        .map(|model| format!("{name}/{model}")),
                ),
            }
        }
        match lines.is_empty() {
            true => "No provider is enabled: homing providers add".to_owned(),
            false => lines.join("\n"),
        }
    });
    Ok(())
}

async fn remove(api: &AgentApi, model: &str, output: Output) -> anyhow::Result<()> {
    let id = find(api, model).await?;
    let path = format!("/api/models/{id}");
    let removed = api.send(Method::DELETE, &path, None).await?;
    output.result(&removed, || format!("{model} is removed."));
    Ok(())
}

async fn change(api: &AgentApi, model: &str, body: Value, output: Output) -> anyhow::Result<()> {
    let id = find(api, model).await?;
    let path = format!("/api/models/{id}");
    let changed = api.send(Method::PUT, &path, Some(&body)).await?;
    say(&changed, output);
    Ok(())
}

fn say(model: &Value, output: Output) {
    output.result(model, || {
        let label = output.bold(word(model, "label"));
        match status(model) {
            "default" => format!("{label} answers where nothing else is said."),
            status => format!("{label} is {status}."),
        }
    });
}

/// The id of a model by `<provider>/<model>`, by the model's name alone when only one has it, or by id.
async fn find(api: &AgentApi, model: &str) -> anyhow::Result<String> {
    let document = api.get("/api/models").await?;
    let by = |key: &str| -> Vec<&str> {
        entries(&document, "models")
            .filter(|one| word(one, key) == model)
            .map(|one| word(one, "id"))
            .collect()
    };
    let exact = [by("label"), by("id")].concat();
    let found = if exact.is_empty() { by("model") } else { exact };
    match found[..] {
        [id] => Ok(id.to_owned()),
        [] => Err(Failure::new(
            "unknown_model",
            format!("there is no model called {model}"),
            "homing models lists them",
        )
        .into()),
        _ => Err(Failure::new(
            "several_models",
            format!("several providers have a model called {model}"),
            "say <provider>/<model>",
        )
        .into()),
    }
}
