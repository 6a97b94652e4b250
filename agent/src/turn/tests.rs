//! The machine without a model, a tool or a runtime.

use proptest::prelude::*;
use serde_json::json;

use super::*;

mod silence;

const ROOM: usize = 1_000;

fn call(id: &str) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        name: "system".to_owned(),
        arguments: json!({}),
    }
}

fn outcome(id: &str) -> ToolOutcome {
    ToolOutcome {
        id: id.to_owned(),
        name: "system".to_owned(),
        result: Ok(json!(id)),
    }
}

fn finished() -> Event {
    Event::Finished {
        tokens: Tokens {
            input: 3,
            cached: 1,
            output: 2,
        },
        cost: Some(7),
    }
}

fn compacted() -> Event {
    Event::Compacted {
        said: vec![Said::User("short".into())],
        usage: Usage::default(),
    }
}

fn decided(id: &str, verdict: Verdict) -> Event {
    Event::Decided {
        id: id.to_owned(),
        verdict,
    }
}

fn asked(approval: i64) -> Verdict {
    Verdict::Ask { approval }
}

/// With two models.
fn begun() -> Turn {
    let mut turn = Turn::new();
    let said = vec![Said::User("hello".into())];
    let begin = Event::Begin {
        said: said.clone(),
        rooms: vec![ROOM, ROOM],
    };
    assert_eq!(turn.handle(begin), [Effect::CallModel { said, choice: 0 }]);
    turn
}

/// The model has asked for these tools; the policy has not spoken yet.
fn asking(ids: &[&str]) -> Turn {
    let mut turn = begun();
    for id in ids {
        turn.handle(Event::Call(call(id)));
    }
    let effects = turn.handle(finished());
    let decides = ids
        .iter()
        .flat_map(|id| [Effect::ShowCall(call(id)), Effect::Decide(call(id))]);
    assert_eq!(effects, decides.collect::<Vec<_>>());
    turn
}

fn end_of(effects: &[Effect]) -> &End {
    let Some(Effect::End(end)) = effects.last() else {
        panic!("no end in {effects:?}")
    };
    end
}

fn said_to_model(effects: &[Effect]) -> &[Said] {
    let Some(Effect::CallModel { said, .. }) = effects.last() else {
        panic!("the model is not asked: {effects:?}")
    };
    said
}

/// As it comes back from the disk.
fn restarted(turn: &Turn) -> Turn {
    serde_json::from_str(&serde_json::to_string(turn).unwrap()).unwrap()
}

#[test]
fn text_is_shown_as_it_comes_and_the_end_carries_all_of_it_and_its_cost() {
    let mut turn = begun();
    assert_eq!(
        turn.handle(Event::Text("good ".into())),
        [Effect::ShowText("good ".into())]
    );
    turn.handle(Event::Text("day".into()));
    let effects = turn.handle(finished());
    let end = end_of(&effects);
    assert_eq!(
        (end.reason.clone(), end.text.as_str()),
        (EndReason::Done, "good day")
    );
    let expected = Usage {
        input_tokens: 3,
        cached_tokens: 1,
        output_tokens: 2,
        cost_micro_usd: 7,
        model_calls: 1,
        ..Usage::default()
    };
    assert_eq!(end.usage, expected);
    assert!(turn.ended());
}

#[test]
fn tools_run_beside_each_other_and_the_model_sees_their_outcomes_in_its_own_order() {
    let mut turn = asking(&["a", "b"]);
    for id in ["a", "b"] {
        let run = Effect::RunTool {
            call: call(id),
            approval: None,
        };
        assert_eq!(turn.handle(decided(id, Verdict::Run)), [run]);
    }
    assert_eq!(
        turn.handle(Event::ToolDone(outcome("b"))),
        [Effect::ShowOutcome(outcome("b"))]
    );
    let effects = turn.handle(Event::ToolDone(outcome("a")));
    assert_eq!(
        said_to_model(&effects)[2..],
        [Said::Tool(outcome("a")), Said::Tool(outcome("b"))]
    );
}

