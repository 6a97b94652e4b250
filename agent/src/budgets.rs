//! What calls of models may cost, and what they did.
//!
//! Every call is reserved before it is made, with the most that it can cost, and settled afterwards
//! with what it did cost. A reservation is on disk and counts as spent, so neither calls beside each
//! other nor a process that dies can pass a cap. Knows no provider: prices come with the call.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize;

use crate::calendar::Day;
use crate::clock;
use crate::models::Price;
use crate::store::{Charge, Payer, Spent, Store, StoreError};
use crate::turn::Tokens;

/// Tokens that an answer is taken to have when neither the model's settings nor its provider bound it.
const UNBOUNDED_OUTPUT: u64 = 8_192;

/// Caps. `None` is no cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Caps {
    /// Of one session in all, in millionths of a US dollar.
    pub session: Option<u64>,
    /// Of one device in a day.
    pub device_day: Option<u64>,
    /// Of one user in a day.
    pub user_day: Option<u64>,
    /// Of the agent in a day.
    pub day: Option<u64>,
    /// Of the agent in a month of the calendar.
    pub month: Option<u64>,
    /// Tokens, read and written, of the agent in a day: the only cap that holds for models without a
    /// known price.
    pub tokens_day: Option<u64>,
}

/// Which cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// Of the session.
    Session,
    /// Of the device, today.
    DeviceDay,
    /// Of the user, today.
    UserDay,
    /// Of the agent, today.
    Day,
    /// Of the agent, this month.
    Month,
    /// Tokens of the agent, today.
    TokensDay,
}

impl Cap {
    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Session => "this session's budget",
            Self::DeviceDay => "this device's budget for today",
            Self::UserDay => "this user's budget for today",
            Self::Day => "the agent's budget for today",
            Self::Month => "the agent's budget for this month",
            Self::TokensDay => "the agent's tokens for today",
        }
    }
}

/// A call about to be made.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// The model's label.
    pub model: String,
    /// `None` when it is not known.
    pub price: Option<Price>,
    /// Tokens that it reads, at most.
    pub input: u64,
    /// Tokens that it may write; 0 when nothing bounds them.
    pub output: u64,
}

/// Why a call must not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// It could pass a cap.
    #[error("{}", exceeded(.cap, *.limit, *.spent, *.wanted))]
    Exceeded {
        /// Which.
        cap: Cap,
        /// What it allows, in its unit.
        limit: u64,
        /// What is spent and reserved.
        spent: u64,
        /// What the call could cost.
        wanted: u64,
    },
    /// What was spent cannot be read or written. Without that nothing is spent.
    #[error("what was spent so far cannot be read")]
    Store(#[source] StoreError),
}

/// Money and tokens that are set aside for one call. To be settled or released; what is neither counts
/// as spent when the agent starts again.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    id: i64,
    price: Option<Price>,
}

/// The budgets of an agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budgets {
    store: Store,
    caps: Arc<ArcSwap<Caps>>,
}

impl Budgets {
    /// With these caps.
    #[must_use]
    pub fn new(store: Store, caps: Caps) -> Self {
        Self {
            store,
            caps: Arc::new(ArcSwap::from_pointee(caps)),
        }
    }

    /// From now on these caps. What is set aside already is not asked again.
    pub fn change(&self, caps: Caps) {
        self.caps.store(Arc::new(caps));
    }

    /// The caps.
    #[must_use]
    pub fn caps(&self) -> Caps {
        **self.caps.load()
    }

    /// Sets aside what a call can cost.
    ///
    /// # Errors
    /// [`BudgetError`]; the call must not be made.
    pub async fn reserve(
        &self,
        payer: &Payer,
        estimate: &Estimate,
    ) -> Result<Reservation, BudgetError> {
        let output = match estimate.output {
            0 => UNBOUNDED_OUTPUT,
            bound => bound,
        };
        let tokens = Tokens {
            input: estimate.input,
            cached: 0,
            output,
        };
        let charge = Charge {
            day: Day::of(clock::unix_ms()),
            payer: payer.clone(),
            model: estimate.model.clone(),
            micro_usd: estimate.price.map_or(0, |price| price.cost(tokens)),
            tokens: estimate.input.saturating_add(output),
        };
        let caps = self.caps();
        let decide = move |spent: &Spent, charge: &Charge| check(&caps, spent, charge);
        match self.store.reserve(charge, decide).await {
            Ok(Ok(id)) => Ok(Reservation {
                id,
                price: estimate.price,
            }),
            Ok(Err(exceeded)) => Err(exceeded),
            Err(error) => Err(BudgetError::Store(error)),
        }
    }

    /// A call is over: what it used takes the place of what was set aside.
    ///
    /// # Errors
    /// When the database fails; what was set aside goes on counting.
    pub async fn settle(&self, reservation: Reservation, tokens: Tokens) -> Result<(), StoreError> {
        let cost = reservation.price.map(|price| price.cost(tokens));
        self.store.settle(reservation.id, tokens, cost).await
    }

