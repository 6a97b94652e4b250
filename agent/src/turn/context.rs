//! What was said, made to fit into a model's context without asking anybody: results of tools are the
//! largest and the first to be worth less.

use serde_json::Value;

use super::Said;

/// What stands in place of a result that was taken out.
pub const PRUNED: &str = "[an older result of this tool was left out]";
/// Messages at the end that always stay whole: the last rounds are what the model works on.
const KEPT: usize = 8;

/// About how many bytes of a model's context this takes.
#[must_use]
pub fn size(said: &[Said]) -> usize {
    said.iter().map(Said::size).sum()
}

/// Takes out results of tools, oldest first, until `room` bytes hold the rest or only the last few
/// messages have any left.
pub fn prune(said: &mut [Said], room: usize) {
    let mut size = size(said);
    let old = said.len().saturating_sub(KEPT);
    for one in &mut said[..old] {
        if size <= room {
            return;
        }
        let before = one.size();
        if let Said::Tool(outcome) = one
            && before > PRUNED.len()
        {
            outcome.result = Ok(Value::String(PRUNED.to_owned()));
        }
        size = size - before + one.size();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::ToolOutcome;

    fn result(text: &str) -> Said {
        Said::Tool(ToolOutcome {
            id: "a".to_owned(),
            name: "read".to_owned(),
            result: Ok(Value::String(text.to_owned())),
        })
    }

    #[test]
    fn old_results_go_first_and_only_as_many_as_are_needed() {
        let long = "x".repeat(1_000);
        let mut said: Vec<Said> = (0..KEPT + 3).map(|_| result(&long)).collect();
        let room = size(&said) - 1_500;
        prune(&mut said, room);
        let left_out = said.iter().filter(|one| **one == result(PRUNED)).count();
        assert_eq!(left_out, 2);
        assert_eq!(said[0], result(PRUNED));
        prune(&mut said, 0);
        let left_out = said.iter().filter(|one| **one == result(PRUNED)).count();
        assert_eq!(left_out, 3, "the last ones stay");
    }

    #[test]
    fn words_of_people_are_never_taken_out() {
        let mut said = vec![Said::User("y".repeat(5_000)); KEPT + 2];
        let before = said.clone();
        prune(&mut said, 10);
        assert_eq!(said, before);
    }
}
