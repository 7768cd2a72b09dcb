; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that writes one sector of the primary master, LBA 5, by WRITE SECTORS, says so, and spins without a flush.
%include "firmware.inc"
IDE     equ 0x1F0

        firmware
        mov     dx, PCI_ADDRESS
        mov     eax, 0x80000940         ; 00:01.1, IDETIM
        out     dx, eax
        mov     dx, PCI_DATA
        mov     ax, 0x8000              ; the primary channel's ports are decoded
        out     dx, ax
        mov     dx, PCI_ADDRESS
        mov     eax, 0x80000904         ; PCI command register: I/O space
        out     dx, eax
        mov     dx, PCI_DATA
        mov     ax, 1
        out     dx, ax
        mov     dx, 0x3F6
        mov     al, 2                   ; nIEN
        out     dx, al
        call    ready
        mov     dx, IDE + 6
        mov     al, 0xE0                ; LBA, master
        out     dx, al
        mov     dx, IDE + 2
        mov     al, 1
        out     dx, al
        inc     dx
        mov     al, 5
        out     dx, al
        xor     al, al
        inc     dx
        out     dx, al
        inc     dx
        out     dx, al
        mov     dx, IDE + 7
        mov     al, 0x30                ; WRITE SECTORS
        out     dx, al
        call    ready
        mov     cx, 256
        mov     dx, IDE
        mov     ax, "WW"
.word:  out     dx, ax
        loop    .word
        call    ready
        say     "written", 13, 10
        jmp     $

ready:  mov     dx, IDE + 7
.busy:  in      al, dx
        test    al, 0x80
        jnz     .busy
        ret
        firmware_end
