; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that shows a sign of life for ever: a character on the debug console, a code on port 80h.
%include "firmware.inc"
        firmware
.next:  mov     al, '.'
        mov     dx, DEBUG_CONSOLE
        out     dx, al
        out     0x80, al
        mov     cx, 1000
        loop    $
        jmp     .next
        firmware_end
