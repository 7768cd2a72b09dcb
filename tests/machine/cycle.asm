; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that switches the machine off as soon as it has said one character.
%include "firmware.inc"
        firmware
        mov     dx, DEBUG_CONSOLE
        mov     al, '!'
        out     dx, al
        jmp     power_off
        firmware_end
