//! `/api/usage` and `/api/usage/daily`: what calls of models used and cost. An admin sees the whole
//! agent, everybody else the own user's part.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::Principal;
use super::error::ApiError;
use crate::budgets::Caps;
use crate::calendar::Day;
use crate::clock;
use crate::state::AgentState;
use crate::store::UsageRow;

/// Days of a report by default, and at most.
const DAYS: u32 = 7;
const MAX_DAYS: u32 = 366;

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// `2026-11`, in UTC.
    month: String,
    /// `agent` or `user`.
    of: &'static str,
    /// In US dollars, as far as prices are known.
    monthly_spend: f64,
    /// The agent's cap; null when there is none.
    monthly_budget: Option<f64>,
    remaining: Option<f64>,
    monthly_spend_micro_usd: u64,
    /// Calls of this month whose cost is not known.
    unpriced_calls: u64,
    caps_micro_usd: CapsView,
    by_model: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct CapsView {
    session: Option<u64>,
    device_day: Option<u64>,
    user_day: Option<u64>,
    day: Option<u64>,
    month: Option<u64>,
    tokens_day: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    model: String,
    /// In US dollars; null when no call's price is known.
    cost: Option<f64>,
    cost_micro_usd: u64,
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
    request_count: u64,
    unpriced_calls: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Range {
    days: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct Daily {
    entries: Vec<Line>,
    /// Days in the report without any call have no entry.
    days: u32,
    total_micro_usd: BTreeMap<String, u64>,
}

pub(super) async fn summary(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Result<Json<Summary>, ApiError> {
    let today = Day::of(clock::unix_ms());
    let (user, of) = whose(&principal);
    let range = (today.month_start(), today);
    let rows = state.store.usage(user, range, false).await?;
    let spent = rows.iter().map(|row| row.cost_micro_usd).sum();
    let caps = state.budgets.caps();
    let left = caps.month.map(|cap| cap.saturating_sub(spent));
    Ok(Json(Summary {
        month: today.month_text(),
        of,
        monthly_spend: dollars(spent),
        monthly_budget: caps.month.map(dollars),
        // What one user spent says nothing of what is left of the agent's budget.
        remaining: left.filter(|_| user.is_none()).map(dollars),
        monthly_spend_micro_usd: spent,
        unpriced_calls: rows.iter().map(|row| row.unpriced_calls).sum(),
        caps_micro_usd: caps.into(),
        by_model: rows.into_iter().map(|row| line(row, false)).collect(),
    }))
}

pub(super) async fn daily(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Query(range): Query<Range>,
) -> Result<Json<Daily>, ApiError> {
    let days = range.days.unwrap_or(DAYS);
    if !(1..=MAX_DAYS).contains(&days) {
        let message = format!("days is 1 to {MAX_DAYS}");
        return Err(ApiError::bad_request("bad_range", message));
    }
    let today = Day::of(clock::unix_ms());
    let from = Day(today.0 - i64::from(days) + 1);
    let (user, _) = whose(&principal);
    let rows = state.store.usage(user, (from, today), true).await?;
    let mut total_micro_usd = BTreeMap::new();
    for row in &rows {
        *total_micro_usd.entry(row.day.text()).or_insert(0) += row.cost_micro_usd;
    }
    Ok(Json(Daily {
        entries: rows.into_iter().map(|row| line(row, true)).collect(),
        days,
        total_micro_usd,
    }))
}

fn whose(principal: &Principal) -> (Option<homing_certs::UserId>, &'static str) {
    match principal.role {
        homing_certs::Role::Admin => (None, "agent"),
        _ => (Some(principal.user_id), "user"),
    }
}

fn line(row: UsageRow, dated: bool) -> Line {
    let priced = row.calls > row.unpriced_calls;
    Line {
        date: dated.then(|| row.day.text()),
        model: row.model,
        cost: priced.then(|| dollars(row.cost_micro_usd)),
        cost_micro_usd: row.cost_micro_usd,
        input_tokens: row.tokens.input,
        cached_tokens: row.tokens.cached,
        output_tokens: row.tokens.output,
        request_count: row.calls,
        unpriced_calls: row.unpriced_calls,
    }
}

fn dollars(micro_usd: u64) -> f64 {
    // Exact up to nine billion dollars.
    micro_usd as f64 / 1e6
}

impl From<Caps> for CapsView {
    fn from(caps: Caps) -> Self {
        Self {
            session: caps.session,
            device_day: caps.device_day,
            user_day: caps.user_day,
            day: caps.day,
            month: caps.month,
            tokens_day: caps.tokens_day,
        }
    }
}
