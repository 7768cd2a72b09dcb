// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The HTTP API, by curl: a session with guests, errors as documented, and clients that mean no good.

use super::{Lab, support, text};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use support::{PATIENCE, wait_for};

/// `vpc serve`.
struct Server {
    process: Child,
    said: BufReader<ChildStderr>,
    socket: PathBuf,
}

impl Server {
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let socket = lab.path("api");
        let all = [&["serve", "--socket", text(&socket)], arguments].concat();
        let mut process = {
            let _undisturbed = support::alone();
            lab.vpc(&all).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("serving on"), "{line}");
        Self {
            process,
            said,
            socket,
        }
    }

    /// Where it listens on TCP.
    fn address(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0);
            if let Some((_, url)) = line.rsplit_once(" http://127.0.0.1:") {
                return format!("127.0.0.1:{}", url.split('/').next().unwrap());
            }
        }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        ask(&self.socket, method, path, body)
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// A request that gives nothing back.
    #[track_caller]
    fn done(&self, method: &str, path: &str, body: &Value) {
        assert_eq!(
            self.ask(method, path, Some(body)),
            (204, Value::Null),
            "{method} {path}"
        );
    }

    /// A request that begins a task, which must end well.
    #[track_caller]
    fn task(&self, path: &str, body: Option<&Value>) -> Value {
        let (status, mut task) = self.ask("POST", path, body);
        assert_eq!(status, 202, "{path}: {task}");
        let place = format!("/v1/tasks/{}", task["id"]);
        while task["complete"] == false {
            std::thread::sleep(std::time::Duration::from_millis(20));
            task = self.get(&place);
        }
        assert_eq!(task["result"], "success", "{path}: {task}");
        assert_eq!(task["percent"], 100, "{task}");
        task
    }

    #[track_caller]
    fn refused(&self, request: (&str, &str, Value), status: u16, name: &str) -> Value {
        let (method, path, body) = request;
        let (got, problem) = self.ask(method, path, Some(&body).filter(|body| !body.is_null()));
        assert_eq!(
            (got, problem["name"].as_str()),
            (status, Some(name)),
            "{method} {path}: {problem}"
        );
        assert_eq!(problem["status"], status);
        for part in ["type", "title", "detail", "remedy", "hresult"] {
            assert!(
                problem[part].as_str().is_some_and(|text| !text.is_empty()),
                "{problem}"
            );
        }
        problem
    }

    /// Asks it to end, and gives its exit code.
    fn end(mut self) -> Option<i32> {
        signal(&self.process, "TERM");
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn signal(process: &Child, name: &str) {
    let _undisturbed = support::alone();
    let id = process.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap()
            .success()
    );
}

