use serde_json::json;

use super::*;
use crate::providers::decode::tests::{decoded, decoded_document};

type Answer = Vec<Result<ModelEvent, ProviderError>>;

async fn read(events: &[&str]) -> Answer {
    let stream: String = events
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect();
    decoded(Decoder::new(None), vec![stream.as_bytes()]).await
}

fn text(text: &str) -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Text(text.to_owned()))
}

fn call(id: &str, name: &str, arguments: Value) -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Call(ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments,
    }))
}

fn finished(input: u64, cached: u64, output: u64) -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Finished(Tokens {
        input,
        cached,
        output,
    }))
}

const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const CALLS: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;

/// As api.openai.com sends it.
const RECORDED: &str = concat!(
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Gr\u{fc}\u{df} \"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"dich\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_a\",\"type\":\"function\",\"function\":{\"name\":\"disk\",\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"path\\\":\"}}]},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_b\",\"type\":\"function\",\"function\":{\"name\":\"who\",\"arguments\":\"{}\"}}]},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"/\\\"}\"}}]},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":7,\"total_tokens\":27,\"prompt_tokens_details\":{\"cached_tokens\":16,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n",
    "data: [DONE]\n\n",
);

fn recorded() -> Answer {
    vec![
        text("Gr\u{fc}\u{df} "),
        text("dich"),
        call("call_a", "disk", json!({ "path": "/" })),
        call("call_b", "who", json!({})),
        finished(20, 16, 7),
    ]
}

#[tokio::test]
async fn a_recorded_stream_is_understood_wherever_it_is_cut_in_two() {
    let bytes = RECORDED.as_bytes();
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let answer = decoded(Decoder::new(None), vec![first, second]).await;
        assert_eq!(answer, recorded(), "cut at {cut}");
    }
    let answer = decoded(Decoder::new(None), bytes.chunks(1).collect()).await;
    assert_eq!(answer, recorded());
}

#[tokio::test]
async fn a_recorded_stream_that_ends_at_any_byte_is_whole_or_broken_off_and_never_half() {
    let bytes = RECORDED.as_bytes();
    let whole_from = RECORDED.find("\"finish_reason\":\"tool_calls\"").unwrap();
    for end in 0..bytes.len() {
        let answer = decoded(Decoder::new(None), vec![&bytes[..end]]).await;
        match answer.last().unwrap() {
            Ok(ModelEvent::Finished(_)) => assert!(end > whole_from, "taken for whole at {end}"),
            Err(ProviderError::BrokenOff) => {
                let asks = |event: &_| matches!(event, Ok(ModelEvent::Call(_)));
                assert!(!answer.iter().any(asks), "half a call at {end}");
            }
            other => panic!("at {end}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_servers_leave_out_is_understood() {
    // No index (older llama.cpp), null content, an empty reason with each piece (some proxies).
    let answer = read(&[
        r#"{"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":"hm"},"finish_reason":""}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"disk","arguments":"{\"a\":"}}]},"finish_reason":""}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"1}"}}]},"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":null},"finish_reason":"made_up_reason"}],"usage":null}"#,
    ])
    .await;
    let [Ok(ModelEvent::Call(asked)), Ok(ModelEvent::Finished(_))] = &answer[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (asked.name.as_str(), &asked.arguments),
        ("disk", &json!({ "a": 1 }))
    );
    assert!(asked.id.starts_with("call_"));
}

#[tokio::test]
async fn arguments_come_as_text_or_as_an_object_or_not_at_all() {
    let answer = read(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"1","index":0,"function":{"name":"a","arguments":{"x":1}}},{"id":"2","index":1,"function":{"name":"b"}},{"id":"3","index":2,"function":{"name":"c","arguments":"null"}}]}}]}"#,
        CALLS,
    ])
    .await;
    assert_eq!(
        answer,
        [
            call("1", "a", json!({ "x": 1 })),
            call("2", "b", json!({})),
            call("3", "c", json!({})),
            finished(0, 0, 0),
        ]
    );
}

#[tokio::test]
async fn calls_that_share_an_index_are_told_apart_by_their_ids() {
    let answer = read(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"y","function":{"name":"b","arguments":"{}"}}]}}]}"#,
        CALLS,
    ])
    .await;
    assert_eq!(
        answer[..2],
        [call("x", "a", json!({})), call("y", "b", json!({}))]
    );
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":[{"type":"text","text":"hello"}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let answer = decoded_document(Decoder::new(None), body).await;
    assert_eq!(answer, [text("hello"), finished(1, 0, 2)]);
}

