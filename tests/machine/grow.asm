; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that writes a sector of each 2 MiB of the primary master, from the first on and without an end, and shows a sign of life each time.
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
        xor     bx, bx                  ; DI:BX is the first sector to write
        xor     di, di
.next:  call    ready
        mov     dx, IDE + 2
        mov     al, 1
        out     dx, al
        mov     ax, bx
        inc     dx
        out     dx, al
        mov     al, ah
        inc     dx
        out     dx, al
        mov     ax, di
        inc     dx
        out     dx, al
        mov     al, 0xE0                ; LBA, master; no disk here is so large that its bits 24 to 27 are needed
        inc     dx
        out     dx, al
        mov     dx, IDE + 7
        mov     al, 0x30                ; WRITE SECTORS
        out     dx, al
        call    ready
        mov     cx, 256
        mov     dx, IDE
        mov     si, 0x100
        rep     outsw                   ; whatever is there
        mov     al, '.'
        mov     dx, DEBUG_CONSOLE
        out     dx, al
        add     bx, 4096
        adc     di, 0
        jmp     .next

ready:  mov     dx, IDE + 7
.busy:  in      al, dx
        test    al, 0x80
        jnz     .busy
        ret
        firmware_end
