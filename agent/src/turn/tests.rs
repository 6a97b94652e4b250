//! The machine without a model, a tool or a runtime.

use proptest::prelude::*;
use serde_json::json;

use super::*;

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
        input_tokens: 3,
        output_tokens: 2,
    }
}

fn begun() -> Turn {
    let mut turn = Turn::new();
    let effects = turn.handle(Event::Begin(vec![Said::User("hello".into())]));
    assert_eq!(
        effects,
        [Effect::CallModel(vec![Said::User("hello".into())])]
    );
    turn
}

fn end_of(effects: &[Effect]) -> &End {
    let Some(Effect::End(end)) = effects.last() else {
        panic!("no end in {effects:?}")
    };
    end
}

#[test]
fn text_is_shown_as_it_comes_and_the_end_carries_all_of_it() {
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
    assert_eq!(end.usage.output_tokens, 2);
    assert!(turn.ended());
}

#[test]
fn tools_run_beside_each_other_and_the_model_sees_their_outcomes_in_its_own_order() {
    let mut turn = begun();
    turn.handle(Event::Call(call("a")));
    turn.handle(Event::Call(call("b")));
    let effects = turn.handle(finished());
    assert_eq!(
        effects,
        [Effect::RunTool(call("a")), Effect::RunTool(call("b"))]
    );
    assert_eq!(
        turn.handle(Event::ToolDone(outcome("b"))),
        [Effect::ShowOutcome(outcome("b"))]
    );
    let effects = turn.handle(Event::ToolDone(outcome("a")));
    let Some(Effect::CallModel(said)) = effects.last() else {
        panic!("{effects:?}")
    };
    assert_eq!(
        said[2..],
        [Said::Tool(outcome("a")), Said::Tool(outcome("b"))]
    );
}

#[test]
fn an_interrupt_stops_everything_and_late_news_changes_nothing() {
    let mut turn = begun();
    turn.handle(Event::Text("half".into()));
    turn.handle(Event::Call(call("a")));
    turn.handle(finished());
    let effects = turn.handle(Event::Interrupt);
    assert_eq!(effects[0], Effect::StopAll);
    assert_eq!(end_of(&effects).reason, EndReason::Interrupted);
    assert_eq!(end_of(&effects).text, "half");
    assert!(turn.handle(Event::ToolDone(outcome("a"))).is_empty());
    assert!(turn.handle(Event::Interrupt).is_empty());
}

#[test]
fn a_tool_that_answers_twice_counts_once_and_an_unknown_one_not_at_all() {
    let mut turn = begun();
    turn.handle(Event::Call(call("a")));
    turn.handle(Event::Call(call("b")));
    turn.handle(finished());
    turn.handle(Event::ToolDone(outcome("a")));
    assert!(turn.handle(Event::ToolDone(outcome("a"))).is_empty());
    assert!(turn.handle(Event::ToolDone(outcome("zzz"))).is_empty());
    assert!(!turn.ended());
}

#[test]
fn a_model_that_fails_ends_the_turn_with_what_came() {
    let mut turn = begun();
    turn.handle(Event::Text("half".into()));
    let effects = turn.handle(Event::ModelFailed("the provider is down".into()));
    assert_eq!(
        end_of(&effects).reason,
        EndReason::Failed("the provider is down".into())
    );
    assert_eq!(end_of(&effects).text, "half");
}

#[test]
fn a_model_that_only_asks_for_tools_is_stopped_after_the_last_round() {
    let mut turn = begun();
    for round in 0..MAX_ROUNDS {
        turn.handle(Event::Call(call("a")));
        turn.handle(finished());
        let effects = turn.handle(Event::ToolDone(outcome("a")));
        if round + 1 < MAX_ROUNDS {
            assert!(matches!(effects.last(), Some(Effect::CallModel(_))));
        } else {
            assert!(matches!(end_of(&effects).reason, EndReason::Failed(_)));
        }
    }
    assert!(turn.ended());
}

#[test]
fn one_call_over_the_limit_two_equal_ids_and_one_byte_too_many_are_refused() {
    let mut turn = begun();
    for number in 0..MAX_CALLS {
        assert!(
            turn.handle(Event::Call(call(&number.to_string())))
                .is_empty()
        );
    }
    assert!(matches!(
        end_of(&turn.handle(Event::Call(call("more")))).reason,
        EndReason::Failed(_)
    ));

    let mut turn = begun();
    turn.handle(Event::Call(call("a")));
    assert!(matches!(
        end_of(&turn.handle(Event::Call(call("a")))).reason,
        EndReason::Failed(_)
    ));

    let mut turn = begun();
    assert_eq!(turn.handle(Event::Text("x".repeat(MAX_TEXT))).len(), 1);
    assert!(matches!(
        end_of(&turn.handle(Event::Text("x".into()))).reason,
        EndReason::Failed(_)
    ));
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Begin(vec![Said::User("hello".into())])),
        "[a-z ]{0,8}".prop_map(Event::Text),
        "[ab]".prop_map(|id| Event::Call(call(&id))),
        Just(finished()),
        Just(Event::ModelFailed("down".into())),
        "[ab]".prop_map(|id| Event::ToolDone(outcome(&id))),
        Just(Event::Interrupt),
    ]
}

proptest! {
    #[test]
    fn any_order_of_events_ends_at_most_once_and_shows_exactly_the_text_of_the_end(
        events in proptest::collection::vec(any_event(), 0..60)
    ) {
        let mut turn = Turn::new();
        let mut shown = String::new();
        let mut ends = vec![];
        for event in events {
            for effect in turn.handle(event) {
                prop_assert!(ends.is_empty(), "an effect after the end");
                match effect {
                    Effect::ShowText(text) => shown.push_str(&text),
                    Effect::End(end) => ends.push(end),
                    _ => {}
                }
            }
        }
        prop_assert_eq!(turn.ended(), ends.len() == 1);
        if let Some(end) = ends.first() {
            prop_assert_eq!(&end.text, &shown);
        }
    }
}
