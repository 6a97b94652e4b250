//! Web pages in real Chromium: the agent's own page works, and a page of any other origin can
//! neither read, write, frame, nor open a WebSocket. The proxy's own counters show who refused.

mod attempts;
mod counted;
mod driver;
mod site;

use std::path::Path;

use serde_json::{Value, json};

use crate::kit::{Dir, Running, curl, eventually};
use attempts::{ATTEMPTS, FRAME, MARK, Ours, Refused};
use counted::{Counted, assert_only_refused, assert_refused};
use driver::{Browser, REBOUND};
use site::Site;

/// A page of the proxy's own origin that no content policy holds back, so that what stops a script
/// there is the proxy or the agent.
const OWN_PLAIN_PAGE: &str = "/.homing/proxy";

/// A word that the agent's page shows, whatever its state.
const ON_THE_PAGE: &str = "Send";

#[test]
fn the_agents_own_page_shows_the_agent_and_streams_an_answer() {
    let browser = Browser::start();
    let host = Dir::new();
    let up = host.up();
    let answer = say_in_the_page(&browser, &up, "help");
    let name = curl([up.url("/api/agent-info")]).ok()["name"].clone();
    eventually("the agent's name", || {
        (browser.text_of("#agent") == name).then_some(())
    });
    assert!(answer.contains("uptime"), "{answer}");
    assert_eq!(browser.text_of(".user"), "help");
    let changes = browser.run("return window.changes", &Value::Null);
    assert!(
        changes.as_u64().unwrap() > 4,
        "{changes} changes are no stream"
    );

    for (file, width, height, scheme) in [
        ("page-light.png", 1000, 700, "light"),
        ("page-dark-small.png", 390, 780, "dark"),
    ] {
        browser.look(width, height, scheme);
        let fits = "return document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.run(fits, &Value::Null), true, "{file} is too wide");
        let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(picture, browser.screenshot()).unwrap();
    }

    // The whole conversation is there again after a reload, and nothing was refused on the way:
    // neither by the page's own policy nor by the proxy.
    browser.open(&up.url("/"));
    eventually("the conversation", || {
        let text = browser.text_of("#log");
        (text.contains("help") && text.contains(&answer)).then_some(())
    });
    assert_eq!(browser.console(), Vec::<String>::new());
    let refused = Counted::read(&up).refused;
    assert!(refused.values().all(|&count| count == 0), "{refused:?}");
    up.stop();
}

