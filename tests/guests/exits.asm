; SPDX-License-Identifier: Apache-2.0 OR MIT
; Port exits for a bench: writes the diagnostic port 80h as often as the parameter at 1F0h says, a mark on COM1 before and after; then
; reads the primary IDE channel's alternate status as often, as a driver that polls does.
%include "pc.inc"
        boot_sector
        say     "exits start", 13, 10
        mov     ecx, [parameter]
        cli
.next:  out     0x80, al
        dec     ecx
        jnz     .next
        say     "exits end", 13, 10
        say     "polls start", 13, 10
        mov     ecx, [parameter]
        mov     dx, 0x3F6
.poll:  in      al, dx
        dec     ecx
        jnz     .poll
        say     "polls end", 13, 10
        jmp     power_off
        pc_routines
        boot_signature 100000