#[tokio::test]
async fn an_end_without_the_last_line_counts_only_after_a_reason() {
    let piece = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    assert_eq!(read(&[piece, STOP]).await, [text("a"), finished(0, 0, 0)]);
    assert_eq!(
        read(&[piece, "[DONE]"]).await,
        [text("a"), finished(0, 0, 0)]
    );
    assert_eq!(
        read(&[piece]).await,
        [text("a"), Err(ProviderError::BrokenOff)]
    );
    assert_eq!(read(&[]).await, [Err(ProviderError::BrokenOff)]);
    assert_eq!(read(&["[DONE]"]).await, [Err(ProviderError::BrokenOff)]);
}

#[tokio::test]
async fn what_contradicts_the_format_is_refused() {
    for piece in [
        "{",
        "[]x",
        "7",
        r#"{"choices":7}"#,
        r#"{"choices":[{"delta":"text"}]}"#,
        r#"{"choices":[{"delta":{"content":7}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"a","arguments":7}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":7}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":-1}}"#,
    ] {
        let answer = read(&[piece, STOP]).await;
        assert!(
            matches!(answer[..], [Err(ProviderError::Malformed(_))]),
            "{piece}: {answer:?}"
        );
    }
    for arguments in [r#""{\"a\":""#, r#""[1]""#, r#""x""#] {
        let piece = format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"function":{{"name":"a","arguments":{arguments}}}}}]}}}}]}}"#
        );
        let answer = read(&[&piece, CALLS]).await;
        assert!(
            matches!(answer[..], [Err(ProviderError::Malformed(_))]),
            "{answer:?}"
        );
    }
    let nameless = r#"{"choices":[{"delta":{"tool_calls":[{"id":"1","index":0}]}}]}"#;
    let answer = read(&[nameless, CALLS]).await;
    assert!(matches!(answer[..], [Err(ProviderError::Malformed(_))]));
}

#[tokio::test]
async fn arguments_above_the_limit_are_refused_in_one_piece_and_in_many() {
    let piece = |size: usize| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":0,"id":"1","function":{{"name":"a","arguments":"{}"}}}}]}}}}]}}"#,
            "x".repeat(size)
        )
    };
    let whole = piece(10 << 20);
    let answer = read(&[&whole, CALLS]).await;
    assert!(
        matches!(answer[..], [Err(ProviderError::TooLong(_))]),
        "{answer:?}"
    );
    let whole = piece(2 << 20);
    let answer = read(&[&whole, CALLS]).await;
    assert_eq!(
        answer,
        [Err(ProviderError::TooLong("one event of its stream"))]
    );
    let part = piece(600_000);
    let answer = read(&[&part, &part, CALLS]).await;
    assert_eq!(
        answer,
        [Err(ProviderError::TooLong("the arguments of a tool"))]
    );
    let many: Vec<String> = (0..100)
        .map(|at| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{at},"function":{{"name":"a"}}}}]}}}}]}}"#))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let answer = read(&many).await;
    assert_eq!(
        answer,
        [Err(ProviderError::TooLong("it asks for too many tools"))]
    );
}

#[tokio::test]
async fn an_error_inside_the_stream_is_told_as_one() {
    let answer = read(&[
        r#"{"choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"error":{"message":"overloaded","type":"server_error","code":503}}"#,
    ])
    .await;
    assert_eq!(answer, [text("a"), Err(ProviderError::Unavailable(500))]);
    let long = r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#;
    assert_eq!(read(&[long]).await, [Err(ProviderError::ContextTooLong)]);
    let filtered = r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#;
    let answer = read(&[filtered]).await;
    assert!(matches!(answer[..], [Err(ProviderError::Rejected { .. })]));
}

#[tokio::test]
async fn usage_of_any_server_is_counted() {
    let deepseek = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_cache_hit_tokens":4}}"#;
    assert_eq!(read(&[STOP, deepseek]).await, [finished(9, 4, 1)]);
    let nulls = r#"{"choices":null,"usage":{"prompt_tokens":9,"completion_tokens":null,"prompt_tokens_details":null}}"#;
    assert_eq!(read(&[STOP, nulls]).await, [finished(9, 0, 0)]);
}

#[tokio::test]
async fn a_recorded_stream_with_any_byte_changed_ends_without_a_panic() {
    let mut bytes = RECORDED.as_bytes().to_vec();
    for at in 0..bytes.len() {
        for change in [0x01, 0x20, 0x80] {
            bytes[at] ^= change;
            let answer = decoded(Decoder::new(None), vec![&bytes]).await;
            let ends = |event: &_| matches!(event, Err(_) | Ok(ModelEvent::Finished(_)));
            assert_eq!(
                answer.iter().filter(|event| ends(event)).count(),
                1,
                "byte {at}"
            );
            assert!(answer.last().is_some_and(ends), "byte {at}");
            bytes[at] ^= change;
        }
    }
}
