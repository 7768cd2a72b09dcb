; SPDX-License-Identifier: Apache-2.0 OR MIT
; Firmware that starts all other processors by INIT and two SIPIs to all but itself, and prints how many came. Each takes a number
; with a locked instruction; the count must stay at COUNT for a while before it is believed.
%include "firmware.inc"
ICR             equ 0xFEE00300
SPURIOUS        equ 0xFEE000F0
TRAMPOLINE      equ 0x8000
ARRIVED         equ 0x500

        firmware
        mov     si, trampoline
        mov     di, TRAMPOLINE
        mov     cx, trampoline.end - trampoline
        rep     movsb
        mov     word [es:ARRIVED], 1
        mov     al, 0xFF                ; no interrupts from the PIC
        out     0x21, al
        out     0xA1, al
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
        or      dword [SPURIOUS], 0x100 ; software enable
        mov     dword [ICR], 0xC4500    ; INIT, assert, all but self
        mov     ecx, 1000
.init:  in      al, 0x80
        loop    .init
        mov     dword [ICR], 0xC4600 | TRAMPOLINE >> 12
        mov     ecx, 1000
.sipi:  in      al, 0x80
        loop    .sipi
        mov     dword [ICR], 0xC4600 | TRAMPOLINE >> 12
.wait:  mov     esi, [ARRIVED]
        mov     ecx, 20000
.again: in      al, 0x80
        cmp     esi, [ARRIVED]
        jne     .wait
        loop    .again
        mov     eax, cr0
        jmp     24:back                 ; 16-bit code again

        bits    16
back:   and     al, 0xFE
        mov     cr0, eax
        jmp     0xF000:.real
.real:  mov     ax, cs
        mov     ds, ax
        xor     ax, ax
        mov     es, ax
        mov     ss, ax
        say     "processors "
        movzx   eax, word [es:ARRIVED]
        call    put_hex
        say     13, 10
        jmp     power_off

trampoline:
        xor     ax, ax
        mov     ds, ax
        lock inc word [ARRIVED]
.halt:  cli
        hlt
        jmp     .halt
.end:

        align   8
table:  dq      0
        dq      0x00CF9B000000FFFF      ; flat code
        dq      0x00CF93000000FFFF      ; flat data
        dq      0x00009B0F0000FFFF      ; 16-bit code at F0000h
descriptor: dw  $ - table - 1
        dd      0xF0000 + table
        firmware_end