    /// A call was never made, or its provider refused it.
    ///
    /// # Errors
    /// When the database fails; what was set aside goes on counting.
    pub async fn release(&self, reservation: Reservation) -> Result<(), StoreError> {
        self.store.release(reservation.id).await
    }

    /// Settles what an earlier process left, as spent in full: a call that was cut off may have cost
    /// all of it. How many they were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_left_over(&self) -> Result<usize, StoreError> {
        self.store.settle_left_over().await
    }
}

/// Whether a charge fits beside what is spent. Pure.
///
/// # Errors
/// [`BudgetError::Exceeded`] for the first cap that it would pass.
pub fn check(caps: &Caps, spent: &Spent, charge: &Charge) -> Result<(), BudgetError> {
    let money = charge.micro_usd;
    let all = [
        (Cap::Session, caps.session, spent.session, money),
        (Cap::DeviceDay, caps.device_day, spent.device_day, money),
        (Cap::UserDay, caps.user_day, spent.user_day, money),
        (Cap::Day, caps.day, spent.day, money),
        (Cap::Month, caps.month, spent.month, money),
        (
            Cap::TokensDay,
            caps.tokens_day,
            spent.tokens_day,
            charge.tokens,
        ),
    ];
    for (cap, limit, spent, wanted) in all {
        let Some(limit) = limit else { continue };
        // A cap that is used up refuses calls that cost nothing as well only when they are unpriced
        // in its unit: a model on one's own machine goes on.
        if wanted > 0 && spent.saturating_add(wanted) > limit {
            return Err(BudgetError::Exceeded {
                cap,
                limit,
                spent,
                wanted,
            });
        }
    }
    Ok(())
}

fn exceeded(cap: &Cap, limit: u64, spent: u64, wanted: u64) -> String {
    let amount = |value: u64| match cap {
        Cap::TokensDay => format!("{value} tokens"),
        _ => dollars(value),
    };
    format!(
        "{} is {}, {} of it is spent or set aside, and this call could take {}; [budgets] in homing.toml raises it",
        cap.words(),
        amount(limit),
        amount(spent),
        amount(wanted)
    )
}

/// `$1.50`, with as many digits as a small amount needs.
#[must_use]
pub fn dollars(micro_usd: u64) -> String {
    let (whole, rest) = (micro_usd / 1_000_000, micro_usd % 1_000_000);
    if rest % 10_000 == 0 {
        format!("${whole}.{:02}", rest / 10_000)
    } else {
        format!("${whole}.{}", format!("{rest:06}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use homing_certs::{NodeId, UserId};
    use proptest::prelude::*;

    use super::*;

    fn charge(micro_usd: u64, tokens: u64) -> Charge {
        Charge {
            day: Day(0),
            payer: Payer {
                user: UserId::from([1; 16]),
                device: NodeId::from([1; 32]),
                session: "s".into(),
            },
            model: "m".into(),
            micro_usd,
            tokens,
        }
    }

    #[test]
    fn the_last_cent_is_spent_and_the_next_is_not() {
        let caps = Caps {
            day: Some(100),
            ..Caps::default()
        };
        let spent = Spent {
            day: 60,
            ..Spent::default()
        };
        assert!(check(&caps, &spent, &charge(40, 9)).is_ok());
        let refused = check(&caps, &spent, &charge(41, 9)).unwrap_err();
        assert!(matches!(
            refused,
            BudgetError::Exceeded {
                cap: Cap::Day,
                limit: 100,
                spent: 60,
                wanted: 41
            }
        ));
    }

    #[test]
    fn free_models_go_on_when_the_money_is_spent_and_stop_with_the_tokens() {
        let caps = Caps {
            day: Some(100),
            tokens_day: Some(1_000),
            ..Caps::default()
        };
        let spent = Spent {
            day: 100,
            tokens_day: 500,
            ..Spent::default()
        };
        assert!(check(&caps, &spent, &charge(0, 500)).is_ok());
        assert!(check(&caps, &spent, &charge(0, 501)).is_err());
    }

    #[test]
    fn amounts_read_like_money() {
        assert_eq!(dollars(0), "$0.00");
        assert_eq!(dollars(1_500_000), "$1.50");
        assert_eq!(dollars(1_234), "$0.001234");
        assert_eq!(dollars(12_340_000), "$12.34");
    }

    proptest! {
        #[test]
        fn what_is_let_through_never_passes_a_cap(
            limit in 0..1_000u64,
            wishes in proptest::collection::vec(0..300u64, 0..40),
        ) {
            let caps = Caps { month: Some(limit), ..Caps::default() };
            let mut spent = Spent::default();
            for wish in wishes {
                if check(&caps, &spent, &charge(wish, 1)).is_ok() {
                    spent.month += wish;
                }
            }
            prop_assert!(spent.month <= limit);
        }
    }
}