fn curl(arguments: &[&str]) -> Child {
    let _undisturbed = support::alone();
    let patience = PATIENCE.as_secs().to_string();
    Command::new("curl")
        .args(["-sS", "--max-time", &patience])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// One request; the answer's status and JSON.
fn ask(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let url = format!("http://localhost{path}");
    let body = body.map(Value::to_string);
    let mut arguments = vec![
        "--unix-socket",
        text(socket),
        "-X",
        method,
        "-w",
        "\n%{http_code} %{content_type}",
    ];
    if let Some(body) = &body {
        arguments.extend(["-H", "Content-Type: application/json", "-d", body]);
    }
    arguments.push(&url);
    let output = curl(&arguments).wait_with_output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    let (body, end) = answer.rsplit_once('\n').unwrap();
    let (status, kind) = end.split_once(' ').unwrap();
    let status: u16 = status.parse().unwrap_or_else(|_| panic!("{url}: {answer}"));
    if status >= 400 {
        assert_eq!(kind, "application/problem+json", "{url}: {body}");
    }
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Events that a server sends, as curl prints them.
struct Events {
    curl: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    last: u64,
}

impl Events {
    fn follow(socket: &Path, query: &str, after: u64) -> Self {
        let (url, last) = (
            format!("http://localhost/v1/events{query}"),
            format!("Last-Event-ID: {after}"),
        );
        let mut curl = curl(&["-N", "--unix-socket", text(socket), "-H", &last, &url]);
        let lines = BufReader::new(curl.stdout.take().unwrap()).lines();
        Self {
            curl,
            lines,
            last: after,
        }
    }

    /// The next event; none when the stream ends.
    fn next(&mut self) -> Option<Value> {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if let Some(id) = line.strip_prefix("id: ") {
                let id: u64 = id.parse().unwrap();
                assert!(id > self.last, "{id} after {}", self.last);
                self.last = id;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                let event: Value = serde_json::from_str(data).unwrap();
                assert_eq!(event["id"], self.last);
                return Some(event);
            }
        }
        None
    }

    /// The words of events up to one; of states, the state.
    fn until(&mut self, end: &str) -> Vec<String> {
        let mut words = vec![];
        while words.last().is_none_or(|last| last != end) {
            let event = self
                .next()
                .unwrap_or_else(|| panic!("no `{end}` after {words:?}"));
            let word = event["state"].as_str().or(event["event"].as_str()).unwrap();
            if word != "configuration-changed" {
                words.push(word.to_owned());
            }
        }
        words
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

/// A machine named Pc with this firmware and an image of 8 MB, made by the API.
fn create(lab: &Lab, server: &Server, firmware: &[u8]) -> String {
    std::fs::write(lab.path("rom"), firmware).unwrap();
    let string = |path: String| json!({"type": "string", "value": path});
    let wanted = json!({
        "name": "Pc",
        "memory": 8,
        "values": {"virtualpc/firmware": string(lab.text("rom")), "virtualpc/debug_console": string(lab.text("debug"))},
    });
    let (status, made) = server.ask("POST", "/v1/machines", Some(&wanted));
    assert_eq!(
        (status, &made["state"], &made["memory"]),
        (201, &json!("turned-off"), &json!(8)),
        "{made}"
    );
    let disk = lab.text("disk.vhd");
    server.task(
        "/v1/disks",
        Some(&json!({"path": disk, "kind": "dynamic", "size_mb": 8})),
    );
    let shown = server.get(&format!("/v1/disks?path={disk}"));
    assert_eq!(
        (&shown["kind"], &shown["size_in_guest"]),
        (&json!("dynamic"), &json!(8 << 20)),
        "{shown}"
    );
    server.done("POST", "/v1/machines/Pc/hard-disks", &json!({"path": disk}));
    disk
}

#[test]
fn from_create_to_delete() {
    let lab = Lab::new();
    let server = Server::start(&lab, &[]);
    let mut events = Events::follow(&server.socket, "?machine=pc", 0);
    let mut tasks = Events::follow(&server.socket, "", 0);
    let disk = create(&lab, &server, &support::firmware("write"));
    assert!(tasks.until("task-end").contains(&"task-begin".to_owned()));
    server.refused(
        ("POST", "/v1/machines", json!({"name": "PC"})),
        409,
        "VM_E_CONFIG_DUPLICATE_NAME",
    );
    let at = json!({"path": disk});
    let problem = server.refused(
        ("POST", "/v1/machines/Pc/hard-disks", at),
        409,
        "VM_E_DRIVE_BUS_LOC_IN_USE",
    );
    assert_eq!(problem["hresult"], "0xA0040503");
    assert_eq!(problem["type"], "urn:virtualpc:result:VM_E_DRIVE_BUS_LOC_IN_USE");
    let (status, set) = server.ask(
        "PATCH",
        "/v1/machines/Pc",
        Some(&json!({"undoable": true, "notes": "ü"})),
    );
    assert_eq!((status, &set["notes"]), (200, &json!("ü")), "{set}");

    server.task("/v1/machines/pc/start", None);
    server.refused(
        ("POST", "/v1/machines/Pc/start", Value::Null),
        409,
        "VM_E_VM_RUNNING",
    );
    server.refused(("DELETE", "/v1/machines/Pc", Value::Null), 409, "VM_E_VM_RUNNING");
    assert_eq!(server.get("/v1/machines/Pc")["state"], "running");
    let (disc, floppy) = (lab.file("a.iso", 40 << 10), lab.file("a.img", 1440 << 10));
    server.done("POST", "/v1/machines/Pc/dvd/1:0/attach", &json!({"path": disc}));
    server.refused(
        ("POST", "/v1/machines/Pc/dvd/1:0/attach", json!({"path": disc})),
        409,
        "VM_E_DRIVE_IN_USE",
    );
    server.refused(
        ("POST", "/v1/machines/Pc/dvd/0:0/attach", json!({"path": disc})),
        404,
        "VM_E_DRIVE_INVALID",
    );
    server.refused(
        ("POST", "/v1/machines/Pc/dvd/2:0/attach", json!({"path": disc})),
        400,
        "E_INVALIDARG",
    );
    server.done(
        "POST",
        "/v1/machines/Pc/floppy/0/attach",
        &json!({"path": floppy}),
    );
    let drives = server.get("/v1/machines/Pc/drives");
    assert_eq!(
        (&drives[1]["file"], &drives[1]["locked"]),
        (&json!(disc), &json!(false)),
        "{drives}"
    );
    assert_eq!(drives[0]["holds"], "image, undo disk");
    server.done("POST", "/v1/machines/Pc/dvd/1:0/release", &json!({}));
    server.refused(
        ("POST", "/v1/machines/Pc/dvd/1:0/release", json!({})),
        409,
        "VM_E_MEDIA_WRONG_TYPE",
    );
    server.done("POST", "/v1/machines/Pc/floppy/0/release", &json!({}));
    server.refused(
        ("POST", "/v1/machines/Pc/floppy/0/release", json!({})),
        409,
        "VM_E_NO_MEDIA_CAPTURED",
    );

    server.done("POST", "/v1/machines/Pc/pause", &Value::Null);
    server.refused(("POST", "/v1/machines/Pc/pause", Value::Null), 409, "E_FAIL");
    assert_eq!(server.get("/v1/machines/Pc")["state"], "paused");
    server.done("POST", "/v1/machines/Pc/resume", &Value::Null);
    server.task("/v1/machines/Pc/reset", None);
    assert!(
        server.get("/v1/machines/Pc/accountant")["cpu_seconds"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    let metrics = curl(&["--unix-socket", text(&server.socket), "http://localhost/metrics"]);
    let metrics = String::from_utf8(metrics.wait_with_output().unwrap().stdout).unwrap();
    for line in [
        "virtualpc_machine_state{machine=\"Pc\",state=\"running\"} 1",
        "virtualpc_machine_resets_total{machine=\"Pc\"} 1",
        "virtualpc_machine_memory_bytes{machine=\"Pc\"} 8388608",
    ] {
        assert!(metrics.lines().any(|there| there == line), "{line}: {metrics}");
    }
    assert!(
        metrics.ends_with("# EOF\n") && metrics.contains("virtualpc_machine_cpu_seconds_total{"),
        "{metrics}"
    );

    let content = || {
        let mut bytes = vec![0; 8 << 20];
        let disk = vhd::Disk::open(Path::new(&disk), &vhd::OpenOptions::new().read_only(true)).unwrap();
        disk.read_at(0, &mut bytes).unwrap();
        bytes
    };
    let written = || std::fs::read_to_string(lab.path("debug")).is_ok_and(|said| said.contains("written"));
    wait_for("the guest to write", || written().then_some(()));
    server.task("/v1/machines/Pc/stop?undo=discard", None);
    assert!(content().iter().all(|byte| *byte == 0));
    std::fs::write(lab.path("debug"), "").unwrap();
    server.task("/v1/machines/Pc/start", None);
    wait_for("the guest to write", || written().then_some(()));
    server.task("/v1/machines/Pc/save", None);
    assert_eq!(server.get("/v1/machines/Pc")["state"], "saved");
    server.refused(
        ("POST", "/v1/machines/Pc/save", Value::Null),
        409,
        "VM_E_VM_NOT_RUNNING",
    );
    server.task("/v1/machines/Pc/start", None);
    server.refused(
        ("POST", "/v1/machines/Pc/discard-saved", Value::Null),
        409,
        "VM_E_VM_RUNNING",
    );
    server.task("/v1/machines/Pc/stop?undo=commit", None);
    server.refused(
        ("POST", "/v1/machines/Pc/discard-saved", Value::Null),
        409,
        "VM_E_VM_NO_SAVED_STATE",
    );
    assert_eq!(content()[5 * 512..6 * 512], [b'W'; 512]);
    server.refused(
        ("POST", "/v1/machines/Pc/stop", Value::Null),
        409,
        "VM_E_VM_NOT_RUNNING",
    );
    assert_eq!(
        events.until("turned-off"),
        [
            "turning-on",
            "running",
            "media-insert",
            "media-insert",
            "media-eject",
            "media-eject",
            "paused",
            "running",
            "reset",
            "turning-off",
            "turned-off"
        ]
    );
    assert_eq!(
        events.until("turned-off"),
        [
            "turning-on",
            "running",
            "saving",
            "saved",
            "restoring",
            "running",
            "turning-off",
            "merging-drives",
            "turned-off"
        ]
    );
    // Who comes again with the last number misses nothing and sees nothing twice.
    let mut again = Events::follow(&server.socket, "?machine=Pc", events.last);
    server.done("DELETE", "/v1/machines/Pc/hard-disks/0:0", &Value::Null);
    assert_eq!(again.next().unwrap()["event"], "configuration-changed");

    server.done("DELETE", "/v1/machines/Pc", &Value::Null);
    server.refused(("GET", "/v1/machines/Pc", Value::Null), 404, "S_FALSE");
    assert_eq!(server.get("/v1/machines"), json!([]));
    let socket = server.socket.clone();
    assert_eq!(server.end(), Some(0));
    assert!(!socket.exists());
    assert_eq!(again.next(), None, "streams end with the server");
}

#[test]
fn a_machine_s_own_socket() {
    let lab = Lab::new();
    let machine = lab.guest("Pc", &support::firmware("counter"));
    lab.machine("other");
    lab.start(&machine);
    let instances = std::fs::read_dir(lab.path("run/virtualpc")).unwrap().flatten();
    let socket = instances
        .map(|instance| instance.path().join("api"))
        .find(|socket| socket.exists())
        .unwrap();
    let (status, machines) = ask(&socket, "GET", "/v1/machines", None);
    assert_eq!(
        (status, machines[0]["name"].as_str(), machines[1].is_null()),
        (200, Some("Pc"), true)
    );
    assert_eq!(ask(&socket, "POST", "/v1/machines/pc/pause", None).0, 204);
    let (status, shown) = ask(&socket, "GET", "/v1/machines/Pc", None);
    assert_eq!((status, &shown["state"]), (200, &json!("paused")), "{shown}");
    for (method, path, status) in [
        ("GET", "/v1/machines/other", 404),
        ("GET", "/v1/disks?path=/x", 404),
        ("DELETE", "/v1/machines/Pc", 405),
        ("POST", "/v1/machines", 405),
    ] {
        assert_eq!(ask(&socket, method, path, None).0, status, "{method} {path}");
    }
    let mut events = Events::follow(&socket, "", 0);
    assert_eq!(events.until("paused"), ["turning-on", "running", "paused"]);
    let (status, task) = ask(&socket, "POST", "/v1/machines/Pc/stop", None);
    assert_eq!(status, 202, "{task}");
    wait_for("the end", || {
        machine
            .saved_state_file_path()
            .is_err()
            .then(|| machine.turn_off().is_err())
            .filter(|off| *off)
    });
    wait_for("the socket to go", || (!socket.exists()).then_some(()));
    while events.next().is_some() {}
    // The task was that process's, which has noted its end.
    let id = task["id"].as_u64().unwrap();
    let ended = wait_for("the task's end", || {
        let records = lab.app.task_records();
        let record = records.iter().find(|record| u64::from(record.id) == id).unwrap();
        record.result
    });
    assert_eq!(ended.to_string(), "success");
}

#[test]
fn what_is_malformed_is_refused_with_a_problem() {
    let lab = Lab::new();
    let server = Server::start(&lab, &[]);
    lab.machine("Pc");
    for (request, status, name) in [
        (("GET", "/", Value::Null), 404, "S_FALSE"),
        (("GET", "/v1/machines/", Value::Null), 404, "S_FALSE"),
        (("PUT", "/v1/machines", Value::Null), 405, "E_NOTIMPL"),
        (("GET", "/v1/machines/%ff", Value::Null), 400, "E_INVALIDARG"),
        (("GET", "/v1/machines/..%2f..%2fetc", Value::Null), 404, "S_FALSE"),
        (("POST", "/v1/machines", json!({})), 422, "E_INVALIDARG"),
        (("POST", "/v1/machines", json!({"name": 5})), 422, "E_INVALIDARG"),
        (
            ("POST", "/v1/machines", json!({"name": "a", "colour": 1})),
            422,
            "E_INVALIDARG",
        ),
        (
            ("POST", "/v1/machines", json!({"name": ""})),
            400,
            "VM_E_CONFIG_NO_NAME",
        ),
        (
            ("POST", "/v1/machines", json!({"name": "a/b"})),
            400,
            "VM_E_CONFIG_NAME_INVALID_CHAR",
        ),
        (
            ("POST", "/v1/machines", json!({"name": "a", "memory": 1})),
            400,
            "E_INVALIDARG",
        ),
        (
            ("POST", "/v1/machines", json!({"name": "a", "folder": "b"})),
            400,
            "HRESULT_FROM_WIN32(ERROR_BAD_PATHNAME)",
        ),
        (
            ("POST", "/v1/machines/Pc/stop?undo=maybe", Value::Null),
            400,
            "E_INVALIDARG",
        ),
        (
            ("POST", "/v1/machines/Pc/stop?how=now", Value::Null),
            400,
            "E_INVALIDARG",
        ),
        (
            ("GET", "/v1/machines/Pc/values/a%2F%2Fb", Value::Null),
            400,
            "E_INVALIDARG",
        ),
        (
            ("GET", "/v1/machines/Pc/values/a%2Fb", Value::Null),
            404,
            "VM_E_PREF_NOT_FOUND",
        ),
        (
            ("PUT", "/v1/machines/Pc/serial/9", json!({"kind": "null"})),
            404,
            "DISP_E_BADINDEX",
        ),
        (
            ("POST", "/v1/machines/Pc/floppy/7/release", json!({})),
            404,
            "VM_E_DRIVE_INVALID",
        ),
        (("GET", "/v1/machines/Pc/accountant", Value::Null), 404, "S_FALSE"),
        (
            (
                "POST",
                "/v1/disks",
                json!({"path": "/x/y.vhd", "kind": "dynamic"}),
            ),
            400,
            "E_INVALIDARG",
        ),
        (
            ("GET", "/v1/disks?path=/no/such.vhd", Value::Null),
            404,
            "HRESULT_FROM_WIN32(ERROR_PATH_NOT_FOUND)",
        ),
        (("GET", "/v1/tasks/99", Value::Null), 404, "S_FALSE"),
        (("POST", "/v1/tasks/99/cancel", Value::Null), 404, "S_FALSE"),
        (("GET", "/v1/tasks/-1", Value::Null), 400, "E_INVALIDARG"),
    ] {
        server.refused(request, status, name);
    }
    // A refused setting leaves no machine behind.
    assert_eq!(server.get("/v1/machines").as_array().unwrap().len(), 1);
    let send = |more: &[&str]| {
        let all = [
            &[
                "--unix-socket",
                text(&server.socket),
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
            ],
            more,
        ]
        .concat();
        String::from_utf8(curl(&all).wait_with_output().unwrap().stdout).unwrap()
    };
    let url = "http://localhost/v1/machines";
    let is_json = "Content-Type: application/json";
    assert_eq!(send(&["-H", is_json, "-d", "{\"name\":", url]), "400");
    assert_eq!(send(&["-d", "{}", url]), "415");
    assert_eq!(
        send(&["-H", "Last-Event-ID: x", "http://localhost/v1/events"]),
        "400"
    );
    let large = lab.file("large", 600 << 10);
    let large = format!("@{large}");
    assert_eq!(send(&["-H", is_json, "--data-binary", &large, url]), "413");
    assert_eq!(
        send(&[
            "-H",
            is_json,
            "-H",
            "Transfer-Encoding: chunked",
            "--data-binary",
            &large,
            url
        ]),
        "413"
    );
    let header = format!("X-Large: {}", "x".repeat(60_000));
    assert_eq!(send(&["-H", &header, url]), "431");
    let headers: Vec<_> = (0..100).map(|n| format!("X-{n}: 1")).collect();
    let headers: Vec<_> = headers
        .iter()
        .flat_map(|header| ["-H", header.as_str()])
        .chain([url])
        .collect();
    assert_eq!(send(&headers), "431");
    // Bytes that are no HTTP at all, and clients that say nothing: more than there are places.
    let mut mute = vec![];
    for n in 0..70 {
        let mut stream = UnixStream::connect(&server.socket).unwrap();
        if n < 10 {
            let _ = stream.write_all(b"\x16\x03\x01\x00\xff\x00 GET\r\n\r\n");
        }
        mute.push(stream);
    }
    let mut ended = vec![];
    mute[0].read_to_end(&mut ended).unwrap();
    drop(mute);
    assert_eq!(server.get("/v1/machines")[0]["name"], "Pc");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn over_tcp_only_who_knows_the_token_and_means_this_host() {
    let lab = Lab::new();
    let token = lab.text("token");
    let use_error = |arguments: &[&str], words: &str| {
        let output = lab.run(&[&["serve", "--socket", &lab.text("s")], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(words), "{error}");
    };
    use_error(&["--tcp", "127.0.0.1:0"], "--token-file");
    use_error(&["--tcp", "0.0.0.0:0", "--token-file", &token], "loopback");
    std::fs::write(&token, "0123456789abcdef0123456789").unwrap();
    use_error(&["--tcp", "127.0.0.1:0", "--token-file", &token], "0600");
    std::fs::remove_file(&token).unwrap();
    let mut server = Server::start(&lab, &["--tcp", "127.0.0.1:0", "--token-file", &token]);
    let address = server.address();
    let known = std::fs::read_to_string(&token).unwrap();
    let url = format!("http://{address}/v1/machines");
    let send = |headers: &[String]| {
        let headers = headers.iter().flat_map(|header| ["-H", header]);
        let all: Vec<_> = headers
            .chain(["-o", "/dev/null", "-w", "%{http_code}", &url])
            .collect();
        String::from_utf8(curl(&all).wait_with_output().unwrap().stdout).unwrap()
    };
    let bearer = |token: &str| format!("Authorization: Bearer {}", token.trim());
    assert_eq!(send(&[bearer(&known)]), "200");
    assert_eq!(send(&[]), "401");
    assert_eq!(send(&[bearer("wrong")]), "401");
    assert_eq!(send(&[bearer(&known[1..])]), "401");
    assert_eq!(
        send(&[format!("Authorization: Basic {known}").trim().to_owned()]),
        "401"
    );
    assert_eq!(send(&[bearer(&known), "Host: rebound.example".into()]), "421");
    let mut raw = TcpStream::connect(&address).unwrap();
    write!(
        raw,
        "GET /v1/machines HTTP/1.1\r\n{}\r\nConnection: close\r\n\r\n",
        bearer(&known)
    )
    .unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_one_that_is_alive_is_not() {
    let lab = Lab::new();
    let mut first = Server::start(&lab, &[]);
    let second = lab.run(&["serve", "--socket", &lab.text("api")]);
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process listens there"));
    first.process.kill().unwrap();
    first.process.wait().unwrap();
    assert!(first.socket.exists());
    let next = Server::start(&lab, &[]);
    assert_eq!(next.get("/v1/machines"), json!([]));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&next.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let file = lab.file("file", 1);
    let refused = lab.run(&["serve", "--socket", &file]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_long_operation_is_cancelled_and_leaves_nothing() {
    let lab = Lab::new();
    let server = Server::start(&lab, &[]);
    let source = lab.path("source.vhd");
    vhd::create::dynamic(&source, 3 << 30, &vhd::CreateOptions::new()).unwrap();
    let bytes = vec![0x5a; 4 << 20];
    let disk = vhd::Disk::open(&source, &vhd::OpenOptions::new()).unwrap();
    for n in 0..48 {
        disk.write_at(n * bytes.len() as u64, &bytes).unwrap();
    }
    disk.close().unwrap();
    let target = lab.path("target.vhd");
    let convert = json!({"path": source, "to": target, "kind": "dynamic"});
    let (status, task) = server.ask("POST", "/v1/disks/convert", Some(&convert));
    assert_eq!(status, 202, "{task}");
    let (status, cancelled) = server.ask("POST", &format!("/v1/tasks/{}/cancel", task["id"]), None);
    let ended = wait_for("its end", || {
        let task = server.get(&format!("/v1/tasks/{}", task["id"]));
        (task["complete"] == true).then_some(task)
    });
    // A fast host may have been done before it was asked.
    if status == 202 && ended["result"] != "success" {
        assert_eq!(ended["result"], "cancelled", "{ended}");
        assert!(!target.exists());
    } else {
        assert!(target.exists(), "{cancelled}");
    }
    server.refused(
        ("POST", &format!("/v1/tasks/{}/cancel", task["id"]), Value::Null),
        409,
        "E_FAIL",
    );
}
