//! Accepts connections, and sees each through to its end.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::asker::Asker;
use super::bodies::BodyBudget;
use super::connections::{Admission, Connections, Seat};
use super::failure::{self, Failure};
use super::handler::Handler;
use super::limits::{Limits, MAX_HEAD, RECEIVE_BUFFER, SEND_BUFFER};
use super::linger::say_last;
use super::manners::Manners;
use super::peer::Peer;
use super::phase::{Order, Overdue, Phase, Progress};
use super::stats::Stats;
use super::stream::Watched;
use crate::listening::BACKLOG;

/// Pause when no connection can be accepted, for want of open files for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// No connection could be accepted for so long: users cannot get in.
const LOCKED_OUT: Duration = Duration::from_secs(3);
/// A connection was refused for want of room within this time: not everybody gets in.
const LATELY: Duration = Duration::from_secs(10);
/// Connections that are told at once that there is no room; more are closed without a word.
const TOLD_AT_ONCE: usize = 256;
/// How long a new connection may take for its first request when the server ends.
const LAST_REQUEST: Duration = Duration::from_millis(500);
/// How long those that make room may take to go.
const MAKING_ROOM: Duration = Duration::from_millis(100);
/// How long one that is refused may take to hear it.
const TELLING: Duration = Duration::from_millis(250);

/// The server of one port. [`Server::serve`] is its work; everything else may be asked at any time.
#[derive(Debug)]
pub struct Server {
    limits: Limits,
    stats: Stats,
    manners: Option<Arc<Manners>>,
    connections: Arc<Connections>,
    bodies: BodyBudget,
    closing: Arc<AtomicBool>,
    doors: Mutex<Doors>,
}

/// What became of those who came.
#[derive(Debug, Default)]
struct Doors {
    /// Since when none can be accepted, and why.
    failing: Option<(Instant, String)>,
    /// When one was refused last.
    refused: Option<Instant>,
}

/// How a connection ended.
enum End {
    /// hyper is done with it.
    Over(hyper::Result<()>),
    Overdue(Overdue),
    MakeRoom,
}

impl Server {
    /// One that holds to `limits`.
    pub fn new(limits: Limits, stats: Stats) -> Arc<Self> {
        Self::make(limits, stats, None)
    }

    /// The same for users.
    pub fn for_users(limits: Limits, stats: Stats, manners: Manners) -> Arc<Self> {
        Self::make(limits, stats, Some(Arc::new(manners)))
    }

    fn make(limits: Limits, stats: Stats, manners: Option<Arc<Manners>>) -> Arc<Self> {
        stats.bound.set(i64::try_from(limits.connections).unwrap_or(i64::MAX));
        Arc::new(Self {
            connections: Connections::new(limits.connections),
            bodies: BodyBudget::new(limits.body_bytes),
            closing: Arc::default(),
            doors: Mutex::default(),
            limits,
            stats,
            manners,
        })
    }

    /// What it counts.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Connections at this moment, and how many there may be.
    pub fn connections(&self) -> (usize, usize) {
        (self.connections.open(), self.connections.bound())
    }

    /// The memory for bodies of this port.
    pub fn bodies(&self) -> BodyBudget {
        self.bodies.clone()
    }

    /// From now on every answer says that its connection ends with it: whoever keeps connections learns before they are closed.
    pub fn announce_close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Why nobody gets in, if that lasts.
    pub fn locked_out(&self) -> Option<String> {
        let doors = self.doors();
        let (since, why) = doors.failing.as_ref()?;
        (since.elapsed() >= LOCKED_OUT).then(|| format!("no connection can be accepted: {why}"))
    }

    /// What keeps some from getting in, of late.
    pub fn crowded(&self) -> Option<String> {
        let lately = self.doors().refused.is_some_and(|at| at.elapsed() < LATELY);
        lately.then(|| {
            let bound = self.connections.bound();
            format!("connections are refused, as all {bound} are asking or being answered")
        })
    }

