//! Debian's Chromium without a screen, driven by its own chromedriver over WebDriver, as W3C has it: some requests of HTTP, which need no crate of
//! their own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use stack::child::{Running, folder};

use crate::wait::until;

/// How long chromedriver may take to listen.
const START: Duration = Duration::from_secs(30);
/// How long the browser may take for what it is told to do.
const COMMAND: Duration = Duration::from_secs(60);
/// How long a page may take to show something. Longer than any pause that an issuer asks for.
const SHOWN: Duration = Duration::from_secs(45);
/// What chromedriver says once it listens, before the port.
const LISTENS: &str = "was started successfully on port ";
/// What WebDriver calls the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What the browser is started with. It refuses to keep a sandbox as root, and we are root in a network of our own, where there is no page but
/// ours: never do this where other pages can be reached.
const ARGUMENTS: [&str; 7] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
];

/// A browser that can be opened several times; ended when dropped.
pub struct Chromium {
    http: reqwest::Client,
    url: String,
    folder: PathBuf,
    opened: AtomicUsize,
    process: Running,
}

/// One user's browser, with a storage of its own.
pub struct Window<'a> {
    browser: &'a Chromium,
    path: String,
}

impl Chromium {
    /// Starts chromedriver.
    ///
    /// # Errors
    /// It is not installed, or does not listen.
    pub async fn start() -> Result<Self> {
        let folder = folder("coupon-chromium")?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "chromedriver", "--port=0"]);
        command.env("HOME", &folder).env("TMPDIR", &folder);
        let process = Running::start("chromedriver", command, folder.clone())?;
        let listens = async || {
            let said = process.said();
            let (_, rest) = said.split_once(LISTENS)?;
            rest.split('.').next()?.parse::<u16>().ok()
        };
        let port = process
            .eventually("it says where it listens", START, listens)
            .await
            .context("no chromedriver (stack up --with browser)")?;
        let http = reqwest::Client::builder().timeout(COMMAND).build()?;
        Ok(Self { http, url: format!("http://127.0.0.1:{port}"), folder, opened: AtomicUsize::new(0), process })
    }

    /// Opens a browser in which nothing is stored.
    ///
    /// # Errors
    /// It does not start.
    pub async fn open(&self) -> Result<Window<'_>> {
        let profile = self.folder.join(format!("profile-{}", self.opened.fetch_add(1, Ordering::Relaxed)));
        let arguments =
            ARGUMENTS.map(str::to_owned).into_iter().chain([format!("--user-data-dir={}", profile.display())]);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments.collect::<Vec<_>>()},
        }}});
        let opened = self.command(Method::POST, "/session", wanted).await?;
        let session = opened["sessionId"].as_str().context("chromedriver names no session")?;
        Ok(Window { browser: self, path: format!("/session/{session}") })
    }

    async fn command(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        self.process.alive()?;
        let request = self.http.request(method.clone(), format!("{}{path}", self.url));
        let request = if method == Method::POST { request.json(&body) } else { request };
        let answer = request.send().await.with_context(|| format!("chromedriver does not answer {path}"))?;
        let fine = answer.status().is_success();
        let mut told: Value = answer.json().await?;
        ensure!(fine, "chromedriver refuses {path}: {}", told["value"]["message"].as_str().unwrap_or_default());
        Ok(told.get_mut("value").map(Value::take).unwrap_or_default())
    }
}

impl Window<'_> {
    async fn command(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        self.browser.command(method, &format!("{}{path}", self.path), body).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.command(Method::POST, path, body).await
    }

    /// Something about an element: `text`, `computedrole` or `computedlabel`.
    ///
    /// # Errors
    /// There is no such element now.
    pub async fn read(&self, css: &str, what: &str) -> Result<String> {
        let element = self.element(css).await?;
        let told = self.command(Method::GET, &format!("/element/{element}/{what}"), Value::Null).await?;
        Ok(told.as_str().unwrap_or_default().to_owned())
    }

    async fn element(&self, css: &str) -> Result<String> {
        let found = self.post("/element", json!({"using": "css selector", "value": css})).await?;
        Ok(found[ELEMENT].as_str().with_context(|| format!("no {css}"))?.to_owned())
    }

    /// Goes to a page.
    ///
    /// # Errors
    /// The browser cannot load it.
    pub async fn visit(&self, url: &str) -> Result<()> {
        self.post("/url", json!({"url": url})).await.map(drop)
    }

    /// Loads the page again.
    ///
    /// # Errors
    /// The browser cannot load it.
    pub async fn reload(&self) -> Result<()> {
        self.post("/refresh", json!({})).await.map(drop)
    }

    /// Taps an element, as a finger does: it must be in sight, with nothing over it.
    ///
    /// # Errors
    /// It cannot be tapped.
    pub async fn tap(&self, css: &str) -> Result<()> {
        let element = self.element(css).await?;
        self.post(&format!("/element/{element}/click"), json!({})).await.map(drop)
    }

    /// Waits until the text of an element says this, and returns the text.
    ///
    /// # Errors
    /// It never does; then with what it says instead.
    pub async fn until_says(&self, css: &str, words: &str) -> Result<String> {
        until(&format!("`{words}` in {css}"), SHOWN, async || {
            // A page that is just being loaded has no elements.
            let text = self.read(css, "text").await.map_err(|error| format!("{error:#}"))?;
            if text.contains(words) { Ok(text) } else { Err(format!("it says `{text}`")) }
        })
        .await
    }

    /// What the browser's console has said since it was last read, without what it says of each answer that is no success.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let said = self.post("/se/log", json!({"type": "browser"})).await?;
        let messages = said.as_array().into_iter().flatten().filter_map(|entry| entry["message"].as_str());
        Ok(messages.filter(|message| !message.contains("Failed to load resource")).map(str::to_owned).collect())
    }

    /// Ends this browser.
    ///
    /// # Errors
    /// It does not end.
    pub async fn close(self) -> Result<()> {
        self.command(Method::DELETE, "", Value::Null).await.map(drop)
    }
}
