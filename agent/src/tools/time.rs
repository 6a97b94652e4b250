//! What time it is, here and in other zones, and how long it is from one time to another. A model
//! knows neither.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bounds::clip;
use super::{Tool, ToolError, arguments};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;

/// Letters of a time or of a zone's name.
const MAX_WORDS: usize = 64;

/// Tells the time.
#[derive(Debug)]
pub struct TimeTool;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Arguments {
    zone: Option<String>,
    at: Option<String>,
    until: Option<String>,
}

impl Tool for TimeTool {
    fn spec(&self) -> ToolSpec {
        let form = "2026-11-20T08:00:00Z, or without an offset in the zone, or a date, or unix \
            seconds; now when left out";
        ToolSpec {
            name: "time".to_owned(),
            description: "The time now, or at a given time, in UTC and in a zone; with `until`, \
                also how long it is from the one to the other."
                .to_owned(),
            parameters: arguments::schema(
                json!({
                    "zone": {"type": "string",
                        "description": "such as Europe/Berlin; the machine's own when left out"},
                    "at": {"type": "string", "description": form},
                    "until": {"type": "string", "description": "the same forms as at"},
                }),
                &[],
            ),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        None
    }

    fn run(&self, _: Arc<Speaker>, given: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        async move {
            let given = arguments::read(given)?;
            // Zones are files.
            tokio::task::spawn_blocking(move || told(&given, Timestamp::now(), &TimeZone::system()))
                .await
                .map_err(|_| ToolError::Failed("the agent is going away".to_owned()))?
        }
        .boxed()
    }
}

fn told(given: &Arguments, now: Timestamp, here: &TimeZone) -> Result<Value, ToolError> {
    let zone = match &given.zone {
        None => here.clone(),
        Some(name) => TimeZone::get(name).map_err(|_| wrong("zone of this machine", name))?,
    };
    let read = |text: &Option<String>| match text {
        None => Ok(now),
        Some(text) => time(text, &zone).ok_or_else(|| wrong("time", text)),
    };
    let at = read(&given.at)?;
    let mut told = moment(&at.to_zoned(zone.clone()));
    if given.until.is_some() {
        let until = read(&given.until)?;
        told["until"] = moment(&until.to_zoned(zone.clone()));
        let seconds = until.as_second() - at.as_second();
        told["difference"] = json!({"seconds": seconds, "words": words(seconds)});
    }
    Ok(told)
}

fn moment(at: &Zoned) -> Value {
    json!({
        "utc": at.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "unix_seconds": at.timestamp().as_second(),
        "local": at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "zone": at.time_zone().iana_name().unwrap_or("unnamed"),
        "weekday": at.strftime("%A").to_string(),
    })
}

fn time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    let civil = match text.parse::<DateTime>() {
        Ok(civil) => civil,
        Err(_) => text.parse::<Date>().ok()?.at(0, 0, 0, 0),
    };
    Some(civil.to_zoned(zone.clone()).ok()?.timestamp())
}

fn words(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let left = seconds.unsigned_abs();
    let parts = [
        (left / 86_400, "d"),
        (left / 3_600 % 24, "h"),
        (left / 60 % 60, "min"),
        (left % 60, "s"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    match parts.is_empty() {
        true => "0 s".to_owned(),
        false => format!("{sign}{}", parts.join(" ")),
    }
}

fn wrong(what: &str, text: &str) -> ToolError {
    ToolError::Failed(format!("{:?} is no {what}", clip(text, MAX_WORDS).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zone with summer time that is on every machine, because it is written out.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn ask(at: &str, until: &str) -> Result<Value, String> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let given = Arguments {
            zone: None,
            at: text(at),
            until: text(until),
        };
        let now = "2026-11-20T15:00:00Z".parse().unwrap();
        told(&given, now, &berlin()).map_err(|error| error.to_string())
    }

    #[test]
    fn now_is_told_in_both_zones() {
        let told = ask("", "").unwrap();
        assert_eq!(told["utc"], "2026-11-20T15:00:00Z");
        assert_eq!(told["local"], "2026-11-20T16:00:00+01:00");
        assert_eq!(told["unix_seconds"], 1_795_186_800);
        assert_eq!(told["weekday"], "Friday");
        assert!(told.get("difference").is_none());
    }

    #[test]
    fn a_time_is_read_in_each_of_its_forms() {
        for (form, utc) in [
            ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
            ("2026-07-01T12:00:00+05:30", "2026-07-01T06:30:00Z"),
            ("2026-07-01T12:00:00", "2026-07-01T10:00:00Z"),
            ("2026-12-24", "2026-12-23T23:00:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("-1", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(ask(form, "").unwrap()["utc"], utc, "{form}");
        }
        for form in ["tomorrow", "2026-13-01", "99999999999999", "12:00"] {
            let error = ask(form, "").unwrap_err();
            assert!(error.contains("is no time"), "{form}: {error}");
        }
    }

    #[test]
    fn a_difference_counts_real_seconds_through_a_change_of_the_clock() {
        let told = ask("2026-03-28T12:00:00", "2026-03-29T12:00:00").unwrap();
        assert_eq!(told["difference"]["seconds"], 23 * 3_600);
        let told = ask("", "2026-11-19T13:58:57Z").unwrap();
        assert_eq!(told["difference"]["words"], "-1 d 1 h 1 min 3 s");
        assert_eq!(ask("5", "5").unwrap()["difference"]["words"], "0 s");
    }

    #[test]
    fn a_zone_that_does_not_exist_is_named() {
        let given = Arguments {
            zone: Some("../../etc/passwd".to_owned()),
            ..Arguments::default()
        };
        let error = told(&given, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap_err();
        assert!(error.to_string().contains("is no zone"), "{error}");
    }
}
