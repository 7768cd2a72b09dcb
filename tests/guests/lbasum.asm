; SPDX-License-Identifier: Apache-2.0 OR MIT
; Reads the first TOTAL sectors of the disk it was booted from by INT 13h function 42h, 32 KiB at a time, and prints their checksum
; (floppysum.asm says which). With CD: an El Torito no-emulation image; the sectors have 2048 bytes and the ISO 9660 primary volume
; descriptor says how many there are.
%include "pc.inc"
BUFFER  equ 0x1000                      ; segment
%ifdef CD
CHUNK   equ 16
SECTOR  equ 2048
%define NAME "dvdsum "
%else
CHUNK   equ 64
SECTOR  equ 512
%define NAME "disksum "
%endif

        boot_sector
        xor     ebp, ebp                ; the sum
%ifdef CD
        mov     byte [packet.lba], 16   ; the primary volume descriptor
        call    read
        mov     ax, BUFFER
        mov     fs, ax
        mov     eax, [fs:80]            ; volume space size
        mov     [left], eax
        and     dword [packet.lba], 0
%endif
next:   mov     eax, [left]
        test    eax, eax
        jz      done
        cmp     eax, CHUNK
        jb      .last
        mov     ax, CHUNK
.last:  mov     [packet.count], ax
        call    read
        movzx   eax, word [packet.count] ; firmware may have changed it
        sub     [left], eax
        add     [packet.lba], eax
        imul    cx, ax, SECTOR / 4
        push    ds
        push    BUFFER
        pop     ds
        xor     si, si
.add:   lodsd
        rol     ebp, 1
        add     ebp, eax
        loop    .add
        pop     ds
        jmp     next

done:   say     NAME
        mov     eax, ebp
        call    put_hex
        say     "ok", 13, 10
        jmp     power_off

read:   mov     si, packet
        mov     ah, 0x42                ; extended read
        mov     dl, [drive]
        int     0x13
        jc      failed
        ret

failed: xchg    ax, bp
        say     NAME, "failed: status, sector: "
        movzx   eax, bp
        call    put_hex
        mov     eax, [packet.lba]
        call    put_hex
        say     13, 10
        jmp     power_off

        align   4
packet: db      16, 0                   ; disk address packet
.count: dw      1
        dw      0, BUFFER
.lba:   dd      0, 0
%ifdef CD
left:   dd      0
%endif
        pc_routines
%ifdef CD
        times   2048 - ($ - $$) db 0
%else
left    equ     parameter
        boot_signature TOTAL
%endif
