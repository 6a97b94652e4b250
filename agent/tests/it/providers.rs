//! Providers on the wire: real sockets, real HTTP, servers that behave badly.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use homing_agent::models::detect;
use homing_agent::providers::{
    ApiKey, Endpoint, Http, ModelEvent, ModelRequest, Profile, Provider, ProviderError, Times,
    base_url,
};
use homing_agent::turn::{Said, Tokens};

use crate::fakes::{Fake, STREAM_HEAD, Script, Step, anthropic, openai, status, stream};
use crate::rig::{LIMIT, install_tls};

type Answer = Vec<Result<ModelEvent, ProviderError>>;

/// Short enough to be waited for, long enough for a busy machine to answer in.
fn times() -> Times {
    Times {
        connect: Duration::from_secs(5),
        head: Duration::from_secs(10),
        idle: Duration::from_secs(10),
        backoff: Duration::from_millis(1),
    }
}

fn endpoint(profile: Profile, url: &str, times: Times) -> Endpoint {
    install_tls();
    let key = ApiKey::new("sk-0123456789abcd").unwrap();
    let url = base_url(url).unwrap();
    Endpoint::new(Http::new(times), profile, url, Some(key))
}

async fn ask(endpoint: &Endpoint) -> Answer {
    let request = ModelRequest {
        model: "fake".into(),
        system: "You are at home.".into(),
        said: vec![Said::User("hello".into())],
        max_output_tokens: 50,
        ..ModelRequest::default()
    };
    tokio::time::timeout(LIMIT, endpoint.ask(request).collect())
        .await
        .unwrap()
}

async fn ask_fake(fake: &Fake) -> Answer {
    ask(&endpoint(Profile::Custom, &fake.base_url(), times())).await
}

fn text(text: &str) -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Text(text.to_owned()))
}

fn finished(input: u64, output: u64) -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Finished(Tokens {
        input,
        cached: 0,
        output,
    }))
}

#[tokio::test]
async fn an_answer_of_chat_completions_streams_in() {
    let fake = Fake::always(openai::answer(&["Gr\u{fc}\u{df} ", "dich"])).await;
    let endpoint = endpoint(Profile::OpenAi, &fake.base_url(), times());
    let answer = ask(&endpoint).await;
    assert_eq!(
        answer,
        [text("Gr\u{fc}\u{df} "), text("dich"), finished(1_000, 100)]
    );
    let seen = fake.seen();
    assert!(
        seen[0]
            .head
            .starts_with("POST /v1/chat/completions HTTP/1.1")
    );
    assert_eq!(
        seen[0].header("authorization").unwrap(),
        "Bearer sk-0123456789abcd"
    );
    let body = seen[0].json();
    assert_eq!(body["max_completion_tokens"], 50);
    assert_eq!(body["messages"][1]["content"], "hello");
    assert!(!format!("{endpoint:?}").contains("0123456789"));
}

#[tokio::test]
async fn an_answer_of_anthropics_messages_streams_in() {
    let fake = Fake::always(anthropic::answer(&["hello ", "you"])).await;
    let answer = ask(&endpoint(Profile::Anthropic, &fake.base_url(), times())).await;
    assert_eq!(answer, [text("hello "), text("you"), finished(10, 7)]);
    let seen = fake.seen();
    assert!(seen[0].head.starts_with("POST /v1/messages HTTP/1.1"));
    assert_eq!(seen[0].header("x-api-key").unwrap(), "sk-0123456789abcd");
    assert_eq!(seen[0].header("anthropic-version").unwrap(), "2023-06-01");
    assert!(seen[0].header("authorization").is_none());
    assert_eq!(seen[0].json()["max_tokens"], 50);
}

