use super::*;

fn hook(on: Point) -> HookSettings {
    HookSettings::new(on, vec!["/usr/local/bin/check".to_owned()])
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_key() {
    let with = |on, change: fn(&mut HookSettings)| {
        let mut hook = hook(on);
        change(&mut hook);
        check(&[hook])
    };
    let call = Point::BeforeToolCall;
    for (checked, named) in [
        (with(call, |hook| hook.command.clear()), "command"),
        (
            with(call, |hook| hook.command[0] = "check".into()),
            "absolute",
        ),
        (with(call, |hook| hook.command[0] = "/".into()), "absolute"),
        (
            with(call, |hook| hook.command.push("a\0b".into())),
            "command",
        ),
        (
            with(call, |hook| hook.command = vec!["/x".into(); 65]),
            "command",
        ),
        (
            with(call, |hook| hook.timeout_seconds = 0),
            "timeout_seconds",
        ),
        (
            with(call, |hook| hook.timeout_seconds = 61),
            "timeout_seconds",
        ),
        (
            with(Point::AgentEnd, |hook| hook.tools.push("*".into())),
            "tools",
        ),
        (
            with(Point::AgentEnd, |hook| {
                hook.on_failure = Some(OnFailure::Deny)
            }),
            "on_failure",
        ),
        (
            with(Point::ToolResultPersist, |hook| {
                hook.on_failure = Some(OnFailure::Pass)
            }),
            "withheld",
        ),
        (check(&vec![hook(call); MAX_HOOKS + 1]), "32"),
    ] {
        let error = checked.unwrap_err();
        assert!(error.contains(named), "{named}: {error}");
    }
    assert_eq!(
        with(call, |hook| hook.on_failure = Some(OnFailure::Pass)),
        Ok(())
    );
    assert_eq!(check(&vec![hook(call); MAX_HOOKS]), Ok(()));
}

#[test]
fn every_point_is_written_as_it_is_named() {
    for on in [
        Point::BeforeAgentStart,
        Point::BeforeToolCall,
        Point::AfterToolCall,
        Point::ToolResultPersist,
        Point::AgentEnd,
        Point::BeforeCompaction,
        Point::AfterCompaction,
    ] {
        assert_eq!(serde_json::to_value(on).unwrap(), on.as_str());
    }
}