    fn doors(&self) -> std::sync::MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves until `stop`; then accepts nothing more, and ends when every request that was begun is answered.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, router: Router, stop: CancellationToken) {
        let entrance = Entrance {
            server: self,
            router,
            tasks: TaskTracker::new(),
            telling: Arc::new(Semaphore::new(TOLD_AT_ONCE)),
        };
        let server = &entrance.server;
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, address)) => entrance.enter(stream, address).await,
                Err(error) if is_gone(&error) => {}
                Err(_) if stop.is_cancelled() => break,
                Err(error) => {
                    server.cannot_accept(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        entrance.let_in_who_waits(listener).await;
        let Entrance { server, tasks, .. } = entrance;
        server.announce_close();
        server.connections.order(Order::Finish);
        tasks.close();
        tasks.wait().await;
    }

    /// A seat, and how many were told to go for it; `None` if all are taken.
    async fn admit(&self) -> Option<(Seat, usize)> {
        let until = Instant::now() + MAKING_ROOM;
        loop {
            match self.connections.admit() {
                Admission::Seated { seat, evicted } => return Some((seat, evicted)),
                Admission::Full => return None,
                Admission::Later => {
                    tokio::time::timeout_at(until, self.connections.one_left()).await.ok()?;
                }
            }
        }
    }

    /// What is said on a connection that ends in this phase, and that hyper has no more; nothing if all is said, or nobody asked.
    fn last_word(&self, end: &End, phase: Phase, refused: bool, asker: Option<&Asker>) -> Vec<u8> {
        let failure = match end {
            End::Over(Err(error)) if error.is_parse() && !refused => Failure::NotHttp,
            End::Overdue(Overdue::Request) => Failure::Slow,
            End::MakeRoom if matches!(phase, Phase::Head | Phase::Body) => Failure::Full,
            _ => return Vec::new(),
        };
        let response = failure.response();
        failure::written(match &self.manners {
            Some(manners) => manners.dress_own(asker, response),
            None => response,
        })
    }

    fn can_accept(&self) {
        let mut doors = self.doors();
        if doors.failing.take().is_some() {
            tracing::info!("connections can be accepted again");
        }
    }

    fn cannot_accept(&self, error: &io::Error) {
        self.stats.failed.inc();
        let mut doors = self.doors();
        if doors.failing.is_none() {
            tracing::error!(%error, "connections cannot be accepted");
            doors.failing = Some((Instant::now(), error.to_string()));
        }
    }

    /// Serves one connection to its end.
    async fn attend(self: Arc<Self>, stream: TcpStream, address: SocketAddr, router: Router, seat: Seat) {
        self.stats.open.inc();
        let progress = Arc::clone(&seat.progress);
        let handler = Handler {
            router,
            manners: self.manners.clone(),
            peer: self.manners.as_ref().filter(|manners| manners.tells_peer).map(|_| Peer::of(address)),
            progress: Arc::clone(&progress),
            closing: Arc::clone(&self.closing),
            longest_body: self.limits.longest_body,
        };
        let mut connection =
            builder().serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(&progress))), handler);
        let mut finishing = false;
        let end = loop {
            let left = match progress.check(&self.limits) {
                Ok(left) if finishing => left.min(LAST_REQUEST),
                Ok(left) => left,
                Err(overdue) => break End::Overdue(overdue),
            };
            let pause = pin!(tokio::time::sleep(left));
            tokio::select! {
                biased;
                result = in_turn(&progress, &mut connection) => break End::Over(result),
                () = progress.woken() => match progress.ordered() {
                    Order::MakeRoom => break End::MakeRoom,
                    // hyper would close at once, and the first request may be on its way.
                    Order::Finish if progress.phase() == Phase::New => finishing = true,
                    Order::Finish => Pin::new(&mut connection).graceful_shutdown(),
                    Order::None => {}
                },
                () = pause => if finishing {
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        let (phase, _) = progress.lasted();
        // Of a body on its way the head was read; of a head that is, nothing is known.
        let asker = (phase == Phase::Body).then(|| progress.asker()).flatten();
        let (mut stream, ended, refused) = connection.into_parts().io.into_inner().into_parts();
        progress.enter(Phase::Linger);
        if let End::Overdue(Overdue::Request | Overdue::Answer) = end {
            self.stats.overdue.inc();
        }
        if let End::Over(Err(error)) = &end {
            tracing::debug!(%error, "a connection broke");
        }
        let said = self.last_word(&end, phase, refused, asker.as_deref());
        if matches!(end, End::MakeRoom) {
            // Somebody waits for the seat: what the kernel takes at once has to do.
            let _ = stream.try_write(&said);
        } else if !ended || !said.is_empty() {
            tokio::select! {
                () = say_last(&mut stream, &said, self.limits.linger) => {}
                () = progress.woken() => {}
            }
        }
        self.stats.open.dec();
        drop(seat);
    }
}

/// Works on a connection, and notes when its turn begins.
async fn in_turn<C: Future + Unpin>(progress: &Progress, connection: &mut C) -> C::Output {
    poll_fn(|cx| {
        progress.begin_turn();
        Pin::new(&mut *connection).poll(cx)
    })
    .await
}

/// Who comes in by one listener.
struct Entrance {
    server: Arc<Server>,
    router: Router,
    tasks: TaskTracker,
    /// As many are told at a time that there is no room.
    telling: Arc<Semaphore>,
}

impl Entrance {
    /// Seats a connection, or says that all seats are taken.
    async fn enter(&self, stream: TcpStream, address: SocketAddr) {
        let Self { server, router, tasks, telling } = self;
        server.stats.accepted.inc();
        server.can_accept();
        prepare(&stream);
        match server.admit().await {
            Some((seat, evicted)) => {
                server.stats.evicted.inc_by(evicted as u64);
                tasks.spawn(Arc::clone(server).attend(stream, address, router.clone(), seat));
            }
            None => {
                server.stats.refused.inc();
                server.doors().refused = Some(Instant::now());
                if let Ok(permit) = Arc::clone(telling).try_acquire_owned() {
                    tasks.spawn(async move {
                        let mut stream = stream;
                        say_last(&mut stream, &Failure::Full.bytes(), TELLING).await;
                        drop(permit);
                    });
                }
            }
        }
    }

    /// Whoever is connected already, as far as it knows, is served. The system itself is asked who that is: the runtime goes by its last look,
    /// which on a busy machine was before.
    async fn let_in_who_waits(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..BACKLOG {
            match listener.accept().and_then(|(stream, address)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, address))
            }) {
                Ok((stream, address)) => self.enter(stream, address).await,
                Err(error) if is_gone(&error) => {}
                Err(_) => return,
            }
        }
    }
}

/// That one connection is gone already.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

/// Answers are small and must not wait for company; what a client sends beyond a request waits on its side, and so does what it would be
/// answered beyond what it reads. Where it cannot be set, the connection is slower, or larger, and that is all.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        // Who has ended its side after the request still reads the answer.
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        // Phases have their own deadlines; this one counts idle time too.
        .header_read_timeout(None);
    builder
}
