//! The keys of tokens: new ones in the middle of a sale, and none to be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coupon_testing::tokens::{KeyServer, Signer, key_set};
use serde_json::json;

use super::super::fixture::{Users, eventually};
use super::{issue, start, tokens_at, tokens_with};

async fn status(users: &Users, token: &str) -> (u16, String) {
    let reply = users.send(issue(users, &json!({})).bearer_auth(token)).await.unwrap();
    (reply.status, reply.code().to_owned())
}

/// Wrong: a provider takes another key, as it does every some weeks, and users of that minute are refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_change_in_the_middle_of_a_sale_without_a_failed_request() {
    let (old, new) = (Arc::new(Signer::p256("old")), Arc::new(Signer::p256("new")));
    let server = KeyServer::start(&[&old]).await;
    let (fixture, issuer) = start(&tokens_at(&server.url())).await;
    issuer.wait_ready().await;
    let is_rotated = Arc::new(AtomicBool::new(false));
    let mut asking = tokio::task::JoinSet::new();
    for lane in 0..8 {
        let (users, old, new) = (issuer.users.clone(), Arc::clone(&old), Arc::clone(&new));
        let is_rotated = Arc::clone(&is_rotated);
        asking.spawn(async move {
            let mut by_new = 0;
            // Until each has been taken at least some times with the new key.
            for n in 0..90 {
                let signer = if is_rotated.load(Ordering::SeqCst) { &new } else { &old };
                by_new += u32::from(is_rotated.load(Ordering::SeqCst));
                let answer = status(&users, &signer.token(&format!("user-{lane}-{n}"))).await;
                assert_eq!(answer, (200, String::new()), "user-{lane}-{n}");
                if n == 30 {
                    while !is_rotated.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            by_new
        });
    }
    eventually("the sale has begun", async || (fixture.state().await.issued > 100).then_some(())).await;
    let before = server.asked();
    server.publish(&[&new, &old]);
    is_rotated.store(true, Ordering::SeqCst);
    let by_new: u32 = asking.join_all().await.into_iter().sum();
    assert!(by_new >= 8 * 59, "{by_new}");
    assert_eq!(fixture.state().await.issued, 8 * 90);
    assert!((1..=4).contains(&(server.asked() - before)), "asked {} times", server.asked() - before);

    // The old key is taken away, and with it its tokens, also those that were checked already.
    let remembered = old.token("user-0-0");
    assert_eq!(status(&issuer.users, &remembered).await.0, 200);
    server.publish(&[&new]);
    assert_eq!(status(&issuer.users, &Signer::p256("other").token("x")).await, (401, "INVALID_TOKEN".to_owned()));
    assert_eq!(status(&issuer.users, &remembered).await, (401, "INVALID_TOKEN".to_owned()));
    assert_eq!(status(&issuer.users, &new.token("last")).await.0, 200);
}

/// Wrong: an issuer that cannot check tokens is ready, or takes them.
#[tokio::test(flavor = "multi_thread")]
async fn without_keys_an_issuer_is_not_ready_and_lets_in_nobody() {
    let key = Signer::p256("now");
    let mut server = KeyServer::start(&[&key]).await;
    server.stop().await;
    let (fixture, issuer) = start(&tokens_at(&server.url())).await;
    let why = eventually("the cause is known", async || {
        let (status, text) = issuer.readiness().await;
        (status != 200 && text.contains("keys of tokens") && text.contains("cannot be connected to")).then_some(text)
    });
    let why = why.await;
    for token in [key.token("anna"), "anna".to_owned()] {
        let reply = issuer.users.send(issue(&issuer.users, &json!({})).bearer_auth(&token)).await.unwrap();
        assert_eq!((reply.status, reply.code()), (503, "AUTHENTICATION_UNAVAILABLE"), "{why}: {reply:?}");
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
    }
    for (status, body, says) in [
        (500, "{}", "500"),
        (302, "", "redirects are not followed"),
        (200, "<html>", "no JWK Set"),
        (200, r#"{"keys":[]}"#, "none"),
    ] {
        server.answer(status, body);
        server.start_again().await;
        eventually(says, async || issuer.readiness().await.1.contains(says).then_some(())).await;
        server.stop().await;
    }
    assert_eq!(fixture.state().await.issued, 0);
    server.publish(&[&key]);
    server.start_again().await;
    issuer.wait_ready().await;
    assert_eq!(status(&issuer.users, &key.token("anna")).await.0, 200);
}

/// Wrong: users whose tokens are good are refused as the provider is away, or one whose key nobody knows is told that the token is bad.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_takes_nothing_away() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let mut server = KeyServer::start(&[&old]).await;
    let (_fixture, issuer) = start(&tokens_at(&server.url())).await;
    issuer.wait_ready().await;
    let users = &issuer.users;
    server.publish(&[&new, &old]);
    server.stop().await;
    assert_eq!(status(users, &new.token("anna")).await, (503, "AUTHENTICATION_UNAVAILABLE".to_owned()));
    assert_eq!(status(users, &old.token("bert")).await.0, 200);
    assert_eq!(status(users, "forged").await, (401, "INVALID_TOKEN".to_owned()), "that is known without keys");
    assert_eq!(issuer.readiness().await.0, 200, "who is away is no reason to send users elsewhere");
    for (user, code, body) in [("carl", 503, "away"), ("dora", 200, "{}"), ("emil", 200, r#"{"keys":[]}"#)] {
        server.answer(code, body);
        server.start_again().await;
        assert_eq!(status(users, &new.token("anna")).await, (503, "AUTHENTICATION_UNAVAILABLE".to_owned()), "{body}");
        assert_eq!(status(users, &old.token(user)).await.0, 200, "{body}");
        server.stop().await;
    }
    let metrics = issuer.metrics().await;
    assert!(!metrics.contains("coupon_issuer_key_readings_total{result=\"failed\"} 0\n"), "{metrics}");
    assert!(metrics.contains("coupon_issuer_token_keys 1"), "{metrics}");
    server.publish(&[&new, &old]);
    server.start_again().await;
    eventually("the new key is known", async || (status(users, &new.token("anna")).await.0 == 200).then_some(())).await;
}

/// Wrong: a flood of made-up tokens becomes a flood at the provider, or holds up those whose key is known.
#[tokio::test(flavor = "multi_thread")]
async fn made_up_names_of_keys_ask_the_provider_once_a_second() {
    let key = Signer::p256("now");
    let server = KeyServer::start(&[&key]).await;
    let (fixture, issuer) = start(&tokens_at(&server.url())).await;
    issuer.wait_ready().await;
    let (before, begun) = (server.asked(), tokio::time::Instant::now());
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..200 {
        let users = issuer.users.clone();
        asking.spawn(async move { status(&users, &Signer::p256(&format!("made-up-{n}")).token("anna")).await });
    }
    for n in 0..20 {
        assert_eq!(status(&issuer.users, &key.token(&format!("honest-{n}"))).await.0, 200);
    }
    for answer in asking.join_all().await {
        assert!(
            matches!((answer.0, answer.1.as_str()), (401, "INVALID_TOKEN") | (503, "AUTHENTICATION_UNAVAILABLE")),
            "{answer:?}"
        );
    }
    let (asked, most) = (server.asked() - before, begun.elapsed().as_secs() + 2);
    assert!(asked >= 1 && asked <= most, "asked {asked} times in {:?}", begun.elapsed());
    assert_eq!(fixture.state().await.issued, 20);
}

/// Wrong: keys in a Secret, of which pods see the file change, are those of the start for ever.
#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_file_may_change_as_well() {
    let (old, new) = (Signer::rsa("old"), Signer::p256("new"));
    let folder = std::env::temp_dir().join(format!("coupon-keys-{:016x}", rand::random::<u64>()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("token-keys.json");
    let write = |signers: &[&Signer]| {
        // As a mounted Secret changes: at once.
        std::fs::write(folder.join("next"), key_set(signers)).unwrap();
        std::fs::rename(folder.join("next"), &file).unwrap();
    };
    let (_fixture, issuer) = start(&tokens_with(&json!({ "file": { "path": file } }))).await;
    eventually("the cause is known", async || {
        issuer.readiness().await.1.contains("token-keys.json cannot be read").then_some(())
    })
    .await;
    write(&[&old]);
    issuer.wait_ready().await;
    assert_eq!(status(&issuer.users, &old.token("anna")).await.0, 200);
    write(&[&old, &new]);
    assert_eq!(status(&issuer.users, &new.token("bert")).await.0, 200);
    std::fs::remove_dir_all(&folder).unwrap();
}
