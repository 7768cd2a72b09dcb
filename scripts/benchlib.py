# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What bench-machine, bench-peers and bench-disk share: running guests beside each other, in the lab or here, and telling what came of it."""
import json, os, re, select, signal, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MIB = 1 << 20


class Run:
    """What a run printed, and when, in seconds from the exec."""

    def __init__(self):
        self.first = None
        self.lines = []
        self.marks = {}
        self.processor = None

    def at(self, pattern):
        return next(when for when, line in self.lines if re.search(pattern, line))

    def between(self, start, end):
        return self.at(rf"{end}\b") - self.at(rf"{start}\b")


def run(command, last, limit, marks=()):
    """Runs a guest until it has printed a line that matches `last`. `marks`: pattern -> what to call with the process's number when a line
    matches first."""
    result, text, marks = Run(), b"", dict(marks)
    begin = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        while True:
            left = begin + limit - time.monotonic()
            if left < 0 or not select.select([process.stdout], [], [], left)[0]:
                raise RuntimeError(f"not at {last!r} after {limit} s")
            chunk = os.read(process.stdout.fileno(), 4096)
            now = time.monotonic() - begin
            if not chunk:
                raise RuntimeError(f"ended before {last!r}: {process.stderr.read().decode()[-300:]}")
            result.first = result.first or now
            text += chunk
            *lines, text = text.split(b"\n")
            for line in lines:
                line = line.decode("latin-1").strip()
                result.lines.append((now, line))
                for pattern, look in marks.items():
                    if pattern not in result.marks and re.search(pattern, line):
                        result.marks[pattern] = look(process.pid)
                if re.search(last, line):
                    return result
    except RuntimeError as error:
        raise RuntimeError(f"{command[0]}: {error}; its last lines: {[line for _, line in result.lines[-5:]]}") from None
    finally:
        # How it ends is not what is measured.
        os.kill(process.pid, signal.SIGKILL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        result.processor = usage.ru_utime + usage.ru_stime
        process.stdout.close()
        process.stderr.close()


def noise(path, size):
    """Makes a file of bytes that are no zeros."""
    block = os.urandom(MIB)
    with open(path, "wb") as file:
        for at in range(0, size, MIB):
            file.write(block[: min(MIB, size - at)])


def on_ext4(folder):
    """Lays a file system under a folder of the lab that images lie on elsewhere, too. It ends with the lab."""
    volume = folder + ".ext4"
    with open(volume, "wb") as file:
        file.truncate(1024 * MIB)
    for command in (["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", volume], ["mount", "-o", "loop", volume, folder]):
        subprocess.run(command, check=True)


def in_lab(script, options, names, rounds, contenders, results, timeout, by_instructions=lambda name: True):
    """Lets the lab run `script` for each of `names`; starts it again for the rounds that are missing. `contenders(name)`: who takes part."""
    for name in names:
        for attempt in range(3):
            missing = [n for n in range(rounds + 1)
                       if not set(contenders(name)) <= {r["who"] for r in results if r["work"] == name and r["round"] == n and not r["failure"]}]
            # A warm-up of its own for each lab.
            numbers = [0] + [n for n in missing if n]
            if len(numbers) == 1:
                break
            print(f"{name}: lab {attempt + 1}, rounds {numbers}", file=sys.stderr)
            # A clock that counts instructions keeps the host's other work out of the figures.
            clock = ["--icount"] if by_instructions(name) else []
            collect([os.path.join(ROOT, "scripts/lab"), *clock, "--modules", "loop ext4", "--timeout", str(timeout), "--", sys.executable, script,
                     "--lab", *options, "--only", name, "--numbers", *map(str, numbers)], results)


def collect(command, results):
    """Starts a measuring process, and takes the runs that it prints as lines of JSON."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            try:
                result = json.loads(line)
            except ValueError:
                print(line, end="", file=sys.stderr)
                continue
            results.append(result)
            words = result["failure"] or ", ".join(f"{row}: {show(*value)}" for row, value in result["values"].items())
            print(f"{result['work']} {result['round']} {result['who']}: {words}", file=sys.stderr, flush=True)


def show(unit, value):
    """A value in words."""
    scale = {"MiB": MIB, "MB/s": 1e6}.get(unit, 1)
    return f"{value / scale:,.0f}{unit}" if unit == "/s" else f"{value / scale:.3g} {unit}"


def host():
    """The machine that this runs on, in a line."""
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown processor")
    with open("/proc/meminfo") as info:
        memory = int(next(line for line in info if line.startswith("MemTotal")).split()[1]) >> 20
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{os.cpu_count()} processors ({model}), {memory} GiB, Linux {os.uname().release}, load {load}"


class Served:
    """An image that vpc serves."""

    def __init__(self, vpc, image, socket):
        self.vpc, self.image, self.socket = vpc, image, socket

    def __enter__(self):
        self.process = subprocess.Popen([self.vpc, "disk", "serve", self.image, "--socket", self.socket])
        while not os.path.exists(self.socket):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.image} is not served")
            time.sleep(0.01)
        return f"nbd+unix:///?socket={self.socket}"

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait():
            raise RuntimeError(f"serving {self.image} failed")