#[test]
fn a_page_of_another_origin_can_neither_read_nor_write_nor_frame_nor_open_a_websocket() {
    let browser = Browser::start();
    let site = Site::start();
    let host = Dir::new();
    let up = host.up();
    say_in_the_page(&browser, &up, "help");
    let ours = up.url("");
    let our_port = ours.rsplit(':').next().unwrap().to_owned();
    let others = [
        // Same site, another origin.
        format!("http://127.0.0.1:{}/", site.port),
        format!("http://localhost:{}/", site.port),
        // The proxy's own other name is another origin too.
        format!("http://localhost:{our_port}{OWN_PLAIN_PAGE}"),
        format!("http://{REBOUND}:{}/", site.port),
    ];
    for page in &others {
        browser.open(page);
        for attempt in ATTEMPTS {
            let what = format!("{page} tries to {}", attempt.name);
            let before = Counted::read(&up);
            assert_eq!(
                browser.run(attempt.script, &json!(ours)),
                "kept out",
                "{what}"
            );
            assert_refused(&up, before, attempt.refused.counter(), &what);
        }
        let what = format!("{page} frames the page");
        let before = Counted::read(&up);
        assert_eq!(browser.run(FRAME, &json!(ours)), "kept out", "{what}");
        assert_refused(&up, before, Refused::CrossSite.counter(), &what);
        let framed = browser.text_in_frame();
        assert!(!framed.contains(ON_THE_PAGE), "{what}: {framed}");
    }
    assert!(
        !is_marked(&host.path()),
        "a page of another origin wrote a file"
    );
    assert_eq!(
        messages(&up),
        2,
        "a page of another origin cleared a session"
    );

    // The same scripts succeed from the proxy's own origin, so it was the origin that failed.
    browser.open(&up.url(OWN_PLAIN_PAGE));
    for attempt in ATTEMPTS {
        let before = Counted::read(&up);
        let saw = browser.run(attempt.script, &json!(ours));
        let expected = match attempt.ours {
            Ours::LetIn => "let in",
            Ours::Unseen | Ours::Refused => "kept out",
        };
        let what = format!("our own page tries to {}", attempt.name);
        assert_eq!(saw, expected, "{what}");
        if attempt.ours == Ours::Refused {
            assert_refused(&up, before, attempt.refused.counter(), &what);
        } else {
            let after = Counted::read(&up);
            assert_eq!(after.refused, before.refused, "{what}");
            assert!(after.forwarded > before.forwarded, "{what}");
        }
    }
    assert!(
        is_marked(&host.path()),
        "our own page could not write a file"
    );
    assert_eq!(messages(&up), 0, "our own page could not clear a session");

    // Where the proxy lets a frame through, the page itself does not appear in it.
    let before = Counted::read(&up);
    assert_eq!(browser.run(FRAME, &json!(ours)), "kept out");
    assert!(Counted::read(&up).forwarded > before.forwarded);
    let framed = browser.text_in_frame();
    assert!(!framed.contains(ON_THE_PAGE), "{framed}");
    browser.open(&up.url("/"));
    assert!(browser.text().contains(ON_THE_PAGE), "{}", browser.text());
    up.stop();
}

#[test]
fn another_site_may_link_to_the_page_and_keeps_no_hold_on_it() {
    let browser = Browser::start();
    let site = Site::start();
    let host = Dir::new();
    let up = host.up();
    browser.open(&format!("http://localhost:{}/", site.port));
    let before = Counted::read(&up);
    // Cut off, a window looks closed to whoever opened it.
    let link = "const shown = window.open(input + '/');
                while (!shown.closed) await new Promise((resolve) => setTimeout(resolve, 10));
                return 'cut off';";
    assert_eq!(browser.run(link, &json!(up.url(""))), "cut off");
    let after = eventually("the linked page's own requests", || {
        let now = Counted::read(&up);
        (now.forwarded >= before.forwarded + 5).then_some(now)
    });
    assert_eq!(after.refused, before.refused);
    up.stop();
}

#[test]
fn a_rebound_name_reaches_the_proxy_and_is_misdirected() {
    let browser = Browser::start();
    let host = Dir::new();
    let up = host.up();
    let rebound = up.url("/").replace("127.0.0.1", REBOUND);
    // Chromium asks once more after a 421, so there may be two refusals of each request.
    let before = Counted::read(&up);
    browser.open(&rebound);
    assert_only_refused(&up, before, "bad_host", "a rebound name");
    assert!(browser.text().contains("bad_host"), "{}", browser.text());

    // From a page of the rebound name everything is of one origin as the browser sees it; only the
    // proxy can tell. The refusal itself is such a page, with its own policy put aside.
    browser.ignore_policies();
    browser.open(&rebound);
    let tries = [
        ("return (await fetch('/api/whoami')).status", json!(421)),
        (
            "return (await fetch('/api/upload', {method: 'POST', body: 'written-by-a-page'})).status",
            json!(421),
        ),
        (
            "const socket = new WebSocket('/ws');
             return new Promise((resolve) => {
               socket.onopen = () => resolve('let in');
               socket.onerror = () => resolve('kept out');
             });",
            json!("kept out"),
        ),
    ];
    for (script, seen) in tries {
        let before = Counted::read(&up);
        assert_eq!(browser.run(script, &Value::Null), seen, "{script}");
        assert_only_refused(&up, before, "bad_host", script);
    }
    assert!(!is_marked(&host.path()));
    up.stop();
}

