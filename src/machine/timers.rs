// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine's clock, and one thread that serves all timers of its chips.

use devices::bus::lock;
use devices::clock::{Clock, Nanos, Timed, Timer};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Guest time: the host's monotonic clock, less the time the machine was paused.
pub struct MachineClock(Mutex<ClockState>);

struct ClockState {
    /// Guest time when it last began to run, or stopped.
    base: Nanos,
    /// Since when it runs.
    running: Option<Instant>,
}

impl ClockState {
    fn now(&self) -> Nanos {
        let run = self.running.map_or(0, |since| nanos(since.elapsed()));
        self.base.saturating_add(run)
    }
}

impl MachineClock {
    /// A clock at zero that stands still until [`resume`](MachineClock::resume).
    pub fn new() -> Self {
        Self(Mutex::new(ClockState {
            base: 0,
            running: None,
        }))
    }

    /// Stops guest time.
    pub fn pause(&self) {
        let mut state = lock(&self.0);
        state.base = state.now();
        state.running = None;
    }

    /// Lets guest time go on from where it stood.
    pub fn resume(&self) {
        let mut state = lock(&self.0);
        if state.running.is_none() {
            state.running = Some(Instant::now());
        }
    }

    /// Sets the time of a clock that stands still.
    pub fn set(&self, now: Nanos) {
        let mut state = lock(&self.0);
        if state.running.is_none() {
            state.base = now;
        }
    }

    fn is_paused(&self) -> bool {
        lock(&self.0).running.is_none()
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Nanos {
        lock(&self.0).now()
    }
}

fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos().min(u128::from(u64::MAX)) as u64
}

/// All timers of a machine. Dropping it ends the thread.
pub struct Timers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    clock: Arc<MachineClock>,
    state: Mutex<State>,
    changed: Condvar,
    told: Condvar,
}

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    /// A chip is being told of its expiry.
    telling: bool,
    stop: bool,
}

#[derive(Default)]
struct Slot {
    deadline: Option<Nanos>,
    target: Option<Weak<Mutex<dyn Timed>>>,
}

impl Timers {
    /// Starts the thread.
    pub fn new(clock: Arc<MachineClock>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            clock,
            state: Mutex::default(),
            changed: Condvar::new(),
            told: Condvar::new(),
        });
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("timers".into())
            .spawn(move || worker.serve())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// A timer for a chip that is about to be made. Its expiries go nowhere until the chip is [connected](Socket::connect).
    pub fn create(&self) -> (Box<dyn Timer>, Socket) {
        let mut state = lock(&self.shared.state);
        state.slots.push(Slot::default());
        let index = state.slots.len() - 1;
        (
            Box::new(Handle {
                shared: self.shared.clone(),
                index,
            }),
            Socket {
                shared: self.shared.clone(),
                index,
            },
        )
    }

    /// While time stands still: waits until the last chip has been told of an expiry. None of their locks may be held.
    pub fn settle(&self) {
        let mut state = lock(&self.shared.state);
        while state.telling {
            state = self
                .shared
                .told
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Guest time goes on, or stands still: deadlines are looked at anew.
    pub fn clock_changed(&self) {
        drop(lock(&self.shared.state));
        self.shared.changed.notify_one();
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where the expiries of a timer go.
pub struct Socket {
    shared: Arc<Shared>,
    index: usize,
}

impl Socket {
    /// Ties the timer to its chip.
    pub fn connect<T: Timed + 'static>(self, chip: &Arc<Mutex<T>>) {
        let weak: Weak<Mutex<T>> = Arc::downgrade(chip);
        lock(&self.shared.state).slots[self.index].target = Some(weak);
        self.shared.changed.notify_one();
    }
}

struct Handle {
    shared: Arc<Shared>,
    index: usize,
}

impl Timer for Handle {
    fn arm(&mut self, deadline: Nanos) {
        let mut state = lock(&self.shared.state);
        let earliest = state.slots.iter().filter_map(|slot| slot.deadline).min();
        state.slots[self.index].deadline = Some(deadline);
        drop(state);
        if earliest.is_none_or(|earliest| deadline < earliest) {
            self.shared.changed.notify_one();
        }
    }

    fn disarm(&mut self) {
        lock(&self.shared.state).slots[self.index].deadline = None;
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = lock(&self.state);
        while !state.stop {
            let now = self.clock.now();
            // A chip that is still being made keeps its deadline.
            let due = state
                .slots
                .iter_mut()
                .find(|s| s.target.is_some() && s.deadline.is_some_and(|d| d <= now));
            if let Some(slot) = due.filter(|_| !self.clock.is_paused()) {
                slot.deadline = None;
                let chip = slot.target.as_ref().and_then(Weak::upgrade);
                state.telling = true;
                // The chip may arm its timer again from inside.
                drop(state);
                if let Some(chip) = chip {
                    lock(&*chip).expire();
                }
                state = lock(&self.state);
                state.telling = false;
                self.told.notify_all();
                continue;
            }
            let next = state
                .slots
                .iter()
                .filter(|s| s.target.is_some())
                .filter_map(|s| s.deadline)
                .min();
            state = match next {
                Some(deadline) if !self.clock.is_paused() => {
                    let wait = Duration::from_nanos(deadline.saturating_sub(now));
                    self.changed
                        .wait_timeout(state, wait)
                        .map_or_else(|e| e.into_inner().0, |(state, _)| state)
                }
                _ => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    struct Bell {
        timer: Box<dyn Timer>,
        left: u32,
        rung: mpsc::Sender<u32>,
    }

    impl Timed for Bell {
        fn expire(&mut self) {
            self.rung.send(self.left).unwrap();
            if self.left > 0 {
                self.left -= 1;
                self.timer.arm(0);
            }
        }
    }

    fn bell(timers: &Timers) -> (Arc<Mutex<Bell>>, mpsc::Receiver<u32>) {
        let (timer, socket) = timers.create();
        let (rung, heard) = mpsc::channel();
        let bell = Arc::new(Mutex::new(Bell { timer, left: 3, rung }));
        socket.connect(&bell);
        (bell, heard)
    }

    #[test]
    fn a_chip_may_arm_its_timer_from_inside() {
        let clock = Arc::new(MachineClock::new());
        clock.resume();
        let timers = Timers::new(clock).unwrap();
        let (bell, heard) = bell(&timers);
        lock(&bell).timer.arm(1);
        assert_eq!(
            (0..4).map(|_| heard.recv().unwrap()).collect::<Vec<_>>(),
            [3, 2, 1, 0]
        );
    }

    #[test]
    fn nothing_expires_while_time_stands_still() {
        let clock = Arc::new(MachineClock::new());
        let timers = Timers::new(clock.clone()).unwrap();
        let (bell, heard) = bell(&timers);
        lock(&bell).timer.arm(0);
        assert!(heard.recv_timeout(Duration::from_millis(20)).is_err());
        assert_eq!(clock.now(), 0);
        clock.resume();
        timers.clock_changed();
        assert_eq!(heard.recv(), Ok(3));
    }

    #[test]
    fn the_thread_ends_with_its_owner_and_dead_chips_are_forgotten() {
        let clock = Arc::new(MachineClock::new());
        clock.resume();
        let timers = Timers::new(clock).unwrap();
        let (bell, heard) = bell(&timers);
        let (mut timer, _socket) = timers.create();
        timer.arm(0);
        drop(bell);
        drop(timers);
        assert!(heard.recv().is_err());
    }
}
