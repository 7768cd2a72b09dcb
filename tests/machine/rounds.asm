; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that goes round for ever: writes number n, 1024 times as a dword, to slot n mod 256 of 4 KiB of the primary master, by DMA,
; reads it back through the data register and compares; meanwhile the timer interrupts 200 times a second. After each sixteenth round it
; says which one that was, and how often the timer has interrupted. What it reads back wrongly ends the work.
%include "firmware.inc"
%include "ide.inc"
IDE             equ 0x1F0
CONTROL         equ 0x3F6
BUS_MASTER      equ 0xC000
BUFFER          equ 0x1000              ; segment
BACK            equ 0x2000              ; segment
PRD_TABLE       equ 0x6000
TICKS           equ 0x6100
RELOAD          equ 5966

        firmware
        cli
%macro pci_write 3                      ; function and register, register of the processor, value
        mov     dx, PCI_ADDRESS
        mov     eax, 0x80000900 + %1
        out     dx, eax
        mov     dx, PCI_DATA
        mov     %2, %3
        out     dx, %2
%endmacro
%macro put 2                            ; port, value
        mov     al, %2
        out     %1, al
%endmacro
        pci_write 0x40, ax, 0x8000      ; IDETIM: the primary channel's ports are decoded
        pci_write 0x20, eax, BUS_MASTER
        pci_write 0x04, ax, 5           ; I/O space, bus master
        mov     dx, CONTROL
        mov     al, 2                   ; nIEN
        out     dx, al
        mov     dword [es:PRD_TABLE], BUFFER << 4
        mov     dword [es:PRD_TABLE + 4], 0x80000000 + 4096
        mov     dword [es:TICKS], 0
        mov     word [es:0x20 * 4], tick
        mov     word [es:0x20 * 4 + 2], cs
        put     0x20, 0x11              ; both 8259A: vectors from 20h, only the timer is let through
        put     0xA0, 0x11
        put     0x21, 0x20
        put     0xA1, 0x28
        put     0x21, 4
        put     0xA1, 2
        put     0x21, 1
        put     0xA1, 1
        put     0x21, 0xFE
        put     0xA1, 0xFF
        put     0x43, 0x34              ; channel 0, rate generator
        put     0x40, RELOAD & 0xFF
        put     0x40, RELOAD >> 8
        sti
        xor     ebp, ebp

next:   inc     ebp
        mov     ax, BUFFER
        mov     es, ax
        mov     eax, ebp
        xor     di, di
        mov     cx, 1024
        rep     stosd
        mov     dx, BUS_MASTER + 4
        mov     eax, PRD_TABLE
        out     dx, eax
        mov     dx, BUS_MASTER + 2
        mov     al, 0x66
        out     dx, al
        mov     bl, 0xCA                ; WRITE DMA
        call    command
        mov     dx, BUS_MASTER
        mov     al, 1                   ; start, from memory
        out     dx, al
        call    ready
        mov     dx, BUS_MASTER
        mov     al, 0
        out     dx, al

        mov     ax, BACK
        mov     es, ax
        mov     bl, 0x20                ; READ SECTORS
        call    command
        xor     di, di
        mov     si, 8
.sector:
        call    ready
        mov     dx, IDE
        mov     cx, 256
        rep     insw
        dec     si
        jnz     .sector
        mov     eax, ebp
        xor     di, di
        mov     cx, 1024
        repe    scasd
        jne     wrong

        test    bp, 15
        jnz     next
        say     "round "
        mov     eax, ebp
        call    put_hex
        say     " "
        xor     ax, ax
        mov     es, ax
        mov     eax, [es:TICKS]
        call    put_hex
        say     13, 10
        jmp     next

wrong:  say     "wrong", 13, 10
        jmp     $

tick:   push    ax
        push    ds
        xor     ax, ax
        mov     ds, ax
        inc     dword [TICKS]
        put     0x20, 0x20
        pop     ds
        pop     ax
        iret

; The task file for the 8 sectors of this round's slot, and the command in BL.
command:
        call    ready
        mov     dx, IDE + 2
        mov     al, 8
        out     dx, al
        movzx   ecx, bp
        and     ecx, 255
        shl     ecx, 3
        ide_address_and_command
        ide_ready
        firmware_end
