// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guard of the volumes that hold a running machine's growing images.
//!
//! A guest cannot know that its disk is larger than what the host has left. When a volume has little room the user is told; when it has
//! nearly none the machine is paused, before a write of the guest fails, and goes on when there is room again.

use super::event::EventKind;
use super::machine::VirtualMachine;
use crate::machine::control::{Answer, Command, Remote, RunState};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// With less free the user is told.
const LOW: u64 = 100 << 20;
/// With so much free again the next time counts anew.
const LOW_OVER: u64 = 110 << 20;
/// With less free the machine is paused.
const CRITICAL: u64 = 20 << 20;
/// With so much free again it goes on.
const CRITICAL_OVER: u64 = 40 << 20;

/// No guest writes more than this in a second.
const FASTEST: u64 = 1 << 30;
/// Looks at the volumes are at least so far apart,
const SHORTEST: Duration = Duration::from_millis(15);
/// and at most so far,
const LONGEST: Duration = Duration::from_secs(5);
/// and while the machine waits for room, so far.
const WAITING: Duration = Duration::from_millis(500);

/// How full a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Enough,
    Low,
    Critical,
}

impl Level {
    /// The level with so much free, after this one.
    fn then(self, free: u64) -> Self {
        match self {
            _ if free < CRITICAL => Self::Critical,
            Self::Critical if free < CRITICAL_OVER => Self::Critical,
            _ if free < LOW => Self::Low,
            Self::Low | Self::Critical if free < LOW_OVER => Self::Low,
            _ => Self::Enough,
        }
    }
}

struct Volume {
    folder: PathBuf,
    level: Level,
}

/// What is to be done after a look.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Tell {
        critically_low: bool,
        volume: PathBuf,
        free: u64,
    },
    Pause,
    Resume,
}

/// What is known of the volumes.
struct Watch {
    volumes: Vec<Volume>,
    /// The machine was paused for want of room.
    paused: bool,
}

impl Watch {
    fn new(folders: Vec<PathBuf>) -> Self {
        let volume = |folder| Volume {
            folder,
            level: Level::Enough,
        };
        Self {
            volumes: folders.into_iter().map(volume).collect(),
            paused: false,
        }
    }

    /// Looks at all volumes: what is to be done, and when to look again. A volume that does not say what is free is left as it is.
    fn look(
        &mut self,
        free: impl Fn(&Path) -> io::Result<u64>,
        runs: impl Fn() -> bool,
    ) -> (Vec<Step>, Duration) {
        let mut steps = vec![];
        let mut least = u64::MAX;
        for volume in &mut self.volumes {
            let Ok(free) = free(&volume.folder) else { continue };
            least = least.min(free);
            let level = volume.level.then(free);
            // A fast guest may pass both between two looks.
            for passed in [Level::Low, Level::Critical] {
                if volume.level < passed && passed <= level {
                    steps.push(Step::Tell {
                        critically_low: passed == Level::Critical,
                        volume: volume.folder.clone(),
                        free,
                    });
                }
            }
            volume.level = level;
        }
        let critical = self.volumes.iter().any(|volume| volume.level == Level::Critical);
        // One that its user has paused, also since, is not this guard's to resume, as the machine knows; one that its user lets go on in
        // spite of it is paused again.
        if critical && runs() {
            steps.push(Step::Pause);
            self.paused = true;
        } else if !critical && self.paused {
            steps.push(Step::Resume);
            self.paused = false;
        }
        let room = Duration::from_secs_f64(least.saturating_sub(CRITICAL) as f64 / FASTEST as f64);
        let next = if critical {
            WAITING
        } else {
            room.clamp(SHORTEST, LONGEST)
        };
        (steps, next)
    }
}

