//! `docs/faults.md` is true: each fault has a row, and each test that it names exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What must have a row, in the words of its first column.
const FAULTS: &[&str] = &[
    "no certificate",
    "expired certificate",
    "certificate from the future",
    "certificate of a foreign network",
    "tampered certificate",
    "certificate of another device",
    "certificate of a weak key",
    "certificate replayed from another NodeId",
    "unknown version",
    "ticket used twice",
    "ticket expired",
    "ticket garbled",
    "ticket wrapped over lines",
    "ticket from another network",
    "wrong secret five times",
    "1,000 parallel redemptions",
    "coordinator down",
    "coordinator restarted",
    "coordinator restored from an old backup",
    "revocation while nothing runs",
    "revocation while an agent is away",
    "agent killed before the commit",
    "agent killed after the commit",
    "agent killed after the push",
    "agent killed after the swap",
    "agent killed after it persisted",
    "agent killed before the acknowledgement",
    "disk full",
    "kill -9",
    "device's clock a year ahead",
    "device's clock a year behind",
    "host's clock a year ahead",
    "host's clock a year behind",
    "port taken, proxy",
    "port taken, QUIC",
    "data directory held by another process",
    "data directory world-readable",
    "slowloris heads",
    "both CL and TE",
    "10,000 headers",
    "1 GiB body",
    "client that stops reading",
    "half-closed client",
    "foreign Host",
    "foreign Origin",
    "null Origin",
    "cross-site fetch",
    "rebinding name",
    "another local user's curl",
    "provider refuses the key",
    "provider answers 429 or 5xx",
    "provider hangs before its answer or in it",
    "provider's answer is cut, at any byte",
    "provider redirects",
    "invalid JSON, wrong types",
    "10 MB of tool arguments, endless answer",
    "missing index, id or `[DONE]`, unknown reason",
    "empty stream, or nothing but its last line",
    "TLS fails: no TLS there, or a certificate that nobody vouches for",
    "agent killed in mid-answer",
    "MCP server crashes in a call",
    "MCP call that hangs",
    "MCP server writes garbage",
    "MCP message above 1 MiB",
    "MCP server with 5,000 tools, an endless list, a huge schema",
    "MCP server that changes its list",
    "MCP server of an older or newer version, or one that dies of the question",
    "MCP server leaves processes behind",
    "grandchild that has left its group and its session",
    "slow reader",
    "reconnect storm",
    "duplicate messages with one client id",
    "frames too large, binary frames",
    "unknown types, broken frames",
    "wrong session owner",
    "model that obeys a text from outside: approves by itself",
    "the same: reads keys or the database",
    "the same: writes",
];

/// Folders of the packages whose tests may be named.
const PACKAGES: &[(&str, &str)] = &[
    ("homing", "cli"),
    ("homing-agent", "agent"),
    ("homing-certs", "certs"),
    ("homing-coordinator", "coordinator"),
    ("homing-loopback-proxy", "loopback-proxy"),
    ("homing-protocol", "protocol"),
    ("homing-transport", "transport"),
];

struct Row {
    fault: String,
    tests: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/faults.md")).unwrap()
}

fn rows(page: &str) -> Vec<Row> {
    page.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| fault |"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [fault, happens, tests] = cells.as_slice() else {
                panic!("not three cells: {line}");
            };
            assert!(!happens.is_empty(), "{line}");
            let tests = tests.split('`').map(str::trim);
            Row {
                fault: (*fault).to_owned(),
                tests: tests
                    .filter(|test| !test.is_empty())
                    .map(str::to_owned)
                    .collect(),
            }
        })
        .collect()
}

/// `package module::path::name` of every test in the tree.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (package, folder) in PACKAGES {
        for (part, is_suite) in [("src", false), ("tests", true)] {
            let part = root().join(folder).join(part);
            sources(&part, &mut |file| {
                let inside = file.strip_prefix(&part).unwrap().with_extension("");
                // The first name under `tests` is the binary's, not a module's.
                let modules: Vec<&str> = inside
                    .iter()
                    .skip(usize::from(is_suite))
                    .map(|name| name.to_str().unwrap())
                    .collect();
                let text = std::fs::read_to_string(file).unwrap();
                for (name, is_inline) in test_functions(&text) {
                    let inline = is_inline.then_some("tests");
                    let path = modules.iter().copied().chain(inline).chain([name]);
                    let path = path.collect::<Vec<_>>().join("::");
                    found.insert(format!("{package} {path}"));
                }
            });
        }
    }
    found
}

fn sources(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path);
        }
    }
}

/// Names of the functions under `#[test]`, and whether they are in a `mod tests` of the file.
fn test_functions(text: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let (mut is_test, mut is_inline) = (false, false);
    for line in text.lines() {
        is_inline |= line == "mod tests {";
        let line = line.trim();
        is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
        let declared = line.strip_prefix("async ").unwrap_or(line);
        if let Some(declared) = declared.strip_prefix("fn ") {
            if is_test {
                let name = declared.split(['(', '<']).next().unwrap();
                found.push((name, is_inline));
            }
            is_test = false;
        }
    }
    found
}

#[test]
fn every_test_on_the_page_of_faults_exists() {
    let tests = tests();
    assert!(tests.len() > 300, "only {} tests were found", tests.len());
    let rows = rows(&page());
    let missing: Vec<&String> = rows
        .iter()
        .flat_map(|row| &row.tests)
        .filter(|test| !tests.contains(*test))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    let bare: Vec<&String> = rows
        .iter()
        .filter(|row| row.tests.is_empty())
        .map(|row| &row.fault)
        .collect();
    assert!(bare.is_empty(), "faults without a test: {bare:#?}");
}

#[test]
fn every_fault_has_exactly_one_row() {
    let rows = rows(&page());
    for fault in FAULTS {
        let count = rows.iter().filter(|row| row.fault == *fault).count();
        assert_eq!(count, 1, "{fault}");
    }
}

#[test]
fn every_crash_point_is_on_the_page() {
    let page = page();
    let mut points = BTreeSet::new();
    for (_, folder) in PACKAGES {
        sources(&root().join(folder).join("src"), &mut |file| {
            let text = std::fs::read_to_string(file).unwrap();
            let named = text.split("crash::point(\"").skip(1);
            points.extend(named.map(|rest| rest.split('"').next().unwrap().to_owned()));
        });
    }
    assert!(points.len() >= 6, "{points:?}");
    for point in points {
        assert!(page.contains(&format!("`{point}`")), "{point}");
    }
}
