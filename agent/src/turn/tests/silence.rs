//! Models that say nothing, and conversations of more messages than they follow.

use super::*;

#[test]
fn more_messages_than_a_model_follows_are_told_shorter_however_small_they_are() {
    let mut turn = Turn::new();
    let effects = turn.handle(Event::Begin {
        said: vec![Said::User("x".into()); MAX_SAID + 1],
        rooms: vec![1 << 20],
    });
    assert!(matches!(effects.last(), Some(Effect::Compact { .. })));
    turn.handle(compacted());
    assert!(turn.handle(Event::Text("ok".into())).len() == 1);
}

#[test]
fn a_model_that_says_the_word_alone_says_nothing_and_nobody_is_shown_it() {
    let mut turn = begun();
    for piece in [" NO", "_RE", "PLY\n"] {
        assert!(turn.handle(Event::Text(piece.into())).is_empty());
    }
    let effects = turn.handle(finished());
    assert_eq!(effects.len(), 1);
    let end = end_of(&effects);
    assert_eq!((&end.reason, end.text.as_str()), (&EndReason::NoReply, ""));
}

#[test]
fn what_only_looked_like_the_word_is_shown_when_that_is_known() {
    let mut turn = begun();
    assert!(turn.handle(Event::Text("NO".into())).is_empty());
    assert_eq!(
        turn.handle(Event::Text("body".into())),
        [Effect::ShowText("NObody".into())]
    );
    let mut turn = begun();
    turn.handle(Event::Text("NO".into()));
    let effects = turn.handle(finished());
    assert_eq!(effects[0], Effect::ShowText("NO".into()));
    assert_eq!(end_of(&effects).text, "NO");
}

#[test]
fn a_silent_step_before_a_tool_is_not_shown_and_words_after_tools_are_a_paragraph() {
    let mut turn = begun();
    turn.handle(Event::Text("NO_REPLY".into()));
    turn.handle(Event::Call(call("a")));
    turn.handle(finished());
    turn.handle(decided("a", Verdict::Run));
    turn.handle(Event::ToolDone(outcome("a")));
    turn.handle(Event::Text("I look again.".into()));
    turn.handle(Event::Call(call("b")));
    turn.handle(finished());
    turn.handle(decided("b", Verdict::Run));
    turn.handle(Event::ToolDone(outcome("b")));
    assert_eq!(
        turn.handle(Event::Text("Found.".into())),
        [Effect::ShowText("\n\nFound.".into())]
    );
    let effects = turn.handle(finished());
    assert_eq!(end_of(&effects).text, "I look again.\n\nFound.");
}
