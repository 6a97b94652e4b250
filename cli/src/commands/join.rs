//! `homing join`: makes this device's key, redeems a ticket, stores what came of it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use homing_certs::{SigningKey, Ticket};
use homing_protocol::ErrorBody;
use homing_transport::Endpoint;
use homing_transport::backoff::Backoff;
use homing_transport::enrolling::{EnrollError, Enrolled, Enrolling, Introduction, Outcome};
use serde_json::json;

use crate::args::JoinArgs;
use crate::config::{Config, RelaySetting};
use crate::data_dir::DataDir;
use crate::device::{NetworkFile, bind_endpoint};
use crate::failure::Failure;
use crate::files;
use crate::host;
use crate::output::{Output, rfc3339};

/// A ticket is shorter than this, in bytes; a larger file is not one.
const MAX_TICKET_FILE: u64 = 16 * 1024;

pub(super) async fn run(dir: &DataDir, args: JoinArgs, output: Output) -> anyhow::Result<()> {
    let _held = dir.hold("join")?;
    let ticket = read_ticket(args.ticket.as_deref(), args.ticket_file.as_deref())?;
    if dir.has_coordinator() {
        return Err(Failure::new(
            "already_enrolled",
            "this directory holds a network of its own",
            "choose another directory with --dir",
        )
        .into());
    }
    refuse_second_enrolment(dir, &ticket)?;
    let mut config = Config::load(&dir.config())?.unwrap_or_default();
    take_relay(&mut config, args.relay.as_deref(), &ticket)?;

    files::make_folder(&dir.device())?;
    let key = enrolment_key(dir)?;
    let bind = config.quic_address(config.quic.device_port);
    let endpoint = bind_endpoint(key, bind, config.relay.parse()?).await?;
    let port = host::port(&endpoint);
    config.quic.device_port.get_or_insert(port);
    let introduction = Introduction {
        name: args.name.or_else(host_name),
        platform: Some(std::env::consts::OS.to_owned()),
        reach: None,
    };
    let enrolled = redeem(&endpoint, ticket, introduction, output).await;
    let result = match enrolled {
        Ok(enrolled) => store(dir, &config, &enrolled, &endpoint, output),
        Err(error) => {
            // No other ticket would help this key.
            if matches!(error.0.code.as_str(), "revoked" | "key_in_use" | "denied") {
                let _ = std::fs::remove_file(key_to_enrol(dir));
            }
            Err(error.into())
        }
    };
    endpoint.close().await;
    result
}

/// For how long a coordinator that has too much to do is asked again, and after which waits.
const BUSY_LIMIT: Duration = Duration::from_secs(30);
const BUSY_FIRST: Duration = Duration::from_millis(200);
const BUSY_LONGEST: Duration = Duration::from_secs(3);

const NEW_TICKET: &str = "copy it whole, or ask for a new one: homing invite";

/// The ticket of the command line, of a file, or of stdin.
pub(crate) fn read_ticket(ticket: Option<&str>, file: Option<&Path>) -> anyhow::Result<Ticket> {
    Ok(
        Ticket::decode(&ticket_text(ticket, file)?).map_err(|error| {
            Failure::new(
                "ticket_malformed",
                format!("this is not a good ticket: {error}"),
                NEW_TICKET,
            )
        })?,
    )
}

/// `--relay`, or the relay that the ticket's network is reached by when the settings name none.
pub(crate) fn take_relay(
    config: &mut Config,
    relay: Option<&str>,
    ticket: &Ticket,
) -> anyhow::Result<()> {
    if let Some(relay) = relay {
        config.relay = RelaySetting::from_arg(relay)?;
    } else if let (Some(url), RelaySetting::Word(word)) = (&ticket.relay, &config.relay)
        && word == "none"
    {
        config.relay = RelaySetting::Urls(vec![url.clone()]);
    }
    Ok(())
}

/// Shows a ticket to its coordinator and waits for the answer, through an approval if there must be
/// one.
pub(crate) async fn redeem(
    endpoint: &Endpoint,
    ticket: Ticket,
    introduction: Introduction,
    output: Output,
) -> Result<Box<Enrolled>, Failure> {
    let give_up = Instant::now() + BUSY_LIMIT;
    let mut backoff = Backoff::new(BUSY_FIRST, BUSY_LONGEST);
    loop {
        match redeem_once(endpoint, &ticket, &introduction, output).await {
            Err(EnrollError::Refused(error))
                if error.code == "busy" && Instant::now() < give_up =>
            {
                output.progress("many devices join at this moment; trying again");
                tokio::time::sleep(backoff.next(endpoint.id().as_bytes()[0])).await;
            }
            outcome => return outcome.map_err(|error| failure(&error)),
        }
    }
}

async fn redeem_once(
    endpoint: &Endpoint,
    ticket: &Ticket,
    introduction: &Introduction,
    output: Output,
) -> Result<Box<Enrolled>, EnrollError> {
    let mut enrolling = Enrolling::start(endpoint, ticket.clone(), introduction.clone()).await?;
    let mut pending = false;
    loop {
        match enrolling.answer(endpoint, pending).await? {
            Outcome::Enrolled(enrolled) => return Ok(enrolled),
            Outcome::Pending { check_code } => {
                pending = true;
                output.pending(&check_code);
            }
        }
    }
}

