//! Jumps, restarts and news that do not come.

use std::time::Duration;

use homing_certs::*;
use proptest::prelude::*;

use crate::support::*;

const YEAR: u64 = 365 * DAY;

fn after(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A clock that has heard a heartbeat at second 100 of the process, at the time `NOW`.
fn running() -> TrustClock {
    let mut clock = TrustClock::new(UnixTime(NOW.0 - 1_000));
    clock.observe_heartbeat(NOW, NOW, after(100)).unwrap();
    clock
}

#[test]
fn a_wall_clock_that_jumps_a_year_changes_nothing_while_heartbeats_come() {
    let clock = running();
    for wall in [
        UnixTime(NOW.0 + YEAR),
        UnixTime(NOW.0 - YEAR),
        UnixTime(0),
        UnixTime(u64::MAX),
    ] {
        assert_eq!(clock.now(wall, after(130)), NOW.saturating_add(30));
        assert_eq!(clock.staleness(wall, after(130)), after(30));
    }
}

#[test]
fn a_wall_clock_a_year_behind_is_carried_by_the_floor_when_heartbeats_end() {
    let clock = running();
    let wall = UnixTime(NOW.0 - YEAR);
    assert_eq!(
        clock.now(wall, after(100 + 3_600)),
        NOW.saturating_add(3_600)
    );
    assert!(!clock.is_stale(wall, after(100 + STALE_AFTER_SECS)));
    assert!(clock.is_stale(wall, after(101 + STALE_AFTER_SECS)));
}

#[test]
fn a_wall_clock_a_year_ahead_never_raises_the_floor() {
    let clock = running();
    let wall = UnixTime(NOW.0 + YEAR);
    assert_eq!(clock.now(wall, after(200)), wall);
    assert!(clock.is_stale(wall, after(200)));
    // Once it is right again, all is as if nothing had been.
    assert_eq!(
        clock.now(NOW.saturating_add(100), after(200)),
        NOW.saturating_add(100)
    );
    assert_eq!(clock.floor(after(200)), NOW.saturating_add(100));
}

#[test]
fn the_sixty_first_second_without_a_heartbeat_is_the_walls() {
    let clock = running();
    let wall = NOW.saturating_add(500);
    assert_eq!(clock.now(wall, after(160)), NOW.saturating_add(60));
    assert_eq!(clock.now(wall, after(161)), wall);
}

#[test]
fn a_floor_that_jumps_over_an_hour_alone_is_refused() {
    let mut clock = running();
    let far = NOW.saturating_add(MAX_FLOOR_JUMP_SECS + 2);
    let error = clock.observe_heartbeat(far, NOW, after(101)).unwrap_err();
    let floor = NOW.saturating_add(1);
    assert_eq!(
        error,
        ClockError::JumpRefused {
            time: far,
            floor,
            wall: NOW
        }
    );
    assert_eq!(clock, running());
    assert_eq!(clock.observe_signed(far, NOW, after(101)), Err(error));
    // An hour is not over an hour, and a wall clock that agrees is support.
    assert_eq!(
        running().observe_signed(NOW.saturating_add(MAX_FLOOR_JUMP_SECS + 1), NOW, after(101)),
        Ok(())
    );
    assert_eq!(
        clock.observe_heartbeat(far, UnixTime(far.0 - 10), after(101)),
        Ok(())
    );
    assert_eq!(clock.now(NOW, after(101)), far);
}

#[test]
fn a_machine_without_a_battery_for_its_clock_believes_the_first_signed_time() {
    let mut clock = TrustClock::new(UnixTime(0));
    assert_eq!(clock.floor(after(1_000)), UnixTime(0));
    clock.observe_heartbeat(NOW, UnixTime(3), after(5)).unwrap();
    assert_eq!(clock.now(UnixTime(4), after(6)), NOW.saturating_add(1));
}

#[test]
fn staleness_survives_a_restart() {
    let clock = TrustClock::new(NOW).with_last_heartbeat(UnixTime(NOW.0 - 10));
    assert_eq!(
        clock.staleness(NOW.saturating_add(DAY), after(1)),
        after(DAY + 10)
    );
    // Also with a clock that went back meanwhile: what is known for certain is counted.
    assert_eq!(clock.staleness(UnixTime(0), after(7)), after(17));
    assert!(
        TrustClock::new(UnixTime(0)).is_stale(NOW, after(0)),
        "nothing ever heard is stale"
    );
}

#[test]
fn an_older_heartbeat_changes_nothing() {
    let mut clock = running();
    clock
        .observe_heartbeat(UnixTime(NOW.0 - 30), NOW, after(110))
        .unwrap();
    assert_eq!(clock, running());
}

#[test]
fn a_signed_document_that_is_no_heartbeat_makes_no_news() {
    let mut clock = running();
    clock
        .observe_signed(NOW.saturating_add(50), NOW, after(150))
        .unwrap();
    assert_eq!(clock.staleness(NOW, after(150)), after(50));
}

#[test]
fn a_reset_forgets_a_time_from_the_future() {
    let mut clock = running();
    clock
        .observe_signed(NOW.saturating_add(3_000), NOW, after(100))
        .unwrap();
    assert_eq!(clock.now(NOW, after(200)), NOW.saturating_add(3_100));
    clock.reset_floor(NOW, after(200));
    assert_eq!(clock.now(NOW, after(201)), NOW.saturating_add(1));
}

#[test]
fn exactly_the_harmful_scopes_need_fresh_news() {
    let fresh: Vec<_> = KNOWN_SCOPES
        .iter()
        .copied()
        .filter(|scope| scope_needs_freshness(scope))
        .collect();
    assert_eq!(
        fresh,
        [
            "config.write",
            "exec.approve",
            "exec.request",
            "files",
            "invite",
            "jobs",
            "terminal"
        ]
    );
    assert!(scope_needs_freshness("*") && scope_needs_freshness("config.*"));
    assert!(!scope_needs_freshness("config.read") && !scope_needs_freshness("chat"));
}

#[test]
fn a_signer_whose_clock_jumps_signs_nothing_until_it_is_confirmed() {
    for jump in [YEAR, MAX_SIGNING_DEPARTURE_SECS + 1] {
        for wall in [UnixTime(NOW.0 + 60 + jump), UnixTime(NOW.0 + 60 - jump)] {
            let mut clock = SigningClock::new(NOW, NOW, after(10));
            assert_eq!(
                clock.time(NOW.saturating_add(60), after(70)),
                Ok(NOW.saturating_add(60))
            );
            let expected = NOW.saturating_add(60);
            assert_eq!(
                clock.time(wall, after(70)),
                Err(SigningClockError::Jumped { wall, expected })
            );
            clock.confirm(wall, after(70));
            assert_eq!(clock.time(wall, after(70)), Ok(wall));
            assert_eq!(
                clock.time(wall.saturating_add(5), after(75)),
                Ok(wall.saturating_add(5))
            );
        }
    }
}

#[test]
fn a_signer_never_signs_an_earlier_time_than_before() {
    let mut clock = SigningClock::new(UnixTime(0), NOW, after(0));
    clock.signed(NOW.saturating_add(100));
    assert_eq!(clock.time(NOW, after(1)), Ok(NOW.saturating_add(100)));
    let restarted = SigningClock::new(NOW.saturating_add(301), NOW, after(0));
    let last_signed = NOW.saturating_add(301);
    assert_eq!(
        restarted.time(NOW, after(0)),
        Err(SigningClockError::BehindLastSigned {
            wall: NOW,
            last_signed
        })
    );
    assert_eq!(
        SigningClock::new(NOW.saturating_add(300), NOW, after(0)).time(NOW, after(0)),
        Ok(NOW.saturating_add(300))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_floor_never_goes_back_and_no_clock_panics(
        steps in proptest::collection::vec((any::<bool>(), 0u64..4_000_000_000, any::<u64>(), 0u64..10_000), 0..40),
        start in any::<u64>(),
    ) {
        let mut clock = TrustClock::new(UnixTime(start));
        let (mut floor, mut elapsed) = (clock.floor(Duration::ZERO), 0);
        for (beat, time, wall, wait) in steps {
            elapsed += wait;
            let (time, wall, now) = (UnixTime(time), UnixTime(wall), after(elapsed));
            let _ = if beat { clock.observe_heartbeat(time, wall, now) } else { clock.observe_signed(time, wall, now) };
            let next = clock.floor(now);
            prop_assert!(next >= floor);
            floor = next;
            let _ = (clock.now(wall, now), clock.staleness(wall, now));
        }
    }
}
