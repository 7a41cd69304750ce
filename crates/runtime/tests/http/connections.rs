//! Connections: who keeps one for nothing makes room, and what has begun at the end is answered.

use std::sync::atomic::Ordering;
use std::time::Duration;

use coupon_runtime::http::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::port::{HALF, HELD, HELLO, PATIENCE, answer, rest, small, start, until};

/// Wrong: a kept connection that ends as soon as a head would have to be there, or one that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let port = start(Limits { idle: Duration::from_secs(3), ..small() }).await;
    let mut stream = port.send(HELLO).await;
    answer(&mut stream, "hello").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stream.write_all(HELLO).await.unwrap();
    answer(&mut stream, "hello").await;
    let idle = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(idle.elapsed() > Duration::from_secs(2), "{:?}", idle.elapsed());
    // One on which nothing was ever asked has less time.
    let begun = Instant::now();
    assert_eq!(port.told(b"").await, "");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Wrong: a client that waits in the kernel's queue and hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_closes_who_is_idle_and_then_says_that_it_is_full() {
    let port = start(small()).await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut stream = port.send(HELLO).await;
        answer(&mut stream, "hello").await;
        idle.push(stream);
    }
    let mut asking = Vec::new();
    for number in 1..=10 {
        asking.push(port.send(HELD).await);
        // On a busy machine, who is not heard yet would look like one who says nothing.
        until("requests", || port.asked.load(Ordering::Relaxed), number).await;
    }
    for stream in &mut idle {
        assert_eq!(rest(stream).await, "", "who was idle made room");
    }
    port.open(10).await;
    assert_eq!(port.server.crowded(), None);
    let told = port.told(HELLO).await;
    assert!(
        told.starts_with("HTTP/1.1 503 ") && told.contains("retry-after: ") && told.contains("OVERLOADED"),
        "{told:?}"
    );
    assert_eq!((port.server.stats().evicted.get(), port.server.stats().refused.get()), (10, 1));
    assert!(port.server.crowded().unwrap().contains("all 10"));
    port.held.add_permits(10);
    for stream in &mut asking {
        answer(stream, "held").await;
    }
    answer(&mut port.send(HELLO).await, "hello").await;
}

/// Wrong: whoever opens connections and says nothing, or half of something, keeps everybody else out.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_locks_nobody_out() {
    let slow_body = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf".as_slice();
    for (what, slow) in [("nothing", b"".as_slice()), ("half a head", HALF), ("half a body", slow_body)] {
        let port = start(Limits { connections: 20, head: PATIENCE, body: PATIENCE, ..small() }).await;
        let mut others = Vec::new();
        for _ in 0..20 {
            others.push(port.send(slow).await);
        }
        port.open(20).await;
        // Not before it is known that they are slow.
        let begun = Instant::now();
        loop {
            let mut stream = port.send(HELLO).await;
            let mut status = [0; 12];
            if timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("an answer").is_ok()
                && status.ends_with(b"200")
            {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{what}: nobody gets in");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Wrong: everybody waits until those who send many requests in one piece have their answers. One thread has all tasks here, so that what
/// comes before what is no matter of time.
#[tokio::test]
async fn who_asks_for_much_at_once_lets_others_have_their_turn() {
    const MANY: usize = 200;
    let port = start(Limits { connections: 2 * MANY, ..small() }).await;
    let mut clients = Vec::new();
    for _ in 0..=MANY {
        let mut stream = port.send(HELLO).await;
        answer(&mut stream, "hello").await;
        clients.push(stream);
    }
    let ask =
        |path: &str, times: usize| format!("GET /turn/{path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(times).into_bytes();
    let mut honest = clients.pop().unwrap();
    for (number, client) in clients.iter().enumerate() {
        let sent = ask(&number.to_string(), 16);
        assert_eq!(client.try_write(&sent).unwrap(), sent.len());
    }
    // After all others, and before the server has seen any of them.
    let sent = ask("honest", 1);
    assert_eq!(honest.try_write(&sent).unwrap(), sent.len());
    answer(&mut honest, "xxx").await;
    let turns = port.turns.lock().unwrap();
    let before = turns.iter().position(|path| path == "/turn/honest").unwrap();
    assert!(before <= 2 * MANY, "{before} of {} requests came first", 16 * MANY);
}

/// Wrong: each request of a client that reads nothing is answered, into megabytes of the kernel's memory.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_answered_no_more_than_what_it_may_hold() {
    let port = start(small()).await;
    let stream = port.send(&b"GET /turn/on HTTP/1.1\r\nHost: x\r\n\r\n".repeat(400)).await;
    port.open(1).await;
    port.open(0).await;
    assert_eq!(port.server.stats().overdue.get(), 1);
    let answered = port.turns.lock().unwrap().len();
    assert!((1..=40).contains(&answered), "{answered} of 400");
    drop(stream);
}

/// Wrong: memory that is held by whoever asks for much and reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_its_answer_is_let_go() {
    let port = start(small()).await;
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    let stream = port.send(&request).await;
    port.open(1).await;
    port.open(0).await;
    assert_eq!(port.server.stats().overdue.get(), 1);
    drop(stream);
}

/// Wrong: a client that keeps its connection hears of the end by losing a request.
#[tokio::test(flavor = "multi_thread")]
async fn before_the_end_answers_say_that_the_connection_ends() {
    let port = start(small()).await;
    let mut kept = port.send(HELLO).await;
    assert!(!answer(&mut kept, "hello").await.contains("connection: close"));
    port.server.announce_close();
    kept.write_all(HELLO).await.unwrap();
    assert!(rest(&mut kept).await.contains("connection: close"));
    let told = port.told(HELLO).await;
    assert!(told.contains("connection: close") && told.ends_with("hello"), "new ones are served: {told:?}");
}

/// Wrong: a request that was begun and is not answered, or an end that never comes.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_what_was_begun_is_answered() {
    let port = start(small()).await;
    let mut idle = port.send(HELLO).await;
    answer(&mut idle, "hello").await;
    let mut asking = port.send(HELD).await;
    port.open(2).await;
    port.stop.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert!(TcpStream::connect(port.address).await.is_err(), "nothing new is taken");
    port.held.add_permits(1);
    assert!(rest(&mut asking).await.contains("connection: close"));
    timeout(PATIENCE, port.serving).await.expect("it ends").unwrap();
}

/// Wrong: who has connected is cut off without an answer, as a busy machine has not come to look at the listener since.
#[tokio::test]
async fn at_the_end_who_has_connected_is_let_in_although_nobody_has_looked_yet() {
    let port = start(small()).await;
    // The one thread of this runtime is kept busy: nobody looks at anything meanwhile.
    let connected: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(port.address).unwrap()).collect();
    port.stop.cancel();
    for stream in connected {
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        stream.write_all(HELLO).await.unwrap();
        assert!(rest(&mut stream).await.ends_with("hello"));
    }
    timeout(PATIENCE, port.serving).await.expect("it ends").unwrap();
}
