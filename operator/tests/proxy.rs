//! Pods are spoken to directly, whatever proxies the environment names: the token of the control port must not pass through one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use operator::issuer_client::pods::PodClient;

/// Tells the process that this test starts where the pod is.
const POD: &str = "COUPON_TEST_POD";
const NAME: &str = "a_proxy_of_the_environment_never_sees_what_is_said_to_pods";
/// For a process that starts, and two requests.
const DEADLINE: Duration = Duration::from_secs(30);

/// Answers every request with these lines, and tells each request's head.
fn serve(answer: String) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, heads) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut bytes) {
                    Ok(length) if length > 0 => head.extend_from_slice(&bytes[..length]),
                    _ => break,
                }
            }
            // Who hangs up early has heard enough; a test that is over listens no more.
            let _ = stream.write_all(answer.as_bytes());
            let _ = heard.send(String::from_utf8_lossy(&head).into_owned());
        }
    });
    (address, heads)
}

/// What the process of its own does: any other client goes through the proxy, the one for pods does not.
async fn ask(pod: &str) {
    let through = reqwest::get(format!("http://{pod}/elsewhere")).await.unwrap();
    assert_eq!(through.status().as_u16(), 418, "the environment's proxy is in force here");
    let direct = PodClient::new().unwrap().get(format!("http://{pod}/pressure")).bearer_auth("secret-token");
    let answer = direct.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 302, "whoever is sent elsewhere does not go there");
}

/// Wrong: fences and their token go through a proxy, as the cluster's nodes have one for the world outside.
#[tokio::test]
async fn a_proxy_of_the_environment_never_sees_what_is_said_to_pods() {
    if let Ok(pod) = std::env::var(POD) {
        return ask(&pod).await;
    }
    let (proxy, seen_by_proxy) =
        serve("HTTP/1.1 418 Proxy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned());
    let elsewhere = format!("http://{proxy}/stolen");
    let (pod, seen_by_pod) =
        serve(format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    // The environment belongs to a process as a whole: another one, of this test alone, gets the proxy.
    let child = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture"]).env(POD, pod.to_string());
        for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env(variable, format!("http://{proxy}"));
        }
        for variable in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
            command.env_remove(variable);
        }
        command.output().unwrap()
    });
    let output = tokio::time::timeout(DEADLINE, child).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let (by_proxy, by_pod): (Vec<String>, Vec<String>) =
        (seen_by_proxy.try_iter().collect(), seen_by_pod.try_iter().collect());
    assert_eq!((by_proxy.len(), by_pod.len()), (1, 1), "proxy: {by_proxy:?}, pod: {by_pod:?}");
    assert!(by_proxy[0].contains("/elsewhere") && !by_proxy[0].contains("secret-token"), "{by_proxy:?}");
    assert!(by_pod[0].starts_with("GET /pressure ") && by_pod[0].contains("secret-token"), "{by_pod:?}");
}
