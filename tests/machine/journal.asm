; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that writes records to the primary master for ever: number n, 1024 times as a dword, to the 4 KiB slot (4099 n mod 4096), or 1
; where that is 0, by WRITE DMA. After each eighth it flushes, and says which number is durable. The number before the first one is the
; first dword of the disk.
%include "firmware.inc"
%include "ide.inc"
IDE             equ 0x1F0
CONTROL         equ 0x3F6
BUS_MASTER      equ 0xC000
BUFFER          equ 0x1000              ; segment
PRD_TABLE       equ 0x6000

        firmware
%macro pci_write 3                      ; function and register, register of the processor, value
        mov     dx, PCI_ADDRESS
        mov     eax, 0x80000900 + %1
        out     dx, eax
        mov     dx, PCI_DATA
        mov     %2, %3
        out     dx, %2
%endmacro
        pci_write 0x40, ax, 0x8000      ; IDETIM: the primary channel's ports are decoded
        pci_write 0x20, eax, BUS_MASTER
        pci_write 0x04, ax, 5           ; I/O space, bus master
        mov     dx, CONTROL
        mov     al, 2                   ; nIEN
        out     dx, al
        mov     dword [es:PRD_TABLE], BUFFER << 4
        mov     dword [es:PRD_TABLE + 4], 0x80000000 + 4096
        mov     ax, BUFFER
        mov     es, ax

        xor     eax, eax
        mov     bl, 0x20                ; READ SECTORS
        call    command
        xor     di, di
        mov     bp, 8
.sector:
        call    ready
        mov     dx, IDE
        mov     cx, 256
        rep     insw
        dec     bp
        jnz     .sector
        mov     ebp, [es:0]

next:   inc     ebp
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
        imul    eax, ebp, 4099
        and     eax, 4095
        jnz     .slot
        inc     eax
.slot:  shl     eax, 3
        mov     bl, 0xCA                ; WRITE DMA
        call    command
        mov     dx, BUS_MASTER
        mov     al, 1                   ; start, from memory
        out     dx, al
        call    ready
        mov     dx, BUS_MASTER
        mov     al, 0
        out     dx, al
        test    bp, 7
        jnz     next
        mov     dx, IDE + 7
        mov     al, 0xE7                ; FLUSH CACHE
        out     dx, al
        call    ready
        say     "durable "
        mov     eax, ebp
        call    put_hex
        say     13, 10
        jmp     next

; The task file for 8 sectors at EAX, and the command in BL.
command:
        mov     ecx, eax
        call    ready
        mov     dx, IDE + 2
        mov     al, 8
        out     dx, al
        ide_address_and_command
        ide_ready
        firmware_end
