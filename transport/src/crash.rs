//! Named points at which a test build dies, to show what survives (`docs/faults.md` lists them).

/// Dies by SIGKILL when the build has the feature `crash-points` and `HOMING_CRASH_AT` is `name`.
/// Does nothing in other builds.
pub fn point(name: &str) {
    #[cfg(feature = "crash-points")]
    if std::env::var_os("HOMING_CRASH_AT").is_some_and(|wanted| wanted == name) {
        // SIGKILL, not abort: no handler, no flush, no destructor may run.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::thread::park();
    }
    #[cfg(not(feature = "crash-points"))]
    let _ = name;
}
