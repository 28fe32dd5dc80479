//! A schema registry in this process, behind a real socket: the one for tests, with what only a real one refuses.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use vltava_schema::MockRegistry;

/// Subjects whose names begin so take one schema and no other.
pub const STRICT: &str = "strict";

#[derive(Default)]
struct State {
    registry: MockRegistry,
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
        let (_, subjects) = self.state.lock().unwrap().registry.answer("GET", "/subjects", &Value::Null);
        serde_json::from_value(subjects).unwrap()
    }

    /// The body that registered an id.
    pub fn body_of(&self, id: usize) -> Value {
        self.state.lock().unwrap().registry.answer("GET", &format!("/schemas/ids/{id}"), &Value::Null).1
    }
}

/// Gives one request this answer, whatever it asks.
pub fn answer_once(listener: &TcpListener, status: u16, body: &str) {
    let (stream, _) = listener.accept().unwrap();
    read_request(&mut BufReader::new(&stream)).unwrap();
    write_answer(&stream, status, body);
}

struct Request {
    method: String,
    path: String,
    login: Option<String>,
    body: Vec<u8>,
}

/// The next request, unless the client has gone.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return None;
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
    let mut words = first.split(' ').map(str::to_owned);
    Some(Request { method: words.next().unwrap(), path: words.next().unwrap(), login, body })
}

fn write_answer(mut stream: &TcpStream, status: u16, body: &str) {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).unwrap();
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some(Request { method, path, login, body }) = read_request(&mut reader) {
        let (status, answer) = state.lock().unwrap().answer(&method, &path, &body, login.as_deref());
        write_answer(stream, status, &answer.to_string());
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
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let strict = |prefix: &str| path.starts_with(&format!("{prefix}/{STRICT}"));
        if method == "POST" && path.starts_with("/compatibility/") {
            return (200, json!({ "is_compatible": !strict("/compatibility/subjects") }));
        }
        if method == "POST" && strict("/subjects") && path.contains("/versions") {
            let subject = path.split("/versions").next().unwrap();
            let (known, _) = self.registry.answer("POST", subject, &body);
            let (taken, _) = self.registry.answer("GET", &format!("{subject}/versions/latest"), &Value::Null);
            if known != 200 && taken == 200 {
                return error(409, 409, "Schema being registered is incompatible with an earlier schema");
            }
        }
        self.registry.answer(method, path, &body)
    }
}
