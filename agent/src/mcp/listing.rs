//! What a server says that it can do, cut to what an agent can bear.

use rmcp::model::{
    ClientRequest, ListToolsRequest, PaginatedRequestParams, ServerResult, Tool as WireTool,
};
use rmcp::service::{Peer, PeerRequestOptions, RoleClient, ServiceError};
use serde::Serialize;
use serde_json::Value;

use super::logs::cut;
use super::names::tool_name;
use crate::providers::ToolSpec;
use std::collections::BTreeSet;
use std::time::Duration;

/// Tools of one server; what it lists beyond is left out.
pub const MAX_TOOLS: usize = 512;
/// Longest schema of a tool's arguments, in bytes; a tool with a longer one is left out.
pub const MAX_SCHEMA: usize = 64 << 10;
/// Longest description that a model is told, in bytes.
pub const MAX_DESCRIPTION: usize = 1 << 10;
/// Longest name that a server may give to a tool, in bytes.
const MAX_NAME: usize = 256;
/// Pages of a list: a server that always has one more does not hold us.
const MAX_PAGES: usize = 64;
/// Longest time of one page.
const PAGE_LIMIT: Duration = Duration::from_secs(20);

/// A tool as the server describes it. Everything here is the word of a stranger.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListedTool {
    /// The server's name for it.
    pub(super) name: String,
    /// How a model sees it.
    pub(super) spec: ToolSpec,
    /// The server says that it changes nothing.
    pub(super) read_only: bool,
}

/// A server's tools.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Listing {
    pub(super) tools: Vec<ListedTool>,
    pub(super) left_out: LeftOut,
}

/// Tools that a server has and nobody can use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its list went on beyond the limit.
    pub more_than_limit: bool,
    /// Their schema is too long.
    pub schema_too_long: usize,
    /// Their name is empty, too long or there twice.
    pub bad_name: usize,
}

/// Asks a server for its tools, page by page.
pub(super) async fn ask(server: &str, peer: &Peer<RoleClient>) -> Result<Listing, ServiceError> {
    let mut listing = Listing::default();
    let mut names = BTreeSet::new();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let (tools, next) = page(peer, cursor).await?;
        for tool in tools {
            if listing.tools.len() == MAX_TOOLS {
                listing.left_out.more_than_limit = true;
                return Ok(listing);
            }
            add(server, &mut listing, &mut names, tool);
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(listing);
        }
    }
    listing.left_out.more_than_limit = true;
    Ok(listing)
}

/// Whether a server still answers.
pub(super) async fn probe(peer: &Peer<RoleClient>, limit: Duration) -> bool {
    tokio::time::timeout(limit, page(peer, None))
        .await
        .is_ok_and(|answer| answer.is_ok())
}

/// Asks past the library's cache: what is asked for here is always what has changed.
async fn page(
    peer: &Peer<RoleClient>,
    cursor: Option<String>,
) -> Result<(Vec<WireTool>, Option<String>), ServiceError> {
    let params = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
    let request = ClientRequest::ListToolsRequest(ListToolsRequest {
        method: Default::default(),
        params,
        extensions: Default::default(),
    });
    let options = PeerRequestOptions::with_timeout(PAGE_LIMIT);
    let handle = peer.send_request_with_option(request, options).await?;
    match handle.await_response().await? {
        ServerResult::ListToolsResult(result) => Ok((result.tools, result.next_cursor)),
        _ => Err(ServiceError::UnexpectedResponse),
    }
}

fn add(server: &str, listing: &mut Listing, names: &mut BTreeSet<String>, tool: WireTool) {
    let model_name = tool_name(server, &tool.name);
    let fits = (1..=MAX_NAME).contains(&tool.name.len());
    if !fits || !names.insert(model_name.clone()) {
        listing.left_out.bad_name += 1;
        return;
    }
    let parameters = Value::Object(tool.input_schema.as_ref().clone());
    if parameters.to_string().len() > MAX_SCHEMA {
        listing.left_out.schema_too_long += 1;
        return;
    }
    let description = tool.description.as_deref().unwrap_or_default();
    let hints = tool.annotations.unwrap_or_default();
    listing.tools.push(ListedTool {
        spec: ToolSpec {
            name: model_name,
            description: cut(description, MAX_DESCRIPTION).to_owned(),
            parameters,
        },
        name: tool.name.into_owned(),
        read_only: hints.read_only_hint == Some(true),
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed(tools: Vec<Value>) -> Listing {
        let mut listing = Listing::default();
        let mut names = BTreeSet::new();
        for tool in tools {
            let tool = serde_json::from_value(tool).unwrap();
            add("s", &mut listing, &mut names, tool);
        }
        listing
    }

    #[test]
    fn names_that_are_there_twice_and_schemas_that_are_too_long_are_left_out() {
        let schema = json!({"type": "object"});
        let long = json!({"type": "object", "title": "x".repeat(MAX_SCHEMA)});
        let listing = listed(vec![
            json!({"name": "a", "inputSchema": schema, "annotations": {"readOnlyHint": true}}),
            json!({"name": "a", "inputSchema": schema}),
            json!({"name": "b", "inputSchema": long}),
            json!({"name": "", "inputSchema": schema}),
            json!({"name": "c", "inputSchema": schema, "description": "ä".repeat(2_000)}),
        ]);
        let names: Vec<_> = listing
            .tools
            .iter()
            .map(|tool| tool.name.as_str())
            .collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(
            (listing.left_out.bad_name, listing.left_out.schema_too_long),
            (2, 1)
        );
        assert!(listing.tools[0].read_only && !listing.tools[1].read_only);
        assert_eq!(listing.tools[1].spec.description.len(), MAX_DESCRIPTION);
    }
}
