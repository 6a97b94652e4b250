//! Rows of models, and which session is pinned to which of them.

use homing_certs::UserId;
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError, sessions};

/// A model as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Its id.
    pub id: String,
    /// Whose model it is.
    pub provider_id: String,
    /// The provider's own name of it.
    pub model: String,
    /// As people call it; empty for the provider's name.
    pub display_name: String,
    /// Tokens that its context holds.
    pub context_tokens: u32,
    /// Tokens that an answer may have; 0 leaves it to the provider.
    pub max_output_tokens: u32,
    /// Whether it takes pictures; `None` is what is known of it.
    pub images: Option<bool>,
    /// Input, cached input and output, in millionths of a US dollar for a million tokens.
    pub price: Option<(u64, u64, u64)>,
    /// Place in the order of fallback.
    pub rank: Option<u32>,
    /// Whether it answers where nothing else is said.
    pub is_default: bool,
    /// Whether it may answer.
    pub enabled: bool,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub updated_ms: i64,
}

impl Store {
    /// All models in the order in which they were added; the service bounds their number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn models(&self) -> Result<Vec<ModelRow>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, provider_id, model, display_name, context_tokens, max_output_tokens,
                        price_input, price_cached, price_output, rank, is_default, enabled,
                        created_ms, updated_ms, images
                 FROM models ORDER BY created_ms, id",
            )?;
            let rows = statement.query_map([], model)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Adds a model or replaces the one of its id; a new default ends the old one. False when its
    /// provider has another row of the same model.
    ///
    /// # Errors
    /// When the database fails, also when the provider has gone.
    pub async fn save_model(&self, row: ModelRow) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let taken = transaction
                .prepare_cached(
                    "SELECT 1 FROM models WHERE provider_id = ?1 AND model = ?2 AND id <> ?3",
                )?
                .exists(params![row.provider_id, row.model, row.id])?;
            if taken {
                return Ok(false);
            }
            if row.is_default {
                transaction
                    .prepare_cached(
                        "UPDATE models SET is_default = 0 WHERE is_default = 1 AND id <> ?1",
                    )?
                    .execute([&row.id])?;
            }
            let price = row.price.map(|(input, cached, output)| {
                [input, cached, output].map(|price| i64::try_from(price).unwrap_or(i64::MAX))
            });
            transaction
                .prepare_cached(
                    "INSERT INTO models (id, provider_id, model, display_name, context_tokens,
                       max_output_tokens, price_input, price_cached, price_output, rank, is_default,
                       enabled, created_ms, updated_ms, images)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
                     ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name,
                       context_tokens = excluded.context_tokens,
                       max_output_tokens = excluded.max_output_tokens,
                       price_input = excluded.price_input, price_cached = excluded.price_cached,
                       price_output = excluded.price_output, rank = excluded.rank,
                       is_default = excluded.is_default, enabled = excluded.enabled,
                       updated_ms = excluded.updated_ms, images = excluded.images",
                )?
                .execute(params![
                    row.id,
                    row.provider_id,
                    row.model,
                    row.display_name,
                    row.context_tokens,
                    row.max_output_tokens,
                    price.map(|[input, ..]| input),
                    price.map(|[_, cached, _]| cached),
                    price.map(|[.., output]| output),
                    row.rank,
                    row.is_default,
                    row.enabled,
                    row.created_ms,
                    row.updated_ms,
                    row.images,
                ])?;
            Ok(true)
        })
        .await
    }

    /// Removes a model and what is pinned to it. False when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_model(&self, id: String) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let removed = transaction
                .prepare_cached("DELETE FROM models WHERE id = ?1")?
                .execute([id])?;
            Ok(removed > 0)
        })
        .await
    }

    /// The model that a session of the user is pinned to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_model(
        &self,
        user: UserId,
        session: String,
    ) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT model_id FROM session_models WHERE user_id = ?1 AND session_id = ?2",
                )?
                .query_row(params![user.as_bytes(), session], |row| row.get(0))
                .optional()?)
        })
        .await
    }

    /// Pins a session of the user to a model, or ends that. The session is made if it is not there.
    /// False when there is no such model.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pin_session(
        &self,
        user: UserId,
        session: String,
        model: Option<String>,
    ) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let Some(model) = model else {
                transaction
                    .prepare_cached(
                        "DELETE FROM session_models WHERE user_id = ?1 AND session_id = ?2",
                    )?
                    .execute(params![user.as_bytes(), session])?;
                return Ok(true);
            };
            let known = transaction
                .prepare_cached("SELECT 1 FROM models WHERE id = ?1")?
                .exists([&model])?;
            if !known {
                return Ok(false);
            }
            sessions::ensure(transaction, user, &session)?;
            transaction
                .prepare_cached(
                    "INSERT INTO session_models (user_id, session_id, model_id) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET model_id = excluded.model_id",
                )?
                .execute(params![user.as_bytes(), session, model])?;
            Ok(true)
        })
        .await
    }
}

fn model(row: &Row<'_>) -> rusqlite::Result<ModelRow> {
    let price = |at| -> rusqlite::Result<Option<u64>> {
        let stored: Option<i64> = row.get(at)?;
        Ok(stored.and_then(|price| u64::try_from(price).ok()))
    };
    let price = match (price(6)?, price(7)?, price(8)?) {
        (Some(input), Some(cached), Some(output)) => Some((input, cached, output)),
        _ => None,
    };
    Ok(ModelRow {
        id: row.get(0)?,
        provider_id: row.get(1)?,
        model: row.get(2)?,
        display_name: row.get(3)?,
        context_tokens: row.get(4)?,
        max_output_tokens: row.get(5)?,
        price,
        rank: row.get(9)?,
        is_default: row.get(10)?,
        enabled: row.get(11)?,
        created_ms: row.get(12)?,
        updated_ms: row.get(13)?,
        images: row.get(14)?,
    })
}
