// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A folder to work in, the program, and the programs that it is checked against.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder of its own for a test.
pub struct Lab {
    folder: tempfile::TempDir,
}

/// What a program did.
pub struct Done {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Lab {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `vpc disk` with these words, in the folder.
    pub fn disk(&self, words: &str) -> Done {
        self.disk_with(words, &[])
    }

    /// As [`Lab::disk`], with an input.
    pub fn disk_with(&self, words: &str, input: &[u8]) -> Done {
        // VPC_PROGRAM names another build to put to the test: vpc.exe under Wine, say.
        let program = std::env::var_os("VPC_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_vpc").into());
        let mut command = Command::new(program);
        command.arg("disk").args(words.split_whitespace());
        self.run(command, input)
    }

    /// As [`Lab::disk`], and it must have gone well.
    pub fn ok(&self, words: &str) -> Vec<u8> {
        let done = self.disk(words);
        assert_eq!(done.code, 0, "vpc disk {words}: {}", done.stderr);
        done.stdout
    }

    /// Writes a piece of a disk.
    pub fn write(&self, image: &str, offset: u64, bytes: &[u8]) {
        let done = self.disk_with(&format!("write {image} --offset {offset}"), bytes);
        assert_eq!(done.code, 0, "{}", done.stderr);
    }

    /// Reads a piece of a disk.
    pub fn read(&self, image: &str, offset: u64, length: u64) -> Vec<u8> {
        self.ok(&format!("read {image} --offset {offset} --length {length}"))
    }

    /// Runs qemu-img in the folder; `None` where it is not installed.
    pub fn qemu_img(&self, words: &str) -> Option<Done> {
        let mut command = Command::new("qemu-img");
        command.args(words.split_whitespace());
        Self::installed("qemu-img").then(|| self.run(command, &[]))
    }

    /// Runs a program in the folder, with words that may have spaces.
    pub fn run_words(&self, program: &str, words: &[&str]) -> Done {
        let mut command = Command::new(program);
        command.args(words);
        self.run(command, &[])
    }

    pub fn installed(program: &str) -> bool {
        let found = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok();
        if !found {
            eprintln!("{program} is not installed: this part of the test is left out");
        }
        found
    }

    fn run(&self, mut command: Command, input: &[u8]) -> Done {
        let mut child = command
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A program that does not read its input closes it: that is no failure here.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Done {
            code: status.code().expect("the program was killed"),
            stdout,
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// The names of everything in the folder, and below.
    pub fn names(&self) -> Vec<String> {
        fn visit(folder: &Path, names: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                names.push(entry.file_name().into_string().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    visit(&entry.path(), names);
                }
            }
        }
        let mut names = Vec::new();
        visit(self.folder.path(), &mut names);
        names.sort();
        names
    }
}

/// Bytes that are not zero, and differ from place to place.
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed) | 1)
        .collect()
}
