//! What calls of models used and what is set aside for those under way.

use homing_certs::{NodeId, UserId};
use rusqlite::{Connection, Transaction, params};

use super::{Store, StoreError};
use crate::calendar::Day;
use crate::turn::Tokens;

/// In whose name a call is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    /// Whose.
    pub user: UserId,
    /// By which device.
    pub device: NodeId,
    /// In which session.
    pub session: String,
}

/// What a call may take at most.
#[derive(Debug, Clone)]
pub struct Charge {
    /// The day that it counts for.
    pub day: Day,
    /// Who pays.
    pub payer: Payer,
    /// The model's label.
    pub model: String,
    /// In millionths of a US dollar; 0 when the price is not known.
    pub micro_usd: u64,
    /// Read and written.
    pub tokens: u64,
}

/// What is spent or set aside, in millionths of a US dollar except where it says tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// In the session, ever.
    pub session: u64,
    /// By the device, that day.
    pub device_day: u64,
    /// By the user, that day.
    pub user_day: u64,
    /// By all, that day.
    pub day: u64,
    /// By all, that month until that day.
    pub month: u64,
    /// Tokens of all, that day.
    pub tokens_day: u64,
}

/// A sum over calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The day; of a sum over several, the first.
    pub day: Day,
    /// The model's label.
    pub model: String,
    /// Calls.
    pub calls: u64,
    /// Of these, calls whose cost is not known.
    pub unpriced_calls: u64,
    /// Tokens.
    pub tokens: Tokens,
    /// In millionths of a US dollar.
    pub cost_micro_usd: u64,
}

impl Store {
    /// Sets a charge aside when `decide` allows it beside what is spent. The number of the reservation.
    ///
    /// # Errors
    /// When the database fails. The inner error is `decide`'s.
    pub async fn reserve<E: Send + 'static>(
        &self,
        charge: Charge,
        decide: impl FnOnce(&Spent, &Charge) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<i64, E>, StoreError> {
        self.write(move |transaction| {
            let spent = spent(transaction, &charge)?;
            if let Err(refused) = decide(&spent, &charge) {
                return Ok(Err(refused));
            }
            let Payer {
                user,
                device,
                session,
            } = &charge.payer;
            let id = transaction
                .prepare_cached(
                    "INSERT INTO reservations (day, user_id, device, session_id, model, micro_usd, tokens)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
                )?
                .query_row(
                    params![
                        charge.day.0,
                        user.as_bytes(),
                        device.as_bytes(),
                        session,
                        charge.model,
                        to_i64(charge.micro_usd),
                        to_i64(charge.tokens)
                    ],
                    |row| row.get(0),
                )?;
            Ok(Ok(id))
        })
        .await
    }

