use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_millis(200);

/// A server that says everything back, and goes on when its client has nothing more to say.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let mut buffer = [0; 64];
                loop {
                    let count = read.read(&mut buffer).await.unwrap_or(0);
                    let answer = if count == 0 { b"end".as_slice() } else { &buffer[..count] };
                    if write.write_all(answer).await.is_err() || count == 0 {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn connected() -> (Proxy, TcpStream) {
    let proxy = Proxy::to(echo().await.to_string()).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(say(&mut stream, "hello").await, "hello");
    (proxy, stream)
}

async fn hear(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 64];
    let count = timeout(SOON, stream.read(&mut buffer)).await.unwrap().unwrap_or(0);
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

async fn say(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    hear(stream).await
}

#[tokio::test]
async fn a_cut_breaks_old_and_new_connections_until_it_ends() {
    let (proxy, mut stream) = connected().await;
    let id = proxy.begin(Victims::All, Trouble::Cut);
    assert_eq!(hear(&mut stream).await, "", "the old connection ends");
    let mut new = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(hear(&mut new).await, "", "a new one ends at once");
    proxy.end(id);
    let mut healed = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(say(&mut healed, "again").await, "again");
}

#[tokio::test]
async fn others_are_not_hurt() {
    let (proxy, mut stream) = connected().await;
    proxy.begin(Victims::From(HashSet::from(["10.0.0.1".parse().unwrap()])), Trouble::Cut);
    assert_eq!(say(&mut stream, "still").await, "still");
}

#[tokio::test]
async fn silence_holds_data_back_and_loses_none() {
    let (proxy, mut stream) = connected().await;
    proxy.begin(Victims::All, Trouble::Silence);
    stream.write_all(b"late").await.unwrap();
    assert!(timeout(NEVER, stream.read_u8()).await.is_err(), "nothing may arrive");
    proxy.mend();
    assert_eq!(hear(&mut stream).await, "late");
}

#[tokio::test]
async fn a_delay_delays() {
    let (proxy, mut stream) = connected().await;
    proxy.begin(Victims::All, Trouble::Delay(Duration::from_millis(50)));
    let begin = Instant::now();
    assert_eq!(say(&mut stream, "slow").await, "slow");
    assert!(begin.elapsed() >= Duration::from_millis(100), "there and back: {:?}", begin.elapsed());
}

#[tokio::test]
async fn half_closed_toward_the_server_the_answers_still_come() {
    let (proxy, mut stream) = connected().await;
    proxy.begin(Victims::All, Trouble::HalfClose { toward_server: true });
    assert_eq!(hear(&mut stream).await, "end", "the server saw the end, and its last word came through");
    let mut new = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(say(&mut new, "whole").await, "whole", "a new connection is not hurt");
}

#[tokio::test]
async fn half_closed_toward_the_client_it_hears_the_end() {
    let (proxy, mut stream) = connected().await;
    proxy.begin(Victims::All, Trouble::HalfClose { toward_server: false });
    assert_eq!(hear(&mut stream).await, "");
    stream.write_all(b"more").await.unwrap();
}

#[tokio::test]
async fn whoever_says_the_blocked_words_gets_no_answer_any_more() {
    let (proxy, mut stream) = connected().await;
    proxy.block("secret");
    assert_eq!(say(&mut stream, "open").await, "open");
    stream.write_all(b"a secret, and more").await.unwrap();
    assert!(timeout(NEVER, stream.read_u8()).await.is_err(), "nothing may arrive");
    let mut new = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(say(&mut new, "other").await, "other", "a connection that does not say them is not hurt");
}

#[tokio::test]
async fn led_elsewhere_new_connections_go_there_and_old_ones_stay() {
    let (proxy, mut old) = connected().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    proxy.lead_to(gone.to_string());
    let mut new = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(hear(&mut new).await, "", "nobody listens there");
    assert_eq!(say(&mut old, "still").await, "still");
}