#[test]
fn with_the_token_a_page_opens_a_websocket_and_without_it_none() {
    let browser = Browser::start();
    let host = Dir::new();
    host.up().stop();
    let config = host.path().join("homing.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let strict = text.replace("auth = \"same-user\"", "auth = \"token\"");
    assert_ne!(text, strict);
    std::fs::write(&config, strict).unwrap();
    let up = host.up();
    let token = std::fs::read_to_string(host.path().join("run/proxy.token")).unwrap();
    let token = token.trim();

    browser.open(&up.url("/"));
    assert!(
        browser.text().contains("token_required"),
        "{}",
        browser.text()
    );

    // Whatever adds the token to the page's requests, the script has it from elsewhere.
    let bearer = format!("Bearer {token}");
    browser.send_headers(&json!({"Authorization": bearer}));
    browser.open(&up.url("/"));
    eventually("the agent's name", || {
        (browser.text_of("#agent") != "homing").then_some(())
    });
    browser.send_headers(&json!({}));
    let script = "const socket = new WebSocket('/ws', input);
         return new Promise((resolve) => {
           socket.onopen = () => {
             socket.send(JSON.stringify({type: 'ping'}));
             socket.onmessage = (event) => {
               resolve([socket.protocol, JSON.parse(event.data).type]);
               socket.close();
             };
           };
           socket.onerror = () => resolve('kept out');
         });";
    let right = format!("homing.token.{token}");
    assert_eq!(
        browser.run(script, &json!(["homing.v1", right])),
        json!(["homing.v1", "pong"])
    );
    let mut wrong = right;
    let last = if wrong.ends_with('0') { '1' } else { '0' };
    wrong.pop();
    wrong.push(last);
    for offered in [json!(["homing.v1", wrong]), json!(["homing.v1"])] {
        assert_eq!(browser.run(script, &offered), "kept out", "{offered}");
    }
    let header = format!("Authorization: {bearer}");
    let counted = curl(["--header", &header, &up.url(OWN_PLAIN_PAGE)]).ok();
    // The page, the wrong token and none; the page's own script tries too.
    let refused = &counted["counters"]["refused"]["bad_token"];
    assert!(refused.as_u64().unwrap() >= 3, "{counted}");
    up.stop();
}

/// Says something in the agent's own page and waits for the end of the answer, which it gives.
fn say_in_the_page(browser: &Browser, up: &Running, text: &str) -> String {
    browser.open(&up.url("/"));
    eventually("the connection", || {
        (browser.text_of("#state") == "connected").then_some(())
    });
    // How often the log changes is seen from inside the page.
    browser.run(
        "window.changes = 0;
         new MutationObserver(() => { window.changes += 1; })
           .observe(document.getElementById('log'), {childList: true, subtree: true});",
        &Value::Null,
    );
    browser.type_into("#text", &format!("{text}\u{e007}"));
    eventually("the answer", || {
        let shown = browser.run(
            "const stop = document.getElementById('stop');
             const answers = document.querySelectorAll('.answer');
             return stop.hidden && answers.length === 1 ? answers[0].textContent : '';",
            &Value::Null,
        );
        shown
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    })
}

/// Messages of the page's session.
fn messages(up: &Running) -> u64 {
    let sessions = curl([up.url("/api/sessions")]).ok()["sessions"].clone();
    let sessions = sessions.as_array().unwrap();
    let ours = sessions.iter().find(|each| each["session_id"] == "page");
    ours.map_or(0, |session| session["messages"].as_u64().unwrap())
}

/// Whether something under this folder holds what the scripts write.
fn is_marked(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_marked(&path);
        }
        // Sockets and files that have just gone cannot be read.
        let content = std::fs::read(&path).unwrap_or_default();
        content
            .windows(MARK.len())
            .any(|window| window == MARK.as_bytes())
    })
}
