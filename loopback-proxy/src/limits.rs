//! The limits that an operator may set, with their defaults. Sizes of buffers and heads are fixed
//! constants beside the code that they bound.

use std::time::Duration;

/// What one proxy allows before it refuses, waits no longer, or resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Connections open at once; one more is answered with 503. Default 1,024, the number of
    /// streams that an agent gives to one connection.
    pub max_connections: usize,
    /// New connections a second that are served in the long run. Default 4,000: several times what
    /// a busy local program makes, and too few to keep a core busy with refusals.
    pub accepts_per_second: u32,
    /// New connections served in a burst. Default 8,000, two seconds of the rate.
    pub accept_burst: u32,
    /// From the first byte of a request head to its end. Default 10 s.
    pub head_timeout: Duration,
    /// Between requests of a kept-alive connection, and before the first one. Default 75 s, longer
    /// than the 60 s for which common clients keep a connection.
    pub idle_timeout: Duration,
    /// For requests in flight when the proxy is told to stop. Default 10 s.
    pub drain_timeout: Duration,
    /// How long an upgraded or event stream may stay full while its client takes nothing, before
    /// it is reset. Default 5 s: a reader that is merely busy catches up well within it.
    pub slow_reader_grace: Duration,
    /// For the upstream to open one stream, dialling included. Default 30 s, beyond the upstream's
    /// own deadlines, so that it is reached only when those fail.
    pub open_timeout: Duration,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            accepts_per_second: 4000,
            accept_burst: 8000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(10),
            slow_reader_grace: Duration::from_secs(5),
            open_timeout: Duration::from_secs(30),
        }
    }
}