fn store(
    dir: &DataDir,
    config: &Config,
    enrolled: &Enrolled,
    endpoint: &Endpoint,
    output: Output,
) -> anyhow::Result<()> {
    let enrollment = &enrolled.enrollment;
    files::write(&dir.device().join("cert"), enrolled.certificate.wire())?;
    NetworkFile {
        device: enrollment.device.clone(),
        root_chain: enrollment.root_chain.clone(),
        snapshot: enrollment.snapshot.clone(),
        floor: enrolled.trust.newest_signed_time().0,
        coordinator: enrollment.coordinator.clone(),
        agents: enrollment.agents.clone(),
        pins: Default::default(),
        last_addresses: Default::default(),
    }
    .save(dir)?;
    if files::read(&dir.config())?.is_none() {
        files::write(&dir.config(), config.to_text().as_bytes())?;
    }
    // Last: until then the same ticket can be redeemed again with the same key.
    std::fs::rename(key_to_enrol(dir), dir.device().join("key"))
        .context("the new key could not be put in place")?;
    let certificate = enrolled.certificate.certificate();
    let document = json!({
        "status": "enrolled",
        "device": enrollment.device,
        "node_id": endpoint.id().to_string(),
        "network_id": enrolled.trust.network_id().to_string(),
        "role": certificate.role.to_string(),
        "scopes": certificate.scopes.iter().collect::<Vec<_>>(),
        "user": certificate.handle.to_string(),
        "expires_at": rfc3339(certificate.not_after.0),
    });
    output.result(&document, || {
        format!(
            "This device is now {} of {}, role {}.\n\nNext:\n\n  homing proxy          # then: curl http://127.0.0.1:7070/api/health\n  homing dial           # is the agent there?\n",
            output.bold(&enrollment.device),
            certificate.handle,
            certificate.role,
        )
    });
    Ok(())
}

fn refuse_second_enrolment(dir: &DataDir, ticket: &Ticket) -> anyhow::Result<()> {
    let Some(network) = NetworkFile::load(dir)? else {
        return Ok(());
    };
    if network.trust_state()?.network_id() == ticket.network_id {
        // A revoked device joins again with a new key; see `enrolment_key`.
        return Ok(());
    }
    Err(Failure::new(
        "already_enrolled",
        "this directory is enrolled in another network",
        "choose another directory with --dir",
    )
    .into())
}

/// The key to enrol: a fresh one, because a revoked key stays blocked for ever. It lies beside the
/// key in use, which a refused ticket must not cost. A redemption that was interrupted goes on with
/// the same one, so that the coordinator can give the same answer.
fn enrolment_key(dir: &DataDir) -> anyhow::Result<SigningKey> {
    let path = key_to_enrol(dir);
    if let Some(key) = files::read_key(&path)? {
        return Ok(key);
    }
    let key = files::new_key()?;
    files::write_key(&path, &key)?;
    Ok(key)
}

fn key_to_enrol(dir: &DataDir) -> PathBuf {
    dir.device().join("key.new")
}

fn ticket_text(ticket: Option<&str>, file: Option<&Path>) -> anyhow::Result<String> {
    let mut text = String::new();
    match (ticket, file) {
        (Some(ticket), _) if ticket != "-" => return Ok(ticket.to_owned()),
        (_, Some(file)) if file != Path::new("-") => {
            let file = std::fs::File::open(file)
                .with_context(|| format!("{} could not be opened", file.display()))?;
            file.take(MAX_TICKET_FILE).read_to_string(&mut text)
        }
        _ => std::io::stdin()
            .take(MAX_TICKET_FILE)
            .read_to_string(&mut text),
    }
    .context("the ticket could not be read")?;
    Ok(text)
}

fn failure(error: &EnrollError) -> Failure {
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {source}");
    }
    let (code, hint) = match error {
        EnrollError::Refused(body) => return Failure(body.clone()),
        EnrollError::Unreachable(_) | EnrollError::Ended(_) => (
            "not_reachable",
            "check that homing runs on the host, and that both share a network or a relay",
        ),
        EnrollError::Conversation(_) => (
            "not_reachable",
            "try again with the same ticket; it is not spent twice",
        ),
        EnrollError::Root(_) | EnrollError::Log(_) => ("wrong_network", NEW_TICKET),
        EnrollError::Certificate(error) => (
            error.code().as_str(),
            "check the clocks of both machines, then try again with the same ticket",
        ),
        _ => ("failed", NEW_TICKET),
    };
    Failure(ErrorBody::new(code, message, hint))
}

/// This machine's name, in the letters that a device's name may have.
pub(crate) fn host_name() -> Option<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_lowercase();
    let short = name.split('.').next().unwrap_or_default();
    let clean: String = short
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || "_-".contains(letter) {
                letter
            } else {
                '-'
            }
        })
        .take(40)
        .collect();
    let clean = clean.trim_matches('-').to_owned();
    (!clean.is_empty()).then_some(clean)
}