/// The guard of one machine. Dropping it ends it.
pub(super) struct SpaceGuard {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SpaceGuard {
    /// Watches the volumes of these images. Without any there is nothing to do.
    pub(super) fn start(machine: &VirtualMachine, images: &[PathBuf], remote: Remote) -> io::Result<Self> {
        let folders = volumes(images);
        if folders.is_empty() {
            return Ok(Self {
                end: None,
                thread: None,
            });
        }
        let (end, ended) = mpsc::channel();
        let machine = machine.clone();
        let thread = std::thread::Builder::new().name("space".into()).spawn(move || {
            let mut watch = Watch::new(folders);
            let mut next = Duration::ZERO;
            while ended.recv_timeout(next) == Err(mpsc::RecvTimeoutError::Timeout) {
                let (steps, then) = watch.look(crate::host::free_space, || runs(&remote));
                for step in steps {
                    take(step, &machine, &remote);
                }
                next = then;
            }
        })?;
        Ok(Self {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for SpaceGuard {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runs(remote: &Remote) -> bool {
    let status = remote.command(Command::Status {});
    matches!(status, Ok(Answer::Status(status)) if status.state == RunState::Running)
}

fn take(step: Step, machine: &VirtualMachine, remote: &Remote) {
    // A machine that has ended meanwhile needs nothing more.
    let _ = match step {
        Step::Tell {
            critically_low,
            volume,
            free,
        } => {
            log::warn!("{}: {} MB are free", volume.display(), free >> 20);
            machine.note(EventKind::DiskOutOfSpace {
                critically_low,
                volume,
                free,
            });
            return;
        }
        Step::Pause => remote.command(Command::Hold {}),
        Step::Resume => remote.command(Command::Release {}),
    };
}

/// One folder for each volume that has one of the images.
fn volumes(images: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    // An image's name may be a link to another volume.
    let files = images.iter().filter_map(|image| image.canonicalize().ok());
    let folders = files.filter_map(|file| file.parent().map(Path::to_owned));
    folders
        .filter(|folder| std::fs::metadata(folder).is_ok_and(|found| seen.insert(found.dev())))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::cell::Cell;

    const MB: u64 = 1 << 20;

    fn tell(critically_low: bool, free: u64) -> Step {
        Step::Tell {
            critically_low,
            volume: "/v".into(),
            free,
        }
    }

    #[test]
    fn a_volume_fills_up_and_is_cleared() {
        let mut watch = Watch::new(vec!["/v".into()]);
        let running = Cell::new(true);
        let mut look = |free: u64| {
            let (steps, next) = watch.look(|_| Ok(free), || running.get());
            for step in &steps {
                match step {
                    Step::Pause => running.set(false),
                    Step::Resume => running.set(true),
                    Step::Tell { .. } => {}
                }
            }
            (steps, next)
        };
        assert_eq!(look(500 * MB).0, []);
        assert_eq!(look(100 * MB).0, []);
        assert_eq!(look(100 * MB - 1).0, [tell(false, 100 * MB - 1)]);
        // What swings about the limit is told once.
        for free in [101, 99, 109, 90] {
            assert_eq!(look(free * MB).0, [], "{free}");
        }
        assert_eq!(look(20 * MB).0, []);
        assert_eq!(look(19 * MB), (vec![tell(true, 19 * MB), Step::Pause], WAITING));
        assert_eq!(look(0).0, []);
        assert_eq!(look(39 * MB).0, []);
        // Its user lets it go on although there is no room.
        running.set(true);
        assert_eq!(
            watch.look(|_| Ok(39 * MB), || running.replace(false)).0,
            [Step::Pause]
        );
        let mut look = |free: u64| watch.look(|_| Ok(free), || running.get()).0;
        assert_eq!(look(40 * MB), [Step::Resume]);
        running.set(true);
        assert_eq!(look(50 * MB), []);
        assert_eq!(look(120 * MB), []);
        assert_eq!(look(99 * MB), [tell(false, 99 * MB)]);
    }

    #[test]
    fn a_machine_that_its_user_paused_stays_paused() {
        let mut watch = Watch::new(vec!["/v".into()]);
        assert_eq!(
            watch.look(|_| Ok(MB), || false).0,
            [tell(false, MB), tell(true, MB)]
        );
        assert_eq!(watch.look(|_| Ok(500 * MB), || false).0, []);
    }

    #[test]
    fn all_volumes_must_have_room() {
        let mut watch = Watch::new(vec!["/v".into(), "/w".into()]);
        let of =
            |v: u64, w: u64| move |path: &Path| Ok(if path == Path::new("/v") { v * MB } else { w * MB });
        let steps = watch.look(of(10, 10), || true).0;
        assert_eq!((steps.len(), steps.last()), (5, Some(&Step::Pause)));
        assert_eq!(watch.look(of(500, 10), || false).0, []);
        assert_eq!(watch.look(of(500, 500), || false).0, [Step::Resume]);
        let broken = |_: &Path| Err(io::ErrorKind::Other.into());
        assert_eq!(watch.look(broken, || true), (vec![], LONGEST));
    }

    #[test]
    fn the_fuller_the_more_often() {
        let mut watch = Watch::new(vec!["/v".into()]);
        let mut next = |free: u64| watch.look(|_| Ok(free * MB), || true).1;
        assert_eq!(next(1 << 20), LONGEST);
        assert_eq!(next(20 + 1024), Duration::from_secs(1));
        assert_eq!(next(21), SHORTEST);
    }
}
