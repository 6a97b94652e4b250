//! The methods of `/rpc`, one by one.

use std::sync::Arc;

use homing_certs::Role;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Principal;
use super::super::error::ApiError;
use super::super::health;
use super::super::routes::{METHODS, Need};
use super::super::ws::{Ending, Outgoing};
use super::envelope::{Call, Refusal};
use super::{Caller, VERSION};
use crate::sessions::{MAX_CLIENT_MSG_ID, Message, Said};

/// Sessions that one socket follows; more is a client that forgets to reconnect.
const MAX_OPEN: usize = 64;

/// Parameters of all methods. Fields that are not known are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Params {
    session_id: Option<String>,
    #[serde(alias = "message", alias = "prompt")]
    text: Option<String>,
    from_seq: Option<u64>,
    /// Whether changes of resources are meant.
    resources: bool,
    protocol: Option<Range>,
    /// Name or key of a device.
    #[serde(alias = "deviceId")]
    device: Option<String>,
    /// Whether the devices that it enrolled are meant too.
    with_invited: bool,
}

#[derive(Debug, Deserialize)]
struct Range {
    min: String,
    max: String,
}

impl Caller<'_> {
    /// The outer error ends the socket, the inner one is told to the client.
    pub(super) async fn perform(
        &mut self,
        principal: &Arc<Principal>,
        name: &str,
        call: Call,
    ) -> Result<Result<Value, Refusal>, Ending> {
        let Ok(params) = serde_json::from_value::<Params>(call.params) else {
            return Ok(Err(Refusal::params("a parameter is not of its type")));
        };
        match name {
            "hello" => Ok(self.hello(principal, &params)),
            "status.get" => Ok(self.status(principal, &params).await),
            "session.resolve" => Ok(self.resolve(principal, &params).await),
            "message.send" | "agent.run" => self.run(principal, params, call.key).await,
            "agent.cancel" => Ok(self.cancel(principal, &params)),
            "device.revoke" => Ok(self.revoke(principal, params).await),
            "events.subscribe" => self.subscribe(principal, params).await,
            "events.unsubscribe" => self.unsubscribe(params).await,
            _ => Ok(Err(Refusal::not_implemented(name))),
        }
    }

    fn hello(&self, principal: &Principal, params: &Params) -> Result<Value, Refusal> {
        if let Some(range) = &params.protocol
            && !(range.min.as_str()..=range.max.as_str()).contains(&VERSION)
        {
            return Err(Refusal::params("this agent speaks version 1.0 only"));
        }
        let methods: Vec<Value> = METHODS
            .iter()
            .map(|line| {
                let scope = match line.need {
                    Need::Scope(scope) => Some(scope),
                    Need::Admitted => None,
                };
                let allowed = scope.is_none_or(|scope| principal.scopes.contains(scope));
                json!({
                    "name": line.name,
                    "scope": scope,
                    "allowed": allowed,
                    "idempotencyKey": line.keyed,
                    "implemented": line.here,
                })
            })
            .collect();
        let settings = &self.socket.state.settings;
        Ok(json!({
            "protocol": { "min": VERSION, "max": VERSION },
            "agent": {
                "name": settings.name,
                "nodeId": settings.node_id.to_string(),
                "version": health::VERSION,
            },
            "deviceId": principal.node_id.to_string(),
            "role": principal.role.as_str(),
            "heartbeatSec": settings.liveness.ping_every.as_secs(),
            "methods": methods,
        }))
    }

    async fn status(&self, principal: &Principal, params: &Params) -> Result<Value, Refusal> {
        let state = &self.socket.state;
        let mut status = json!({
            "status": "ok",
            "agent": state.settings.name,
            "version": health::VERSION,
            "uptimeSeconds": state.system.process_uptime().as_secs(),
            "connections": state.connections.count(),
        });
        if let Some(session) = &params.session_id {
            self.socket.context.check(principal, Need::Scope("chat"))?;
            let activity = state.sessions.activity(principal.user_id, session).await;
            let activity = activity.map_err(ApiError::from)?;
            status["session"] = json!({
                "sessionId": session, "running": activity.running, "waiting": activity.waiting
            });
        }
        Ok(status)
    }

    async fn resolve(&self, principal: &Principal, params: &Params) -> Result<Value, Refusal> {
        // A device that names no session has one of its own.
        let session = params
            .session_id
            .clone()
            .unwrap_or_else(|| format!("rpc:{}", principal.node_id));
        let sessions = &self.socket.state.sessions;
        let user = principal.user_id;
        let follow = sessions.follow(user, &session, None).await;
        let follow = follow.map_err(ApiError::from)?;
        let activity = sessions.activity(user, &session).await;
        let activity = activity.map_err(ApiError::from)?;
        Ok(json!({
            "sessionId": session,
            "lastSeq": follow.log.head(),
            "running": activity.running,
            "waiting": activity.waiting,
        }))
    }

    async fn run(
        &mut self,
        principal: &Arc<Principal>,
        params: Params,
        key: Option<String>,
    ) -> Result<Result<Value, Refusal>, Ending> {
        let (Some(session), Some(text)) = (params.session_id, params.text) else {
            return Ok(Err(Refusal::params("sessionId and text are needed")));
        };
        // Before the message is taken, so that none of its events can be missed.
        if !self.open.contains(&session)
            && let Err(refusal) = self.follow(principal, session.clone(), None).await?
        {
            return Ok(Err(refusal));
        }
        // The database knows the message by it, even when the agent dies before the answer is kept.
        let client_msg_id = key
            .map(|key| format!("rpc:{key}"))
            .filter(|id| id.len() <= MAX_CLIENT_MSG_ID);
        let message = Message {
            text,
            attachments: vec![],
            client_msg_id,
        };
        let speaker = Arc::new(principal.speaker());
        let said = self.socket.state.sessions.say(speaker, &session, message);
        Ok(match said.await {
            Ok(Said::Started) => Ok(json!({ "sessionId": session, "status": "started" })),
            Ok(Said::Queued(position)) => {
                Ok(json!({ "sessionId": session, "status": "queued", "position": position }))
            }
            Ok(Said::Duplicate) => Ok(json!({ "sessionId": session, "status": "duplicate" })),
            Err(error) => Err(ApiError::from(error).into()),
        })
    }

    fn cancel(&self, principal: &Principal, params: &Params) -> Result<Value, Refusal> {
        let Some(session) = &params.session_id else {
            return Err(Refusal::params("sessionId is needed"));
        };
        let sessions = &self.socket.state.sessions;
        let cancelled = sessions.interrupt(principal.user_id, session);
        Ok(json!({ "sessionId": session, "cancelled": cancelled }))
    }

    /// Needs an admin here, and the coordinator asks again: for the rights of both, the agent and the
    /// device that asks it.
    async fn revoke(&self, principal: &Principal, params: Params) -> Result<Value, Refusal> {
        if principal.role != Role::Admin {
            return Err(ApiError::missing_scope("devices.revoke", principal.capped).into());
        }
        let Some(device) = params.device else {
            return Err(Refusal::params("device is needed"));
        };
        let revoking = &self.socket.state.revoking;
        let revoked = revoking.revoke(principal.node_id, device, params.with_invited);
        let revoked = revoked.await.map_err(ApiError::from)?;
        serde_json::to_value(revoked).map_err(|error| {
            tracing::error!(%error, "what a revocation reached cannot be told");
            ApiError::internal().into()
        })
    }

    async fn subscribe(
        &mut self,
        principal: &Principal,
        params: Params,
    ) -> Result<Result<Value, Refusal>, Ending> {
        if params.resources {
            self.send(Outgoing::Resources(true)).await?;
        }
        let Some(session) = params.session_id else {
            return Ok(match params.resources {
                true => Ok(json!({ "resources": true })),
                false => Err(Refusal::params("sessionId or resources is needed")),
            });
        };
        let followed = self.follow(principal, session.clone(), params.from_seq);
        Ok(followed
            .await?
            .map(|()| json!({ "sessionId": session, "resources": params.resources })))
    }

    async fn unsubscribe(&mut self, params: Params) -> Result<Result<Value, Refusal>, Ending> {
        if params.resources {
            self.send(Outgoing::Resources(false)).await?;
        }
        let mut known = params.resources;
        if let Some(session) = params.session_id {
            known |= self.open.remove(&session);
            self.send(Outgoing::Unfollow(session)).await?;
        }
        Ok(Ok(json!({ "unsubscribed": known })))
    }

    async fn follow(
        &mut self,
        principal: &Principal,
        session: String,
        from_seq: Option<u64>,
    ) -> Result<Result<(), Refusal>, Ending> {
        if !self.open.contains(&session) && self.open.len() == MAX_OPEN {
            let message = format!("this socket follows {MAX_OPEN} sessions already");
            return Ok(Err(Refusal::params(&message)));
        }
        let sessions = &self.socket.state.sessions;
        match sessions.follow(principal.user_id, &session, from_seq).await {
            Ok(follow) => {
                self.open.insert(session);
                self.send(Outgoing::Follow(follow)).await?;
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(ApiError::from(error).into())),
        }
    }
}
