; SPDX-License-Identifier: Apache-2.0 OR MIT
; Reads the whole floppy it was booted from, a track at a time by INT 13h function 02h, and prints its checksum:
; over all dwords, sum = (sum rotated left by 1) + dword. Wants CYLINDERS, HEADS and SECTORS.
%include "pc.inc"
BUFFER  equ 0x1000                      ; segment

        boot_sector
        xor     ebp, ebp                ; the sum
        xor     cx, cx
        xor     dx, dx
        mov     ch, 0                   ; cylinder
track:  mov     cl, 1
        mov     dl, [drive]
        mov     ax, BUFFER
        mov     es, ax
        xor     bx, bx
        mov     ax, 0x0200 + SECTORS
        push    cx
        push    dx
        int     0x13
        pop     dx
        pop     cx
        jc      failed

        push    cx
        push    ds
        push    es
        pop     ds
        xor     si, si
        mov     cx, SECTORS * 128
.add:   lodsd
        rol     ebp, 1
        add     ebp, eax
        loop    .add
        pop     ds
        pop     cx

        inc     dh
        cmp     dh, HEADS
        jb      track
        mov     dh, 0
        inc     ch
        cmp     ch, CYLINDERS
        jb      track

        say     "floppysum "
        mov     eax, ebp
        call    put_hex
        say     "ok", 13, 10
        jmp     power_off

failed: push    cx
        push    dx
        push    ax
        say     "floppysum failed: status, head and drive, cylinder and sector: "
        xor     eax, eax
        pop     ax
        call    put_hex
        pop     ax
        call    put_hex
        pop     ax
        call    put_hex
        say     13, 10
        jmp     power_off
        pc_routines
        boot_signature 0
