// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One `vpc run` with a real guest: its console as it comes, its files, its end.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The program under test.
pub const VPC: &str = env!("CARGO_BIN_EXE_vpc");

/// A guest that says nothing for so long hangs. (In the lab an instruction takes a hundred times its usual time.)
const SILENCE: Duration = Duration::from_secs(90);

/// QEMU's emulated AMD-V does not intercept XSETBV: KVM then does not know which state is enabled, and CPUID leaf 0Dh, which depends
/// on it, alarms Linux. That is no matter of the machine under test.
const WITHOUT: &str = "xsave";

/// A medium that `scripts/guests` made.
pub fn media(name: &str) -> PathBuf {
    let folder = std::env::var_os("VPC_GUESTS").expect("VPC_GUESTS: the folder that scripts/guests prints");
    let path = Path::new(&folder).join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// A folder of a test's own.
pub struct Work(tempfile::TempDir);

impl Work {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A copy of a medium that the guest may write to.
    pub fn copy(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        std::fs::copy(media(name), &to).expect("a copy of the medium");
        let mut permissions = to.metadata().expect("its permissions").permissions();
        #[allow(clippy::permissions_set_readonly_false)]
        permissions.set_readonly(false);
        std::fs::set_permissions(&to, permissions).expect("its permissions");
        to
    }
}

/// A command line in the making.
pub struct Run(Command);

impl Run {
    /// A machine that ends where it would restart, COM1 on our side.
    pub fn new() -> Self {
        let mut command = Command::new(VPC);
        command.args([
            "run",
            "--no-reboot",
            "--serial",
            "stdio",
            "--cpu-without",
            WITHOUT,
        ]);
        Self(command)
    }

    pub fn arg(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.arg(name).arg(value);
        self
    }

    /// A Debian kernel without firmware: `flavour` is `standard` or `cloud`, or `tools` for the standard one with its tools.
    pub fn kernel(self, flavour: &str, parameters: &str) -> Self {
        let kernel = if flavour == "tools" { "standard" } else { flavour };
        self.arg("--kernel", media(&format!("vmlinux-{kernel}")))
            .arg("--initrd", media(&format!("initrd-{flavour}")))
            .arg("--cmdline", format!("console=ttyS0 {parameters}"))
    }

    pub fn start(mut self) -> Guest {
        let mut child = self
            .0
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vpc starts");
        let (sender, console) = mpsc::channel();
        let mut output = child.stdout.take().expect("its output");
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut errors = child.stderr.take().expect("its errors");
        let complaints = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        Guest {
            child,
            console,
            log: Vec::new(),
            seen: 0,
            reader: Some(reader),
            complaints: Some(complaints),
        }
    }

    /// Runs to the end.
    pub fn finish(self) -> Ended {
        self.start().finish()
    }
}

/// A running machine.
pub struct Guest {
    child: Child,
    console: Receiver<Vec<u8>>,
    /// All that came, and how much of it was waited for.
    log: Vec<u8>,
    seen: usize,
    reader: Option<JoinHandle<()>>,
    complaints: Option<JoinHandle<String>>,
}

impl Guest {
    /// Waits until the console says `mark`, behind what was waited for before.
    pub fn wait_for(&mut self, mark: &str) {
        loop {
            let mark = mark.as_bytes();
            if let Some(at) = self.log[self.seen..].windows(mark.len()).position(|w| w == mark) {
                self.seen += at + mark.len();
                return;
            }
            match self.console.recv_timeout(SILENCE) {
                Ok(bytes) => self.log.extend(bytes),
                Err(cause) => {
                    let mark = String::from_utf8_lossy(mark).into_owned();
                    self.give_up(&format!("`{mark}` did not come ({cause})"))
                }
            }
        }
    }

    /// The machine's own end.
    pub fn finish(mut self) -> Ended {
        loop {
            match self.console.recv_timeout(SILENCE) {
                Ok(bytes) => self.log.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.give_up("the guest hangs"),
            }
        }
        let deadline = Instant::now() + SILENCE;
        let status = loop {
            match self.child.try_wait().expect("its status") {
                Some(status) => break status,
                None if Instant::now() > deadline => self.give_up("vpc does not end"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Ended {
            status,
            log: String::from_utf8_lossy(&self.log)
                .lines()
                .map(|line| line.trim_end().to_owned())
                .collect(),
            errors: self.errors(),
        }
    }

    fn errors(&mut self) -> String {
        self.complaints
            .take()
            .and_then(|t| t.join().ok())
            .unwrap_or_default()
    }

    fn give_up(&mut self, why: &str) -> ! {
        let threads = self.threads();
        // If it does not, its output stays open, and nothing here may wait for that.
        assert!(
            self.kill(),
            "{why}, and vpc does not die; its threads:\n{threads}"
        );
        self.log.extend(self.console.try_iter().flatten());
        let log = String::from_utf8_lossy(&self.log).into_owned();
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(60);
        let errors = self.errors();
        panic!(
            "{why}; its console ended with:\n{}\n{errors}\nits threads were:\n{threads}",
            lines[from..].join("\n")
        );
    }

    /// Ends vpc; whether it has ended. (A process that waits for its files' server in vain does not.)
    fn kill(&mut self) -> bool {
        let _ = self.child.kill();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// What vpc's threads do, as far as the host's kernel tells.
    fn threads(&self) -> String {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", self.child.id())) else {
            return "unknown".into();
        };
        let mut text = String::new();
        for task in tasks.flatten() {
            let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let (name, stat, stack) = (read("comm"), read("stat"), read("stack"));
            let state = stat.rsplit(") ").next().and_then(|s| s.get(..1)).unwrap_or("?");
            text += &format!("{} ({state})\n{stack}", name.trim_end());
        }
        text
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.kill()
            && let Some(reader) = self.reader.take()
        {
            let _ = reader.join();
        }
    }
}

/// A machine that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub log: Vec<String>,
    pub errors: String,
}

impl Ended {
    pub fn text(&self) -> String {
        format!("{}\n{}", self.log.join("\n"), self.errors)
    }

    /// The test in the guest reached its end without a failure, and the guest switched off; the kernel saw nothing wrong.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert_eq!(self.status.code(), Some(0), "{}", self.text());
        assert!(
            self.log.iter().any(|line| line == "VPCTEST done"),
            "{}",
            self.text()
        );
        self.assert_clean();
    }

    /// The kernel's log has none of the lines by which Linux complains of the machine it finds.
    #[track_caller]
    pub fn assert_clean(&self) {
        const COMPLAINTS: &[&str] = &[
            "MP-BIOS bug",
            "timer not connected",
            "lost interrupt",
            "nobody cared",
            "Firmware Bug",
            "ACPI Error",
            "ACPI BIOS Error",
            "ACPI BIOS Warning",
            "ACPI Warning",
            "can't claim",
            "conflicts with",
            "can't find IRQ",
            "no GSI",
            "not routable",
            "Can't read CTR",
            "calibration failed",
            "Kernel panic",
            "cut here",
            "rcu_sched",
        ];
        let found: Vec<_> = self
            .log
            .iter()
            .filter(|line| COMPLAINTS.iter().any(|c| line.contains(c)))
            .collect();
        assert!(
            found.is_empty(),
            "the kernel complains: {found:#?}\n{}",
            self.text()
        );
    }

    #[track_caller]
    pub fn assert_says(&self, text: &str) {
        assert!(
            self.log.iter().any(|line| line.contains(text)),
            "`{text}` is missing in\n{}",
            self.text()
        );
    }
}

/// `vpc ctl`: its answer, or why not.
pub fn ctl(socket: &Path, words: &[&OsStr]) -> Result<String, String> {
    let output = Command::new(VPC)
        .arg("ctl")
        .arg(socket)
        .args(words)
        .output()
        .expect("vpc ctl starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Puts a medium into a drive. While the guest reads, it locks the drive: then it is asked again, as a person would.
#[track_caller]
pub fn insert(socket: &Path, drive: &str, medium: &Path) {
    let words = ["insert".as_ref(), drive.as_ref(), medium.as_os_str()];
    for _ in 0..100 {
        match ctl(socket, &words) {
            Ok(_) => return,
            Err(why) => assert!(why.contains("locked"), "{why}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{drive} stays locked");
}
