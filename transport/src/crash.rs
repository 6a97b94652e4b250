//! Named points at which a debug build dies, to show what survives (`docs/faults.md` lists them).

/// Dies by SIGKILL when this is a debug build and `HOMING_CRASH_AT` is `name`. Does nothing in a
/// release.
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("HOMING_CRASH_AT").is_some_and(|wanted| wanted == name) {
        // SIGKILL, not abort: no handler, no flush, no destructor may run.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::thread::park();
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
