//! Load generators: clients as thin as possible, so that what is measured is the system between.

pub(crate) mod bulk;
pub(crate) mod chat;
pub(crate) mod http;
pub(crate) mod raw;
pub(crate) mod requests;
pub(crate) mod websocket;
