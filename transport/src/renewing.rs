//! Renewal of this endpoint's own certificate, long before it ends.
//!
//! The right to renew is the key and its row at the coordinator, so an expired certificate is never a
//! dead end. Certificates work on for ten days and more while the coordinator is away.

use std::sync::Arc;
use std::time::Duration;

use homing_certs::{CERTIFICATE_LIFE_SECS, CertificateError, DeviceCertificate, UnixTime};
use homing_protocol::ErrorBody;
use homing_protocol::control::{ControlReply, ControlRequest};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::controlling::ControlClient;
use crate::credentials::Credentials;

/// A certificate is renewed when two thirds of its life are over.
const RENEW_AFTER_SECS: u64 = CERTIFICATE_LIFE_SECS * 2 / 3;
/// Devices that were enrolled together do not renew together: up to a day and a half earlier.
const JITTER_SECS: u64 = 36 * 3600;
/// Longest sleep, so that a suspended machine or a corrected clock is noticed.
const CHECK_EVERY: Duration = Duration::from_secs(3600);
/// First wait after a renewal that failed.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// Longest wait after renewals that failed.
const RETRY_LONGEST: Duration = Duration::from_secs(6 * 3600);
/// Days before the end at which a person is warned.
pub const WARN_DAYS: [u64; 3] = [10, 3, 1];

/// Writes a renewed certificate to disk.
pub type Keep = Arc<dyn Fn(&[u8]) -> std::io::Result<()> + Send + Sync>;

/// When a certificate should be renewed; `jitter` in 0..=255 spreads devices.
#[must_use]
pub fn due_at(certificate: &DeviceCertificate, jitter: u8) -> UnixTime {
    let early = JITTER_SECS * u64::from(jitter) / 255;
    UnixTime(certificate.issued_at.0 + RENEW_AFTER_SECS - early)
}

/// Days left, when they are few enough for a warning.
#[must_use]
pub fn warning_days(certificate: &DeviceCertificate, now: UnixTime) -> Option<u64> {
    let left = certificate.not_after.0.saturating_sub(now.0);
    let days = left.div_ceil(86_400);
    (days <= WARN_DAYS[0]).then_some(days)
}

/// Asks for a new certificate, checks it, keeps it and puts it in force.
///
/// # Errors
/// Why there is none, with a next step. The old certificate stays in force.
pub async fn renew(
    control: &ControlClient,
    credentials: &Credentials,
    keep: &Keep,
) -> Result<(), ErrorBody> {
    let before = credentials.certificate().certificate().generation;
    let _one_at_a_time = credentials.renewal().await;
    if credentials.certificate().certificate().generation > before {
        return Ok(());
    }
    let reply = control
        .request(&ControlRequest::Renew)
        .await
        .map_err(|error| error.body())?;
    let ControlReply::Renewed {
        certificate,
        root_chain,
    } = reply
    else {
        return Err(ErrorBody::new(
            "protocol",
            "the coordinator's answer was not a certificate",
            "",
        ));
    };
    let trust = credentials.trust();
    for document in &root_chain {
        if let Err(error) = trust.extend_root(document.as_ref()) {
            warn!(%error, "the coordinator sent a root document that does not follow ours");
        }
    }
    let refused = |error: CertificateError| {
        ErrorBody::new(
            error.code().as_str(),
            format!("the renewed certificate was refused: {error}"),
            "",
        )
    };
    let renewed = trust
        .verify_certificate(certificate.as_ref())
        .map_err(refused)?;
    let own = credentials.certificate().certificate().device;
    trust.check(&renewed, &own).map_err(refused)?;
    keep(certificate.as_ref()).map_err(|error| {
        ErrorBody::new(
            "storage",
            format!("the renewed certificate could not be written: {error}"),
            "free some disk space",
        )
    })?;
    credentials.replace(renewed);
    info!("the certificate was renewed");
    Ok(())
}

/// Renews in time until `shutdown`.
pub async fn run(
    control: Arc<ControlClient>,
    credentials: Arc<Credentials>,
    keep: Keep,
    jitter: u8,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
    // A new root epoch, and a demotion, make the certificate worthless; both move the log.
    let mut moved = credentials.trust().subscribe();
    loop {
        moved.mark_unchanged();
        let current = credentials.certificate();
        let now = credentials.trust().now();
        let own = current.certificate().device;
        let worthless = matches!(
            credentials.trust().check(&current, &own),
            Err(CertificateError::UnknownSigner { .. } | CertificateError::Superseded { .. })
        );
        let left = due_at(current.certificate(), jitter)
            .0
            .saturating_sub(now.0);
        let wait = if left > 0 && !worthless {
            Duration::from_secs(left).min(CHECK_EVERY)
        } else {
            let renewed = tokio::select! {
                () = shutdown.cancelled() => return,
                renewed = renew(&control, &credentials, &keep) => renewed,
            };
            match renewed {
                // Not at once again, even where a clock that is ahead makes the new one due.
                Ok(()) => {
                    backoff.reset();
                    CHECK_EVERY
                }
                Err(error) => {
                    if let Some(days) = warning_days(current.certificate(), now) {
                        warn!(
                            code = error.code,
                            days, "the certificate ends soon and could not be renewed"
                        );
                    }
                    backoff.next(jitter)
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            Ok(()) = moved.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use homing_certs::{NetworkId, NodeId, Role, Scopes, Serial, UserId};

    use super::*;

    const DAY: u64 = 86_400;

    fn issued_at(time: u64) -> DeviceCertificate {
        DeviceCertificate {
            network_id: NetworkId::from([1; 16]),
            serial: Serial::from([2; 16]),
            device: NodeId::from([3; 32]),
            user_id: UserId::from([4; 16]),
            handle: "owner".parse().unwrap(),
            role: Role::Client,
            scopes: Scopes::new(["chat"]).unwrap(),
            issued_at: UnixTime(time),
            not_before: UnixTime(time - 300),
            not_after: UnixTime(time + 30 * DAY),
            generation: 1,
            root_epoch: 1,
        }
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_devices_spread_over_a_day_and_a_half()
     {
        let certificate = issued_at(1_000 * DAY);
        assert_eq!(due_at(&certificate, 0), UnixTime(1_020 * DAY));
        assert_eq!(
            due_at(&certificate, 255),
            UnixTime(1_020 * DAY - 36 * 3_600)
        );
        let spread: std::collections::BTreeSet<_> = (0..=255)
            .map(|jitter| due_at(&certificate, jitter))
            .collect();
        assert_eq!(spread.len(), 256);
    }

    #[test]
    fn a_person_is_warned_from_ten_days_before_the_end() {
        let certificate = issued_at(1_000 * DAY);
        let days_left = |days: u64| warning_days(&certificate, UnixTime(1_030 * DAY - days * DAY));
        assert_eq!(days_left(11), None);
        assert_eq!(days_left(10), Some(10));
        assert_eq!(days_left(1), Some(1));
        assert_eq!(days_left(0), Some(0));
        assert_eq!(warning_days(&certificate, UnixTime(2_000 * DAY)), Some(0));
    }
}
