//! The two processes inside a stack: `init`, which is process 1 there and collects orphans, and the supervisor, which starts the parts,
//! notices when one ends, and answers on the control socket. When either ends, the kernel ends everything else inside.

use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::wait::{WaitStatus, wait};

use self::parts::Parts;
use crate::control::{Answer, Request, read_line, write_line};
use crate::install::Installed;
use crate::layout::Layout;
use crate::options::Options;
use crate::{namespace, plan};

mod parts;

/// After a connection could not be accepted: a shortage, say of file descriptors, may pass.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How long a client may take to say what it wants.
const REQUEST: Duration = Duration::from_secs(5);

/// Process 1: runs the supervisor and collects every process that loses its parent, until the supervisor ends.
///
/// # Errors
/// If the supervisor cannot be started.
pub fn init(name: &str) -> Result<ExitCode> {
    let supervisor = Command::new(std::env::current_exe()?).args(["inside", "supervise", "--name", name]).spawn()?;
    loop {
        let (pid, code) = match wait()? {
            WaitStatus::Exited(pid, code) => (pid, u8::try_from(code).unwrap_or(1)),
            WaitStatus::Signaled(pid, ..) => (pid, 1),
            _ => continue,
        };
        if u32::try_from(pid.as_raw()) == Ok(supervisor.id()) {
            return Ok(ExitCode::from(code));
        }
    }
}

/// The supervisor: prepares the inside, starts everything, and serves the control socket until it is asked to stop.
///
/// # Errors
/// If the inside cannot be prepared.
pub fn supervise(name: &str) -> Result<()> {
    let layout = Layout::new(name)?;
    let options = Options::load(&layout)?;
    namespace::prepare(&layout)?;
    let servers = plan::servers(&Installed::find()?, &layout, &options)?;
    let listener = UnixListener::bind(layout.control_socket()).context("cannot listen on the control socket")?;
    let parts = Arc::new(Parts::new(options, servers));
    parts.start_all();
    let watch = Arc::clone(&parts);
    std::thread::spawn(move || watch.watch());
    for stream in listener.incoming() {
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // Ending would take everything down.
                eprintln!("control socket: {error}");
                std::thread::sleep(ACCEPT_AGAIN);
                continue;
            }
        };
        let parts = Arc::clone(&parts);
        std::thread::spawn(move || {
            if let Err(error) = serve(&parts, &mut stream) {
                eprintln!("control connection: {error:#}");
            }
        });
    }
    Ok(())
}

fn serve(parts: &Parts, stream: &mut UnixStream) -> Result<()> {
    stream.set_read_timeout(Some(REQUEST))?;
    let answer = match read_line(stream)? {
        Request::Status => Answer::Status(parts.status()),
        Request::Act { part, action } => match parts.act(&part, action) {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Refused(format!("{error:#}")),
        },
        Request::Stop { graceful } => {
            write_line(stream, &Answer::Done)?;
            if graceful {
                parts.end_gracefully();
            }
            std::process::exit(0);
        }
    };
    write_line(stream, &answer)
}