#[tokio::test]
async fn a_key_that_is_refused_is_tried_once_and_never_repeated() {
    let fake = Fake::always(openai::error(
        401,
        "",
        "Incorrect API key: sk-0123456789abcd",
    ))
    .await;
    assert_eq!(
        ask_fake(&fake).await,
        [Err(ProviderError::Unauthorized(401))]
    );
    assert_eq!(fake.seen().len(), 1);
    let fake = Fake::always(openai::error(400, "", "bad Bearer sk-0123456789abcd\u{7}")).await;
    let answer = ask_fake(&fake).await;
    let [Err(error @ ProviderError::Rejected { status: 400, .. })] = &answer[..] else {
        panic!("{answer:?}")
    };
    assert!(!format!("{error:?}").contains("0123456789"), "{error:?}");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_failing_server_is_asked_three_times_and_one_that_recovers_answers() {
    let failing = openai::error(500, "", "oops");
    let fake = Fake::always(failing.clone()).await;
    assert_eq!(
        ask_fake(&fake).await,
        [Err(ProviderError::Unavailable(500))]
    );
    assert_eq!(fake.seen().len(), 3);
    let limited = openai::error(429, "", "slow down");
    let fake = Fake::start(vec![failing, limited, openai::answer(&["yes"])]).await;
    assert_eq!(ask_fake(&fake).await, [text("yes"), finished(1_000, 100)]);
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_wait_that_a_server_asks_for_is_honoured_up_to_a_limit() {
    let wait = |seconds: u32| openai::error(429, &format!("retry-after: {seconds}\r\n"), "wait");
    let fake = Fake::start(vec![wait(1), openai::answer(&["yes"])]).await;
    let begun = Instant::now();
    assert_eq!(ask_fake(&fake).await[0], text("yes"));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let fake = Fake::always(wait(3_600)).await;
    let limited = ProviderError::RateLimited {
        retry_after: Some(Duration::from_secs(3_600)),
    };
    assert_eq!(ask_fake(&fake).await, [Err(limited)]);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let endpoint = endpoint(Profile::Custom, &format!("http://{gone}/v1"), times());
    let answer = ask(&endpoint).await;
    assert!(
        matches!(answer[..], [Err(ProviderError::Unreachable(_))]),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let fake = Fake::always(vec![Step::Hang]).await;
    let short = Times {
        head: Duration::from_millis(300),
        ..times()
    };
    let answer = ask(&endpoint(Profile::Custom, &fake.base_url(), short)).await;
    assert_eq!(answer, [Err(ProviderError::Silent(0))]);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_falls_silent_in_mid_answer_is_given_up_and_its_words_were_shown() {
    let mut script = stream(&[openai::text("half")]);
    script.push(Step::Hang);
    let fake = Fake::always(script).await;
    let short = Times {
        idle: Duration::from_millis(300),
        ..times()
    };
    let answer = ask(&endpoint(Profile::Custom, &fake.base_url(), short)).await;
    assert_eq!(answer, [text("half"), Err(ProviderError::Silent(0))]);
}

#[tokio::test]
async fn signs_of_life_keep_an_answer_alive() {
    let mut script = vec![Step::Send(STREAM_HEAD.into())];
    for _ in 0..5 {
        script.push(Step::Rest(Duration::from_millis(200)));
        script.push(Step::Send(b": still thinking\n\n".to_vec()));
    }
    script.push(Step::Send(openai::text("there").into_bytes()));
    script.push(Step::Send(openai::end("stop").into_bytes()));
    let fake = Fake::always(script).await;
    let short = Times {
        idle: Duration::from_millis(800),
        ..times()
    };
    let answer = ask(&endpoint(Profile::Custom, &fake.base_url(), short)).await;
    assert_eq!(answer, [text("there"), finished(1_000, 100)]);
}

fn cut(script: &Script, at: usize) -> Script {
    let [Step::Send(bytes)] = &script[..] else {
        panic!("one piece")
    };
    vec![Step::Send(bytes[..at].to_vec())]
}

#[tokio::test]
async fn an_answer_that_is_cut_on_the_wire_ends_and_is_never_taken_for_whole() {
    let whole = openai::answer(&["one ", "two"]);
    let [Step::Send(bytes)] = &whole[..] else {
        panic!("one piece")
    };
    let all = String::from_utf8(bytes.clone()).unwrap();
    let reason = all.find("\"finish_reason\":\"stop\"").unwrap();
    // Every byte is tried where nothing goes over a socket; here the ends of the parts are.
    for at in (0..bytes.len())
        .step_by(37)
        .chain([reason, bytes.len() - 1])
    {
        let fake = Fake::always(cut(&whole, at)).await;
        let answer = ask_fake(&fake).await;
        match answer.last().unwrap() {
            Ok(ModelEvent::Finished(_)) => assert!(at > reason, "taken for whole at {at}"),
            Ok(other) => panic!("{other:?} at the end, cut at {at}"),
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn a_chunked_answer_that_is_cut_is_broken_off() {
    let event = openai::text("half");
    let body = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{event}\r\nffff\r\nhalf a ch",
        event.len()
    );
    let fake = Fake::always(vec![Step::Send(body.into_bytes())]).await;
    assert_eq!(
        ask_fake(&fake).await,
        [text("half"), Err(ProviderError::BrokenOff)]
    );
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    // Comments alone are no event, so only the bound on the whole body ends it.
    let comment = format!(": {}\n", "x".repeat(65_000));
    let mut script = vec![Step::Send(STREAM_HEAD.into())];
    script.extend((0..200).map(|_| Step::Send(comment.clone().into_bytes())));
    let fake = Fake::always(script).await;
    assert_eq!(
        ask_fake(&fake).await,
        [Err(ProviderError::TooLong("its body"))]
    );
}

#[tokio::test]
async fn something_else_that_answers_is_named_as_such() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 13\r\n\r\n<html></html>";
    let fake = Fake::always(vec![Step::Send(page.into())]).await;
    let answer = ask_fake(&fake).await;
    assert!(
        matches!(answer[..], [Err(ProviderError::Malformed(_))]),
        "{answer:?}"
    );
    let fake = Fake::always(vec![Step::Send(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())]).await;
    let answer = ask_fake(&fake).await;
    assert!(
        matches!(answer[..], [Err(ProviderError::Unreachable(_))]),
        "{answer:?}"
    );
    let fake = Fake::always(stream(&[])).await;
    assert_eq!(ask_fake(&fake).await, [Err(ProviderError::BrokenOff)]);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_goes_nowhere_else() {
    let other = Fake::always(openai::answer(&["stolen"])).await;
    for code in [301, 302, 307, 308] {
        let location = format!("location: {}/chat/completions\r\n", other.base_url());
        let fake = Fake::always(status(code, &location, "")).await;
        let answer = ask_fake(&fake).await;
        assert!(
            matches!(answer[..], [Err(ProviderError::Rejected { status, .. })] if status == code),
            "{answer:?}"
        );
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_server_without_tls_gets_no_byte_of_a_request_that_wants_it() {
    let fake = Fake::always(openai::answer(&["plain"])).await;
    let url = format!("https://{}/v1", fake.address);
    let answer = ask(&endpoint(Profile::Custom, &url, times())).await;
    assert!(
        matches!(answer[..], [Err(ProviderError::Unreachable(_))]),
        "{answer:?}"
    );
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_conversation_that_does_not_fit_is_told_apart() {
    let message = "This model's maximum context length is 4096 tokens.";
    let fake = Fake::always(openai::error(400, "", message)).await;
    assert_eq!(ask_fake(&fake).await, [Err(ProviderError::ContextTooLong)]);
}

#[tokio::test]
async fn servers_on_this_host_are_found_by_asking_and_other_programs_are_not_taken_for_one() {
    install_tls();
    let server = Fake::always(openai::models(&["qwen3", "llama3"])).await;
    let other = Fake::always(status(404, "", "{}")).await;
    let silent = Fake::always(vec![Step::Hang]).await;
    let short = Times {
        head: Duration::from_millis(300),
        ..times()
    };
    let ports = [&server, &other, &silent].map(|fake| (Profile::Ollama, fake.address.port()));
    let found = detect(&Http::new(short), &ports).await;
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(one.models, ["qwen3", "llama3"]);
    assert_eq!(one.base_url, server.base_url());
    assert!(server.seen()[0].header("authorization").is_none());
}
