; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that opens the tray of the secondary master, a DVD drive, by START STOP UNIT, says so, and spins.
%include "firmware.inc"
IDE     equ 0x170

        firmware
        mov     dx, PCI_ADDRESS
        mov     eax, 0x80000940         ; 00:01.1, IDETIM
        out     dx, eax
        mov     dx, PCI_DATA + 2
        mov     ax, 0x8000              ; the secondary channel's ports are decoded
        out     dx, ax
        mov     dx, PCI_ADDRESS
        mov     eax, 0x80000904         ; PCI command register: I/O space
        out     dx, eax
        mov     dx, PCI_DATA
        mov     ax, 1
        out     dx, ax
        mov     dx, 0x376
        mov     al, 2                   ; nIEN
        out     dx, al
        mov     dx, IDE + 6
        mov     al, 0xA0                ; master
        out     dx, al
        ; The first commands end with unit attentions.
.again: call    ready
        xor     al, al
        mov     dx, IDE + 1
        out     dx, al
        mov     dx, IDE + 4
        out     dx, al
        inc     dx
        out     dx, al
        mov     dx, IDE + 7
        mov     al, 0xA0                ; PACKET
        out     dx, al
        call    ready
        mov     dx, IDE
        mov     ax, 0x001B              ; START STOP UNIT,
        out     dx, ax
        xor     ax, ax
        out     dx, ax
        mov     ax, 0x0002              ; LoEj without Start
        out     dx, ax
        xor     ax, ax
        out     dx, ax
        out     dx, ax
        out     dx, ax
        call    ready
        test    al, 1                   ; ERR
        jnz     .again
        say     "ejected", 13, 10
        jmp     $

ready:  mov     dx, IDE + 7
.busy:  in      al, dx
        test    al, 0x80
        jnz     .busy
        ret
        firmware_end