    /// Puts what a call used in place of its reservation. `cost` is `None` when it is not known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle(
        &self,
        reservation: i64,
        tokens: Tokens,
        cost: Option<u64>,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO usage
                     SELECT day, user_id, device, session_id, model, 1, ?2, ?3, ?4, ?5, ?6
                     FROM reservations WHERE id = ?1
                     ON CONFLICT DO UPDATE SET calls = calls + 1,
                       unpriced_calls = unpriced_calls + excluded.unpriced_calls,
                       input_tokens = input_tokens + excluded.input_tokens,
                       cached_tokens = cached_tokens + excluded.cached_tokens,
                       output_tokens = output_tokens + excluded.output_tokens,
                       cost_micro_usd = cost_micro_usd + excluded.cost_micro_usd",
                )?
                .execute(params![
                    reservation,
                    cost.is_none(),
                    to_i64(tokens.input),
                    to_i64(tokens.cached),
                    to_i64(tokens.output),
                    to_i64(cost.unwrap_or(0))
                ])?;
            delete(transaction, reservation)
        })
        .await
    }

    /// Gives back what was set aside.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(&self, reservation: i64) -> Result<(), StoreError> {
        self.write(move |transaction| delete(transaction, reservation))
            .await
    }

    /// Counts all reservations as spent in full: their calls were cut off. How many they were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_left_over(&self) -> Result<usize, StoreError> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO usage
                 SELECT day, user_id, device, session_id, model, count(*), 0, sum(tokens), 0, 0, sum(micro_usd)
                 FROM reservations GROUP BY 1, 2, 3, 4, 5
                 ON CONFLICT DO UPDATE SET calls = calls + excluded.calls,
                   input_tokens = input_tokens + excluded.input_tokens,
                   cost_micro_usd = cost_micro_usd + excluded.cost_micro_usd",
                [],
            )?;
            Ok(transaction.execute("DELETE FROM reservations", [])?)
        })
        .await
    }

    /// What is spent or set aside beside a charge that is not made yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spent(&self, charge: Charge) -> Result<Spent, StoreError> {
        self.read(move |connection| spent(connection, &charge))
            .await
    }

    /// Sums by model, or by day and model, from one day to another, both included; of one user, or of
    /// all when `user` is `None`. Oldest and dearest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn usage(
        &self,
        user: Option<UserId>,
        (from, to): (Day, Day),
        by_day: bool,
    ) -> Result<Vec<UsageRow>, StoreError> {
        let user = user.map(|user| user.as_bytes().to_vec());
        self.rows(move |connection| {
            let group = if by_day { "day, model" } else { "model" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT min(day), model, {SUMS} FROM usage
                     WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR user_id = ?3)
                     GROUP BY {group} ORDER BY min(day), sum(cost_micro_usd) DESC, model"
            ))?;
            let rows = statement.query_map(params![from.0, to.0, user], usage_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Sums by model of one session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_usage(
        &self,
        user: UserId,
        session: String,
    ) -> Result<Vec<UsageRow>, StoreError> {
        self.rows(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT min(day), model, {SUMS} FROM usage WHERE user_id = ?1 AND session_id = ?2
                 GROUP BY model ORDER BY sum(cost_micro_usd) DESC, model"
            ))?;
            let rows = statement.query_map(params![user.as_bytes(), session], usage_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn rows(
        &self,
        query: impl FnOnce(&Connection) -> Result<Vec<UsageRow>, StoreError> + Send + 'static,
    ) -> Result<Vec<UsageRow>, StoreError> {
        self.read(query).await
    }
}

const SUMS: &str = "sum(calls), sum(unpriced_calls), sum(input_tokens), sum(cached_tokens), \
     sum(output_tokens), sum(cost_micro_usd)";

fn usage_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<UsageRow> {
    let number = |index: usize| row.get::<_, i64>(index).map(to_u64);
    Ok(UsageRow {
        day: Day(row.get(0)?),
        model: row.get(1)?,
        calls: number(2)?,
        unpriced_calls: number(3)?,
        tokens: Tokens {
            input: number(4)?,
            cached: number(5)?,
            output: number(6)?,
        },
        cost_micro_usd: number(7)?,
    })
}

fn spent(connection: &Connection, charge: &Charge) -> Result<Spent, StoreError> {
    let Payer {
        user,
        device,
        session,
    } = &charge.payer;
    let (user, device) = (user.as_bytes(), device.as_bytes());
    let (day, month) = (charge.day.0, charge.day.month_start().0);
    let of_month = connection
        .prepare_cached(
            "SELECT coalesce(sum(c), 0),
                    coalesce(sum(c) FILTER (WHERE day = ?2), 0),
                    coalesce(sum(c) FILTER (WHERE day = ?2 AND user_id = ?3), 0),
                    coalesce(sum(c) FILTER (WHERE day = ?2 AND device = ?4), 0),
                    coalesce(sum(t) FILTER (WHERE day = ?2), 0)
             FROM (SELECT day, user_id, device, cost_micro_usd AS c, input_tokens + output_tokens AS t
                   FROM usage WHERE day BETWEEN ?1 AND ?2
                   UNION ALL
                   SELECT day, user_id, device, micro_usd, tokens
                   FROM reservations WHERE day BETWEEN ?1 AND ?2)",
        )?
        .query_row(params![month, day, user, device], |row| {
            let number = |index: usize| row.get::<_, i64>(index).map(to_u64);
            Ok(Spent {
                session: 0,
                month: number(0)?,
                day: number(1)?,
                user_day: number(2)?,
                device_day: number(3)?,
                tokens_day: number(4)?,
            })
        })?;
    let session = connection
        .prepare_cached(
            "SELECT (SELECT coalesce(sum(cost_micro_usd), 0) FROM usage
                     WHERE user_id = ?1 AND session_id = ?2)
                  + (SELECT coalesce(sum(micro_usd), 0) FROM reservations
                     WHERE user_id = ?1 AND session_id = ?2)",
        )?
        .query_row(params![user, session], |row| row.get::<_, i64>(0))?;
    Ok(Spent {
        session: to_u64(session),
        ..of_month
    })
}

fn delete(transaction: &Transaction<'_>, reservation: i64) -> Result<(), StoreError> {
    transaction
        .prepare_cached("DELETE FROM reservations WHERE id = ?1")?
        .execute([reservation])?;
    Ok(())
}

/// Amounts beyond what fits are as good as the largest.
fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
