//! `homing restart`: asks the agent's process to end with exit code 75, for whoever started it to start
//! it anew.

use http::Method;

use crate::agent_api::AgentApi;
use crate::data_dir::DataDir;
use crate::output::Output;

pub(super) async fn run(dir: &DataDir, agent: Option<&str>, output: Output) -> anyhow::Result<()> {
    let api = AgentApi::open(dir, agent).await?;
    let asked = api.send(Method::POST, "/api/restart", None).await;
    api.close().await;
    output.result(&asked?, || {
        "It ends now, for whoever started it to start it anew.".to_owned()
    });
    Ok(())
}
