; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that does what a boot sector needs and nothing more: timer ticks that are acknowledged, the power management ports opened,
; the sector in the file SECTOR at 7C00h.
%include "firmware.inc"
TICK    equ 0x20                        ; vector of IRQ 0

        firmware
        mov     cx, 256
        xor     di, di
.vector:                                ; all of them
        mov     ax, other
        stosw
        mov     ax, cs
        stosw
        loop    .vector
        mov     word [es:TICK * 4], tick

        mov     al, 0x11                ; 8259A: ICW1 to ICW4
        out     0x20, al
        out     0xA0, al
        mov     al, TICK
        out     0x21, al
        mov     al, TICK + 8
        out     0xA1, al
        mov     al, 4
        out     0x21, al
        mov     al, 2
        out     0xA1, al
        mov     al, 1
        out     0x21, al
        out     0xA1, al
        mov     al, 0xFE                ; only IRQ 0
        out     0x21, al
        mov     al, 0xFF
        out     0xA1, al
        mov     al, 0x34                ; 8254: counter 0, mode 2, 18.2 Hz
        out     0x43, al
        xor     al, al
        out     0x40, al
        out     0x40, al

        mov     dx, PCI_ADDRESS
        mov     eax, PIIX4_PM | PMBASE
        out     dx, eax
        mov     dl, PCI_DATA & 0xFF
        mov     eax, 0x601
        out     dx, eax
        mov     dl, PCI_ADDRESS & 0xFF
        mov     eax, PIIX4_PM | PMREGMISC
        out     dx, eax
        mov     dl, PCI_DATA & 0xFF
        mov     al, 1
        out     dx, al

        mov     si, sector
        mov     di, 0x7C00
        mov     cx, 256
        rep     movsw
        mov     dl, 0x80
        jmp     0:0x7C00

tick:   push    ax
        mov     al, 0x20
        out     0x20, al
        pop     ax
other:  iret
sector: incbin  SECTOR, 0, 512
        firmware_end
