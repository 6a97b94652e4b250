//! The driver with providers and tools that behave badly.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};

use homing_agent::approvals::{Approvals, Origin};
use homing_agent::attachments::Attachments;
use homing_agent::audit::Audit;
use homing_agent::budgets::{Budgets, Caps};
use homing_agent::config::Sizes;
use homing_agent::confine::Confinement;
use homing_agent::feed::Feeds;
use homing_agent::files::Files;
use homing_agent::hooks::{HookParts, Hooks};
use homing_agent::models::{Choice, Models};
use homing_agent::prompt::{ContextSettings, Prompts};
use homing_agent::providers::{ModelEvent, ModelRequest, Provider, ProviderError, ToolSpec};
use homing_agent::sessions::{Logs, Message, Sessions, Speaker, Tail};
use homing_agent::store::Store;
use homing_agent::tools::{Tool, ToolError, Tools};
use homing_agent::turn::{EndReason, Said, Tokens, ToolCall};
use homing_agent::turn_driver::{Begin, Engine, ShowFailed, Shown, Sink, drive};
use homing_certs::{NodeId, UserId};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::rig::LIMIT;

/// Says what it was told to say, round by round; after the last round it is silent for ever.
#[derive(Debug)]
struct Script(Mutex<Vec<Vec<Result<ModelEvent, ProviderError>>>>);

impl Provider for Script {
    fn ask(&self, _: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let mut rounds = self.0.lock().unwrap();
        if rounds.is_empty() {
            return stream::pending().boxed();
        }
        stream::iter(rounds.remove(0)).boxed()
    }
}

struct Slow(&'static str, Duration);

impl Tool for Slow {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.0.to_owned(),
            description: String::new(),
            parameters: json!({}),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        None
    }

    fn run(&self, _: Arc<Speaker>, _: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let (name, pause) = (self.0, self.1);
        async move {
            tokio::time::sleep(pause).await;
            Ok(json!(name))
        }
        .boxed()
    }
}

#[derive(Default)]
struct Seen(Mutex<Vec<Shown>>, bool);

impl Sink for Seen {
    fn show(&self, shown: Vec<Shown>) -> BoxFuture<'_, Result<(), ShowFailed>> {
        self.0.lock().unwrap().extend(shown);
        async { if self.1 { Err(ShowFailed) } else { Ok(()) } }.boxed()
    }
}

struct Bench {
    engine: Engine,
    _dir: tempfile::TempDir,
}

fn bench(rounds: Vec<Vec<Result<ModelEvent, ProviderError>>>) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    let tools: Vec<Arc<dyn Tool>> = vec![
        Arc::new(Slow("slow", Duration::from_millis(300))),
        Arc::new(Slow("quick", Duration::ZERO)),
        Arc::new(Slow("stuck", Duration::from_secs(3_600))),
    ];
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    let budgets = Budgets::new(store.clone(), Caps::default());
    let approvals = approvals(store, Feeds::default(), audit.clone());
    let hooks = hooks(dir.path(), audit.clone());
    Bench {
        engine: Engine {
            models: models(Arc::new(Script(Mutex::new(rounds)))),
            tools: Tools::new(tools, hooks.clone(), audit),
            approvals,
            budgets,
            prompts: prompts(dir.path()),
            attachments: attachments(dir.path()),
            hooks,
        },
        _dir: dir,
    }
}

fn prompts(workspace: &std::path::Path) -> Prompts {
    let settings = ContextSettings::default();
    Prompts::new("attic".to_owned(), workspace.to_owned(), settings)
}

fn attachments(dir: &std::path::Path) -> Attachments {
    let files = Files::open(dir, Sizes::default()).unwrap();
    Attachments::new(Arc::new(files), dir.join("workspace"), Feeds::default())
}

fn hooks(workspace: &std::path::Path, audit: Audit) -> Hooks {
    let parts = HookParts {
        own: vec![],
        audit,
        confinement: Confinement::new(workspace.to_owned(), vec![]),
        home: workspace.to_owned(),
        tasks: TaskTracker::new(),
        stopping: CancellationToken::new(),
    };
    Hooks::new(parts, &[])
}

fn approvals(store: Store, feeds: Feeds, audit: Audit) -> Approvals {
    let logs = Logs::new(store.clone(), feeds);
    Approvals::new(store, logs, audit, Duration::from_secs(60))
}

fn models(provider: Arc<dyn Provider>) -> Models {
    Models::fixed(vec![Choice {
        provider,
        model: "script".into(),
        label: "script".into(),
        context_tokens: 100_000,
        max_output_tokens: 0,
        images: false,
        price: None,
    }])
}

/// Runs a turn with whatever the engine has.
async fn turn(engine: &Engine, sink: &Seen, cancel: &CancellationToken) -> homing_agent::turn::End {
    let speaker = speaker();
    let choices = engine.models.choose(speaker.user_id, "s").await.unwrap();
    let begin = Begin::Anew {
        said: vec![Said::User("hello".into())],
        turns: vec![],
    };
    let origin = Origin {
        speaker,
        session: "s".into(),
        turn_id: 1,
    };
    let end = drive(engine, &choices, origin, begin, sink, cancel).await;
    end.unwrap()
}

fn speaker() -> Arc<Speaker> {
    Arc::new(Speaker {
        node_id: NodeId::from([1; 32]),
        user_id: UserId::from([1; 16]),
        handle: "ann".into(),
        role: "client".into(),
        scopes: vec![],
        path: "direct".into(),
    })
}

fn call(name: &str) -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Call(ToolCall {
        id: name.into(),
        name: name.into(),
        arguments: json!({}),
    }))
}

