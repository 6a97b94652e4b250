//! `homing invite`.

use fast_qr::QRBuilder;
use homing_protocol::control::{ControlReply, ControlRequest, InvitationInfo, InviteRequest};
use serde_json::json;

use super::network;
use crate::args::InviteArgs;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::{Output, rfc3339};

pub(super) async fn run(dir: &DataDir, args: InviteArgs, output: Output) -> anyhow::Result<()> {
    let role = match args.role {
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::new(
                "usage",
                format!("{text} is not a role"),
                "client, node, bridge, agent or admin",
            )
        })?),
        None => None,
    };
    let request = InviteRequest {
        name: args.name,
        role,
        scopes: (!args.scopes.is_empty()).then_some(args.scopes),
        user: args.user,
        ttl_seconds: args.ttl.map(|ttl| ttl.as_secs()),
        approve: match (args.approve, args.no_approve) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
    };
    match network::request(dir, ControlRequest::Invite(request)).await? {
        ControlReply::Invited(invited) => {
            let document = json!({
                "ticket": invited.ticket,
                "invite_id": invited.invite_id,
                "name": invited.name,
                "role": invited.role.to_string(),
                "scopes": invited.scopes,
                "user": invited.user,
                "approval": invited.approval,
                "expires_at": rfc3339(invited.expires_at),
            });
            output.result(&document, || text(&invited, output));
            Ok(())
        }
        _ => Err(network::unexpected().into()),
    }
}

fn text(invited: &InvitationInfo, output: Output) -> String {
    let name = invited.name.as_deref().unwrap_or("a new device");
    let approval = if invited.approval {
        "Somebody must approve it: homing pending, then homing approve."
    } else {
        "It is let in at once; all your devices are told."
    };
    // Upper case fits a QR code's compact mode; case does not matter when it is read.
    let qr = QRBuilder::new(invited.ticket.to_ascii_uppercase()).build();
    let qr = qr.map(|code| code.to_str()).unwrap_or_default();
    format!(
        "{qr}\nA ticket for {}: a device of {}, role {}, which may {}.\nIt is good once, until {}. {approval}\n\nOn the new device:\n\n  homing join {}\n",
        output.bold(name),
        invited.user,
        invited.role,
        invited.scopes.join(" "),
        rfc3339(invited.expires_at),
        invited.ticket,
    )
}
