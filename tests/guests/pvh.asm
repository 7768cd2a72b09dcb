; SPDX-License-Identifier: Apache-2.0 OR MIT
; A kernel for direct boot: a 64-bit ELF file with the PVH entry point (32-bit protected mode, paging off, EBX = hvm_start_info; Xen's
; docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h). Prints what it was handed, then soft off.
        bits    32
        org     0x100000
%include "pc.inc"
START_MAGIC     equ 0x336EC578
FLAGS           equ 8                   ; offsets in hvm_start_info
MODULES         equ 12
MODULE_LIST     equ 16
CMDLINE         equ 24
MEMMAP          equ 40
MEMMAP_ENTRIES  equ 48

elf:    db      0x7F, "ELF", 2, 1, 1, 0 ; 64-bit, little endian
        dq      0
        dw      2, 62                   ; ET_EXEC, EM_X86_64
        dd      1
        dq      entry, headers - elf, 0
        dd      0
        dw      64, 56, 2, 64, 0, 0
headers:
        dd      1, 7                    ; PT_LOAD, RWX
        dq      0, elf, elf, end - elf, end - elf + 4096, 4096
        dd      4, 4                    ; PT_NOTE, R
        dq      note - elf, note, note, note.end - note, note.end - note, 4
note:   dd      4, 8, 18                ; XEN_ELFNOTE_PHYS32_ENTRY
        db      "Xen", 0
        dq      entry
.end:

entry:  mov     esp, end + 4096
        cld
        call    serial_init
        say     "pvh magic "
        mov     eax, [ebx]
        call    put_hex
        cmp     eax, START_MAGIC
        je      .good
        say     "failed", 13, 10
        jmp     power_off

.good:  say     13, 10, "pvh cmdline "
        mov     esi, [ebx + CMDLINE]
        test    esi, esi
        jz      .modules
        call    put_text

.modules:
        say     13, 10, "pvh modules "
        mov     eax, [ebx + MODULES]
        call    put_hex
        test    eax, eax
        jz      .memory
        mov     edi, [ebx + MODULE_LIST]
        mov     eax, [edi]              ; the first one's address and size
        call    put_hex
        mov     eax, [edi + 8]
        call    put_hex
        mov     edi, [edi]
        mov     eax, [edi]              ; and its first four bytes
        call    put_hex

.memory:
        say     13, 10
        mov     ecx, [ebx + MEMMAP_ENTRIES]
        mov     edi, [ebx + MEMMAP]
        jecxz   .end
.entry: say     "pvh memory "
        mov     eax, [edi + 4]          ; address, size, type
        call    put_hex
        mov     eax, [edi]
        call    put_hex
        mov     eax, [edi + 12]
        call    put_hex
        mov     eax, [edi + 8]
        call    put_hex
        mov     eax, [edi + 16]
        call    put_hex
        say     13, 10
        add     edi, 24
        dec     ecx
        jnz     .entry
.end:   say     "pvh ok", 13, 10
        jmp     power_off
        pc_routines
        align   16
end:
