//! What a model costs.

use serde::{Deserialize, Serialize};

use crate::turn::Tokens;

/// Prices of a model in millionths of a US dollar for a million tokens, so that a dollar for a million
/// is 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Tokens read.
    pub input: u64,
    /// Tokens read from the provider's cache.
    pub cached: u64,
    /// Tokens written.
    pub output: u64,
}

impl Price {
    /// Of a model that runs on somebody's own machine.
    pub const FREE: Self = Self {
        input: 0,
        cached: 0,
        output: 0,
    };

    /// What these tokens cost, in millionths of a US dollar, rounded up: a budget must not be passed in
    /// small steps.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> u64 {
        let cached = tokens.cached.min(tokens.input);
        let parts = [
            (tokens.input - cached, self.input),
            (cached, self.cached),
            (tokens.output, self.output),
        ];
        let sum = parts.iter().fold(0u128, |sum, (count, price)| {
            sum + u128::from(*count) * u128::from(*price)
        });
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_priced_apart_and_the_sum_is_rounded_up_once() {
        let price = Price {
            input: 3_000_000,
            cached: 300_000,
            output: 15_000_000,
        };
        let tokens = Tokens {
            input: 1_000,
            cached: 400,
            output: 10,
        };
        assert_eq!(price.cost(tokens), 600 * 3 + 120 + 150);
        let one = Tokens {
            input: 1,
            cached: 5,
            output: 0,
        };
        assert_eq!(
            price.cost(one),
            1,
            "more cached than read counts as all cached"
        );
        assert_eq!(Price::FREE.cost(tokens), 0);
        let many = Tokens {
            input: u64::MAX,
            cached: 0,
            output: u64::MAX,
        };
        assert_eq!(price.cost(many), u64::MAX);
    }
}
