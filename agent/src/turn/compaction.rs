//! What is told shorter and what stays, when a conversation does not fit any more. Pure: the telling
//! itself is a model's work, and asking it the driver's.

use serde_json::Value;

use super::{Said, ToolOutcome};

/// Bytes of one message in what a model is to tell shorter: enough to know what it was about.
const MAX_MESSAGE: usize = 8 << 10;
/// Bytes of one tool's result in it.
const MAX_OUTCOME: usize = 2 << 10;
/// Messages that stay as they are at most; many small ones are a reason to tell shorter by themselves.
const MAX_KEPT: usize = 100;

/// What becomes of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To be told shorter, oldest first. Empty when only results were cut.
    head: Vec<Said>,
    /// Messages from the beginning that the summary stands for.
    covered: usize,
    /// What stays, in order.
    kept: Vec<Said>,
}

impl Plan {
    /// Divides what was said so that what stays takes at most half of `room` bytes, if it can: the
    /// newest message of a person always stays, and so do the last words after it. Results of tools
    /// in what stays are cut to a quarter of the room.
    #[must_use]
    pub fn new(said: &[Said], room: usize) -> Self {
        let most = room / 4;
        let person = said.iter().rposition(|one| one.by_person().is_some());
        let person = person.unwrap_or(0);
        let cut = cut(said, person, room);
        let (before, tail) = said.split_at(cut);
        let others = before.iter().enumerate().filter(|(at, _)| *at != person);
        let head: Vec<Said> = others.map(|(_, one)| one.clone()).collect();
        let worth_it = match head.as_slice() {
            [] => false,
            // It was told already.
            [Said::Summary(text)] => text.len() > most,
            _ => true,
        };
        let short = |one: &Said| shortened(one.clone(), most);
        if !worth_it {
            return Self {
                head: vec![],
                covered: 0,
                kept: said.iter().map(short).collect(),
            };
        }
        let own = before.get(person);
        Self {
            head,
            covered: cut,
            kept: own.into_iter().chain(tail).map(short).collect(),
        }
    }

    /// Messages from the beginning that a summary stands for; 0 when there is nothing to tell shorter.
    #[must_use]
    pub fn covered(&self) -> usize {
        self.covered
    }

    /// What is to be told shorter as text, in pieces of about `bytes` bytes, oldest first.
    #[must_use]
    pub fn pieces(&self, bytes: usize) -> Vec<String> {
        let mut pieces: Vec<String> = Vec::new();
        for one in &self.head {
            let text = told(one);
            match pieces.last_mut() {
                Some(last) if last.len() + text.len() <= bytes => last.push_str(&text),
                _ => pieces.push(shorten(&text, bytes.max(MAX_OUTCOME))),
            }
        }
        pieces
    }

    /// The conversation with a summary in place of what it stands for.
    #[must_use]
    pub fn with_summary(self, summary: String) -> Vec<Said> {
        let summary = (self.covered > 0).then_some(Said::Summary(summary));
        summary.into_iter().chain(self.kept).collect()
    }
}

/// Where what stays begins, apart from the person's message.
fn cut(said: &[Said], person: usize, room: usize) -> usize {
    let must_stay = said.iter().rposition(begins).unwrap_or(0).max(person);
    let most = room / 4;
    let counted = |one: &Said| match one {
        Said::Tool(_) => one.size().min(most),
        _ => one.size(),
    };
    let mut bytes: usize = said[must_stay..].iter().map(counted).sum();
    if person < must_stay {
        bytes += said[person].size();
    }
    let mut cut = must_stay;
    for at in (0..must_stay).rev() {
        if at != person {
            bytes += counted(&said[at]);
        }
        if bytes > room / 2 || said.len() - at > MAX_KEPT {
            break;
        }
        // Earlier turns stay whole, or a summary would not know which of them it tells of.
        if said[at].by_person().is_some() || (at > person && begins(&said[at])) {
            cut = at;
        }
    }
    cut
}

/// Whether what stays may begin here: outcomes of tools belong to the words before them.
fn begins(said: &Said) -> bool {
    said.by_person().is_some() || matches!(said, Said::Assistant { .. })
}

fn shortened(said: Said, most: usize) -> Said {
    match said {
        Said::Tool(outcome) if outcome.text().len() > most => Said::Tool(ToolOutcome {
            result: match &outcome.result {
                Ok(_) => Ok(Value::String(shorten(&outcome.text(), most))),
                Err(reason) => Err(shorten(reason, most)),
            },
            ..outcome
        }),
        other => other,
    }
}

fn told(said: &Said) -> String {
    match said {
        Said::User(text) | Said::Pictured { text, .. } => {
            format!("Person: {}\n\n", shorten(text, MAX_MESSAGE))
        }
        Said::Summary(text) => format!("Summary of what was before: {text}\n\n"),
        Said::Assistant { text, calls } => {
            let mut told = format!("Agent: {}\n", shorten(text, MAX_MESSAGE));
            for call in calls {
                let arguments = shorten(&call.arguments.to_string(), MAX_OUTCOME);
                told += &format!("Agent calls the tool {} {arguments}\n", call.name);
            }
            told + "\n"
        }
        Said::Tool(outcome) => {
            let text = shorten(&outcome.text(), MAX_OUTCOME);
            format!("Tool {}: {text}\n\n", outcome.name)
        }
    }
}

/// The beginning of a text, with a mark where it was cut, in at most `most` bytes where the mark fits.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mark = format!("\n[cut here: {} bytes in all]", text.len());
    let mut end = most.saturating_sub(mark.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &text[..end])
}

#[cfg(test)]
mod tests;
