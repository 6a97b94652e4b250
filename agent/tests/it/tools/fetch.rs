//! Pages from servers on this machine's loopback, which the settings of each test name, and every way
//! that we know to get at an address that they do not.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use homing_agent::tools::settings::FetchSettings;
use homing_agent::tools::{FetchTool, Lookup};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::run;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A server whose answer is a function of the path.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Server {
    async fn start(
        address: &str,
        answer: impl Fn(&str) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(vec![]));
        let log = asked.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, log) = (answer.clone(), log.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    assert_eq!(request.method(), "GET");
                    assert!(request.headers().get("cookie").is_none());
                    let host = request.headers()["host"].to_str().unwrap().to_owned();
                    let path = request.uri().path().to_owned();
                    log.lock().unwrap().push(format!("{host}{path}"));
                    let answer = answer(&path);
                    async move { Ok::<_, Infallible>(answer) }
                });
                connections.spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn page(kind: &str, body: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .header("content-type", kind)
        .header("set-cookie", "a=b")
        .body(Full::new(body.into()).boxed_unsync())
        .unwrap()
}

fn page_of<B>(body: B) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    Response::new(body.boxed_unsync())
}

fn redirect(to: &str) -> Response<Body> {
    Response::builder()
        .status(302)
        .header("location", to)
        .body(Full::default().boxed_unsync())
        .unwrap()
}

/// Names with their addresses; each question takes the next of its answers, the last one stays.
#[derive(Debug, Default)]
struct Names {
    known: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
}

impl Names {
    fn of(known: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        let known = known
            .iter()
            .map(|(name, answers)| ((*name).to_owned(), answers.iter().map(parse).collect()));
        Arc::new(Self {
            known: Mutex::new(known.collect()),
        })
    }
}

impl Lookup for Names {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut known = self.known.lock().unwrap();
        let answer = match known.get_mut(&name) {
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers[0].clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        async move { answer }.boxed()
    }
}

/// A tool that may ask these ports of 127.0.0.2 and of nothing else that is private.
fn tool(ports: &[u16], names: Arc<Names>) -> FetchTool {
    patient(ports, names, Duration::from_secs(15))
}

fn patient(ports: &[u16], names: Arc<Names>, patience: Duration) -> FetchTool {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = FetchSettings {
        enabled: true,
        ports: ports.to_vec(),
        allow_private: vec!["127.0.0.2".parse().unwrap()],
    };
    FetchTool::with(settings, names, patience)
}

async fn fetch(tool: &FetchTool, url: &str) -> Result<Value, String> {
    run(tool, json!({"url": url})).await
}

