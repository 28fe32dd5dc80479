//! A schema registry in this process, behind a real socket: as much of the REST interface as the client uses.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// Subjects whose names begin so take one schema and no other.
pub const STRICT: &str = "strict";

#[derive(Default)]
struct State {
    /// Bodies of schemas; the id is the index, from 1.
    schemas: Vec<Value>,
    /// Ids by version, from 1.
    subjects: HashMap<String, Vec<usize>>,
    /// Method and path of every request.
    requests: Vec<String>,
    login: Option<String>,
}

#[derive(Clone)]
pub struct FakeRegistry {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl FakeRegistry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), shared.clone());
                thread::spawn(move || serve(&stream, &state));
            }
        });
        FakeRegistry { url, state }
    }

    /// Lets in only those who send this header.
    pub fn require(&self, authorization: &str) {
        self.state.lock().unwrap().login = Some(authorization.to_owned());
    }

    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn subjects(&self) -> Vec<String> {
        let mut subjects: Vec<_> = self.state.lock().unwrap().subjects.keys().cloned().collect();
        subjects.sort();
        subjects
    }

    /// The body that registered an id.
    pub fn body_of(&self, id: usize) -> Value {
        self.state.lock().unwrap().schemas[id - 1].clone()
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let (mut length, mut login) = (0, None);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            match name.to_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => login = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (status, answer) = state.lock().unwrap().answer(method, path, &body, login.as_deref());
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", answer.len());
        let mut stream = stream;
        stream.write_all((head + &answer).as_bytes()).unwrap();
    }
}

fn error(status: u16, code: u32, message: &str) -> (u16, Value) {
    (status, json!({ "error_code": code, "message": message }))
}

impl State {
    fn answer(&mut self, method: &str, path: &str, body: &[u8], login: Option<&str>) -> (u16, Value) {
        self.requests.push(format!("{method} {path}"));
        if self.login.as_deref().is_some_and(|wanted| Some(wanted) != login) {
            return error(401, 401, "Unauthorized");
        }
        let path = path.split('?').next().unwrap();
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method, &parts[..]) {
            ("GET", ["subjects"]) => (200, json!(self.subjects.keys().collect::<Vec<_>>())),
            ("POST", ["subjects", subject, "versions"]) => self.register(subject, body),
            ("POST", ["subjects", subject]) => self.look_up(subject, &body),
            ("GET", ["subjects", subject, "versions", version]) => self.version(subject, version),
            ("GET", ["schemas", "ids", id]) => {
                let id: usize = id.parse().unwrap();
                let found = id.checked_sub(1).and_then(|at| self.schemas.get(at));
                found.map_or_else(|| error(404, 40403, "Schema not found"), |schema| (200, schema.clone()))
            }
            ("POST", ["compatibility", "subjects", subject, ..]) => {
                (200, json!({ "is_compatible": !subject.starts_with(STRICT) }))
            }
            _ => error(405, 405, "no such thing"),
        }
    }

    fn register(&mut self, subject: &str, body: Value) -> (u16, Value) {
        if body["schema"].as_str().is_none_or(|text| text.contains("invalid")) {
            return error(422, 42201, "Invalid schema");
        }
        if let Some(id) = self.schemas.iter().position(|known| *known == body)
            && self.subjects.get(subject).is_some_and(|ids| ids.contains(&id))
        {
            return (200, json!({ "id": id + 1 }));
        }
        if subject.starts_with(STRICT) && self.subjects.contains_key(subject) {
            return error(409, 409, "Schema being registered is incompatible with an earlier schema");
        }
        let id = self.schemas.iter().position(|known| *known == body).unwrap_or_else(|| {
            self.schemas.push(body);
            self.schemas.len() - 1
        });
        self.subjects.entry(subject.to_owned()).or_default().push(id);
        (200, json!({ "id": id + 1 }))
    }

    fn look_up(&self, subject: &str, body: &Value) -> (u16, Value) {
        let Some(ids) = self.subjects.get(subject) else { return error(404, 40401, "Subject not found") };
        match ids.iter().position(|id| self.schemas[*id] == *body) {
            Some(at) => self.version(subject, &(at + 1).to_string()),
            None => error(404, 40403, "Schema not found"),
        }
    }

    fn version(&self, subject: &str, version: &str) -> (u16, Value) {
        let Some(ids) = self.subjects.get(subject) else { return error(404, 40401, "Subject not found") };
        let at = if version == "latest" { ids.len() } else { version.parse().unwrap() };
        let Some(id) = at.checked_sub(1).and_then(|at| ids.get(at)) else {
            return error(404, 40402, "Version not found");
        };
        let mut answer = self.schemas[*id].clone();
        answer["subject"] = json!(subject);
        answer["version"] = json!(at);
        answer["id"] = json!(id + 1);
        (200, answer)
    }
}
