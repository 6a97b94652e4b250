//! The audit log as a whole: what tampering it shows, what a crash does to it.

use std::path::Path;

use homing_agent::audit::{Audit, Entry, Kind, Report, VerifyError, verify};
use tempfile::TempDir;

const FILE: &str = "audit.jsonl";

async fn log_of(lines: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    for number in 0..lines {
        audit
            .record(Entry::new(Kind::Call).detail("number", number))
            .await
            .unwrap();
    }
    audit.shutdown().await;
    dir
}

fn read(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(FILE)).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn write(dir: &Path, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.join(FILE), text).unwrap();
}

fn check(dir: &Path) -> Result<Report, VerifyError> {
    verify(dir, None)
}

#[tokio::test]
async fn a_log_that_nobody_touched_is_whole_over_restarts() {
    let dir = log_of(20).await;
    let audit = Audit::open(dir.path()).unwrap();
    audit.note(Entry::new(Kind::Admitted));
    let head = audit.head().await.unwrap();
    audit.shutdown().await;
    let report = verify(dir.path(), Some(head)).unwrap();
    assert_eq!(
        (report.lines, report.first_seq, report.torn_bytes),
        (23, 1, 0)
    );
    assert_eq!(report.head, head);
}

#[tokio::test]
async fn a_changed_a_missing_and_a_moved_line_are_found() {
    let dir = log_of(10).await;
    let lines = read(dir.path());

    let mut changed = lines.clone();
    changed[4] = changed[4].replace("\"number\":3", "\"number\":9");
    assert_ne!(changed, lines);
    write(dir.path(), &changed);
    assert!(matches!(
        check(dir.path()),
        Err(VerifyError::Broken { line: 5, .. })
    ));

    let mut missing = lines.clone();
    missing.remove(4);
    write(dir.path(), &missing);
    assert!(matches!(
        check(dir.path()),
        Err(VerifyError::Broken { line: 5, .. })
    ));

    let mut moved = lines.clone();
    moved.swap(4, 5);
    write(dir.path(), &moved);
    assert!(matches!(
        check(dir.path()),
        Err(VerifyError::Broken { line: 5, .. })
    ));

    write(dir.path(), &lines);
    check(dir.path()).unwrap();
}

#[tokio::test]
async fn lines_cut_off_at_the_end_are_found_with_a_head_that_was_kept_elsewhere() {
    let dir = log_of(10).await;
    let head = check(dir.path()).unwrap().head;
    let lines = read(dir.path());
    write(dir.path(), &lines[..8]);
    check(dir.path()).unwrap();
    let error = verify(dir.path(), Some(head)).unwrap_err();
    assert!(
        matches!(
            error,
            VerifyError::Truncated {
                found: 8,
                expected: 11
            }
        ),
        "{error:?}"
    );
    // Another chain of the same length is not it either.
    let other = log_of(10).await;
    std::fs::copy(other.path().join(FILE), dir.path().join(FILE)).unwrap();
    assert!(matches!(
        verify(dir.path(), Some(head)),
        Err(VerifyError::Replaced { seq: 11 })
    ));
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_and_noted_at_every_length() {
    let dir = log_of(3).await;
    let whole = std::fs::read(dir.path().join(FILE)).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    for end in last + 1..whole.len() {
        std::fs::write(dir.path().join(FILE), &whole[..end]).unwrap();
        assert_eq!(check(dir.path()).unwrap().torn_bytes, (end - last) as u64);
        let audit = Audit::open(dir.path()).unwrap();
        audit.shutdown().await;
        let report = check(dir.path()).unwrap();
        assert_eq!((report.lines, report.torn_bytes), (5, 0));
        assert!(read(dir.path())[3].contains(r#""kind":"recovered""#));
    }
}

#[tokio::test]
async fn a_last_line_that_is_no_line_is_not_written_after() {
    let dir = log_of(3).await;
    let mut lines = read(dir.path());
    lines.push("something else".to_owned());
    write(dir.path(), &lines);
    let error = Audit::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("move the file away"), "{error}");
}

#[tokio::test]
async fn a_line_waits_in_the_file_before_its_call_runs() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    audit
        .record(Entry::new(Kind::Call).call("PUT", "/api/files/a"))
        .await
        .unwrap();
    assert!(read(dir.path()).last().unwrap().contains("/api/files/a"));
    audit.shutdown().await;
    audit.record(Entry::new(Kind::Call)).await.unwrap_err();
}
