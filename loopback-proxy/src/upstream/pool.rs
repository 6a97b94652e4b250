//! The real upstream: the transport's pool, one connection to the agent for all.

use homing_protocol::ErrorBody;
use homing_transport::ByteStream;
use homing_transport::pool::{Link, Pool};

use super::{Upstream, UpstreamError, UpstreamStream};

impl UpstreamStream for ByteStream {
    fn reset(&mut self, code: u32) {
        Self::reset(self, code);
    }
}

impl Upstream for Pool {
    type Stream = ByteStream;

    async fn open(&self) -> Result<ByteStream, UpstreamError> {
        Self::open(self).await.map_err(UpstreamError::from)
    }

    fn agent(&self) -> Option<String> {
        match self.link() {
            Link::Live { agent, .. } => Some(agent.agent.clone()),
            _ => None,
        }
    }
}

impl From<ErrorBody> for UpstreamError {
    fn from(body: ErrorBody) -> Self {
        Self {
            code: body.code,
            message: body.message,
            hint: body.hint,
        }
    }
}
