//! Network interfaces: what they have carried since they came up, and what they carry now.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::Networks;

use super::machine::Machine;
use super::{FRESH, ProbeFailed};

/// Two countings must lie this far apart to say a rate.
const RATE_WINDOW: Duration = Duration::from_millis(500);
/// A counting older than this says nothing about now.
const STALE: Duration = Duration::from_secs(60);
/// Interfaces told; a host of containers has one for each.
const MAX_INTERFACES: usize = 64;
/// Addresses told of one interface.
const MAX_ADDRESSES: usize = 8;

/// All interfaces.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkReading {
    /// The busiest first.
    pub interfaces: Vec<Interface>,
    /// Seconds that the rates are an average of.
    pub rate_seconds: f64,
    /// Whether there are more interfaces than told.
    pub truncated: bool,
}

/// One interface.
#[derive(Debug, Clone, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `up`, `down`, `unknown` and the like.
    pub state: String,
    /// Addresses with their prefix.
    pub addresses: Vec<String>,
    /// Bytes received since it came up.
    pub received_bytes: u64,
    /// Bytes sent since it came up.
    pub sent_bytes: u64,
    /// Bytes received in a second.
    pub received_per_second: u64,
    /// Bytes sent in a second.
    pub sent_per_second: u64,
    /// Errors of both directions since it came up.
    pub errors: u64,
}

/// The counters as they were read last.
#[derive(Debug)]
pub(super) struct Traffic {
    networks: Networks,
    at: Instant,
    last: Option<NetworkReading>,
}

impl Machine {
    pub(super) fn network(&mut self) -> Result<NetworkReading, ProbeFailed> {
        let known = self.traffic.take();
        if let Some(traffic) = known
            && traffic.at.elapsed() < STALE
        {
            return Ok(self.count(traffic));
        }
        let networks = Networks::new_with_refreshed_list().map_err(|_| ProbeFailed)?;
        let at = Instant::now();
        std::thread::sleep(RATE_WINDOW);
        let traffic = Traffic {
            networks,
            at,
            last: None,
        };
        Ok(self.count(traffic))
    }

    fn count(&mut self, mut traffic: Traffic) -> NetworkReading {
        if let Some(last) = &traffic.last
            && traffic.at.elapsed() < FRESH
        {
            let last = last.clone();
            self.traffic = Some(traffic);
            return last;
        }
        traffic.networks.refresh(true);
        let elapsed = traffic.at.elapsed();
        let reading = reading(&traffic.networks, elapsed);
        traffic.at = Instant::now();
        traffic.last = Some(reading.clone());
        self.traffic = Some(traffic);
        reading
    }
}

fn reading(networks: &Networks, elapsed: Duration) -> NetworkReading {
    let mut interfaces: Vec<Interface> = networks
        .iter()
        .map(|(name, data)| Interface {
            name: name.to_string_lossy().into_owned(),
            state: data.operational_state().to_string(),
            addresses: data
                .ip_networks()
                .iter()
                .take(MAX_ADDRESSES)
                .map(ToString::to_string)
                .collect(),
            received_bytes: data.total_received(),
            sent_bytes: data.total_transmitted(),
            received_per_second: rate(data.received(), elapsed),
            sent_per_second: rate(data.transmitted(), elapsed),
            errors: data
                .total_errors_on_received()
                .saturating_add(data.total_errors_on_transmitted()),
        })
        .collect();
    interfaces.sort_by_cached_key(|one| {
        let carried = one.received_bytes.saturating_add(one.sent_bytes);
        (Reverse(carried), one.name.clone())
    });
    let truncated = interfaces.len() > MAX_INTERFACES;
    interfaces.truncate(MAX_INTERFACES);
    NetworkReading {
        interfaces,
        rate_seconds: (elapsed.as_secs_f64() * 10.0).round() / 10.0,
        truncated,
    }
}

fn rate(bytes: u64, elapsed: Duration) -> u64 {
    let milliseconds = elapsed.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1_000 / milliseconds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_bytes_in_a_second_whatever_the_window() {
        assert_eq!(rate(500, Duration::from_millis(500)), 1_000);
        assert_eq!(rate(4_000, Duration::from_secs(4)), 1_000);
        assert_eq!(rate(u64::MAX, Duration::ZERO), u64::MAX);
    }
}
