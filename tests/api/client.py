# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A session by a client that openapi-python-client made: client.py URL TOKEN FOLDER."""

import sys
import time
from pathlib import Path

from vpc_client import AuthenticatedClient
from vpc_client.api.disks import create_disk, show_disk
from vpc_client.api.drives import attach_dvd, attach_floppy, attach_hard_disk, list_drives, release_dvd, release_floppy
from vpc_client.api.host import show_application
from vpc_client.api.machines import (
    create_machine, delete_machine, discard_saved, list_machines, machine_accountant, pause_machine, resume_machine, save_machine, set_machine,
    show_machine, start_machine, stop_machine,
)
from vpc_client.api.tasks import show_task
from vpc_client.models import (
    Attach, AttachHardDisk, CreateDisk, CreateMachine, HardDiskType, MachineState, Problem, ReleaseDvd, ReleaseFloppy, SetMachine, TaskResult,
    UndoAction,
)

url, token, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
client = AuthenticatedClient(base_url=url, token=token, timeout=60)


def done(task):
    """Waits for a task, which must succeed."""
    assert not isinstance(task, Problem), task
    while not task.complete:
        time.sleep(0.05)
        task = show_task.sync(task.id, client=client)
    assert task.result == TaskResult.SUCCESS, task
    return task


def refused(answer, name):
    """Asserts that something was refused with a result of this name."""
    assert isinstance(answer, Problem) and answer.name == name and answer.remedy, answer


assert show_application.sync(client=client).name == "virtualpc"
made = create_machine.sync(client=client, body=CreateMachine(name="made by a client", memory=16))
assert made.state == MachineState.TURNED_OFF and made.memory == 16, made
name = made.name
refused(create_machine.sync(client=client, body=CreateMachine(name=name.upper())), "VM_E_CONFIG_DUPLICATE_NAME")
refused(show_machine.sync("no such machine", client=client), "S_FALSE")
refused(stop_machine.sync(name, client=client), "VM_E_VM_NOT_RUNNING")

disk, disc = str(folder / "disk.vhd"), folder / "disc.iso"
done(create_disk.sync(client=client, body=CreateDisk(path=disk, kind=HardDiskType.DYNAMIC, size_mb=64)))
assert show_disk.sync(client=client, path=disk).size_in_guest == 64 << 20
assert attach_hard_disk.sync(name, client=client, body=AttachHardDisk(path=disk)) is None
set_machine.sync(name, client=client, body=SetMachine(undoable=True, notes="for a test"))

done(start_machine.sync(name, client=client))
assert show_machine.sync(name, client=client).state == MachineState.RUNNING
disc.write_bytes(bytes(1 << 20))
assert attach_dvd.sync(name, "1:0", client=client, body=Attach(path=str(disc))) is None
assert [drive.file for drive in list_drives.sync(name, client=client)] == [disk, str(disc), None]
refused(attach_dvd.sync(name, "1:0", client=client, body=Attach(path=str(disc))), "VM_E_DRIVE_IN_USE")
assert release_dvd.sync(name, "1:0", client=client, body=ReleaseDvd()) is None
assert machine_accountant.sync(name, client=client).cpu_seconds > 0
pause_machine.sync(name, client=client)
assert show_machine.sync(name, client=client).state == MachineState.PAUSED
resume_machine.sync(name, client=client)
floppy = folder / "floppy.img"
floppy.write_bytes(bytes(1440 << 10))
assert attach_floppy.sync(name, 0, client=client, body=Attach(path=str(floppy))) is None
assert release_floppy.sync(name, 0, client=client, body=ReleaseFloppy()) is None

done(save_machine.sync(name, client=client))
assert show_machine.sync(name, client=client).state == MachineState.SAVED
refused(save_machine.sync(name, client=client), "VM_E_VM_NOT_RUNNING")
done(start_machine.sync(name, client=client))
assert show_machine.sync(name, client=client).state == MachineState.RUNNING
refused(discard_saved.sync(name, client=client), "VM_E_VM_RUNNING")
done(stop_machine.sync(name, client=client, undo=UndoAction.DISCARD))
done(start_machine.sync(name, client=client))
done(stop_machine.sync(name, client=client, undo=UndoAction.COMMIT))
done(start_machine.sync(name, client=client))
done(save_machine.sync(name, client=client))
assert discard_saved.sync(name, client=client) is None
assert show_machine.sync(name, client=client).state == MachineState.TURNED_OFF
assert delete_machine.sync(name, client=client) is None
assert list_machines.sync(client=client) == []
print("the client's session: ok")
