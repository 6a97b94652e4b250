//! What the tools say about this very machine.

use homing_agent::system::SystemProbe;
use homing_agent::tools::{NetworkTool, ProcessesTool, SensorsTool, SystemTool};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::run;

#[tokio::test]
async fn the_machine_is_told_core_by_core_and_disk_by_disk() {
    let tool = SystemTool::new(SystemProbe::default());
    let told = run(&tool, json!({})).await.unwrap();
    let cores = told["per_core_percent"].as_array().unwrap();
    assert_eq!(told["cores"], cores.len());
    assert!(!cores.is_empty());
    for percent in cores {
        assert!((0.0..=100.0).contains(&percent.as_f64().unwrap()), "{told}");
    }
    let (used, total) = (&told["memory_used"], &told["memory_total"]);
    assert!(used.as_u64().unwrap() <= total.as_u64().unwrap(), "{told}");
}

#[tokio::test]
async fn bytes_over_the_loopback_are_counted_with_a_rate() {
    let tool = NetworkTool::new(SystemProbe::default());
    let loopback = |told: &Value| {
        let interfaces = told["interfaces"].as_array().unwrap();
        interfaces.iter().find(|one| one["name"] == "lo").cloned()
    };
    let before = run(&tool, json!({})).await.unwrap();
    let Some(before) = loopback(&before) else {
        panic!("no loopback: {before}");
    };
    let addresses = before["addresses"].to_string();
    assert!(addresses.contains("127.0.0.1/8"), "{addresses}");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(&[7; 100_000]).await.unwrap();
    drop(client);
    let mut all = vec![];
    server.read_to_end(&mut all).await.unwrap();
    // Another agent's first question: what is kept for two seconds is this one's.
    let tool = NetworkTool::new(SystemProbe::default());
    let after = loopback(&run(&tool, json!({})).await.unwrap()).unwrap();
    let counted = |one: &Value| one["received_bytes"].as_u64().unwrap();
    assert!(
        counted(&after) >= counted(&before) + 100_000,
        "{before} {after}"
    );
    assert!(after["received_per_second"].is_u64());
}

#[tokio::test]
async fn processes_are_told_by_name_with_their_owner_and_never_their_arguments() {
    let secret = "hunter2-in-an-argument";
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", "read line", secret])
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let tool = ProcessesTool::new(SystemProbe::default());
    let told = run(&tool, json!({"by": "memory", "limit": 50}))
        .await
        .unwrap();
    let processes = told["processes"].as_array().unwrap();
    assert!((1..=50).contains(&processes.len()));
    assert!(told["total"].as_u64().unwrap() >= processes.len() as u64);
    let memory: Vec<u64> = processes
        .iter()
        .map(|one| one["memory_bytes"].as_u64().unwrap())
        .collect();
    assert!(memory.is_sorted_by(|a, b| a >= b), "{memory:?}");
    assert!(!told.to_string().contains(secret));
    assert!(
        processes
            .iter()
            .all(|one| one["user"].is_string() && one["name"] != ""),
        "{told}"
    );
    let few = run(&tool, json!({"limit": 1})).await.unwrap();
    assert_eq!(few["processes"].as_array().unwrap().len(), 1);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn an_order_that_does_not_exist_and_a_word_too_many_are_named() {
    let tool = ProcessesTool::new(SystemProbe::default());
    let error = run(&tool, json!({"by": "age"})).await.unwrap_err();
    assert!(error.contains("age") && error.contains("memory"), "{error}");
    let error = run(&tool, json!({"user": "root"})).await.unwrap_err();
    assert!(error.contains("user"), "{error}");
}

#[tokio::test]
async fn sensors_are_a_list_however_few_there_are() {
    let tool = SensorsTool::new(SystemProbe::default());
    let told = run(&tool, Value::Null).await.unwrap();
    assert!(told["sensors"].is_array(), "{told}");
    assert_eq!(told["truncated"], false);
}