#[test]
fn a_tool_that_fails_or_is_refused_is_told_to_the_model_and_the_turn_goes_on() {
    let mut turn = asking(&["a", "b"]);
    turn.handle(decided("a", Verdict::Refuse("not here".into())));
    turn.handle(decided("b", Verdict::Run));
    let failed = ToolOutcome {
        result: Err("it broke".into()),
        ..outcome("b")
    };
    let effects = turn.handle(Event::ToolDone(failed.clone()));
    let refused = ToolOutcome {
        result: Err("not here".into()),
        ..outcome("a")
    };
    assert_eq!(
        said_to_model(&effects)[2..],
        [Said::Tool(refused), Said::Tool(failed)]
    );
}

#[test]
fn an_interrupt_stops_everything_in_every_state_and_late_news_changes_nothing() {
    let mut compacting = begun();
    compacting.handle(Event::ContextTooLong("too long".into()));
    let mut waiting = asking(&["a"]);
    waiting.handle(decided("a", asked(5)));
    let mut running = asking(&["a"]);
    running.handle(decided("a", Verdict::Run));
    for mut turn in [
        Turn::new(),
        begun(),
        compacting,
        asking(&["a"]),
        waiting,
        running,
    ] {
        let effects = turn.handle(Event::Interrupt);
        assert_eq!(effects[0], Effect::StopAll);
        assert_eq!(end_of(&effects).reason, EndReason::Interrupted);
        for late in [
            Event::ToolDone(outcome("a")),
            Event::Approved { approval: 5 },
            decided("a", Verdict::Run),
            Event::Text("late".into()),
            Event::Interrupt,
        ] {
            assert!(turn.handle(late).is_empty());
        }
    }
}

#[test]
fn a_tool_that_answers_twice_counts_once_and_an_unknown_one_not_at_all() {
    let mut turn = asking(&["a", "b"]);
    turn.handle(decided("a", Verdict::Run));
    turn.handle(Event::ToolDone(outcome("a")));
    assert!(turn.handle(Event::ToolDone(outcome("a"))).is_empty());
    assert!(
        turn.handle(Event::ToolDone(outcome("b"))).is_empty(),
        "not permitted yet"
    );
    assert!(turn.handle(Event::ToolDone(outcome("zzz"))).is_empty());
    assert!(!turn.ended());
}

#[test]
fn a_model_that_fails_before_it_spoke_is_followed_by_the_next_and_the_last_ends_the_turn() {
    let mut turn = begun();
    let effects = turn.handle(Event::ModelFailed("down".into()));
    assert_eq!(effects[0], Effect::ShowStatus("fallback"));
    assert!(matches!(effects[1], Effect::CallModel { choice: 1, .. }));
    let effects = turn.handle(Event::ModelFailed("down too".into()));
    assert_eq!(
        end_of(&effects).reason,
        EndReason::Failed("down too".into())
    );
    assert_eq!(end_of(&effects).choice, 1);
}

#[test]
fn a_model_that_fails_in_the_middle_of_its_words_ends_the_turn_with_what_came() {
    let mut turn = begun();
    turn.handle(Event::Text("half".into()));
    let effects = turn.handle(Event::ModelFailed("the line broke".into()));
    assert_eq!(
        end_of(&effects).reason,
        EndReason::Failed("the line broke".into())
    );
    assert_eq!(end_of(&effects).text, "half");
}

#[test]
fn a_budget_that_is_used_up_ends_the_turn_and_says_so() {
    let mut turn = begun();
    let effects = turn.handle(Event::OverBudget("1 dollar a day is used up".into()));
    assert_eq!(
        end_of(&effects).reason,
        EndReason::OverBudget("1 dollar a day is used up".into())
    );
}

#[test]
fn what_needs_an_approval_waits_on_the_disk_and_runs_under_it() {
    let mut turn = asking(&["a", "b"]);
    turn.handle(decided("b", Verdict::Run));
    assert_eq!(
        turn.handle(decided("a", asked(5))),
        [Effect::Keep, Effect::AwaitApproval(5)]
    );
    assert!(turn.handle(Event::Approved { approval: 6 }).is_empty());
    assert_eq!(
        turn.handle(Event::ToolDone(outcome("b"))),
        [Effect::ShowOutcome(outcome("b")), Effect::Keep]
    );
    let run = Effect::RunTool {
        call: call("a"),
        approval: Some(5),
    };
    assert_eq!(
        turn.handle(Event::Approved { approval: 5 }),
        [Effect::Keep, run]
    );
    assert!(
        turn.handle(Event::Approved { approval: 5 }).is_empty(),
        "once"
    );
    let effects = turn.handle(Event::ToolDone(outcome("a")));
    assert_eq!(said_to_model(&effects).len(), 4);
}

