//! A Kubernetes API in memory, as far as an operator asks it for anything: objects, lists, watches, patches and finalizers. So a test can
//! have two clusters.

use std::sync::{Arc, Mutex};

use axum::body::Body as Sent;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Where an object is: plural kind, namespace or nothing, name.
type Key = (String, String, String);

#[derive(Default)]
struct State {
    objects: std::collections::BTreeMap<Key, Value>,
    /// Everything that ever happened: version, kind, namespace, event.
    log: Vec<(u64, String, String, Value)>,
}

impl State {
    fn put(&mut self, key: &Key, mut object: Value) -> Value {
        let event = if self.objects.contains_key(key) { "MODIFIED" } else { "ADDED" };
        let version = self.log.len() as u64 + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.objects.insert(key.clone(), object.clone());
        self.log.push((version, key.0.clone(), key.1.clone(), json!({"type": event, "object": object})));
        object
    }

    fn remove(&mut self, key: &Key) {
        if let Some(mut object) = self.objects.remove(key) {
            let version = self.log.len() as u64 + 1;
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            self.log.push((version, key.0.clone(), key.1.clone(), json!({"type": "DELETED", "object": object})));
        }
    }
}

/// One API server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

fn matches(labels: &Value, selector: &str) -> bool {
    let has = |key: &str, value: &str| labels[key].as_str() == Some(value);
    let Some((key, values)) = selector.split_once(" in (") else {
        return selector
            .split(',')
            .filter(|pair| !pair.is_empty())
            .all(|pair| pair.split_once('=').is_some_and(|(key, value)| has(key, value)));
    };
    // The operator asks for one such expression only, as the last.
    let (before, key) = key.rsplit_once(',').unwrap_or(("", key));
    matches(labels, before) && values.trim_end_matches(')').split(',').any(|value| has(key, value))
}

fn is_in(key: &Key, kind: &str, namespace: &str) -> bool {
    key.0 == kind && (namespace.is_empty() || key.1 == namespace)
}

fn answer(code: StatusCode, value: &Value) -> Response<Sent> {
    let body = Sent::from(serde_json::to_vec(value).unwrap());
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

fn refusal(code: StatusCode, reason: &str) -> Response<Sent> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16(),
        "message": reason});
    answer(code, &status)
}

