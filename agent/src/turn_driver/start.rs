//! The beginning of a turn: what models are told, with what hooks add; or its end, when one refuses it.

use super::{Begin, Engine, Sink, end_early};
use crate::approvals::Origin;
use crate::hooks::Refused;
use crate::models::Choice;
use crate::prompt::{Asker, Prompt};
use crate::turn::{Effect, End, Event, Said, Turn};

/// What hooks add: name and text. Dropping the future ends them.
pub(super) async fn hooks(
    engine: &Engine,
    choices: &[Choice],
    origin: &Origin,
    begin: &Begin,
) -> Result<Vec<(String, String)>, Refused> {
    let model = choices.first().map(|choice| choice.label.as_str());
    let (message, resumed) = match begin {
        Begin::Anew { said, .. } => match said.last() {
            Some(Said::User(text)) => (Some(text.as_str()), false),
            _ => (None, false),
        },
        Begin::Again(turn) => (turn.message(), true),
    };
    let hooks = &engine.hooks;
    hooks
        .before_agent_start(origin, model, message, resumed)
        .await
}

/// What models are told first.
pub(super) async fn prompt(
    engine: &Engine,
    origin: &Origin,
    added: Vec<(String, String)>,
) -> Prompt {
    let asker = Asker {
        speaker: &origin.speaker,
        session: &origin.session,
        read_only: engine.tools.read_only(),
    };
    let mut prompt = engine.prompts.of(asker).await;
    for (hook, text) in added {
        prompt.add(&hook, &text);
    }
    prompt
}

/// The end of a turn that was stopped before it began. `None` when it goes on after a restart.
pub(super) fn interrupted(begin: Begin, sink: &dyn Sink) -> Option<End> {
    let mut turn = machine(begin);
    if sink.goes_on_later() && turn.outlives_restart() {
        return None;
    }
    let effects = turn.handle(Event::Interrupt);
    effects.into_iter().find_map(|effect| match effect {
        Effect::End(end) => Some(end),
        _ => None,
    })
}

/// The end of a turn that a hook refused.
pub(super) fn refused(begin: Begin, refused: &Refused) -> End {
    end_early(&mut machine(begin), None, refused.to_string())
}

fn machine(begin: Begin) -> Turn {
    match begin {
        Begin::Anew { .. } => Turn::new(),
        Begin::Again(turn) => *turn,
    }
}
