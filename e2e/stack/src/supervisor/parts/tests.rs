use super::*;
use crate::probe::Probe;
use crate::server::command;

fn server(name: &str, command: Vec<String>, probe: &str, after: &[&str]) -> Server {
    Server {
        name: name.to_owned(),
        command,
        log: "/dev/null".into(),
        address: String::new(),
        probe: Probe::Command(command![probe]),
        once: None,
        ready_within: Duration::from_secs(10),
        after: after.iter().map(|&name| name.to_owned()).collect(),
        stores: true,
    }
}

fn running(servers: Vec<Server>) -> Arc<Parts> {
    let parts = Arc::new(Parts::new(
        Options { brokers: 1, redis: Default::default(), without: Vec::new(), with: Vec::new() },
        servers,
    ));
    parts.start_all();
    let watch = Arc::clone(&parts);
    std::thread::spawn(move || watch.watch());
    parts
}

fn until(parts: &Parts, name: &str, wanted: State) -> Part {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let part = parts.status().parts.into_iter().find(|part| part.name == name).unwrap();
        if part.state == wanted {
            return part;
        }
        assert!(Instant::now() < deadline, "{name} is {:?}, not {wanted:?}: {:?}", part.state, part.message);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_part_whose_need_fails_is_not_started_and_says_why() {
    let parts = running(vec![
        server("needy", command!["sleep", "60"], "true", &["broken"]),
        server("broken", command!["false"], "false", &[]),
    ]);
    assert_eq!(until(&parts, "broken", State::Failed).message.unwrap(), "ended by itself: exit status: 1");
    let needy = until(&parts, "needy", State::Failed);
    assert_eq!((needy.message.as_deref(), needy.pid), (Some("not started: broken failed"), None));
}

#[test]
fn a_part_can_be_frozen_killed_and_started_again() {
    let parts = running(vec![
        server("a", command!["sleep", "60"], "true", &[]),
        server("b", command!["sleep", "60"], "true", &["a"]),
    ]);
    until(&parts, "b", State::Ready);
    assert!(parts.status().is_ready());
    let first = until(&parts, "a", State::Ready).pid;
    assert!(parts.act("a", Action::Start).is_err(), "it runs already");
    assert!(parts.status().is_ready(), "a refused order changes nothing");
    parts.act("a", Action::Pause).unwrap();
    until(&parts, "a", State::Paused);
    parts.act("a", Action::Resume).unwrap();
    until(&parts, "a", State::Ready);
    parts.act("a", Action::Kill).unwrap();
    assert_eq!(until(&parts, "a", State::Killed).pid, None);
    assert!(parts.act("a", Action::Kill).is_err() && parts.act("nobody", Action::Kill).is_err());
    parts.act("a", Action::Start).unwrap();
    assert_ne!(until(&parts, "a", State::Ready).pid, first);
}

#[test]
fn a_part_can_be_stopped_also_when_it_is_frozen_and_has_ended_then() {
    let parts = running(vec![server("a", command!["sleep", "60"], "true", &[])]);
    until(&parts, "a", State::Ready);
    for frozen in [false, true] {
        if frozen {
            parts.act("a", Action::Pause).unwrap();
        }
        parts.act("a", Action::Stop).unwrap();
        let part = until(&parts, "a", State::Killed);
        assert_eq!((part.pid, part.message), (None, None), "it was told to end: nothing is wrong with it");
        assert!(parts.act("a", Action::Stop).is_err(), "it does not run");
        parts.act("a", Action::Start).unwrap();
        until(&parts, "a", State::Ready);
    }
}

#[test]
fn a_graceful_end_wakes_what_is_frozen_and_waits_for_it() {
    let parts = running(vec![server("a", command!["sleep", "60"], "true", &[])]);
    until(&parts, "a", State::Ready);
    parts.act("a", Action::Pause).unwrap();
    parts.end_gracefully();
    assert!(matches!(parts.lock()[0].process.as_mut().map(Process::ended), None | Some(Ok(Some(_)))));
}