impl Api {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(()) }
    }

    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                Ok::<_, tower::BoxError>(api.serve(&head, &body))
            }
        });
        Client::new(service, "default")
    }

    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(&(kind.into(), namespace.into(), name.into())).cloned()
    }

    pub(crate) fn all(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.objects.iter().filter(|(key, _)| is_in(key, kind, namespace)).map(|(_, object)| object.clone()).collect()
    }

    /// Makes an object, or changes it as `kubectl apply` would.
    pub(crate) fn apply(&self, kind: &str, namespace: &str, manifest: &Value) {
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        self.merge((kind.to_owned(), namespace.to_owned(), name), "", manifest, "test").unwrap();
    }

    /// Asks for the deletion of an object.
    pub(crate) fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let mut state = self.state.lock().unwrap();
        let Some(mut object) = state.objects.get(&key).cloned() else { return };
        // A pod goes when its kubelet says so.
        let stays = kind == "pods" || object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if !stays {
            state.remove(&key);
        } else if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(jiff::Timestamp::now().to_string());
            state.put(&key, object);
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// What a kubelet does when a process has ended.
    pub(crate) fn pod_is_gone(&self, namespace: &str, name: &str) {
        self.state.lock().unwrap().remove(&("pods".to_owned(), namespace.to_owned(), name.to_owned()));
        self.changed.send_replace(());
    }

    fn merge(&self, key: Key, sub: &str, patch: &Value, manager: &str) -> Result<Value, &'static str> {
        let mut state = self.state.lock().unwrap();
        let before = state.objects.get(&key).cloned();
        // What belongs to the cluster has none.
        let namespace = (!key.1.is_empty()).then_some(&key.1);
        let mut object = before.clone().unwrap_or_else(|| {
            json!({"metadata": {"name": key.2, "namespace": namespace, "uid": format!("{:016x}", rand::random::<u64>()), "generation": 1,
                "creationTimestamp": jiff::Timestamp::now().to_string(), "labels": {}, "annotations": {}}})
        });
        let wanted = patch["metadata"]["resourceVersion"].as_str();
        if wanted.is_some_and(|wanted| object["metadata"]["resourceVersion"] != json!(wanted)) {
            return Err("Conflict");
        }
        match sub {
            "status" => json_patch::merge(&mut object, &json!({"status": patch["status"]})),
            _ => json_patch::merge(&mut object, patch),
        }
        if let Some(before) = &before
            && before["spec"] != object["spec"]
        {
            object["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(1) + 1);
        }
        let managers = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        if !managers.iter().any(|each| each["manager"] == json!(manager)) {
            object["metadata"]["managedFields"] =
                managers.into_iter().chain([json!({"manager": manager, "operation": "Apply"})]).collect();
        }
        let object = if before.as_ref() == Some(&object) { object } else { state.put(&key, object) };
        drop(state);
        self.changed.send_replace(());
        Ok(object)
    }

    fn serve(&self, head: &http::request::Parts, body: &[u8]) -> Response<Sent> {
        let query: std::collections::BTreeMap<String, String> = head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(decoded)
            .collect();
        let asked = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let path: Vec<&str> = head.uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let path = if path[0] == "api" { &path[2..] } else { &path[3..] };
        let part = |index: usize| path.get(index).copied().unwrap_or_default().to_owned();
        let (kind, namespace, name, sub) = match path {
            ["namespaces", namespace, kind, ..] => ((*kind).to_owned(), (*namespace).to_owned(), part(3), part(4)),
            _ => (part(0), String::new(), part(1), part(2)),
        };
        let sent = || serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        let key = (kind.clone(), namespace.clone(), name.clone());
        if asked("dryRun") == "All" {
            return answer(StatusCode::OK, &sent());
        }
        match &head.method {
            &Method::GET if !name.is_empty() => match self.get(&kind, &namespace, &name) {
                Some(object) => answer(StatusCode::OK, &object),
                None => refusal(StatusCode::NOT_FOUND, "NotFound"),
            },
            &Method::GET if asked("watch") == "true" => {
                self.watch(kind, namespace, asked("resourceVersion"), asked("labelSelector"))
            }
            &Method::GET => {
                let version = self.state.lock().unwrap().log.len();
                let fits = |object: &Value| matches(&object["metadata"]["labels"], asked("labelSelector"));
                let items: Vec<Value> = self.all(&kind, &namespace).into_iter().filter(fits).collect();
                let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}, "items": items});
                answer(StatusCode::OK, &list)
            }
            &Method::POST if kind == "events" => {
                let name = sent()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                answer(StatusCode::CREATED, &self.state.lock().unwrap().put(&(kind, namespace, name), sent()))
            }
            &Method::DELETE => {
                self.delete(&kind, &namespace, &name);
                answer(StatusCode::OK, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            &Method::PATCH if kind == "events" => answer(StatusCode::OK, &sent()),
            &Method::PATCH => {
                let type_ = head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
                let applied = type_.contains("apply-patch");
                if !applied && self.get(&kind, &namespace, &name).is_none() {
                    return refusal(StatusCode::NOT_FOUND, "NotFound");
                }
                if type_.contains("json-patch") {
                    return self.json_patch(&key, body);
                }
                match self.merge(key, &sub, &sent(), asked("fieldManager")) {
                    Ok(object) => answer(StatusCode::OK, &object),
                    Err(reason) => refusal(StatusCode::CONFLICT, reason),
                }
            }
            other => panic!("{other} {}", head.uri),
        }
    }

    /// Such as the removal of a finalizer.
    fn json_patch(&self, key: &Key, body: &[u8]) -> Response<Sent> {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects[key].clone();
        let patch: json_patch::Patch = serde_json::from_slice(body).unwrap();
        if json_patch::patch(&mut object, &patch).is_err() {
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
        }
        let object = state.put(key, object);
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if !held && !object["metadata"]["deletionTimestamp"].is_null() {
            state.remove(key);
        }
        drop(state);
        self.changed.send_replace(());
        answer(StatusCode::OK, &object)
    }

    fn watch(&self, kind: String, namespace: String, from: &str, selector: &str) -> Response<Sent> {
        let (state, changes, selector) = (Arc::clone(&self.state), self.changed.subscribe(), selector.to_owned());
        let from: usize = from.parse().unwrap_or(0);
        let events = futures::stream::unfold((from, changes), move |(at, mut changes)| {
            let (state, kind, namespace, selector) =
                (Arc::clone(&state), kind.clone(), namespace.clone(), selector.clone());
            async move {
                loop {
                    changes.borrow_and_update();
                    let found = {
                        let state = state.lock().unwrap();
                        let fits = |(_, of, within, event): &&(u64, String, String, Value)| {
                            *of == kind
                                && (namespace.is_empty() || *within == namespace)
                                && matches(&event["object"]["metadata"]["labels"], &selector)
                        };
                        state.log[at.min(state.log.len())..]
                            .iter()
                            .find(fits)
                            .map(|(version, .., event)| (*version, event.clone()))
                    };
                    if let Some((version, event)) = found {
                        let line = format!("{event}\n").into_bytes();
                        return Some((Ok::<_, std::io::Error>(line), (usize::try_from(version).unwrap(), changes)));
                    }
                    changes.changed().await.ok()?;
                }
            }
        });
        Response::new(Sent::from_stream(events))
    }
}

fn decoded((key, value): (&str, &str)) -> (String, String) {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = more;
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    (key.to_owned(), String::from_utf8(bytes).unwrap())
}
