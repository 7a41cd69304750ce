//! Asks on many connections, in one thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::options::Options;
use super::pattern::Plan;
use super::proof::Proof;
use super::tally::Tally;

/// How long after the end of asking answers are waited for.
const GRACE: Duration = Duration::from_secs(15);

/// What was heard, and how it was asked.
#[derive(Debug)]
pub(crate) struct Heard {
    /// The counts.
    pub(crate) tally: Tally,
    /// When the first request was due.
    pub(crate) begin: Instant,
    /// The first user whom nobody has been.
    pub(crate) next_user: u64,
}

/// What all connections share.
struct Shared {
    plan: Plan,
    until_sold_out: bool,
    begin: Instant,
    next: Cell<u64>,
    tally: RefCell<Tally>,
}

/// Opens all connections, and then asks. Within a [`tokio::task::LocalSet`].
///
/// # Errors
/// The server cannot be connected to, or the tokens cannot be read.
pub(crate) async fn generate(options: &Options) -> Result<Heard> {
    let proof = Rc::new(Proof::new(options)?);
    let mut connections = Vec::new();
    for number in 0..options.connections {
        let connection = Connection::open(options.address, &options.coupon, Rc::clone(&proof)).await;
        connections.push(connection.with_context(|| format!("connection {number} to {}", options.address))?);
    }
    let begin = Instant::now();
    let shared = Rc::new(Shared {
        plan: Plan::new(options, proof.users()),
        until_sold_out: options.until_sold_out,
        begin,
        next: Cell::new(0),
        tally: RefCell::new(Tally::new(begin + options.duration())),
    });
    let mut workers = JoinSet::new();
    for connection in connections {
        workers.spawn_local(work(Rc::clone(&shared), connection));
    }
    let all = async {
        while let Some(ended) = workers.join_next().await {
            ended.context("a connection's task")??;
        }
        anyhow::Ok(())
    };
    // Whoever is not answered by then never is.
    if let Ok(ended) = tokio::time::timeout(options.duration() + options.then() + GRACE, all).await {
        ended?;
    }
    workers.shutdown().await;
    let Shared { plan, tally, .. } = Rc::into_inner(shared).context("a connection's task goes on")?;
    let tally = tally.into_inner();
    let next_user = plan.next_user(tally.asked());
    Ok(Heard { tally, begin, next_user })
}

async fn work(shared: Rc<Shared>, mut connection: Connection) -> Result<()> {
    loop {
        let number = shared.next.get();
        let Some(turn) = shared.plan.turn(number, shared.begin.elapsed()) else { return Ok(()) };
        shared.next.set(number + 1);
        let since = match turn.due.map(|due| shared.begin + due) {
            Some(due) => {
                if due > Instant::now() {
                    tokio::time::sleep_until(due.into()).await;
                }
                due
            }
            None => Instant::now(),
        };
        shared.tally.borrow_mut().ask(Instant::now());
        let answer = connection.ask(turn.user).await;
        let now = Instant::now();
        let broken = match answer {
            Ok(response) => {
                shared.tally.borrow_mut().hear(turn.user, &response, since, now);
                if shared.until_sold_out && response.sold_out {
                    return Ok(());
                }
                response.closes
            }
            Err(_) => {
                shared.tally.borrow_mut().lose(since);
                true
            }
        };
        if broken {
            connection.reopen().await.context("the server cannot be connected to any more")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::super::tally::read_grants;
    use super::*;

    /// Answers ranks from 1 on to `total`, and refuses after that. Every tenth answer closes its connection.
    async fn server(total: u64) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = Rc::new(Cell::new(0));
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = Rc::clone(&count);
                tokio::task::spawn_local(async move {
                    let mut buffer = [0; 1024];
                    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        count.set(count.get() + 1);
                        let rank: u64 = count.get();
                        let (status, body) = match rank <= total {
                            true => ("200 OK", format!("{{\"rank\":{rank}}}")),
                            false => ("400 Bad Request", r#"{"code":"SOLD_OUT"}"#.to_owned()),
                        };
                        let closes = rank.is_multiple_of(10);
                        let close = if closes { "connection: close\r\n" } else { "" };
                        let head = format!("HTTP/1.1 {status}\r\n{close}content-length: {}\r\n\r\n", body.len());
                        if stream.write_all((head + &body).as_bytes()).await.is_err() || closes {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn options(address: std::net::SocketAddr, more: &str) -> Options {
        let line = format!("load --address {address} --coupon spring {more}");
        let parsed = Options::augment_args(clap::Command::new("load")).try_get_matches_from(line.split(' ')).unwrap();
        Options::from_arg_matches(&parsed).unwrap()
    }

    #[tokio::test]
    async fn a_sale_is_asked_until_it_is_sold_out() {
        let heard = async {
            let address = server(95).await;
            generate(&options(address, "--connections 4 --seconds 60 --until-sold-out")).await.unwrap()
        };
        let heard = LocalSet::new().run_until(heard).await;
        let mut ranks: Vec<_> = read_grants(&heard.tally.written_grants()).map(|(_, rank)| rank).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (1..=95).collect::<Vec<_>>());
        let report = heard.tally.report(heard.begin, heard.next_user, Duration::ZERO);
        assert_eq!((report.told, report.refused, report.errors()), (95, 4, 0));
    }

    #[tokio::test]
    async fn at_a_constant_rate_all_that_are_due_ask() {
        let heard = async {
            let address = server(1_000_000).await;
            generate(&options(address, "--connections 8 --seconds 0.2 --rate 1000 --first-user 7")).await.unwrap()
        };
        let heard = LocalSet::new().run_until(heard).await;
        assert_eq!((heard.tally.asked(), heard.next_user), (200, 207));
    }
}
