// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Partitions with file systems, made and checked by those systems' own programs.

use crate::lab::{Lab, pattern};

/// A file system to make.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub mib: usize,
    make: &'static [&'static str],
}

const EXT: [&str; 4] = ["mke2fs", "-qF", "-E", "nodiscard"];

pub const KINDS: [Kind; 9] = [
    kind("ext2", 12, &["-t", "ext2", "-b", "1024"]),
    kind("ext3", 16, &["-t", "ext3"]),
    kind("ext4", 20, &["-t", "ext4"]),
    kind("ext4-large", 96, &["-t", "ext4", "-b", "1024", "-O", "^flex_bg"]),
    kind(
        "ext4-2010",
        20,
        &["-t", "ext4", "-O", "^metadata_csum,^64bit,uninit_bg"],
    ),
    kind("fat12", 6, &["mkfs.fat", "-F12"]),
    kind("fat16", 24, &["mkfs.fat", "-F16"]),
    kind("fat32", 36, &["mkfs.fat", "-F32", "-s1"]),
    kind("ntfs", 16, &["mkfs.ntfs", "-qQF"]),
];

const fn kind(name: &'static str, mib: usize, make: &'static [&'static str]) -> Kind {
    Kind { name, mib, make }
}

/// A file: its name, and what is in it.
pub type File = (String, Vec<u8>);

impl Kind {
    fn is(&self, family: &str) -> bool {
        self.name.starts_with(family)
    }

    /// Whether its programs are there.
    pub fn is_possible(&self) -> bool {
        let programs: &[&str] = match self.name {
            _ if self.is("ext") => &["mke2fs", "debugfs", "e2fsck"],
            _ if self.is("fat") => &["mkfs.fat", "fsck.fat", "mcopy"],
            _ => &["mkfs.ntfs", "ntfscp", "ntfscat", "ntfsfix"],
        };
        programs.iter().all(|program| Lab::installed(program))
    }

    /// Makes it over old data, in the file `part`, and gives the files that are in it in the end. Some others were deleted.
    pub fn make(&self, lab: &Lab) -> Vec<File> {
        std::fs::write(lab.path("part"), pattern(self.mib << 20, 77)).unwrap();
        let mut words = if self.is("ext") { EXT.to_vec() } else { vec![] };
        words.extend(self.make);
        words.push("part");
        run(lab, &words);
        let files = files();
        for (name, content) in &files {
            std::fs::write(lab.path(name), content).unwrap();
        }
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        match self.name {
            _ if self.is("ext") => {
                let write = |name: &&str| format!("write {name} {name}\n");
                let writes: String = names.iter().map(write).collect();
                std::fs::write(
                    lab.path("commands"),
                    writes + "rm gone1\nrm gone2\nmkdir folder\n",
                )
                .unwrap();
                run(lab, &["debugfs", "-w", "-f", "commands", "part"]);
            }
            _ if self.is("fat") => {
                run(lab, &["mmd", "-i", "part", "folder"]);
                let copy = ["mcopy", "-i", "part"].iter().chain(&names).chain(&["::/"]);
                run(lab, &copy.copied().collect::<Vec<_>>());
                run(lab, &["mcopy", "-i", "part", "small", "::/folder"]);
                run(lab, &["mdel", "-i", "part", "gone1", "gone2"]);
            }
            _ => {
                for name in &names {
                    run(lab, &["ntfscp", "-f", "part", name, name]);
                }
            }
        }
        for name in names {
            std::fs::remove_file(lab.path(name)).unwrap();
        }
        let kept = |(name, _): &File| !name.starts_with("gone");
        files.into_iter().filter(kept).collect()
    }

    /// Has it checked, and its files compared.
    pub fn check(&self, lab: &Lab, files: &[File]) {
        match self.name {
            _ if self.is("ext") => run(lab, &["e2fsck", "-fn", "part"]),
            _ if self.is("fat") => run(lab, &["fsck.fat", "-n", "part"]),
            _ => run(lab, &["ntfsfix", "-n", "part"]),
        };
        for (name, content) in files {
            let found = match self.name {
                _ if self.is("ext") => run(lab, &["debugfs", "-R", &format!("cat {name}"), "part"]),
                _ if self.is("fat") => run(lab, &["mcopy", "-i", "part", &format!("::/{name}"), "-"]),
                _ => run(lab, &["ntfscat", "-f", "part", name]),
            };
            assert!(&found == content, "{}: {name}", self.name);
        }
    }
}

fn files() -> Vec<File> {
    let sizes = [
        ("gone1", 700_000),
        ("small", 300),
        ("large", 1_500_000),
        ("gone2", 200_000),
        ("middle", 70_001),
    ];
    let file = |(index, (name, size)): (u8, (&str, usize))| (name.to_owned(), pattern(size, index));
    (1..).zip(sizes).map(file).collect()
}

/// Runs a program in the lab, which must go well.
pub fn run(lab: &Lab, words: &[&str]) -> Vec<u8> {
    let (program, words) = words.split_first().unwrap();
    let done = lab.run_words(program, words);
    assert_eq!(
        done.code,
        0,
        "{program} {words:?}: {}{}",
        done.stderr,
        String::from_utf8_lossy(&done.stdout)
    );
    done.stdout
}
