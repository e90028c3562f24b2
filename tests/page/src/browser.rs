//! Chromium, driven over WebDriver as a person drives it: with keys and the pointer.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::{LIMIT, soon};

/// A window of a browser of its own, which ends with it.
pub struct Browser {
    pub client: Client,
    driver: Child,
    /// Its profile.
    _home: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser. `None`, and a line that says so, if there is no Chromium to test with.
    pub async fn start() -> Option<Self> {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut driver) = driver else {
            println!("skipped: there is no `chromedriver` (Debian: chromium, chromium-driver)");
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split_once("successfully on port ").map(|it| it.1.to_owned()));
        let port = port.unwrap().trim_end_matches('.').to_owned();
        // Its pipe stays open, and is read.
        std::thread::spawn(move || lines.for_each(drop));
        let home = tempfile::tempdir().unwrap();
        let profile = format!("--user-data-dir={}", home.path().display());
        let mut capabilities = Capabilities::new();
        // A root of a container has no namespaces for a sandbox.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            &profile,
        ];
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let client = soon(builder.connect(&format!("http://127.0.0.1:{port}"))).await.unwrap();
        let browser = Self { client, driver, _home: home };
        browser.size(1600, 1000).await;
        Some(browser)
    }

    /// Opens an address, and counts from then on what keeps the page from answering.
    pub async fn open(&self, url: &str) {
        // An address that differs in its fragment only would not load the page again.
        soon(self.client.goto("about:blank")).await.unwrap();
        soon(self.client.goto(url)).await.unwrap();
    }

    /// Sets the size of what is shown, also to that of a telephone.
    pub async fn size(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Sets `prefers-color-scheme`.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.chromium("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A command that only Chromium has.
    pub async fn chromium(&self, name: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", json!({ "cmd": name, "params": parameters })).await
    }

    async fn post(&self, path: &'static str, body: Value) -> Value {
        soon(self.client.issue_cmd(Post { path, body })).await.unwrap()
    }

    /// Runs a script in the page, and returns its result.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        soon(self.client.execute(script, arguments)).await.unwrap()
    }

    /// Returns the text of an element; empty if there is none.
    pub async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.run(script, vec![selector.into()]).await.as_str().unwrap().to_owned()
    }

    /// Waits until the text of an element contains `part`, and returns the text.
    pub async fn until(&self, selector: &str, part: &str) -> String {
        let started = Instant::now();
        loop {
            let text = self.text(selector).await;
            if text.contains(part) {
                return text;
            }
            let body = || self.text("body");
            assert!(
                started.elapsed() < LIMIT,
                "no `{part}` in `{selector}`: {text}\n{}",
                body().await
            );
            // Nothing tells a driver of WebDriver that a page has changed.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses the button with this text in the part of the page that `within` selects.
    pub async fn press(&self, within: &str, text: &str) {
        let script = "const all = [...document.querySelectorAll(`${arguments[0]} :is(button, summary)`)];
             const it = all.find((one) => one.textContent.trim() === arguments[1] && one.checkVisibility());
             it?.scrollIntoView({ block: 'center' }); it?.focus(); it?.click(); return Boolean(it)";
        let pressed = self.run(script, vec![within.into(), text.into()]).await;
        assert_eq!(pressed, true, "no button `{text}` in `{within}`");
    }

    /// Types into the control that has this label in the panel.
    pub async fn fill(&self, label: &str, text: &str) {
        let script = "const it = [...document.querySelectorAll('#panel label')].find((one) => one.firstChild.textContent.trim() === arguments[0]);
             const control = it && document.getElementById(it.htmlFor); control?.focus(); control?.select?.(); return control ?? null";
        let found = self.run(script, vec![label.into()]).await;
        assert!(!found.is_null(), "no control `{label}`: {}", self.text("#panel").await);
        let active = soon(self.client.active_element()).await.unwrap();
        soon(active.send_keys(text)).await.unwrap();
    }

    /// Sends a key to the element that has the focus.
    pub async fn key(&self, key: char) {
        let active = soon(self.client.active_element()).await.unwrap();
        soon(active.send_keys(&key.to_string())).await.unwrap();
    }

    /// Returns what the console has said since the last time, warnings and errors only.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", json!({ "type": "browser" })).await;
        let lines = log.as_array().unwrap().iter();
        let bad = lines.filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING");
        bad.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Writes a picture to the directory that `SCREENSHOTS` names, for people to look at.
    pub async fn picture(&self, name: &str) {
        if let Some(directory) = std::env::var_os("SCREENSHOTS") {
            let png = soon(self.client.screenshot()).await.unwrap();
            std::fs::write(std::path::Path::new(&directory).join(format!("{name}.png")), png)
                .unwrap();
        }
    }

    /// What axe-core finds serious or critical; `AXE` names its file. Without it, nothing is found,
    /// and a line says so.
    pub async fn barriers(&self) -> Vec<String> {
        let Some(path) = std::env::var_os("AXE") else {
            println!("skipped: `AXE` does not name the file `axe.min.js` of axe-core");
            return Vec::new();
        };
        let axe = std::fs::read_to_string(path).unwrap();
        self.run(&axe, Vec::new()).await;
        let script = "const done = arguments[arguments.length - 1];
             axe.run().then((all) => done(all.violations.filter((it) => ['serious', 'critical'].includes(it.impact))
                 .map((it) => `${it.id}: ${it.nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`)))";
        let found = soon(self.client.execute_async(script, Vec::new())).await.unwrap();
        found.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends the browser, which would otherwise outlive it.
        let stop = Command::new("pkill").args(["-P", &self.driver.id().to_string()]).status();
        let _ = (stop, self.driver.kill(), self.driver.wait());
    }
}

/// A command of WebDriver that has no type of its own.
#[derive(Debug)]
struct Post {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Post {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
