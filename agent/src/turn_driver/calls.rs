//! One tool call on its way: what is said about it, the person who is asked, and its run.

use super::Engine;
use crate::approvals::{Origin, Outcome};
use crate::tools::Permission;
use crate::turn::{Event, ToolCall, ToolOutcome, Verdict};

pub(super) async fn verdict(engine: &Engine, origin: &Origin, call: &ToolCall) -> Verdict {
    let tools = &engine.tools;
    match tools.judge(origin, call).await {
        Ok(Permission::Run) => Verdict::Run,
        Ok(Permission::Ask { summary }) => {
            let bound = match tools.bind(&origin.speaker, call).await {
                Ok(bound) => bound,
                Err(error) => return Verdict::Refuse(error.to_string()),
            };
            match engine.approvals.ask(origin, call, summary, bound).await {
                Ok(approval) => Verdict::Ask { approval },
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "nobody was asked");
                    Verdict::Refuse(format!("nobody could be asked: {error}"))
                }
            }
        }
        Err(error) => Verdict::Refuse(error.to_string()),
    }
}

pub(super) async fn run_tool(
    engine: Engine,
    origin: Origin,
    call: ToolCall,
    approval: Option<i64>,
) -> ToolOutcome {
    if let Some(id) = approval
        && let Err(why) = claim(&engine, &origin, &call, id).await
    {
        return ToolOutcome {
            id: call.id,
            name: call.name,
            result: Err(why),
        };
    }
    engine.tools.run(&origin, call).await
}

/// The policy and the hooks are asked again: what was approved may be forbidden by now.
async fn claim(engine: &Engine, origin: &Origin, call: &ToolCall, id: i64) -> Result<(), String> {
    let tools = &engine.tools;
    let judged = tools.judge(origin, call).await;
    judged.map_err(|error| error.to_string())?;
    let bound = tools.bind(&origin.speaker, call).await;
    let bound = bound.map_err(|error| error.to_string())?;
    let claimed = engine.approvals.claim(origin, id, call, &bound).await;
    claimed.map_err(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            id,
            "an approval was not used"
        );
        error.to_string()
    })
}

pub(super) fn answer(outcome: Outcome, approval: i64) -> Event {
    match outcome {
        Outcome::Approved => Event::Approved { approval },
        Outcome::Denied(why) => Event::Denied { approval, why },
    }
}
