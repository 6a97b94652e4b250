//! What is set aside for the call of a model that is under way, and what becomes of it.

use crate::approvals::Origin;
use crate::budgets::{Budgets, Estimate, Reservation};
use crate::models::{Choice, tokens_of};
use crate::providers::{ModelRequest, ToolSpec};
use crate::store::{Payer, StoreError};
use crate::turn::{self, Event, Tokens};

/// The meter of one turn.
pub(super) struct Metering {
    budgets: Budgets,
    call: Option<Call>,
}

struct Call {
    reservation: Reservation,
    /// Tokens that it reads, as estimated.
    input: u64,
    /// Bytes that the model has said.
    heard: usize,
}

impl Metering {
    pub(super) fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            call: None,
        }
    }

    /// Sets aside what a call can cost. The error is for people, and the call must not be made.
    pub(super) async fn begin(
        &mut self,
        origin: &Origin,
        choice: &Choice,
        request: &ModelRequest,
    ) -> Result<(), String> {
        if !choice.is_metered() {
            return Ok(());
        }
        let payer = Payer {
            user: origin.speaker.user_id,
            device: origin.speaker.node_id,
            session: origin.session.clone(),
        };
        let estimate = Estimate {
            model: choice.label.clone(),
            price: choice.price,
            input: tokens_of(bytes_of(request)),
            output: u64::from(choice.max_output_tokens),
        };
        match self.budgets.reserve(&payer, &estimate).await {
            Ok(reservation) => {
                self.call = Some(Call {
                    reservation,
                    input: estimate.input,
                    heard: 0,
                });
                Ok(())
            }
            Err(refused) => {
                if let Some(cause) = std::error::Error::source(&refused) {
                    tracing::error!(%cause, "a call of a model could not be set aside for");
                }
                Err(refused.to_string())
            }
        }
    }

    /// Follows what the model says, and settles when it has finished or failed.
    /// `taken` says of a failure whether the provider had taken the request.
    pub(super) async fn listen(&mut self, events: &[Event], taken: bool) {
        for event in events {
            match event {
                Event::Text(text) => self.hear(text.len()),
                Event::Call(call) => self.hear(call.arguments.to_string().len().max(1)),
                Event::Finished { tokens, .. } => self.finish(*tokens).await,
                Event::ModelFailed(_) | Event::ContextTooLong(_) => self.failed(taken).await,
                _ => {}
            }
        }
    }

    /// The call was dropped while the model answered: what was read and heard is paid for.
    pub(super) async fn cut_off(&mut self) {
        let Some(call) = &self.call else { return };
        let tokens = Tokens {
            input: call.input,
            cached: 0,
            output: tokens_of(call.heard),
        };
        self.finish(tokens).await;
    }

    fn hear(&mut self, bytes: usize) {
        if let Some(call) = &mut self.call {
            call.heard = call.heard.saturating_add(bytes);
        }
    }

    /// A model that failed before it said anything has cost nothing.
    async fn failed(&mut self, taken: bool) {
        match self.call.take() {
            Some(call) if call.heard == 0 && !taken => {
                log(self.budgets.release(call.reservation).await);
            }
            call => {
                self.call = call;
                self.cut_off().await;
            }
        }
    }

    async fn finish(&mut self, tokens: Tokens) {
        if let Some(call) = self.call.take() {
            log(self.budgets.settle(call.reservation, tokens).await);
        }
    }
}

fn bytes_of(request: &ModelRequest) -> usize {
    let tools = request.tools.iter().map(ToolSpec::size);
    request.system.len() + turn::size(&request.said) + tools.sum::<usize>()
}

/// What cannot be settled goes on counting in full: the cap holds, only too early.
fn log(settled: Result<(), StoreError>) {
    if let Err(error) = settled {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "what a call of a model cost could not be written"
        );
    }
}
