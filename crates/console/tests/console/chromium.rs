//! A browser that is told what to do, over the pipe of its DevTools protocol.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    last_id: u64,
    /// What the page has thrown, or was not allowed to do.
    pub(crate) complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; `None` where there is none. In CI that is a failure.
    pub(crate) fn start() -> Option<Self> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let is_there = |name: &&str| {
            let asked = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        let Some(name) = names.into_iter().find(is_there) else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "there is no Chromium, and in CI there has to be one"
            );
            eprintln!("skipped: there is no Chromium to look at the page with");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // Its pipe is descriptors 3 and 4, which a shell can give it.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", name])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--remote-debugging-pipe", "--no-first-run", "--disable-extensions", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser =
            Self { child, to, from, session: None, last_id: 0, complaints: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1200, 800);
        browser.dark(false);
        Some(browser)
    }

    /// Calls a method, and waits for what it gives.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut bytes = Vec::new();
            assert!(self.from.read_until(0, &mut bytes).unwrap() > 0, "the browser ended");
            bytes.pop();
            let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            let complaint = match answer["method"].as_str() {
                Some("Runtime.exceptionThrown") => Some(&answer["params"]["exceptionDetails"]),
                // What was asked for and is not there is no complaint: the page says that.
                Some("Log.entryAdded") if answer["params"]["entry"]["source"] != "network" => {
                    Some(&answer["params"]["entry"])
                }
                _ => None,
            };
            self.complaints.extend(complaint.map(Value::to_string));
        }
    }

    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    pub(crate) fn dark(&mut self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        // Without motion a picture is of what is there, and not of what is on its way.
        let motion = json!({"name": "prefers-reduced-motion", "value": "reduce"});
        let features = json!([{"name": "prefers-color-scheme", "value": value}, motion]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    pub(crate) fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({"url": address}));
    }

    /// What a script gives; a promise is waited for.
    pub(crate) fn evaluate(&mut self, script: &str) -> Value {
        let params = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let mut found = self.call("Runtime.evaluate", params);
        assert!(found["exceptionDetails"].is_null(), "{script}: {found}");
        found["result"]["value"].take()
    }

    /// Waits until a script gives something true.
    pub(crate) fn wait(&mut self, condition: &str) {
        let script = format!(
            "new Promise((done) => {{
               const until = Date.now() + 30000;
               const look = () => {{
                 let isTrue = false;
                 try {{ isTrue = Boolean({condition}); }} catch {{}}
                 isTrue || Date.now() > until ? done(isTrue) : setTimeout(look, 30);
               }};
               look();
             }})"
        );
        if self.evaluate(&script) != true {
            panic!("{condition} does not become true on\n{}\n{:?}", self.text(), self.complaints);
        }
    }

    /// Waits until all of these can be read.
    pub(crate) fn see(&mut self, texts: &[&str]) {
        for text in texts {
            self.wait(&format!("document.body.innerText.includes({})", json!(text)));
        }
    }

    /// All that can be read.
    pub(crate) fn text(&mut self) -> String {
        self.evaluate("document.body.innerText").as_str().unwrap_or("").to_owned()
    }

    /// What is seen, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let found = self.call("Page.captureScreenshot", json!({"format": "png"}));
        STANDARD.decode(found["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