fn text(text: &str) -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Text(text.into()))
}

fn finished() -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Finished(Tokens {
        input: 1,
        cached: 0,
        output: 1,
    }))
}

async fn run(bench: &Bench, sink: &Seen, cancel: &CancellationToken) -> homing_agent::turn::End {
    tokio::time::timeout(LIMIT, turn(&bench.engine, sink, cancel))
        .await
        .unwrap()
}

#[tokio::test]
async fn tools_of_one_round_run_beside_each_other() {
    let bench = bench(vec![
        vec![call("slow"), call("quick"), finished()],
        vec![text("done"), finished()],
    ]);
    let sink = Seen::default();
    let end = run(&bench, &sink, &CancellationToken::new()).await;
    assert_eq!((end.reason, end.text.as_str()), (EndReason::Done, "done"));
    let order: Vec<String> = sink
        .0
        .lock()
        .unwrap()
        .iter()
        .filter_map(|shown| match shown {
            Shown::Outcome(outcome) => Some(outcome.name.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["quick", "slow"]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_the_turn_with_what_came() {
    let bench = bench(vec![vec![text("half")]]);
    let end = run(&bench, &Seen::default(), &CancellationToken::new()).await;
    assert_eq!(end.text, "half");
    assert_eq!(
        end.reason,
        EndReason::Failed(ProviderError::BrokenOff.to_string())
    );
}

#[tokio::test]
async fn an_unknown_tool_is_told_to_the_model_and_the_turn_goes_on() {
    let bench = bench(vec![
        vec![call("nonsense"), finished()],
        vec![text("sorry"), finished()],
    ]);
    let sink = Seen::default();
    let end = run(&bench, &sink, &CancellationToken::new()).await;
    assert_eq!(end.reason, EndReason::Done);
    let refused = sink
        .0
        .lock()
        .unwrap()
        .iter()
        .any(|shown| matches!(shown, Shown::Outcome(outcome) if outcome.result.is_err()));
    assert!(refused);
}

#[tokio::test]
async fn an_interrupt_reaches_a_silent_model_and_a_stuck_tool() {
    for rounds in [vec![], vec![vec![call("stuck"), finished()]]] {
        let bench = bench(rounds);
        let cancel = CancellationToken::new();
        let sink = Seen::default();
        let (end, ()) = tokio::join!(run(&bench, &sink, &cancel), async { cancel.cancel() });
        assert_eq!(end.reason, EndReason::Interrupted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_model_and_a_stuck_tool_are_given_up_in_time() {
    let cancel = CancellationToken::new();
    let silent = bench(vec![]);
    let end = turn(&silent.engine, &Seen::default(), &cancel).await;
    assert_eq!(
        end.reason,
        EndReason::Failed(ProviderError::Silent(600).to_string())
    );
    let stuck = bench(vec![
        vec![call("stuck"), finished()],
        vec![text("without it"), finished()],
    ]);
    let end = turn(&stuck.engine, &Seen::default(), &cancel).await;
    assert_eq!(
        (end.reason, end.text.as_str()),
        (EndReason::Done, "without it")
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_ends_the_turn() {
    let bench = bench(vec![vec![text("lost"), finished()]]);
    let end = run(
        &bench,
        &Seen(Mutex::default(), true),
        &CancellationToken::new(),
    )
    .await;
    assert_eq!(end.reason, EndReason::Failed(ShowFailed.to_string()));
}

/// Panics at its first question, answers the second.
#[derive(Debug, Default)]
struct Fragile(std::sync::atomic::AtomicBool);

impl Provider for Fragile {
    fn ask(&self, _: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        assert!(
            self.0.swap(true, std::sync::atomic::Ordering::Relaxed),
            "on purpose"
        );
        stream::iter(vec![text("well"), finished()]).boxed()
    }
}

#[tokio::test]
async fn a_turn_that_panics_ends_as_failed_and_the_next_one_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    let hooks = hooks(dir.path(), audit.clone());
    let tools = Tools::new(vec![], hooks.clone(), audit.clone());
    let feeds = Feeds::default();
    let engine = Engine {
        models: models(Arc::new(Fragile::default())),
        tools,
        approvals: approvals(store.clone(), feeds.clone(), audit.clone()),
        budgets: Budgets::new(store.clone(), Caps::default()),
        prompts: prompts(dir.path()),
        attachments: attachments(dir.path()),
        hooks,
    };
    let (sessions, actor) = Sessions::new(store, feeds, audit, engine);
    let stop = CancellationToken::new();
    let running = tokio::spawn(actor.run(stop.clone()));
    let message = |text: &str| Message {
        text: text.into(),
        attachments: vec![],
        client_msg_id: None,
    };
    sessions.say(speaker(), "s", message("one")).await.unwrap();
    sessions.say(speaker(), "s", message("two")).await.unwrap();
    let mut follow = sessions
        .follow(speaker().user_id, "s", Some(1))
        .await
        .unwrap();
    let mut reasons = vec![];
    let read = async {
        while reasons.len() < 2 {
            let Tail::Events(events) = follow.log.after(follow.cursor).await.unwrap() else {
                panic!()
            };
            if events.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for event in events {
                follow.cursor = event.seq;
                let body: Value = serde_json::from_str(&event.body).unwrap();
                reasons.extend(body["reason"].as_str().map(str::to_owned));
            }
        }
    };
    tokio::time::timeout(LIMIT, read).await.unwrap();
    assert_eq!(reasons, ["failed", "done"]);
    stop.cancel();
    tokio::time::timeout(LIMIT, running).await.unwrap().unwrap();
}
