//! What a page may try against the proxy at `input`. Each script says `let in` or `kept out`, as the
//! page itself sees it.

/// The proxy's counter that has to rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `Origin` came along and was another's.
    BadOrigin,
    /// No `Origin`, but `Sec-Fetch-Site` told.
    CrossSite,
}

/// How the same script fares on a page of the proxy's own origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ours {
    LetIn,
    /// The agent answers, and the answer is a sandboxed document that shows itself to no script.
    Unseen,
    /// What tries has no origin, whoever made it.
    Refused,
}

/// One thing to try.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
    /// For a page of another origin.
    pub(crate) refused: Refused,
    /// For a page of the proxy's own origin.
    pub(crate) ours: Ours,
}

impl Refused {
    pub(crate) const fn counter(self) -> &'static str {
        match self {
            Self::BadOrigin => "bad_origin",
            Self::CrossSite => "cross_site",
        }
    }
}

/// What a file has in it that one of the scripts managed to write.
pub(crate) const MARK: &str = "written-by-a-page";

const fn attempt(
    name: &'static str,
    refused: Refused,
    ours: Ours,
    script: &'static str,
) -> Attempt {
    Attempt {
        name,
        script,
        refused,
        ours,
    }
}

pub(crate) const ATTEMPTS: &[Attempt] = &[
    attempt(
        "read by fetch",
        Refused::BadOrigin,
        Ours::LetIn,
        "try {
           const who = await (await fetch(input + '/api/whoami')).json();
           return who.node_id ? 'let in' : 'read ' + JSON.stringify(who);
         } catch (error) { return error instanceof TypeError ? 'kept out' : String(error); }",
    ),
    attempt(
        "send a GET without looking at the answer",
        Refused::CrossSite,
        Ours::LetIn,
        "const answer = await fetch(input + '/api/blob?bytes=1', {mode: 'no-cors'}).catch(() => null);
         return answer && answer.ok ? 'let in' : 'kept out';",
    ),
    attempt(
        "write by a simple request",
        Refused::BadOrigin,
        Ours::LetIn,
        "try {
           const answer = await fetch(input + '/api/upload?filename=simple.txt', {
             method: 'POST', headers: {'content-type': 'text/plain'}, body: 'written-by-a-page'});
           return answer.ok ? 'let in' : 'answered ' + answer.status;
         } catch (error) { return error instanceof TypeError ? 'kept out' : String(error); }",
    ),
    attempt(
        "write without looking at the answer",
        Refused::BadOrigin,
        Ours::LetIn,
        "const answer = await fetch(input + '/api/sessions/page/clear', {
           mode: 'no-cors', method: 'POST', body: ''}).catch(() => null);
         return answer && answer.ok ? 'let in' : 'kept out';",
    ),
    attempt(
        "write by a request with a preflight",
        Refused::BadOrigin,
        Ours::LetIn,
        "try {
           const answer = await fetch(input + '/api/files/put.txt', {
             method: 'PUT', body: 'written-by-a-page'});
           return answer.ok ? 'let in' : 'answered ' + answer.status;
         } catch (error) { return error instanceof TypeError ? 'kept out' : String(error); }",
    ),
    attempt(
        "send a form",
        Refused::BadOrigin,
        Ours::Unseen,
        "const shown = window.open('about:blank', 'shown');
         const form = document.createElement('form');
         Object.assign(form, {method: 'post', enctype: 'text/plain', target: 'shown',
           action: input + '/api/upload?filename=form.txt'});
         const field = document.createElement('input');
         Object.assign(field, {name: 'a', value: 'written-by-a-page'});
         form.append(field);
         document.body.append(form);
         form.submit();
         try {
           for (;;) {
             const body = shown.document.body;
             if (body && body.innerText.includes('filename')) return 'let in';
             await new Promise((resolve) => setTimeout(resolve, 10));
           }
         } catch (error) { return error.name === 'SecurityError' ? 'kept out' : String(error); }
         finally { form.remove(); shown.close(); }",
    ),
    attempt(
        "open a window on an answer",
        Refused::CrossSite,
        Ours::Unseen,
        "const shown = window.open(input + '/api/whoami', 'shown');
         try {
           for (;;) {
             const body = shown.document.body;
             if (body && body.innerText.includes('node_id')) return 'let in';
             await new Promise((resolve) => setTimeout(resolve, 10));
           }
         } catch (error) { return error.name === 'SecurityError' ? 'kept out' : String(error); }
         finally { shown.close(); }",
    ),
    attempt(
        "show an image",
        Refused::CrossSite,
        Ours::LetIn,
        "const image = new Image();
         const ended = new Promise((resolve) => {
           image.onload = () => resolve('let in');
           image.onerror = () => resolve('kept out');
         });
         image.src = input + '/assets/icon.svg?' + Math.random();
         return ended;",
    ),
    attempt(
        "run a script",
        Refused::CrossSite,
        Ours::LetIn,
        "const script = document.createElement('script');
         const ended = new Promise((resolve) => {
           script.onload = () => resolve('let in');
           script.onerror = () => resolve('kept out');
         });
         script.src = input + '/assets/app.js';
         document.body.append(script);
         return ended;",
    ),
    attempt(
        "use a style sheet",
        Refused::CrossSite,
        Ours::LetIn,
        "const link = document.createElement('link');
         const ended = new Promise((resolve) => {
           link.onload = () => resolve('let in');
           link.onerror = () => resolve('kept out');
         });
         Object.assign(link, {rel: 'stylesheet', href: input + '/assets/app.css'});
         document.body.append(link);
         return ended;",
    ),
    attempt(
        "open a WebSocket",
        Refused::BadOrigin,
        Ours::LetIn,
        "const socket = new WebSocket(input.replace('http', 'ws') + '/ws');
         return new Promise((resolve) => {
           socket.onopen = () => { socket.close(); resolve('let in'); };
           socket.onerror = () => resolve('kept out');
         });",
    ),
    attempt(
        "follow the events",
        Refused::BadOrigin,
        Ours::LetIn,
        "const events = new EventSource(input + '/api/events');
         return new Promise((resolve) => {
           events.onopen = () => { events.close(); resolve('let in'); };
           events.onerror = () => { events.close(); resolve('kept out'); };
         });",
    ),
    attempt(
        "read from a sandboxed frame",
        Refused::BadOrigin,
        Ours::Refused,
        "const frame = document.createElement('iframe');
         frame.sandbox = 'allow-scripts';
         frame.srcdoc = `<script>fetch('${input}/api/whoami').then((a) => a.text())
           .then((t) => parent.postMessage('let in', '*'), () => parent.postMessage('kept out', '*'))
           <\\/script>`;
         const told = new Promise((resolve) => addEventListener('message',
           (event) => resolve(event.data), {once: true}));
         document.body.append(frame);
         try { return await told; } finally { frame.remove(); }",
    ),
    attempt(
        "open a WebSocket from a data: frame",
        Refused::BadOrigin,
        Ours::Refused,
        "const frame = document.createElement('iframe');
         const address = input.replace('http', 'ws') + '/ws';
         frame.src = 'data:text/html,' + encodeURIComponent(`<script>
           const socket = new WebSocket('${address}');
           socket.onopen = () => parent.postMessage('let in', '*');
           socket.onerror = () => parent.postMessage('kept out', '*');
           <\\/script>`);
         const told = new Promise((resolve) => addEventListener('message',
           (event) => resolve(event.data), {once: true}));
         document.body.append(frame);
         try { return await told; } finally { frame.remove(); }",
    ),
];

/// Puts the agent's page into a frame, and ends when the frame has loaded whatever it was given.
pub(crate) const FRAME: &str = "const frame = document.createElement('iframe');
     const loaded = new Promise((resolve) => { frame.onload = resolve; });
     frame.src = input + '/';
     document.body.append(frame);
     await loaded;
     return frame.contentDocument === null ? 'kept out' : frame.contentDocument.body.innerText;";
