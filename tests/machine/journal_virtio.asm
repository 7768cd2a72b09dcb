; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that writes records to the first virtio disk for ever, eight at a time: number n, 1024 times as a dword, to the 4 KiB slot
; (4099 n mod 4096), or 1 where that is 0. After each eighth it flushes, and says which number is durable. The number before the first one
; is the first dword of the disk. A modern driver, which reaches the device's registers through configuration space (VIRTIO 1.2, 4.1.4.9).
%include "firmware.inc"
FUNCTION        equ 0x80000000 + (3 << 11)
WINDOW          equ 0x94                ; the capability
SIZE            equ 32                  ; of the queue
TABLE           equ 0x1000
AVAILABLE       equ 0x1400
USED            equ 0x1800
HEADERS         equ 0x1C00
STATUSES        equ 0x1D00
BUFFERS         equ 0x8000

NEXT            equ 1                   ; descriptor flags
WRITE           equ 2

%macro pci 2                            ; register, value
        mov     dx, PCI_ADDRESS
        mov     eax, FUNCTION + %1
        out     dx, eax
        mov     dx, PCI_DATA
        mov     eax, %2
        out     dx, eax
%endmacro
%macro virtio 3                         ; offset in base address register 4, width, value
        pci     WINDOW + 8, %1
        pci     WINDOW + 12, %2
        pci     WINDOW + 16, %3
%endmacro

        firmware
        mov     di, TABLE
        xor     eax, eax
        mov     cx, 0x1000 / 4
        rep     stosd
        mov     word [es:AVAILABLE], 1  ; no interrupts
        pci     4, 4                    ; bus master
        pci     WINDOW + 4, 4           ; base address register 4
        virtio  20, 1, 0                ; status
        virtio  20, 1, 3
        virtio  8, 4, 0                 ; features
        virtio  12, 4, 1 << 9           ; FLUSH
        virtio  8, 4, 1
        virtio  12, 4, 1                ; VERSION_1
        virtio  20, 1, 11
        virtio  22, 2, 0                ; queue
        virtio  24, 2, SIZE
        virtio  32, 4, TABLE
        virtio  36, 4, 0
        virtio  40, 4, AVAILABLE
        virtio  44, 4, 0
        virtio  48, 4, USED
        virtio  52, 4, 0
        virtio  28, 2, 1
        virtio  20, 1, 15

        xor     si, si
        xor     eax, eax                ; IN
        xor     ecx, ecx
        mov     bp, NEXT | WRITE
        call    post
        call    ring
        mov     ebp, [es:BUFFERS]

batch:  xor     si, si
.next:  inc     ebp
        mov     di, si
        shl     di, 12
        add     di, BUFFERS
        mov     eax, ebp
        mov     cx, 1024
        rep     stosd
        imul    ecx, ebp, 4099
        and     ecx, 4095
        jnz     .slot
        inc     ecx
.slot:  shl     ecx, 3
        mov     eax, 1                  ; OUT
        push    ebp
        mov     bp, NEXT
        call    post
        pop     ebp
        inc     si
        cmp     si, 8
        jb      .next
        call    ring
        xor     si, si
        mov     eax, 4                  ; FLUSH
        xor     ecx, ecx
        push    ebp
        xor     bp, bp
        call    post
        pop     ebp
        call    ring
        say     "durable "
        mov     eax, ebp
        call    put_hex
        say     13, 10
        jmp     batch

; Offers request SI: type EAX, sector ECX, a buffer with the flags BP, or none if they are 0.
post:   mov     di, si
        shl     di, 4
        add     di, HEADERS
        mov     [es:di], eax
        mov     dword [es:di + 4], 0
        mov     [es:di + 8], ecx
        mov     dword [es:di + 12], 0
        imul    dx, si, 3               ; the first of its three descriptors
        mov     bx, dx
        shl     bx, 4
        add     bx, TABLE
        movzx   eax, di
        mov     [es:bx], eax
        mov     dword [es:bx + 4], 0
        mov     dword [es:bx + 8], 16
        mov     word [es:bx + 12], NEXT
        mov     ax, dx
        inc     ax
        mov     [es:bx + 14], ax
        test    bp, bp
        jz      .last
        add     bx, 16
        movzx   eax, si
        shl     eax, 12
        add     eax, BUFFERS
        mov     [es:bx], eax
        mov     dword [es:bx + 4], 0
        mov     dword [es:bx + 8], 4096
        mov     [es:bx + 12], bp
        mov     ax, dx
        add     ax, 2
        mov     [es:bx + 14], ax
.last:  add     bx, 16
        movzx   eax, si
        add     eax, STATUSES
        mov     byte [es:eax], 0xFF
        mov     [es:bx], eax
        mov     dword [es:bx + 4], 0
        mov     dword [es:bx + 8], 1
        mov     word [es:bx + 12], WRITE
        mov     bx, [es:AVAILABLE + 2]
        and     bx, SIZE - 1
        shl     bx, 1
        mov     [es:AVAILABLE + 4 + bx], dx
        inc     word [es:AVAILABLE + 2]
        ret

; Rings, waits until all is used, and sees that all went well. Only what was posted since the last time has a status.
ring:   virtio  0x3000, 2, 0
        mov     ax, [es:AVAILABLE + 2]
.wait:  cmp     [es:USED + 2], ax
        jne     .wait
        mov     di, STATUSES
        mov     cx, 8
        xor     al, al
        repe    scasb
        je      .good
        say     "failed", 13, 10
        jmp     $
.good:  ret
        firmware_end
