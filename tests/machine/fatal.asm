; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that comes to an undefined instruction in protected mode, without a gate for anything.
%include "firmware.inc"
        firmware
        cli
        o32 lgdt [descriptor]
        lidt    [nothing]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     8:.protected
.protected:
        mov     eax, 0x12345678
        ud2

        align   8
table:  dq      0
        dq      0x00009B0F0000FFFF      ; 16-bit code at F0000h
descriptor: dw  $ - table - 1
        dd      0xF0000 + table
nothing: dw     0
        dd      0
        firmware_end
