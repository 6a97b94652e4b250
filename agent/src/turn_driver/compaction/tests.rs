//! Pieces, summaries and failures, with words in place of a model.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::providers::BuiltinAssistant;

const ROOM: usize = 8 << 10;

fn choice(label: &str) -> Choice {
    Choice {
        provider: Arc::new(BuiltinAssistant::new(Duration::ZERO)),
        model: "m".to_owned(),
        label: label.to_owned(),
        context_tokens: 10_000,
        max_output_tokens: 0,
        images: false,
        price: Some(Price {
            input: 1_000_000,
            cached: 0,
            output: 0,
        }),
    }
}

fn conversation(messages: usize) -> Vec<Said> {
    let said = (0..messages).map(|number| Said::User(format!("{number}:{}", "x".repeat(1_500))));
    said.collect()
}

fn asked(step: &Step) -> &str {
    match step {
        Step::Ask(request) => match &request.said[..] {
            [Said::User(text)] => text,
            other => panic!("{other:?}"),
        },
        step => panic!("{step:?}"),
    }
}

fn finished() -> Event {
    Event::Finished {
        tokens: Tokens {
            input: 5,
            cached: 0,
            output: 2,
        },
        cost: None,
    }
}

/// The model says this and stops.
fn says(compaction: &mut Compaction, text: &str, choice: &Choice) -> Step {
    assert!(compaction.take(Event::Text(text.into()), choice).is_none());
    compaction.take(finished(), choice).unwrap()
}

#[test]
fn each_piece_is_told_with_the_summary_so_far_and_all_of_them_are_counted() {
    let choice = choice("p/m");
    let mut compaction = Compaction::new(&conversation(10), ROOM, "", false);
    let mut step = compaction.begin(&choice);
    assert!(asked(&step).starts_with("Person: 0:xxx"));
    let mut calls = 0;
    while let Step::Ask(_) = step {
        let so_far = format!("Summary so far:\nsummary {calls}\n");
        assert!(calls == 0 || asked(&step).starts_with(&so_far));
        calls += 1;
        step = says(&mut compaction, &format!("summary {calls}\n"), &choice);
    }
    let Step::Done(done) = step else { panic!() };
    assert!(calls > 2, "{calls}");
    let summary = format!("summary {calls}");
    assert_eq!(done.summary.as_ref(), Some(&summary));
    assert_eq!(done.said[0], Said::Summary(summary));
    assert_eq!(
        (done.usage.model_calls, done.usage.input_tokens),
        (calls, 5 * calls)
    );
}

#[test]
fn a_failure_is_followed_by_one_try_with_shorter_pieces_and_then_the_oldest_is_left_out() {
    let choice = choice("p/m");
    let mut compaction = Compaction::new(&conversation(10), ROOM, "", false);
    let first = asked(&compaction.begin(&choice)).len();
    compaction.take(Event::Text("half a".into()), &choice);
    let failed = Event::ModelFailed("down".into());
    let step = compaction.take(failed, &choice).unwrap();
    assert!(asked(&step).len() < first && !asked(&step).contains("half a"));
    // An answer without a word is a failure too.
    let Step::Done(done) = says(&mut compaction, " \n", &choice) else {
        panic!()
    };
    assert_eq!(
        (done.summary, &done.said[0]),
        (None, &Said::Summary(LEFT_OUT.into()))
    );
    assert!(done.said.len() < 10);
}

#[test]
fn the_built_in_assistant_is_not_asked_to_write() {
    let mut compaction = Compaction::new(&conversation(10), ROOM, "", false);
    let step = compaction.begin(&choice(crate::providers::BUILTIN));
    assert!(matches!(step, Step::Done(Done { summary: None, .. })));
}

#[test]
fn a_summary_without_an_end_is_cut() {
    let choice = choice("p/m");
    let mut compaction = Compaction::new(&conversation(10), ROOM, "", false);
    compaction.begin(&choice);
    for _ in 0..100 {
        compaction.take(Event::Text("é".repeat(1_000)), &choice);
    }
    let step = compaction.take(finished(), &choice).unwrap();
    let summary = asked(&step).split("What came after").next().unwrap();
    assert!(summary.len() < ROOM / 4 + 100, "{}", summary.len());
}

#[test]
fn a_model_that_fails_leaves_it_to_the_next_one_where_there_is_one() {
    let choice = choice("p/m");
    let mut compaction = Compaction::new(&conversation(10), ROOM, "", true);
    compaction.begin(&choice);
    let failed = || Event::ModelFailed("down".into());
    assert!(matches!(
        compaction.take(failed(), &choice),
        Some(Step::Ask(_))
    ));
    assert!(matches!(
        compaction.take(failed(), &choice),
        Some(Step::NextModel)
    ));
}

#[test]
fn where_there_is_no_room_for_a_summary_nobody_is_asked_for_one() {
    let mut compaction = Compaction::new(&conversation(10), MIN_ROOM - 1, "", true);
    let step = compaction.begin(&choice("p/m"));
    assert!(matches!(step, Step::Done(Done { summary: None, .. })));
}

#[test]
fn of_too_many_pieces_the_first_stays_with_the_summary_of_what_was_before() {
    let mut said = conversation(100);
    said.insert(0, Said::Summary("Ann likes tea.".into()));
    let pieces = pieces(&Plan::new(&said, ROOM), ROOM);
    assert_eq!(pieces.len(), MAX_PIECES + 1);
    assert!(pieces[0].contains("Ann likes tea.") && pieces[1].contains(LEFT_OUT));
}
