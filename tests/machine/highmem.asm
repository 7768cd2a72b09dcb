; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that writes and reads RAM above 4 GiB: from compatibility mode, with one 2 MiB page at a time laid at 40000000h.
; Each page gets its own number, at its first and last dword, before any is read again. The machine has 64 GiB.
%include "firmware.inc"
DIRECTORIES     equ 0x10000             ; four page directories
POINTERS        equ 0x14000
LEVEL_4         equ 0x15000
WINDOW          equ 0x40000000
WINDOW_ENTRY    equ DIRECTORIES + 0x1000
PAGE            equ 1 << 21
FLAGS           equ 0x83                ; present, writable, 2 MiB

        firmware
        cli
        o32 lgdt [descriptor]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword 8:0xF0000 + flat

        bits    32
flat:   mov     ax, 16
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     edi, DIRECTORIES
        xor     eax, eax
        mov     ecx, 6 * 1024
        rep     stosd
        mov     dword [DIRECTORIES], FLAGS ; the first 2 MiB as they are
        mov     dword [POINTERS], DIRECTORIES + 3
        mov     dword [POINTERS + 8], WINDOW_ENTRY + 3
        mov     dword [LEVEL_4], POINTERS + 3
        mov     eax, LEVEL_4
        mov     cr3, eax
        mov     eax, cr4
        or      al, 0x20                ; PAE
        mov     cr4, eax
        mov     ecx, 0xC0000080         ; EFER
        rdmsr
        or      ah, 1                   ; LME
        wrmsr
        mov     eax, cr0
        or      eax, 0x80000000
        mov     cr0, eax

        mov     esi, pages + 0xF0000
.write: call    map
        jz      .read
        mov     [WINDOW], esi
        mov     [WINDOW + PAGE - 4], esi
        jmp     .write
.read:  mov     esi, pages + 0xF0000
.next:  call    map
        jz      .good
        cmp     [WINDOW], esi
        jne     .bad
        cmp     [WINDOW + PAGE - 4], esi
        je      .next
.bad:   mov     bx, failed
        jmp     .leave
.good:  mov     bx, passed
.leave: mov     eax, cr0
        and     eax, 0x7FFFFFFF
        mov     cr0, eax
        jmp     24:back

; Lays the page whose number stands at ESI into the window; ESI moves on. Z: there are no more.
map:    lodsd
        xor     edx, edx
        test    eax, eax
        jz      .end
        shld    edx, eax, 21
        shl     eax, 21
        or      al, FLAGS
        mov     [WINDOW_ENTRY], eax
        mov     [WINDOW_ENTRY + 4], edx
        mov     eax, cr3
        mov     cr3, eax
        test    esp, esp                ; NZ
.end:   ret

        bits    16
back:   and     al, 0xFE
        mov     cr0, eax
        jmp     0xF000:.real
.real:  mov     ax, cs
        mov     ds, ax
        xor     ax, ax
        mov     es, ax
        mov     ss, ax
        mov     si, bx
        call    put_text
        jmp     power_off
passed: db      "high memory ok", 13, 10, 0
failed: db      "high memory failed", 13, 10, 0

        align   8
; 3 GiB of RAM lie below 4 GiB, so the last page of 64 GiB ends at 65 GiB.
pages:  dd      4 << 9, (4 << 9) + 1, 8 << 9, 32 << 9, (64 << 9) - 1, 64 << 9, (65 << 9) - 1, 0
table:  dq      0
        dq      0x00CF9B000000FFFF      ; flat code
        dq      0x00CF93000000FFFF      ; flat data
        dq      0x00009B0F0000FFFF      ; 16-bit code at F0000h
descriptor: dw  $ - table - 1
        dd      0xF0000 + table
        firmware_end
