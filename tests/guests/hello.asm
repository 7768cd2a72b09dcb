; SPDX-License-Identifier: Apache-2.0 OR MIT
; The smallest guest: a line on COM1, the debug console and the screen, then soft off.
%define SCREEN
%include "pc.inc"
        boot_sector
        say     "hello from the boot sector", 13, 10
        jmp     power_off
        pc_routines
        boot_signature 0