#[tokio::test]
async fn a_page_is_told_as_text_and_other_texts_as_they_are() {
    let server = Server::start("127.0.0.2", |path| match path {
        "/page" => page(
            "text/html; charset=utf-8",
            "<title>News</title><p>It <i>rains</i>.<script>steal()</script>",
        ),
        "/data" => page("application/json", r#"{"a": [1, 2]}"#),
        _ => page("image/png", "no text"),
    })
    .await;
    let port = server.port();
    let names = Names::of(&[("news.test", &[&["127.0.0.2"]])]);
    let tool = tool(&[port], names);
    let told = fetch(&tool, &format!("http://news.test:{port}/page#top"))
        .await
        .unwrap();
    assert_eq!(
        (
            &told["status"],
            &told["title"],
            &told["text"],
            &told["truncated"]
        ),
        (
            &json!(200),
            &json!("News"),
            &json!("It rains."),
            &json!(false)
        )
    );
    let told = fetch(&tool, &format!("http://127.0.0.2:{port}/data"))
        .await
        .unwrap();
    assert_eq!(told["text"], r#"{"a": [1, 2]}"#);
    let error = fetch(&tool, &format!("http://news.test:{port}/image"))
        .await
        .unwrap_err();
    assert!(error.contains("image/png"), "{error}");
    assert_eq!(server.asked()[0], format!("news.test:{port}/page"));
}

#[tokio::test]
async fn no_form_of_a_private_address_is_asked() {
    let server = Server::start("127.0.0.1", |_| page("text/plain", "private")).await;
    let port = server.port();
    let names = Names::of(&[
        ("localhost", &[&["127.0.0.1"]]),
        ("localhost.", &[&["127.0.0.1"]]),
        ("inside.test", &[&["10.0.0.7"]]),
        ("both.test", &[&["127.0.0.2", "127.0.0.1"]]),
        ("mapped.test", &[&["::ffff:127.0.0.1"]]),
        ("nat64.test", &[&["64:ff9b::7f00:1"]]),
        ("sixtofour.test", &[&["2002:7f00:1::1"]]),
        ("meta.test", &[&["169.254.169.254"]]),
    ]);
    let tool = tool(&[port], names);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "①②⑦.0.0.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:127.0.0.2]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "2852039166",
        "224.0.0.1",
        "255.255.255.255",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "inside.test",
        "both.test",
        "mapped.test",
        "nat64.test",
        "sixtofour.test",
        "meta.test",
    ] {
        let error = fetch(&tool, &format!("http://{host}:{port}/"))
            .await
            .expect_err(host);
        assert!(error.contains("may not be asked"), "{host}: {error}");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_redirect_is_looked_at_like_the_first_address() {
    let inside = Server::start("127.0.0.1", |_| page("text/plain", "private")).await;
    let (private, port) = (inside.port(), Arc::new(AtomicU64::new(0)));
    let own = port.clone();
    let outside = Server::start("127.0.0.2", move |path| {
        let own = own.load(Ordering::Relaxed);
        match path {
            "/a" => redirect(&format!("http://127.0.0.1:{private}/")),
            "/b" => redirect(&format!("http://inside.test:{private}/")),
            "/c" => redirect("http://169.254.169.254/latest/meta-data/"),
            "/d" => redirect(&format!("//0x7f.1:{private}/")),
            "/e" => redirect("file:///etc/passwd"),
            "/f" => redirect("gopher://127.0.0.2/"),
            "/g" => redirect(&format!("http://user:pass@127.0.0.2:{own}/good")),
            "/h" => redirect("http://127.0.0.2:22/"),
            "/ring" => redirect("/ring"),
            "/nowhere" => redirect(""),
            "/good" => page("text/plain", "reached"),
            _ => redirect("/good"),
        }
    })
    .await;
    port.store(outside.port().into(), Ordering::Relaxed);
    let names = Names::of(&[("inside.test", &[&["127.0.0.1"]])]);
    let tool = tool(&[outside.port(), private, 80], names);
    let at = |path: &str| format!("http://{}{path}", outside.address);
    for (path, why) in [
        ("/a", "127.0.0.1, which is loopback"),
        ("/b", "127.0.0.1, which is loopback"),
        ("/c", "169.254.169.254, which is link-local"),
        ("/d", "127.0.0.1, which is loopback"),
        ("/e", "neither with http: nor https:"),
        ("/f", "neither with http: nor https:"),
        ("/g", "a name or a password"),
        ("/h", "the port 22"),
        ("/ring", "more than 5 times"),
    ] {
        let error = fetch(&tool, &at(path)).await.expect_err(path);
        assert!(error.contains(why), "{path}: {error}");
    }
    assert_eq!(inside.asked(), Vec::<String>::new());
    let rings = outside
        .asked()
        .iter()
        .filter(|one| one.contains("/ring"))
        .count();
    assert_eq!(rings, 6);
    let told = fetch(&tool, &at("/moved")).await.unwrap();
    assert_eq!(told["text"], "reached");
    assert_eq!(told["url"], at("/good"));
}

#[tokio::test]
async fn a_name_that_changes_its_address_gets_nowhere() {
    let inside = Server::start("127.0.0.1", |_| page("text/plain", "private")).await;
    // The same port on the address that may be asked, where nobody listens.
    let names = Names::of(&[("rebind.test", &[&["127.0.0.2"], &["127.0.0.1"]])]);
    let tool = tool(&[inside.port()], names);
    let url = format!("http://rebind.test:{}/", inside.port());
    let error = fetch(&tool, &url).await.unwrap_err();
    assert!(error.contains("cannot be reached"), "{error}");
    let error = fetch(&tool, &url).await.unwrap_err();
    assert!(error.contains("may not be asked"), "{error}");
    assert_eq!(inside.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_of_a_gibibyte_is_read_to_the_limit_and_no_further() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let server = Server::start("127.0.0.2", move |_| {
        let counter = counter.clone();
        let pieces = stream::iter(0..16_384).map(move |_| {
            counter.fetch_add(64 << 10, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from_static(&[b'x'; 64 << 10])))
        });
        page_of(StreamBody::new(pieces))
    })
    .await;
    let tool = tool(&[server.port()], Names::of(&[]));
    let url = format!("http://{}/", server.address);
    let told = fetch(&tool, &url).await.unwrap();
    assert_eq!(told["truncated"], true);
    assert!(told.to_string().len() < 64 << 10);
    let next = told["next_offset"].as_u64().unwrap();
    let last = run(&tool, json!({"url": url, "offset": (1 << 20) - 10})).await;
    let last = last.unwrap();
    assert_eq!(last["text"], "x".repeat(10));
    assert!(last["hint"].as_str().unwrap().contains("longer"), "{last}");
    assert!(next > 30_000);
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 128 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let server = Server::start("127.0.0.2", |_| {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok(Frame::data(Bytes::from_static(b"."))), ()))
        });
        page_of(StreamBody::new(drops))
    })
    .await;
    let tool = patient(&[server.port()], Names::of(&[]), Duration::from_millis(300));
    let error = fetch(&tool, &format!("http://{}/", server.address))
        .await
        .unwrap_err();
    assert!(error.contains("did not come"), "{error}");
}

#[tokio::test]
async fn what_is_no_address_of_a_page_is_named() {
    let tool = tool(&[80, 443], Names::of(&[]));
    for (url, why) in [
        ("nonsense", "cannot be read"),
        ("file:///etc/passwd", "neither with http"),
        ("ftp://127.0.0.2/", "neither with http"),
        ("http://ann:secret@127.0.0.2/", "a name or a password"),
        ("http://127.0.0.2:7070/", "the port 7070"),
        ("https://127.0.0.2:22/", "the port 22"),
        ("http://unknown.test/", "cannot be resolved"),
    ] {
        let error = fetch(&tool, url).await.expect_err(url);
        assert!(error.contains(why), "{url}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let long = format!("http://127.0.0.2/{}", "a".repeat(3_000));
    let error = fetch(&tool, &long).await.unwrap_err();
    assert!(error.contains("too long"), "{error}");
}
