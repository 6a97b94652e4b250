//! Plans over conversations, without a model.

use proptest::prelude::*;
use serde_json::json;

use super::super::{ToolCall, size};
use super::*;

fn user(text: &str) -> Said {
    Said::User(text.to_owned())
}

fn agent(text: &str, calls: &[&str]) -> Said {
    let call = |id: &&str| ToolCall {
        id: (*id).to_owned(),
        name: "read".to_owned(),
        arguments: json!({ "path": "/a" }),
    };
    Said::Assistant {
        text: text.to_owned(),
        calls: calls.iter().map(call).collect(),
    }
}

fn result(id: &str, text: &str) -> Said {
    Said::Tool(ToolOutcome {
        id: id.to_owned(),
        name: "read".to_owned(),
        result: Ok(json!(text)),
    })
}

#[test]
fn the_oldest_is_told_shorter_and_the_newest_stays_from_a_persons_message_on() {
    let long = "x".repeat(300);
    let said = [
        user(&long),
        agent(&long, &[]),
        user("second"),
        agent("yes", &[]),
        user("now"),
    ];
    let plan = Plan::new(&said, 800);
    assert_eq!(plan.covered(), 2);
    let pieces = plan.pieces(10_000);
    assert_eq!(pieces.len(), 1);
    assert!(pieces[0].starts_with("Person: xxx") && pieces[0].contains("\nAgent: xxx"));
    let shorter = plan.with_summary("in short".into());
    let mut expected = vec![Said::Summary("in short".into())];
    expected.extend_from_slice(&said[2..]);
    assert_eq!(shorter, expected);
}

#[test]
fn the_question_stays_when_the_work_on_it_is_what_is_long() {
    let long = "x".repeat(300);
    let said = [
        user("first"),
        user("the question"),
        agent("", &["a"]),
        result("a", &long),
        agent("", &["b"]),
        result("b", &long),
    ];
    let plan = Plan::new(&said, 340);
    assert_eq!(plan.covered(), 4);
    let told = plan.pieces(10_000).concat();
    assert!(
        told.contains("Agent calls the tool read {\"path\":\"/a\"}"),
        "{told}"
    );
    assert!(!told.contains("the question"), "it stays: {told}");
    let shorter = plan.with_summary("in short".into());
    let mut expected = vec![Said::Summary("in short".into()), user("the question")];
    expected.push(said[4].clone());
    assert_eq!(shorter[..3], expected);
    assert!(shorter[3].size() <= 340 / 4 + 1, "{:?}", shorter[3]);
}

#[test]
fn a_result_that_alone_is_too_long_is_cut_with_a_mark() {
    let said = [
        user("read it"),
        agent("", &["a"]),
        result("a", &"é".repeat(5_000)),
    ];
    let plan = Plan::new(&said, 1_000);
    assert_eq!((plan.covered(), plan.pieces(100).len()), (0, 0));
    let shorter = plan.with_summary(String::new());
    assert_eq!(shorter.len(), 3);
    assert!(size(&shorter) < 1_000);
    let Said::Tool(outcome) = &shorter[2] else {
        panic!("{shorter:?}")
    };
    assert!(outcome.text().ends_with("[cut here: 10000 bytes in all]"));
}

#[test]
fn a_summary_that_is_short_enough_is_not_told_again() {
    let said = [
        Said::Summary("s".into()),
        user("x"),
        agent("y", &[]),
        user("z"),
    ];
    let plan = Plan::new(&said, 10_000);
    assert_eq!(plan.covered(), 0);
    assert_eq!(plan.with_summary("unused".into()), said);
}

#[test]
fn many_small_messages_are_as_good_a_reason() {
    let said: Vec<Said> = (0..300).map(|number| user(&number.to_string())).collect();
    let plan = Plan::new(&said, 1 << 20);
    assert_eq!(plan.covered(), 300 - MAX_KEPT);
    assert_eq!(plan.with_summary("s".into()).len(), MAX_KEPT + 1);
}

#[test]
fn pieces_are_as_long_as_wanted_and_lose_no_message() {
    let mut said: Vec<Said> = (0..50)
        .map(|number| user(&format!("number {number};")))
        .collect();
    said.push(user(&"x".repeat(100_000)));
    let plan = Plan::new(&said, 10);
    let pieces = plan.pieces(200);
    assert!(pieces.len() > 3);
    assert!(pieces.iter().all(|piece| piece.len() <= MAX_OUTCOME));
    let all = pieces.concat();
    for number in 0..50 {
        assert!(all.contains(&format!("number {number};")), "{number}");
    }
}

fn any_said() -> impl Strategy<Value = Said> {
    let text = "[a-z]{0,80}";
    prop_oneof![
        text.prop_map(Said::User),
        text.prop_map(|text| agent(&text, &[])),
        (text, "[ab]").prop_map(|(text, id)| agent(&text, &[&id])),
        ("[ab]", "[a-z]{0,400}").prop_map(|(id, text)| result(&id, &text)),
    ]
}

proptest! {
    #[test]
    fn the_newest_question_and_the_last_words_always_stay_and_no_result_stands_without_its_call(
        said in proptest::collection::vec(any_said(), 1..30), room in 0usize..4_000
    ) {
        let mut said = said;
        said.insert(0, user("begin"));
        let plan = Plan::new(&said, room);
        prop_assert!(plan.covered() <= said.len());
        let covered = plan.covered();
        let shorter = plan.with_summary("s".into());
        let question = said.iter().rev().find(|one| matches!(one, Said::User(_)));
        let last = said.iter().rev().find(|one| begins(one));
        prop_assert!(shorter.contains(question.unwrap()));
        prop_assert!(shorter.contains(last.unwrap()));
        if covered > 0 {
            prop_assert_eq!(&shorter[0], &Said::Summary("s".into()));
            let first = shorter.iter().position(|one| matches!(one, Said::Tool(_)));
            let before = &shorter[1..first.unwrap_or(1).max(1)];
            let has_words = before.iter().any(|one| matches!(one, Said::Assistant { .. }));
            prop_assert!(first.is_none() || has_words || said[covered..].first().is_some_and(begins));
        }
        prop_assert!(shorter.len() <= said.len() + 1);
    }
}