#[test]
fn what_is_denied_is_told_to_the_model() {
    let mut turn = asking(&["a"]);
    turn.handle(decided("a", asked(5)));
    let why = "ann denied it".to_owned();
    let effects = turn.handle(Event::Denied {
        approval: 5,
        why: why.clone(),
    });
    let denied = ToolOutcome {
        result: Err(why),
        ..outcome("a")
    };
    assert_eq!(said_to_model(&effects).last(), Some(&Said::Tool(denied)));
}

#[test]
fn an_approval_that_was_pending_outlives_a_restart_and_what_ran_is_not_run_again() {
    let mut turn = asking(&["a", "b", "c", "d"]);
    turn.handle(decided("a", asked(5)));
    turn.handle(decided("b", Verdict::Run));
    turn.handle(decided("c", Verdict::Run));
    turn.handle(Event::ToolDone(outcome("c")));
    let mut turn = restarted(&turn);
    let effects = turn.handle(Event::Resume);
    assert_eq!(effects[0], Effect::AwaitApproval(5));
    assert!(
        matches!(&effects[1], Effect::ShowOutcome(lost) if lost.id == "b" && lost.result.is_err())
    );
    assert_eq!(effects[2..], [Effect::Decide(call("d"))]);
    turn.handle(decided("d", Verdict::Refuse("no".into())));
    turn.handle(Event::Approved { approval: 5 });
    let effects = turn.handle(Event::ToolDone(outcome("a")));
    let ids: Vec<&str> = said_to_model(&effects)[2..]
        .iter()
        .map(|said| match said {
            Said::Tool(outcome) => outcome.id.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
}

#[test]
fn what_ran_under_an_approval_when_the_process_died_is_asked_of_the_approval_again() {
    let mut turn = asking(&["a"]);
    turn.handle(decided("a", asked(5)));
    turn.handle(Event::Approved { approval: 5 });
    assert!(!turn.waits_for_approval());
    assert!(turn.outlives_restart());
    let mut turn = restarted(&turn);
    assert_eq!(turn.handle(Event::Resume), [Effect::AwaitApproval(5)]);
    let effects = turn.handle(Event::Denied {
        approval: 5,
        why: "it was used".into(),
    });
    assert!(
        matches!(said_to_model(&effects).last(), Some(Said::Tool(lost)) if lost.result.is_err())
    );
    assert_eq!(effects[1], Effect::Keep);
    assert!(!turn.outlives_restart());
}

#[test]
fn a_turn_that_waited_for_nobody_ends_with_a_restart() {
    let mut running = asking(&["a"]);
    running.handle(decided("a", Verdict::Run));
    for turn in [begun(), asking(&["a"]), running] {
        let effects = restarted(&turn).handle(Event::Resume);
        assert!(matches!(end_of(&effects).reason, EndReason::Failed(_)));
    }
}

#[test]
fn a_conversation_that_is_too_long_is_told_shorter_in_the_middle_of_a_turn() {
    let mut turn = asking(&["a"]);
    turn.handle(decided("a", Verdict::Run));
    let long = ToolOutcome {
        result: Ok(json!("x".repeat(2 * ROOM))),
        ..outcome("a")
    };
    let effects = turn.handle(Event::ToolDone(long));
    let Some(Effect::Compact { room, .. }) = effects.last() else {
        panic!("{effects:?}")
    };
    assert_eq!(*room, ROOM);
    let shorter = vec![Said::User("what was said, in short".into())];
    let spent = Usage {
        input_tokens: 10,
        model_calls: 2,
        ..Usage::default()
    };
    let effects = turn.handle(Event::Compacted {
        said: shorter.clone(),
        usage: spent,
    });
    assert_eq!(said_to_model(&effects), shorter);
    turn.handle(Event::Text("done".into()));
    let effects = turn.handle(finished());
    let end = end_of(&effects);
    assert_eq!(end.reason, EndReason::Done);
    assert_eq!((end.usage.model_calls, end.usage.input_tokens), (4, 16));
}

#[test]
fn a_conversation_that_never_fits_ends_the_turn_instead_of_going_in_circles() {
    let mut turn = begun();
    for _ in 0..MAX_COMPACTIONS {
        let effects = turn.handle(Event::ContextTooLong("too long".into()));
        assert!(matches!(effects.last(), Some(Effect::Compact { .. })));
        turn.handle(compacted());
    }
    let effects = turn.handle(Event::ContextTooLong("too long".into()));
    assert_eq!(
        end_of(&effects).reason,
        EndReason::Failed("too long".into())
    );
}

#[test]
fn a_model_that_only_asks_for_tools_is_stopped_after_the_last_round() {
    let mut turn = begun();
    for round in 0..MAX_ROUNDS {
        turn.handle(Event::Call(call("a")));
        turn.handle(finished());
        turn.handle(decided("a", Verdict::Run));
        let effects = turn.handle(Event::ToolDone(outcome("a")));
        if round + 1 < MAX_ROUNDS {
            said_to_model(&effects);
        } else {
            assert!(matches!(end_of(&effects).reason, EndReason::Failed(_)));
        }
    }
    assert!(turn.ended());
}

#[test]
fn one_call_over_the_limit_two_equal_ids_and_one_byte_too_many_are_refused() {
    let fails = |turn: &mut Turn, event| {
        let effects = turn.handle(event);
        assert!(matches!(end_of(&effects).reason, EndReason::Failed(_)));
    };
    let mut turn = begun();
    for number in 0..MAX_CALLS {
        let id = number.to_string();
        assert!(turn.handle(Event::Call(call(&id))).is_empty());
    }
    fails(&mut turn, Event::Call(call("more")));

    let mut turn = begun();
    turn.handle(Event::Call(call("a")));
    fails(&mut turn, Event::Call(call("a")));

    let mut turn = begun();
    assert_eq!(turn.handle(Event::Text("x".repeat(MAX_TEXT))).len(), 1);
    fails(&mut turn, Event::Text("x".into()));
}

fn any_event() -> impl Strategy<Value = Event> {
    let begin = Event::Begin {
        said: vec![Said::User("hello".into())],
        rooms: vec![ROOM, 10],
    };
    prop_oneof![
        2 => Just(begin),
        1 => Just(Event::Resume),
        4 => "[a-z ]{0,8}|NO_|REPLY|NO_REPLY".prop_map(Event::Text),
        4 => "[ab]".prop_map(|id| Event::Call(call(&id))),
        4 => Just(finished()),
        1 => Just(Event::ModelFailed("down".into())),
        1 => Just(Event::ContextTooLong("long".into())),
        1 => Just(compacted()),
        1 => Just(Event::CompactionFailed("cannot".into())),
        1 => Just(Event::OverBudget("spent".into())),
        4 => ("[ab]", 0..3i64).prop_map(|(id, way)| decided(&id, match way {
            0 => Verdict::Run,
            1 => asked(if id == "a" { 1 } else { 2 }),
            _ => Verdict::Refuse("no".into()),
        })),
        2 => (1..3i64).prop_map(|approval| Event::Approved { approval }),
        1 => (1..3i64).prop_map(|approval| Event::Denied { approval, why: "no".into() }),
        4 => "[ab]".prop_map(|id| Event::ToolDone(outcome(&id))),
        1 => Just(Event::Interrupt),
    ]
}

proptest! {
    #[test]
    fn any_order_of_events_ends_at_most_once_shows_the_text_of_the_end_and_runs_nothing_unpermitted(
        events in proptest::collection::vec(any_event(), 0..80)
    ) {
        let mut turn = Turn::new();
        let mut shown = String::new();
        let mut ends = vec![];
        for event in events {
            let permits = matches!(
                event,
                Event::Decided { verdict: Verdict::Run, .. } | Event::Approved { .. }
            );
            for effect in turn.handle(event) {
                prop_assert!(ends.is_empty(), "an effect after the end");
                match effect {
                    Effect::ShowText(text) => shown.push_str(&text),
                    Effect::RunTool { .. } => prop_assert!(permits),
                    Effect::End(end) => ends.push(end),
                    _ => {}
                }
            }
        }
        prop_assert_eq!(turn.ended(), ends.len() == 1);
        if let Some(end) = ends.first() {
            prop_assert_eq!(&end.text, &shown);
        }
        prop_assert_eq!(restarted(&turn), turn);
    }
}
