//! A network in a temporary directory, and short names for what tests do with it.

use std::path::{Path, PathBuf};

use homing_certs::{
    InviteId, NodeId, Role, Scopes, SigningKey, Ticket, TicketSecret, TrustState, UnixTime,
    VerifiedCertificate,
};
use homing_coordinator::authority::{
    Applicant, AuthorityError, Caller, EnrolledDevice, NewNetwork, RedeemOutcome, Refusal,
    owner_scopes,
};
use homing_coordinator::{Authority, Moment};
use homing_protocol::control::{InvitationInfo, InviteRequest};
use homing_protocol::gateway::Reach;
use tempfile::TempDir;

pub(crate) const START: UnixTime = UnixTime(1_800_000_000);

pub(crate) struct Net {
    pub(crate) root: TempDir,
    pub(crate) authority: Authority,
}

/// The key of test device `n`.
pub(crate) fn key(n: u16) -> SigningKey {
    let mut seed = [1; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    SigningKey::from_bytes(&seed)
}

pub(crate) fn node(n: u16) -> NodeId {
    NodeId::from(&key(n))
}

pub(crate) fn device(n: u16) -> Caller {
    Caller::Device(node(n))
}

/// `seconds` after the network was made.
pub(crate) fn at(seconds: u64) -> Moment {
    START.saturating_add(seconds).into()
}

pub(crate) fn scopes(list: &[&str]) -> Scopes {
    Scopes::new(list.iter().copied()).unwrap()
}

pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, AuthorityError>) -> Refusal {
    match result {
        Err(AuthorityError::Refused(refusal)) => refusal,
        other => panic!("a refusal was expected, this is {other:?}"),
    }
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::made_at(at(0))
    }

    pub(crate) fn made_at(now: Moment) -> Self {
        let root = tempfile::tempdir().unwrap();
        let network = NewNetwork {
            owner_handle: "owner".to_owned(),
            now,
        };
        let authority = Authority::create(&root.path().join("coordinator"), &network).unwrap();
        Self { root, authority }
    }

    /// With device 1, the owner's, of role admin.
    pub(crate) fn with_owner() -> Self {
        let mut net = Self::new();
        let all = owner_scopes();
        net.authority
            .enrol_local(node(1), "laptop", Role::Admin, &all, None, at(0))
            .unwrap();
        net
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("coordinator")
    }

    pub(crate) fn reach(&self) -> Reach {
        Reach {
            node_id: self.authority.node_id(),
            relay: None,
            addresses: Vec::new(),
        }
    }

    pub(crate) fn invite(
        &mut self,
        caller: Caller,
        request: &InviteRequest,
        now: Moment,
    ) -> Result<InvitationInfo, AuthorityError> {
        let reach = self.reach();
        self.authority.invite(caller, request, &reach, now)
    }

    /// A plain invitation by the owner on the host, as its parts.
    pub(crate) fn ticket(
        &mut self,
        request: &InviteRequest,
        now: Moment,
    ) -> (InviteId, TicketSecret) {
        let info = self.invite(Caller::Local, request, now).unwrap();
        let ticket = Ticket::decode(&info.ticket).unwrap();
        (ticket.invite_id, ticket.secret)
    }

    pub(crate) fn redeem(
        &mut self,
        ticket: &(InviteId, TicketSecret),
        n: u16,
        now: Moment,
    ) -> RedeemOutcome {
        let applicant = Applicant {
            name: None,
            platform: Some("linux"),
            from: None,
        };
        self.authority
            .redeem(ticket.0, &ticket.1, node(n), &applicant, now)
            .unwrap()
    }

    /// A new device by the owner's invitation.
    pub(crate) fn add(&mut self, n: u16, request: &InviteRequest, now: Moment) -> EnrolledDevice {
        let request = InviteRequest {
            approve: Some(false),
            ..request.clone()
        };
        let ticket = self.ticket(&request, now);
        enrolled(self.redeem(&ticket, n, now))
    }

    pub(crate) fn add_named(&mut self, n: u16, name: &str, now: Moment) -> EnrolledDevice {
        self.add(
            n,
            &InviteRequest {
                name: Some(name.to_owned()),
                ..InviteRequest::default()
            },
            now,
        )
    }

    pub(crate) fn trust(&self) -> TrustState {
        TrustState::new(self.authority.chain().clone())
    }

    pub(crate) fn verified(&self, wire: &[u8]) -> VerifiedCertificate {
        self.trust().verify_certificate(wire).unwrap()
    }

    /// Opens the files again, as another process would.
    pub(crate) fn reopened(self, now: Moment) -> Self {
        let Self { root, authority } = self;
        drop(authority);
        let authority = Authority::open(&root.path().join("coordinator"), now).unwrap();
        Self { root, authority }
    }
}

pub(crate) fn enrolled(outcome: RedeemOutcome) -> EnrolledDevice {
    match outcome {
        RedeemOutcome::Enrolled(enrolled) => *enrolled,
        other => panic!("an enrolled device was expected, this is {other:?}"),
    }
}

pub(crate) fn pending(outcome: RedeemOutcome) -> String {
    match outcome {
        RedeemOutcome::Pending { check_code } => check_code,
        other => panic!("a waiting device was expected, this is {other:?}"),
    }
}

pub(crate) fn refused(outcome: RedeemOutcome) -> Refusal {
    match outcome {
        RedeemOutcome::Refused(refusal) => refusal,
        other => panic!("a refusal was expected, this is {other:?}"),
    }
}

/// Copies all files of a directory, as a backup of the file system would.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
